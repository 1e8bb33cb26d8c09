//! Two checkpoints that a log's key signed and that may contradict each other: kept, shown and judged.
//!
//! Two of one size and with different roots are a proof by themselves: an honest log never signs them, and nobody else
//! can. Of two sizes, the smaller must be the beginning of the larger; that it is not shows only in the tiles of the
//! larger one, so without them the pair is a suspicion, which whoever has a checkpoint of the log could have raised.
//!
//! Shape: `kos log conflict v1`, the log's verifier key, an empty line, the older note, a line `=====`, the newer note.
//!
//! Source: AUD-99 to AUD-102.

use core::fmt;

use kos_base::{Code, code};

use super::{machine::is_other_root, request::AnyCheckpoint};
use crate::{
    key::AnyLogKey,
    note::Note,
    tree::{TreeHash, TreeHead},
};

const CONFLICT: &str = "kos log conflict v1";
const BETWEEN: &str = "=====\n";

/// Two checkpoints of one log, both signed by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    key: AnyLogKey,
    smaller: AnyCheckpoint,
    larger: AnyCheckpoint,
}

/// They are not two checkpoints of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConflictError {
    /// Not the text of a conflict.
    #[error("not two checkpoints that contradict each other")]
    Malformed,
    /// One of them is not what the log's key signed, or no checkpoint.
    #[error("a checkpoint that this log's key did not sign")]
    Checkpoint,
}

impl ConflictError {
    /// Its code.
    pub const fn code(self) -> Code {
        code::audit::WITNESS_EVIDENCE
    }
}

/// What two checkpoints of one log say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The log's key signed two trees of which neither is the beginning of the other.
    Equivocation,
    /// The smaller is the beginning of the larger.
    Consistent,
    /// Which of the two it is shows in the tiles of the larger tree.
    NeedsTree,
    /// The tree that was given is not the one that the larger checkpoint signs, so it says nothing.
    OtherTree,
}

impl Conflict {
    pub(super) fn of(key: &AnyLogKey, one: &AnyCheckpoint, other: &AnyCheckpoint) -> Self {
        let (smaller, larger) = if other.head.size < one.head.size { (other, one) } else { (one, other) };
        Self { key: key.clone(), smaller: smaller.clone(), larger: larger.clone() }
    }

    /// Two notes that the log's key signed.
    ///
    /// # Errors
    /// When one of them is not.
    pub fn new(key: &AnyLogKey, one: &str, other: &str) -> Result<Self, ConflictError> {
        let read = |text: &str| {
            let note = Note::parse(text).map_err(|_| ConflictError::Checkpoint)?;
            AnyCheckpoint::verify(&note, key).map_err(|_| ConflictError::Checkpoint)
        };
        Ok(Self::of(key, &read(one)?, &read(other)?))
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// When it is something else, or the log's key did not sign what is in it.
    pub fn parse(text: &str) -> Result<Self, ConflictError> {
        let (head, notes) = text.split_once("\n\n").ok_or(ConflictError::Malformed)?;
        let key = head.strip_prefix(CONFLICT).and_then(|key| key.strip_prefix('\n'));
        let key: AnyLogKey = key.and_then(|key| key.parse().ok()).ok_or(ConflictError::Malformed)?;
        let (one, other) = notes.split_once(BETWEEN).ok_or(ConflictError::Malformed)?;
        Self::new(&key, one, other)
    }

    /// The log, with the key that signed both.
    pub const fn key(&self) -> &AnyLogKey {
        &self.key
    }

    /// The two heads, the smaller first.
    pub const fn heads(&self) -> [TreeHead; 2] {
        [self.smaller.head, self.larger.head]
    }

    /// What the two say by themselves.
    pub fn judge(&self) -> Judgement {
        let [smaller, larger] = self.heads();
        let other_empty = |head: &TreeHead| head.size == 0 && head.root != TreeHash::EMPTY;
        if is_other_root(&smaller, &larger) || other_empty(&smaller) {
            Judgement::Equivocation
        } else if smaller == larger || smaller.size == 0 {
            Judgement::Consistent
        } else {
            Judgement::NeedsTree
        }
    }

    /// What they say with the tree of the larger one: its root, and the root that it had at the size of the smaller.
    pub fn judge_with(&self, tree: &TreeHead, root_then: TreeHash) -> Judgement {
        let [smaller, larger] = self.heads();
        match self.judge() {
            Judgement::NeedsTree if *tree != larger => Judgement::OtherTree,
            Judgement::NeedsTree if root_then == smaller.root => Judgement::Consistent,
            Judgement::NeedsTree => Judgement::Equivocation,
            judged => judged,
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, smaller, larger } = self;
        write!(f, "{CONFLICT}\n{key}\n\n{}{BETWEEN}{}", smaller.note, larger.note)
    }
}
