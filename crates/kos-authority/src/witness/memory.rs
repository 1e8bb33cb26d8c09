//! What the witness remembers: `DATA/authority/witness`, a file for each log and one that says whose memory it is.
//!
//! Shape: `key` holds the verifier key of the witness; `<SHA-256 of the origin in hex>` the [`Record`] of a log. Each is
//! replaced whole and durable when [`Memory::keep`] returns.
//!
//! Invariants: none of it is in a backup, and neither is the key. So a witness that lost its memory, on the disk or by
//! being restored, is another witness with another key: nobody takes its word for that of the one that knew more.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use kos_audit::{WitnessKey, witness::Record};
use kos_base::digest::sha256;

use crate::files::{self, Mode};

/// Longest record, in bytes: a checkpoint with the lines of its log, and what stands above it.
const RECORD_BYTES_MAX: u64 = 160 * 1024;
const KEY: &str = "key";

#[derive(Clone, Debug)]
pub(super) struct Memory {
    folder: PathBuf,
}

impl Memory {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whose memory it is; nobody's when there is none.
    pub(super) fn owner(&self) -> io::Result<Option<WitnessKey>> {
        let text = files::read_text(&self.folder.join(KEY), RECORD_BYTES_MAX)?;
        let parse = |text: String| text.trim_end().parse().map_err(|_| io::ErrorKind::InvalidData.into());
        text.map(parse).transpose()
    }

    /// Begins the memory of a witness.
    pub(super) fn begin(&self, owner: &WitnessKey) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        files::sync_folder(self.folder.parent().unwrap_or(&self.folder))?;
        files::replace(&self.folder.join(KEY), format!("{owner}\n").as_bytes(), Mode::Private)
    }

    /// What is remembered of a log.
    pub(super) fn recall(&self, origin: &str) -> io::Result<Option<Record>> {
        let text = files::read_text(&self.folder.join(name_of(origin)), RECORD_BYTES_MAX)?;
        let parse =
            |text: String| Record::parse(&text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e));
        text.map(parse).transpose()
    }

    /// Remembers, durably.
    pub(super) fn keep(&self, record: &Record) -> io::Result<()> {
        files::replace(
            &self.folder.join(name_of(record.origin())),
            record.to_string().as_bytes(),
            Mode::Private,
        )
    }
}

/// What tlog-witness calls the origin hash.
pub(super) fn name_of(origin: &str) -> String {
    data_encoding::HEXLOWER.encode(&sha256(origin.as_bytes()))
}
