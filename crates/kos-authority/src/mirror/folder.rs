//! A target that is a folder: a mounted disk, a network file system.
//!
//! Invariants: it is never inside the authority's own data, nor around it. It has the log's key since it was named: a folder
//! without it is the empty place at which a disk is not mounted, and nothing is written there. No link in it is followed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use kos_audit::{LogKey, tree::Piece};
use kos_base::text::reason;

use super::MirrorError;
use crate::outside::{self, Outside};

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
    let folder = Outside::open(&whole).map_err(|error| reason(&error).to_owned())?;
    match folder.read_text(KEY, NOTE_BYTES_MAX) {
        Ok(Some(there)) if there.trim() == key.to_string() => return Ok(()),
        Ok(Some(_)) => return Err("it holds another log".to_owned()),
        Ok(None) if whole.join(CHECKPOINT).symlink_metadata().is_ok() => {
            return Err("it holds another log".to_owned());
        }
        Ok(None) => {}
        Err(error) => return Err(reason(&error).to_owned()),
    }
    if begin {
        let line = format!("{key}\n");
        folder.put_durably(KEY, line.as_bytes()).map_err(|error| reason(&error).to_owned())?;
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
    if outside::touches(&target, &data) {
        return Err("it lies within the authority's own data, or around it".to_owned());
    }
    Ok(target)
}

/// A folder to be written to. Others may write there as well.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    folder: Arc<Outside>,
}

impl Folder {
    pub(super) fn open(path: &Path, data: &Path, key: &LogKey) -> Result<Self, MirrorError> {
        let path = resolved(path, data).map_err(MirrorError::Away)?;
        let folder = Outside::open(&path).map_err(|error| away(&error))?;
        match folder.read_text(KEY, NOTE_BYTES_MAX) {
            Ok(Some(there)) if there.trim() == key.to_string() => Ok(Self { folder: Arc::new(folder) }),
            Ok(Some(there)) => Err(MirrorError::foreign(&there, "it holds another log")),
            Ok(None) => Err(MirrorError::Away("the log's key is not there: is the disk mounted?".to_owned())),
            Err(error) => Err(away(&error)),
        }
    }

    pub(super) fn checkpoint(&self) -> Result<Option<String>, MirrorError> {
        self.folder.read_text(CHECKPOINT, NOTE_BYTES_MAX).map_err(|error| away(&error))
    }

    /// Puts a piece, unless it is there.
    pub(super) fn put(&self, piece: Piece, bytes: &[u8]) -> Result<(), MirrorError> {
        let path = piece.path();
        let longest = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // Whatever else is there is replaced, or refuses to be.
        if self.folder.read(&path, longest).is_ok_and(|there| there.as_deref() == Some(bytes)) {
            return Ok(());
        }
        self.folder.put(&path, bytes).map_err(|error| away(&error))
    }

    /// Makes everything durable and then moves the checkpoint.
    pub(super) fn seal(&self, checkpoint: &str) -> Result<(), MirrorError> {
        let sealed = self.folder.sync();
        sealed
            .and_then(|()| self.folder.put_durably(CHECKPOINT, checkpoint.as_bytes()))
            .map_err(|error| away(&error))
    }

    /// Removes the narrower forms of what is full.
    pub(super) fn drop_partial(&self, from: u64, to: u64) {
        for piece in Piece::grown(from, to).filter(|piece| *piece == piece.full()) {
            // They are only in the way.
            drop(self.folder.remove_folder(&format!("{}.p", piece.path())));
        }
    }
}

fn away(error: &io::Error) -> MirrorError {
    MirrorError::Away(reason(error).to_owned())
}
