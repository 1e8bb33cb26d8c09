//! What can go wrong in the store, and how SQLite's own errors are sorted into it.

use kos_base::{Code, code, text::reason};

/// Why the store gave no answer. Every variant means that nothing was changed and nothing acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened or made.
    #[error("the store `{path}` cannot be opened: {detail}")]
    Open {
        /// Where it should be.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// Another process holds the lock.
    #[error("the store `{path}` is used by another process")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// Another program, which does not know our lock, holds SQLite's own.
    #[error("another program holds the store")]
    Busy,
    /// A row is not what was written. No answer is made from it.
    #[error("the store is damaged: table `{table}`, row `{row}`")]
    Damaged {
        /// Which table, or `file` when SQLite itself found the damage.
        table: &'static str,
        /// Which row, or what SQLite said.
        row: String,
    },
    /// No space on the disk.
    #[error("the disk is full")]
    Full,
    /// Written by a later version of this program.
    #[error("the store has schema version {found}, this program knows {known}")]
    Newer {
        /// What the file says.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A record is not the one that the change was made for. Read it again and repeat.
    #[error("`{row}` in table `{table}` was changed by somebody else")]
    Conflict {
        /// Which table.
        table: &'static str,
        /// Which record.
        row: String,
    },
    /// As many devices wait in the lobby, in all or from one source, as may wait.
    #[error("the lobby is full")]
    LobbyFull,
    /// A device has as many pairings or grants as it may have.
    #[error("the device has as many pairings or grants as there may be")]
    BondsFull,
    /// A change came without an entry of the log: a fault of this program. It was taken back.
    #[error("a change of `{table}` without an entry of the log was taken back")]
    Unrecorded {
        /// Which table.
        table: String,
    },
    /// The disk did not confirm that it keeps what was written. What the kernel holds may never get there, and may look as if
    /// it had: nothing more is written by this process.
    #[error("the disk did not keep what was written: {0}")]
    Unsynced(String),
    /// The log in the store is not the one that was signed.
    #[error("the log differs from its signed state: {0}")]
    LogDiffers(String),
    /// An entry is longer than the log takes.
    #[error("the audit entry cannot be written: {0}")]
    Entry(String),
    /// Anything else: the device failed, or the writer has stopped.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Open { .. } => code::store::STORE_OPEN,
            Self::Locked { .. } | Self::Busy => code::store::STORE_LOCKED,
            Self::Damaged { .. } => code::store::STORE_DAMAGED,
            Self::Full => code::store::STORE_FULL,
            Self::Newer { .. } => code::store::STORE_NEWER,
            Self::Conflict { .. } => code::store::STORE_CONFLICT,
            Self::LobbyFull => code::enrolment::LOBBY_FULL,
            Self::BondsFull => code::pairing::PAIR_LIMIT,
            Self::Unrecorded { .. } => code::audit::LOG_UNRECORDED,
            Self::Unsynced(_) => code::audit::LOG_UNSYNCED,
            Self::LogDiffers(_) => code::audit::LOG_DIFFERS,
            Self::Entry(_) => code::audit::LOG_ENTRY_TOO_LARGE,
            Self::Failed(_) => code::store::STORE_FAILED,
        }
    }

    /// Whether the requester alone is at fault, so that others in the same group go on.
    pub(crate) const fn concerns_one_request(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. } | Self::LobbyFull | Self::BondsFull | Self::Entry(_) | Self::Damaged { .. }
        )
    }

    /// What a file that belongs to the store or the log could not do.
    pub(crate) fn from_io(path: &std::path::Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Failed(format!("`{}`: {}", path.display(), reason(error))),
        }
    }

    pub(super) fn damaged(table: &'static str, row: impl Into<String>) -> Self {
        Self::Damaged { table, row: kos_base::text::printable(&row.into(), 100) }
    }

    pub(super) fn conflict(table: &'static str, row: &(impl ToString + ?Sized)) -> Self {
        Self::Conflict { table, row: row.to_string() }
    }
}

/// Primary result codes of SQLite (`sqlite3.h`); an extended code holds one of them in its low byte.
mod sqlite {
    pub(super) const BUSY: i32 = 5;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOT_A_DATABASE: i32 = 26;
    /// Extended: a file, or its folder, could not be synchronised.
    pub(super) const IOERR_FSYNC: i32 = 1_034;
    pub(super) const IOERR_DIR_FSYNC: i32 = 1_290;
    /// Extended: the hook of [`super::super::coverage`] refuses a commit.
    pub(super) const CONSTRAINT_COMMITHOOK: i32 = 531;
    /// Extended: the index of the write-ahead log cannot grow, which is how a full disk looks while opening.
    pub(super) const IOERR_SHMSIZE: i32 = 4_874;
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let extended = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .and_then(|code| code.parse::<i32>().ok());
        match extended {
            Some(sqlite::IOERR_SHMSIZE) => return Self::Full,
            Some(sqlite::IOERR_FSYNC | sqlite::IOERR_DIR_FSYNC) => return Self::Unsynced(error.to_string()),
            // Outside of a transaction; in one, the table is known.
            Some(sqlite::CONSTRAINT_COMMITHOOK) => return Self::Unrecorded { table: "?".to_owned() },
            _ => {}
        }
        match (extended.map(|code| code & 0xff), &error) {
            (Some(sqlite::FULL), _) => Self::Full,
            (Some(sqlite::BUSY), _) => Self::Busy,
            (Some(sqlite::CORRUPT | sqlite::NOT_A_DATABASE), _) => Self::damaged("file", error.to_string()),
            (Some(sqlite::CONSTRAINT), _) => Self::conflict("file", &error),
            (_, sqlx::Error::ColumnDecode { index, .. }) => Self::damaged("file", format!("column {index}")),
            _ => Self::Failed(error.to_string()),
        }
    }
}
