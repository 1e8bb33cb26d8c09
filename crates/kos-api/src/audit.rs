//! The audit log: entries, its signed head, and what a verification found.

use kos_base::{EntryId, KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    envelope::Kind,
    hex::{Digest, Signature},
    person::StoreOfPerson,
    problem::Party,
    schema,
    text::Reason,
    witness::WitnessStanding,
};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its place in the log, from 0.
    pub index: u64,
    /// Its UUIDv7.
    #[schema(value_type = schema::EntryId)]
    pub id: EntryId,
    /// When it happened.
    #[schema(value_type = schema::Timestamp)]
    pub timestamp: Timestamp,
    /// What happened.
    #[schema(example = "device_enrolled")]
    pub event_type: String,
    /// Who did it.
    pub actor: Party,
    /// To what.
    pub target: Option<Party>,
    /// What is particular to this event.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    /// The key that signed it.
    #[schema(value_type = schema::KeyId)]
    pub key_id: KeyId,
    /// The signature over the entry.
    #[schema(value_type = schema::Signature)]
    pub signature: Signature,
    /// The leaf of the Merkle tree: SHA-256 of a zero byte and the entry's bytes (RFC 6962).
    #[schema(value_type = schema::Digest)]
    pub leaf_hash: Digest,
    /// C2SP tlog-proof that the log holds it; null in lists, and until a checkpoint covers it.
    pub merkle_proof: Option<String>,
}

impl Kind for AuditEntry {
    const KIND: &'static str = "AuditEntry";
}

/// Which entries a list holds. Everything given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditFilter {
    /// Only this event type.
    pub event_type: Option<String>,
    /// Only those of this actor: an id, or a person's name as long as the key of their subject is there.
    pub actor: Option<String>,
    /// Only those about this target, likewise.
    pub target: Option<String>,
    /// Only those that speak of this device, as actor, as target or in the details.
    pub device: Option<String>,
    /// Only those that speak of this person or network address, wherever they do.
    pub person: Option<String>,
    /// Only those at or after this moment.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub since: Option<Timestamp>,
    /// Only those before this moment.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub until: Option<Timestamp>,
    /// Which end of the log comes first; the oldest entries when not given.
    #[schema(inline)]
    pub order: Option<AuditOrder>,
    /// Most items of the page, 1 to 500; 100 when not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Which entries a stream holds. Everything given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditFollow {
    /// As in a list.
    pub event_type: Option<String>,
    /// As in a list.
    pub actor: Option<String>,
    /// As in a list.
    pub target: Option<String>,
    /// As in a list.
    pub device: Option<String>,
    /// As in a list.
    pub person: Option<String>,
    /// From which index on; from now when not given. `Last-Event-ID` goes before it.
    pub from: Option<u64>,
}

/// Which end of the log comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOrder {
    /// The oldest entries.
    #[default]
    Oldest,
    /// The newest.
    Newest,
}

/// Moves the oldest entries into an archive. One of the two limits is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveLog {
    /// Only entries before this index.
    pub before_index: Option<u64>,
    /// Only entries before the first one of this moment or later.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub before_time: Option<Timestamp>,
    /// The folder on the authority's machine, as an absolute path.
    pub folder: String,
}

/// Entries that went into an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Archived {
    /// Index of the first.
    pub first: u64,
    /// How many entries of the log are archived now.
    pub size: u64,
    /// Where.
    pub folder: String,
    /// Root of the Merkle tree over these entries alone.
    #[schema(value_type = schema::Digest)]
    pub root_hash: Digest,
    /// SHA-256 of their bundles, one after the other.
    #[schema(value_type = schema::Digest)]
    pub sha256: Digest,
    /// When.
    #[schema(value_type = schema::Timestamp)]
    pub archived_at: Timestamp,
    /// Index of the entry that records it.
    pub audit_index: u64,
}

impl Kind for Archived {
    const KIND: &'static str = "Archived";
}

/// Entries that a list leaves out, since they are in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// How many there are: all before this index.
    pub size: u64,
    /// The archive that the newest of them are in.
    pub folder: String,
}

/// Asks for entries as one file. Everything given must fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportAudit {
    /// The form of the file.
    pub format: ExportFormat,
    /// As in a list.
    pub event_type: Option<String>,
    /// As in a list.
    pub actor: Option<String>,
    /// As in a list.
    pub target: Option<String>,
    /// As in a list.
    pub device: Option<String>,
    /// As in a list.
    pub person: Option<String>,
    /// As in a list.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub since: Option<Timestamp>,
    /// As in a list.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub until: Option<Timestamp>,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// RFC 4180, a row an entry, without formulas.
    Csv,
    /// One list in its envelope.
    Json,
    /// One document an entry, one a line.
    Jsonl,
}

impl ExportFormat {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
        }
    }
}

/// Erases a person, or a network address. One of the two is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErasePerson {
    /// Their name: that of an operator, of a local user, or of who holds a share.
    pub person: Option<String>,
    /// The address; of IPv6, its network of 64 bits.
    pub address: Option<String>,
    /// Why. It stays in the log, and must not name them.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// That the caller means themselves.
    pub myself: Option<bool>,
}

/// Who was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// The subjects under which the log speaks of them: hashes of keys that are gone.
    pub erased: Vec<ErasedSubject>,
    /// When.
    #[schema(value_type = schema::Timestamp)]
    pub erased_at: Timestamp,
    /// Index of the first entry that records it.
    pub audit_index: u64,
    /// Backups that hold a key still, the newest first, at most 100.
    pub backups: Vec<OlderBackup>,
    /// How many there are.
    pub backups_found: u64,
    /// Every store, with what was done there, and what stays and why.
    pub stores: Vec<StoreOfPerson>,
}

impl Kind for Erasure {
    const KIND: &'static str = "Erasure";
}

/// A subject whose key is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasedSubject {
    /// Its id.
    pub subject: String,
    /// What it was: `operator`, `local-user`, `share-holder` or `address`.
    pub kind: String,
}

/// A backup from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OlderBackup {
    /// Index of the entry that records it.
    pub index: u64,
    /// When it was made.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
}

/// The signed head of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// `<authority>/klog`.
    pub origin: String,
    /// How many entries it covers.
    pub size: u64,
    /// Root of the Merkle tree over them.
    #[schema(value_type = schema::Digest)]
    pub root_hash: Digest,
    /// When it was signed.
    #[schema(value_type = schema::Timestamp)]
    pub timestamp: Timestamp,
    /// The C2SP signed note itself.
    pub text: String,
    /// The key that verifies it, as a C2SP verifier key.
    pub verifier_key: String,
    /// What it is worth.
    pub assurance: Option<Assurance>,
    /// Who cosigns the log.
    pub witnessed: Option<WitnessStanding>,
    /// The newest checkpoint that as many witnesses cosigned as are asked for, as a signed note.
    pub witnessed_text: Option<String>,
}

impl Kind for Checkpoint {
    const KIND: &'static str = "Checkpoint";
}

/// Asks the server to verify its own log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyLog {
    /// An older checkpoint of the same log, which it must extend.
    pub against: Option<String>,
}

/// What a verification of the log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditVerdict {
    /// Whether nothing was found.
    pub ok: bool,
    /// `<authority>/klog`.
    pub origin: Option<String>,
    /// How many entries the checkpoint covers.
    pub size: u64,
    /// The root that the checkpoint states.
    #[schema(value_type = Option<schema::Digest>)]
    pub root_hash: Option<Digest>,
    /// When the checkpoint was signed.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub checkpoint_time: Option<Timestamp>,
    /// Entries whose leaf was computed.
    pub entries_checked: u64,
    /// Entries whose signature was verified.
    pub signatures_checked: u64,
    /// What the answer is worth.
    pub assurance: Assurance,
    /// How many entries a checkpoint covers that enough known witnesses cosigned.
    pub witnessed_size: Option<u64>,
    /// The known witnesses that cosigned it.
    #[serde(default)]
    pub witnessed_by: Vec<String>,
    /// What was found, by index, at most 1 000 of it.
    pub failures: Vec<LogFailure>,
    /// How much was found.
    pub failures_found: u64,
    /// What was left out, in words; empty when the whole log was verified.
    pub not_checked: Vec<String>,
}

impl Kind for AuditVerdict {
    const KIND: &'static str = "AuditVerdict";
}

/// Against what a log was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// Against its own checkpoint only: whoever owns the key could have rewritten everything.
    LocalIntegrity,
    /// Against an older checkpoint that somebody else kept.
    HeldCheckpoint,
    /// Against a checkpoint that a witness cosigned.
    Witnessed,
}

/// One thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogFailure {
    /// Where; nothing when it is the log as a whole.
    pub index: Option<u64>,
    /// What.
    pub kind: LogFailureKind,
    /// In words.
    pub detail: String,
}

/// What can be wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFailureKind {
    /// An entry differs from what was signed.
    Edited,
    /// An entry is missing.
    Deleted,
    /// Entries stand in another order.
    Reordered,
    /// Entries at the end are missing.
    Truncated,
    /// It says something else than the held checkpoint at the same place.
    Forked,
    /// It is shorter than the held checkpoint.
    Rewound,
    /// It ends inside an entry.
    Torn,
    /// A signature does not verify.
    BadSignature,
    /// Fewer known witnesses cosigned than were asked for.
    Unwitnessed,
}
