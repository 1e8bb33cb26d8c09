//! The model of a device: a disk, a clock, a machine while it has power, and a person who owns it.

mod clock;
mod disk;
pub mod tpm;

use core::fmt;
use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use kos_base::{EntryId, SecurityProfile, Timestamp};
use kos_emulator::paper::PaperTpm;
use kos_identity::enrolment::device::{Anchor, Event, Machine, Profile};

pub use clock::{DeviceClock, Hardware};
pub use disk::{Content, Disk, StoredKey};

use crate::{keys::ModelKey, world::LinkId};

/// A device.
#[derive(Debug)]
pub struct Body {
    /// Its number, for people.
    pub number: usize,
    /// What it says about itself.
    pub profile: Profile,
    /// How its owner told it whom to belong to.
    pub anchor: Anchor,
    /// The ticket in its owner's hand.
    pub ticket: Option<GivenTicket>,
    /// Its TPM, if it has one. A copy of its disk that runs has the same: whoever copies takes the state of the TPM along.
    pub tpm: Option<Rc<RefCell<PaperTpm>>>,
    /// Its disk.
    pub disk: Disk,
    /// Its clock.
    pub clock: DeviceClock,
    /// How often it had power; what belongs to an earlier life is void.
    pub life: u64,
    /// The machine, while there is power.
    pub machine: Option<Machine>,
    /// Its connection, or the attempt to make one.
    pub link: Option<LinkId>,
    /// Its network address.
    pub source: String,
    /// How often a wake-up was planned; only the last one counts.
    pub wakes: u64,
    /// What it told last.
    pub told: Option<Event>,
    /// How often it was refused.
    pub refusals: u64,
    /// Orders of quarantine that it has obeyed.
    pub obeyed: BTreeSet<EntryId>,
    /// The latest time that its disk knew to be past.
    pub floor: Option<Timestamp>,
    /// The security profile of the last certificate that its disk had in service.
    pub served: Option<SecurityProfile>,
    /// Whether its owner wants it to be part of the fleet.
    pub wanted: Wanted,
    /// Whether it is a copy, or a copy of it was made.
    pub twins: Twins,
}

/// A ticket as a person holds it.
#[derive(Clone, Debug)]
pub struct GivenTicket {
    /// Which.
    pub id: EntryId,
    /// What its secret yields.
    pub key: Rc<ModelKey>,
}

/// Whether a device is to be part of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Yes.
    Yes,
    /// Its owner has ended it.
    No,
}

/// Whether there are two of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twins {
    /// No.
    None,
    /// A copy of its disk runs as well, or it is that copy.
    Alive,
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {}", self.number)
    }
}
