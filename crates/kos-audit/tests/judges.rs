//! Foreign programs judge what we write: Go's `sumdb` the log, Python's `cwt`, `rfc8785` and `cryptography` an entry.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a foreign judge is another process that reads files")]

mod written;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use data_encoding::HEXLOWER;
use kos_audit::{
    Actor, BootId, Details, Entry, EventType, Personal, Place, Proof, SealedEntry, Sequence,
    SignedCheckpoint, SubjectKey, UnsignedEntry, tree::ProofPlan,
};
use kos_base::{EntryId, Secret, Timestamp};
use serde_json::json;
use written::{Files, Writer};

/// Entries of the judged log: two bundles and a tile above the first level.
const SIZE: u64 = 300;

fn judges() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/judges")
}

fn read_tiles(plan: &ProofPlan, files: &Files) -> Vec<Vec<u8>> {
    plan.tiles().iter().map(|tile| files[&tile.path()].clone()).collect()
}

/// The log, with everything that the judge asks for.
fn judged_log() -> Files {
    let writer = Writer::new(1);
    let leaves = writer.leaves(0..SIZE, "beta");
    let mut files = writer.files(&leaves);
    files.insert("vkey".into(), writer.key.to_string().into_bytes());
    let checkpoint = String::from_utf8(files["checkpoint"].clone()).unwrap();
    let checkpoint = SignedCheckpoint::parse(&checkpoint).unwrap();
    for (index, leaf) in (0..).zip(&leaves) {
        let plan = ProofPlan::inclusion(index, SIZE).unwrap();
        let hashes = plan.finish(&read_tiles(&plan, &files)).unwrap();
        let proof = Proof::new(index, hashes, checkpoint.clone());
        let proof = proof.with_leaf(&SealedEntry::from_bytes(leaf.clone()));
        files.insert(format!("proof/{index}"), proof.to_string().into_bytes());
    }
    for old in [1, 2, 3, 128, 255, 256, 257, 299, 300_u64] {
        let plan = ProofPlan::consistency(old, SIZE).unwrap();
        let hashes = plan.finish(&read_tiles(&plan, &files)).unwrap();
        let lines: String = hashes.iter().map(|hash| format!("{}\n", hash.to_base64())).collect();
        files.insert(format!("consistency/{old}"), lines.into_bytes());
        let then = writer.checkpoint(&leaves[..usize::try_from(old).unwrap()]);
        files.insert(format!("old/{old}"), then.into_bytes());
    }
    files
}

#[test]
fn go_sumdb_verifies_notes_tiles_entries_and_proofs() {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in judged_log() {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let judged = Command::new("go")
        .args(["run", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judge/log.go")])
        .arg(folder.path())
        .env_remove("GOFLAGS")
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", judges().join("go"))
        .output()
        .expect("the judge needs `go`: cargo xtask test deps");
    let (said, why) = (String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
    assert_eq!(said, "entries 300 proofs 300 consistency 9\n", "{why}");
}

#[test]
fn python_verifies_an_entry_and_opens_its_sealed_values() {
    let writer = Writer::new(1);
    let now = Timestamp::from_unix_ms(1_795_170_000_007);
    let id = EntryId::from_parts(now, [1; 10]);
    let subject_key = [0x5a; 32];
    let anna = SubjectKey::new(Secret::new(subject_key));
    let seal = |text: &str, nonce, place| Personal::seal(text, &anna, nonce, id, place).unwrap();
    let details =
        json!({"text": "a\u{8}\u{c}\n\u{1f}\"\\/é\u{2028}😀", "count": -3, "none": null, "list": [true]});
    let details = Details::new(details.as_object().unwrap().clone()).unwrap();
    let entry = Entry {
        actor: Actor::Operator(seal("anna@example.com", [1; 12], Place::Actor)),
        boot_id: BootId::new(EntryId::from_parts(now, [2; 10])),
        details: details.with_personal("user", &seal("Zoë", [2; 12], Place::Detail("user"))).unwrap(),
        event_type: EventType::DeviceTagged,
        id,
        key_id: writer.key.id(),
        sequence: Sequence::at_index(41).unwrap(),
        target: None,
        timestamp: now,
    };
    let unsigned = UnsignedEntry::new(&entry, &writer.key).unwrap();
    let signature = writer.sign(&unsigned.to_be_signed());
    let leaf = unsigned.finish(signature);
    let given = json!({
        "leaf": HEXLOWER.encode(leaf.as_bytes()),
        "key": HEXLOWER.encode(writer.key.public().raw()),
        "keyId": writer.key.id(),
        "subjectKey": HEXLOWER.encode(&subject_key),
        "actor": "anna@example.com",
        "user": "Zoë",
    });
    let mut judge = Command::new(judges().join("bin/python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judge/leaf.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the judge needs target/judges: cargo xtask test deps");
    judge.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let judged = judge.wait_with_output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
    assert_eq!(said, "ok device_tagged\n", "{why}");
}
