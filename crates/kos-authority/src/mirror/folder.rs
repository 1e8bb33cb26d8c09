//! A target that is a folder: a mounted disk, a network file system.
//!
//! Invariants: it is never inside the authority's own data, nor around it. It has the log's key since it was named: a folder
//! without it is the empty place at which a disk is not mounted, and nothing is written there.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use kos_audit::{LogKey, tree::Piece};
use kos_base::text::reason;

use super::MirrorError;
use crate::files;

const CHECKPOINT: &str = "checkpoint";
const KEY: &str = "vkey";
/// Longest note or key that is read, in bytes.
const NOTE_BYTES_MAX: u64 = 128 * 1024;

/// Looks at a folder that is named as a target, and puts the log's key there when `begin`.
///
/// # Errors
/// In one sentence, why it cannot be one.
pub(crate) fn check(path: &Path, data: &Path, key: &LogKey, begin: bool) -> Result<(), String> {
    if !path.is_absolute() {
        return Err("name the folder from the root on".to_owned());
    }
    let whole = resolved(path, data)?;
    match files::read_text(&whole.join(KEY), NOTE_BYTES_MAX) {
        Ok(Some(there)) if there.trim() == key.to_string() => return Ok(()),
        Ok(Some(_)) => return Err("it holds another log".to_owned()),
        Ok(None) if whole.join(CHECKPOINT).exists() => return Err("it holds another log".to_owned()),
        Ok(None) => {}
        Err(error) => return Err(reason(&error).to_owned()),
    }
    if begin {
        let line = format!("{key}\n");
        files::replace(&whole.join(KEY), line.as_bytes(), files::Mode::Readable)
            .map_err(|error| reason(&error).to_owned())?;
    }
    Ok(())
}

/// Where a folder really is, when it is outside of the authority's data.
fn resolved(path: &Path, data: &Path) -> Result<PathBuf, String> {
    let whole = |path: &Path| fs::canonicalize(path).map_err(|error| reason(&error).to_owned());
    let (target, data) = (whole(path)?, whole(data)?);
    if !target.is_dir() {
        return Err("it is no folder".to_owned());
    }
    if target.starts_with(&data) || data.starts_with(&target) {
        return Err("it lies within the authority's own data, or around it".to_owned());
    }
    Ok(target)
}

/// A folder to be written to.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path, data: &Path, key: &LogKey) -> Result<Self, MirrorError> {
        let path = resolved(path, data).map_err(MirrorError::Away)?;
        match files::read_text(&path.join(KEY), NOTE_BYTES_MAX) {
            Ok(Some(there)) if there.trim() == key.to_string() => Ok(Self { path }),
            Ok(Some(there)) => Err(MirrorError::foreign(&there, "it holds another log")),
            Ok(None) => Err(MirrorError::Away("the log's key is not there: is the disk mounted?".to_owned())),
            Err(error) => Err(away(&error)),
        }
    }

    pub(super) fn checkpoint(&self) -> Result<Option<String>, MirrorError> {
        files::read_text(&self.path.join(CHECKPOINT), NOTE_BYTES_MAX).map_err(|error| away(&error))
    }

    /// Puts a piece, unless it is there.
    pub(super) fn put(&self, piece: Piece, bytes: &[u8]) -> Result<(), MirrorError> {
        let path = self.path.join(piece.path());
        if is_there(&path, bytes) {
            return Ok(());
        }
        let beside = path.with_added_extension("part");
        let written = fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| File::create(&beside)?.write_all(bytes))
            .and_then(|()| fs::rename(&beside, &path));
        written.map_err(|error| away(&error))
    }

    /// Makes everything durable and then moves the checkpoint.
    pub(super) fn seal(&self, checkpoint: &str) -> Result<(), MirrorError> {
        let synced = File::open(&self.path).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        let path = self.path.join(CHECKPOINT);
        synced
            .and_then(|()| files::replace(&path, checkpoint.as_bytes(), files::Mode::Readable))
            .map_err(|error| away(&error))
    }

    /// Removes the narrower forms of what is full.
    pub(super) fn drop_partial(&self, from: u64, to: u64) {
        for piece in Piece::grown(from, to).filter(|piece| *piece == piece.full()) {
            // They are only in the way.
            drop(fs::remove_dir_all(self.path.join(format!("{}.p", piece.path()))));
        }
    }
}

fn is_there(path: &Path, bytes: &[u8]) -> bool {
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_add(1);
    let mut there = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut there));
    read.is_ok() && there == bytes
}

fn away(error: &io::Error) -> MirrorError {
    MirrorError::Away(reason(error).to_owned())
}
