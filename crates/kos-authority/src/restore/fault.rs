//! Why a backup is not put back, or a restored authority not opened.

use std::io;

use kos_backup::BackupError;
use kos_base::{Code, code, text::reason};

use crate::{authority::StartError, store::StoreError};

/// Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is damaged or does not open.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// What is in it, or the place where it goes, is not as it must be.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The file cannot be read.
    #[error("`{file}`: {}", reason(source))]
    Unreadable {
        /// Which.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The log that was shown is not a sound continuation of the backup's.
    #[error("the log in `{folder}`: {why}")]
    Log {
        /// Where it is.
        folder: String,
        /// What is wrong with it.
        why: String,
    },
    /// The request says neither what to open it by nor that nothing is left, or both.
    #[error("either a copy of the log, or the declaration that none is left")]
    Undecided,
}

impl RestoreError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Backup(e) => e.code(),
            Self::Start(e) => e.code(),
            Self::Unreadable { .. } => code::config::FILE_UNREADABLE,
            Self::Log { .. } => code::store::RESTORE_LOG,
            Self::Undecided => code::config::BAD_REQUEST,
        }
    }
}

impl From<StoreError> for RestoreError {
    fn from(error: StoreError) -> Self {
        Self::Start(error.into())
    }
}
