//! A sealed box of secrets: bytes in, secrets out, bytes back.
//!
//! [`Sealed`] is a file that was read and that nobody believes yet. [`Sealed::open`] tries a passphrase, a key, an
//! offline key or what a passkey gave on its slots, checks the MAC over everything in the file, and only then gives an [`Opened`], which nothing
//! else makes except [`Opened::create`] and the import of a [`SourceFile`]. An `Opened` takes, gives and uses secrets in
//! memory. [`Opened::seal`] gives the next file; once that is durable, [`Opened::written`] goes on from it.
//!
//! ```
//! use kos_base::{Secret, Timestamp};
//! use kos_vault::{Fresh, KeySource, NewSecret, NewSlot, Opened, Sealed, SecretType, Unlock, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // From the shell: the time, a key, and two draws of its random number generator.
//! # let (now, key) = (Timestamp::from_unix_ms(1_795_170_000_007), Secret::new([7; 32]));
//! # let [first, second] = [1, 2].map(|n| Fresh::new(Secret::new([n; 32])));
//! let slot = NewSlot::Key(&key, KeySource::Credential);
//! let mut vault = Opened::create(now, "machine".parse()?, &"systemd".parse()?, slot, first)?;
//! let value = Value::new(b"hunter2".to_vec().into())?;
//! let secret = NewSecret { kind: SecretType::Password, value: &value, expires: None };
//! vault.put(now, &"db/password".parse()?, secret, second)?;
//!
//! let file = vault.seal(now)?;
//! // The shell makes `file.bytes()` durable, and only then:
//! vault.written(&file);
//!
//! let mut again = Sealed::parse(file.bytes())?.open(Unlock::Key(&key))?;
//! assert_eq!(again.get(now, &"db/password".parse()?)?.expose(), b"hunter2");
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: read or write files, know the time, draw random bytes (each operation that needs some takes a
//! [`Fresh`]), lock itself after a while, remember which file was the newest. For the last, a program keeps the [`Head`]
//! elsewhere and asks [`Opened::standing`]. ECDSA signs with a nonce that aws-lc draws inside.
//!
//! Invariants: nothing of a file is told or decrypted before its MAC holds, except what [`Sealed`] calls claims. Keys,
//! passphrases and values are wiped when dropped, and no `Debug` shows them. An operation that fails has changed nothing.
//! A file that parses costs work and memory within the limits below, whoever wrote it.
//!
//! Errors: [`VaultError`], each with its stable code.
//!
//! Source: `docs/spec/vault.md` KV-1 to KV-37, with the argument why it holds; vectors in `tests/vectors/vault`; judged
//! by a reader in Python (`tests/judge/vault.py`); fuzz target `vault`.

mod fresh;
mod keys;
pub mod kill;
mod name;
mod opened;
mod otp;
mod passkey;
mod passphrase;
mod refusal;
mod sealed;
mod secret;
mod shape;
mod signing;
mod slot;
mod source;
mod state;
mod tree;
mod version;

#[cfg(test)]
mod tests;

pub use fresh::Fresh;
pub use keys::{Chest, KeyBytes};
pub use name::{EntryName, Environment, ParseNameError, SlotName, VaultId};
pub use opened::{Listed, NewSecret, Opened, Past, Sealing};
pub use otp::TotpCode;
pub use passkey::{CREDENTIAL_ID_BYTES, Passkey, PasskeySlot, PrfOutput, RelyingParty};
pub use passphrase::{Passphrase, Work};
pub use refusal::VaultError;
pub use sealed::Sealed;
pub use secret::{SecretType, Value};
pub use slot::{Agreed, KeySource, NewSlot, OfflineKey, OfflineSlot, SlotInfo, SlotKind, Unlock};
pub use source::SourceFile;
pub use state::{Head, Standing};

/// What stands in `version` (KV-4).
pub const VERSION: &str = "kos.vault.v1";
/// Longest file, in bytes; stops a file from filling the memory.
pub const FILE_BYTES_MAX: usize = 96 << 20;
/// Most entries; bounds what is sorted and hashed on every change.
pub const ENTRIES_MAX: usize = 10_000;
/// Most versions of an entry that are kept, the newest included; the oldest goes when there would be more.
pub const VERSIONS_MAX: usize = 10;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 65_536;
/// Ciphertext of all versions together, in bytes; keeps what is written below [`FILE_BYTES_MAX`].
pub const CONTENT_BYTES_MAX: usize = 32 << 20;
/// Most slots.
pub const SLOTS_MAX: usize = 16;
/// Most slots of the kind that costs work; bounds what a file can make an honest passphrase cost.
pub const PASSPHRASE_SLOTS_MAX: usize = 4;
