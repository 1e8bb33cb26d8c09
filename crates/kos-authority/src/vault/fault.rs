//! Why something was not done with a vault.

use kos_base::{Code, code};
use kos_net::entropy::NoEntropy;
use kos_shares::ShareError;
use kos_vault::VaultError;

use super::copies::{CopyFault, Spoilt};
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
    #[error("the vault is refused: {}", .0.title())]
    Refused(Code),
    /// The same, found while all files were looked at.
    #[error(transparent)]
    Spoilt(#[from] Spoilt),
    #[error("the vault is locked")]
    Locked,
    #[error("there is no such vault")]
    Unknown,
    #[error("there is a vault already")]
    Exists,
    #[error("too many wrong passphrases")]
    Attempts,
    /// The file goes on from the anchor, and nobody who opened it so far could have written it alone.
    #[error("the file of the vault is one ahead of what is recorded")]
    Unjudged,
    #[error("the vault asks for a one-time code as well")]
    CodeNeeded,
    #[error("it is none of about now, or was used before")]
    Code,
    #[error("the vault asks for a one-time code already")]
    AsksAlready,
    #[error("the vault asks for no one-time code")]
    AsksNothing,
    #[error("the vault has a slot of this passkey")]
    PasskeyThere,
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

impl From<CopyFault> for VaultFault {
    fn from(fault: CopyFault) -> Self {
        match fault {
            CopyFault::Spoilt(spoilt) => spoilt.into(),
            CopyFault::Store(error) => error.into(),
        }
    }
}

impl VaultFault {
    /// The stable code.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Vault(e) => e.code(),
            Self::Share(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Refused(code) => *code,
            Self::Spoilt(spoilt) => spoilt.code,
            Self::Locked => code::vault::VAULT_LOCKED,
            Self::Unknown => code::vault::VAULT_UNKNOWN,
            Self::Exists => code::vault::VAULT_EXISTS,
            Self::Attempts => code::vault::VAULT_ATTEMPTS,
            Self::Unjudged => code::vault::VAULT_UNJUDGED,
            Self::CodeNeeded => code::vault::VAULT_CODE_NEEDED,
            Self::Code => code::vault::VAULT_CODE,
            Self::AsksAlready => code::vault::VAULT_CODE_ASKED,
            Self::AsksNothing => code::vault::VAULT_CODE_UNASKED,
            Self::PasskeyThere => code::vault::VAULT_PASSKEY_THERE,
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

    /// Whether what it says is of use to whoever asked, beyond the title of its code.
    pub(crate) fn is_for_the_caller(&self) -> bool {
        let is_ours =
            matches!(self, Self::Store(_) | Self::Entropy(_) | Self::Internal(_) | Self::Refused(_));
        !is_ours && self.to_string() != self.code().title()
    }
}
