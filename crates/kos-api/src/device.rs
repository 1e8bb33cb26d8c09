//! A device as the registry knows it.

use kos_base::{
    Capability, Channel, DeviceId, DeviceState, EntryId, EvidenceTier, GroupPath, KeyId, KidSubject, Name,
    Role, SecurityProfile, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    envelope::Kind,
    hex::{Digest, Serial},
    schema,
    text::Tag,
};

/// One device, from the lobby to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its name for ever.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// What people call it.
    #[schema(value_type = Option<schema::Name>)]
    pub name: Option<Name>,
    /// What it is for; nothing in the lobby, before somebody decides.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Its security profile.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
    /// What it has proven about its keys and its boot.
    #[schema(value_type = schema::EvidenceTier)]
    pub evidence_tier: EvidenceTier,
    /// Where it stands in the fleet.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// Whose it is.
    #[schema(value_type = Option<schema::Name>)]
    pub user: Option<Name>,
    /// Where it is in its life.
    #[schema(value_type = schema::DeviceState)]
    pub state: DeviceState,
    /// Why it is in this state.
    pub state_reason: Option<String>,
    /// Since when it is in this state.
    #[schema(value_type = schema::Timestamp)]
    pub state_since: Timestamp,
    /// Whether it may never come back.
    pub banned: bool,
    /// Whether it has a live link, or sent a heartbeat within two intervals.
    pub online: bool,
    /// Its firmware channel.
    #[schema(value_type = schema::Channel)]
    pub channel: Channel,
    /// What it offers.
    #[schema(value_type = Vec<schema::Capability>)]
    pub capabilities: Vec<Capability>,
    /// Of whom its kIDs speak: this device under its current certificate.
    #[schema(value_type = Option<schema::KidSubject>)]
    pub kid_subject: Option<KidSubject>,
    /// The key that proves continuity.
    #[schema(value_type = schema::KeyId)]
    pub identity_key_id: KeyId,
    /// The key of the current certificate.
    #[schema(value_type = Option<schema::KeyId>)]
    pub operational_key_id: Option<KeyId>,
    /// Serial of the current certificate.
    #[schema(value_type = Option<schema::Serial>)]
    pub cert_serial: Option<Serial>,
    /// When the current certificate ends.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub cert_not_after: Option<Timestamp>,
    /// When it was enrolled.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub enrolled_at: Option<Timestamp>,
    /// When its last heartbeat was accepted.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub last_heartbeat_at: Option<Timestamp>,
    /// What its last heartbeat said.
    pub health: Option<Health>,
    /// The version of its daemon.
    pub version: Option<String>,
    /// The index of the last log entry about it.
    pub last_audit_index: Option<u64>,
    /// Marks to find it by.
    #[schema(value_type = Vec<schema::Tag>)]
    pub tags: Vec<Tag>,
    /// Whether an operator allowed channel `dev` for it.
    pub dev_allowed: bool,
    /// What it says of its image.
    pub image: Option<ImageVerdict>,
    /// How often it may still come back after its certificate has run out.
    pub recoveries_left: Option<u32>,
    /// The decommissioned device that this hardware was before.
    #[schema(value_type = Option<schema::DeviceId>)]
    pub successor_of: Option<DeviceId>,
    /// What let it in, when it was neither a ticket nor a person: a voucher, a factory certificate, or the word of a device.
    pub admitted_by: Option<String>,
    /// What an operator needs for a decision while it waits.
    pub lobby: Option<Lobby>,
    /// How far its quarantine is, from the order until it is in service again.
    pub quarantine: Option<Quarantine>,
}

impl Kind for Device {
    const KIND: &'static str = "Device";
}

/// What a heartbeat says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Load of all processors since the last heartbeat, 0 to 100.
    pub cpu_percent: Option<f64>,
    /// Memory in use.
    pub ram_used_bytes: Option<u64>,
    /// Memory there is.
    pub ram_total_bytes: Option<u64>,
    /// Since the machine started.
    pub uptime_seconds: Option<u64>,
    /// Failed health checks of the role profile and other faults, worst first.
    pub errors: Vec<String>,
}

/// What a device found when it checked its image manifest. An altered image never gets this far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageVerdict {
    /// Signed, and every file fits.
    Verified,
    /// There is no manifest.
    Unverified,
}

/// A device that waits for a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lobby {
    /// Six digits that the device shows as well, if it came without a ticket.
    #[schema(example = "042137")]
    pub comparison_code: Option<String>,
    /// The role that it asks for.
    #[schema(value_type = Option<schema::Role>)]
    pub requested_role: Option<Role>,
    /// The profile that it asks for.
    #[schema(value_type = Option<schema::SecurityProfile>)]
    pub requested_profile: Option<SecurityProfile>,
    /// From where it came.
    pub source: String,
    /// Since when it waits.
    #[schema(value_type = schema::Timestamp)]
    pub since: Timestamp,
    /// When it is forgotten.
    #[schema(value_type = schema::Timestamp)]
    pub until: Timestamp,
    /// Its hardware addresses.
    pub macs: Vec<String>,
    /// Its serials.
    pub serials: Vec<String>,
    /// Devices that claim the same hardware.
    #[schema(value_type = Vec<schema::DeviceId>)]
    pub clones: Vec<DeviceId>,
    /// Why its voucher, its factory certificate or the word of a device does not let it in.
    pub withheld: Option<String>,
}

/// A bundle that a device in quarantine sealed for guardians.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForensicBundle {
    /// Of which.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// The order that it obeyed; its first part is the moment of the order.
    #[schema(value_type = schema::EntryId)]
    pub order_id: EntryId,
    /// Whether the device is under this order still.
    pub current: bool,
    /// How many bytes it has.
    pub bytes: u64,
    /// SHA-256 of them.
    #[schema(value_type = schema::Digest)]
    pub sha256: Digest,
}

impl Kind for ForensicBundle {
    const KIND: &'static str = "ForensicBundle";
}

/// A quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// Names the order; nothing when the authority was restored since from a backup that is older.
    #[schema(value_type = Option<schema::EntryId>)]
    pub order_id: Option<EntryId>,
    /// When it was ordered.
    #[schema(value_type = schema::Timestamp)]
    pub ordered_at: Timestamp,
    /// When the device said that it has obeyed.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub confirmed_at: Option<Timestamp>,
    /// SHA-256 of the sealed bundle that came with it.
    #[schema(value_type = Option<schema::Digest>)]
    pub forensics_sha256: Option<Digest>,
    /// Its length.
    pub forensics_bytes: Option<u32>,
    /// How many people have approved that it comes back.
    pub approvals: u32,
    /// How many have to.
    pub approvals_needed: u32,
}

/// Which devices a list holds. Everything given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceFilter {
    /// Only those in this state.
    #[schema(value_type = Option<schema::DeviceState>)]
    pub state: Option<DeviceState>,
    /// Only those of this role.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Only those of this profile.
    #[schema(value_type = Option<schema::SecurityProfile>)]
    pub profile: Option<SecurityProfile>,
    /// Only those of this channel.
    #[schema(value_type = Option<schema::Channel>)]
    pub channel: Option<Channel>,
    /// Only those of this group and the groups below it.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// Only those with this tag.
    #[schema(value_type = Option<schema::Tag>)]
    pub tag: Option<Tag>,
    /// Only those that are online, or that are not.
    pub online: Option<bool>,
    /// Most items of the page, 1 to 500; 100 when not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}
