//! Waiting for a state, with a deadline. The only place that sleeps.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Generous: a slow machine is not a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks `attempt` until it answers with a value.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "{what} did not happen within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
