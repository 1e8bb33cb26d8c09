//! Backups of an authority. The backup itself is a stream of bytes that only the authority reads.

use kos_base::{AuthorityName, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, hex::Digest, schema, text::SecretText};

/// The request header that carries the passphrase of a backup whose bytes are the body: base64url without padding.
pub const PASSPHRASE_HEADER: &str = "kos-passphrase";

/// Asks for a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateBackup {
    /// What opens it again; nobody can open it without.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
}

/// What a backup is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupVerdict {
    /// Whether it could be restored.
    pub ok: bool,
    /// Of which authority it is.
    #[schema(value_type = Option<schema::AuthorityName>)]
    pub authority: Option<AuthorityName>,
    /// When it was made.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub created_at: Option<Timestamp>,
    /// How many log entries it holds.
    pub log_size: Option<u64>,
    /// Root of the tree over them.
    #[schema(value_type = Option<schema::Digest>)]
    pub root_hash: Option<Digest>,
    /// How many devices it holds.
    pub devices: Option<u64>,
    /// What is wrong with it.
    pub detail: Option<String>,
}

impl Kind for BackupVerdict {
    const KIND: &'static str = "BackupVerdict";
}
