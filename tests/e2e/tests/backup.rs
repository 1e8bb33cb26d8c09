//! A machine is lost: what a backup brings back, and what it must not.
#![cfg(test)]

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

use kos_e2e::{
    fleet::{self, Authority, Device},
    program, wait,
};
use serde_json::Value;
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";
const SETTINGS: &str = "heartbeat_seconds: 5\n";

/// Files that stay when the machine of the authority is gone.
struct Elsewhere {
    folder: TempDir,
}

impl Elsewhere {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The line end is of the editor, not of the passphrase.
        fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\r\n")).unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn back_up(&self, authority: &Authority) -> PathBuf {
        let (out, passphrase) = (self.at("backup.age"), self.at("passphrase"));
        let made =
            authority.json(&["backup", "create", "--out", &out, "--passphrase-file", &passphrase]).unwrap();
        assert_eq!(made["kind"], "SealedFile");
        assert_eq!(made["item"]["bytes"].as_u64(), Some(fs::metadata(&out).unwrap().len()));
        out.into()
    }

    /// The log as it is published, and its newest head.
    fn copy_log(&self, authority: &Authority) {
        // The log may still grow by what follows from the last change, such as a new revocation list.
        let published = authority.published().unwrap();
        let log = self.at("log");
        program::copy(&published, Path::new(&log)).unwrap();
        fs::copy(Path::new(&log).join("checkpoint"), self.at("head")).unwrap();
    }
}

fn state(authority: &Authority, id: &str) -> String {
    authority.device(id).unwrap()["state"].as_str().unwrap().to_owned()
}

fn issue(authority: &Authority, id: &str) -> Value {
    authority.device(id).unwrap()["kidSubject"].clone()
}

/// An authority that had three devices and a ticket when it was backed up.
fn fleet() -> (Authority, Elsewhere, PathBuf, Vec<(Device, String)>) {
    let authority = Authority::start_with(SETTINGS).unwrap();
    let devices =
        (0..3).map(|n| fleet::device_in_service(&authority, &format!("backup-{n}")).unwrap()).collect();
    authority.json(&["ticket", "create", "--role", "sensor"]).unwrap();
    let elsewhere = Elsewhere::new();
    let backup = elsewhere.back_up(&authority);
    (authority, elsewhere, backup, devices)
}

#[test]
fn a_newer_log_brings_back_what_was_revoked_and_lets_everybody_else_return() {
    let (mut lost, elsewhere, backup, mut devices) = fleet();
    let [quiet, renewed, stolen] = [0, 1, 2].map(|n| devices[n].1.clone());
    let before = issue(&lost, &renewed);
    lost.json(&["regen-cert", "--device", &renewed]).unwrap();
    lost.device_becomes(&renewed, "kidSubject", |subject| *subject != before).unwrap();
    lost.json(&["device", "quarantine", &stolen, "--reason", "stolen", "--yes"]).unwrap();
    wait::until("the stolen one to obey", || {
        Ok((devices[2].0.status()?["state"] == "quarantined").then_some(()))
    })
    .unwrap();
    let serial = lost.device(&quiet).unwrap()["certSerial"].clone();
    let (newcomer, unknown) = fleet::device_in_service(&lost, "backup-new").unwrap();
    devices.push((newcomer, unknown.clone()));
    elsewhere.copy_log(&lost);
    lost.kill().unwrap();

    let mut restored = Authority::put_back(&lost, &backup, PASSPHRASE).unwrap();
    restored.serve_closed().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", restored.ports().tls)).is_err(), "a closed authority listens");
    assert!(TcpStream::connect(("127.0.0.1", restored.ports().pki)).is_err(), "a closed authority listens");
    let refused = restored.kosctl(&["list"]).unwrap();
    assert_eq!(refused.code(), 6, "{}", refused.stderr);

    let (log, head) = (elsewhere.at("log"), elsewhere.at("head"));
    let open = ["backup", "restore", "--log", &log, "--against", &head];
    let planned = restored.kosctl(&[&open[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(planned.code(), 10, "{}", planned.stderr);
    let name = lost_name(&planned.stdout);
    let opened = restored.json(&[&open[..], &["--confirm", &name]].concat()).unwrap();
    let item = &opened["item"];
    assert_eq!(
        (&item["loss"], &item["returning"], &item["stopped"], &item["unknown"]),
        (&false.into(), &1.into(), &1.into(), &1.into()),
        "{opened}"
    );

    wait::until("the authority to serve", || Ok(restored.kosctl(&["list"])?.status.success().then_some(())))
        .unwrap();
    assert_eq!(state(&restored, &stolen), "quarantined");
    // The order is not in the log. The device has obeyed it all the same, and stays out until somebody says otherwise.
    let case = restored.device(&stolen).unwrap()["quarantine"].clone();
    assert_eq!((&case["orderId"], &case["approvals"]), (&Value::Null, &0.into()), "{case}");
    wait::until("the stolen one to be out", || {
        Ok((devices[2].0.status()?["state"] == "quarantined").then_some(()))
    })
    .unwrap();
    assert_eq!(restored.device(&stolen).unwrap()["online"], false);
    // The one that nothing happened to keeps its certificate; the one that had renewed gets another by its identity key.
    restored.device_becomes(&quiet, "online", |online| *online == true).unwrap();
    assert_eq!(restored.device(&quiet).unwrap()["certSerial"], serial);
    restored.device_becomes(&renewed, "online", |online| *online == true).unwrap();
    let numbers = [before, issue(&restored, &renewed)]
        .map(|kid| kid.as_str().unwrap().rsplit_once('/').unwrap().1.to_owned());
    assert_eq!(numbers, ["001", "003"]);
    // The backup does not know the newcomer: it asks to be let in again, under another id.
    let waiting = wait::until("the newcomer to wait", || {
        let list = restored.json(&["device", "list", "--state", "pending"])?;
        Ok(list["items"].as_array().and_then(|items| items.first()).cloned())
    });
    let waiting = waiting.unwrap();
    let waiting = waiting["deviceId"].as_str().unwrap().to_owned();
    assert_ne!(waiting, unknown);
    // It knows its authority by its pin, and shows no code.
    let approve = ["device", "approve", &waiting, "--profile", "SEC-2", "--yes"];
    let asked = restored.kosctl(&approve).unwrap();
    assert!(asked.code() == 2 && asked.stderr.contains("--pinned"), "{}", asked.stderr);
    restored.json(&[&approve[..], &["--pinned"]].concat()).unwrap();
    restored.device_becomes(&waiting, "online", |online| *online == true).unwrap();

    restored.json(&["device", "reinstate", &stolen, "--yes"]).unwrap();
    let back = restored.device_becomes(&stolen, "online", |online| *online == true).unwrap();
    assert_eq!(back["kidSubject"].as_str().unwrap().rsplit_once('/').unwrap().1, "002", "{back}");

    let verdict = restored.json(&["audit", "verify", "--against", &head]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    let tickets = restored.json(&["ticket", "list", "--state", "open"]).unwrap();
    assert_eq!(tickets["items"], Value::Array(Vec::new()));
    let events = restored.events().unwrap();
    for event in ["backup_created", "authority_restored", "restore_opened"] {
        assert!(events.iter().any(|found| found == event), "{event}: {events:?}");
    }
    for (mut device, _) in devices {
        device.stop().unwrap();
    }
    restored.stop().unwrap();
}

/// The name of the authority in a plan.
fn lost_name(plan: &str) -> String {
    let line = plan.lines().find(|line| line.starts_with("to ")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn what_was_taken_back_or_replaced_after_the_backup_does_not_count_again() {
    let mut lost = Authority::start_with(SETTINGS).unwrap();
    let (mut device, id) = fleet::device_in_service(&lost, "backup-policy").unwrap();
    let elsewhere = Elsewhere::new();
    let permit = "@id(\"all\")\npermit(principal, action == Action::\"send\", resource);\n";
    let again = permit.replace("all", "again");
    let apply = |authority: &Authority, version: u32, policies: &str| {
        let path = elsewhere.at("manifest");
        fs::write(&path, format!("// manifest open {version}\n{policies}")).unwrap();
        authority.json(&["policy", "apply", &path, "--yes"]).unwrap()["item"]["counter"].as_u64().unwrap()
    };
    let took = |authority: &Authority, above: u64| {
        wait::until("the device to take what is in force", || {
            let list = authority.json(&["audit", "list", "--log-of", &id]).unwrap_or_default();
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let is_it = |entry: &Value| {
                entry["eventType"] == "policy_applied" && entry["details"]["counter"].as_u64() > Some(above)
            };
            Ok(items.iter().any(is_it).then_some(()))
        })
        .unwrap();
    };
    let ek = "a7".repeat(32);
    apply(&lost, 1, permit);
    lost.json(&["attest", "ek", "add", &ek, "--note", "bench 3"]).unwrap();
    lost.json(&["guardian", "add", "siren", "--device", &id]).unwrap();
    let backup = elsewhere.back_up(&lost);
    let newer = apply(&lost, 2, &format!("{permit}{again}"));
    lost.json(&["attest", "ek", "remove", &ek, "--yes"]).unwrap();
    lost.json(&["guardian", "remove", "siren", "--yes"]).unwrap();
    took(&lost, newer - 1);
    elsewhere.copy_log(&lost);
    lost.kill().unwrap();

    let mut restored = Authority::put_back(&lost, &backup, PASSPHRASE).unwrap();
    restored.serve_closed().unwrap();
    let (log, head) = (elsewhere.at("log"), elsewhere.at("head"));
    let open = ["backup", "restore", "--log", &log, "--against", &head];
    let planned = restored.kosctl(&[&open[..], &["--dry-run"]].concat()).unwrap();
    assert!(planned.stdout.contains("open, version 2: not in the backup"), "{}", planned.stdout);
    let name = lost_name(&planned.stdout);
    let opened = restored.json(&[&open[..], &["--confirm", &name]].concat()).unwrap();
    assert_eq!(opened["item"]["applyAgain"], serde_json::json!(["open, version 2"]), "{opened}");
    wait::until("the authority to serve", || Ok(restored.kosctl(&["list"])?.status.success().then_some(())))
        .unwrap();
    let keys = restored.json(&["attest", "ek", "list"]).unwrap();
    assert_eq!(keys["items"], Value::Array(Vec::new()));
    // It is told what waits for it, and is no guardian any more.
    assert_ne!(restored.kosctl(&["guardian", "remove", "siren", "--yes"]).unwrap().code(), 0);
    let events = restored.events().unwrap();
    assert_eq!(events.iter().filter(|event| *event == "guardian_removed").count(), 2);
    took(&restored, newer);
    let last = apply(&restored, 2, &format!("{permit}{again}"));
    took(&restored, last - 1);
    device.stop().unwrap();
    restored.stop().unwrap();
}

#[test]
fn when_nothing_newer_is_left_everybody_waits_before_a_person() {
    let (mut lost, _elsewhere, backup, mut devices) = fleet();
    let first = devices[0].1.clone();
    lost.json(&["device", "suspend", &devices[2].1, "--reason", "looks odd", "--yes"]).unwrap();
    lost.kill().unwrap();
    let mut restored = Authority::put_back(&lost, &backup, PASSPHRASE).unwrap();
    restored.serve_closed().unwrap();
    let planned = restored.kosctl(&["backup", "restore", "--declare-loss", "--dry-run"]).unwrap();
    let name = lost_name(&planned.stdout);
    let wrong = restored.kosctl(&["backup", "restore", "--declare-loss", "--confirm", "other"]).unwrap();
    assert_eq!(wrong.code(), 2, "{}", wrong.stderr);
    let opened = restored.json(&["backup", "restore", "--declare-loss", "--confirm", &name]).unwrap();
    assert_eq!((&opened["item"]["loss"], &opened["item"]["waiting"]), (&true.into(), &3.into()), "{opened}");
    wait::until("the authority to serve", || Ok(restored.kosctl(&["list"])?.status.success().then_some(())))
        .unwrap();
    for (_, id) in &devices {
        assert_eq!(state(&restored, id), "pending");
    }
    restored.device_becomes(&first, "lobby", |lobby| !lobby.is_null()).unwrap();
    restored.json(&["device", "approve", &first, "--profile", "SEC-2", "--yes"]).unwrap();
    restored.device_becomes(&first, "online", |online| *online == true).unwrap();
    for (device, _) in &mut devices {
        device.stop().unwrap();
    }
    restored.stop().unwrap();
}

#[test]
fn a_backup_that_is_damaged_or_of_another_key_is_named_and_changes_nothing() {
    let authority = Authority::start_with(SETTINGS).unwrap();
    let elsewhere = Elsewhere::new();
    let backup = elsewhere.back_up(&authority).to_string_lossy().into_owned();
    let passphrase = elsewhere.at("passphrase");
    let verify = |file: &str, key: &str| {
        program::run("kosctl", &["backup", "verify", file, "--passphrase-file", key, "-o", "json"], "")
            .unwrap()
    };
    let verdict = verify(&backup, &passphrase);
    assert_eq!(verdict.code(), 0, "{}", verdict.stderr);
    let verdict: Value = serde_json::from_str(&verdict.stdout).unwrap();
    assert_eq!(verdict["item"]["logSize"], verdict["item"]["entriesChecked"]);
    assert!(verdict["item"]["entriesChecked"].as_u64().unwrap() > 3, "{verdict}");

    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(elsewhere.at("changed.age"), &bytes).unwrap();
    fs::write(elsewhere.at("cut.age"), &bytes[..middle]).unwrap();
    fs::write(elsewhere.at("other"), "another passphrase").unwrap();
    for damaged in ["changed.age", "cut.age"] {
        assert_eq!(verify(&elsewhere.at(damaged), &passphrase).code(), 10, "{damaged}");
    }
    let wrong = verify(&backup, &elsewhere.at("other"));
    assert_eq!(wrong.code(), 5, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("KOS-E0109"), "{}", wrong.stderr);

    let place = tempfile::tempdir().unwrap();
    let data = place.path().to_string_lossy().into_owned();
    let restore = |file: &str, words: &str| {
        program::run("kos-authority", &["restore", file, "--data", &data], &format!("{words}\n")).unwrap()
    };
    for (file, words, code) in [
        (elsewhere.at("changed.age"), PASSPHRASE, "KOS-E0108"),
        (elsewhere.at("cut.age"), PASSPHRASE, "KOS-E0108"),
        (backup.clone(), "another passphrase", "KOS-E0109"),
        (elsewhere.at("nothing.age"), PASSPHRASE, "KOS-E0005"),
    ] {
        let refused = restore(&file, words);
        assert!(refused.stderr.contains(code), "{file}: {}", refused.stderr);
        assert!(
            !place.path().join("authority/keys").exists()
                && !place.path().join("authority/store.db").exists()
        );
    }
    // Nothing stands in the way of the right one; and what is there is not touched.
    assert_eq!(restore(&backup, PASSPHRASE).code(), 0);
    let before = program::files(place.path()).unwrap();
    let again = restore(&backup, PASSPHRASE);
    assert!(again.stderr.contains("KOS-E0022"), "{}", again.stderr);
    assert!(program::files(place.path()).unwrap() == before, "what is there was touched");
    let beside = authority.data().to_string_lossy().into_owned();
    let refused =
        program::run("kos-authority", &["restore", &backup, "--data", &beside], PASSPHRASE).unwrap();
    assert!(refused.stderr.contains("KOS-E0102"), "{}", refused.stderr);
    assert_eq!(authority.kosctl(&["status"]).unwrap().code(), 0);
}

#[test]
fn a_log_that_is_older_or_of_somebody_else_opens_nothing() {
    let (mut lost, elsewhere, backup, devices) = fleet();
    let other = Authority::start().unwrap();
    let foreign = other.data().join("authority/log").to_string_lossy().into_owned();
    wait::until("the other log", || {
        Ok(fs::exists(other.data().join("authority/log/checkpoint"))?.then_some(()))
    })
    .unwrap();
    elsewhere.copy_log(&lost);
    lost.json(&["ticket", "create", "--role", "relay"]).unwrap();
    let newer = elsewhere.at("newer");
    lost.json(&["audit", "checkpoint", "--out", &newer]).unwrap();
    lost.kill().unwrap();
    let mut restored = Authority::put_back(&lost, &backup, PASSPHRASE).unwrap();
    restored.serve_closed().unwrap();
    let changed = elsewhere.at("changed");
    program::copy(Path::new(&elsewhere.at("log")), Path::new(&changed)).unwrap();
    for (row, mut bytes) in program::files(&PathBuf::from(&changed).join("tile/entries")).unwrap() {
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&row, bytes).unwrap();
    }
    let (log, nowhere) = (elsewhere.at("log"), elsewhere.at(""));
    // What came with the backup knows as little as the backup.
    let own = restored.data().join("authority/log").to_string_lossy().into_owned();
    for words in
        [vec![foreign.as_str()], vec![&changed], vec![&nowhere], vec![&own], vec![&log, "--against", &newer]]
    {
        let refused =
            restored.kosctl(&[&["backup", "restore", "--log"], &words[..], &["--dry-run"]].concat()).unwrap();
        assert_eq!(refused.code(), 8, "{words:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("KOS-E0112"), "{words:?}: {}", refused.stderr);
    }
    assert_eq!(restored.kosctl(&["list"]).unwrap().code(), 6);
    for (mut device, _) in devices {
        device.stop().unwrap();
    }
}
