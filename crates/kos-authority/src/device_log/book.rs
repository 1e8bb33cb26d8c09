//! What each device may still send, and what of its log is not anchored yet. In memory: after a start it is found again on
//! the disk, or with the next message.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{DeviceId, Timestamp};
use tokio::time::Instant;

/// Most bytes of logs and evidence that are kept of one device. Stops it from filling the disk of the authority. They are counted
/// anew when it is reached: whoever moves old logs away makes room.
const BYTES_MAX: u64 = 256 << 20;
/// Bytes that a device may bring at once, such as after days without a link.
const BURST_BYTES: u64 = 8 << 20;
/// Bytes a second that come on top. Stops a device that sends for ever from keeping the disk busy.
const BYTES_PER_SECOND: u64 = 16 << 10;
/// Bytes that a message counts as, at the least. Stops a device from having the disk written for each of many small ones.
const MESSAGE_BYTES: u64 = 4 << 10;
/// Least time between two anchors of one device, even of critical entries: each is an entry of the authority's log for ever.
pub(super) const CRITICAL_ANCHOR_EVERY: Duration = Duration::from_secs(2);
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
    /// What is kept of the device has to be counted first.
    Uncounted,
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
    /// Critical entries are among what it owes: they are not acknowledged before an anchor.
    is_critical: bool,
    /// What an operator has to know, as long as it is so.
    trouble: Option<String>,
    /// When a refusal was recorded last, and how many came since.
    refused: HashMap<&'static str, (Timestamp, u64)>,
}

impl Book {
    /// Takes a message with `bytes` of entries off what the device may bring now. `counted` is what is kept of it, where that
    /// was counted: files are not walked here, under the lock that all devices wait for.
    pub(super) fn charge(&self, device: &DeviceId, counted: Option<u64>, bytes: u64) -> Charge {
        let now = Instant::now();
        let mut pages = self.pages();
        if counted.is_none() && !pages.contains_key(device) {
            return Charge::Uncounted;
        }
        let page = pages.entry(device.clone()).or_insert_with(|| Page {
            bytes: 0,
            allowance: BURST_BYTES,
            at: now,
            anchored_at: None,
            owes: false,
            is_critical: false,
            trouble: None,
            refused: HashMap::new(),
        });
        let seconds = now.duration_since(page.at).as_secs();
        page.at += Duration::from_secs(seconds);
        page.allowance =
            page.allowance.saturating_add(seconds.saturating_mul(BYTES_PER_SECOND)).min(BURST_BYTES);
        let Some(rest) = page.allowance.checked_sub(bytes.max(MESSAGE_BYTES)) else { return Charge::TooFast };
        page.bytes = counted.unwrap_or(page.bytes);
        let is_full = page.bytes.saturating_add(bytes) > BYTES_MAX;
        if is_full && counted.is_none() {
            return Charge::Uncounted;
        }
        page.allowance = rest;
        if is_full { Charge::Full } else { Charge::Fits }
    }

    /// These were written.
    pub(super) fn taken(&self, device: &DeviceId, bytes: u64) {
        if let Some(page) = self.pages().get_mut(device) {
            page.bytes = page.bytes.saturating_add(bytes);
        }
    }

    /// What an operator has to know of the log of this device; nothing when all is well with it.
    pub(super) fn is_in_trouble(&self, device: &DeviceId, trouble: Option<String>) {
        if let Some(page) = self.pages().get_mut(device) {
            page.trouble = trouble;
        }
    }

    /// All of that, with the devices.
    pub(super) fn trouble(&self) -> Vec<String> {
        let pages = self.pages();
        let told =
            pages.iter().filter_map(|(device, page)| Some(format!("{device}: {}", page.trouble.as_ref()?)));
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }

    /// How long an anchor has to wait; nothing when it may wait for others. Never again is what is owed acknowledged before it
    /// when it is critical.
    pub(super) fn anchor_in(&self, device: &DeviceId, critical: bool, now: Timestamp) -> Option<Duration> {
        let mut pages = self.pages();
        let Some(page) = pages.get_mut(device) else { return Some(Duration::ZERO) };
        page.owes = true;
        page.is_critical |= critical;
        let left = left(page, now);
        (page.is_critical || left.is_zero()).then_some(left)
    }

    /// There are none.
    pub(super) fn anchored(&self, device: &DeviceId, now: Timestamp) {
        if let Some(page) = self.pages().get_mut(device) {
            (page.owes, page.is_critical, page.anchored_at) = (false, false, Some(now));
        }
    }

    /// Devices whose logs are to be anchored now.
    pub(super) fn due(&self, now: Timestamp, all: bool) -> Vec<DeviceId> {
        let pages = self.pages();
        let due = pages.iter().filter(|(_, page)| page.owes && (all || left(page, now).is_zero()));
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

/// Time until the next anchor may be made.
fn left(page: &Page, now: Timestamp) -> Duration {
    let every = if page.is_critical { CRITICAL_ANCHOR_EVERY } else { ANCHOR_EVERY };
    let since = page.anchored_at.filter(|at| now >= *at).map(|at| now.since(at));
    since.map_or(Duration::ZERO, |since| every.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::copy::bytes_below, *};
    use crate::fixtures;

    /// As a message is charged: what is kept is counted when the book asks for it.
    fn charge(book: &Book, device: &DeviceId, folder: &Path, bytes: u64) -> Charge {
        match book.charge(device, None, bytes) {
            Charge::Uncounted => book.charge(device, Some(bytes_below(folder)), bytes),
            charge => charge,
        }
    }

    const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

    #[tokio::test(start_paused = true)]
    async fn a_device_that_sends_for_ever_is_slowed_down_and_one_that_was_away_is_not() {
        let (book, device, folder) = (Book::default(), fixtures::device_id(1), Path::new("/nowhere"));
        assert_eq!(charge(&book, &device, folder, BURST_BYTES), Charge::Fits);
        assert_eq!(charge(&book, &device, folder, 1), Charge::TooFast);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(charge(&book, &device, folder, 2 * BYTES_PER_SECOND), Charge::Fits);
        assert_eq!(charge(&book, &device, folder, 1), Charge::TooFast);
        // Messages with next to nothing in them, or nothing, are as much work.
        tokio::time::advance(Duration::from_secs(1)).await;
        let few = (0..100).take_while(|_| charge(&book, &device, folder, 0) == Charge::Fits).count();
        assert_eq!(few, usize::try_from(BYTES_PER_SECOND / MESSAGE_BYTES).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_written_fills_the_room_of_a_device_and_who_makes_room_is_seen() {
        let (book, device, folder) = (Book::default(), fixtures::device_id(1), Path::new("/nowhere"));
        for _ in 0..40 {
            assert_eq!(charge(&book, &device, folder, BURST_BYTES), Charge::Fits);
            tokio::time::advance(Duration::from_secs(3_600)).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let kept = std::fs::File::create(folder.path().join("1")).unwrap();
        kept.set_len(BYTES_MAX).unwrap();
        book.taken(&device, BYTES_MAX);
        assert_eq!(charge(&book, &device, folder.path(), 1), Charge::Full);
        kept.set_len(0).unwrap();
        assert_eq!(charge(&book, &device, folder.path(), 1), Charge::Fits);
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
                is_critical: false,
                trouble: None,
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
        assert_eq!(book.anchor_in(&device, false, NOW), Some(Duration::ZERO));
        assert_eq!(charge(&book, &device, Path::new("/nowhere"), 1), Charge::Fits);
        book.anchored(&device, NOW);
        assert!(book.due(NOW, true).is_empty());
        assert_eq!(book.anchor_in(&device, false, NOW), None);
        assert!(book.due(NOW, false).is_empty());
        assert_eq!(book.due(NOW, true), std::slice::from_ref(&device));
        assert_eq!(book.due(NOW.plus(ANCHOR_EVERY), false), std::slice::from_ref(&device));
        // Critical ones wait for less, and whatever comes behind them waits with them.
        assert_eq!(book.anchor_in(&device, true, NOW), Some(CRITICAL_ANCHOR_EVERY));
        assert_eq!(book.anchor_in(&device, false, NOW), Some(CRITICAL_ANCHOR_EVERY));
        assert_eq!(book.due(NOW.plus(CRITICAL_ANCHOR_EVERY), false), [device]);
    }
}
