//! Go's sumdb verifies the files of a real log, and each proof that `kosctl` saves.

use std::{fs, process::Command};

use kos_e2e::{
    fleet::{self, Authority},
    judge::{self, Desk},
    program,
};

/// Saves the head of the log and returns its size.
fn head(authority: &Authority, desk: &Desk, name: &str) -> u64 {
    let (head, key) = (desk.at(name), desk.at("log/vkey"));
    let shown = authority.json(&["audit", "checkpoint", "--out", &head, "--key-out", &key]).unwrap();
    shown["item"]["size"].as_u64().unwrap()
}

#[test]
fn go_verifies_the_published_log_and_every_proof_that_kosctl_saves() {
    let authority = Authority::start().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "logged-1").unwrap();
    device.stop().unwrap();
    let desk = Desk::new().unwrap();
    for folder in ["log/old", "log/proof"] {
        fs::create_dir_all(desk.at(folder)).unwrap();
    }
    for name in ["one", "two", "three"] {
        let size = head(&authority, &desk, "head");
        fs::rename(desk.at("head"), desk.at(&format!("log/old/{size}"))).unwrap();
        authority.json(&["device", "rename", &id, name]).unwrap();
    }
    let published = authority.published().unwrap();
    for (path, bytes) in program::files(&published).unwrap() {
        let name = path.strip_prefix(&published).unwrap().to_string_lossy().into_owned();
        desk.put(&format!("log/{name}"), bytes).unwrap();
    }
    // The log may have grown meanwhile: what was copied says how far.
    let copied = String::from_utf8(desk.take("log/checkpoint").unwrap()).unwrap();
    let size = copied.lines().nth(1).unwrap().parse::<u64>().unwrap();
    for index in 0..size {
        let (index, out) = (index.to_string(), desk.at(&format!("log/proof/{index}")));
        let proven = authority.json(&["audit", "prove", &index, "--out", &out]).unwrap();
        assert_eq!(proven["item"]["ok"], true, "{proven}");
    }
    let wanted = format!("entries {size} proofs {size} consistency 3\n");
    assert_eq!(judged(&desk), (true, wanted));

    // The judge would have noticed.
    let bundle = format!("log/tile/entries/000.p/{size}");
    let mut bent = desk.take(&bundle).unwrap();
    *bent.last_mut().unwrap() ^= 1;
    desk.put(&bundle, bent).unwrap();
    let (yes, said) = judged(&desk);
    assert!(!yes && said.contains("do not lead to the root"), "{said}");
}

fn judged(desk: &Desk) -> (bool, String) {
    let mut judge = Command::new(judge::go("crates/kos-audit/tests/judge/log.go").unwrap());
    judge.arg(desk.at("log"));
    let done = program::finish(judge, "").unwrap();
    (done.status.success(), done.stdout + &done.stderr)
}
