//! The request `add-checkpoint` of tlog-witness: what the witness has, the proof from there, and the checkpoint.
//!
//! ```text
//! old <size>
//! <hash of the consistency proof in base64>   at most 63 of them
//!
//! <checkpoint>
//! ```
//!
//! Invariants: what is read is written alike. Nothing is hashed or verified here.
//!
//! Errors: [`RequestError`]; the asker sent what is no request, and is told 400.
//!
//! Source: C2SP tlog-witness; AUD-91, AUD-92; vectors in `tests/vectors/audit/witness`, fuzz target `witness`.

use core::fmt;

use kos_base::{Code, code};

use crate::{
    checkpoint::{SignedCheckpoint, decimal},
    key::AnyLogKey,
    note::{NOTE_BYTES_MAX, Note, NoteError},
    tree::{HASHES_MAX, TREE_SIZE_MAX, TreeHash, TreeHead},
};

/// Longest request, in bytes: the longest note, 63 hashes of 45 and the first line. Stops a stranger from making us hold
/// more.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + HASHES_MAX * 45 + 32;

/// Why bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`REQUEST_BYTES_MAX`].
    #[error("a request of more than {REQUEST_BYTES_MAX} bytes")]
    TooLong,
    /// Not the lines that a request has.
    #[error("not an old size, hashes, an empty line and a checkpoint")]
    Malformed,
    /// The checkpoint is no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl RequestError {
    /// Its code.
    pub const fn code(self) -> Code {
        code::audit::WITNESS_REQUEST
    }
}

/// Asks a witness to cosign. Its form is right, and nothing else is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    pub(super) old: u64,
    pub(super) proof: Vec<TreeHash>,
    pub(super) note: Note,
}

impl AddCheckpoint {
    /// Asks for a cosignature of `checkpoint`, where the witness has cosigned a tree of `old` leaves and `proof` leads
    /// from there. Without one, `old` is 0 and `proof` is empty.
    pub fn new(old: u64, proof: Vec<TreeHash>, checkpoint: &SignedCheckpoint) -> Self {
        Self { old, proof, note: checkpoint.note().clone() }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| RequestError::Malformed)?;
        let (head, note) = text.split_once("\n\n").ok_or(RequestError::Malformed)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| decimal(line.strip_prefix("old ")?));
        let old = old.ok_or(RequestError::Malformed)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == HASHES_MAX {
                return Err(RequestError::Malformed);
            }
            proof.push(TreeHash::from_base64(line).ok_or(RequestError::Malformed)?);
        }
        Ok(Self { old, proof, note: Note::parse(note)? })
    }

    /// The log that it claims to be of.
    pub(super) fn origin(&self) -> &str {
        self.note.unverified_text().lines().next().unwrap_or_default()
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.note)
    }
}

/// A checkpoint of any C2SP log, whose key signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnyCheckpoint {
    pub(super) head: TreeHead,
    /// With the lines of the log's key alone.
    pub(super) note: Note,
}

/// Why a note is no checkpoint of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOfLog {
    Signature,
    Form,
}

impl AnyCheckpoint {
    /// The checkpoint in `note`, if `key` signed it. Its extension lines are kept and mean nothing.
    pub(super) fn verify(note: &Note, key: &AnyLogKey) -> Result<Self, NotOfLog> {
        let text = note.verified_text(key.note()).ok_or(NotOfLog::Signature)?;
        let head = parse(text, key.origin()).ok_or(NotOfLog::Form)?;
        Ok(Self { head, note: note.of_key(key.note()) })
    }
}

fn parse(text: &str, origin: &str) -> Option<TreeHead> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let named = lines.next()? == origin;
    let size = decimal(lines.next()?)?;
    let root = TreeHash::from_base64(lines.next()?)?;
    let well_formed = named && size <= TREE_SIZE_MAX && lines.all(|line| !line.is_empty());
    well_formed.then_some(TreeHead { size, root })
}
