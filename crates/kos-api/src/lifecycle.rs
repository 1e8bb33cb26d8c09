//! What an operator does to a device. Each answer is the device as it then is, except for [`Decommission`].

use kos_base::{Channel, DeviceId, DeviceState, GroupPath, Name, Role, SecurityProfile, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    envelope::Kind,
    schema,
    text::{Reason, Tag},
};

/// Lets a device out of the lobby.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approve {
    /// The comparison code that the device shows. When given it must fit; a device found by broadcast alone is not
    /// approved without it.
    #[schema(example = "042137")]
    pub comparison_code: Option<String>,
    /// Its role; what it asked for when not given.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Its profile; SEC-2 when not given.
    #[schema(value_type = Option<schema::SecurityProfile>)]
    pub profile: Option<SecurityProfile>,
    /// Its group.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// Its name.
    #[schema(value_type = Option<schema::Name>)]
    pub name: Option<Name>,
}

/// Sends a device out of the lobby.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reject {
    /// Why.
    #[schema(value_type = Option<schema::Reason>)]
    pub reason: Option<Reason>,
    /// Whether its key may never come back, and its hardware only when a person approves it in spite of the alert.
    #[serde(default)]
    pub ban: bool,
}

/// Gives a device another role, from its next certificate on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetRole {
    /// The role.
    #[schema(value_type = schema::Role)]
    pub role: Role,
}

/// Gives a device a higher security profile, from its next certificate on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetProfile {
    /// The profile. One that is lower, or that the device has not proven, is refused.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
}

/// Moves a device to another firmware channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetChannel {
    /// The channel.
    #[schema(value_type = schema::Channel)]
    pub channel: Channel,
    /// Marks the device for channel `dev` first.
    #[serde(default)]
    pub allow_dev: bool,
}

/// Calls a device something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rename {
    /// The name.
    #[schema(value_type = schema::Name)]
    pub name: Name,
}

/// Puts marks on a device and takes others away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retag {
    /// Marks to put on.
    #[serde(default)]
    #[schema(value_type = Vec<schema::Tag>)]
    pub add: Vec<Tag>,
    /// Marks to take away.
    #[serde(default)]
    #[schema(value_type = Vec<schema::Tag>)]
    pub remove: Vec<Tag>,
}

/// Stops a device (suspend), holds it as compromised (quarantine), or has it make new keys (regen-cert).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Because {
    /// Why.
    #[schema(value_type = Option<schema::Reason>)]
    pub reason: Option<Reason>,
}

/// Puts a suspended or quarantined device back into service, or lets one return whose recoveries are used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reinstate {
    /// Why.
    #[schema(value_type = Option<schema::Reason>)]
    pub reason: Option<Reason>,
    /// How often it may come back from now on after its certificate has run out.
    pub recoveries: Option<u32>,
}

/// Ends a device for good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecommissionOrder {
    /// Why.
    #[schema(value_type = Option<schema::Reason>)]
    pub reason: Option<Reason>,
    /// Whether its hardware may come back only when a person approves it in spite of the alert.
    #[serde(default)]
    pub ban: bool,
}

/// How far a decommissioning is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decommission {
    /// Which device.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// `decommissioning` until the device has confirmed, then `decommissioned`.
    #[schema(value_type = schema::DeviceState)]
    pub state: DeviceState,
    /// When its certificate was revoked; nothing on a device that could not reach its authority.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub revoked_at: Option<Timestamp>,
    /// The number of the first CRL that says so.
    pub crl_number: Option<u64>,
    /// What is known of its data.
    pub wipe: Wipe,
    /// The log entry that orders it.
    pub audit_index: Option<u64>,
}

impl Kind for Decommission {
    const KIND: &'static str = "Decommission";
}

/// What has been proven about a device's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wipe {
    /// It has not answered.
    Pending,
    /// The key that protected everything was destroyed.
    CryptoErased,
    /// Files were overwritten and removed, as well as the medium allows.
    Cleared,
}
