//! Why a TPM or token does not do what it was asked.

use kos_base::{Code, approved::NotApproved, code};
use kos_net::{entropy::NoEntropy, keys::KeyError};

/// Sorted by who has to act: whoever has the machine, whoever has the PIN, whoever keeps the files, ourselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HardwareError {
    /// Nothing answers there, or not any more. Everything is as it was; try again when it is back.
    #[error("no TPM or token answers: {0}")]
    Absent(String),
    /// The token was taken out, or lost its sessions for good. Signing goes on when it is back.
    #[error("the token was removed: {0}")]
    Removed(String),
    /// Too many wrong tries, by whomever. Waiting or its owner's reset helps.
    #[error("the TPM or token is locked: {0}")]
    LockedOut(&'static str),
    /// The hardware works and says no.
    #[error("the TPM or token refuses: {0}")]
    Refused(String),
    /// PCRs have other values than those for which it was sealed.
    #[error("the machine is not in the state for which this was sealed")]
    State,

    /// The token does not take the PIN. It is not tried again by this handle: every try counts.
    #[error("the PIN of the token is wrong")]
    WrongPin,

    /// It was made under another storage key: in another TPM, or in this one before it was cleared.
    #[error("another TPM made this, or this one was cleared")]
    Cleared,
    /// The bytes are not what the TPM made.
    #[error("what the TPM made is damaged: {0}")]
    Damaged(&'static str),
    /// The token has no key of this name, or only half of one.
    #[error("the token has no key `{0}`")]
    KeyMissing(String),
    /// A key of this name would be made a second time.
    #[error("the token has a key `{0}` already")]
    KeyExists(String),
    /// There is no counter at this index, or one with other properties, which anybody could set back.
    #[error("the counter of the TPM is lost: {0}")]
    CounterLost(&'static str),

    /// An answer that no honest TPM or token gives. Nothing of it was used.
    #[error("the TPM or token gave an answer that cannot be right: {0}")]
    Answer(&'static str),
    /// This build has the FIPS module, which does not approve of how secrets go to a TPM.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    /// The cryptographic library failed. It has no reason to.
    #[error("the cryptographic library failed")]
    Fault,
}

impl HardwareError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Absent(_) => code::hardware::HARDWARE_ABSENT,
            Self::Removed(_) => code::hardware::TOKEN_REMOVED,
            Self::LockedOut(_) => code::hardware::HARDWARE_LOCKED_OUT,
            Self::Refused(_) => code::hardware::HARDWARE_REFUSED,
            Self::State => code::hardware::HARDWARE_STATE,
            Self::WrongPin => code::hardware::HARDWARE_PIN,
            Self::Cleared => code::hardware::HARDWARE_CLEARED,
            Self::Damaged(_) => code::hardware::HARDWARE_BLOB,
            Self::KeyMissing(_) => code::hardware::HARDWARE_KEY_MISSING,
            Self::KeyExists(_) => code::hardware::HARDWARE_KEY_EXISTS,
            Self::CounterLost(_) => code::hardware::HARDWARE_COUNTER_LOST,
            Self::Answer(_) => code::hardware::HARDWARE_ANSWER,
            Self::NotApproved(refusal) => refusal.code(),
            Self::Fault => code::config::INTERNAL,
        }
    }
}

impl From<NoEntropy> for HardwareError {
    fn from(_: NoEntropy) -> Self {
        Self::Fault
    }
}

impl From<aws_lc_rs::error::Unspecified> for HardwareError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Fault
    }
}

/// What `kos-net` passes on of it. The words go to the log here, since a code is all that fits there.
pub(crate) fn passed_on(where_it_is: &str, error: &HardwareError) -> KeyError {
    tracing::warn!(key = where_it_is, code = %error.code(), %error, "a key in hardware did not sign");
    KeyError::Hardware(error.code())
}
