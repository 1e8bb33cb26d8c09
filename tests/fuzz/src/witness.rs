//! What a stranger can send to a witness, and what a witness reads of itself. Whatever the bytes, reading ends, what was
//! read is written alike, and the witness signs no tree but those that the golden log's key signed.

use kos_audit::{
    AnyLogKey, Conflict, LogKey, SignedCheckpoint, Witness, WitnessKey,
    tree::TreeHead,
    witness::{AddCheckpoint, Output, Record},
};
use kos_base::Timestamp;

use crate::Verdict;

/// The log of `tests/vectors/audit/golden`, and the witness of `tests/vectors/audit/witness`.
const KEY: &str = include_str!("../../../tests/vectors/audit/golden/vkey");
const OLD_CHECKPOINT: &str = include_str!("../../../tests/vectors/audit/golden/old-checkpoint");
const WITNESS: &str = include_str!("../../../tests/vectors/audit/witness/witness-vkey");
const REQUEST: &str = include_str!("../../../tests/vectors/audit/witness/add-checkpoint");
const CONFLICT: &str = include_str!("../../../tests/vectors/audit/witness/conflict");

/// Hands the bytes to the witness, and to what reads its files.
pub fn run(bytes: &[u8]) -> Verdict {
    let request = AddCheckpoint::parse(bytes);
    if let Ok(request) = &request {
        assert_eq!(request.to_string().as_bytes(), bytes);
    }
    ask(bytes);
    let text = core::str::from_utf8(bytes).unwrap_or_default();
    let (record, conflict) = (Record::parse(text), Conflict::parse(text));
    if let Ok(record) = &record {
        assert_eq!(record.to_string(), text);
        assert!(known().contains(record.head()) || record.origin() != key().origin().as_str());
    }
    if let Ok(conflict) = &conflict {
        let _ = conflict.judge();
        assert_eq!(Conflict::parse(&conflict.to_string()).as_ref(), Ok(conflict));
    }
    Verdict::of(&request).or(Verdict::of(&record)).or(Verdict::of(&conflict))
}

fn key() -> LogKey {
    KEY.trim_end().parse().expect("the golden key")
}

/// A witness that holds the golden log with three entries is sent the bytes.
fn ask(bytes: &[u8]) {
    let name: WitnessKey = WITNESS.trim_end().parse().expect("the key of the witness");
    let mut witness = Witness::new(name);
    let held = format!("kos witness record v1\n{}\n1\n\n{OLD_CHECKPOINT}", key());
    let held = Record::parse(&held).expect("the golden checkpoint");
    witness.watch(AnyLogKey::from(&key()), Some(held)).expect("of this log");
    witness.handle_request(Timestamp::from_unix_s(2), bytes);
    let mut persisted = None;
    while let Some(output) = witness.poll_output() {
        match output {
            Output::Persist(record) => persisted = Some(*record.head()),
            Output::Sign(_) => {
                let head = persisted.expect("durable first");
                assert!(head.size >= 3 && known().contains(&head), "nobody signed this tree");
                witness.handle_signature([0; 64]);
            }
            Output::Keep(_) | Output::Send(_) => {}
        }
    }
}

/// Every tree of the log that its key signed in the vectors.
fn known() -> Vec<TreeHead> {
    let after = |text: &str| text.split_once("\n\n").map(|(_, note)| note.to_owned()).expect("a note");
    let conflict = after(CONFLICT);
    let (one, other) = conflict.split_once("=====\n").expect("two notes");
    let notes = [OLD_CHECKPOINT.to_owned(), after(REQUEST), one.to_owned(), other.to_owned()];
    let golden = include_str!("../../../tests/vectors/audit/golden/checkpoint").to_owned();
    let heads = notes.into_iter().chain([golden]).map(|note| {
        let signed = SignedCheckpoint::parse(&note).expect("a golden note");
        *signed.verify(&key(), &[]).expect("signed by the log").head()
    });
    heads.collect()
}
