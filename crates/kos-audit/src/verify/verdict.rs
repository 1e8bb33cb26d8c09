//! What a verification found.

use core::{fmt, ops::Range};

use kos_base::{Code, Timestamp, code};

use crate::{key::Origin, tree::TreeHead};

/// Most failures that a verdict describes; what a wholly foreign copy can make us write.
pub const FAILURES_MAX: usize = 1000;

/// What a verification of a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which log was asked for.
    pub origin: Origin,
    /// Size and root that the checkpoint signs; of what is there, when the checkpoint is not valid.
    pub head: TreeHead,
    /// When the checkpoint was signed; nothing when it is not valid.
    pub checkpoint_time: Option<Timestamp>,
    /// Leaves that were hashed into the tree.
    pub entries_checked: u64,
    /// Leaves whose signature was checked.
    pub signatures_checked: u64,
    /// What the verdict is worth.
    pub assurance: Assurance,
    /// How many entries are witnessed: those that a checkpoint covers which enough known witnesses cosigned.
    pub witnessed_size: Option<u64>,
    /// The known witnesses that cosigned it.
    pub witnessed_by: Vec<String>,
    /// What was found, by index, at most [`FAILURES_MAX`] of it.
    pub failures: Vec<Failure>,
    /// How much was found.
    pub failures_found: u64,
    /// What was left out; nothing of a whole log.
    pub not_checked: Vec<NotChecked>,
}

/// A part of a log that a verification did not look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotChecked {
    /// Entries: neither they nor their signatures were read.
    Entries(Range<u64>),
    /// Tiles that no entry of the range lies under.
    OtherTiles,
    /// Entries that are in an archive; their hashes were checked.
    Archived(Range<u64>),
}

impl NotChecked {
    /// What is left out when the first `size` entries are archived.
    pub(super) fn archived(size: u64) -> Vec<Self> {
        if size == 0 { Vec::new() } else { vec![Self::Archived(0..size)] }
    }

    /// What a look at `range` leaves out of a log of `size` entries.
    pub(super) fn around(range: &Range<u64>, size: u64) -> Vec<Self> {
        let before = 0..range.start.min(size);
        let after = range.end.max(range.start).min(size)..size;
        let left: Vec<_> = [before, after].into_iter().filter(|range| !range.is_empty()).collect();
        let tiles = (!left.is_empty()).then_some(Self::OtherTiles);
        left.into_iter().map(Self::Entries).chain(tiles).collect()
    }
}

impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(range) if range.end - range.start == 1 => {
                write!(f, "the entry of index {} and its signature", range.start)
            }
            Self::Entries(range) => {
                write!(f, "the entries of index {} to {} and their signatures", range.start, range.end - 1)
            }
            Self::Archived(range) => write!(
                f,
                "the entries of index {} to {} are archived; their hashes are those of the tree",
                range.start,
                range.end - 1
            ),
            Self::OtherTiles => f.write_str("tiles that none of these entries lies under"),
        }
    }
}

impl Verdict {
    /// Whether nothing was found.
    pub const fn is_ok(&self) -> bool {
        self.failures_found == 0
    }
}

/// What a log was compared with. Later is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assurance {
    /// Its own checkpoint only: whoever holds the key could have rewritten everything.
    LocalIntegrity,
    /// A checkpoint that somebody kept: what it covers was not rewritten since.
    HeldCheckpoint,
    /// A checkpoint that enough witnesses cosigned: nobody was shown another log up to the size of it.
    Witnessed,
}

impl Assurance {
    /// The word, as every output writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocalIntegrity => "local-integrity",
            Self::HeldCheckpoint => "held-checkpoint",
            Self::Witnessed => "witnessed",
        }
    }
}

/// One thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Index that the entry has in the signed log, or where something stands that is no entry of it; nothing when it is
    /// the log as a whole.
    pub index: Option<u64>,
    /// What was done.
    pub kind: FailureKind,
    /// In words.
    pub detail: String,
}

/// What can be wrong with a log (AUD-64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// An entry, or its hash in a tile, is not what it was.
    Edited,
    /// Entries are missing, and later ones are there.
    Deleted,
    /// Entries stand elsewhere than they were signed for, or twice.
    Reordered,
    /// The last entries are missing.
    Truncated,
    /// The log holds other entries than the checkpoint signs.
    Forked,
    /// The log is an older state of itself.
    Rewound,
    /// A file ends inside an entry, a hash or a note, or is missing.
    Torn,
    /// The log's key did not sign what the log holds.
    BadSignature,
    /// Fewer known witnesses cosigned than the verifier asks for.
    Unwitnessed,
}

impl FailureKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Edited,
        Self::Deleted,
        Self::Reordered,
        Self::Truncated,
        Self::Forked,
        Self::Rewound,
        Self::Torn,
        Self::BadSignature,
        Self::Unwitnessed,
    ];

    /// The word, as every output writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::Forked => "forked",
            Self::Rewound => "rewound",
            Self::Torn => "torn",
            Self::BadSignature => "bad-signature",
            Self::Unwitnessed => "unwitnessed",
        }
    }

    /// Its code.
    pub const fn code(self) -> Code {
        match self {
            Self::Edited => code::audit::LOG_EDITED,
            Self::Deleted => code::audit::LOG_DELETED,
            Self::Reordered => code::audit::LOG_REORDERED,
            Self::Truncated => code::audit::LOG_TRUNCATED,
            Self::Forked => code::audit::LOG_FORKED,
            Self::Rewound => code::audit::LOG_REWOUND,
            Self::Torn => code::audit::LOG_TORN,
            Self::BadSignature => code::audit::LOG_SIGNATURE,
            Self::Unwitnessed => code::audit::LOG_UNWITNESSED,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
