//! Why an authority does not start.

use kos_base::{Code, Timestamp, code};

use crate::{keys::KeysError, settings::SettingsError, store::StoreError};

/// Nothing is served. What was acknowledged before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings file is not valid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The keys are missing or damaged.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store or the log is damaged, in use, or from a later version.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What manifests say is not what was signed.
    #[error(transparent)]
    Manifests(#[from] crate::policy::manifest::applied::Fault),
    /// There is an authority here already.
    #[error("there is an authority in `{0}` already")]
    AlreadyInitialised(String),
    /// Store and keys are of different authorities.
    #[error("the store is of `{store}`, the keys are of `{keys}`")]
    Mixed {
        /// What the store says.
        store: String,
        /// What the root certificate says.
        keys: String,
    },
    /// It was put back from a backup and may not serve before it was opened.
    #[error("the authority was restored from a backup of {0} and is closed")]
    Closed(Timestamp),
    /// Its kill switch was fired.
    #[error("this authority was destroyed by its kill switch; the notice is `{notice}`")]
    Killed {
        /// Where the notice is.
        notice: String,
    },
    /// Nobody can say whether its kill switch was fired.
    #[error("{why}")]
    Kill {
        /// What is wrong.
        why: String,
        /// The stable code.
        code: Code,
    },
    /// The clock stands before what is known to have been.
    #[error("the clock says {now}, and it was {known} already")]
    Clock {
        /// What it says.
        now: Timestamp,
        /// The newest entry of the log, or the year before which there was no authority.
        known: Timestamp,
    },
    /// A CA can sign nothing any more, or the clock runs far ahead.
    #[error("the clock says {now}, and the certificate of an issuing CA ended at {ended}")]
    CaEnded {
        /// What the clock says.
        now: Timestamp,
        /// When it ended.
        ended: Timestamp,
    },
    /// A port is in use.
    #[error("port {port} cannot be used: {why}")]
    Port {
        /// Which.
        port: u16,
        /// What the system said.
        why: String,
    },
    /// A file or folder cannot be made.
    #[error("`{path}`: {why}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        why: String,
    },
    /// A fault of this program or of its cryptographic provider.
    #[error("internal fault: {0}")]
    Internal(String),
}

impl StartError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Settings(e) => e.code(),
            Self::Keys(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Manifests(e) => e.code(),
            Self::AlreadyInitialised(_) => code::config::ALREADY_INITIALISED,
            Self::Closed(_) => code::store::RESTORED_CLOSED,
            Self::Killed { .. } => code::kill::KILLED,
            Self::Kill { code, .. } => *code,
            Self::Mixed { .. } => code::config::FILE_DAMAGED,
            Self::Clock { .. } => code::config::CLOCK,
            Self::CaEnded { .. } => code::certificate::CERT_EXPIRED,
            Self::Port { .. } => code::config::PORT_TAKEN,
            Self::File { .. } => code::config::FILE_UNWRITABLE,
            Self::Internal(_) => code::config::INTERNAL,
        }
    }

    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), why: kos_base::text::reason(error).to_owned() }
    }
}
