//! Proofs that travel: a text that shows, without any server, that a log holds an entry.
//!
//! The text is C2SP's tlog-proof: a first line, an optional line with extra data, the index, the hashes of the inclusion
//! proof one a line, an empty line, and the checkpoint. kOS puts the leaf into the extra data, so that the text alone
//! and the log's key are enough; who has the leaf from elsewhere needs no extra data.
//!
//! What it does not do: show that the entry is still in a later tree (a consistency proof does), or that nobody was shown
//! another tree (a witness does).
//!
//! Limits: [`PROOF_BYTES_MAX`]. Cost: two signature checks and at most 63 hashes.
//!
//! Source: C2SP tlog-proof; `docs/spec/audit.md` AUD-58 to AUD-61; vectors in `tests/vectors/audit`.

use core::fmt;

use data_encoding::BASE64;
use kos_base::{Code, code, text::base64};

use crate::{
    checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint, decimal},
    entry::{EntryError, LEAF_BYTES_MAX, SealedEntry, VerifiedEntry},
    key::{LogKey, WitnessKey},
    note::{NOTE_BYTES_MAX, NoteError},
    tree::{HASHES_MAX, ProofMismatch, TreeHash, verify_inclusion},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

/// Longest proof, in bytes: a checkpoint, a leaf in base64, and 63 hashes; what a stranger can make us hold.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + LEAF_BYTES_MAX * 4 / 3 + 4 * 1024;

/// A proof that nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    index: u64,
    hashes: Vec<TreeHash>,
    checkpoint: SignedCheckpoint,
    extra: Option<Vec<u8>>,
}

/// Why a text does not prove an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not the text of a proof.
    #[error("not a tlog-proof")]
    Malformed,
    /// The checkpoint in it is not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint is not one of the log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not an entry of the log.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The hashes do not lead to the checkpoint's root.
    #[error(transparent)]
    Inclusion(#[from] ProofMismatch),
    /// The entry says that it stands elsewhere than the proof does.
    #[error("entry with the number {number} at index {index}")]
    Place {
        /// The number in the entry.
        number: u64,
        /// The index in the proof.
        index: u64,
    },
    /// The proof does not bring its leaf, and none was given.
    #[error("the proof does not bring its entry")]
    NoLeaf,
}

impl ProofError {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Checkpoint(why) => why.code(),
            Self::Entry(why) => why.code(),
            Self::Note(_) => code::audit::LOG_CHECKPOINT,
            Self::Malformed | Self::Inclusion(_) | Self::Place { .. } | Self::NoLeaf => {
                code::audit::LOG_PROOF
            }
        }
    }
}

impl Proof {
    /// That the leaf at `index` is in the tree of `checkpoint`: `hashes` as [`crate::tree::ProofPlan`] gives them.
    pub const fn new(index: u64, hashes: Vec<TreeHash>, checkpoint: SignedCheckpoint) -> Self {
        Self { index, hashes, checkpoint, extra: None }
    }

    /// The same with the leaf in it.
    #[must_use]
    pub fn with_leaf(self, leaf: &SealedEntry) -> Self {
        Self { extra: Some(leaf.as_bytes().to_vec()), ..self }
    }

    /// Reads the text of a proof.
    ///
    /// # Errors
    /// When it is not one; ask for it again.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(ProofError::Malformed);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let (index, extra, hashes) = parse_head(head).ok_or(ProofError::Malformed)?;
        Ok(Self { index, hashes, checkpoint: SignedCheckpoint::parse(checkpoint)?, extra })
    }

    /// Index of the entry, as the proof claims.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The leaf that the proof brings, before any check.
    pub fn unverified_leaf(&self) -> Option<SealedEntry> {
        self.extra.clone().map(SealedEntry::from_bytes)
    }

    /// Checks everything: that the log's key signed the checkpoint and the leaf, that the tree of the checkpoint holds
    /// the leaf at this index, and that the entry says so too. `leaf` is the one that the proof brings when none is given.
    ///
    /// # Errors
    /// At the first thing that does not hold.
    pub fn verify(
        self,
        leaf: Option<SealedEntry>,
        key: &LogKey,
        witnesses: &[WitnessKey],
    ) -> Result<ProvenEntry, ProofError> {
        let leaf = leaf.or_else(|| self.unverified_leaf()).ok_or(ProofError::NoLeaf)?;
        let checkpoint = self.checkpoint.verify(key, witnesses)?;
        verify_inclusion(&self.hashes, self.index, leaf.leaf_hash(), checkpoint.head())?;
        let entry = leaf.verify(key)?;
        let sequence = entry.entry().sequence;
        if sequence.index() != self.index {
            return Err(ProofError::Place { number: sequence.number(), index: self.index });
        }
        Ok(ProvenEntry { entry, checkpoint })
    }
}

/// Index, extra data and hashes.
fn parse_head(head: &str) -> Option<(u64, Option<Vec<u8>>, Vec<TreeHash>)> {
    let mut lines = head.split('\n');
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let mut line = lines.next()?;
    let mut extra = None;
    if let Some(encoded) = line.strip_prefix(EXTRA) {
        extra = Some(base64(encoded)?);
        line = lines.next()?;
    }
    let index = decimal(line.strip_prefix(INDEX)?)?;
    let hashes = lines.map(TreeHash::from_base64).collect::<Option<Vec<_>>>()?;
    (hashes.len() <= HASHES_MAX).then_some((index, extra, hashes))
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "{EXTRA}{}", BASE64.encode(extra))?;
        }
        writeln!(f, "{INDEX}{}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// An entry and the signed tree that holds it. Only [`Proof::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenEntry {
    entry: VerifiedEntry,
    checkpoint: VerifiedCheckpoint,
}

impl ProvenEntry {
    /// The entry.
    pub const fn entry(&self) -> &VerifiedEntry {
        &self.entry
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}
