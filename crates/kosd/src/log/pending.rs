//! What happened while there was no log to write to: before the enrolment, or when the key could not be had.
//!
//! Shape: `log.pending`, one JSON object a line, each durable before the next thing happens. It is not signed, so
//! whoever writes the disk can write it: it enters the log with its first entries, each marked as pending.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use kos_audit::EventType;
use kos_base::Timestamp;
use serde_json::{Value, json};

use super::About;
use crate::root::{RootError, file};

/// Longest file in bytes. Stops a device that fails for ever from filling its disk: what comes first tells how it began.
const BYTES_MAX: u64 = 65_536;

/// The file.
#[derive(Debug)]
pub(super) struct Pending {
    path: PathBuf,
    /// Events of this run that found no room.
    dropped: AtomicU64,
}

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) events: Vec<(Timestamp, EventType, About)>,
    /// Events that are not among them: without room, not finished, or none.
    pub(super) dropped: u64,
}

impl Pending {
    pub(super) fn new(state: &Path) -> Self {
        Self { path: state.join("log.pending"), dropped: AtomicU64::new(0) }
    }

    /// Appends one, durably; counts it only when there is no room.
    pub(super) fn add(&self, at: Timestamp, event: EventType, details: &About) -> Result<(), RootError> {
        let added = self.try_add(at, event, details);
        if !matches!(added, Ok(true)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        added.map(drop)
    }

    fn try_add(&self, at: Timestamp, event: EventType, details: &About) -> Result<bool, RootError> {
        let unwritable = |error| RootError::unwritable(&self.path, error);
        let mut line = json!({"at": at, "event": event.as_str(), "details": details}).to_string();
        line.push('\n');
        let opened = OpenOptions::new().append(true).create(true).mode(file::PRIVATE).open(&self.path);
        let mut opened = opened.map_err(unwritable)?;
        let length = opened.metadata().map_err(unwritable)?.len();
        if length.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX)) > BYTES_MAX {
            return Ok(false);
        }
        opened.write_all(line.as_bytes()).and_then(|()| opened.sync_data()).map_err(unwritable)?;
        Ok(true)
    }

    /// All of them, from no more of the file than this program writes.
    pub(super) fn read(&self) -> Kept {
        let mut kept = Kept { events: Vec::new(), dropped: self.dropped.load(Ordering::Relaxed) };
        match fs::symlink_metadata(&self.path) {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => {
                kept.dropped += 1;
                return kept;
            }
            Err(_) => return kept,
        }
        let mut bytes = Vec::new();
        // One byte more tells that there is more.
        let read = File::open(&self.path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
        let is_whole = read.is_ok_and(|length| u64::try_from(length).unwrap_or(u64::MAX) <= BYTES_MAX);
        bytes.truncate(usize::try_from(BYTES_MAX).unwrap_or(usize::MAX));
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match parse(line) {
                Some(event) => kept.events.push(event),
                None => kept.dropped += 1,
            }
        }
        kept.dropped += u64::from(!is_whole);
        kept
    }

    /// Removes it, whatever it is.
    pub(super) fn remove(&self) -> Result<(), RootError> {
        self.dropped.store(0, Ordering::Relaxed);
        file::clear(&self.path)
    }
}

fn parse(line: &[u8]) -> Option<(Timestamp, EventType, About)> {
    let mut line: Value = serde_json::from_slice(line).ok()?;
    let details = match line.get_mut("details")?.take() {
        Value::Object(details) => details,
        _ => return None,
    };
    Some((line.get("at")?.as_str()?.parse().ok()?, line.get("event")?.as_str()?.parse().ok()?, details))
}
