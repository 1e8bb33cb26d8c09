//! What a device says about itself on its local socket.

use kos_base::{
    AuthorityName, Channel, DeviceId, DeviceState, EntryId, KeyId, KidSubject, Name, Role, SecurityProfile,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    alert::Severity,
    device::{Health, ImageVerdict},
    envelope::Kind,
    hex::Serial,
    keys::KeyProtection,
    schema,
};

/// How a device is, by its own word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Its id; nothing before the first contact with an authority.
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device_id: Option<DeviceId>,
    /// What it is called.
    #[schema(value_type = Option<schema::Name>)]
    pub name: Option<Name>,
    /// Where it is in its life, as far as it knows.
    #[schema(value_type = schema::DeviceState)]
    pub state: DeviceState,
    /// Why, in one sentence.
    pub state_reason: Option<String>,
    /// Its authority.
    #[schema(value_type = Option<schema::AuthorityName>)]
    pub authority: Option<AuthorityName>,
    /// `HOST:PORT` of that authority.
    pub server: Option<String>,
    /// Its role.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Its security profile.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
    /// Its firmware channel.
    #[schema(value_type = schema::Channel)]
    pub channel: Channel,
    /// Of whom its kIDs speak.
    #[schema(value_type = Option<schema::KidSubject>)]
    pub kid_subject: Option<KidSubject>,
    /// The key that proves continuity.
    #[schema(value_type = Option<schema::KeyId>)]
    pub identity_key_id: Option<KeyId>,
    /// Serial of its certificate.
    #[schema(value_type = Option<schema::Serial>)]
    pub cert_serial: Option<Serial>,
    /// When its certificate ends.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub cert_not_after: Option<Timestamp>,
    /// When it will renew it.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub renew_at: Option<Timestamp>,
    /// The carrier of its live link: `quic`, `tls`, `websocket`.
    pub carrier: Option<String>,
    /// When its last heartbeat was acknowledged.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub last_heartbeat_at: Option<Timestamp>,
    /// What it measures of itself.
    pub health: Option<Health>,
    /// What it found of its image.
    pub image: Option<ImageVerdict>,
    /// What keeps its keys; nothing before it has any.
    pub keys: Option<KeyProtection>,
    /// How many entries its own log has; nothing before it has one.
    pub log_entries: Option<u64>,
    /// How many of them its authority holds, as far as this run knows.
    pub log_delivered: Option<u64>,
    /// Six digits that the authority shows as well, while it waits in the lobby.
    pub comparison_code: Option<String>,
    /// The witness that it is for the log of its authority; nothing before it was asked to be one.
    pub witness: Option<DeviceWitness>,
    /// The last alert that the authority told of, when this device is a guardian.
    pub last_alert: Option<LocalAlert>,
    /// What enforcement modules make of it, by its own word.
    #[serde(default)]
    pub modules: Vec<LocalModule>,
    /// What somebody should know, such as a setting that falls through.
    pub warnings: Vec<String>,
    /// The version of its daemon.
    pub version: String,
}

/// A device as a witness of the log of its authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceWitness {
    /// The key by which its cosignatures are known, as a C2SP verifier key.
    pub verifier_key: String,
    /// How many entries the newest checkpoint has that it cosigned.
    pub size: Option<u64>,
    /// When it did.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub cosigned_at: Option<Timestamp>,
    /// How many times the log contradicted what it cosigned; each is kept as a file.
    pub conflicts: u64,
}

impl Kind for DeviceStatus {
    const KIND: &'static str = "DeviceStatus";
}

/// An alert that a device was told of as a guardian.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalAlert {
    /// Its id.
    pub alert_id: String,
    /// The rule that raised it.
    pub rule: String,
    /// How much hangs on it.
    pub severity: Severity,
    /// What it means.
    pub summary: String,
    /// How much happened.
    pub count: u64,
    /// When the last of it happened.
    #[schema(value_type = schema::Timestamp)]
    pub at: Timestamp,
}

/// What an enforcement module makes of a device, by its own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalModule {
    /// Which.
    pub module: String,
    /// Its version.
    pub version: u16,
    /// `met`, `unmet` or `unknown`.
    pub verdict: String,
    /// Why.
    pub why: String,
}

/// With whom a device is paired, or might be, by its own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalPairing {
    /// Which.
    #[schema(value_type = schema::EntryId)]
    pub pairing_id: EntryId,
    /// With whom: `user:NAME` or `kai:ID`.
    pub with: String,
    /// `proposed`, `paired` or `ended`.
    pub state: String,
    /// How far an agent is trusted.
    pub trust_level: String,
    /// Whether this device has confirmed it.
    pub device_confirmed: bool,
    /// Whether the other side has.
    pub partner_confirmed: bool,
    /// Grants under it.
    pub grants: u64,
}

impl Kind for LocalPairing {
    const KIND: &'static str = "LocalPairing";
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalPairings {
    /// Those that are not over.
    pub pairings: Vec<LocalPairing>,
}

impl Kind for LocalPairings {
    const KIND: &'static str = "LocalPairings";
}

/// What a person at a device says about a pairing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerPairing {
    /// With whom, or the id of the pairing.
    pub with: String,
    /// `true` confirms it, `false` ends it.
    pub confirm: bool,
}
