//! The vectors in `tests/vectors/audit/witness` are what we write and read: a request, its answer, what a witness
//! remembers, and two checkpoints that contradict each other. Seeds of the fuzz target `witness` are the same files.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the vectors are files, which are written anew on demand")]

mod written;

use std::{fs, path::Path};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_audit::{
    AnyLogKey, Conflict, SignedCheckpoint, WitnessKey,
    tree::ProofPlan,
    witness::{AddCheckpoint, Answer, Judgement, Output, Record, Witness},
};
use kos_base::{KeyAlgorithm, PublicKey, Timestamp};
use written::Writer;

const NOW: Timestamp = Timestamp::from_unix_s(1_795_190_000);

fn vectors() -> [(&'static str, Vec<u8>); 5] {
    let writer = Writer::new(1);
    let leaves = writer.leaves(0..5, "beta");
    let [old, new] = [3, 5].map(|size| SignedCheckpoint::parse(&writer.checkpoint(&leaves[..size])).unwrap());
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    let key = WitnessKey::new("witness.example/w1", public).unwrap();
    let mut witness = Witness::new(key.clone());
    witness.watch(AnyLogKey::from(&writer.key), None).unwrap();
    let mut ask = |request: &AddCheckpoint| {
        witness.handle_request(NOW, request.to_string().as_bytes());
        let mut kept = None;
        loop {
            match witness.poll_output().unwrap() {
                Output::Persist(record) => kept = Some(record),
                Output::Sign(message) => {
                    let signature = pair.sign(message.as_bytes());
                    witness.handle_signature(signature.as_ref().try_into().unwrap());
                }
                Output::Keep(conflict) => panic!("{conflict}"),
                Output::Send(Answer::Cosigned(line)) => return (kept.unwrap(), line),
                Output::Send(other) => panic!("{other:?}"),
            }
        }
    };
    ask(&AddCheckpoint::new(0, Vec::new(), &old));
    let plan = ProofPlan::consistency(3, 5).unwrap();
    let files = writer.files(&leaves);
    let tiles: Vec<_> = plan.tiles().iter().map(|tile| files[&tile.path()].clone()).collect();
    let request = AddCheckpoint::new(3, plan.finish(&tiles).unwrap(), &new);
    let (record, line) = ask(&request);
    let other = [writer.leaves(0..3, "beta"), writer.leaves(3..5, "stable")].concat();
    let any = AnyLogKey::from(&writer.key);
    let conflict = Conflict::new(&any, &new.to_string(), &writer.checkpoint(&other)).unwrap();
    assert_eq!(conflict.judge(), Judgement::Equivocation);
    [
        ("add-checkpoint", request.to_string().into_bytes()),
        ("witness-vkey", format!("{key}\n").into_bytes()),
        ("cosignature", line.into_bytes()),
        ("record", record.to_string().into_bytes()),
        ("conflict", conflict.to_string().into_bytes()),
    ]
}

#[test]
fn the_vectors_and_the_seeds_are_what_we_write() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let made = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut differing = Vec::new();
    for (name, bytes) in vectors() {
        let places = [format!("tests/vectors/audit/witness/{name}"), format!("fuzz/corpus/witness/{name}")];
        let seed = ["add-checkpoint", "record", "conflict"].contains(&name);
        for place in places.into_iter().take(if seed { 2 } else { 1 }) {
            if fs::read(root.join(&place)).ok().as_ref() != Some(&bytes) {
                let at = made.join(&place);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, &bytes).unwrap();
                differing.push(place);
            }
        }
    }
    assert!(differing.is_empty(), "{differing:?} differ from what lies in {}", made.display());
}

#[test]
fn the_vectors_are_read_back() {
    let vectors = vectors();
    let text = |name: &str| {
        let found = vectors.iter().find(|(own, _)| *own == name).unwrap();
        String::from_utf8(found.1.clone()).unwrap()
    };
    let request = AddCheckpoint::parse(text("add-checkpoint").as_bytes()).unwrap();
    assert_eq!(request.to_string(), text("add-checkpoint"));
    assert_eq!(Record::parse(&text("record")).unwrap().to_string(), text("record"));
    assert_eq!(Conflict::parse(&text("conflict")).unwrap().to_string(), text("conflict"));
    let key: WitnessKey = text("witness-vkey").trim_end().parse().unwrap();
    let note = text("add-checkpoint").split_once("\n\n").unwrap().1.to_owned();
    let cosigned = SignedCheckpoint::parse(&note).unwrap().with_lines(&text("cosignature")).unwrap();
    assert_eq!(cosigned.cosignature_of(&key), Some((text("cosignature"), NOW)));
    assert!(cosigned.verify(&Writer::new(1).key, &[key]).is_ok());
}
