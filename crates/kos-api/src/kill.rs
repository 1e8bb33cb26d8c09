//! The kill switch of an authority or a device: armed, fired, reported. Local sockets only.

use kos_base::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema, text::SecretText};

/// What is to become of the program file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KillProgram {
    /// It is deleted last, if it is a regular file of the program's own user.
    Delete,
    /// It stays.
    Keep,
}

/// Arms the switch for ten minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArmKill {
    /// What is to become of the program file. There is no default.
    pub program: KillProgram,
}

/// Fires it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FireKill {
    /// The code that arming has shown; case, hyphens and spaces do not count. The third wrong one disarms.
    #[schema(value_type = String)]
    pub code: SecretText,
}

/// An arming, with the one sight of its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KillArmed {
    /// `authority` or `device`.
    pub subject: String,
    /// Its name, or its device id.
    pub name: String,
    /// What fires it. It is not shown again.
    #[schema(value_type = String, example = "7F4A-C3K9")]
    pub code: SecretText,
    /// Until when it can be fired.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: Timestamp,
    /// What was chosen for the program.
    pub program: KillProgram,
    /// What would be destroyed, in this order.
    pub targets: Vec<String>,
}

impl Kind for KillArmed {
    const KIND: &'static str = "KillArmed";
}

/// How the switch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KillStatus {
    /// `authority` or `device`.
    pub subject: String,
    /// Its name, or its device id.
    pub name: String,
    /// Whether it can be fired.
    pub state: KillState,
    /// Until when it can be fired; null unless it is armed.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub expires_at: Option<Timestamp>,
    /// What was chosen for the program; null unless it is armed.
    pub program: Option<KillProgram>,
    /// Wrong codes that were typed since it was armed.
    pub wrong_codes: u8,
}

impl Kind for KillStatus {
    const KIND: &'static str = "KillStatus";
}

/// Whether it can be fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KillState {
    /// Nothing is armed, or the arming has expired.
    Safe,
    /// It can be fired.
    Armed,
    /// It was fired; there is no way back.
    Fired,
}

/// What was destroyed, and what may be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KillReport {
    /// `authority` or `device`.
    pub subject: String,
    /// Its name, or its device id.
    pub name: String,
    /// When it was fired.
    #[schema(value_type = schema::Timestamp)]
    pub fired_at: Timestamp,
    /// Whether it was written down before the first destruction.
    pub recorded: bool,
    /// The place of the entry in the log of an authority.
    pub audit_index: Option<u64>,
    /// Where the signed notice is; null when there could not be one.
    pub notice: Option<String>,
    /// Who has heard of it: `told`, `unreached`, `nobody`, or `untried` after a power cut.
    pub notified: String,
    /// Everything that was to go, in this order.
    pub targets: Vec<KillTarget>,
    /// What was chosen for the program.
    pub program: KillProgram,
    /// Whether nothing is left of what was to go.
    pub complete: bool,
    /// What stays, and why.
    pub remaining: Vec<String>,
}

impl Kind for KillReport {
    const KIND: &'static str = "KillReport";
}

/// One thing that was to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KillTarget {
    /// Where it was.
    pub path: String,
    /// `purged`, `crypto-erased`, `cleared`, `deleted`, `absent`, or `failed: ` and why.
    pub assurance: String,
}

/// What a death notice says, once its signature was found to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KillNotice {
    /// Whether the key that was demanded signed it, and the checkpoint fits.
    pub ok: bool,
    /// `authority` or `device`.
    pub subject: String,
    /// Its name, or its device id.
    pub name: String,
    /// The authority of a device that had one.
    pub authority: Option<String>,
    /// When it was fired.
    #[schema(value_type = schema::Timestamp)]
    pub fired_at: Timestamp,
    /// The id of the key that signed. Compare it with the one that is known from elsewhere.
    pub key_id: String,
    /// Whether the program was to be deleted.
    pub program: KillProgram,
    /// The place of the last entry in the log.
    pub audit_index: Option<u64>,
    /// The last checkpoint of the log.
    pub checkpoint: Option<String>,
    /// What is wrong with it.
    pub failures: Vec<String>,
}

impl Kind for KillNotice {
    const KIND: &'static str = "KillNotice";
}
