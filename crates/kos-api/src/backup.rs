//! Backups of an authority, and what becomes of one that was put back.

use kos_base::{AuthorityName, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema, text::SecretText};

/// Asks for a backup, sealed to whoever knows the passphrase or has the key of one of the recipients: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateBackup {
    /// At least 12 characters.
    #[schema(value_type = Option<String>)]
    pub passphrase: Option<SecretText>,
    /// Public keys of `age-keygen`.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Environments of vaults that are left out, since nobody has their newest file any more.
    #[serde(default)]
    pub without_vaults: Vec<String>,
}

/// A sealed file that was written: a backup, or the file of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SealedFile {
    /// Where it is.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Kind for SealedFile {
    const KIND: &'static str = "SealedFile";
}

/// What is to be said of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupVerdict {
    /// Whether it is whole and its log is sound.
    pub ok: bool,
    /// Where it is.
    pub file: String,
    /// Whose it is.
    #[schema(value_type = schema::AuthorityName)]
    pub authority: Option<AuthorityName>,
    /// When its state was taken.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub created_at: Option<Timestamp>,
    /// Version of the program that wrote it.
    pub program: Option<String>,
    /// How many entries its log has.
    pub log_size: Option<u64>,
    /// How many of them were checked.
    pub entries_checked: u64,
    /// What is wrong with it.
    pub failures: Vec<String>,
}

impl Kind for BackupVerdict {
    const KIND: &'static str = "BackupVerdict";
}

/// Opens an authority that was put back from a backup: by a newer copy of its log, or without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenRestored {
    /// The folder of the newest copy of the log that there is, on the machine of the authority.
    pub log: Option<String>,
    /// A checkpoint that the copy must hold: the newest that anybody has seen.
    pub against: Option<String>,
    /// There is no such copy: whatever happened after the backup is lost, and every device is let in anew.
    #[serde(default)]
    pub declare_loss: bool,
}

/// What became of an authority that was put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Whose it is.
    #[schema(value_type = schema::AuthorityName)]
    pub authority: AuthorityName,
    /// When the state of the backup was taken.
    #[schema(value_type = schema::Timestamp)]
    pub backup_at: Timestamp,
    /// Entries that the log of the backup had.
    pub backup_size: u64,
    /// Entries of the newer log that it did not have.
    pub merged_entries: u64,
    /// Whether the time after the backup was given up.
    pub loss: bool,
    /// Devices that come back by their identity key alone.
    pub returning: u64,
    /// Devices that wait before a person.
    pub waiting: u64,
    /// Devices that were stopped or ended after the backup.
    pub stopped: u64,
    /// Devices that the backup does not know.
    pub unknown: u64,
    /// Certificates that were revoked.
    pub revoked: u64,
    /// Manifests that were put in force after the backup, with their versions, and alert rules with their number. The log does
    /// not have them: they have to be applied again.
    pub apply_again: Vec<String>,
}

impl Kind for Restored {
    const KIND: &'static str = "Restored";
}
