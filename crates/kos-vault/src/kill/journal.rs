//! What survives a power cut: the arming or the firing, as one JSON object (KILL-8).
//!
//! Shape: SHA-256 of the rest in hex and a line feed, then `{"format":"kos.kill.v1","state":{"armed":{..}}}` or
//! `{"fired":{..}}`; the file that holds it is replaced whole. A bit that has flipped, unknown members, another format, or
//! anything beyond its end make it damaged: it names what is to be destroyed.

use core::fmt;

use data_encoding::HEXLOWER;
use kos_base::{Timestamp, digest::sha256};
use serde::{Deserialize, Serialize};

use super::{JOURNAL_BYTES_MAX, KillError};

const FORMAT: &str = "kos.kill.v1";
/// Hex characters in front of the JSON.
const DIGEST_CHARS: usize = 64;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Journal {
    /// Somebody has armed it.
    Armed(Arming),
    /// Somebody has fired it: there is no way back.
    Fired(Firing),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    state: Journal,
}

/// What is to be destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Which kind.
    pub kind: SubjectKind,
    /// Device id or name of the authority.
    pub name: String,
}

/// Which kind of thing is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectKind {
    /// A device.
    Device,
    /// An authority.
    Authority,
}

/// What is to become of the program file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProgramFate {
    /// It goes last.
    Delete,
    /// It stays.
    Keep,
}

/// An arming.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arming {
    /// What would be destroyed.
    pub subject: Subject,
    /// When it was armed.
    pub at: Timestamp,
    /// What was chosen for the program.
    pub program: ProgramFate,
    pub(super) salt: [u8; 16],
    pub(super) hash: [u8; 32],
    /// Wrong codes so far.
    pub wrong: u8,
}

/// A firing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Firing {
    /// What is destroyed.
    pub subject: Subject,
    /// When it was fired.
    pub at: Timestamp,
    /// What was chosen for the program.
    pub program: ProgramFate,
    /// How far it is.
    pub stage: Stage,
    /// Index of the entry in the log, where there is a log and it took one.
    pub entry: Option<u64>,
    /// Whether something was recorded; false when it was given up.
    pub recorded: bool,
    /// Whether there is a signed notice.
    pub noticed: bool,
    /// Who has heard of it.
    pub notified: Notified,
    /// In the order in which they go.
    pub targets: Vec<Target>,
    /// What stays, for the report.
    pub remaining: Vec<String>,
}

/// How far a firing is: what is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// The entry.
    Recording,
    /// The notice.
    Signing,
    /// The notification.
    Notifying,
    /// The destruction.
    Destroying,
    /// Nothing.
    Done,
}

/// Who has heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Notified {
    /// Nobody has been tried yet, or a power cut came between.
    Untried,
    /// Whoever was to be told has recorded it.
    Told,
    /// They were not reached within the time.
    Unreached,
    /// There was nobody to tell.
    Nobody,
}

/// One thing that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Where it is.
    pub path: String,
    /// The target that is the only key to it, where it is encrypted.
    pub key: Option<String>,
    /// What may be said of it; nothing before it was tried.
    pub outcome: Option<Assurance>,
}

/// What may be said of a target (KILL-21 to KILL-25), from the strongest to the weakest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Assurance {
    /// It was not there.
    Absent,
    /// A device says that no copy is left in it.
    Purged,
    /// The key that it was encrypted with is gone.
    CryptoErased,
    /// Overwritten and unlinked.
    Cleared,
    /// Unlinked.
    Deleted,
    /// It is still there.
    Failed(String),
}

impl Assurance {
    /// The word that every output uses.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Purged => "purged",
            Self::CryptoErased => "crypto-erased",
            Self::Cleared => "cleared",
            Self::Deleted => "deleted",
            Self::Failed(_) => "failed",
        }
    }

    /// What may be said of two parts together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "failed: {why}"),
            other => f.pad(other.as_str()),
        }
    }
}

impl Notified {
    /// The word that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Told => "told",
            Self::Unreached => "unreached",
            Self::Nobody => "nobody",
        }
    }
}

impl Journal {
    /// Reads what [`Journal::to_bytes`] wrote.
    ///
    /// # Errors
    /// When it is anything else. It may have said `fired`: start nothing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KillError> {
        if bytes.len() > JOURNAL_BYTES_MAX {
            return Err(KillError::Journal);
        }
        let (digest, rest) = bytes.split_at_checked(DIGEST_CHARS).ok_or(KillError::Journal)?;
        let json = rest.strip_prefix(b"\n").ok_or(KillError::Journal)?;
        if HEXLOWER.encode(&sha256(json)).as_bytes() != digest {
            return Err(KillError::Journal);
        }
        let file: File = serde_json::from_slice(json).map_err(|_| KillError::Journal)?;
        if file.format == FORMAT { Ok(file.state) } else { Err(KillError::Journal) }
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let file = File { format: FORMAT.to_owned(), state: self.clone() };
        let json = serde_json::to_vec(&file).unwrap_or_default();
        let digest = HEXLOWER.encode(&sha256(&json));
        [digest.as_bytes(), b"\n", &json].concat()
    }
}

impl Target {
    /// One that lies there as it is.
    pub const fn new(path: String) -> Self {
        Self { path, key: None, outcome: None }
    }

    /// One that is encrypted, and that nothing but the target `key` opens.
    pub const fn sealed(path: String, key: String) -> Self {
        Self { path, key: Some(key), outcome: None }
    }
}

impl Firing {
    /// What may be said of a target after this became of it (KILL-22).
    pub(super) fn assured(&self, target: &Target, outcome: Assurance) -> Assurance {
        let key = target.key.as_ref().and_then(|key| self.targets.iter().find(|other| other.path == *key));
        let gone = key.is_some_and(|key| matches!(key.outcome, Some(Assurance::Purged | Assurance::Cleared)));
        if gone && outcome == Assurance::Cleared { Assurance::CryptoErased } else { outcome }
    }

    /// The first target that nothing is known of.
    pub(super) fn next(&self) -> Option<usize> {
        self.targets.iter().position(|target| target.outcome.is_none())
    }

    /// Whether something could not be destroyed.
    pub fn has_failures(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.outcome, Some(Assurance::Failed(_))))
    }
}
