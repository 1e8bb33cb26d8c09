//! The machine's own vault: service keys sealed in one file that opens without a person.
//!
//! A [`Keyring`] is the vault of the environment `machine` (`docs/spec/vault.md`) of one program on one machine, as a file
//! on its disk. Its slot is a key of 256 bits that the program fetches by itself: from a file, from a systemd credential, or
//! from what a TPM sealed ([`Opener`]). [`Protection`] says what that is worth, and programs show it.
//!
//! Invariants: a change is one file, durable before [`Keyring::change`] returns, and followed by its [anchor](Anchor). A
//! file that is older than its anchor, or from another line of files, is refused. A key that is replaced or removed leaves
//! no version behind in the file, and the file before is overwritten as far as the file system lets it. The caller has a
//! lock, so that there is one writer.
//!
//! What it does not do: keep root out, who can do whatever the program can; lock itself, since nobody would be there to
//! open it; record who used a key, since service keys are used all the time.
//!
//! Errors: [`KeyringError`], each with its file and its stable code.
//!
//! Source: `docs/spec/keyring.md` KR-1 to KR-23; decision 0015.

mod anchor;
mod fault;
pub mod file;
mod keyring;
mod opener;
mod protection;
mod signers;
mod tpm;

pub use anchor::Anchor;
pub use fault::KeyringError;
pub use keyring::{Change, Keyring, Packed, Place};
pub use opener::{CREDENTIAL, Opener, ParseOpenerError};
pub use protection::Protection;
pub use signers::{Home, Made, ParseHomeError, SignerError, Signers, TokenPlace};
pub use tpm::TpmPlace;
