//! An append-only log whose every entry can be proven, and the vocabulary of events.
//!
//! An [`Entry`] says who did what to what. Signed by the log's key it becomes a leaf ([`SealedEntry`]); the leaves are
//! the leaves of a Merkle tree ([`tree`]); the log's key signs the tree's size and root ([`checkpoint`]); and a
//! [`Proof`] shows anyone who has that key that the tree holds the leaf. [`verify`] judges a whole log and names what
//! was done to it. [`alert`] finds what is suspicious in it while it grows. The formats of tree, checkpoint and proof are those of C2SP, so that other programs can judge them.
//!
//! What is not here: files, clocks, private keys, randomness, and the decision what is worth an entry.
//!
//! The log of a device is [`device`].
//!
//! Source: `docs/spec/audit.md`, `docs/spec/device-log.md` and `docs/spec/alerts.md`; vectors in `tests/vectors/audit`.

pub mod alert;
pub mod checkpoint;
pub mod device;
pub mod entry;
pub mod event;
pub mod key;
pub mod mirror;
pub mod note;
pub mod personal;
pub mod proof;
pub mod tree;
pub mod verify;
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, VerifiedCheckpoint};
pub use entry::{BootId, Entry, EntryError, SealedEntry, Sequence, UnsignedEntry, VerifiedEntry};
pub use event::{Actor, Details, DetailsError, EventType, Label, Target, Weight};
pub use key::{AnyLogKey, LogKey, Origin, VerifierKeyError, WitnessKey};
pub use note::NoteError;
pub use personal::{Personal, PersonalError, Place, SubjectId, SubjectKey};
pub use proof::{Proof, ProofError, ProvenEntry};
pub use tree::{Frontier, TreeError, TreeHash, TreeHead};
pub use verify::{
    Assurance, Demand, Failure, FailureKind, Given, LeafReading, LogCheck, NotChecked, RangeCheck, Verdict,
};
pub use witness::{Conflict, Policy, Witness};
