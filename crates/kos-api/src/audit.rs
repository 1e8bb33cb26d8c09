//! The audit log: entries, its signed head, and what a verification found.

use kos_base::{EntryId, KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    envelope::Kind,
    hex::{Digest, Signature},
    problem::Party,
    schema,
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

/// Which entries a list holds, in the order of the log. Everything given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditFilter {
    /// Only this event type.
    pub event_type: Option<String>,
    /// Only those of this actor's id.
    pub actor: Option<String>,
    /// Only those about this target's id.
    pub target: Option<String>,
    /// Only those at or after this moment.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub since: Option<Timestamp>,
    /// Only those before this moment.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub until: Option<Timestamp>,
    /// Most items of the page, 1 to 500; 100 when not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
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
