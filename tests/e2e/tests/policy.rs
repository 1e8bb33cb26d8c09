//! Security profiles with the real programs: what each profile does at the doors of the network, no way down by any
//! path, and what the operator is told.
//!
//! Source: `docs/spec/policy.md`.
#![cfg(test)]

use std::fs;

use kos_e2e::{
    fleet::{self, Authority, Device},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

const SETTINGS: &str = "heartbeat_seconds: 5\n";
const PROFILES: [&str; 5] = ["SEC-0", "SEC-1", "SEC-2", "SEC-3", "SEC-4"];

/// A device that asked for this profile and reports.
fn with(authority: &Authority, serial: &str, profile: &str) -> (Device, String) {
    let mut device = Device::new(serial, &format!("identity:\n  profile: {profile}\n")).unwrap();
    let id = fleet::bring_into_service(authority, &mut device).unwrap();
    assert_eq!(authority.device(&id).unwrap()["profile"], profile);
    (device, id)
}

/// How a command ends: its exit code, and the code of the error if it has one.
fn ends(authority: &Authority, arguments: &[&str]) -> (i32, String) {
    let done = authority.kosctl(&[arguments, &["-o", "json"]].concat()).unwrap();
    let error: Value = serde_json::from_str(&done.stderr).unwrap_or_default();
    (done.code(), error["item"]["code"].as_str().unwrap_or_default().to_owned())
}

/// The details of the entries of a type about a device.
fn entries(authority: &Authority, event: &str, device: &str) -> Vec<Value> {
    let list = authority.json(&["device", "events", device, "--event", event]).unwrap();
    list["items"].as_array().unwrap().iter().map(|entry| entry["details"].clone()).collect()
}

fn explained(authority: &Authority, device: &str, door: &str) -> Vec<Value> {
    let list = authority.json(&["policy", "explain", device, "--door", door]).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// What `device set-profile` says to a device of SEC-0, SEC-1, SEC-2 (row; its key was made on it, by its own word) that
/// is to get SEC-0 to SEC-4 (column).
const CHANGES: [[(i32, &str); 5]; 3] = {
    // A plan that would change something ends with 10.
    const SAME: (i32, &str) = (0, "");
    const YES: (i32, &str) = (10, "");
    const LOWER: (i32, &str) = (5, "KOS-E0218");
    const UNPROVEN: (i32, &str) = (5, "KOS-E0701");
    [
        [SAME, YES, YES, UNPROVEN, UNPROVEN],
        [LOWER, SAME, YES, UNPROVEN, UNPROVEN],
        [LOWER, LOWER, SAME, UNPROVEN, UNPROVEN],
    ]
};

#[test]
fn each_profile_does_at_the_doors_what_is_written() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let mut devices = Vec::new();
    for (held, row) in PROFILES.iter().zip(CHANGES) {
        let (device, id) = with(&authority, held, held);
        // Commands: to the lobby profile none is given.
        let ordered = ends(&authority, &["set-channel", "--device", &id, "--channel", "beta"]);
        let expected = if *held == "SEC-0" { (5, "KOS-E0700") } else { (0, "") };
        assert_eq!((ordered.0, ordered.1.as_str()), expected, "{held}");
        let channel = if *held == "SEC-0" { "stable" } else { "beta" };
        wait::until("the channel", || Ok((device.status()?["channel"] == channel).then_some(()))).unwrap();
        // Another profile: planned, so that nothing changes.
        for (to, expected) in PROFILES.iter().zip(row) {
            let ended = ends(&authority, &["device", "set-profile", &id, to, "--dry-run"]);
            assert_eq!((ended.0, ended.1.as_str()), expected, "{held} to {to}");
        }
        assert_eq!(authority.device(&id).unwrap()["profile"], *held);
        // What is explained is what the doors did.
        let commands = explained(&authority, &id, "message/command");
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0]["allowed"], *held != "SEC-0");
        assert_eq!(commands[0]["rule"], "scope");
        for decision in explained(&authority, &id, "certificate/change") {
            let at = PROFILES.iter().position(|to| decision["request"] == format!("certificate/change/{to}"));
            assert_eq!(decision["allowed"], row[at.unwrap()].0 != 5, "{held}: {decision}");
        }
        devices.push((device, id));
    }
    let everything = authority.json(&["policy", "explain", &devices[2].1]).unwrap();
    let requests = everything["items"].as_array().unwrap();
    assert!(requests.len() > 70, "{}", requests.len());
    for decision in requests {
        assert_eq!(decision["code"].is_null(), decision["allowed"].as_bool().unwrap(), "{decision}");
        assert!(!decision["why"].as_str().unwrap().is_empty());
    }
    assert_eq!(ends(&authority, &["policy", "explain", &devices[2].1, "--door", "window"]).0, 2);

    let listed = authority.json(&["policy", "list"]).unwrap();
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|p| p["profile"].clone()).collect();
    assert_eq!(names, PROFILES);
    let shown = authority.json(&["policy", "show", "SEC-4"]).unwrap();
    assert_eq!(shown["kind"], "PolicyProfile");
    assert_eq!(shown["item"]["cipherSuites"], serde_json::json!(["TLS_AES_256_GCM_SHA384"]));
    assert_eq!(shown["item"]["evidenceNeeded"], "quote-verified");

    // What was refused for real is in the log, with its rule and why.
    let refused = wait::until("the entry", || {
        let refused = entries(&authority, "policy_refused", &devices[0].1);
        Ok(refused.first().cloned())
    })
    .unwrap();
    assert_eq!((&refused["rule"], &refused["request"]), (&"scope".into(), &"message/command".into()));
    authority.stop().unwrap();
}

#[test]
fn who_claims_more_than_was_proven_is_refused_with_the_reason_and_keeps_its_ticket() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    for profile in ["SEC-3", "SEC-4"] {
        let ticket = authority.ticket(&["--role", "sensor", "--profile", profile]).unwrap();
        let device = Device::new(profile, "").unwrap();
        let refused = device.enrol(&ticket).unwrap();
        assert_eq!(refused.code(), 5, "{}", refused.stderr);
        assert!(refused.stderr.contains("KOS-E0701"), "{}", refused.stderr);
    }
    let tickets = authority.json(&["ticket", "list", "--state", "open"]).unwrap();
    assert_eq!(tickets["items"].as_array().unwrap().len(), 2, "{tickets}");
    assert_eq!(authority.json(&["list"]).unwrap()["items"].as_array().unwrap().len(), 0);
    authority.stop().unwrap();
    authority.serve().unwrap();
    assert!(authority.events().unwrap().contains(&"policy_refused".to_owned()));
}

#[test]
fn a_profile_is_raised_by_a_new_certificate_and_never_comes_down_again() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let (mut device, id) = with(&authority, "raised", "SEC-1");
    let before = authority.device(&id).unwrap();
    authority.json(&["device", "set-profile", &id, "SEC-2", "--yes"]).unwrap();
    authority.device_becomes(&id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
    wait::until("the device to know", || Ok((device.status()?["profile"] == "SEC-2").then_some(()))).unwrap();
    let chain = authority.json(&["identity", "chain", "--device", &id]).unwrap();
    assert_eq!(chain["item"]["valid"], true, "{chain}");
    let changed = entries(&authority, "profile_changed", &id);
    assert_eq!(changed, [serde_json::json!({"from": "SEC-1", "to": "SEC-2"})]);

    // By an operator: refused and recorded.
    assert_eq!(
        ends(&authority, &["device", "set-profile", &id, "SEC-1", "--yes"]),
        (5, "KOS-E0218".to_owned())
    );
    let refused = wait::until("the entry", || {
        let refused = entries(&authority, "policy_refused", &id);
        Ok(refused.first().cloned())
    });
    assert_eq!(refused.unwrap()["rule"], "never-down");

    // By the configuration of the device, which still asks for SEC-1, over a restart and a renewal.
    device.stop().unwrap();
    device.run().unwrap();
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    let before = authority.device(&id).unwrap();
    authority.json(&["regen-cert", "--device", &id]).unwrap();
    authority.device_becomes(&id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
    assert_eq!(authority.device(&id).unwrap()["profile"], "SEC-2");
    assert_eq!(device.status().unwrap()["profile"], "SEC-2");

    // By the way back from quarantine.
    authority.json(&["device", "quarantine", &id, "--reason", "odd", "--yes"]).unwrap();
    authority.json(&["device", "reinstate", &id, "--reason", "cleaned", "--yes"]).unwrap();
    let waiting = authority.device_becomes(&id, "lobby", |lobby| !lobby.is_null()).unwrap();
    let code = waiting["lobby"]["comparisonCode"].as_str().map(str::to_owned);
    let approve = |profile: &str| {
        let mut words = vec!["device", "approve", &id, "--profile", profile, "--yes"];
        if let Some(code) = &code {
            words.extend(["--code", code.as_str()]);
        }
        ends(&authority, &words)
    };
    assert_eq!(approve("SEC-1"), (5, "KOS-E0218".to_owned()));
    assert_eq!(approve("SEC-2").0, 0);
    authority.device_becomes(&id, "state", |state| state == "active").unwrap();
    assert_eq!(authority.device(&id).unwrap()["profile"], "SEC-2");
    device.stop().unwrap();
    authority.stop().unwrap();
}

#[test]
fn a_backup_from_before_a_profile_was_raised_does_not_take_it_back() {
    const PASSPHRASE: &str = "correct horse battery staple";
    let mut lost = Authority::start_with(SETTINGS).unwrap();
    let (device, id) = with(&lost, "restored", "SEC-1");
    let elsewhere = TempDir::new().unwrap();
    let at = |name: &str| elsewhere.path().join(name).to_string_lossy().into_owned();
    fs::write(at("passphrase"), PASSPHRASE).unwrap();
    let (out, passphrase) = (at("backup.age"), at("passphrase"));
    lost.json(&["backup", "create", "--out", &out, "--passphrase-file", &passphrase]).unwrap();
    let before = lost.device(&id).unwrap();
    lost.json(&["device", "set-profile", &id, "SEC-2", "--yes"]).unwrap();
    lost.device_becomes(&id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();

    let head = at("head");
    let published = lost.data().join("authority/log");
    wait::until("the log's files to follow", || {
        lost.json(&["audit", "checkpoint", "--out", &head])?;
        let held = fs::read_to_string(&head)?;
        Ok((fs::read_to_string(published.join("checkpoint"))? == held).then_some(()))
    })
    .unwrap();
    let log = at("log");
    kos_e2e::judge::agrees("cp", &["--recursive", &published.to_string_lossy(), &log], "").unwrap();
    lost.kill().unwrap();

    let mut restored = Authority::put_back(&lost, out.as_ref(), PASSPHRASE).unwrap();
    restored.serve_closed().unwrap();
    let open = ["backup", "restore", "--log", &log, "--against", &head];
    let planned = restored.kosctl(&[&open[..], &["--dry-run"]].concat()).unwrap();
    let line = planned.stdout.lines().find(|line| line.starts_with("to ")).unwrap();
    let name = line.split_whitespace().last().unwrap();
    restored.json(&[&open[..], &["--confirm", name]].concat()).unwrap();
    wait::until("the authority to serve", || Ok(restored.kosctl(&["list"])?.status.success().then_some(())))
        .unwrap();
    restored.device_becomes(&id, "online", |online| *online == true).unwrap();
    assert_eq!(restored.device(&id).unwrap()["profile"], "SEC-2");
    assert_eq!(device.status().unwrap()["profile"], "SEC-2");
    restored.stop().unwrap();
}
