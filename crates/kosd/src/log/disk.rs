//! The files of one log.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use kos_audit::{
    device::{Growth, LedgerError, TAIL_HEAD_BYTES, TailRead, tail_head},
    tree::{Bundle, TILE_WIDTH},
};
use rustix::io::Errno;

use super::LogError;
use crate::root::{RootError, file};

pub(super) const CHECKPOINT: &str = "checkpoint";
const TAIL: &str = "tail";
const KEY: &str = "key";
/// Bytes of a tail without entries.
const EMPTY_TAIL: u64 = 8;
/// Space for critical entries on a full disk.
const RESERVE: &str = "reserve";
/// Bytes of it: an entry, a bundle that is half full, tiles and a checkpoint.
const RESERVE_BYTES: usize = 131_072;

/// The folder of a log, and its tail, open.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    tail: File,
    /// Bytes of the tail that count. What is behind them was not finished.
    length: u64,
}

impl Disk {
    /// A folder for a log without entries.
    pub(super) fn begin(folder: &Path, key: &str) -> Result<Self, RootError> {
        make(folder)?;
        file::replace(&folder.join(KEY), format!("{key}\n").as_bytes(), file::PRIVATE)?;
        let tail = new_tail(folder, 0)?;
        let disk = Self { folder: folder.to_owned(), tail, length: EMPTY_TAIL };
        disk.fill_reserve();
        Ok(disk)
    }

    /// The folder that is there, and the bytes of its tail; nothing when it is gone.
    ///
    /// # Errors
    /// [`LedgerError::Tail`] when what is in its place is no file that a log has.
    pub(super) fn open(folder: &Path) -> Result<Option<(Self, Vec<u8>)>, LogError> {
        let path = folder.join(TAIL);
        let read = whole(&path).map_err(|error| match error {
            RootError::Damaged { .. } => LogError::Unsound(LedgerError::Tail),
            other => LogError::Disk(other),
        });
        let bytes = match read? {
            Some(bytes) => bytes,
            None if folder.join(CHECKPOINT).exists() => Vec::new(),
            None => return Ok(None),
        };
        let tail = open_tail(&path).map_err(|error| RootError::unwritable(&path, error))?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Some((Self { folder: folder.to_owned(), tail, length }, bytes)))
    }

    /// Goes on with what stands of the tail `bytes`, of a log whose checkpoint covers `covered` entries.
    pub(super) fn go_on(&mut self, read: TailRead, bytes: &[u8], covered: u64) -> Result<(), RootError> {
        let Some(anew) = read.anew(bytes, covered) else {
            self.length = u64::try_from(read.kept).unwrap_or(u64::MAX);
            return self.trim().map_err(|error| self.unwritable(error));
        };
        let path = self.folder.join(TAIL);
        file::replace(&path, &anew, file::PRIVATE)?;
        self.tail = open_tail(&path).map_err(|error| RootError::unwritable(&path, error))?;
        self.length = u64::try_from(anew.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Appends a leaf to the tail, durably.
    pub(super) fn append(&mut self, leaf: &[u8]) -> Result<(), RootError> {
        let mut record = Vec::with_capacity(leaf.len() + 2);
        Bundle::push(&mut record, leaf).map_err(|_| self.unwritable(io::ErrorKind::FileTooLarge.into()))?;
        let written = self.tail.write_all(&record).and_then(|()| self.tail.sync_data());
        if let Err(error) = written {
            // Half of it may be there, and the next entry must not stand behind that.
            drop(self.trim());
            return Err(self.unwritable(error));
        }
        self.length += u64::try_from(record.len()).unwrap_or(u64::MAX);
        self.fill_reserve();
        Ok(())
    }

    /// The leaves in the tail, as a bundle has them.
    pub(super) fn tail(&self) -> Result<Vec<u8>, RootError> {
        let path = self.folder.join(TAIL);
        let bytes = file::read(&path)?.ok_or_else(|| RootError::Damaged { path: path.clone() })?;
        let end = usize::try_from(self.length).unwrap_or(usize::MAX);
        let leaves = bytes.get(TAIL_HEAD_BYTES..end).ok_or(RootError::Damaged { path })?;
        Ok(leaves.to_vec())
    }

    /// Writes what the log has grown by, then the checkpoint, then a tail that begins at `size`.
    pub(super) fn grow(&mut self, growth: &Growth, checkpoint: &str, size: u64) -> Result<(), RootError> {
        for (path, bytes) in &growth.files {
            let path = self.folder.join(path);
            make(path.parent().unwrap_or(&self.folder))?;
            file::replace(&path, bytes, file::PRIVATE)?;
        }
        file::replace(&self.folder.join(CHECKPOINT), checkpoint.as_bytes(), file::PRIVATE)?;
        self.tail = new_tail(&self.folder, size)?;
        self.length = EMPTY_TAIL;
        for path in &growth.stale {
            // They are only in the way.
            drop(fs::remove_file(self.folder.join(path)));
        }
        Ok(())
    }

    /// A file of the log. What is in its place and cannot be one holds nothing that was signed: it is read as empty.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RootError> {
        match whole(&self.folder.join(path)) {
            Err(RootError::Damaged { .. }) => Ok(Some(Vec::new())),
            read => read,
        }
    }

    /// The bundle with the leaf at `index`, of a log of `size` entries.
    pub(super) fn bundle_at(&self, index: u64, size: u64) -> Result<Option<Vec<u8>>, RootError> {
        let Some(bundle) = Bundle::grown(index, size).next() else { return Ok(None) };
        match self.read(&bundle.path())? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.read(&bundle.full().path()),
        }
    }

    /// Removes the entries of a full bundle. Its tile stays.
    pub(super) fn drop_bundle(&self, number: u64) {
        let first = number * u64::from(TILE_WIDTH);
        if let Some(bundle) = Bundle::grown(first, first + u64::from(TILE_WIDTH)).next() {
            // One that cannot be removed, or was before, is only in the way.
            drop(fs::remove_file(self.folder.join(bundle.path())));
        }
    }

    /// The first full bundle of those that are there without a gap up to `full`.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn first_bundle(&self, full: u64) -> Result<u64, RootError> {
        for number in (0..full).rev() {
            let first = number * u64::from(TILE_WIDTH);
            let Some(bundle) = Bundle::grown(first, first + u64::from(TILE_WIDTH)).next() else { break };
            let path = self.folder.join(bundle.path());
            if !path.try_exists().map_err(|error| RootError::unreadable(&path, error))? {
                return Ok(number + 1);
            }
        }
        Ok(0)
    }

    /// Gives the reserve back to the disk. False when there is none left.
    pub(super) fn spend_reserve(&self) -> bool {
        fs::remove_file(self.folder.join(RESERVE)).is_ok()
    }

    fn fill_reserve(&self) {
        let path = self.folder.join(RESERVE);
        if !path.exists() && file::replace(&path, &[0; RESERVE_BYTES], file::PRIVATE).is_err() {
            // What was written of it is given back, too.
            drop(fs::remove_file(&path));
        }
    }

    fn trim(&self) -> io::Result<()> {
        self.tail.set_len(self.length)?;
        self.tail.sync_data()
    }

    fn unwritable(&self, error: io::Error) -> RootError {
        RootError::unwritable(&self.folder.join(TAIL), error)
    }
}

/// The bytes of a file; [`RootError::Damaged`] when something else is in its place, or more than any that kosd writes.
fn whole(path: &Path) -> Result<Option<Vec<u8>>, RootError> {
    let is_a_loop = |error: &io::Error| error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(RootError::Damaged { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory || is_a_loop(&error) => {
            Err(RootError::Damaged { path: path.into() })
        }
        _ => Ok(file::read(path)?.map(|bytes| bytes.to_vec())),
    }
}

fn new_tail(folder: &Path, first: u64) -> Result<File, RootError> {
    let path = folder.join(TAIL);
    file::replace(&path, &tail_head(first), file::PRIVATE)?;
    open_tail(&path).map_err(|error| RootError::unwritable(&path, error))
}

fn open_tail(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(file::PRIVATE).open(path)
}

fn make(folder: &Path) -> Result<(), RootError> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let durable = made.and_then(|()| {
        let above = folder.ancestors().skip(1).take(3);
        above.filter(|above| above.is_dir()).try_for_each(kos_keyring::file::sync_folder)
    });
    durable.map_err(|error| RootError::unwritable(folder, error))
}
