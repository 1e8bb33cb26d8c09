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
        let row =
            |last: Heartbeat| (last.device.clone(), Row { last, reports: Reports::NotNow, unwritten: false });
        Self { interval, rows: Mutex::new(written.into_iter().map(row).collect()) }
    }

    /// The last heartbeat of a device.
    pub fn last(&self, device: &DeviceId) -> Option<Heartbeat> {
        self.rows().get(device).map(|row| row.last.clone())
    }

    /// Whether a device reports: heard since the start, not cut off, and fewer than three heartbeats missed.
    pub fn is_online(&self, device: &DeviceId, now: Timestamp) -> bool {
        self.rows().get(device).is_some_and(|row| self.counts(row, now))
    }

    /// How many devices report.
    pub fn count_online(&self, now: Timestamp) -> u64 {
        let online = self.rows().values().filter(|row| self.counts(row, now)).count();
        u64::try_from(online).unwrap_or(u64::MAX)
    }

    pub(crate) fn heard(&self, now: Timestamp, device: &DeviceId, body: &[u8]) -> Arrival {
        let last = Heartbeat { device: device.clone(), at: now, body: body.to_vec() };
        let row = Row { last, reports: Reports::Now, unwritten: true };
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
        let silent = rows.values_mut().filter(|row| row.reports == Reports::Now && !self.is_recent(row, now));
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

    fn counts(&self, row: &Row, now: Timestamp) -> bool {
        row.reports == Reports::Now && self.is_recent(row, now)
    }

    fn is_recent(&self, row: &Row, now: Timestamp) -> bool {
        now < row.last.at.plus(self.interval.saturating_mul(MISSED_MAX))
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<DeviceId, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        assert_eq!(presence.heard(start, &id, b"one"), Arrival::First);
        assert_eq!(presence.heard(start, &id, b"two"), Arrival::Another);
        assert!(presence.take_silent(start.plus(Duration::from_secs(179))).is_empty());
        let later = start.plus(Duration::from_secs(180));
        assert_eq!(presence.take_silent(later), [(id.clone(), start)]);
        assert!(presence.take_silent(later).is_empty());
        assert_eq!(presence.heard(later, &id, b"three"), Arrival::First);
    }

    #[test]
    fn each_heartbeat_is_written_once_and_survives_a_restart_as_offline() {
        let presence = Presence::new(Duration::from_secs(60), Vec::new());
        presence.heard(Timestamp::from_unix_s(1_000), &device_id(1), b"one");
        let written = presence.take_unwritten();
        assert_eq!(written.len(), 1);
        assert!(presence.take_unwritten().is_empty());
        let again = Presence::new(Duration::from_secs(60), written);
        assert_eq!(again.last(&device_id(1)).unwrap().at, Timestamp::from_unix_s(1_000));
        assert!(!again.is_online(&device_id(1), Timestamp::from_unix_s(1_001)));
    }
}
