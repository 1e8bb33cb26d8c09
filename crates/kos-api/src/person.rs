//! What is held of a person: for themselves, and store by store for whoever erases them.

use kos_base::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    alert::Guardian,
    audit::{AuditEntry, OlderBackup},
    envelope::Kind,
    operator::Operator,
    schema,
};

/// Asks for everything that is held of a person, or of a network address. One of the two is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportPerson {
    /// Their name: that of an operator, of a local user, or of who holds a share.
    pub person: Option<String>,
    /// The address; of IPv6, its network of 64 bits.
    pub address: Option<String>,
}

/// Everything that is held of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonExport {
    /// The name or address that was asked for.
    pub name: String,
    /// The subjects under which the log speaks of them.
    pub subjects: Vec<PersonSubject>,
    /// When.
    #[schema(value_type = schema::Timestamp)]
    pub exported_at: Timestamp,
    /// Index of the entry that records it.
    pub audit_index: u64,
    /// Their records as operators.
    pub operators: Vec<Operator>,
    /// The guardians that they are.
    pub guardians: Vec<Guardian>,
    /// Revoked certificates of theirs, by serial.
    pub revocations: Vec<String>,
    /// The vaults of which they hold a share.
    pub vaults: Vec<String>,
    /// The entries of the log that speak of them, the oldest first. Names of others are null.
    pub entries: Vec<AuditEntry>,
    /// How many there are. More than fit are left to `kosctl audit export --person NAME`.
    pub entries_found: u64,
    /// Backups that hold it as well, the newest first, at most 100.
    pub backups: Vec<OlderBackup>,
    /// Every store, with what it holds.
    pub stores: Vec<StoreOfPerson>,
}

impl Kind for PersonExport {
    const KIND: &'static str = "PersonExport";
}

/// A subject under which the log speaks of somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonSubject {
    /// Its id: a hash of the key that seals the name.
    pub subject: String,
    /// What it is: `operator`, `local-user`, `share-holder` or `address`.
    pub kind: String,
}

/// One store of the authority, and what it holds of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreOfPerson {
    /// The store.
    #[schema(example = "operators")]
    pub store: String,
    /// How much of it is about them; null where nobody can look.
    pub found: Option<u64>,
    /// What was done.
    pub done: String,
    /// What stays, and why; null when nothing does.
    pub left: Option<String>,
}
