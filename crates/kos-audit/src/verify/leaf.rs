//! One leaf, judged by itself: the part of a verification that costs, and that any number of threads can do at once.

use core::fmt;
use std::borrow::Cow;

use serde::Deserialize;

use crate::{
    entry::{Sequence, signed_json},
    event::EventType,
    key::LogKey,
    tree::{TreeHash, leaf_hash},
};

/// What a leaf says by itself: its hash, and its number in the log if the log's key signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafReading {
    pub(super) hash: TreeHash,
    pub(super) number: Result<u64, LeafFault>,
    /// How many entries it says are archived.
    pub(super) archived: u64,
}

/// Why a leaf does not count as an entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeafFault {
    /// The log's key did not sign it.
    Signature,
    /// The log's key signed it, and it is not an entry.
    NotAnEntry,
    /// It ends before it should.
    Torn,
}

impl fmt::Display for LeafFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "the log's key did not sign what stands here",
            Self::NotAnEntry => "what stands here is signed and not an entry",
            Self::Torn => "what stands here ends inside an entry",
        })
    }
}

/// What verifying the order needs of an entry. Whatever else it says is covered by the signature; an event type that
/// this version does not know is no reason to call a log damaged.
#[derive(Deserialize)]
struct Numbered<'a> {
    sequence: Sequence,
    #[serde(borrow, default, rename = "eventType")]
    event_type: Cow<'a, str>,
}

/// What `log_archived` says.
#[derive(Deserialize)]
struct Archived {
    details: Size,
}

#[derive(Deserialize)]
struct Size {
    size: u64,
}

impl LeafReading {
    /// Hashes a leaf and checks its signature.
    ///
    /// Cost: one Ed25519 verification.
    pub fn of(leaf: &[u8], key: &LogKey) -> Self {
        let mut archived = 0;
        let number = match signed_json(leaf, key) {
            Ok(json) => match serde_json::from_slice::<Numbered<'_>>(&json) {
                Ok(entry) => {
                    if entry.event_type == EventType::LogArchived.as_str() {
                        archived =
                            serde_json::from_slice(&json).map_or(0, |said: Archived| said.details.size);
                    }
                    Ok(entry.sequence.number())
                }
                Err(_) => Err(LeafFault::NotAnEntry),
            },
            Err(_) => Err(LeafFault::Signature),
        };
        Self { hash: leaf_hash(leaf), number, archived }
    }

    /// Its number in the log, if the log's key signed it as an entry.
    pub fn number(&self) -> Option<u64> {
        self.number.ok()
    }

    /// Stands for what is left of a leaf whose end is missing ([`crate::tree::Torn`]).
    pub const fn torn() -> Self {
        Self { hash: TreeHash::EMPTY, number: Err(LeafFault::Torn), archived: 0 }
    }
}
