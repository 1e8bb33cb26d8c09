//! Attestation: what was verified of a device's TPM, whose TPMs count, and what good starts look like.

use kos_base::{DeviceId, EvidenceTier, KeyId, Name, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema};

/// What was verified last of a device's TPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// Whose.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// What it came to.
    #[schema(value_type = schema::EvidenceTier)]
    pub evidence_tier: EvidenceTier,
    /// Id of the endorsement key.
    #[schema(value_type = schema::KeyId)]
    pub ek: KeyId,
    /// Who vouches for it, or why nobody does.
    pub vouched_by: String,
    /// The golden set that the start fits.
    pub golden: Option<String>,
    /// What was measured.
    pub pcrs: Vec<Pcr>,
    /// How often the TPM was switched on.
    pub reset_count: u32,
    /// How often it woke up since then.
    pub restart_count: u32,
    /// When.
    #[schema(value_type = schema::Timestamp)]
    pub verified_at: Timestamp,
}

impl Kind for Attestation {
    const KIND: &'static str = "Attestation";
}

/// A PCR of the SHA-256 bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pcr {
    /// Which.
    pub number: u32,
    /// Its value in lower-case hex.
    pub value: String,
}

/// An endorsement key that counts without a certificate of its maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedEk {
    /// Its id: SHA-256 of its SubjectPublicKeyInfo.
    #[schema(value_type = schema::KeyId)]
    pub ek: KeyId,
    /// What the operator said of it.
    pub note: String,
    /// When it was listed.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
}

impl Kind for ListedEk {
    const KIND: &'static str = "ListedEk";
}

/// Lists an endorsement key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddEk {
    /// Its id.
    #[schema(value_type = schema::KeyId)]
    pub ek: KeyId,
    /// Where it comes from, for whoever reads the list: up to 100 characters.
    #[serde(default)]
    pub note: String,
}

/// What a good start looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Golden {
    /// What it is called.
    #[schema(value_type = schema::Name)]
    pub name: Name,
    /// The PCRs and their values.
    pub pcrs: Vec<Pcr>,
    /// The device that showed them.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// When it was made.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
}

impl Kind for Golden {
    const KIND: &'static str = "Golden";
}

/// A device that judges others for SEC-4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verifier {
    /// Which.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// When it was named.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
    /// Why it cannot judge now, if so. Whether it has lists of its own shows only when it is asked.
    pub hindrance: Option<String>,
}

impl Kind for Verifier {
    const KIND: &'static str = "Verifier";
}

/// Lets a device judge others for SEC-4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddVerifier {
    /// The device, by its whole id.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
}

/// Makes a golden set of what a device showed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddGolden {
    /// What it is to be called.
    #[schema(value_type = schema::Name)]
    pub name: Name,
    /// The device, by its whole id.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// When what it shows was verified, as whoever asks has seen it: after another start nothing is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Timestamp>)]
    pub verified_at: Option<Timestamp>,
}
