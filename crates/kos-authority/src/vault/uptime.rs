//! Time since the machine started, and how much of it the machine slept.
//!
//! `CLOCK_BOOTTIME` goes on while the machine sleeps and `CLOCK_MONOTONIC` does not; nothing else makes them differ, since
//! both are steered alike. A virtual machine that its host stops has no sleep: neither clock goes on there.
//!
//! Source: KVS-7; clock_gettime(2).

#[cfg(test)]
use std::sync::Mutex;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Growth of the sleep that counts as one; what two clocks that are read one after the other may seem to differ by is less.
pub(super) const SLEEP_MIN: Duration = Duration::from_millis(250);
/// Longest time between two readings of one clock around one of the other.
const READING_MAX: Duration = Duration::from_millis(100);
/// How often the clocks are read again on a machine that is too busy to read them at one moment.
const READINGS_MAX: u32 = 16;

/// The clocks of the machine that nobody sets.
#[derive(Debug, Default)]
pub(crate) struct Uptime {
    #[cfg(test)]
    ahead: Mutex<Duration>,
    #[cfg(test)]
    slept: Mutex<Duration>,
}

impl Uptime {
    /// Time since the machine started, in which sleep counts.
    pub(crate) fn now(&self) -> Duration {
        let now = read(ClockId::Boottime);
        #[cfg(test)]
        let now = now + *self.ahead.lock().unwrap() + *self.slept.lock().unwrap();
        now
    }

    /// How long the machine slept since it started.
    pub(super) fn slept(&self) -> Duration {
        let mut slept = Duration::ZERO;
        for _ in 0..READINGS_MAX {
            let (before, boot, after) =
                (read(ClockId::Monotonic), read(ClockId::Boottime), read(ClockId::Monotonic));
            // Whoever was interrupted in between would take that for a sleep, so the later reading counts.
            slept = boot.saturating_sub(after);
            if after.saturating_sub(before) < READING_MAX {
                break;
            }
        }
        #[cfg(test)]
        let slept = slept + *self.slept.lock().unwrap();
        slept
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(super) fn advance(&self, time: Duration) {
        *self.ahead.lock().unwrap() += time;
    }

    /// Lets the machine sleep.
    #[cfg(test)]
    pub(super) fn sleep(&self, time: Duration) {
        *self.slept.lock().unwrap() += time;
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_awake_does_not_seem_to_sleep() {
        let uptime = Uptime::default();
        let before = uptime.slept();
        for _ in 0..10_000 {
            assert!(uptime.slept().saturating_sub(before) < SLEEP_MIN);
        }
        uptime.sleep(SLEEP_MIN);
        assert!(uptime.slept().saturating_sub(before) >= SLEEP_MIN);
    }
}
