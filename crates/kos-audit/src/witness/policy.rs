//! How many of which witnesses a checkpoint needs to count as witnessed.
//!
//! Source: C2SP tlog-policy, of which this is one group whose threshold is a number; AUD-98.

use kos_base::{Code, code};

use crate::{checkpoint::VerifiedCheckpoint, key::WitnessKey};

/// Most witnesses of a policy. Their lines and the log's own are half of what a note may have, so that no number of
/// witnesses makes a checkpoint that nobody reads any more.
pub const WITNESSES_MAX: usize = 32;

/// Longest name of a witness that a log has, in bytes, all of them ASCII: the longest name of an authority and its
/// device fit. Stops names from making a checkpoint too long to be read.
pub const WITNESS_NAME_BYTES_MAX: usize = 128;

/// At least `threshold` of `witnesses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    witnesses: Vec<WitnessKey>,
    threshold: usize,
}

/// The policy can never hold, or counts somebody twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than [`WITNESSES_MAX`].
    #[error("more than {WITNESSES_MAX} witnesses")]
    TooMany,
    /// None of them would suffice, or more are asked for than there are.
    #[error("{threshold} of {witnesses} witnesses")]
    Threshold {
        /// How many are asked for.
        threshold: usize,
        /// How many there are.
        witnesses: usize,
    },
    /// Two of them have one key.
    #[error("two witnesses with one key")]
    Twice,
}

impl PolicyError {
    /// Its code.
    pub const fn code(self) -> Code {
        code::audit::WITNESS_POLICY
    }
}

impl Policy {
    /// No witnesses: nothing is witnessed.
    pub const fn none() -> Self {
        Self { witnesses: Vec::new(), threshold: 1 }
    }

    /// At least `threshold` of `witnesses`.
    ///
    /// # Errors
    /// When it can never hold, or two of them have one key.
    pub fn new(witnesses: Vec<WitnessKey>, threshold: usize) -> Result<Self, PolicyError> {
        if witnesses.len() > WITNESSES_MAX {
            return Err(PolicyError::TooMany);
        }
        if threshold == 0 || threshold > witnesses.len() {
            return Err(PolicyError::Threshold { threshold, witnesses: witnesses.len() });
        }
        let twice = |(at, one): (usize, &WitnessKey)| {
            witnesses.iter().skip(at + 1).any(|other| other.public() == one.public())
        };
        if witnesses.iter().enumerate().any(twice) {
            return Err(PolicyError::Twice);
        }
        Ok(Self { witnesses, threshold })
    }

    /// Who counts.
    pub fn witnesses(&self) -> &[WitnessKey] {
        &self.witnesses
    }

    /// How many of them are needed.
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether a checkpoint that was verified with these witnesses counts as witnessed.
    pub fn is_met_by(&self, checkpoint: &VerifiedCheckpoint) -> bool {
        checkpoint.witnessed_by().len() >= self.threshold
    }
}
