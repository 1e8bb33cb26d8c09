//! Pairings of devices with users and agents, and what agents are granted. The names of fields are those of the source
//! (`AgentPermissions`).

use kos_base::{DeviceId, EntryId, KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{envelope::Kind, schema, text::Reason};

/// With whom a device is paired, was, or might be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pairing {
    /// Which. Who is paired again has another one.
    #[schema(value_type = schema::EntryId)]
    pub pairing_id: EntryId,
    /// Whose.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// With whom: `user:NAME`, `kai:ID`. A user whose name is not for the caller to see is `user:` and the id of their record.
    pub with: String,
    /// `proposed`, `paired` or `ended`.
    pub state: String,
    /// How far an agent is trusted: `external`, `partner`, `trusted`.
    pub trust_level: String,
    /// By which key an agent is known.
    #[schema(value_type = Option<schema::KeyId>)]
    pub key_id: Option<KeyId>,
    /// When it was proposed.
    #[schema(value_type = schema::Timestamp)]
    pub proposed_at: Timestamp,
    /// When the device confirmed it.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub device_confirmed_at: Option<Timestamp>,
    /// When the user or the agent did.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub partner_confirmed_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub ended_at: Option<Timestamp>,
    /// By what: `device`, `partner`, `operator`, `device-stopped`, `partner-gone`, `restored`.
    pub ended_by: Option<String>,
    /// Rises with every change.
    pub counter: u64,
}

impl Kind for Pairing {
    const KIND: &'static str = "Pairing";
}

/// Proposes to pair a device. A user who proposes themselves has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProposePairing {
    /// With whom: `user:NAME` or `kai:ID`.
    pub with: String,
    /// The key of an agent: base64 of its SubjectPublicKeyInfo. Its confirmation and its calls are signed with it.
    pub key: Option<String>,
    /// How far an agent is trusted; `external` when not given.
    pub trust_level: Option<String>,
}

/// Something that an agent signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedByAgent {
    /// Base64 of a COSE_Sign1.
    pub signed: String,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentAnswer {
    /// The device that answers.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// The agent that asked.
    pub agent_id: String,
    /// Under which grant.
    #[schema(value_type = schema::EntryId)]
    pub grant_id: EntryId,
    /// `grant`, or `override` when a person's word let it through.
    pub basis: String,
    /// Uses that are left, where they are counted.
    pub uses_left: Option<u64>,
    /// What the device says.
    #[schema(value_type = Object)]
    pub result: Value,
}

impl Kind for AgentAnswer {
    const KIND: &'static str = "AgentAnswer";
}

/// What an agent may touch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceAccess {
    /// `none`, `read` or `write`.
    pub memory: String,
    /// `none`, `restricted` or `full`.
    pub network: String,
    /// `none`, `temporary` or `persistent`.
    pub storage: String,
}

/// What a person says of a grant for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantWord {
    /// `allow`: its end, its uses and its conditions do not count. `deny`: it allows nothing.
    pub verdict: String,
    /// Until when.
    #[schema(value_type = schema::Timestamp)]
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// When it was said.
    #[schema(value_type = schema::Timestamp)]
    pub said_at: Timestamp,
}

/// What an agent may ask of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Which.
    #[schema(value_type = schema::EntryId)]
    pub grant_id: EntryId,
    /// Rises with every change.
    pub version: u32,
    /// Who may ask.
    pub agent_id: String,
    /// Whom.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// Under which pairing.
    #[schema(value_type = schema::EntryId)]
    pub pairing_id: EntryId,
    /// For what.
    pub capability: String,
    /// Whether a call would be let through now.
    pub granted: bool,
    /// Why, in one sentence.
    pub why: String,
    /// About what: patterns of resources.
    pub scope: Vec<String>,
    /// When it ends.
    #[schema(value_type = schema::Timestamp)]
    pub expiry: Timestamp,
    /// How often; as often as one likes when not given.
    pub uses: Option<u64>,
    /// How often it was used.
    pub used: u64,
    /// Only while all of these hold.
    pub conditions: Vec<String>,
    /// What the agent may touch.
    pub resource_access: ResourceAccess,
    /// How far the agent is trusted.
    pub trust_level: String,
    /// The key that signed it.
    #[schema(value_type = schema::KeyId)]
    pub signed_by: KeyId,
    /// When this version was signed.
    #[schema(value_type = schema::Timestamp)]
    pub timestamp: Timestamp,
    /// What a person says of it for now.
    #[serde(rename = "override")]
    pub word: Option<GrantWord>,
    /// The signed grant: base64 of a COSE_Sign1.
    pub signed: String,
}

impl Kind for Grant {
    const KIND: &'static str = "Grant";
}

/// Which grants a list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantFilter {
    /// Only those of this device, by its whole id.
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device: Option<DeviceId>,
    /// Most items.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// Lets an agent ask something of a device that it is paired with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateGrant {
    /// Whom.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// Who may ask.
    pub agent_id: String,
    /// For what.
    pub capability: String,
    /// About what: 1 to 8 patterns, a resource or its beginning and `*`.
    pub scope: Vec<String>,
    /// When it ends: at most 366 days from now.
    #[schema(value_type = schema::Timestamp)]
    pub expiry: Timestamp,
    /// How often.
    pub uses: Option<u64>,
    /// Only while all of these hold: `profile >= 2`, `role == sensor`, `time < 1800000000`.
    #[serde(default)]
    pub conditions: Vec<String>,
    /// What the agent may touch; what the capability needs when not given.
    pub resource_access: Option<ResourceAccess>,
    /// How far the agent is trusted; as far as by the pairing when not given.
    pub trust_level: Option<String>,
}

/// Lets an agent ask less. What is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NarrowGrant {
    /// About what.
    pub scope: Option<Vec<String>>,
    /// When it ends.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub expiry: Option<Timestamp>,
    /// How often, those that were made included.
    pub uses: Option<u64>,
    /// Only while all of these hold: those that it has, and more.
    pub conditions: Option<Vec<String>>,
    /// How far the agent is trusted.
    pub trust_level: Option<String>,
}

/// Lifts or stops a grant for a time, or takes that back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideGrant {
    /// `allow`, `deny`, or nothing to take it back.
    pub verdict: Option<String>,
    /// For how long, in seconds: at most a day.
    pub seconds: Option<u64>,
    /// Why.
    #[schema(value_type = schema::Reason)]
    pub reason: Reason,
}
