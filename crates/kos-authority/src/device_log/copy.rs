//! The files of one copy.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kos_audit::{
    LogKey,
    device::{Growth, Ledger, LedgerError},
};
use kos_base::{Code, code, text::reason};

use crate::{
    files::{self, Mode, replace},
    log::CHECKPOINT_BYTES_MAX,
};

const CHECKPOINT: &str = "checkpoint";
const KEY: &str = "key";
/// Pieces of evidence that are kept of one device, each at most as long as a message. The first tell most.
const EVIDENCE_MAX: usize = 32;

/// Why a copy cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyFault {
    /// The files are not what the device signed.
    #[error("it is damaged: {0}")]
    Unsound(LedgerError),
    /// It was lost, and has not come again as far as it was anchored.
    #[error(
        "it has {held} entries of {anchored} that the log of this authority speaks of; the others are lost, or on their way"
    )]
    Short {
        /// Entries that are here.
        held: u64,
        /// Entries that were.
        anchored: u64,
    },
    /// The system refuses.
    #[error("{}", reason(.0))]
    Disk(#[from] io::Error),
}

impl CopyFault {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Unsound(_) | Self::Short { .. } => code::audit::DEVICE_LOG_COPY,
            Self::Disk(error) if error.kind() == io::ErrorKind::StorageFull => code::store::STORE_FULL,
            Self::Disk(_) => code::config::FILE_UNWRITABLE,
        }
    }
}

/// The folder of one log of one device.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    folder: PathBuf,
}

impl Copy {
    pub(super) const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The right edge of what is there.
    ///
    /// # Errors
    /// When it is not what the device signed, or cannot be read.
    pub(crate) fn load(&self, key: LogKey) -> Result<Ledger, CopyFault> {
        let Some(text) = self.checkpoint()? else { return Ok(Ledger::empty(key)) };
        let mut refused = None;
        let ledger = Ledger::load(key, &text, |path| {
            self.read(path).unwrap_or_else(|error| {
                refused = Some(error);
                None
            })
        });
        ledger.map_err(|why| refused.map_or(CopyFault::Unsound(why), CopyFault::Disk))
    }

    /// The newest checkpoint.
    pub(crate) fn checkpoint(&self) -> io::Result<Option<String>> {
        files::read_text(&self.folder.join(CHECKPOINT), CHECKPOINT_BYTES_MAX)
    }

    /// A file by its C2SP path. Only paths that the format has may be asked for by strangers: see [`is_of_a_log`].
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes what the log has grown by, then its checkpoint, durably.
    pub(super) fn write(&self, key: &LogKey, growth: &Growth, checkpoint: &str) -> Result<(), CopyFault> {
        if !self.folder.join(KEY).exists() {
            make(&self.folder)?;
            replace(&self.folder.join(KEY), format!("{key}\n").as_bytes(), Mode::Readable)?;
        }
        for (path, bytes) in &growth.files {
            let path = self.folder.join(path);
            make(path.parent().unwrap_or(&self.folder))?;
            replace(&path, bytes, Mode::Readable)?;
        }
        replace(&self.folder.join(CHECKPOINT), checkpoint.as_bytes(), Mode::Readable)?;
        for path in &growth.stale {
            // They are only in the way.
            drop(fs::remove_file(self.folder.join(path)));
        }
        Ok(())
    }
}

/// Whether a path is one that the format has.
pub(crate) fn is_of_a_log(path: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
            && part.trim_matches('.') == part
    };
    (path == CHECKPOINT || path.starts_with("tile/")) && path.len() <= 200 && path.split('/').all(plain)
}

/// Writes a piece of evidence, unless there is enough of it. Returns its name.
pub(super) fn keep_evidence(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<Option<String>> {
    make(folder)?;
    if fs::read_dir(folder)?.count() >= EVIDENCE_MAX {
        return Ok(None);
    }
    replace(&folder.join(name), bytes, Mode::Private)?;
    Ok(Some(name.to_owned()))
}

/// Bytes of all files below a folder.
pub(super) fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let above = folder.ancestors().skip(1).take(4);
    above.filter(|above| above.is_dir()).try_for_each(files::sync_folder)
}
