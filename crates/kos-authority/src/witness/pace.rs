//! How often one source may ask the witness: checking a checkpoint costs a signature, and taking it a write to the disk.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kos_net::accept::source_of;
use tokio::time::Instant;

/// Requests of one source in a window: a log that grows all the time asks twice every two seconds.
const REQUESTS_MAX: u32 = 60;
/// The window.
const WINDOW: Duration = Duration::from_secs(10);
/// Sources that are counted at a time; more share what is left, so that many of them do not fill the memory.
const SOURCES_MAX: usize = 1_024;

/// Counts requests by source.
#[derive(Debug, Default)]
pub(super) struct Pace {
    windows: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Pace {
    /// Whether this source may be heard now.
    pub(super) fn admits(&self, source: IpAddr, now: Instant) -> bool {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= SOURCES_MAX {
            windows.retain(|_, (began, _)| now.duration_since(*began) < WINDOW);
        }
        let source = source_of(source);
        if windows.len() >= SOURCES_MAX && !windows.contains_key(&source) {
            return false;
        }
        let (began, count) = windows.entry(source).or_insert((now, 0));
        if now.duration_since(*began) >= WINDOW {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= REQUESTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_that_asks_too_often_waits_and_keeps_nobody_else_from_asking() {
        let pace = Pace::default();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|source| source.parse().unwrap());
        let now = Instant::now();
        assert!((0..REQUESTS_MAX).all(|_| pace.admits(one, now)));
        assert!(!pace.admits(one, now) && pace.admits(other, now));
        tokio::time::advance(WINDOW).await;
        assert!(pace.admits(one, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn many_sources_do_not_fill_the_memory() {
        let pace = Pace::default();
        for source in 0..2_000_u32 {
            pace.admits(std::net::Ipv4Addr::from_bits(source).into(), Instant::now());
        }
        assert_eq!(pace.windows.lock().unwrap().len(), SOURCES_MAX);
    }
}
