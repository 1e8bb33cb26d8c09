//! Bad input to the real programs: each is refused with its own exit code and code, and nothing changes.
#![cfg(test)]

use kos_e2e::{
    fleet::{self, Authority, Device},
    program, wait,
};
use serde_json::Value;

/// What a refused enrolment says, and that it left no device behind.
fn check(authority: &Authority, serial: &str, configuration: &str, ticket: &str, exit: i32, code: &str) {
    let before = authority.json(&["list"]).unwrap();
    let device = Device::new(serial, configuration).unwrap();
    let done = device.enrol(ticket).unwrap();
    assert_eq!(done.code(), exit, "{serial}: {}{}", done.stdout, done.stderr);
    assert!(done.stderr.contains(code), "{serial} should be {code}: {}", done.stderr);
    assert!(done.stderr.contains("fix "), "{serial}: no fix in {}", done.stderr);
    assert_eq!(authority.json(&["list"]).unwrap()["items"], before["items"], "{serial}");
}

#[test]
fn tickets_that_are_not_good_let_nobody_in() {
    let authority = Authority::start().unwrap();
    let ticket = |more: &[&str]| authority.ticket(&[&["--role", "sensor"], more].concat()).unwrap();

    let good = ticket(&[]);
    check(&authority, "cut", "", &good[..good.len() - 9], 2, "KOS-E0201");
    check(&authority, "nonsense", "", "hello", 2, "KOS-E0201");
    check(&authority, "empty", "", "", 3, "KOS-E0224");
    check(&authority, "role", "identity:\n  role: gateway\n", &good, 5, "KOS-E0207");
    check(&authority, "profile", "identity:\n  profile: SEC-3\n", &good, 5, "KOS-E0208");
    check(&authority, "bound", "", &ticket(&["--serial", "another"]), 5, "KOS-E0209");

    let spent = ticket(&[]);
    assert!(Device::new("first", "").unwrap().enrol(&spent).unwrap().status.success());
    check(&authority, "second", "", &spent, 5, "KOS-E0203");

    let revoked = authority.json(&["ticket", "create", "--role", "sensor"]).unwrap();
    let id = revoked["item"]["ticketId"].as_str().unwrap();
    authority.json(&["ticket", "revoke", id, "--yes"]).unwrap();
    check(&authority, "revoked", "", revoked["item"]["text"].as_str().unwrap(), 5, "KOS-E0205");

    let short = ticket(&["--expires", "1s"]);
    wait::until("the ticket to expire", || {
        let all = authority.json(&["ticket", "list"])?;
        let states: Vec<_> =
            all["items"].as_array().into_iter().flatten().map(|t| t["state"].clone()).collect();
        Ok(states.contains(&Value::from("expired")).then_some(()))
    })
    .unwrap();
    check(&authority, "late", "", &short, 5, "KOS-E0202");
}

#[test]
fn the_same_hardware_under_another_key_waits_in_the_lobby_with_an_alert() {
    let authority = Authority::start().unwrap();
    let first = Device::new("twin", "").unwrap();
    assert!(first.enrol(&authority.ticket(&["--role", "sensor"]).unwrap()).unwrap().status.success());
    let mut second = Device::new("twin", "").unwrap();
    let ticket = authority.ticket(&["--role", "sensor"]).unwrap();
    let waiting =
        program::Program::start("kosd", &["enroll", "--root", &second.root().to_string_lossy()], &ticket)
            .unwrap();
    let pending = wait::until("the twin to wait", || {
        let list = authority.json(&["list"])?;
        let pending =
            list["items"].as_array().into_iter().flatten().find(|d| d["state"] == "pending").cloned();
        Ok(pending)
    })
    .unwrap();
    assert!(authority.events().unwrap().contains(&"clone_alert".to_owned()));
    let all = authority.json(&["ticket", "list"]).unwrap();
    let open = all["items"].as_array().unwrap().iter().filter(|t| t["state"] == "open").count();
    assert_eq!(open, 1, "the ticket is not spent: {all}");

    // A person lets it in all the same.
    let id = pending["deviceId"].as_str().unwrap();
    authority.json(&["device", "approve", id, "--profile", "SEC-2", "--yes"]).unwrap();
    authority.device_becomes(id, "state", |s| s == "active").unwrap();
    drop(waiting);
    second.run().unwrap();
    authority.device_becomes(id, "lastHeartbeatAt", |at| !at.is_null()).unwrap();
    second.stop().unwrap();
}

#[test]
fn programs_refuse_what_makes_no_sense_and_say_so() {
    let authority = Authority::start().unwrap();
    let data = authority.data().to_string_lossy().into_owned();
    for (name, arguments, exit, code) in [
        ("kos-authority", vec!["init", "--data", &data], 6, "KOS-E0102"),
        ("kos-authority", vec!["serve", "--data", &data], 6, "KOS-E0102"),
        ("kos-authority", vec!["serve", "--data", "/nowhere/at/all"], 3, "KOS-E0021"),
        ("kosctl", vec!["--server", "unix:/nowhere/x.sock", "list"], 7, "KOS-E00"),
        ("kosctl", vec!["--server", "nonsense", "list"], 2, ""),
        ("kosctl", vec!["explain", "KOS-E9999"], 2, ""),
    ] {
        let done = program::run(name, &arguments, "").unwrap();
        assert_eq!(done.code(), exit, "{name} {arguments:?}: {}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains(code), "{name} {arguments:?}: {}", done.stderr);
    }
    for (arguments, exit) in [
        (vec!["device", "show", "kdev-0000"], 3),
        (vec!["device", "show", "x"], 3),
        (vec!["audit", "show", "999999"], 3),
        (vec!["ticket", "create", "--role", "king"], 2),
        (vec!["ticket", "create", "--role", "sensor", "--expires", "2h"], 2),
    ] {
        let done = authority.kosctl(&arguments).unwrap();
        assert_eq!(done.code(), exit, "{arguments:?}: {}{}", done.stdout, done.stderr);
        assert!(done.stdout.is_empty(), "{arguments:?}: {}", done.stdout);
    }
}

#[test]
fn a_name_with_terminal_escapes_reaches_no_terminal() {
    let authority = Authority::start().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "escape").unwrap();
    let done = authority.kosctl(&["device", "rename", &id, "a\u{1b}[31mb"]).unwrap();
    assert_eq!(done.code(), 2, "{}", done.stderr);
    assert!(!done.stderr.contains('\u{1b}') && !done.stdout.contains('\u{1b}'));
    device.stop().unwrap();
}

#[test]
fn a_config_with_an_unknown_key_is_refused_with_its_line() {
    let device = Device::new("typo", "netwrk:\n  protocol: klp\n").unwrap();
    let done = program::run("kosd", &["run", "--root", &device.root().to_string_lossy()], "").unwrap();
    assert_eq!(done.code(), 2, "{}", done.stderr);
    assert!(done.stderr.contains("config.yaml") && done.stderr.contains(":4:"), "{}", done.stderr);
    assert!(done.stderr.contains("did you mean `network`"), "{}", done.stderr);
}
