//! Vouchers, the makers that sign them, and nodes that vouch.

use kos_base::{
    AuthorityName, DeviceId, EntryId, EvidenceTier, GroupPath, KeyId, Name, Role, SecurityProfile, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema};

/// A maker that is trusted, and on which terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Maker {
    /// What operators call it.
    #[schema(value_type = schema::Name)]
    pub name: Name,
    /// Key id of the key that signs its vouchers.
    #[schema(value_type = Option<schema::KeyId>)]
    pub key_id: Option<KeyId>,
    /// Key ids of the CAs of its factory certificates.
    #[schema(value_type = Vec<schema::KeyId>)]
    pub ca_key_ids: Vec<KeyId>,
    /// What its factory certificates are good for.
    pub certificates: FactoryCertificates,
    /// The role of its devices; what they ask for where it is absent.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Their group.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// Their highest profile.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile_cap: SecurityProfile,
    /// The least evidence that they must show to be let in.
    #[schema(value_type = schema::EvidenceTier)]
    pub evidence_tier: EvidenceTier,
    /// When it was trusted.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
}

impl Kind for Maker {
    const KIND: &'static str = "Maker";
}

/// What factory certificates of a maker are good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FactoryCertificates {
    /// They prove the serial that a voucher names.
    #[default]
    Name,
    /// They let in every device of the maker.
    Admit,
}

/// Trusts a maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddMaker {
    /// What it is to be called.
    #[schema(value_type = schema::Name)]
    pub name: Name,
    /// PEM of the public key that signs its vouchers.
    pub key: Option<String>,
    /// PEM of the CAs of its factory certificates, at most four.
    pub cas: Option<String>,
    /// What its factory certificates are good for.
    #[serde(default)]
    pub certificates: FactoryCertificates,
    /// The role of its devices.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Their group.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// Their highest profile; SEC-2 when not given.
    #[schema(value_type = Option<schema::SecurityProfile>)]
    pub profile_cap: Option<SecurityProfile>,
    /// The least evidence that they must show; `key-on-device` when not given.
    #[schema(value_type = Option<schema::EvidenceTier>)]
    pub evidence_tier: Option<EvidenceTier>,
}

/// A voucher that was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Voucher {
    /// Names it: 32 characters of lower-case hex.
    pub voucher_id: String,
    /// The maker who signed it, if it is trusted now.
    #[schema(value_type = Option<schema::Name>)]
    pub maker: Option<Name>,
    /// Key id of that maker.
    #[schema(value_type = schema::KeyId)]
    pub maker_key_id: KeyId,
    /// Which device: `key:`, `ek:` or `serial:` and what it is.
    pub subject: String,
    /// What became of it.
    pub state: VoucherState,
    /// The device that it let in.
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device_id: Option<DeviceId>,
    /// Root of the authority that the device was passed on to.
    #[schema(value_type = Option<schema::KeyId>)]
    pub endorsed_to: Option<KeyId>,
    /// From when on it lets nobody in; nothing for one that does not end.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub expires_at: Option<Timestamp>,
    /// When it was imported.
    #[schema(value_type = schema::Timestamp)]
    pub imported_at: Timestamp,
    /// The voucher with its endorsements in base64, where one was asked for.
    pub file: Option<String>,
}

impl Kind for Voucher {
    const KIND: &'static str = "Voucher";
}

/// What became of a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VoucherState {
    /// Its device has not come.
    Waiting,
    /// Its device has come.
    Spent,
    /// It was passed on to another owner.
    Endorsed,
    /// Its time is over.
    Expired,
    /// It came back with a backup, and may have been spent since, or its device was turned away.
    Void,
}

/// Imports a voucher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportVoucher {
    /// The file in base64.
    pub file: String,
}

/// Passes a device on that has not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndorseVoucher {
    /// Root of the authority of the next owner.
    #[schema(value_type = schema::KeyId)]
    pub pin: KeyId,
    /// PEM of the public key by which that owner endorses.
    pub key: String,
}

/// What a maker, or the owner before, has to put into a voucher for this authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VoucherOwner {
    /// Its name.
    #[schema(value_type = schema::AuthorityName)]
    pub authority: AuthorityName,
    /// Key id of its root.
    #[schema(value_type = schema::KeyId)]
    pub pin: KeyId,
    /// PEM of the public key by which it endorses.
    pub key: String,
}

impl Kind for VoucherOwner {
    const KIND: &'static str = "VoucherOwner";
}

/// A device that may vouch for new ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VouchingNode {
    /// Names the grant.
    #[schema(value_type = schema::EntryId)]
    pub grant_id: EntryId,
    /// Who may vouch.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// The highest profile that it may give.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile_cap: SecurityProfile,
    /// The role of the devices that it lets in.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Their group.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
    /// For how many it has vouched.
    pub uses: u32,
    /// For how many it may.
    pub uses_max: u32,
    /// When it was granted.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// Until when it counts.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: Timestamp,
    /// Whether it counts now.
    pub state: VouchingState,
    /// The signed grant in base64, for the node; with the answer that made it.
    pub file: Option<String>,
}

impl Kind for VouchingNode {
    const KIND: &'static str = "VouchingNode";
}

/// Whether a grant to vouch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VouchingState {
    /// It does.
    Valid,
    /// It was used as often as may be.
    Spent,
    /// Its time is over.
    Expired,
    /// An operator withdrew it.
    Withdrawn,
}

/// Lets a device vouch for new ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddVouchingNode {
    /// The device, by its whole id. It must be in service.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// For how many devices, 1 to 1000.
    pub uses: u32,
    /// The highest profile that it may give; not above its own.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile_cap: SecurityProfile,
    /// For how long, in seconds; at most 90 days.
    pub lifetime_seconds: u64,
    /// The role of the devices that it lets in.
    #[schema(value_type = Option<schema::Role>)]
    pub role: Option<Role>,
    /// Their group.
    #[schema(value_type = Option<schema::GroupPath>)]
    pub group: Option<GroupPath>,
}

/// Asks a device to vouch for a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VouchFor {
    /// The signed grant in base64.
    pub grant: String,
    /// Identity key of the new device.
    #[schema(value_type = schema::KeyId)]
    pub key_id: KeyId,
    /// The highest profile that it may be given.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
    /// For how long the word counts, in seconds; at most seven days.
    pub lifetime_seconds: u64,
}

/// What a device says of a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vouch {
    /// Who says it.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// Of which identity key.
    #[schema(value_type = schema::KeyId)]
    pub key_id: KeyId,
    /// Until when it counts.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: Timestamp,
    /// The signed word in base64.
    pub file: String,
}

impl Kind for Vouch {
    const KIND: &'static str = "Vouch";
}
