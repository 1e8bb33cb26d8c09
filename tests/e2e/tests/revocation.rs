//! What is revoked reaches a device that was away, and cuts one that is there.
#![cfg(test)]

use std::{collections::BTreeSet, fs, path::Path};

use kos_e2e::{
    fleet::{self, Authority},
    program, wait,
};

/// The revocation lists in a folder.
fn lists(folder: &Path) -> anyhow::Result<BTreeSet<Vec<u8>>> {
    let mut lists = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "crl") {
            lists.insert(fs::read(path)?);
        }
    }
    Ok(lists)
}

/// Those that the authority publishes.
fn published(authority: &Authority, folder: &Path) -> anyhow::Result<BTreeSet<Vec<u8>>> {
    let all = authority.json(&["authority", "crl"])?;
    let mut lists = BTreeSet::new();
    for list in all["items"].as_array().into_iter().flatten() {
        let key = list["issuerKeyId"].as_str().unwrap_or_default().to_owned();
        let out = folder.join(&key);
        let out_text = out.to_string_lossy().into_owned();
        authority.json(&["authority", "crl", "--issuer", &key, "--out", &out_text])?;
        lists.insert(fs::read(out)?);
    }
    Ok(lists)
}

#[test]
fn a_device_that_was_away_holds_the_newest_lists_after_its_first_report() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (mut away, id) = fleet::device_in_service(&authority, "revoked-1").unwrap();
    let (mut stolen, other) = fleet::device_in_service(&authority, "revoked-2").unwrap();
    away.stop().unwrap();
    authority.json(&["device", "quarantine", &other, "--reason", "stolen", "--yes"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = away.root().join("var/lib/kos/device");
    wait::until("a list with the stolen one", || {
        let crls = authority.json(&["authority", "crl"])?;
        let items = crls["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().any(|list| list["entries"].as_u64() > Some(0)).then_some(()))
    })
    .unwrap();
    assert_ne!(lists(&state).unwrap(), published(&authority, folder.path()).unwrap());
    away.run().unwrap();
    authority.device_becomes(&id, "online", |online| online == true).unwrap();
    wait::until("the newest lists on the device", || {
        Ok((lists(&state)? == published(&authority, folder.path())?).then_some(()))
    })
    .unwrap();
    away.stop().unwrap();
    stolen.stop().unwrap();
}

#[test]
fn damaged_lists_and_certificates_of_a_device_are_named_and_come_again() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "damaged").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = device.root().join("var/lib/kos/device");
    let whole = || Ok((lists(&state)? == published(&authority, folder.path())?).then_some(()));
    wait::until("the newest lists on the device", whole).unwrap();
    device.stop().unwrap();

    let certificate = device.root().join("etc/kos/identity.cert");
    let sound = fs::read(&certificate).unwrap();
    fs::write(&certificate, b"nothing").unwrap();
    let mut damaged = Vec::new();
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "crl") {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
            damaged.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    assert!(!damaged.is_empty());
    device.run().unwrap();
    authority.device_becomes(&id, "online", |online| online == true).unwrap();
    wait::until("the newest lists on the device", whole).unwrap();
    assert_eq!(fs::read(&certificate).unwrap(), sound);
    let root = device.root().to_string_lossy().into_owned();
    let status = program::run("kosd", &["status", "--root", &root], "").unwrap();
    for name in damaged {
        assert!(status.stdout.contains(&name), "{name} is not in {}{}", status.stdout, status.stderr);
    }
    device.stop().unwrap();
}

#[test]
fn a_device_that_is_suspended_is_cut_off_and_refused_until_it_is_reinstated() {
    let authority = Authority::start().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "suspended").unwrap();
    let root = device.root().to_string_lossy().into_owned();
    let status = || program::run("kosd", &["status", "--root", &root], "").map(|done| done.stdout);
    let line = |status: &str, field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.map(|rest| rest.trim().to_owned()).unwrap_or_default()
    };
    let linked = wait::until("a link", || {
        let status = status()?;
        Ok((line(&status, "carrier") != "-").then_some(status))
    });
    assert_eq!(line(&linked.unwrap(), "state"), "active");
    let heartbeat = authority.device(&id).unwrap()["lastHeartbeatAt"].clone();
    authority.json(&["device", "suspend", &id, "--reason", "lent out", "--yes"]).unwrap();
    // Long before a heartbeat is missed, which are 60 s apart: the link was cut.
    let shown = authority.device_becomes(&id, "online", |online| *online == false).unwrap();
    assert_eq!((&shown["state"], &shown["lastHeartbeatAt"]), (&"suspended".into(), &heartbeat));
    let refused = wait::until("the device to hear why it is refused", || {
        let status = status()?;
        Ok(line(&status, "reason").contains("KOS-E0213").then_some(status))
    });
    assert_eq!(line(&refused.unwrap(), "carrier"), "-");
    assert_eq!(authority.device(&id).unwrap()["online"], false);

    authority.json(&["device", "reinstate", &id, "--yes"]).unwrap();
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    device.stop().unwrap();
}
