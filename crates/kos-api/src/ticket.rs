//! Enrolment tickets.

use kos_base::{DeviceId, EntryId, GroupPath, KeyId, Name, Role, SecurityProfile, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    envelope::Kind,
    schema,
    text::{Reason, SecretText},
};

/// Asks for a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateTicket {
    /// The role that a device gets with it.
    #[schema(value_type = schema::Role)]
    pub role: Role,
    /// The strictest profile that a device gets with it; SEC-2 when not given.
    #[schema(value_type = Option<schema::SecurityProfile>)]
    pub profile_cap: Option<SecurityProfile>,
    /// The group that a device gets with it.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// What the device will be called.
    #[schema(value_type = Option<schema::Name>)]
    pub device_name: Option<Name>,
    /// How many devices may use it; 1 when not given.
    pub uses: Option<u32>,
    /// How long it lives; 600 when not given. More than 600 needs a reason.
    pub lifetime_seconds: Option<u64>,
    /// Why it is as it is.
    #[schema(value_type = Option<schema::Reason>)]
    pub reason: Option<Reason>,
    /// Only the device with this hardware serial may use it.
    pub bound_serial: Option<String>,
    /// Only the device with this identity key may use it.
    #[schema(value_type = Option<schema::KeyId>)]
    pub bound_key_id: Option<KeyId>,
}

impl CreateTicket {
    /// An ordinary ticket for one device of `role`.
    pub const fn for_role(role: Role) -> Self {
        Self {
            role,
            profile_cap: None,
            group: None,
            device_name: None,
            uses: None,
            lifetime_seconds: None,
            reason: None,
            bound_serial: None,
            bound_key_id: None,
        }
    }
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Its id, which is no secret.
    #[schema(value_type = schema::EntryId)]
    pub ticket_id: EntryId,
    /// The ticket itself: `kos1.` and base64url. Only the answer that creates it has it; nobody can show it again.
    #[schema(value_type = Option<String>)]
    pub text: Option<SecretText>,
    /// `https://HOST:PORT/enroll#TEXT`. As secret as the text, and only where the text is.
    #[schema(value_type = Option<String>)]
    pub url: Option<SecretText>,
    /// What the device will be called.
    #[schema(value_type = Option<schema::Name>)]
    pub device_name: Option<Name>,
    /// The role that a device gets with it.
    #[schema(value_type = schema::Role)]
    pub role: Role,
    /// The strictest profile that a device gets with it.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile_cap: SecurityProfile,
    /// The group that a device gets with it.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// How many devices may use it in all.
    pub uses: u32,
    /// When it ends.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: Timestamp,
    /// Whether it can be used now.
    pub state: TicketState,
    /// How many devices may still use it.
    pub uses_left: u32,
    /// When it was made.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The devices that came with it, in order.
    #[schema(value_type = Vec<schema::DeviceId>)]
    pub devices: Vec<DeviceId>,
}

impl Kind for Ticket {
    const KIND: &'static str = "Ticket";
}

/// Whether a ticket can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TicketState {
    /// It can.
    Open,
    /// Every use was taken.
    Spent,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

/// Which tickets a list holds, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketFilter {
    /// Only those in this state.
    pub state: Option<TicketState>,
    /// Most items of the page, 1 to 500; 100 when not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}
