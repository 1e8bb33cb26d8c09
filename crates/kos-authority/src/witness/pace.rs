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
/// Sources that are counted at a time, so that many of them do not fill the memory.
const SOURCES_MAX: usize = 1_024;
/// Requests in a window of all sources beyond that together. So many sources do not shut the others out, and together
/// they are no more than some.
const SHARED_MAX: u32 = 600;

/// Counts requests by source.
#[derive(Debug, Default)]
pub(super) struct Pace {
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    sources: HashMap<IpAddr, (Instant, u32)>,
    /// Of the sources that have none of their own.
    shared: Option<(Instant, u32)>,
}

impl Pace {
    /// Whether this source may be heard now.
    pub(super) fn admits(&self, source: IpAddr, now: Instant) -> bool {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let Windows { sources, shared } = &mut *windows;
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, (began, _)| now.duration_since(*began) < WINDOW);
        }
        let source = source_of(source);
        let (window, most) = if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            (shared.get_or_insert((now, 0)), SHARED_MAX)
        } else {
            (sources.entry(source).or_insert((now, 0)), REQUESTS_MAX)
        };
        let (began, count) = window;
        if now.duration_since(*began) >= WINDOW {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= most
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
    async fn many_sources_neither_fill_the_memory_nor_shut_out_who_comes_after_them() {
        let pace = Pace::default();
        let admits = |source: u32| pace.admits(std::net::Ipv4Addr::from_bits(source).into(), Instant::now());
        let most = u32::try_from(SOURCES_MAX).unwrap();
        assert!((0..most).all(admits));
        assert!(admits(0xc000_0201), "an honest log that comes after them");
        assert!((1..SHARED_MAX).all(|n| admits(most + n)), "they share a window");
        assert!(!admits(0xc000_0201) && admits(0), "which is full, and nobody else's");
        assert_eq!(pace.windows.lock().unwrap().sources.len(), SOURCES_MAX);
        tokio::time::advance(WINDOW).await;
        assert!(admits(0xc000_0201));
    }
}
