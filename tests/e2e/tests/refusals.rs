//! Bad input to the real programs: each is refused with its own exit code and code, and nothing changes.
#![cfg(test)]

use std::fs;

use kos_base::{EntryId, KeyId};
use kos_e2e::{
    fleet::{self, Authority, Device},
    judge, program,
    ticket::Ticket,
    wait,
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
    let device = Device::new("first", "").unwrap();
    let first = device.enrol(&spent).unwrap();
    assert!(first.status.success(), "{}", first.stderr);
    // Whoever was cut off before it was told asks again, and hears the same.
    let again = device.enrol(&spent).unwrap();
    assert_eq!((again.code(), &again.stdout), (0, &first.stdout), "{}", again.stderr);
    let other = Authority::start().unwrap().ticket(&["--role", "sensor"]).unwrap();
    let elsewhere = device.enrol(&other).unwrap();
    assert_eq!(elsewhere.code(), 6, "{}", elsewhere.stdout);
    assert!(elsewhere.stderr.contains("KOS-E0223"), "{}", elsewhere.stderr);
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
fn tickets_that_nobody_made_are_refused_and_cost_no_use() {
    let (mut authority, other) = (Authority::start().unwrap(), Authority::start().unwrap());
    let text = authority.ticket(&["--role", "sensor"]).unwrap();
    let foreign = other.ticket(&["--role", "sensor"]).unwrap();
    let ours = || Ticket::read(&text).unwrap();
    let uses = |of: &Authority| {
        let all = of.json(&["ticket", "list"]).unwrap();
        all["items"].as_array().unwrap().iter().map(|t| t["usesLeft"].clone()).collect::<Vec<_>>()
    };

    let pin = KeyId::from_bytes([7; 32]);
    let another_root = Ticket { pins: vec![pin], ..ours() }.write().unwrap();
    check(&authority, "pin", "", &another_root, 8, "KOS-E0210");
    // The other authority's ticket at our address: whoever answers is not whom it names.
    let misled = Ticket { addresses: ours().addresses, ..Ticket::read(&foreign).unwrap() };
    check(&authority, "misled", "", &misled.write().unwrap(), 8, "KOS-E0210");
    // With our pins as well: we do not know it.
    let Ticket { addresses, pins, authority: name, .. } = ours();
    let smuggled = Ticket { addresses, pins, authority: name, ..Ticket::read(&foreign).unwrap() };
    check(&authority, "smuggled", "", &smuggled.write().unwrap(), 5, "KOS-E0204");
    let id = EntryId::from_parts(ours().expires_at, [9; 10]);
    check(&authority, "guessed", "", &Ticket { id, ..ours() }.write().unwrap(), 5, "KOS-E0204");
    let secret = [9; 32].into();
    check(&authority, "secret", "", &Ticket { secret, ..ours() }.write().unwrap(), 5, "KOS-E0206");
    check(&authority, "half", "", &text[..text.len() / 2], 2, "KOS-E0201");

    assert_eq!((uses(&authority), uses(&other)), (vec![Value::from(1)], vec![Value::from(1)]));
    let done = Device::new("honest", "").unwrap().enrol(&text).unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    // Refusals are recorded by the minute, and what is not recorded yet when it stops.
    authority.stop().unwrap();
    authority.serve().unwrap();
    assert!(authority.events().unwrap().contains(&"enrolment_refused".to_owned()));
}

/// A device that shows this hardware and nothing else.
fn with_hardware(mac: &str, serial: &str) -> Device {
    let device = Device::new("", "").unwrap();
    let hardware = format!("hardware:\n  macs: [\"{mac}\"]\n  serials: [\"{serial}\"]\n");
    fs::write(device.root().join("etc/kos/config.yaml"), hardware).unwrap();
    device
}

#[test]
fn one_address_or_one_serial_that_was_seen_before_is_enough_for_an_alert() {
    let authority = Authority::start().unwrap();
    let first = with_hardware("00:1a:2b:00:00:01", "S1");
    assert!(first.enrol(&authority.ticket(&["--role", "sensor"]).unwrap()).unwrap().status.success());
    let twins = [
        with_hardware("00:1a:2b:00:00:01", "S2"),
        with_hardware("00:1a:2b:00:00:03", "S1"),
        with_hardware("00:1a:2b:00:00:04", "S4"),
    ];
    let mut waiting = Vec::new();
    for (alerts, twin) in (1..=2).zip(&twins) {
        let ticket = authority.ticket(&["--role", "sensor"]).unwrap();
        let root = twin.root().to_string_lossy().into_owned();
        waiting.push(program::Program::start("kosd", &["enroll", "--root", &root], &ticket).unwrap());
        wait::until("the alert", || {
            let events = authority.events()?;
            Ok((events.iter().filter(|event| *event == "clone_alert").count() == alerts).then_some(()))
        })
        .unwrap();
        let list = authority.json(&["device", "list", "--state", "pending"]).unwrap();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), alerts, "{list}");
        assert!(items.iter().all(|d| !d["lobby"]["clones"].as_array().unwrap().is_empty()), "{list}");
    }
    let [.., stranger] = &twins;
    let done = stranger.enrol(&authority.ticket(&["--role", "sensor"]).unwrap()).unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
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
    let named = authority.device(&id).unwrap()["name"].clone();
    let done = authority.kosctl(&["device", "rename", &id, "a\u{1b}[31mb"]).unwrap();
    assert_eq!(done.code(), 2, "{}", done.stderr);
    assert!(!done.stderr.contains('\u{1b}') && !done.stdout.contains('\u{1b}'));
    assert!(done.stderr.contains("KOS-E0002"), "{}", done.stderr);
    // Neither by whoever speaks with the API by other means.
    let (socket, url) =
        (authority.socket().to_string_lossy().into_owned(), format!("http://a/api/v1/devices/{id}/rename"));
    let body = r#"{"name": "a\u001b[31mb"}"#;
    let json = "content-type: application/json";
    let words = ["-s", "--unix-socket", &socket, "-X", "POST", "-H", json, "-d", body, &url];
    let said = judge::agrees("curl", &words, "").unwrap();
    assert!(said.contains("KOS-E0016") && !said.contains('\u{1b}'), "{said}");
    assert_eq!(authority.device(&id).unwrap()["name"], named);
    let shown = authority.kosctl(&["device", "show", &id]).unwrap();
    let events = authority.kosctl(&["device", "events", &id]).unwrap();
    for text in [shown.stdout, events.stdout, authority.errors()] {
        assert!(!text.contains('\u{1b}') && !text.contains("[31m"), "{text}");
    }
    assert!(!authority.events().unwrap().contains(&"device_renamed".to_owned()));
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

#[test]
fn settings_that_cannot_be_used_end_the_authority_with_their_code() {
    let mut authority = Authority::start().unwrap();
    let (ports, data) = (authority.ports(), authority.data().to_string_lossy().into_owned());
    authority.stop().unwrap();
    let file = authority.data().join("authority/authority.yaml");
    for (content, code, says) in [
        (&b"heartbeat_secnds: 60\n"[..], "KOS-E0004", "did you mean `heartbeat_seconds`"),
        (b"# first\nheartbeat_seconds: 1\n", "KOS-E0003", "line 2"),
        (b"port_base: a\n", "KOS-E0003", "line 1"),
        (b"name: [\n", "KOS-E0003", "line"),
        (b"approve:\n- name: a\n", "KOS-E0003", "line 2"),
        (b"name: att\xffic\n", "KOS-E0003", "UTF-8"),
    ] {
        fs::write(&file, content).unwrap();
        let base = ports.web.to_string();
        let done =
            program::run("kos-authority", &["serve", "--data", &data, "--port-base", &base], "").unwrap();
        assert_eq!(done.code(), 2, "{code}: {}", done.stderr);
        for part in [code, says, "authority.yaml", "fix "] {
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
        assert!(code != "KOS-E0003" || done.stderr.contains("docs/guide/install.md"), "{}", done.stderr);
    }
    fs::write(&file, "").unwrap();
    authority.serve().unwrap();
}
