//! Lists: pages, filters, and every way in which they are printed.

use kos_api::List;

use crate::{
    program::User,
    sample::{ID, device},
    stand_in::{Asked, StandIn, Told},
};

const OTHER: &str = "kdev-aaaabbbbccccdddd";

/// Two pages of one device each; the name of the second tries to colour the terminal and to turn the text around.
fn two_pages() -> StandIn {
    StandIn::start(|asked: &Asked| {
        if asked.path.contains("cursor=two") {
            let mut hostile = serde_json::to_value(device(OTHER, Some("x"))).unwrap();
            hostile["stateReason"] = "\u{1b}[31mred\u{202e}\u{9b}".into();
            let document = serde_json::json!({
                "apiVersion": "kos.v1", "kind": "DeviceList", "items": [hostile], "next": null,
            });
            return Told::bytes(document.to_string());
        }
        Told::list(&List {
            items: vec![device(ID, Some("kitchen"))],
            next: Some("two".into()),
            archived: None,
        })
    })
}

#[test]
fn a_list_goes_through_all_pages_and_is_one_document() {
    let server = two_pages();
    let run = User::new().run(&["list", "-o", "json", "--server", &server.server()]);
    assert_eq!(run.code, 0, "{run:?}");
    let document = run.json();
    assert_eq!(document["kind"], "DeviceList");
    assert_eq!(document["next"], serde_json::Value::Null);
    let ids: Vec<_> = document["items"].as_array().unwrap().iter().map(|d| d["deviceId"].clone()).collect();
    assert_eq!(ids, [ID, OTHER]);
    assert!(document["items"][0].as_object().unwrap().contains_key("user"), "unknown is null, not left out");
    assert_eq!(server.lines(), ["GET /api/v1/devices?limit=500", "GET /api/v1/devices?cursor=two&limit=500"]);
}

#[test]
fn a_limit_stops_the_list_and_says_where_it_goes_on() {
    let server = two_pages();
    let run =
        User::new().run(&["device", "list", "--limit", "1", "-o", "json", "--server", &server.server()]);
    assert_eq!((run.code, run.json()["next"].as_str()), (0, Some("two")));
    assert_eq!(server.lines(), ["GET /api/v1/devices?limit=1"]);
}

#[test]
fn a_limit_of_none_is_refused_with_the_range() {
    for words in [&["list"][..], &["audit", "list"], &["audit", "alerts", "list"], &["ticket", "list"]] {
        let run = User::new().run(&[words, &["--limit", "0", "--server", "unix:/nowhere"]].concat());
        assert!(run.code == 2 && run.err.contains("0 is not in 1.."), "{run:?}");
    }
}

#[test]
fn filters_reach_the_server_as_they_were_typed() {
    let server = StandIn::start(|_| Told::list::<kos_api::device::Device>(&List::complete(vec![])));
    let words = ["list", "--state", "active", "--group", "berlin/line-2", "--offline", "--server"];
    let run = User::new().run(&[&words[..], &[&server.server()]].concat());
    assert_eq!((run.code, run.out.as_str(), run.err.trim()), (0, "", "no devices"));
    assert_eq!(
        server.lines(),
        ["GET /api/v1/devices?group=berlin%2Fline-2&limit=500&online=false&state=active"]
    );
}

#[test]
fn what_a_stranger_wrote_cannot_command_the_terminal() {
    let server = two_pages();
    for format in ["table", "wide", "json", "jsonl", "yaml", "name"] {
        let run = User::new().run(&["list", "-o", format, "--server", &server.server()]);
        assert_eq!(run.code, 0, "{run:?}");
        let harmless = |c: char| c == '\n' || kos_base::text::is_safe(c);
        assert!(run.out.chars().all(harmless), "{format}: {:?}", run.out);
    }
    let run = User::new().run(&["list", "-o", "json", "--server", &server.server()]);
    assert_eq!(
        run.json()["items"][1]["stateReason"],
        "\u{1b}[31mred\u{202e}\u{9b}",
        "and yet nothing is lost"
    );
}

#[test]
fn columns_sorting_and_names_are_chosen() {
    let server = two_pages();
    let user = User::new();
    let print = |words: &[&str]| {
        let run = user.run(&[&["list", "--server", &server.server()][..], words].concat());
        assert_eq!(run.code, 0, "{run:?}");
        run.out
    };
    assert_eq!(print(&["-o", "name", "--sort=-deviceId"]), format!("{OTHER}\n{ID}\n"));
    assert_eq!(
        print(&["--columns", "name,health.cpuPercent,lastAuditIndex"]),
        "NAME     CPU  LOG ENTRY\nkitchen  -    4\nx        -    4\n"
    );
    let lines = print(&["-o", "jsonl"]);
    let kinds: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.iter().all(|d| d["kind"] == "Device"));
    assert!(print(&["-o", "yaml"]).contains("kind: DeviceList\n"));
    let run = user.run(&["list", "--columns", "nonsense", "-o", "wide", "--server", &server.server()]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("a Device has no field `nonsense`"), "{}", run.err);
}

#[test]
fn colours_come_when_they_are_asked_for_and_never_by_themselves() {
    let server = two_pages();
    let run =
        |words: &[&str]| User::new().run(&[&["list", "--server", &server.server()][..], words].concat()).out;
    assert!(!run(&[]).contains('\u{1b}'));
    assert!(run(&["--color", "always"]).contains("\u{1b}[32mactive\u{1b}[0m"));
}

#[test]
fn requests_are_told_when_asked_for_and_beside_the_result() {
    let server = two_pages();
    let run = User::new().run(&["list", "-v", "-o", "json", "--limit", "1", "--server", &server.server()]);
    assert_eq!(run.err, format!("server {}\nGET /api/v1/devices?limit=1 200 -\n", server.server()));
    assert_eq!(run.json()["kind"], "DeviceList");
}
