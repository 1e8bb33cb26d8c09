//! Waiting for a state, with a deadline. The only place that sleeps.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How long anything may take before a test gives up. Generous: a slow machine is not a failure.
pub const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_CLOSELY: Duration = Duration::from_millis(1);

/// Asks `attempt` until it answers with a value.
///
/// # Errors
/// When it has not answered after [`DEADLINE`], or fails.
pub fn until<T>(what: &str, attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_by(PAUSE, what, attempt)
}

/// The same for what happens within milliseconds, thousands of times.
///
/// # Errors
/// As [`until`].
pub fn closely<T>(what: &str, attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_by(PAUSE_CLOSELY, what, attempt)
}

fn until_by<T>(pause: Duration, what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt().with_context(|| format!("while waiting for {what}"))? {
            return Ok(value);
        }
        if started.elapsed() > DEADLINE {
            bail!("{what} did not happen within {} s", DEADLINE.as_secs());
        }
        thread::sleep(pause);
    }
}

/// Lets `duration` pass, for load that is cut off at a chosen moment.
pub fn pass(duration: Duration) {
    thread::sleep(duration);
}
