//! Security profiles: the guardrails that are compiled in, and what they decide for a device.

use kos_base::{DeviceId, EvidenceTier, SecurityProfile};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema};

/// What holds for every device of one security profile. Compiled in: nothing widens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyProfile {
    /// Which profile.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
    /// For what it is.
    pub purpose: String,
    /// What may be negotiated in TLS 1.3, as RFC 8446 names it.
    pub cipher_suites: Vec<String>,
    /// What a device shows: `identity-key`, `certificate` or `hardware-key`.
    pub authentication: String,
    /// How it comes to another version. There is no door for updates yet.
    pub updates: String,
    /// What it may do, in a few words.
    pub scope: String,
    /// For what messages may come from it or go to it.
    pub messages: Vec<String>,
    /// With whom it speaks through a relay: `none`, `fleet` or `verified`.
    pub peers: String,
    /// The least that it has proven.
    #[schema(value_type = schema::EvidenceTier)]
    pub evidence_needed: EvidenceTier,
    /// What is asked of its boot: `any` or `verified`.
    pub boot: String,
    /// How long a certificate lives.
    pub certificate_days: u32,
    /// How often a device may come back after its certificate ran out.
    pub recoveries: u32,
}

impl Kind for PolicyProfile {
    const KIND: &'static str = "PolicyProfile";
}

/// How an enforcement module is wanted for a security profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModulePolicy {
    /// Which module.
    pub module: String,
    /// Its version.
    pub version: u16,
    /// For which profile.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
    /// `off`, `advisory` or `mandatory`.
    pub stance: String,
    /// What it asks.
    pub demand: String,
    /// On what its verdict rests: `proof`, `compared` (with what is known) or `claim` of the device.
    pub basis: String,
}

impl Kind for ModulePolicy {
    const KIND: &'static str = "ModulePolicy";
}

/// Wants an enforcement module in another way for a security profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetModule {
    /// Which module.
    pub module: String,
    /// For which profile.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
    /// `off`, `advisory` or `mandatory`.
    pub stance: String,
}

/// What an enforcement module makes of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleFinding {
    /// Of which.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// Which module.
    pub module: String,
    /// Its version.
    pub version: u16,
    /// How it is wanted for the profile of the device.
    pub stance: String,
    /// `met`, `unmet` or `unknown`, which is no better where it is mandatory.
    pub verdict: String,
    /// On what the verdict rests: `proof`, `compared` or `claim`.
    pub basis: String,
    /// Why.
    pub why: String,
}

impl Kind for ModuleFinding {
    const KIND: &'static str = "ModuleFinding";
}

/// What was decided about one request of one device, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDecision {
    /// Which device.
    #[schema(value_type = schema::DeviceId)]
    pub device_id: DeviceId,
    /// The profile that decided: of the certificate in service, or of the record where records are decided on.
    #[schema(value_type = schema::SecurityProfile)]
    pub profile: SecurityProfile,
    /// What the device has proven.
    #[schema(value_type = schema::EvidenceTier)]
    pub evidence_tier: EvidenceTier,
    /// The door: `tls`, `entry`, `certificate`, `kid`, `message`, `peer`, `api`, `config`, or `send` for what manifests say.
    pub door: String,
    /// What is asked there, such as `message/command`.
    pub request: String,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The rule that decided, either way; `manifest` where the manifests did.
    pub rule: String,
    /// The policy of a manifest that decided, if one did.
    pub policy: Option<String>,
    /// The code of a refusal.
    pub code: Option<String>,
    /// Why, in one sentence.
    pub why: String,
}

impl Kind for PolicyDecision {
    const KIND: &'static str = "PolicyDecision";
}

/// What to explain; everything when nothing is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyQuestion {
    /// A door, or a request such as `message/command` or `certificate/renewal`.
    pub door: Option<String>,
}
