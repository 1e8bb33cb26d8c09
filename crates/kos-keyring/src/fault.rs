//! Why the machine's keys cannot be had, or not be changed.

use std::{
    io,
    path::{Path, PathBuf},
};

use kos_base::{Code, code, text::reason};
use kos_net::entropy::NoEntropy;
use kos_vault::{Standing, VaultError};

/// Always with the file that it is about.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The system refuses to read it.
    #[error("{} cannot be read: {}", path.display(), reason(source))]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refuses to write it. What was there before is still there.
    #[error("{} cannot be written: {}", path.display(), reason(source))]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no vault, is damaged, was changed, or does not take what was put in.
    #[error("{}: {error}", path.display())]
    Vault {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: VaultError,
    },
    /// The key that opens it cannot be had, or is none. Nothing was changed.
    #[error("{} cannot be opened: {why}", path.display())]
    Unopened {
        /// Which vault.
        path: PathBuf,
        /// What was looked for, where, and what was found.
        why: String,
    },
    /// The anchor is not what was written.
    #[error("{} is damaged", path.display())]
    AnchorDamaged {
        /// Which file.
        path: PathBuf,
    },
    /// It is not the file that its anchor tells of.
    #[error("{} {}", path.display(), told(*standing))]
    Standing {
        /// Which file.
        path: PathBuf,
        /// How it stands.
        standing: Standing,
    },
    /// There is no vault here, and there was one.
    #[error("{} is gone", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl KeyringError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => code::config::FILE_UNREADABLE,
            Self::Unwritable { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                code::store::STORE_FULL
            }
            Self::Unwritable { .. } => code::config::FILE_UNWRITABLE,
            Self::Vault { error: VaultError::Malformed(_), .. } => code::vault::VAULT_DAMAGED,
            Self::Vault { error, .. } => error.code(),
            Self::Unopened { .. } => code::vault::KEYRING_UNOPENED,
            Self::AnchorDamaged { .. } => code::config::FILE_DAMAGED,
            Self::Standing { standing: Standing::Behind, .. } => code::vault::VAULT_BEHIND,
            Self::Standing { .. } => code::vault::VAULT_FORKED,
            Self::Gone { .. } => code::vault::VAULT_GONE,
            Self::Entropy(error) => error.code(),
        }
    }

    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unreadable { path, source }
    }

    pub(crate) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unwritable { path, source }
    }

    pub(crate) fn vault(path: &Path) -> impl FnOnce(VaultError) -> Self {
        let path = path.to_owned();
        move |error| Self::Vault { path, error }
    }
}

const fn told(standing: Standing) -> &'static str {
    match standing {
        Standing::Behind => "is older than its anchor: an old file was put back",
        Standing::OtherVault => "is another vault than its anchor tells of",
        Standing::Same | Standing::OneAhead | Standing::Forked | Standing::FarAhead => {
            "is not the file that its anchor tells of"
        }
    }
}
