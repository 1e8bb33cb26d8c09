//! Judging some entries of a log without reading the others: that they are in the tree that the checkpoint signs, signed
//! and at their place. Says what it did not look at.
//!
//! ```
//! # use kos_audit::{LeafReading, LogKey, RangeCheck, Verdict, tree::Bundle};
//! # fn verify(key: &LogKey, read: impl Fn(&str) -> Option<Vec<u8>>) -> Verdict {
//! let text = read("checkpoint").and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
//! let mut check = RangeCheck::new(key, &text, None, 10..20);
//! while let Some(piece) = check.next() {
//!     check.take(read(&piece.path()), |bytes| {
//!         Bundle::leaves(bytes).flatten().map(|leaf| LeafReading::of(leaf, key)).collect()
//!     });
//! }
//! check.finish()
//! # }
//! ```
//!
//! Source: `docs/spec/audit.md` AUD-72, AUD-73.

use core::ops::Range;

use super::{
    Assurance, FailureKind, Failures, LeafFault, LeafReading, Verdict, signed_checkpoint, verdict::NotChecked,
};
use crate::{
    checkpoint::VerifiedCheckpoint,
    key::{LogKey, Origin},
    tree::{Piece, PieceError, TreeHash, TreeHead, Walk},
};

/// A verification in progress.
#[derive(Debug)]
pub struct RangeCheck {
    origin: Origin,
    checkpoint: Option<VerifiedCheckpoint>,
    range: Range<u64>,
    walk: Option<Walk>,
    /// Whether there is a held checkpoint that the walk compares with.
    compares: bool,
    entries_checked: u64,
    signatures_checked: u64,
    failures: Failures,
}

impl RangeCheck {
    /// Begins with the log's checkpoint and, if somebody kept one, an earlier checkpoint of the same log. `range` is of
    /// indices.
    pub fn new(key: &LogKey, checkpoint: &str, held: Option<&str>, range: Range<u64>) -> Self {
        let mut failures = Failures::default();
        let mut signed = |text: &str, name: &str| signed_checkpoint(&mut failures, key, &[], text, name);
        let checkpoint = signed(checkpoint, "the checkpoint");
        let held = held.and_then(|text| signed(text, "the held checkpoint"));
        let mut walk = None;
        if let Some(head) = checkpoint.as_ref().map(|checkpoint| *checkpoint.head()) {
            if range.end > head.size {
                let detail = format!("the checkpoint covers {} entries", head.size);
                failures.add(Some(head.size), FailureKind::Truncated, detail);
            }
            let then = held.as_ref().map(|held| *held.head());
            if let Some(then) = then.filter(|then| then.size > head.size) {
                let detail = format!("{} entries, and {} are held", head.size, then.size);
                failures.add(Some(head.size), FailureKind::Rewound, detail);
            } else {
                match Walk::new(head, then, range.clone()) {
                    Ok(begun) => walk = Some(begun),
                    Err(why) => failures.add(None, FailureKind::Forked, why.to_string()),
                }
            }
        }
        Self {
            origin: key.origin().clone(),
            checkpoint,
            range,
            walk,
            compares: held.is_some(),
            entries_checked: 0,
            signatures_checked: 0,
            failures,
        }
    }

    /// What to read next; nothing when all is read.
    pub fn next(&self) -> Option<Piece> {
        self.walk.as_ref().and_then(Walk::next)
    }

    /// Takes the bytes of [`RangeCheck::next`], or that there are none. `read` reads every leaf of a bundle that was found
    /// to be in the tree.
    pub fn take(&mut self, bytes: Option<Vec<u8>>, read: impl FnOnce(&[u8]) -> Vec<LeafReading>) {
        let (Some(piece), Some(walk)) = (self.next(), self.walk.as_mut()) else { return };
        let known = match bytes {
            Some(bytes) => walk.take(bytes),
            None => {
                let (index, kind) = match piece {
                    Piece::Bundle(bundle) => {
                        (Some(bundle.first_leaf().max(self.range.start)), FailureKind::Deleted)
                    }
                    Piece::Tile(_) => (None, FailureKind::Torn),
                };
                self.failures.add(index, kind, format!("`{}` is missing", piece.path()));
                return self.pass();
            }
        };
        let known = match known {
            Ok(known) => known,
            Err(why) => {
                let (index, kind) = named(&why);
                self.failures.add(index, kind, why.to_string());
                return self.pass();
            }
        };
        if let [(Piece::Bundle(bundle), bytes)] = known.as_slice() {
            self.judge_leaves(bundle.first_leaf(), read(bytes));
        }
    }

    /// Goes on behind what did not hold. Without the edge or the held tree there is nothing to go on with.
    fn pass(&mut self) {
        if !self.walk.as_mut().is_some_and(Walk::skip) {
            self.walk = None;
            self.compares = false;
        }
    }

    fn judge_leaves(&mut self, first: u64, leaves: Vec<LeafReading>) {
        for (index, leaf) in (first..).zip(leaves).filter(|(index, _)| self.range.contains(index)) {
            self.entries_checked += 1;
            self.signatures_checked += 1;
            match leaf.number {
                Ok(number) if number == index + 1 => {}
                Ok(number) => {
                    let detail = format!("the entry of index {} stands at index {index}", number - 1);
                    self.failures.add(Some(index), FailureKind::Reordered, detail);
                }
                Err(fault @ LeafFault::Torn) => {
                    self.failures.add(Some(index), FailureKind::Torn, fault.to_string());
                }
                Err(fault) => self.failures.add(Some(index), FailureKind::BadSignature, fault.to_string()),
            }
        }
    }

    /// The verdict, once everything was taken.
    pub fn finish(mut self) -> Verdict {
        let empty = TreeHead { size: 0, root: TreeHash::EMPTY };
        let head = self.checkpoint.as_ref().map_or(empty, |checkpoint| *checkpoint.head());
        let range = self.range.start..self.range.end.min(head.size);
        let wanted = range.end.saturating_sub(range.start);
        if self.failures.found == 0 && self.entries_checked != wanted {
            // Somebody who stops in the middle has not verified anything.
            self.failures.add(None, FailureKind::Torn, "not everything was read");
        }
        let witnessed_by =
            self.checkpoint.as_ref().map(|one| one.witnessed_by().to_vec()).unwrap_or_default();
        let witnessed = !witnessed_by.is_empty();
        let assurance = match self.compares {
            _ if witnessed => Assurance::Witnessed,
            true => Assurance::HeldCheckpoint,
            false => Assurance::LocalIntegrity,
        };
        self.failures.sort();
        Verdict {
            origin: self.origin,
            head,
            checkpoint_time: self.checkpoint.map(|checkpoint| checkpoint.checkpoint().time),
            entries_checked: self.entries_checked,
            signatures_checked: self.signatures_checked,
            assurance,
            witnessed_size: witnessed.then_some(head.size),
            witnessed_by,
            failures: self.failures.described,
            failures_found: self.failures.found,
            not_checked: NotChecked::around(&range, head.size),
        }
    }
}

/// What to call a piece that is not in the tree.
fn named(why: &PieceError) -> (Option<u64>, FailureKind) {
    match why {
        PieceError::Length(_) | PieceError::Leaves { .. } => (None, FailureKind::Torn),
        PieceError::Leaf { index } => (Some(*index), FailureKind::Edited),
        PieceError::Hashes { .. } => (None, FailureKind::Edited),
        PieceError::Root | PieceError::Held { .. } => (None, FailureKind::Forked),
    }
}
