//! A device's clock: what the hardware says, and what the daemon makes of it.

use core::time::Duration;

use kos_base::Timestamp;
use kos_identity::enrolment::device::ClockTrust;

/// A clock before this was never set.
const EARLIEST: Timestamp = Timestamp::from_unix_s(1_793_491_200);
/// A clock that is further ahead of what the device knew last is not believed.
const SLEEP_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// What the hardware clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardware {
    /// The time, this much late.
    Late(Duration),
    /// The time, this much early.
    Early(Duration),
    /// 1970 at every power-on.
    Never,
    /// 2100 and running on.
    Future,
}

/// The clock of a running device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceClock {
    /// What the hardware says.
    pub hardware: Hardware,
    power_on: Timestamp,
    base: (Timestamp, Timestamp),
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Nothing,
    Floor,
    System,
    Authority,
}

impl DeviceClock {
    /// The clock at power-on, with the latest time that the device knows to be past.
    pub fn start(hardware: Hardware, at: Timestamp, floor: Option<Timestamp>) -> Self {
        let source = if floor.is_some() { Source::Floor } else { Source::Nothing };
        let mut clock = Self { hardware, power_on: at, base: (floor.unwrap_or(EARLIEST), at), source };
        clock.now(at);
        clock
    }

    /// The daemon's best guess at the true time `at`.
    pub fn now(&mut self, at: Timestamp) -> Timestamp {
        let (then, since) = self.base;
        let run_on = then.plus(at.since(since));
        let system = match self.hardware {
            Hardware::Late(by) => at.minus(by),
            Hardware::Early(by) => at.plus(by),
            Hardware::Never => Timestamp::default().plus(at.since(self.power_on)),
            Hardware::Future => at.plus(Duration::from_secs(74 * 365 * 24 * 3600)),
        };
        let reachable = match self.source {
            Source::Authority => false,
            Source::Nothing => system <= EARLIEST.plus(SLEEP_MAX.saturating_mul(20)),
            Source::Floor | Source::System => system <= run_on.plus(SLEEP_MAX),
        };
        if !reachable || system < run_on {
            return run_on;
        }
        self.base = (system, at);
        self.source = Source::System;
        system
    }

    /// Takes the authority's word.
    pub const fn learn(&mut self, told: Timestamp, at: Timestamp) {
        self.base = (told, at);
        self.source = Source::Authority;
    }

    /// Whether the daemon believes it.
    pub const fn trust(&self) -> ClockTrust {
        match self.source {
            Source::System | Source::Authority => ClockTrust::Trusted,
            Source::Nothing | Source::Floor => ClockTrust::Untrusted,
        }
    }

    /// The true time at which the clock will show `then`, seen from the true time `at`.
    pub fn when(&mut self, then: Timestamp, at: Timestamp) -> Timestamp {
        let now = self.now(at);
        at.plus(then.since(now))
    }
}
