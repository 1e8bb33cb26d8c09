//! A device that is taken for compromised: cut, cleared, reported on, and back only by its key and people.
#![cfg(test)]

use std::{fs, path::Path};

use anyhow::Result;
use kos_e2e::{
    fleet::{self, Authority, Device},
    judge,
    operator::Operator,
    program::files,
    secret::Secret,
    wait,
};
use serde_json::Value;

/// A guardian's key of Debian's `age-keygen`: the file, and its recipient.
fn guardian_key(folder: &Path) -> (String, String) {
    let file = folder.join("guardian.key").to_string_lossy().into_owned();
    judge::agrees("age-keygen", &["-o", &file], "").unwrap();
    let recipient = judge::agrees("age-keygen", &["-y", &file], "").unwrap();
    (file, recipient.trim().to_owned())
}

/// An authority with a guardian that has a key, and a device in service.
fn guarded(serial: &str, key: &str) -> (Authority, Device, String) {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let syslog = ["guardian", "add", "night", "--syslog", "udp://127.0.0.1:9", "--bundle-key", key];
    authority.json(&syslog).unwrap();
    let (device, id) = fleet::device_in_service(&authority, serial).unwrap();
    (authority, device, id)
}

fn quarantine(authority: &Authority, id: &str) -> Value {
    authority.json(&["device", "quarantine", id, "--reason", "acts strangely", "--yes"]).unwrap()
}

fn confirmed(authority: &Authority, id: &str) -> Value {
    authority.device_becomes(id, "quarantine", |case| !case["confirmedAt"].is_null()).unwrap()
}

fn reinstate(authority: &Authority, id: &str) {
    authority.json(&["device", "reinstate", id, "--reason", "looked at", "--yes"]).unwrap();
}

/// The device's own log, as its events.
fn own_events(device: &Device) -> Result<Vec<String>> {
    let list = fleet::json(&device.root().join("run/kos/kosd.sock"), &["audit", "list"])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter_map(|entry| entry["eventType"].as_str().map(str::to_owned)).collect())
}

fn issue(device: &Value) -> u32 {
    device["kidSubject"].as_str().unwrap().rsplit_once('/').unwrap().1.parse().unwrap()
}

#[test]
fn a_device_is_cut_cleared_reported_on_and_comes_back_by_its_key_and_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let (key, recipient) = guardian_key(folder.path());
    let (mut authority, mut device, id) = guarded("quarantine-1", &recipient);
    let before = authority.device(&id).unwrap();
    let mut keys = Secret::keys_of_device(device.root()).unwrap();
    let certificate = device.root().join("etc/kos/identity.cert");
    assert!(certificate.exists());

    let planned = authority.kosctl(&["device", "quarantine", &id, "--dry-run", "-o", "json"]).unwrap();
    assert_eq!(planned.code(), 10, "{}", planned.stderr);
    let planned: Value = serde_json::from_str(&planned.stdout).unwrap();
    let effects = planned["item"]["effects"].to_string();
    for told in ["device_quarantined", "quarantine_ordered", "secrets_rotated", "for 1 guardians"] {
        assert!(effects.contains(told), "{told}: {effects}");
    }
    assert_eq!(authority.device(&id).unwrap()["state"], "active", "a plan changes nothing");

    let ordered = quarantine(&authority, &id);
    assert_eq!(ordered["item"]["state"], "quarantined", "{ordered}");
    let shown = confirmed(&authority, &id);
    assert_eq!((&shown["online"], &shown["certSerial"]), (&false.into(), &Value::Null), "{shown}");

    // On the device: state, log, and nothing that came from the authority or was made for it.
    let status = device.status().unwrap();
    assert_eq!(status["state"], "quarantined", "{status}");
    assert!(status["stateReason"].to_string().contains("KOS-E0762"), "{status}");
    assert!(own_events(&device).unwrap().iter().any(|event| event == "quarantine_ordered"));
    assert!(!certificate.exists());
    let kept = Secret::keys_of_device(device.root()).unwrap();
    assert_eq!(kept.len() + 2, keys.len(), "operational and agreement key are gone, and nothing else");

    // The guardian opens what the device sealed with a program that is not ours, and nobody else does.
    let bundle = folder.path().join("bundle.age").to_string_lossy().into_owned();
    let got = authority.kosctl(&["device", "forensics", &id, "--out", &bundle]).unwrap();
    assert!(got.status.success(), "{}", got.stderr);
    let opened = judge::agrees("age", &["-d", "-i", &key, &bundle], "").unwrap();
    let found: Value = serde_json::from_str(&opened).unwrap();
    assert_eq!((&found["deviceId"], &found["format"]), (&id.clone().into(), &"kos-forensics/v1".into()));
    assert_eq!(found["order"], shown["quarantine"]["orderId"]);
    assert!(found["config"]["text"].as_str().unwrap().contains("quarantine-1"));
    let entries = found["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.last().unwrap()["eventType"], "quarantine_ordered", "{entries:?}");
    assert!(found["processes"].as_array().unwrap().len() > 1);
    for secret in &keys {
        secret.is_not_in("the bundle", opened.as_bytes()).unwrap();
    }
    let (stranger, _) = guardian_key(tempfile::tempdir().unwrap().keep().as_path());
    assert!(!judge::run("age", &["-d", "-i", &stranger, &bundle], "").unwrap().status.success());

    // One approval is enough for SEC-2. The certificate has a higher number, and other keys.
    reinstate(&authority, &id);
    let back = authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    assert_eq!((&back["state"], &back["quarantine"]), (&"active".into(), &Value::Null), "{back}");
    assert!(issue(&back) > issue(&before), "{back}");
    assert_ne!(back["operationalKeyId"], before["operationalKeyId"]);
    assert_eq!(back["identityKeyId"], before["identityKeyId"]);
    assert!(certificate.exists());
    let is_back = |events: &[String]| events.iter().any(|event| event == "device_reinstated");
    wait::until("the device to say so", || Ok(is_back(&own_events(&device)?).then_some(()))).unwrap();
    let state = device.root().join("var/lib/kos/device");
    let bundles =
        files(&state).unwrap().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "age"));
    assert_eq!(bundles.count(), 0, "the bundle is not needed on the device any more");
    // The bundle is there as before, among those of all its quarantines.
    let listed = authority.json(&["device", "forensics", &id, "--list"]).unwrap();
    let (order, current) = (&listed["items"][0]["orderId"], &listed["items"][0]["current"]);
    assert_eq!((order, current), (&shown["quarantine"]["orderId"], &false.into()), "{listed}");
    let (again, named) = (format!("{bundle}.again"), format!("{bundle}.named"));
    for words in [vec!["--out", &again], vec!["--order", order.as_str().unwrap(), "--out", &named]] {
        let got = authority.kosctl(&[&["device", "forensics", &id], &words[..]].concat()).unwrap();
        assert!(got.status.success(), "{words:?}: {}", got.stderr);
    }
    for file in [&again, &named] {
        assert_eq!(fs::read(file).unwrap(), fs::read(&bundle).unwrap());
    }
    keys.retain(|secret| kept.iter().all(|kept| kept != secret));
    for (path, bytes) in files(device.root()).unwrap() {
        for secret in &keys {
            secret.is_not_in(&path.display().to_string(), &bytes).unwrap();
        }
    }

    let mut from = authority.events().unwrap().into_iter();
    for step in [
        "device_quarantined",
        "quarantine_ordered",
        "certificate_revoked",
        "secrets_rotated",
        "quarantine_confirmed",
        "forensics_received",
        "reinstatement_approved",
        "device_reinstated",
        "device_active",
    ] {
        assert!(from.any(|event| event == step), "no `{step}` in its place");
    }
    let alerts = authority.json(&["audit", "alerts", "list"]).unwrap();
    let rules: Vec<&str> =
        alerts["items"].as_array().unwrap().iter().filter_map(|alert| alert["rule"].as_str()).collect();
    assert!(rules.contains(&"quarantine"), "{rules:?}");
    device.stop().unwrap();
    authority.stop().unwrap();
}

#[test]
fn a_device_that_was_away_hears_its_order_at_its_first_contact_and_a_kill_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, recipient) = guardian_key(folder.path());
    let (mut authority, mut device, id) = guarded("quarantine-2", &recipient);
    device.kill().unwrap();
    quarantine(&authority, &id);
    assert_eq!(authority.device(&id).unwrap()["quarantine"]["confirmedAt"], Value::Null);
    // Killed wherever it is, and the authority as well: some of these come in the middle of it.
    for round in 0..6 {
        device.run().unwrap();
        let events = wait::until("the device to be up", || Ok(own_events(&device).ok())).unwrap();
        if round % 2 == 1 {
            authority.kill().unwrap();
            authority.serve().unwrap();
        } else if round > 0 && !events.iter().any(|event| event == "quarantine_ordered") {
            let heard = || Ok(own_events(&device)?.contains(&"quarantine_ordered".to_owned()).then_some(()));
            wait::until("the order to be heard", heard).unwrap();
        }
        device.kill().unwrap();
    }
    device.run().unwrap();
    let shown = confirmed(&authority, &id);
    assert!(shown["quarantine"]["forensicsBytes"].as_u64() > Some(1_000), "{shown}");
    let events = authority.events().unwrap();
    let count = |event: &str| events.iter().filter(|found| *found == event).count();
    assert_eq!((count("quarantine_confirmed"), count("forensics_received")), (1, 1), "{events:?}");
    // Killed on the way back, too.
    reinstate(&authority, &id);
    device.kill().unwrap();
    device.run().unwrap();
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    device.stop().unwrap();
    authority.stop().unwrap();
}

#[test]
fn nothing_but_the_reinstatement_leads_out_and_a_second_quarantine_is_another_case() {
    let folder = tempfile::tempdir().unwrap();
    let (_, recipient) = guardian_key(folder.path());
    let (mut authority, mut device, id) = guarded("quarantine-3", &recipient);
    quarantine(&authority, &id);
    let first = confirmed(&authority, &id)["quarantine"]["orderId"].clone();
    // Again is no other order, and an ordinary approval is none for this.
    assert_eq!(quarantine(&authority, &id)["item"]["quarantine"]["orderId"], first);
    for refused in [["device", "approve", &id, "--yes"], ["device", "suspend", &id, "--yes"]] {
        let done = authority.kosctl(&refused).unwrap();
        assert_eq!(done.code(), 6, "{refused:?}: {}", done.stderr);
    }
    device.stop().unwrap();
    // The device itself does not leave either: not with a ticket, and not under another authority.
    let ticket = authority.ticket(&["--role", "sensor"]).unwrap();
    let done = device.enrol(&ticket).unwrap();
    assert!(!done.status.success(), "{}", done.stdout);
    device.run().unwrap();

    let anna = Operator::here(&authority, "anna", "operator").unwrap();
    let done = anna.kosctl(&["--context", "home", "device", "reinstate", &id, "--yes"]).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    quarantine(&authority, &id);
    let second = confirmed(&authority, &id);
    assert_ne!(second["quarantine"]["orderId"], first);
    assert_eq!(second["quarantine"]["approvals"], 0, "what was approved then does not count now");
    fs::metadata(device.root().join("etc/kos/identity.cert")).unwrap_err();
    device.stop().unwrap();
    authority.stop().unwrap();
}
