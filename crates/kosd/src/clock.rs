//! What time it is, on machines whose clocks were never set, stand in the far future, or jump. The one file of kosd
//! that reads clocks.
//!
//! Until the authority has told its time, the system's clock is believed if it is plausible: not before this program was
//! made or before what the device already knows, and not absurdly far ahead. It may jump forward and never back. Once
//! the authority has told its time over an authenticated connection, that time runs on with the monotonic clock, and
//! what becomes of the system's clock does not matter any more.
//!
//! Source: `docs/spec/enrolment.md` DEV, on the floor of time.

use core::time::Duration;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use kos_base::Timestamp;
use kos_identity::{chain, enrolment::device::ClockTrust};
use kos_net::tls::ClockSource;
use rustix::time::{ClockId, clock_gettime};

/// 2026-11-01: no kosd is older, so a clock before it was never set.
const EARLIEST: Timestamp = Timestamp::from_unix_s(1_793_491_200);
/// 2056-01-01: a clock after it is broken.
const LATEST: Timestamp = Timestamp::from_unix_s(2_713_910_400);
/// Furthest that the system's clock may be ahead of what the device last knew. A device that slept longer asks its
/// authority first.
const SLEEP_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Least step back that counts: less is what keeping the time does.
const STEP_MIN: Duration = Duration::from_secs(2);

/// The device's clock. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Timekeeper>>);

impl Clock {
    /// Starts with the latest time that the device knows to be past.
    pub fn start(floor: Option<Timestamp>) -> Self {
        Self(Arc::new(Mutex::new(Timekeeper::new(floor, since_boot()))))
    }

    /// The best guess. Goes back only when the authority says so.
    pub fn now(&self) -> Timestamp {
        self.read().0
    }

    /// Whether dates may be judged by it.
    pub fn trust(&self) -> ClockTrust {
        match self.read().1 {
            Source::System | Source::Authority => ClockTrust::Trusted,
            Source::Nothing | Source::Floor => ClockTrust::Untrusted,
        }
    }

    /// Takes the authority's word, which came over an authenticated connection.
    pub fn learn(&self, told: Timestamp) {
        self.keeper().learn(told, since_boot());
    }

    /// What the system's clock says, right or wrong.
    pub fn system(&self) -> Timestamp {
        system_time()
    }

    /// How often the system's clock went back since the authority told its time.
    pub fn steps_back(&self) -> u32 {
        self.read();
        self.keeper().steps_back
    }

    /// How far the system's clock is from the authority's, once the authority has told its time.
    pub fn drift(&self) -> Option<Duration> {
        let (now, source) = self.read();
        let system = system_time();
        (source == Source::Authority).then(|| now.since(system).max(system.since(now)))
    }

    /// The same for the verifiers of TLS.
    pub fn source(&self) -> ClockSource {
        let clock = self.clone();
        Arc::new(move || match clock.read() {
            (now, Source::System | Source::Authority) => chain::Clock::Trusted(now),
            (now, Source::Floor) => chain::Clock::Floor(now),
            (_, Source::Nothing) => chain::Clock::Untrusted,
        })
    }

    /// For connections that bring the authority's word: until it has come, only what is known to be past is judged. A
    /// machine whose clock is months off could reach nobody otherwise.
    pub fn source_of_first_word(&self) -> ClockSource {
        let clock = self.clone();
        Arc::new(move || match (clock.read(), clock.keeper().floor) {
            ((now, Source::Authority), _) => chain::Clock::Trusted(now),
            (_, Some(floor)) => chain::Clock::Floor(floor),
            (_, None) => chain::Clock::Untrusted,
        })
    }

    fn read(&self) -> (Timestamp, Source) {
        self.keeper().read(system_time(), since_boot())
    }

    fn keeper(&self) -> MutexGuard<'_, Timekeeper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn system_time() -> Timestamp {
    Timestamp::default().plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Time since boot, with the time that the machine was suspended.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds.saturating_add(Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Where the time comes from. Later is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Nothing,
    Floor,
    System,
    Authority,
}

/// The rules, without a clock.
#[derive(Clone, Copy, Debug)]
struct Timekeeper {
    /// The latest time that was known to be past at the start.
    floor: Option<Timestamp>,
    /// The time at a moment since boot.
    base: (Timestamp, Duration),
    source: Source,
    /// What the system said when it was looked at last, and when that was.
    seen: Option<(Timestamp, Duration)>,
    /// How often it went back since the authority told its time.
    steps_back: u32,
}

impl Timekeeper {
    fn new(floor: Option<Timestamp>, boot: Duration) -> Self {
        let source = if floor.is_some() { Source::Floor } else { Source::Nothing };
        Self { floor, base: (floor.unwrap_or(EARLIEST), boot), source, seen: None, steps_back: 0 }
    }

    fn read(&mut self, system: Timestamp, boot: Duration) -> (Timestamp, Source) {
        self.watch(system, boot);
        let (then, at) = self.base;
        let run_on = then.plus(boot.saturating_sub(at));
        let reachable = match self.source {
            Source::Authority => false,
            Source::Nothing => true,
            Source::Floor | Source::System => system <= run_on.plus(SLEEP_MAX),
        };
        if !reachable || system < run_on || !(EARLIEST..LATEST).contains(&system) {
            return (run_on, self.source);
        }
        (self.base, self.source) = ((system, boot), Source::System);
        (system, Source::System)
    }

    /// Counts steps back of the system's clock against the time since boot.
    fn watch(&mut self, system: Timestamp, boot: Duration) {
        if let (Some((then, at)), Source::Authority) = (self.seen, self.source)
            && system.plus(STEP_MIN) < then.plus(boot.saturating_sub(at))
        {
            self.steps_back = self.steps_back.saturating_add(1);
        }
        self.seen = Some((system, boot));
    }

    const fn learn(&mut self, told: Timestamp, boot: Duration) {
        self.base = (told, boot);
        self.source = Source::Authority;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Timestamp = Timestamp::from_unix_s(1_800_000_000);
    const Y1970: Timestamp = Timestamp::from_unix_s(3);
    const Y2100: Timestamp = Timestamp::from_unix_s(4_102_444_800);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_was_never_set_or_is_broken_is_not_believed() {
        for system in [Y1970, Y2100, EARLIEST.minus(s(1)), LATEST] {
            let mut fresh = Timekeeper::new(None, s(10));
            assert_eq!(fresh.read(system, s(15)), (EARLIEST.plus(s(5)), Source::Nothing), "{system}");
            let mut known = Timekeeper::new(Some(KNOWN), s(10));
            assert_eq!(known.read(system, s(15)), (KNOWN.plus(s(5)), Source::Floor), "{system}");
        }
        let mut asleep = Timekeeper::new(Some(KNOWN), s(0));
        assert_eq!(asleep.read(KNOWN.plus(SLEEP_MAX).plus(s(1)), s(0)), (KNOWN, Source::Floor));
    }

    #[test]
    fn a_plausible_clock_is_believed_and_may_jump_forward_and_not_back() {
        let mut keeper = Timekeeper::new(None, s(0));
        assert_eq!(keeper.read(KNOWN, s(1)), (KNOWN, Source::System));
        assert_eq!(keeper.read(KNOWN.minus(s(3600)), s(2)), (KNOWN.plus(s(1)), Source::System));
        assert_eq!(keeper.read(KNOWN.plus(s(3600)), s(3)), (KNOWN.plus(s(3600)), Source::System));
        assert_eq!(keeper.read(Y2100, s(4)), (KNOWN.plus(s(3601)), Source::System));
        assert_eq!(keeper.read(Y1970, s(5)), (KNOWN.plus(s(3602)), Source::System));
    }

    #[test]
    fn the_word_of_the_authority_runs_on_whatever_the_system_says() {
        let mut keeper = Timekeeper::new(None, s(0));
        keeper.read(KNOWN.plus(s(99_999)), s(1));
        keeper.learn(KNOWN, s(2));
        for system in [Y1970, KNOWN.plus(s(99_999)), Y2100] {
            assert_eq!(keeper.read(system, s(7)), (KNOWN.plus(s(5)), Source::Authority), "{system}");
        }
    }

    #[test]
    fn steps_back_are_counted_once_the_authority_has_told_its_time() {
        let mut keeper = Timekeeper::new(None, s(0));
        keeper.read(KNOWN.plus(s(900)), s(1));
        keeper.read(KNOWN, s(2));
        assert_eq!(keeper.steps_back, 0, "set right at the boot");
        keeper.learn(KNOWN, s(3));
        for (system, boot, steps) in [
            (KNOWN, s(3), 0),
            (KNOWN.plus(s(5)), s(8), 0),
            (KNOWN.plus(s(4)), s(8), 0),
            (Y1970, s(9), 1),
            (Y2100, s(10), 1),
            (KNOWN, s(11), 2),
        ] {
            keeper.read(system, boot);
            assert_eq!(keeper.steps_back, steps, "{system}");
        }
    }

    #[test]
    fn the_clock_of_this_machine_moves_and_takes_the_authority_at_its_word() {
        let clock = Clock::start(None);
        assert!(clock.now() <= clock.now());
        assert_eq!(clock.drift(), None);
        clock.learn(KNOWN);
        let drift = system_time().since(KNOWN).max(KNOWN.since(system_time()));
        assert!(clock.drift().unwrap().abs_diff(drift) < s(60));
        assert!(clock.now().since(KNOWN) < s(60));
        assert_eq!(clock.trust(), ClockTrust::Trusted);
        for source in [clock.source(), clock.source_of_first_word()] {
            assert!(matches!(source(), chain::Clock::Trusted(now) if now >= KNOWN));
        }
    }

    #[test]
    fn the_first_word_is_judged_by_what_is_known_to_be_past_and_by_nothing_else() {
        assert_eq!(Clock::start(None).source_of_first_word()(), chain::Clock::Untrusted);
        let past = EARLIEST.plus(s(60));
        assert_eq!(Clock::start(Some(past)).source_of_first_word()(), chain::Clock::Floor(past));
    }
}
