//! What a stranger can be shown of a log: leaves, bundles, checkpoints, proofs, keys. Whatever the bytes, reading ends,
//! what was read is written alike, and nothing is taken for part of the golden log that its key did not sign.

use kos_audit::{
    Entry, Frontier, LogCheck, LogKey, Proof, SealedEntry, SignedCheckpoint,
    entry::LEAF_BYTES_MAX,
    tree::{Bundle, TreeHead},
    verify::LeafReading,
};

use crate::Verdict;

/// The log of `tests/vectors/audit/golden`.
const KEY: &str = include_str!("../../../tests/vectors/audit/golden/vkey");
const CHECKPOINT: &str = include_str!("../../../tests/vectors/audit/golden/checkpoint");
const OLD_CHECKPOINT: &str = include_str!("../../../tests/vectors/audit/golden/old-checkpoint");
const TILE: &[u8] = include_bytes!("../../../tests/vectors/audit/golden/tile/0/000.p/5");
const BUNDLE: &[u8] = include_bytes!("../../../tests/vectors/audit/golden/tile/entries/000.p/5");

/// Reads the bytes as everything that a log is made of.
pub fn run(bytes: &[u8]) -> Verdict {
    let key: LogKey = KEY.trim_end().parse().expect("the golden key");
    let frontier = Frontier::from_bytes(bytes);
    if let Ok(frontier) = &frontier {
        assert_eq!(frontier.to_bytes(), bytes);
        let _ = frontier.head();
    }
    let entry = Entry::from_json(bytes);
    if let Ok(entry) = &entry {
        assert_eq!(entry.to_json().as_deref(), Ok(bytes));
        let _ = entry.details.personal().count();
    }
    let text = core::str::from_utf8(bytes).map_or(Verdict::Refused, |text| check_text(text, &key));
    let readings = [check_leaf(bytes, &key), check_bundle(bytes, &key), Verdict::of(&frontier)];
    readings.into_iter().fold(Verdict::of(&entry).or(text), Verdict::or)
}

fn check_leaf(bytes: &[u8], key: &LogKey) -> Verdict {
    let verified = SealedEntry::from_bytes(bytes.to_vec()).verify(key);
    if let Ok(verified) = &verified {
        assert_eq!(verified.leaf().as_bytes(), bytes);
        assert!(is_golden(verified.leaf()), "nobody signed this leaf");
    }
    Verdict::of(&verified)
}

fn is_golden(leaf: &SealedEntry) -> bool {
    Bundle::leaves(BUNDLE).any(|golden| golden == Ok(leaf.as_bytes()))
}

/// The golden log with these leaves instead of its own.
fn check_bundle(bytes: &[u8], key: &LogKey) -> Verdict {
    let mut check = LogCheck::new(key, &[], CHECKPOINT, Some(OLD_CHECKPOINT));
    let size = usize::try_from(check.size()).unwrap_or(usize::MAX);
    let stored: Vec<_> =
        Bundle::all(check.size()).flat_map(|own| check.tile(own.tile(), Some(TILE))).collect();
    let mut whole = true;
    for (at, leaf) in Bundle::leaves(bytes).enumerate() {
        whole &= leaf.is_ok_and(|leaf| leaf.len() <= LEAF_BYTES_MAX);
        let reading = leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, key));
        check.leaf(reading, stored.get(at).copied());
    }
    let verdict = check.finish();
    let first = |bytes| Bundle::leaves(bytes).take(size).collect::<Vec<_>>();
    assert_eq!(
        verdict.is_ok(),
        first(bytes) == first(BUNDLE),
        "the log is whole exactly with its own leaves"
    );
    if whole && verdict.is_ok() { Verdict::Read } else { Verdict::Refused }
}

fn check_text(text: &str, key: &LogKey) -> Verdict {
    let golden = [CHECKPOINT, OLD_CHECKPOINT].map(|golden| head(golden, key));
    let note = SignedCheckpoint::parse(text);
    if let Ok(note) = &note {
        assert_eq!(note.to_string(), text);
        let verified = note.clone().verify(key, &[]).ok();
        let own = verified.is_none_or(|verified| golden.contains(&Some(*verified.head())));
        assert!(own, "nobody signed this checkpoint");
    }
    let proof = Proof::parse(text);
    if let Ok(proof) = &proof {
        assert_eq!(proof.to_string(), text);
        let proven = proof.clone().verify(None, key, &[]).ok();
        assert!(
            proven.is_none_or(|proven| is_golden(proven.entry().leaf())),
            "nobody signed what this proves"
        );
    }
    let other = text.parse::<LogKey>();
    if let Ok(other) = &other {
        assert_eq!(other.to_string(), text);
    }
    Verdict::of(&note).or(Verdict::of(&proof)).or(Verdict::of(&other))
}

fn head(checkpoint: &str, key: &LogKey) -> Option<TreeHead> {
    let verified = SignedCheckpoint::parse(checkpoint).ok()?.verify(key, &[]).ok()?;
    Some(*verified.head())
}
