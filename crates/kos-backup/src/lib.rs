//! The file that a backup of an authority is.
//!
//! Shape: an [age](https://age-encryption.org/v1) file around a tar archive. The archive holds regular files under the
//! names that [`Member`] knows, in any order, and last `backup.json`, the [`Manifest`]: the size and SHA-256 of each of
//! them. So the `age` and `tar` that everybody has open it, and a restore needs nothing of ours.
//!
//! [`Packer`] writes one and [`unpack`] reads one, both as a stream: neither holds more than a part of a file.
//!
//! Invariants: what is not sealed to a passphrase or recipient is never written. What [`unpack`] accepts has exactly the
//! files of its manifest, byte for byte; a file that is cut, longer, repeated, absent or of another name is refused with
//! [`BackupError`]. Hostile files cost bounded work: [`MEMBERS_MAX`], [`MEMBER_BYTES_MAX`], [`MANIFEST_BYTES_MAX`] and
//! [`WORK_FACTOR_MAX`].
//!
//! What it does not do: touch the file system, know what the files mean, or judge whether a newer backup exists.
//!
//! Source: `docs/spec/backup.md` BAK-1 to BAK-9; fuzz target `backup`.

mod manifest;
mod pack;
mod seal;
mod unpack;

pub use manifest::{Content, Manifest, Member, ParseMemberError};
pub use pack::Packer;
pub use seal::{Opening, ParseKeyError, Passphrase, Recipient, Sealing};
pub use unpack::{unpack, unpack_archive};

use kos_base::{Code, approved::NotApproved, code};

/// Most files in a backup; stops a small file from making millions. A log of 100 million entries has about 800 000.
pub const MEMBERS_MAX: usize = 2_000_000;
/// Longest file in a backup, in bytes.
pub const MEMBER_BYTES_MAX: u64 = 1 << 40;
/// Longest manifest, in bytes: [`MEMBERS_MAX`] lines.
pub const MANIFEST_BYTES_MAX: u64 = 512 << 20;
/// Most work that a passphrase may ask for, as age counts it: 2^22 rounds of scrypt, about 16 s and 4 GiB.
pub const WORK_FACTOR_MAX: u8 = 22;

/// Why a backup is not written or not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It is no backup, was cut or changed.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// Passphrase or key is another.
    #[error("the passphrase or key does not open this backup")]
    WrongKey,
    /// It was written by a later version of this program.
    #[error("the backup has version {0}, this program knows {known}", known = Manifest::VERSION)]
    Newer(u32),
    /// The file, or the place where its content goes, failed.
    #[error("reading or writing failed")]
    Io(#[source] std::io::Error),
    /// This build has the FIPS module, which does not approve of what backups are sealed with.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
}

impl BackupError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Damaged(_) => code::store::BACKUP_DAMAGED,
            Self::WrongKey => code::store::BACKUP_KEY,
            Self::Newer(_) => code::store::STORE_NEWER,
            Self::Io(_) => code::config::FILE_UNREADABLE,
            Self::NotApproved(refusal) => refusal.code(),
        }
    }

    fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged(kos_base::text::printable(&why.into(), 200))
    }
}
