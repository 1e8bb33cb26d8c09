//! Why a vault is not opened, not changed or not written.

use kos_base::{Code, approved::NotApproved, code};

use crate::{SecretType, VERSION};

/// Sorted by who has to act: whoever wrote the file, whoever wants to open it, the caller, ourselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// It has another form than a vault, or goes beyond a limit. Look for the right file.
    #[error("this is not a vault: {0}")]
    Malformed(String),
    /// A later version of this program wrote it.
    #[error("the vault has version `{0}`, this program knows `{VERSION}`")]
    Newer(String),
    /// Its checksum, or one of its ciphertexts, does not fit.
    #[error("the vault is damaged: {0}")]
    Damaged(&'static str),
    /// A slot opens it, and its MAC does not hold: somebody without the master key wrote it.
    #[error("the vault was changed by somebody without its key")]
    Forged,
    /// Too few iterations or too little memory.
    #[error("the passphrase is protected too weakly: {0}")]
    TooWeak(&'static str),
    /// More work than any of our writers asks for.
    #[error("the passphrase asks for too much work: {0}")]
    TooHeavy(&'static str),

    /// Nothing in it is opened by this kind of secret.
    #[error("the vault has no slot of this kind")]
    NoSlot,
    /// It fits none of the slots of its kind.
    #[error("this secret does not open the vault")]
    WrongSecret,

    /// Nobody could open what would be left.
    #[error("the vault would have no slot left")]
    LastSlot,
    /// Two slots of one name.
    #[error("a slot has this name already")]
    SlotExists,
    /// No slot of this name.
    #[error("the vault has no slot of this name")]
    SlotUnknown,
    /// No entry of this name, or no such version of it.
    #[error("the vault has no such entry")]
    EntryUnknown,
    /// The time of the newest version is over. Older versions, and this one, can be asked for by number.
    #[error("the secret has expired")]
    Expired,
    /// What was asked cannot be done with a secret of this type.
    #[error("a secret of type `{0}` cannot be used so")]
    WrongType(SecretType),
    /// The value is not what its type says.
    #[error("the value is no {0}")]
    Value(SecretType),
    /// A limit of the format.
    #[error("the vault is full: {0}")]
    Full(&'static str),
    /// A new passphrase that is too short, or one that is too long.
    #[error("the passphrase is too short or too long")]
    Passphrase,
    /// The name that a source file gives an entry is none of ours.
    #[error("this name cannot be used: `{0}`")]
    Name(String),

    /// This build has the FIPS module, which does not approve of that.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    /// The cryptographic library failed. It has no reason to.
    #[error("the cryptographic library failed")]
    Fault,
}

impl VaultError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => code::vault::VAULT_MALFORMED,
            Self::Newer(_) => code::vault::VAULT_NEWER,
            Self::Damaged(_) => code::vault::VAULT_DAMAGED,
            Self::Forged => code::vault::VAULT_FORGED,
            Self::TooWeak(_) => code::vault::VAULT_DERIVATION_WEAK,
            Self::TooHeavy(_) => code::vault::VAULT_DERIVATION_HEAVY,
            Self::NoSlot => code::vault::VAULT_NO_SLOT,
            Self::WrongSecret => code::vault::VAULT_SECRET,
            Self::LastSlot => code::vault::VAULT_LAST_SLOT,
            Self::SlotExists => code::vault::VAULT_SLOT_EXISTS,
            Self::SlotUnknown => code::vault::VAULT_SLOT_UNKNOWN,
            Self::EntryUnknown => code::vault::VAULT_ENTRY_UNKNOWN,
            Self::Expired => code::vault::VAULT_ENTRY_EXPIRED,
            Self::WrongType(_) => code::vault::VAULT_ENTRY_TYPE,
            Self::Value(_) => code::vault::VAULT_VALUE,
            Self::Full(_) => code::vault::VAULT_FULL,
            Self::Passphrase => code::vault::VAULT_PASSPHRASE,
            Self::Name(_) => code::vault::VAULT_NAME,
            Self::NotApproved(refusal) => refusal.code(),
            Self::Fault => code::config::INTERNAL,
        }
    }

    pub(crate) fn malformed(why: impl AsRef<str>) -> Self {
        Self::Malformed(kos_base::text::printable(why.as_ref(), 200))
    }
}
