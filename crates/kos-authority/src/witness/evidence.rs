//! Checkpoints that contradict each other, kept as files for people and judges: `kosctl audit witness judge`.
//!
//! Shape: `conflict-<8 hex>-<16 hex>.txt` is a proof, `suspicion-<8 hex>-<16 hex>.txt` becomes one with the tiles of the
//! larger tree. The first part is of the log's verifier key, so each log has a place of its own, as has the own one; the
//! second of the content, so the same evidence is kept once. Nothing of it is ever removed by the program. An empty file
//! `unrecorded-..` stands beside a proof from before it is written until an entry names it.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use kos_audit::{Conflict, witness::Judgement};
use kos_base::digest::sha256;

use crate::files::{self, Mode};

/// Most files of each kind for a log. Whoever has its key could have us keep any number; the first ones say enough. What
/// one log is suspected of takes no place from another.
const KEPT_MAX: usize = 8;
/// Longest file, in bytes: two notes.
const FILE_BYTES_MAX: u64 = 2 * 160 * 1024;

const PROOF: &str = "conflict-";
const UNRECORDED: &str = "unrecorded-";

/// What became of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is in this file now.
    New(String),
    /// It was in this one already.
    Known(String),
    /// There is enough of it.
    Enough,
}

/// Keeps a conflict in `folder`, durably. A proof that is new counts as unrecorded, until [`recorded`].
pub(super) fn keep(folder: &Path, conflict: &Conflict) -> io::Result<Kept> {
    let kind = match conflict.judge() {
        Judgement::Equivocation => PROOF,
        Judgement::NeedsTree | Judgement::Consistent | Judgement::OtherTree => "suspicion-",
    };
    let text = conflict.to_string();
    let hex = |text: &str, chars: usize| {
        let mut digest = data_encoding::HEXLOWER.encode(&sha256(text.as_bytes()));
        digest.truncate(chars);
        digest
    };
    let place = format!("{kind}{}-", hex(&conflict.key().to_string(), 8));
    let name = format!("{place}{}.txt", hex(&text, 16));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if folder.join(&name).exists() {
        return Ok(Kept::Known(name));
    }
    let entries = fs::read_dir(folder)?.flatten();
    if entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&place)).count() >= KEPT_MAX {
        return Ok(Kept::Enough);
    }
    if let Some(rest) = name.strip_prefix(PROOF) {
        files::replace(&folder.join(format!("{UNRECORDED}{rest}")), b"", Mode::Private)?;
    }
    files::replace(&folder.join(&name), text.as_bytes(), Mode::Private)?;
    Ok(Kept::New(name))
}

/// An entry names this proof now.
pub(super) fn recorded(folder: &Path, name: &str) {
    if let Some(rest) = name.strip_prefix(PROOF) {
        // One that stays has it recorded twice, at worst.
        drop(fs::remove_file(folder.join(format!("{UNRECORDED}{rest}"))));
    }
}

/// Proofs that no entry names: the power went between the two.
pub(super) fn unrecorded(folder: &Path) -> Vec<(String, Conflict)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let proofs = names.filter_map(|name| Some(format!("{PROOF}{}", name.strip_prefix(UNRECORDED)?)));
    let read = |name: String| {
        let text = files::read_text(&folder.join(&name), FILE_BYTES_MAX).ok()??;
        Some((name, Conflict::parse(&text).ok()?))
    };
    proofs.filter_map(read).collect()
}

/// How many proofs are kept.
pub(super) fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PROOF)).count()
}

#[cfg(test)]
mod tests {
    use kos_audit::{AnyLogKey, BootId, LogKey, SignedCheckpoint, TreeHash, TreeHead};
    use kos_base::KeyAlgorithm;
    use kos_net::keys::SigningKey;

    use super::*;
    use crate::{
        fixtures::{NOW, id},
        log::LogSigner,
    };

    fn signer(name: &str) -> LogSigner {
        let signer = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let key = LogKey::new(&name.parse().unwrap(), signer.public().clone()).unwrap();
        LogSigner::new(signer.into(), key, BootId::new(id(1)))
    }

    fn conflict(signer: &LogSigner, n: u8, sizes: [u64; 2]) -> Conflict {
        let checkpoint = |size: u64, root: u8| -> SignedCheckpoint {
            signer.checkpoint(TreeHead { size, root: TreeHash::from_bytes([root; 32]) }, NOW).unwrap()
        };
        let [one, two] = [checkpoint(sizes[0], n), checkpoint(sizes[1], n + 1)];
        Conflict::new(&AnyLogKey::from(signer.key()), &one.to_string(), &two.to_string()).unwrap()
    }

    #[test]
    fn what_one_log_is_suspected_of_takes_no_place_from_another() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["attic", "cellar"].map(signer);
        for n in 0..8 {
            let suspicion = conflict(&one, n, [3, 7]);
            assert!(matches!(keep(folder.path(), &suspicion).unwrap(), Kept::New(_)));
            assert!(matches!(keep(folder.path(), &suspicion).unwrap(), Kept::Known(_)));
        }
        assert_eq!(keep(folder.path(), &conflict(&one, 100, [3, 7])).unwrap(), Kept::Enough);
        assert!(matches!(keep(folder.path(), &conflict(&other, 1, [3, 7])).unwrap(), Kept::New(_)));
        assert!(matches!(keep(folder.path(), &conflict(&one, 1, [7, 7])).unwrap(), Kept::New(_)));
        assert_eq!(count(folder.path()), 1);
    }

    #[test]
    fn a_proof_is_unrecorded_until_an_entry_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let proof = conflict(&signer("attic"), 1, [7, 7]);
        let Kept::New(name) = keep(folder.path(), &proof).unwrap() else { panic!() };
        assert_eq!(unrecorded(folder.path()), [(name.clone(), proof)]);
        recorded(folder.path(), &name);
        assert!(unrecorded(folder.path()).is_empty());
    }
}
