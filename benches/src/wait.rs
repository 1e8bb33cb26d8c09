//! Waiting for a state, with a deadline. The only place that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks `attempt` every `pause` until it answers with a value, for at most `patience`.
pub(crate) async fn until<T>(
    what: &str,
    pause: Duration,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = attempt().await? {
            return Ok(value);
        }
        if begun.elapsed() > patience {
            bail!("{what} did not happen within {} s", patience.as_secs());
        }
        tokio::time::sleep(pause).await;
    }
}

/// Lets `duration` pass, for what changes by itself.
pub(crate) async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}
