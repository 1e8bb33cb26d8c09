//! What the witness remembers: `DATA/authority/witness`, a file for each log and one that says whose memory it is.
//!
//! Shape: `key` holds the verifier key of the witness, and below it the names of the records that there must be;
//! `<SHA-256 of the origin in hex>` is the [`Record`] of a log. Each is replaced whole and durable when [`Memory::keep`]
//! returns. A record that must be there and is not is no empty memory: what that key signed of the log is not known.
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
        Ok(self.read_key()?.map(|(owner, _)| owner))
    }

    /// Whose memory it is, and which records there must be.
    fn read_key(&self) -> io::Result<Option<(WitnessKey, Vec<String>)>> {
        let Some(text) = files::read_text(&self.folder.join(KEY), RECORD_BYTES_MAX)? else { return Ok(None) };
        let mut lines = text.lines();
        let owner = lines.next().and_then(|key| key.parse().ok());
        let owner = owner.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Some((owner, lines.map(str::to_owned).collect())))
    }

    fn write_key(&self, owner: &WitnessKey, records: &[String]) -> io::Result<()> {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        files::replace(&self.folder.join(KEY), format!("{owner}\n{lines}").as_bytes(), Mode::Private)
    }

    /// Whether something was signed of this log that is not remembered any more.
    pub(super) fn has_lost(&self, origin: &str) -> io::Result<bool> {
        let name = name_of(origin);
        let must = self.read_key()?.is_some_and(|(_, records)| records.contains(&name));
        Ok(must && !self.folder.join(name).try_exists()?)
    }

    /// Begins the memory of a witness. The records of another one stay: a new key signs nothing that they contradict.
    pub(super) fn begin(&self, owner: &WitnessKey) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        files::sync_folder(self.folder.parent().unwrap_or(&self.folder))?;
        self.write_key(owner, &[])
    }

    /// What is remembered of a log.
    ///
    /// # Errors
    /// `NotFound` when there must be a record and is none; `InvalidData` when it cannot be used.
    pub(super) fn recall(&self, origin: &str) -> io::Result<Option<Record>> {
        if self.has_lost(origin)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let text = files::read_text(&self.folder.join(name_of(origin)), RECORD_BYTES_MAX)?;
        if text.is_some() {
            self.must_be_there(name_of(origin))?;
        }
        let parse =
            |text: String| Record::parse(&text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e));
        text.map(parse).transpose()
    }

    /// Remembers, durably.
    pub(super) fn keep(&self, record: &Record) -> io::Result<()> {
        let name = name_of(record.origin());
        files::replace(&self.folder.join(&name), record.to_string().as_bytes(), Mode::Private)?;
        self.must_be_there(name)
    }

    /// Says so beside the key, durably.
    fn must_be_there(&self, name: String) -> io::Result<()> {
        let read = self.read_key()?;
        let (owner, mut records) = read.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        if records.contains(&name) {
            return Ok(());
        }
        records.push(name);
        self.write_key(&owner, &records)
    }
}

/// What tlog-witness calls the origin hash.
pub(super) fn name_of(origin: &str) -> String {
    data_encoding::HEXLOWER.encode(&sha256(origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_gone_is_no_empty_memory() {
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/audit/witness");
        let read = |name: &str| std::fs::read_to_string(Path::new(vectors).join(name)).unwrap();
        let owner: WitnessKey = read("witness-vkey").trim_end().parse().unwrap();
        let record = Record::parse(&read("record")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::in_folder(folder.path().join("witness"));
        memory.begin(&owner).unwrap();
        assert_eq!(memory.recall(record.origin()).unwrap(), None);
        memory.keep(&record).unwrap();
        memory.keep(&record).unwrap();
        assert_eq!(memory.recall(record.origin()).unwrap().as_ref(), Some(&record));
        assert_eq!(memory.owner().unwrap().as_ref(), Some(&owner));
        std::fs::remove_file(memory.folder().join(name_of(record.origin()))).unwrap();
        assert!(memory.has_lost(record.origin()).unwrap() && !memory.has_lost("other/klog").unwrap());
        assert_eq!(memory.recall(record.origin()).unwrap_err().kind(), io::ErrorKind::NotFound);
        // Another witness begins anew.
        memory.begin(&owner).unwrap();
        assert_eq!(memory.recall(record.origin()).unwrap(), None);
    }
}
