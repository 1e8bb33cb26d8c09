//! The device's own log of what happened to it: one JSON object a line, in its state folder.
//!
//! Shape: `{"at":..,"event":..,"detail":..}`; at most `BYTES_MAX` bytes, then the older half goes. Durable when
//! [`Diary::write`] returns. For people: nothing reads it back, and the authority keeps the log that proves anything.
//!
//! Invariant: a device that has ended writes none: the record of its end is the one file that is left.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use kos_base::{Timestamp, text::printable};
use serde::Serialize;

use crate::{
    life::RECORD,
    root::{RootError, file},
};

/// Longest log in bytes. Stops a device that fails for ever from filling its disk.
const BYTES_MAX: u64 = 262_144;
/// Longest detail in characters.
const DETAIL_CHARS_MAX: usize = 400;

/// What is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The boot ended, since the image is not the one that was signed.
    ImageAltered,
    /// The configuration names another device.
    OtherDevice,
    /// The first certificate is in service.
    Enrolled,
    /// A newer one is.
    Renewed,
    /// The authority said no.
    Refused,
    /// The authority's answer cannot be trusted.
    Untrusted,
    /// The command that locks the bootloader ran.
    BootloaderLocked,
    /// It failed.
    BootloaderLockFailed,
    /// The end began.
    Decommissioning,
    /// The log of the authority is not the one that was cosigned.
    LogContradicts,
    /// The authority told of something suspicious, since this device is a guardian.
    Alert,
    /// The kill switch can be fired.
    KillArmed,
    /// It cannot any more.
    KillDisarmed,
    /// It was fired.
    KillFired,
}

#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    event: Entry,
    detail: &'a str,
}

/// Writes to the log of one device.
#[derive(Clone, Debug)]
pub struct Diary {
    path: PathBuf,
}

impl Diary {
    /// The log in the state folder `state`.
    pub fn new(state: &Path) -> Self {
        Self { path: state.join("log") }
    }

    /// Appends one line, durably; nothing once the record of the end is there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, now: Timestamp, event: Entry, detail: &str) -> Result<(), RootError> {
        if self.path.with_file_name(RECORD).exists() {
            return Ok(());
        }
        let detail = printable(detail, DETAIL_CHARS_MAX);
        let mut line = serde_json::to_vec(&Line { at: now, event, detail: &detail }).unwrap_or_default();
        line.push(b'\n');
        self.shorten()?;
        self.append(&line).map_err(|error| RootError::unwritable(&self.path, error))
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut log = OpenOptions::new().append(true).create(true).mode(file::PRIVATE).open(&self.path)?;
        log.write_all(line)?;
        log.sync_data()
    }

    /// Keeps the newer half of a log that is full.
    fn shorten(&self) -> Result<(), RootError> {
        if !fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= BYTES_MAX) {
            return Ok(());
        }
        let bytes = fs::read(&self.path).map_err(|error| RootError::unreadable(&self.path, error))?;
        let newer = bytes.get(bytes.len() / 2..).unwrap_or_default();
        let whole = newer.iter().position(|byte| *byte == b'\n').map_or(newer.len(), |at| at + 1);
        file::replace(&self.path, newer.get(whole..).unwrap_or_default(), file::PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_and_hide_what_could_deceive() {
        let folder = tempfile::tempdir().unwrap();
        let diary = Diary::new(folder.path());
        diary.write(Timestamp::default(), Entry::Refused, "a\x1b[31mb\n").unwrap();
        diary.write(Timestamp::default(), Entry::Enrolled, "").unwrap();
        let text = fs::read_to_string(folder.path().join("log")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[0],
            "{\"at\":\"1970-01-01T00:00:00.000Z\",\"event\":\"refused\",\"detail\":\"a\u{fffd}[31mb\u{fffd}\"}"
        );
    }

    #[test]
    fn a_device_that_has_ended_writes_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(RECORD), "signed").unwrap();
        Diary::new(folder.path()).write(Timestamp::default(), Entry::Refused, "").unwrap();
        assert!(!folder.path().join("log").exists());
    }

    #[test]
    fn a_full_log_keeps_its_newer_half_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let (diary, path) = (Diary::new(folder.path()), folder.path().join("log"));
        let many = "{\"old\":true}\n".repeat(30_000);
        fs::write(&path, many).unwrap();
        diary.write(Timestamp::default(), Entry::Renewed, "2").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() < 200_000 && text.starts_with("{\"old\":true}\n"));
        assert!(text.ends_with("\"event\":\"renewed\",\"detail\":\"2\"}\n"));
    }
}
