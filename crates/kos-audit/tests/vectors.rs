//! The golden bytes of `tests/vectors/audit` are what we write, and its malice is what we refuse.
#![cfg(test)]

mod written;

use kos_audit::{
    Actor, BootId, CheckpointError, Details, Entry, EventType, LogKey, Personal, Place, Proof, ProofError,
    SealedEntry, Sequence, SignedCheckpoint, SubjectKey, Target, UnsignedEntry, tree::ProofPlan,
};
use kos_base::{Code, EntryId, Secret, Timestamp};
use serde_json::json;
use written::{Files, Writer, frontier};

/// Every file of a folder, by name.
macro_rules! files {
    ($folder:literal: $($name:literal)+) => {
        [$(($name, include_bytes!(concat!("../../../tests/vectors/audit/", $folder, $name)).as_slice())),+]
    };
}

const GOLDEN: [(&str, &[u8]); 12] = files!["golden/":
    "vkey" "entry.json" "to-be-signed.bin" "leaf.cose" "checkpoint" "0.tlog-proof" "4.tlog-proof" "3-to-5.consistency"
    "frontier.bin" "tile/0/000.p/5" "tile/entries/000.p/5" "old-checkpoint"];

const MALICE: [(&str, &[u8]); 30] = files!["malice/":
    "leaf-of-another-key/leaf" "leaf-for-another-purpose/leaf" "leaf-with-unprotected-header/leaf"
    "leaf-with-trailing-byte/leaf" "leaf-too-large/leaf" "leaf-with-spaces/leaf" "leaf-with-key-twice/leaf"
    "leaf-with-members-out-of-order/leaf" "leaf-with-fraction/leaf" "leaf-with-number-zero/leaf"
    "leaf-with-random-uuid/leaf" "leaf-naming-another-key/leaf" "leaf-with-unknown-event/leaf"
    "leaf-with-person-in-the-clear/leaf" "leaf-with-time-in-seconds/leaf"
    "checkpoint-of-another-key/checkpoint" "checkpoint-of-another-log/checkpoint" "checkpoint-cut/checkpoint"
    "checkpoint-with-carriage-returns/checkpoint" "checkpoint-without-time/checkpoint"
    "checkpoint-with-zero-in-front/checkpoint" "checkpoint-with-joined-base64/checkpoint"
    "checkpoint-signed-as-an-entry/checkpoint"
    "proof-for-another-index/proof" "proof-of-another-entry/proof" "proof-without-a-hash/proof"
    "proof-with-a-hash-too-many/proof" "proof-with-a-bent-hash/proof" "proof-without-its-entry/proof"
    "proof-of-an-older-form/proof"];

const CODES: &str = include_str!("../../../tests/vectors/audit/malice/codes.txt");

fn golden(name: &str) -> &'static [u8] {
    GOLDEN.iter().find(|(own, _)| *own == name).unwrap().1
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The entry of the vectors: index 4 of its log, with two sealed values.
fn entry(writer: &Writer) -> Entry {
    let now = Timestamp::from_unix_ms(1_795_170_000_007);
    let id = EntryId::from_parts(now, [1; 10]);
    let anna = SubjectKey::new(Secret::new([0x5a; 32]));
    let seal = |text: &str, nonce, place| Personal::seal(text, &anna, nonce, id, place).unwrap();
    let details =
        json!({"role": "sensor", "uses": 1, "profileCap": "SEC-2", "note": "caf\u{e9} \u{1f600}\n"});
    let details = Details::new(details.as_object().unwrap().clone()).unwrap();
    Entry {
        actor: Actor::Operator(seal("anna@example.com", [1; 12], Place::Actor)),
        boot_id: BootId::new(EntryId::from_parts(now, [2; 10])),
        details: details.with_personal("user", &seal("Zo\u{eb}", [2; 12], Place::Detail("user"))).unwrap(),
        event_type: EventType::TicketCreated,
        id,
        key_id: writer.key.id(),
        sequence: Sequence::at_index(4).unwrap(),
        target: Some(Target::Ticket(EntryId::from_parts(now, [3; 10]))),
        timestamp: now,
    }
}

/// Everything in the golden folder, made anew.
fn written_anew() -> Files {
    let writer = Writer::new(1);
    let entry = entry(&writer);
    let unsigned = UnsignedEntry::new(&entry, &writer.key).unwrap();
    let to_be_signed = unsigned.to_be_signed();
    let signature = writer.sign(&to_be_signed);
    let leaf = unsigned.finish(signature).as_bytes().to_vec();
    let leaves = [writer.leaves(0..4, "beta"), vec![leaf.clone()]].concat();
    let mut files = writer.files(&leaves);
    let read = |plan: &ProofPlan, files: &Files| {
        let tiles: Vec<_> = plan.tiles().iter().map(|tile| files[&tile.path()].clone()).collect();
        plan.finish(&tiles).unwrap()
    };
    let signed = SignedCheckpoint::parse(text(&files["checkpoint"])).unwrap();
    for index in [0, 4] {
        let hashes = read(&ProofPlan::inclusion(index, 5).unwrap(), &files);
        let leaf = SealedEntry::from_bytes(leaves[usize::try_from(index).unwrap()].clone());
        let proof = Proof::new(index, hashes, signed.clone()).with_leaf(&leaf);
        files.insert(format!("{index}.tlog-proof"), proof.to_string().into_bytes());
    }
    let consistency = read(&ProofPlan::consistency(3, 5).unwrap(), &files);
    let consistency: String = consistency.iter().map(|hash| format!("{}\n", hash.to_base64())).collect();
    files.insert("3-to-5.consistency".into(), consistency.into_bytes());
    files.insert("old-checkpoint".into(), writer.checkpoint(&leaves[..3]).into_bytes());
    files.insert("frontier.bin".into(), frontier(&leaves).to_bytes());
    files.insert("vkey".into(), format!("{}\n", writer.key).into_bytes());
    files.insert("entry.json".into(), entry.to_json().unwrap());
    files.insert("to-be-signed.bin".into(), to_be_signed);
    files.insert("leaf.cose".into(), leaf);
    files
}

/// What a reader says of a file, by its kind.
fn judge(kind: &str, bytes: &[u8], key: &LogKey) -> Option<Code> {
    match kind {
        "leaf" => SealedEntry::from_bytes(bytes.to_vec()).verify(key).err().map(|why| why.code()),
        "checkpoint" => {
            let read = SignedCheckpoint::parse(text(bytes)).map_err(CheckpointError::from);
            read.and_then(|signed| signed.verify(key, &[])).err().map(|why| why.code())
        }
        _ => {
            let proven = Proof::parse(text(bytes)).and_then(|proof| proof.verify(None, key, &[]));
            proven.err().map(|why: ProofError| why.code())
        }
    }
}

#[test]
fn the_golden_bytes_are_what_we_write() {
    let files = written_anew();
    assert_eq!(files.len(), GOLDEN.len());
    for (name, bytes) in GOLDEN {
        assert_eq!(String::from_utf8_lossy(&files[name]), String::from_utf8_lossy(bytes), "{name}");
        assert_eq!(files[name], bytes, "{name}");
    }
}

#[test]
fn the_golden_bytes_are_read() {
    let key: LogKey = text(golden("vkey")).trim_end().parse().unwrap();
    assert_eq!(judge("leaf", golden("leaf.cose"), &key), None);
    for name in ["checkpoint", "old-checkpoint"] {
        assert_eq!(judge("checkpoint", golden(name), &key), None);
    }
    for name in ["0.tlog-proof", "4.tlog-proof"] {
        assert_eq!(judge("proof", golden(name), &key), None);
        assert_eq!(Proof::parse(text(golden(name))).unwrap().to_string().as_bytes(), golden(name));
    }
    let proof = Proof::parse(text(golden("4.tlog-proof"))).unwrap();
    let proven = proof.verify(None, &key, &[]).unwrap();
    assert_eq!(proven.entry().entry().to_json().unwrap(), golden("entry.json"));
    assert_eq!(proven.checkpoint().head().size, 5);
    let other = SealedEntry::from_bytes(golden("leaf.cose").to_vec());
    let proof = Proof::parse(text(golden("0.tlog-proof"))).unwrap();
    assert!(matches!(proof.verify(Some(other), &key, &[]), Err(ProofError::Inclusion(_))));
}

#[test]
fn malice_is_refused_with_its_code() {
    let key = Writer::new(1).key;
    assert_eq!(CODES.lines().count(), MALICE.len());
    for (path, bytes) in MALICE {
        let (case, kind) = path.split_once('/').unwrap();
        let want = CODES.lines().find_map(|line| line.strip_prefix(case)?.strip_prefix(' ')).unwrap();
        let refused = judge(kind, bytes, &key).map(|code| code.to_string());
        assert_eq!(refused.as_deref(), Some(want), "{case}");
    }
}
