//! A copy of a log that never goes back: whether a checkpoint that somebody offers may follow the one that is held.
//!
//! Shape: [`judge`] compares the two by size and root; where the offered one is larger, a [`Walk`] shows that it begins
//! with the held one, and gives the files that are new. Only then may the copy's checkpoint move.
//!
//! What it does not do: read or write; `docs/spec/audit.md` AUD-74 to AUD-78 say in which order that is done.
//!
//! Source: `docs/spec/audit.md` AUD-74, AUD-75.

use kos_base::{Code, code};

use crate::{
    checkpoint::VerifiedCheckpoint,
    tree::{PieceError, Walk},
};

/// How an offered checkpoint stands to the held one.
#[derive(Clone, Debug)]
pub enum Standing {
    /// The same tree.
    Same,
    /// More entries: what the walk visits is new.
    Ahead(Box<Walk>),
}

/// The log contradicts what is held, and both are signed: whoever keeps the log's key is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Fewer entries than are held.
    #[error("the checkpoint is of {offered} entries, and {held} are held")]
    Rewound {
        /// What is held.
        held: u64,
        /// What is offered.
        offered: u64,
    },
    /// Not the continuation of what is held.
    #[error("the first {held} entries are not those of the held checkpoint")]
    Forked {
        /// What is held.
        held: u64,
    },
}

impl Conflict {
    /// Its code.
    pub const fn code(self) -> Code {
        match self {
            Self::Rewound { .. } => code::audit::LOG_REWOUND,
            Self::Forked { .. } => code::audit::LOG_FORKED,
        }
    }
}

/// Compares a checkpoint that is offered with the one that is held, if there is one.
///
/// # Errors
/// When it may not follow. Keep both: they show what was done.
pub fn judge(held: Option<&VerifiedCheckpoint>, offered: &VerifiedCheckpoint) -> Result<Standing, Conflict> {
    let (now, then) = (*offered.head(), held.map(|held| *held.head()));
    let from = then.map_or(0, |then| then.size);
    if then.is_some_and(|then| then.size > now.size) {
        return Err(Conflict::Rewound { held: from, offered: now.size });
    }
    if then == Some(now) {
        return Ok(Standing::Same);
    }
    match Walk::new(now, then, from..now.size) {
        Ok(walk) => Ok(Standing::Ahead(Box::new(walk))),
        Err(_) => Err(Conflict::Forked { held: from }),
    }
}

/// What is wrong with a source that gave bytes which are not in the tree that it signs. Whether the two signed trees
/// differ shows from [`PieceError::Held`] alone.
pub fn conflict(why: &PieceError) -> Option<Conflict> {
    match why {
        PieceError::Held { size } => Some(Conflict::Forked { held: *size }),
        _ => None,
    }
}
