//! Which devices are there: the last heartbeat of each, in memory, and written in batches.
//!
//! A heartbeat touches neither a key of the CA nor the record of the device.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{DeviceId, Timestamp};

use crate::store::Heartbeat;

/// Heartbeats that may be missed before a device counts as offline.
const MISSED_MAX: u32 = 3;

#[derive(Debug)]
struct Row {
    last: Heartbeat,
    /// The device's own time between heartbeats, when it is longer than everybody's.
    interval: Duration,
    reports: Reports,
    unwritten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reports {
    Now,
    NotNow,
}

/// Whether a heartbeat is the first after a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    First,
    Another,
}

/// The table of heartbeats.
#[derive(Debug)]
pub struct Presence {
    interval: Duration,
    rows: Mutex<HashMap<DeviceId, Row>>,
}

impl Presence {
    /// The table as it was written last; nobody counts as online until heard again.
    pub fn new(interval: Duration, written: Vec<Heartbeat>) -> Self {
        let row = |last: Heartbeat| {
            (last.device.clone(), Row { last, interval, reports: Reports::NotNow, unwritten: false })
        };
        Self { interval, rows: Mutex::new(written.into_iter().map(row).collect()) }
    }

    /// The last heartbeat of a device.
    pub fn last(&self, device: &DeviceId) -> Option<Heartbeat> {
        self.rows().get(device).map(|row| row.last.clone())
    }

    /// Whether a device reports: heard since the start, not cut off, and fewer than three heartbeats missed.
    pub fn is_online(&self, device: &DeviceId, now: Timestamp) -> bool {
        self.rows().get(device).is_some_and(|row| counts(row, now))
    }

    /// How many devices report.
    pub fn count_online(&self, now: Timestamp) -> u64 {
        let online = self.rows().values().filter(|row| counts(row, now)).count();
        u64::try_from(online).unwrap_or(u64::MAX)
    }

    /// `own` is the time to the next heartbeat, where the device says it.
    pub(crate) fn heard(
        &self,
        now: Timestamp,
        device: &DeviceId,
        own: Option<Duration>,
        body: &[u8],
    ) -> Arrival {
        let last = Heartbeat { device: device.clone(), at: now, body: body.to_vec() };
        let interval = own.unwrap_or_default().max(self.interval);
        let row = Row { last, interval, reports: Reports::Now, unwritten: true };
        match self.rows().insert(device.clone(), row) {
            Some(before) if before.reports == Reports::Now => Arrival::Another,
            _ => Arrival::First,
        }
    }

    /// What came since the last call, to be written.
    pub(crate) fn take_unwritten(&self) -> Vec<Heartbeat> {
        let mut rows = self.rows();
        let take = |row: &mut Row| core::mem::take(&mut row.unwritten).then(|| row.last.clone());
        rows.values_mut().filter_map(take).collect()
    }

    /// Devices that have fallen silent since the last call, with their last heartbeat.
    pub(crate) fn take_silent(&self, now: Timestamp) -> Vec<(DeviceId, Timestamp)> {
        let mut rows = self.rows();
        let silent = rows.values_mut().filter(|row| row.reports == Reports::Now && !is_recent(row, now));
        silent
            .map(|row| {
                row.reports = Reports::NotNow;
                (row.last.device.clone(), row.last.at)
            })
            .collect()
    }

    /// Forgets that a device reports, when it was cut off.
    pub(crate) fn gone(&self, device: &DeviceId) {
        if let Some(row) = self.rows().get_mut(device) {
            row.reports = Reports::NotNow;
        }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<DeviceId, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counts(row: &Row, now: Timestamp) -> bool {
    row.reports == Reports::Now && is_recent(row, now)
}

fn is_recent(row: &Row, now: Timestamp) -> bool {
    now < row.last.at.plus(row.interval.saturating_mul(MISSED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::device_id;

    #[test]
    fn three_missed_heartbeats_make_a_device_offline_once() {
        let presence = Presence::new(Duration::from_secs(60), Vec::new());
        let start = Timestamp::from_unix_s(1_000);
        let id = device_id(1);
        assert_eq!(presence.heard(start, &id, None, b"one"), Arrival::First);
        assert_eq!(presence.heard(start, &id, None, b"two"), Arrival::Another);
        assert!(presence.take_silent(start.plus(Duration::from_secs(179))).is_empty());
        let later = start.plus(Duration::from_secs(180));
        assert_eq!(presence.take_silent(later), [(id.clone(), start)]);
        assert!(presence.take_silent(later).is_empty());
        assert_eq!(presence.heard(later, &id, None, b"three"), Arrival::First);
    }

    #[test]
    fn a_device_that_reports_more_rarely_is_offline_after_three_of_its_own_intervals() {
        let presence = Presence::new(Duration::from_secs(60), Vec::new());
        let start = Timestamp::from_unix_s(1_000);
        for (n, own, offline_s) in [(1, Some(300), 900), (2, Some(5), 180), (3, None, 180)] {
            let id = device_id(n);
            presence.heard(start, &id, own.map(Duration::from_secs), b"one");
            let at = |s| start.plus(Duration::from_secs(s));
            assert!(presence.is_online(&id, at(offline_s - 1)), "{own:?}");
            assert!(!presence.is_online(&id, at(offline_s)), "{own:?}");
        }
    }

    #[test]
    fn each_heartbeat_is_written_once_and_survives_a_restart_as_offline() {
        let presence = Presence::new(Duration::from_secs(60), Vec::new());
        presence.heard(Timestamp::from_unix_s(1_000), &device_id(1), None, b"one");
        let written = presence.take_unwritten();
        assert_eq!(written.len(), 1);
        assert!(presence.take_unwritten().is_empty());
        let again = Presence::new(Duration::from_secs(60), written);
        assert_eq!(again.last(&device_id(1)).unwrap().at, Timestamp::from_unix_s(1_000));
        assert!(!again.is_online(&device_id(1), Timestamp::from_unix_s(1_001)));
    }
}
