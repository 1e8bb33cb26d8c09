//! Whether a message is new: its time, its place in the sequence of its sender, or its id.
//!
//! [`check_time`] is for every message. [`Window`] judges messages on a direct link, [`ReplayGuard`] keeps the windows of
//! all senders and the ids of what was relayed or stored. [`EpochClaim`] and [`Sender`] are the other side: the places of
//! the messages that this node sends.
//!
//! Nothing here may be asked before a proof has held, since asking is remembering.
//!
//! Limits: [`GuardLimits`]; what stands in memory is bounded for one sender and for all, and a node that is full refuses
//! strangers before those it knows. Errors: drop the message; where its sender is known, say why.
//!
//! Source: `docs/spec/klp.md` KLP-36 to KLP-42.

mod epoch;
mod guard;
mod ids;
mod window;

use core::time::Duration;

use kos_base::{Code, Timestamp, code::klp};

pub use self::{
    epoch::{EpochClaim, Sender},
    guard::{GuardLimits, ReplayGuard},
    window::{WINDOW_SEQUENCES, Window},
};
use crate::message::Message;

/// How far two clocks may differ (KLP-36).
pub const SKEW: Duration = Duration::from_secs(60);

/// Why a message is not taken as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreshnessError {
    /// Made later than our clock allows.
    #[error("the message comes from the future")]
    Future,
    /// Its time is over.
    #[error("the message has expired")]
    Expired,
    /// It claims to live longer than its type may, or not at all.
    #[error("the message lives longer than its type may")]
    Life,
    /// Seen before, or too far behind to know.
    #[error("the message was seen before")]
    Replayed,
    /// Its sender has started anew since.
    #[error("the message is of an earlier epoch of its sender")]
    OldEpoch,
    /// Made before this node last started, and it may have been seen then.
    #[error("the message was made before this node started")]
    BeforeStart,
    /// There is no room to remember it.
    #[error("no room to remember the message")]
    Full,
}

impl FreshnessError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Future => klp::KLP_FUTURE,
            Self::Expired => klp::KLP_EXPIRED,
            Self::Life => klp::KLP_TTL,
            Self::Replayed | Self::OldEpoch => klp::KLP_REPLAY,
            Self::BeforeStart => klp::KLP_BEFORE_START,
            Self::Full => klp::KLP_MEMORY,
        }
    }
}

/// Checks the time of a message (KLP-36).
///
/// # Errors
/// When it comes from the future, has expired, or claims a longer life than its type may have.
pub fn check_time(now: Timestamp, message: &Message<'_>) -> Result<(), FreshnessError> {
    if message.issued > now.plus(SKEW) {
        return Err(FreshnessError::Future);
    }
    if message.expires.plus(SKEW) <= now {
        return Err(FreshnessError::Expired);
    }
    let life = message.expires.since(message.issued);
    if life.is_zero() || life > message.kind.life_max() { Err(FreshnessError::Life) } else { Ok(()) }
}

/// Until when a message must be remembered.
fn remembered_until(message: &Message<'_>) -> Timestamp {
    message.expires.plus(SKEW)
}
