//! What is suspicious in the log, found while it is written, and told to guardians until they have it.
//!
//! ```text
//! log -> watch (kos_audit::alert) -> writer: one transaction { alert_raised, the alert, a delivery a guardian, state }
//!     -> deliver: a worker a guardian -> sink
//! ```
//!
//! Invariants: an alert has exactly one entry, whatever ends the program in between: the entry, the alert, its deliveries
//! and what the rules remember are written together, and the log is looked through from there. A delivery ends when the
//! guardian took it; until then it is tried again, so a guardian may get an alert twice, with the same id.
//!
//! What it does not do: keep whoever owns the store and the keys from silencing it. The entry in a witnessed log does.
//!
//! Source: `docs/spec/alerts.md` ALR-20 to ALR-46.

mod deliver;
mod guardian;
mod notice;
pub(crate) mod rules;
mod seal;
pub(crate) mod sink;
mod watch;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use kos_base::{Code, DeviceId};
use tokio::sync::watch as channel;

pub(crate) use self::guardian::origin;
pub use self::guardian::{Guardian, GuardianName, Leaving, ParseGuardianNameError, SyslogForm, Way};
pub(crate) use self::{deliver::run as deliver, notice::Notice, watch::run as watch};

/// Entries that the rules may be behind the log before the doctor says so: far more than they remember between two notes.
pub(crate) const BEHIND_MAX: u64 = 4_096;

/// What the parts that deal with alerts share.
#[derive(Debug)]
pub(crate) struct Alerts {
    changed: channel::Sender<u64>,
    /// One change of the rules at a time, since each has the next number.
    pub(crate) applying: tokio::sync::Mutex<()>,
    refused: Mutex<Option<Code>>,
    /// Devices that are guardians.
    devices: Mutex<BTreeSet<DeviceId>>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            changed: channel::Sender::new(0),
            applying: tokio::sync::Mutex::default(),
            refused: Mutex::default(),
            devices: Mutex::default(),
        }
    }
}

impl Alerts {
    /// Tells everybody that there are other alerts, deliveries or guardians.
    pub(crate) fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Hears when there are.
    pub(crate) fn changes(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Why the rules that were kept are not in force, if they are not.
    pub(crate) fn refused(&self) -> Option<Code> {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device has a link: what waits for it need not wait any longer.
    pub(crate) fn linked(&self, device: &DeviceId) {
        if self.devices.lock().unwrap_or_else(PoisonError::into_inner).contains(device) {
            self.tell();
        }
    }

    fn set_devices(&self, devices: BTreeSet<DeviceId>) {
        *self.devices.lock().unwrap_or_else(PoisonError::into_inner) = devices;
    }

    fn set_refused(&self, code: Option<Code>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }
}
