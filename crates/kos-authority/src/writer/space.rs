//! Room for what must be recorded when the disk is full, and the count of what could not be (AUD-112 to AUD-114).
//!
//! Shape: one file beside the store, [`RESERVE_BYTES`] long, whose room the file system keeps for us. Its first
//! [`HEAD_BYTES`] hold what was lost so far: SHA-256 of the rest in hex, a line feed, JSON, a line feed, zeros. They are
//! written in their place, which needs no room. When a critical event finds the disk full, the rest of the file is given
//! back to the file system; it is taken again, with [`MARGIN_BYTES`] to spare, before ordinary events are let in again.
//!
//! Invariants: nothing ordinary is written between a full disk and the return of the reserve, so that it cannot use up what was
//! given back. What was lost is counted on the disk before it is forgotten anywhere else.
//!
//! What it does not do: keep other programs on the same disk from taking what was given back. A file system that cannot
//! reserve room (`fallocate`) has none; that is said once.
//!
//! Errors: none; a reserve that cannot be had is as if there were none.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use data_encoding::HEXLOWER;
use kos_audit::{EventType, Weight};
use kos_base::{Timestamp, digest::sha256};
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use super::Transaction;
use crate::record::{SystemChange, event_of};

/// What a full disk leaves for critical events: about twenty of them, and a revocation list of a large fleet.
pub(crate) const RESERVE_BYTES: u64 = 2 << 20;
/// What has to be free besides, so that a disk which is almost full does not go back and forth.
const MARGIN_BYTES: u64 = 512 << 10;
/// The block that stays when the reserve is given back.
const HEAD_BYTES: usize = 4_096;
/// Hex characters in front of the JSON.
const DIGEST_CHARS: usize = 64;

/// What was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Losses {
    since: Timestamp,
    until: Timestamp,
    events: BTreeMap<String, u64>,
    /// Counts of an earlier run could not be read.
    unreadable: bool,
}

/// The reserve, and whether it is needed.
#[derive(Debug)]
pub(super) struct Space {
    file: Option<File>,
    is_low: bool,
    losses: Losses,
}

impl Space {
    /// Takes the reserve at `path`, with what an earlier run has lost.
    pub(super) fn open(path: &Path) -> Self {
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file =
            opened.inspect_err(|error| tracing::warn!(%error, "there is no reserve for a full disk")).ok();
        let losses = file.as_ref().map_or_else(Losses::default, read_losses);
        let mut space = Self { file, is_low: false, losses };
        space.is_low = match space.take_reserve() {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => true,
            Err(error) => {
                tracing::warn!(%error, "there is no reserve for a full disk");
                false
            }
        };
        space
    }

    /// Whether only critical events are written.
    pub(super) const fn is_low(&self) -> bool {
        self.is_low
    }

    /// The disk was found full.
    pub(super) fn found_full(&mut self) {
        if !self.is_low {
            tracing::error!("the disk is full: only critical events are recorded until there is room");
        }
        self.is_low = true;
    }

    /// Gives the reserve back to the file system. False when there was none any more.
    pub(super) fn release(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let head = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
        let is_there = file.metadata().is_ok_and(|meta| meta.len() > head);
        if is_there {
            tracing::warn!("the reserve for critical events is used");
        }
        is_there && file.set_len(head).and_then(|()| file.sync_all()).is_ok()
    }

    /// Takes the reserve again, if there is room for it and more. True when ordinary events may be written.
    pub(super) fn recover(&mut self) -> bool {
        if self.is_low && self.take_reserve().is_ok() {
            tracing::warn!("there is room on the disk again");
            self.is_low = false;
        }
        !self.is_low
    }

    /// Counts what is not written, and nobody asked for.
    pub(super) fn lose(&mut self, lost: &Transaction) {
        let losses = &mut self.losses;
        if losses.events.is_empty() {
            losses.since = lost.at;
        }
        losses.since = losses.since.min(lost.at);
        losses.until = losses.until.max(lost.at);
        for change in &lost.changes {
            let count = losses.events.entry(event_of(change).event.to_string()).or_default();
            *count = count.saturating_add(1);
        }
        self.write_losses();
    }

    /// What is to be recorded of losses, if there are any.
    pub(super) fn losses(&self) -> Option<SystemChange> {
        let Losses { since, until, events, unreadable } = self.losses.clone();
        let any = !events.is_empty() || unreadable;
        any.then_some(SystemChange::LossesRecorded { since, until, events, unreadable })
    }

    /// They are in the log.
    pub(super) fn forget_losses(&mut self) {
        self.losses = Losses::default();
        self.write_losses();
    }

    fn take_reserve(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let before = file.metadata()?.len();
        if let Err(error) = fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES + MARGIN_BYTES) {
            // Some file systems keep the part that they had room for.
            file.set_len(before)?;
            return Err(error.into());
        }
        file.set_len(RESERVE_BYTES)
    }

    fn write_losses(&self) {
        let Some(file) = &self.file else { return };
        let json = if self.losses == Losses::default() {
            Vec::new()
        } else {
            serde_json::to_vec(&self.losses).unwrap_or_default()
        };
        let mut head = vec![0; HEAD_BYTES];
        if !json.is_empty() {
            let text = [HEXLOWER.encode(&sha256(&json)).as_bytes(), b"\n", &json, b"\n"].concat();
            // Not more event types than fit, as a test says.
            head.iter_mut().zip(text).for_each(|(to, from)| *to = from);
        }
        if let Err(error) = file.write_all_at(&head, 0).and_then(|()| file.sync_data()) {
            tracing::error!(%error, "what was lost is counted in memory only");
        }
    }
}

/// Whether something of it may use the reserve.
pub(super) fn is_critical(transaction: &Transaction) -> bool {
    transaction.changes.iter().any(|change| event_of(change).event.weight() == Weight::Critical)
}

fn read_losses(file: &File) -> Losses {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let limit = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
    let read = file.take(limit).read_to_end(&mut head);
    let written = head.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    head.truncate(written);
    if read.is_ok() && head.is_empty() {
        return Losses::default();
    }
    parse_losses(&head).unwrap_or_else(|| Losses { unreadable: true, ..Losses::default() })
}

/// The counts, if they are as they were written and of events that there are.
fn parse_losses(head: &[u8]) -> Option<Losses> {
    let (digest, rest) = head.split_at_checked(DIGEST_CHARS)?;
    let json = rest.strip_prefix(b"\n")?.strip_suffix(b"\n")?;
    let losses: Losses = serde_json::from_slice(json).ok()?;
    let is_known = losses.events.keys().all(|event| event.parse::<EventType>().is_ok());
    (HEXLOWER.encode(&sha256(json)).as_bytes() == digest && is_known).then_some(losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, device_id};

    fn offline(at: Timestamp) -> Transaction {
        let change = SystemChange::DeviceOffline { device: device_id(1), last_heartbeat_at: NOW };
        Transaction::own(at, vec![change.into()], Vec::new())
    }

    #[test]
    fn losses_outlive_the_program_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.reserve");
        let mut space = Space::open(&path);
        assert!(space.losses().is_none() && !space.is_low());
        space.lose(&offline(NOW));
        space.lose(&offline(NOW.plus(core::time::Duration::from_secs(5))));
        let found = space.losses();
        assert!(space.release() && !space.release());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4_096);
        drop(space);

        let mut space = Space::open(&path);
        assert_eq!(space.losses(), found);
        let Some(SystemChange::LossesRecorded { events, .. }) = found else { panic!("nothing lost") };
        assert_eq!(events.into_iter().collect::<Vec<_>>(), [("device_offline".to_owned(), 2)]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), RESERVE_BYTES);
        space.forget_losses();
        drop(space);
        assert!(Space::open(&path).losses().is_none());

        std::fs::write(&path, "torn").unwrap();
        let told = Space::open(&path).losses();
        assert!(matches!(told, Some(SystemChange::LossesRecorded { unreadable: true, .. })), "{told:?}");
    }

    #[test]
    fn every_event_fits_into_the_block_with_the_largest_count() {
        let ordinary = EventType::ALL.iter().filter(|event| event.weight() == Weight::Ordinary);
        let every = ordinary.map(|event| (event.to_string(), u64::MAX));
        let losses = Losses { events: every.collect(), unreadable: true, ..Losses::default() };
        let json = serde_json::to_vec(&losses).unwrap();
        assert!(json.len() + DIGEST_CHARS + 2 <= HEAD_BYTES, "{}", json.len());
    }
}
