//! The measurements, one file for what is measured together.

pub(crate) mod attestation;
pub(crate) mod copied_log;
pub(crate) mod daemon;
pub(crate) mod enrolment;
pub(crate) mod heartbeat;
pub(crate) mod idle;
pub(crate) mod issuing;
pub(crate) mod log;
pub(crate) mod policy;
pub(crate) mod quarantine;
pub(crate) mod readiness;
pub(crate) mod revocation;
pub(crate) mod vault;
pub(crate) mod zero_touch;

use anyhow::Result;

use crate::{fleet::Fleet, talk};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Fewer and shorter runs: shows that everything works, and an order of magnitude.
    Quick,
    /// What is written into the table.
    Full,
}

impl Scale {
    /// One of two values.
    pub(crate) const fn pick<T: Copy>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What the measurements share: one authority with its devices, made when it is first needed.
pub(crate) struct Ground {
    pub(crate) scale: Scale,
    fleet: Option<Fleet>,
}

impl Ground {
    pub(crate) const fn new(scale: Scale) -> Self {
        Self { scale, fleet: None }
    }

    /// The authority and its devices.
    pub(crate) async fn fleet(&mut self) -> Result<&mut Fleet> {
        let fleet = match self.fleet.take() {
            Some(fleet) => fleet,
            None => {
                talk::say("starting an authority");
                Fleet::start().await?
            }
        };
        Ok(self.fleet.insert(fleet))
    }
}
