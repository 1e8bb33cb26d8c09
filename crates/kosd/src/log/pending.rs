//! What happened while there was no log to write to: before the enrolment, or when the key could not be had.
//!
//! Shape: `log.pending`, one JSON object a line, each durable before the next thing happens. It is not signed; it enters the
//! log with its first entries.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
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
pub(super) struct Pending(PathBuf);

impl Pending {
    pub(super) fn new(state: &Path) -> Self {
        Self(state.join("log.pending"))
    }

    /// Appends one, durably; nothing when there is no room.
    pub(super) fn add(&self, at: Timestamp, event: EventType, details: &About) -> Result<(), RootError> {
        let unwritable = |error| RootError::unwritable(&self.0, error);
        let opened = OpenOptions::new().append(true).create(true).mode(file::PRIVATE).open(&self.0);
        let mut opened = opened.map_err(unwritable)?;
        if opened.metadata().map_err(unwritable)?.len() >= BYTES_MAX {
            return Ok(());
        }
        let mut line = json!({"at": at, "event": event.as_str(), "details": details}).to_string();
        line.push('\n');
        opened.write_all(line.as_bytes()).and_then(|()| opened.sync_data()).map_err(unwritable)
    }

    /// All of them. A line that is none is a write that was not finished.
    pub(super) fn read(&self) -> Result<Vec<(Timestamp, EventType, About)>, RootError> {
        let bytes = file::read(&self.0)?;
        let bytes = bytes.as_ref().map(|bytes| bytes.as_slice()).unwrap_or_default();
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }

    pub(super) fn remove(&self) -> Result<(), RootError> {
        file::remove(&self.0)
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
