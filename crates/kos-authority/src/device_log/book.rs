//! What each device may still send, and what of its log is not anchored yet. In memory: after a start it is found again on
//! the disk, or with the next message.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{DeviceId, Timestamp};
use tokio::time::Instant;

use super::copy::bytes_below;

/// Most bytes of logs and evidence that are kept of one device. Stops it from filling the disk of the authority.
const BYTES_MAX: u64 = 256 << 20;
/// Bytes that a device may bring at once, such as after days without a link.
const BURST_BYTES: u64 = 8 << 20;
/// Bytes a second that come on top. Stops a device that sends for ever from keeping the disk busy.
const BYTES_PER_SECOND: u64 = 16 << 10;
/// Least time between two anchors of ordinary entries of one device: each is an entry of the authority's log.
const ANCHOR_EVERY: Duration = Duration::from_secs(300);
/// Least time between two records of the same refusal.
const REFUSED_EVERY: Duration = Duration::from_secs(600);

/// Whether a message fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    Fits,
    TooFast,
    Full,
}

/// The pages of all devices that were heard.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<HashMap<DeviceId, Page>>);

#[derive(Debug)]
struct Page {
    bytes: u64,
    allowance: u64,
    at: Instant,
    anchored_at: Option<Timestamp>,
    owes: bool,
    /// When a refusal was recorded last, and how many came since.
    refused: HashMap<&'static str, (Timestamp, u64)>,
}

impl Book {
    /// Takes `bytes` off what the device may bring.
    pub(super) fn charge(&self, device: &DeviceId, folder: &Path, bytes: u64) -> Charge {
        let now = Instant::now();
        let mut pages = self.pages();
        let page = pages.entry(device.clone()).or_insert_with(|| Page {
            bytes: bytes_below(folder),
            allowance: BURST_BYTES,
            at: now,
            anchored_at: None,
            owes: false,
            refused: HashMap::new(),
        });
        let seconds = now.duration_since(page.at).as_secs();
        page.at += Duration::from_secs(seconds);
        page.allowance =
            page.allowance.saturating_add(seconds.saturating_mul(BYTES_PER_SECOND)).min(BURST_BYTES);
        if page.bytes.saturating_add(bytes) > BYTES_MAX {
            return Charge::Full;
        }
        match page.allowance.checked_sub(bytes) {
            None => Charge::TooFast,
            Some(rest) => {
                page.allowance = rest;
                page.bytes += bytes;
                Charge::Fits
            }
        }
    }

    /// Whether enough time has passed since the last anchor.
    pub(super) fn is_due(&self, device: &DeviceId, now: Timestamp) -> bool {
        self.pages().get(device).is_none_or(|page| is_due(page, now))
    }

    /// There are entries without an anchor.
    pub(super) fn owe(&self, device: &DeviceId) {
        if let Some(page) = self.pages().get_mut(device) {
            page.owes = true;
        }
    }

    /// There are none.
    pub(super) fn anchored(&self, device: &DeviceId, now: Timestamp) {
        if let Some(page) = self.pages().get_mut(device) {
            (page.owes, page.anchored_at) = (false, Some(now));
        }
    }

    /// Devices whose logs are to be anchored now.
    pub(super) fn due(&self, now: Timestamp, all: bool) -> Vec<DeviceId> {
        let pages = self.pages();
        let due = pages.iter().filter(|(_, page)| page.owes && (all || is_due(page, now)));
        due.map(|(device, _)| device.clone()).collect()
    }

    /// Counts a refusal. How many there were since the last that was recorded, if this one is to be recorded.
    pub(super) fn refused(&self, device: &DeviceId, word: &'static str, now: Timestamp) -> Option<u64> {
        let mut pages = self.pages();
        let page = pages.get_mut(device)?;
        let (at, count) = page.refused.entry(word).or_insert((Timestamp::default(), 0));
        *count += 1;
        if now.since(*at) < REFUSED_EVERY && now >= *at {
            return None;
        }
        *at = now;
        Some(std::mem::take(count))
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<DeviceId, Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(page: &Page, now: Timestamp) -> bool {
    page.anchored_at.is_none_or(|at| now < at || now.since(at) >= ANCHOR_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

    #[tokio::test(start_paused = true)]
    async fn a_device_that_sends_for_ever_is_slowed_down_and_one_that_was_away_is_not() {
        let (book, device, folder) = (Book::default(), fixtures::device_id(1), Path::new("/nowhere"));
        assert_eq!(book.charge(&device, folder, BURST_BYTES), Charge::Fits);
        assert_eq!(book.charge(&device, folder, 1), Charge::TooFast);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(book.charge(&device, folder, 2 * BYTES_PER_SECOND), Charge::Fits);
        assert_eq!(book.charge(&device, folder, 1), Charge::TooFast);
        for _ in 0..31 {
            tokio::time::advance(Duration::from_secs(3_600)).await;
            let _ = book.charge(&device, folder, BURST_BYTES);
        }
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(book.charge(&device, folder, BURST_BYTES), Charge::Full);
    }

    #[test]
    fn the_same_refusal_is_recorded_once_in_a_while_with_its_count() {
        let (book, device) = (Book::default(), fixtures::device_id(1));
        book.pages().insert(
            device.clone(),
            Page {
                bytes: 0,
                allowance: 0,
                at: Instant::now(),
                anchored_at: None,
                owes: false,
                refused: HashMap::new(),
            },
        );
        assert_eq!(book.refused(&device, "forked", NOW), Some(1));
        assert_eq!(book.refused(&device, "forked", NOW), None);
        assert_eq!(book.refused(&device, "edited", NOW), Some(1));
        assert_eq!(book.refused(&device, "forked", NOW.plus(REFUSED_EVERY)), Some(2));
    }

    #[test]
    fn ordinary_entries_are_anchored_once_in_a_while() {
        let (book, device) = (Book::default(), fixtures::device_id(1));
        assert!(book.is_due(&device, NOW));
        assert_eq!(book.charge(&device, Path::new("/nowhere"), 1), Charge::Fits);
        book.anchored(&device, NOW);
        assert!(!book.is_due(&device, NOW));
        assert!(book.due(NOW, true).is_empty());
        book.owe(&device);
        assert!(book.due(NOW, false).is_empty());
        assert_eq!(book.due(NOW, true), std::slice::from_ref(&device));
        assert_eq!(book.due(NOW.plus(ANCHOR_EVERY), false), [device]);
    }
}
