//! Changes: what is asked of the server, when a person must agree, and what a dry run does.

use kos_api::{
    Problem,
    device::{Device, Lobby},
    lifecycle::{Decommission, Wipe},
    plan::{Change, Plan},
    problem::Party,
    ticket::TicketState,
};
use kos_base::{DeviceState, code};

use crate::{
    program::{Run, User},
    sample::{ID, TEXT, TICKET, at, device, ticket},
    stand_in::{Asked, StandIn, Told},
};

/// A server with one device, which answers every change with that device, or with a plan.
fn server() -> StandIn {
    StandIn::start(|asked: &Asked| {
        if asked.path.contains("dryRun=true") {
            return Told::item(Plan {
                action: "device-set-channel".into(),
                object: Some(Party::new("device", ID)),
                changes: vec![Change {
                    field: "channel".into(),
                    from: Some("stable".into()),
                    to: Some("beta".into()),
                }],
                effects: vec![],
            });
        }
        if asked.path.ends_with("/decommission") {
            return Told::item(Decommission {
                device_id: ID.parse().unwrap(),
                state: DeviceState::Decommissioning,
                revoked_at: Some(at("2026-11-20T10:02:00.000Z")),
                crl_number: Some(7),
                wipe: Wipe::Pending,
                audit_index: Some(9),
            });
        }
        Told::item(device(ID, Some("kitchen"))).with("etag", "\"v5\"")
    })
}

fn run(server: &StandIn, words: &[&str]) -> Run {
    User::new().run(&[words, &["--server", &server.server()]].concat())
}

#[test]
fn the_commands_of_the_source_ask_for_what_they_say() {
    for (words, path, body) in [
        (
            &["set-channel", "--device", "7F4A", "--channel", "beta"][..],
            "set-channel",
            r#"{"allowDev":false,"channel":"beta"}"#,
        ),
        (
            &["device", "set-channel", "7f4a", "dev", "--allow-dev"],
            "set-channel",
            r#"{"allowDev":true,"channel":"dev"}"#,
        ),
        (&["regen-cert", "--device", "7f4a"], "regen-cert", r#"{"reason":null}"#),
        (&["device", "regen-cert", "7f4a", "--reason", "audit"], "regen-cert", r#"{"reason":"audit"}"#),
        (&["device", "set-role", "7f4a", "relay"], "set-role", r#"{"role":"relay"}"#),
        (&["device", "rename", "7f4a", "Küche 2"], "rename", r#"{"name":"Küche 2"}"#),
        (
            &["device", "tag", "7f4a", "rack.b4", "--remove", "old"],
            "tag",
            r#"{"add":["rack.b4"],"remove":["old"]}"#,
        ),
        (&["device", "suspend", "7f4a", "-y"], "suspend", r#"{"reason":null}"#),
        (&["device", "quarantine", "7f4a", "--yes"], "quarantine", r#"{"reason":null}"#),
        (
            &["device", "reinstate", "7f4a", "--recoveries", "3"],
            "reinstate",
            r#"{"reason":null,"recoveries":3}"#,
        ),
        (&["device", "reject", "7f4a", "--ban", "-y"], "reject", r#"{"ban":true,"reason":null}"#),
        (
            &["device", "approve", "7f4a", "--code", "042137", "--name", "kitchen"],
            "approve",
            r#"{"comparisonCode":"042137","group":null,"name":"kitchen","profile":null,"role":null}"#,
        ),
    ] {
        let server = server();
        let run = run(&server, words);
        assert_eq!(run.code, 0, "{words:?}: {run:?}");
        let asked = server.asked();
        assert_eq!(asked[0].line(), "GET /api/v1/devices/7f4a");
        assert_eq!(asked[1].line(), format!("POST /api/v1/devices/{ID}/{path}"));
        assert_eq!(asked[1].json(), serde_json::from_str::<serde_json::Value>(body).unwrap());
        assert_eq!(asked[1].header("idempotency-key").map(str::len), Some(36));
        assert!(run.out.contains(ID), "{run:?}");
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_exits_ten_when_something_would_change() {
    let server = server();
    let words = ["set-channel", "--device", "7f4a", "--channel", "beta", "--dry-run", "-o", "json"];
    let dry = run(&server, &words);
    assert_eq!((dry.code, dry.json()["kind"].as_str()), (10, Some("Plan")));
    assert_eq!(dry.json()["item"]["changes"][0]["to"], "beta");
    assert!(server.lines()[1].ends_with("/set-channel?dryRun=true"));
    let severe = run(&server, &["decommission", "--device", "7f4a", "--dry-run"]);
    assert_eq!(severe.code, 10, "nobody need confirm what does not happen: {severe:?}");
}

#[test]
fn what_cannot_be_undone_needs_the_name_and_is_done_to_the_version_that_was_seen() {
    let server = server();
    let refused = run(&server, &["decommission", "--device", "7f4a", "-o", "json"]);
    let failure = refused.failure();
    assert_eq!((refused.code, failure["code"].as_str()), (2, Some("KOS-E0015")));
    assert_eq!(failure["fix"], "repeat with --confirm kitchen");
    let wrong = run(&server, &["decommission", "--device", "7f4a", "--confirm", "cellar"]);
    assert_eq!(wrong.code, 2);
    assert!(server.asked().iter().all(|asked| asked.method == "GET"));

    let done = run(&server, &["decommission", "--device", "7f4a", "--confirm", "kitchen", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(
        (done.json()["kind"].as_str(), done.json()["item"]["wipe"].as_str()),
        (Some("Decommission"), Some("pending"))
    );
    let last = server.asked().pop().unwrap();
    assert_eq!(last.line(), format!("POST /api/v1/devices/{ID}/decommission"));
    assert_eq!(last.header("if-match"), Some("\"v5\""));
    assert_eq!(
        last.json(),
        serde_json::from_str::<serde_json::Value>(r#"{"ban":false,"reason":null}"#).unwrap()
    );
}

#[test]
fn a_yes_is_needed_where_nobody_can_be_asked() {
    let server = StandIn::start(|_| {
        let lobby = Lobby {
            comparison_code: Some("042137".into()),
            requested_role: None,
            requested_profile: None,
            source: "192.0.2.7".into(),
            since: at("2026-11-20T10:00:00.000Z"),
            until: at("2026-11-27T10:00:00.000Z"),
            macs: vec![],
            serials: vec![],
            clones: vec![],
            withheld: None,
        };
        Told::item(Device { lobby: Some(lobby), ..device(ID, None) })
    });
    let run = run(&server, &["device", "approve", "7f4a"]);
    assert_eq!(run.code, 2);
    // What has to be compared is not offered as an answer.
    assert!(run.err.contains("repeat with --code") && !run.err.contains("042137"), "{}", run.err);
    assert_eq!(server.lines(), ["GET /api/v1/devices/7f4a"]);
}

#[test]
fn nobody_is_asked_about_what_is_not_there() {
    for words in [
        &["guardian", "remove", "nobody"][..],
        &["operator", "remove", "nobody"],
        &["audit", "mirror", "remove", "nobody"],
        &["audit", "witness", "remove", "nobody"],
        &["audit", "witness", "serve", "remove", "nobody"],
        &["audit", "erase", "--person", "nobody", "--reason", "asked"],
        &["vault", "rm", "nobody"],
        &["vault", "passkey", "remove", "nobody"],
        &["vault", "offline-key", "remove", "nobody"],
    ] {
        let server = StandIn::start(|_| Told::nothing_there());
        let run = run(&server, words);
        assert_eq!((run.code, run.err.contains("KOS-E0013")), (3, true), "{words:?}: {run:?}");
        // Where it is there, the question comes, and nothing happened before the answer.
        let server = self::server();
        if !words.contains(&"vault") || words.contains(&"rm") {
            let run = self::run(&server, words);
            assert!(run.err.contains("KOS-E0015"), "{words:?}: {run:?}");
            assert!(server.lines().iter().all(|line| line.ends_with("dryRun=true")), "{:?}", server.lines());
        }
    }
}

#[test]
fn somebody_elses_change_is_a_conflict() {
    let server = StandIn::start(|asked: &Asked| {
        if asked.method == "GET" {
            return Told::item(device(ID, Some("kitchen"))).with("etag", "\"v5\"");
        }
        Told::no(&Problem::new(code::store::STORE_CONFLICT).with_status(412))
    });
    let run = run(&server, &["device", "suspend", "7f4a", "-y"]);
    assert_eq!(run.code, 6, "{run:?}");
    assert!(run.err.starts_with("error[KOS-E0106]: "), "{}", run.err);
}

#[test]
fn a_ticket_is_shown_once_with_its_secret_and_its_code() {
    let server = StandIn::start(|_| Told::item(ticket()));
    let json = run(&server, &["ticket", "create", "--role", "sensor", "--expires", "5m", "-o", "json"]);
    let item = json.json()["item"].clone();
    assert_eq!((item["text"].as_str(), item["deviceName"].as_str()), (Some(TEXT), Some("kitchen")));
    let asked = server.asked().pop().unwrap();
    assert_eq!(asked.line(), "POST /api/v1/tickets");
    assert_eq!((&asked.json()["lifetimeSeconds"], &asked.json()["uses"]), (&300.into(), &1.into()));

    let person = run(&server, &["enroll", "--device", "kitchen", "--role", "sensor"]);
    assert_eq!(person.code, 0);
    assert!(person.out.contains(&format!("and paste         {TEXT}\n")), "{}", person.out);
    assert!(person.out.contains('▀'), "{}", person.out);
    assert_eq!(server.asked().pop().unwrap().json()["deviceName"], "kitchen");
}

#[test]
fn enrolling_can_wait_for_the_first_heartbeat() {
    let looks = std::sync::atomic::AtomicU32::new(0);
    let server = StandIn::start(move |asked: &Asked| {
        let look = looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match (asked.method.as_str(), asked.path.contains("/tickets/")) {
            ("POST", _) => Told::item(ticket()),
            // The server goes away for a moment, which is no answer.
            (_, true) if look == 1 => Told::no(&Problem::new(code::config::OVERLOADED)),
            (_, true) if look == 2 => Told::item(ticket()),
            (_, true) => {
                let devices = vec![ID.parse().unwrap()];
                Told::item(kos_api::ticket::Ticket { devices, state: TicketState::Spent, ..ticket() })
            }
            (_, false) => Told::item(device(ID, Some("kitchen"))),
        }
    });
    let run = run(&server, &["enroll", "--device", "kitchen", "--role", "sensor", "--wait"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("waiting: the device's first heartbeat\n"), "{}", run.err);
    assert!(run.err.ends_with(&format!("kitchen is active ({ID}, SEC-2)\n")), "{}", run.err);
    assert!(server.lines().contains(&format!("GET /api/v1/tickets/{TICKET}")));
}

#[test]
fn what_did_not_happen_in_time_is_partly_done() {
    let server = server();
    let run = run(&server, &["regen-cert", "--device", "7f4a", "--wait=300ms", "-o", "json"]);
    assert_eq!((run.code, run.failure()["code"].as_str()), (9, Some("KOS-E0025")), "{run:?}");
    assert_eq!((&run.json()["kind"], &run.json()["item"]["deviceId"]), (&"Device".into(), &ID.into()));
}

#[test]
fn a_decommissioning_that_is_not_confirmed_in_time_is_told_all_the_same() {
    let server = server();
    let words = ["decommission", "--device", "7f4a", "--confirm", "kitchen", "--wait=300ms", "-o", "json"];
    let run = run(&server, &words);
    assert_eq!((run.code, run.failure()["code"].as_str()), (9, Some("KOS-E0025")), "{run:?}");
    let item = run.json()["item"].clone();
    assert_eq!((&item["wipe"], &item["crlNumber"]), (&"pending".into(), &7.into()));
}
