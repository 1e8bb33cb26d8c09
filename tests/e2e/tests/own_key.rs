//! The key that a device of SEC-1 has of its own, with the real programs: who has it, who is refused without it, and a change of
//! it through kills of both ends.
//!
//! Source: `docs/spec/own-key.md`.
#![cfg(test)]

use std::time::Duration;

use data_encoding::HEXLOWER;
use kos_e2e::{
    fleet::{self, Authority, Device},
    judge::Desk,
    keys, wait,
};
use serde_json::{Value, json};

const SETTINGS: &str = "heartbeat_seconds: 5\n";
const OWN: &str = "own";
/// Number and key, and the pair of the one before.
const ENTRY_BYTES: usize = 36;

fn with(authority: &Authority, serial: &str, profile: &str) -> (Device, String) {
    let mut device = Device::new(serial, &format!("identity:\n  profile: {profile}\n")).unwrap();
    let id = fleet::bring_into_service(authority, &mut device).unwrap();
    (device, id)
}

/// The numbers in the entries of a type about a device.
fn numbers(authority: &Authority, event: &str, device: &str) -> anyhow::Result<Vec<u64>> {
    let list = authority.json(&["device", "events", device, "--event", event])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter_map(|entry| entry["details"]["number"].as_u64()).collect())
}

/// Waits until the device has shown the key with this number.
fn shown(authority: &Authority, device: &str, number: u64) {
    wait::until(&format!("key {number} of {device}"), || {
        Ok(numbers(authority, "own_key_confirmed", device)?.contains(&number).then_some(()))
    })
    .unwrap();
}

/// Waits for a heartbeat that is newer than every one so far.
fn reports(authority: &Authority, device: &str) {
    let before = authority.device(device).unwrap()["lastHeartbeatAt"].clone();
    authority.device_becomes(device, "lastHeartbeatAt", |at| *at != before).unwrap();
}

#[test]
fn each_device_of_sec_1_has_a_key_that_nobody_else_has_and_only_they() {
    let authority = Authority::start_with(SETTINGS).unwrap();
    let mut devices: Vec<_> = ["one", "two"].map(|serial| with(&authority, serial, "SEC-1")).into();
    for (_, id) in &devices {
        shown(&authority, id, 1);
        reports(&authority, id);
    }
    let (mut other, other_id) = with(&authority, "three", "SEC-2");
    reports(&authority, &other_id);
    assert!(numbers(&authority, "own_key_made", &other_id).unwrap().is_empty());
    let refused = authority.kosctl(&["device", "rotate-key", &other_id, "-o", "json"]).unwrap();
    assert_eq!(refused.code(), 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("KOS-E0826"), "{}", refused.stderr);

    // Planned, nothing changes; ordered, the device has the next one, and keeps the one before.
    let id = devices[0].1.clone();
    let planned = authority.kosctl(&["device", "rotate-key", &id, "--dry-run"]).unwrap();
    assert_eq!(planned.code(), 10, "{}", planned.stderr);
    assert_eq!(numbers(&authority, "own_key_made", &id).unwrap(), [1]);
    authority.json(&["device", "rotate-key", &id, "--reason", "a person left"]).unwrap();
    shown(&authority, &id, 2);
    reports(&authority, &id);
    authority.json(&["regen-cert", "--device", &id]).unwrap();
    shown(&authority, &id, 3);
    reports(&authority, &id);

    let mut all = Vec::new();
    for (device, _) in &mut devices {
        device.stop().unwrap();
        all.push(keys::of_device(device.root(), OWN).unwrap().unwrap());
    }
    let [first, second] = [&all[0], &all[1]];
    assert_eq!((first.len(), second.len()), (2 * ENTRY_BYTES, ENTRY_BYTES));
    let found: std::collections::BTreeSet<_> =
        first.chunks(ENTRY_BYTES).chain([&second[..]]).map(|entry| &entry[4..]).collect();
    assert_eq!(found.len(), 3, "no key is there twice");
    other.stop().unwrap();
    assert_eq!(keys::of_device(other.root(), OWN).unwrap(), None);
    // In no file of either end, in no log, and not in what the programs say.
    let mut said = authority.errors();
    said += &authority.json(&["audit", "list", "--limit", "500"]).unwrap().to_string();
    for key in &found {
        assert!(!said.contains(&HEXLOWER.encode(key)));
        for folder in [authority.data(), devices[0].0.root(), devices[1].0.root()] {
            for entry in files_below(folder) {
                let bytes = std::fs::read(&entry).unwrap_or_default();
                assert!(!bytes.windows(32).any(|window| window == *key), "{}", entry.display());
            }
        }
    }
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn who_has_stolen_the_key_of_the_certificate_and_not_the_other_one_is_refused_everywhere() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let (mut device, id) = with(&authority, "victim", "SEC-1");
    shown(&authority, &id, 1);
    device.stop().unwrap();
    let mut thief = device.copied().unwrap();
    let own = keys::of_device(thief.root(), OWN).unwrap().unwrap();
    keys::take_from_device(thief.root(), OWN).unwrap();
    device.run().unwrap();
    reports(&authority, &id);

    // Over the API: everything but the token's key is right.
    let desk = Desk::new().unwrap();
    let operational = keys::of_device(thief.root(), "operational-a").unwrap().unwrap();
    desk.put("key.der", &operational).unwrap();
    desk.agrees("openssl pkey -inform DER -in key.der -out key.pem", "").unwrap();
    let certificate = thief.root().join("etc/kos/identity.cert");
    let root = keys::at(authority.data(), "keys/root.crt");
    let port = authority.ports().tls.to_string();
    let arguments = [
        port.as_str(),
        &root.to_string_lossy(),
        &certificate.to_string_lossy(),
        &desk.at("key.pem"),
        &id,
        &HEXLOWER.encode(&own[4..ENTRY_BYTES]),
    ];
    let (done, said) = desk.python("tests/e2e/judge/token_device.py", &arguments).unwrap();
    assert!(done, "{said}");
    let answers: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answers["without a token"], json!([401, "KOS-E0820"]));
    assert_eq!(answers["without the own key"], json!([401, "KOS-E0822"]));
    assert_eq!(answers["with another"], json!([401, "KOS-E0822"]));
    assert_eq!(answers["with the own key"], json!([200, null]));

    // Over links: the thief's are none, and do not cost the device its own.
    thief.run().unwrap();
    wait::until("the thief to be refused", || {
        let said = thief.program()?.errors();
        Ok((said.matches("the link ended").count() >= 2).then_some(()))
    })
    .unwrap();
    reports(&authority, &id);
    assert_eq!(authority.device(&id).unwrap()["online"], true);
    thief.kill().unwrap();
    authority.stop().unwrap();
    authority.serve().unwrap();
    let listed = authority.json(&["audit", "list", "--limit", "500"]).unwrap().to_string();
    assert!(listed.contains("KOS-E0825"), "the refusal is recorded");
    let refused = authority.json(&["device", "events", &id, "--event", "policy_refused"]).unwrap();
    assert_eq!(refused["items"][0]["details"]["rule"], "own-key", "and as one of this device: {refused}");
    reports(&authority, &id);
    device.stop().unwrap();
}

#[test]
fn a_change_of_the_key_survives_kills_of_either_end_at_any_moment() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let (mut device, id) = with(&authority, "killed", "SEC-1");
    shown(&authority, &id, 1);
    for round in 0..12_u64 {
        authority.json(&["device", "rotate-key", &id]).unwrap();
        wait::pass(Duration::from_millis((round / 2) * 12));
        if round % 2 == 0 {
            device.kill().unwrap();
            device.run().unwrap();
        } else {
            authority.kill().unwrap();
            authority.serve().unwrap();
        }
        shown(&authority, &id, round + 2);
        reports(&authority, &id);
    }
    let made = numbers(&authority, "own_key_made", &id).unwrap();
    let confirmed = numbers(&authority, "own_key_confirmed", &id).unwrap();
    assert_eq!(made, (1..=13).collect::<Vec<_>>());
    assert_eq!(confirmed, made);
    device.stop().unwrap();
}
