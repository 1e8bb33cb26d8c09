//! The kill switch: armed, fired, told, destroyed, reported; each step after the one before it is durable.
//!
//! Shape: a [`Machine`] is loaded from its journal. [`Machine::arm`], [`Machine::disarm`] and [`Machine::fire`] say at once
//! whether they are refused; what is to be done comes out of [`Machine::poll_output`], one by one, and the shell carries
//! each out before it looks at the next. Steps that have a result are answered with an [`Input`]. Whoever waits for an
//! answer of [`Machine::fire`] hears it after its outputs: a wrong code is counted first.
//!
//! It lives beside the vault because both programs that can be killed know this crate, and because the key whose end
//! makes an erasure a cryptographic one is a vault's.
//!
//! Invariants: nothing is destroyed before `fired` is in the journal and entry and notice are made or given up. A
//! destruction whose outcome is not in the journal is done again. Armed alone asks for nothing.
//!
//! Errors: [`KillError`], each with its stable code.
//!
//! What it does not do: know the time, files, keys or networks. It does not measure the five seconds either; the shell
//! calls [`Machine::handle_timeout`] when they are over by a clock that nobody can set.
//!
//! Source: `docs/spec/kill.md` KILL-2 to KILL-15; simulated in `tests/sim/src/kill.rs`.

mod code;
mod journal;
mod machine;
mod notice;

#[cfg(test)]
mod tests;

use core::time::Duration;

use kos_base::{Code, code as codes};

pub use code::ConfirmCode;
pub use journal::{
    Arming, Assurance, Firing, Journal, Notified, ProgramFate, Stage, Subject, SubjectKind, Target,
};
pub use machine::{Input, Machine, Moment, Output, Recorded, Standing};
pub use notice::{NOTICE_BYTES_MAX, Notice, NoticeSubject, VerifiedNotice, verify_notice};

/// How long an arming is good. Stops a forgotten arming from being fired by whoever finds its code.
pub const ARMED_FOR: Duration = Duration::from_secs(600);
/// How long entry, notice and notification may take together. Stops a jammed network from saving what is to go.
pub const TELL_TIME_MAX: Duration = Duration::from_secs(5);
/// Wrong codes until it is disarmed. Stops guessing at the socket.
pub const WRONG_CODES_MAX: u8 = 3;
/// Longest journal that is read, in bytes; stops a foreign file from filling the memory.
pub const JOURNAL_BYTES_MAX: usize = 4 << 20;

/// Why a command of the kill switch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KillError {
    /// An arming is good already.
    #[error("the kill switch is armed already")]
    Armed,
    /// There is nothing to fire.
    #[error("the kill switch is not armed")]
    NotArmed,
    /// Another code than the one that was shown.
    #[error("this is not the code that arming has shown; {left} tries are left")]
    Code {
        /// Until it is disarmed.
        left: u8,
    },
    /// One wrong code too many.
    #[error("this was the third wrong code, and the kill switch is disarmed")]
    Disarmed,
    /// The ten minutes are over, or the clock was set back.
    #[error("the arming has expired")]
    Expired,
    /// There is no way back.
    #[error("the kill switch was fired")]
    Fired,
    /// The journal is not one that this machine wrote.
    #[error("the journal of the kill switch is damaged")]
    Journal,
}

impl KillError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Armed => codes::kill::KILL_ARMED,
            Self::NotArmed => codes::kill::KILL_NOT_ARMED,
            Self::Code { .. } => codes::kill::KILL_CODE,
            Self::Disarmed => codes::kill::KILL_DISARMED,
            Self::Expired => codes::kill::KILL_EXPIRED,
            Self::Fired => codes::kill::KILL_FIRED,
            Self::Journal => codes::config::FILE_DAMAGED,
        }
    }
}
