//! Why a device is not moved to another state or profile.

use kos_base::{DeviceState, code};
use kos_policy::Refusal;

/// The way to another state or profile does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// No such transition.
    #[error("a device that is {from} cannot become {to}")]
    Transition {
        /// Where it is.
        from: DeviceState,
        /// Where it was to go.
        to: DeviceState,
    },
    /// The security profile is lower than the one it has held, or was not proven.
    #[error(transparent)]
    Policy(#[from] Refusal),
}

impl StateError {
    /// The stable code.
    pub const fn code(&self) -> kos_base::Code {
        match self {
            Self::Transition { .. } => code::enrolment::STATE_FORBIDS,
            Self::Policy(refusal) => refusal.code(),
        }
    }
}
