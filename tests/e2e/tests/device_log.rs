//! The log of a device with the real programs: it is delivered, proven on the authority too, judged by a foreign verifier,
//! goes on after any cut, and a disk that was changed is found.
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use kos_e2e::{
    fleet::{self, Authority, Device, device_in_service},
    judge::{self, Desk},
    wait,
};
use serde_json::Value;

/// The event types of a list.
fn events(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|entry| entry["eventType"].as_str().unwrap().to_owned()).collect()
}

/// What the authority has of a device's log.
fn delivered(authority: &Authority, id: &str) -> Vec<String> {
    authority.json(&["audit", "list", "--log-of", id]).map(|list| events(&list)).unwrap_or_default()
}

/// Waits until the authority has this event of the device, this often.
fn arrives(authority: &Authority, id: &str, event: &str, times: usize) {
    wait::until(&format!("{times} {event} of {id}"), || {
        let has = delivered(authority, id).iter().filter(|word| *word == event).count();
        Ok((has >= times).then_some(()))
    })
    .unwrap();
}

/// The entries of the authority's own log of this type, about this device.
fn recorded(authority: &Authority, id: &str, event: &str) -> Vec<Value> {
    let list = authority.json(&["audit", "list", "--event", event, "--target", id]).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn copy_of(authority: &Authority, id: &str, number: u32) -> PathBuf {
    authority.data().join(format!("authority/device-logs/{id}/{number}"))
}

fn socket(device: &Device) -> PathBuf {
    device.root().join("run/kos/kosd.sock")
}

fn folder(device: &Device) -> PathBuf {
    device.root().join("var/lib/kos/device/log")
}

/// That a log verifies; how many entries it has.
fn verifies(authority: &Authority, id: &str) -> u64 {
    for more in [&[][..], &["--on-server"]] {
        let verdict = authority.json(&[&["audit", "verify", "--log-of", id], more].concat()).unwrap();
        assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    }
    authority.json(&["audit", "checkpoint", "--log-of", id]).unwrap()["item"]["size"].as_u64().unwrap()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

/// Go's `sumdb` judges the copy with the key that is beside it, and each proof that the authority gives.
fn foreign_verdict(authority: &Authority, id: &str, size: u64) -> Result<String> {
    let desk = Desk::new()?;
    let log = PathBuf::from(desk.at("log"));
    copy_folder(&copy_of(authority, id, 1), &log)?;
    fs::rename(log.join("key"), log.join("vkey"))?;
    for name in ["proof", "old"] {
        fs::create_dir(log.join(name))?;
    }
    for index in 0..size {
        let path = log.join("proof").join(index.to_string()).to_string_lossy().into_owned();
        let done =
            authority.kosctl(&["audit", "prove", &index.to_string(), "--log-of", id, "--out", &path])?;
        ensure!(done.status.success(), "{index}: {}{}", done.stdout, done.stderr);
    }
    let mut judge = Command::new(judge::go("crates/kos-audit/tests/judge/log.go")?);
    let judged = judge.arg(&log).output()?;
    ensure!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    Ok(String::from_utf8_lossy(&judged.stdout).into_owned())
}

/// The size of the copy, once an anchor covers all of it.
fn anchored_whole(authority: &Authority, id: &str) -> u64 {
    wait::until("an anchor over the whole copy", || {
        let size = verifies(authority, id);
        let anchors = recorded(authority, id, "device_log_anchored");
        Ok(anchors.iter().any(|entry| entry["details"]["size"] == size).then_some(size))
    })
    .unwrap()
}

#[test]
fn a_device_s_log_arrives_and_is_proven_on_the_authority_too() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (mut device, id) = device_in_service(&authority, "log-1").unwrap();
    arrives(&authority, &id, "device_booted", 2);
    let told = delivered(&authority, &id);
    assert_eq!(told[0], "log_begun", "{told:?}");
    for event in ["key_made", "device_enrolled", "config_applied"] {
        assert!(told.iter().any(|word| word == event), "{event}: {told:?}");
    }
    // Its own word on its own socket is the same, and verifies with the client that judges an authority.
    let own = fleet::json(&socket(&device), &["audit", "list"]).unwrap();
    assert_eq!(events(&own)[..told.len()], told[..]);
    let verdict = fleet::json(&socket(&device), &["audit", "verify"]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    let origin = verdict["item"]["origin"].as_str().unwrap();
    assert!(origin.ends_with(&format!("/{id}/klog")), "{origin}");

    // A critical entry is there at once, and anchored at once.
    let anchored = recorded(&authority, &id, "device_log_anchored").len();
    assert!(anchored >= 1);
    act(&device);
    arrives(&authority, &id, "kill_disarmed", 1);
    wait::until("an anchor of the arming", || {
        Ok((recorded(&authority, &id, "device_log_anchored").len() > anchored).then_some(()))
    })
    .unwrap();
    let size = anchored_whole(&authority, &id);
    let anchors = recorded(&authority, &id, "device_log_anchored");
    let anchor = anchors.iter().map(|entry| &entry["details"]).find(|anchor| anchor["size"] == size).unwrap();
    let head = authority.json(&["audit", "checkpoint", "--log-of", &id]).unwrap();
    assert_eq!(anchor["rootHash"], head["item"]["rootHash"]);

    // Offline, with the device's key, from the folder alone; and by a program that we did not write.
    let copy = copy_of(&authority, &id, 1);
    let (log, key) = (copy.to_string_lossy(), copy.join("key").to_string_lossy().into_owned());
    let verdict = authority.json(&["audit", "verify", "--log", &log, "--key", &key]).unwrap();
    assert_eq!((&verdict["item"]["ok"], &verdict["item"]["size"]), (&true.into(), &size.into()));
    let judged = foreign_verdict(&authority, &id, size).unwrap();
    assert_eq!(judged, format!("entries {size} proofs {size} consistency 0\n"));
    device.stop().unwrap();
    // What the device wrote at its end comes when it is back.
    device.run().unwrap();
    arrives(&authority, &id, "device_stopped", 1);
    let own = fs::read(folder(&device).join("key")).unwrap();
    assert_eq!(own, fs::read(copy.join("key")).unwrap());
    device.stop().unwrap();
}

/// Arms and disarms the device's kill switch: two critical entries.
fn act(device: &Device) {
    let id = device.id().unwrap();
    for words in [&["kill", "arm", "--keep-program", "--confirm", &id][..], &["kill", "disarm"]] {
        let done = fleet::kosctl(&socket(device), words).unwrap();
        assert!(done.status.success(), "{}", done.stderr);
    }
}

/// Starts the daemon, and waits until it answers.
fn run(device: &mut Device) {
    device.run().unwrap();
    wait::until("the device to answer", || {
        let status = fleet::kosctl(&socket(device), &["status"])?;
        Ok(status.status.success().then_some(()))
    })
    .unwrap();
}

#[test]
fn kills_of_both_ends_and_time_without_a_link_lose_nothing() {
    let mut authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (mut device, id) = device_in_service(&authority, "log-2").unwrap();
    arrives(&authority, &id, "device_booted", 2);
    let mut acknowledged = 0;
    for round in 0..3 {
        authority.kill().unwrap();
        for _ in 0..4 {
            act(&device);
            acknowledged += 1;
        }
        device.kill().unwrap();
        run(&mut device);
        act(&device);
        acknowledged += 1;
        authority.serve().unwrap();
        if round == 1 {
            device.kill().unwrap();
            run(&mut device);
        }
        arrives(&authority, &id, "kill_disarmed", acknowledged);
    }
    let told = delivered(&authority, &id);
    assert_eq!(told.iter().filter(|word| *word == "kill_armed").count(), acknowledged);
    assert!(!told.iter().any(|word| word == "losses_recorded"), "{told:?}");
    let size = verifies(&authority, &id);
    assert_eq!(size, u64::try_from(told.len()).unwrap());
    assert!(recorded(&authority, &id, "device_log_refused").is_empty());
    assert!(!folder(&device).with_file_name("log.former-1").exists());
    device.stop().unwrap();
}

#[test]
fn a_disk_that_was_changed_or_put_back_ends_the_log_and_is_evidence() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (mut device, id) = device_in_service(&authority, "log-3").unwrap();
    act(&device);
    arrives(&authority, &id, "kill_disarmed", 1);
    let earlier = tempfile::tempdir().unwrap();
    device.stop().unwrap();
    copy_folder(&folder(&device), &earlier.path().join("log")).unwrap();
    run(&mut device);
    act(&device);
    arrives(&authority, &id, "kill_disarmed", 2);
    let size = anchored_whole(&authority, &id);

    // Put back: the authority has seen more.
    device.stop().unwrap();
    fs::remove_dir_all(folder(&device)).unwrap();
    copy_folder(&earlier.path().join("log"), &folder(&device)).unwrap();
    run(&mut device);
    let refused = wait::until("the refusal of a log that was put back", || {
        let refused = recorded(&authority, &id, "device_log_refused");
        let other = refused.iter().any(|entry| entry["details"]["reason"] == "other-key");
        Ok(other.then_some(refused))
    })
    .unwrap();
    let rewound = refused.iter().find(|entry| entry["details"]["reason"] == "rewound").unwrap();
    assert_eq!(rewound["details"]["heldLog"], 1);
    assert!(rewound["details"]["heldSize"].as_u64().unwrap() >= size);
    let evidence = rewound["details"]["evidence"].as_str().unwrap();
    assert!(authority.data().join(format!("authority/device-logs/{id}/evidence/{evidence}")).is_file());
    let told = wait::until("the second log", || {
        let told = authority.json(&["audit", "list", "--log-of", &id])?;
        let first = told["items"][0].clone();
        Ok((first["details"]["reason"] == "rewound").then_some(first))
    })
    .unwrap();
    assert_eq!(told["eventType"], "log_begun");
    assert!(folder(&device).with_file_name("log.former-1").join("checkpoint").is_file());
    // The device is not cut off, and the first log is what it was.
    authority.device_becomes(&id, "online", |online| online == true).unwrap();
    let (first, key) = (copy_of(&authority, &id, 1), copy_of(&authority, &id, 1).join("key"));
    let (first, key) = (first.to_string_lossy().into_owned(), key.to_string_lossy().into_owned());
    let verdict = authority.json(&["audit", "verify", "--log", &first, "--key", &key]).unwrap();
    assert_eq!(verdict["item"]["ok"], true);

    // Edited on the disk: the device finds it at its start.
    verifies(&authority, &id);
    device.stop().unwrap();
    let tile = folder(&device).join("tile/0/000.p");
    let tile = fs::read_dir(tile).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&tile).unwrap();
    bytes[5] ^= 1;
    fs::write(&tile, bytes).unwrap();
    run(&mut device);
    wait::until("the third log", || {
        let told = authority.json(&["audit", "list", "--log-of", &id])?;
        Ok((told["items"][0]["details"]["reason"] == "root").then_some(()))
    })
    .unwrap();
    verifies(&authority, &id);
    device.stop().unwrap();
}
