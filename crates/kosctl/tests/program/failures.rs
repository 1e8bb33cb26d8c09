//! Failures: what a person reads, what a program reads, and the exit code.

use kos_api::{Problem, authority::Status, problem::Party};
use kos_base::code;

use crate::{
    program::User,
    stand_in::{StandIn, Told},
};

#[test]
fn the_servers_no_is_printed_for_people_and_for_programs() {
    let server = StandIn::start(|_| {
        let problem = Problem::new(code::enrolment::DEVICE_UNKNOWN)
            .with_detail("no device begins with `abcd`\u{1b}[2J")
            .about(Party::new("device", "abcd"))
            .with_request_id("01jd8z5k");
        Told::no(&problem)
    });
    let user = User::new();
    let person = user.run(&["device", "show", "abcd", "--server", &server.server()]);
    assert_eq!((person.code, person.out.as_str()), (3, ""));
    assert_eq!(
        person.err,
        "error[KOS-E0221]: no such device\n  device   abcd\n  why      no device begins with `abcd`\u{fffd}[2J\n  \
         fix      kosctl list\n  more     kosctl explain KOS-E0221          request 01jd8z5k\n"
    );
    let program = user.run(&["device", "show", "abcd", "-o", "json", "--server", &server.server()]);
    let failure = program.failure();
    assert_eq!((program.code, program.out.as_str()), (3, ""));
    assert_eq!(failure["requestId"], "01jd8z5k");
    for field in ["code", "title", "detail", "fix", "exitCode", "requestId"] {
        assert!(failure.get(field).is_some(), "{field}");
    }
}

#[test]
fn a_server_that_is_not_there_silent_or_confused_is_told_apart() {
    let user = User::new();
    let gone = user.run(&["status", "--server", &format!("unix:{}", user.path("no.sock")), "-o", "json"]);
    assert_eq!((gone.code, gone.failure()["code"].as_str()), (7, Some("KOS-E0011")));

    let silent = std::os::unix::net::UnixListener::bind(user.path("silent.sock")).unwrap();
    let words = ["status", "--timeout", "200ms", "-o", "json", "--server"];
    let waited = user.run(&[&words[..], &[&format!("unix:{}", user.path("silent.sock"))]].concat());
    assert_eq!((waited.code, waited.failure()["code"].as_str()), (7, Some("KOS-E0011")));
    drop(silent);

    for answer in [&b"<html>"[..], br#"{"apiVersion":"kos.v1","kind":"Plan","item":{}}"#, b""] {
        let server = StandIn::start(move |_| Told::bytes(answer));
        let run = user.run(&["authority", "show", "-o", "json", "--server", &server.server()]);
        assert_eq!((run.code, run.failure()["code"].as_str()), (1, Some("KOS-E0024")), "{answer:?}");
    }
}

#[test]
fn nobody_else_can_stand_in_for_the_server() {
    let user = User::new();
    let path = user.path("s.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // Only root can give a socket away; anybody else cannot make the situation.
    if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
        let run = user.run(&["status", "-o", "json", "--server", &format!("unix:{path}")]);
        assert_eq!((run.code, run.failure()["code"].as_str()), (8, Some("KOS-E0019")));
    }
}

#[test]
fn a_command_line_that_makes_no_sense_exits_two_and_says_what_would() {
    let user = User::new();
    for (words, says) in [
        (&["lits"][..], "a similar subcommand exists: `list`"),
        (&["ticket", "create"], "--role <ROLE>"),
        (&["ticket", "create", "--role", "senser"], "`senser` is not a role"),
        (&["list", "--timeout", "5"], "not a length of time"),
        (&["device", "decommission", "abcd", "--yes"], "unexpected argument `--yes`"),
        (&["explain", "KOS-E9999"], "is not a code of this version"),
    ] {
        let person = user.run(words);
        assert_eq!((person.code, person.out.as_str()), (2, ""), "{words:?}");
        assert!(person.err.starts_with("error[KOS-E0002]: ") && person.err.contains(says), "{}", person.err);
        let program = user.run(&[words, &["-o", "json"]].concat());
        assert_eq!(program.failure()["code"], "KOS-E0002");
    }
}

#[test]
fn without_a_server_it_says_where_it_looked() {
    let run = User::new().run(&["list"]);
    assert_eq!(run.code, 7);
    assert!(run.err.contains("./kos-data/authority/run/authority.sock"), "{}", run.err);
    let named = User::new().with("KOS_DATA_DIR", "/nowhere").run(&["list", "-o", "json"]);
    assert_eq!((named.code, named.failure()["code"].as_str()), (7, Some("KOS-E0011")));
}

#[test]
fn doctor_says_no_and_what_to_do() {
    let user = User::new();
    let nothing = user.run(&["doctor", "-o", "json"]);
    assert_eq!((nothing.code, nothing.json()["item"]["ok"].as_bool()), (10, Some(false)));
    let server = StandIn::start(|asked| {
        if asked.path.ends_with("/doctor") {
            return Told::item(kos_api::doctor::Doctor::of(vec![kos_api::doctor::Check::good(
                "store", "open",
            )]));
        }
        let status = serde_json::json!({ "apiVersion": "kos.v1", "kind": "Status", "item": {
            "authority": "attic", "version": "9.9.9", "now": "2001-01-01T00:00:00.000Z",
            "startedAt": "2001-01-01T00:00:00.000Z", "devices": { "active": 2 }, "online": 1,
            "openTickets": 0, "ports": { "web": 8640, "tls": 8641, "pki": 8642 }, "reachable": "loopback",
            "log": { "size": 5, "rootHash": "00".repeat(32), "checkpointTime": "2001-01-01T00:00:00.000Z",
                     "assurance": "local-integrity" },
        } });
        assert!(serde_json::from_value::<kos_api::Document<Status>>(status.clone()).is_ok());
        Told::bytes(status.to_string())
    });
    let run = user.run(&["doctor", "-o", "json", "--server", &server.server()]);
    assert_eq!(run.code, 10);
    let checks = run.json()["item"]["checks"].clone();
    let found: Vec<_> = checks
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["ok"].as_bool().unwrap()))
        .collect();
    assert_eq!(found, [("server", true), ("version", false), ("clocks", false), ("store", true)]);
    let status = user.run(&["status", "--server", &server.server()]);
    assert!(status.code == 0 && status.out.contains("active"), "{status:?}");
}
