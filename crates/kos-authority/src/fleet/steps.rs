//! Steps of the clock: what it says runs away from the time that passes.
//!
//! Time that passes is `CLOCK_BOOTTIME`, which goes on while the machine sleeps and which nobody sets. A clock that is steered
//! slowly is right; one that jumps by [`STEP_MIN`] is told.

use std::time::Duration;

use kos_base::Timestamp;

use crate::{record::SystemChange, vault::Uptime};

/// Smallest jump that is recorded. What the clocks differ by because they are read one after the other is far less.
pub(crate) const STEP_MIN: Duration = Duration::from_secs(2);

/// Compares the clock with the time that passes.
#[derive(Debug)]
pub(crate) struct Steps {
    uptime: Uptime,
    clock: Timestamp,
    passed: Duration,
}

impl Steps {
    /// Believes the clock as it is at `now`.
    pub(super) fn from(now: Timestamp) -> Self {
        let uptime = Uptime::default();
        let passed = uptime.now();
        Self { uptime, clock: now, passed }
    }

    /// Whether the clock jumped since the last look.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<SystemChange> {
        let passed = self.uptime.now();
        let expected = self.clock.plus(passed.saturating_sub(self.passed));
        (self.clock, self.passed) = (now, passed);
        step(expected, now)
    }
}

/// What is recorded when the clock says `to` where it should say about `from`.
pub(crate) fn step(from: Timestamp, to: Timestamp) -> Option<SystemChange> {
    let size = to.since(from).max(from.since(to));
    (size >= STEP_MIN).then_some(SystemChange::ClockStepped { from, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::NOW;

    #[test]
    fn a_jump_is_told_once_and_what_passes_is_none() {
        let mut steps = Steps::from(NOW);
        assert_eq!(steps.look(NOW.plus(Duration::from_millis(5))), None);
        let hour = Duration::from_secs(3_600);
        assert!(
            matches!(steps.look(NOW.plus(hour)), Some(SystemChange::ClockStepped { to, .. }) if to == NOW.plus(hour))
        );
        assert_eq!(steps.look(NOW.plus(hour)), None);
        assert!(matches!(steps.look(NOW), Some(SystemChange::ClockStepped { .. })));
    }
}
