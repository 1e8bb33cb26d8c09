//! Why something was not done with a vault.

use kos_base::{Code, code};
use kos_net::entropy::NoEntropy;
use kos_shares::ShareError;
use kos_vault::VaultError;

use crate::store::StoreError;

/// Nothing was given away. Where a file was written already, the vault is locked, and opening it again brings file and
/// anchor together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultFault {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Share(#[from] ShareError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not the one that the anchor tells of.
    #[error("the vault is refused: {0}")]
    Refused(Code),
    #[error("the vault is locked")]
    Locked,
    #[error("there is no such vault")]
    Unknown,
    #[error("there is a vault already")]
    Exists,
    #[error("too many wrong passphrases")]
    Attempts,
    #[error("whoever asked is gone")]
    Gone,
    #[error("a file is being imported already")]
    Busy,
    #[error("the vault has no shares")]
    NotShared,
    #[error("{0} more shares are needed")]
    NotRecovered(u8),
    #[error("the file is of environment `{0}`")]
    Environment(kos_vault::Environment),
    #[error("there are {0} vaults already")]
    Full(u32),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    #[error("internal fault: {0}")]
    Internal(String),
}

impl VaultFault {
    /// The stable code.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Vault(e) => e.code(),
            Self::Share(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Refused(code) => *code,
            Self::Locked => code::vault::VAULT_LOCKED,
            Self::Unknown => code::vault::VAULT_UNKNOWN,
            Self::Exists => code::vault::VAULT_EXISTS,
            Self::Attempts => code::vault::VAULT_ATTEMPTS,
            Self::Gone => code::config::UNREACHABLE,
            Self::Busy => code::config::OVERLOADED,
            Self::NotShared => code::vault::VAULT_NOT_SHARED,
            Self::NotRecovered(_) => code::vault::VAULT_NOT_RECOVERED,
            Self::Environment(_) => code::vault::VAULT_ENVIRONMENT,
            Self::Full(_) => code::vault::VAULTS_FULL,
            Self::Entropy(e) => e.code(),
            Self::Internal(_) => code::config::INTERNAL,
        }
    }

    /// Whether what it says is of use to whoever asked, beyond its code.
    pub(crate) const fn is_for_the_caller(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Entropy(_) | Self::Internal(_))
    }
}
