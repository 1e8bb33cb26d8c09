//! Witnesses: who cosigns the log, how many of them count, and whose logs are cosigned here.

use kos_base::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema};

/// Somebody who cosigns the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// The name in its signature lines.
    pub name: String,
    /// Its key, as a C2SP verifier key.
    pub verifier_key: String,
    /// Where it is asked by tlog-witness; null for a device of the fleet.
    pub url: Option<String>,
    /// Which device it is, asked over its link.
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device_id: Option<DeviceId>,
    /// How it stands.
    pub state: WitnessState,
    /// How many entries the newest checkpoint has that it cosigned.
    pub size: Option<u64>,
    /// When it did so, by its own clock.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub cosigned_at: Option<Timestamp>,
    /// Why it did not cosign when it was last asked, since the authority started; null when it did.
    pub trouble: Option<String>,
    /// When it was added.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
}

impl Kind for Witness {
    const KIND: &'static str = "Witness";
}

/// How a witness stands to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WitnessState {
    /// It has cosigned nothing yet.
    Waiting,
    /// It cosigns.
    Cosigning,
    /// It does not answer.
    Lost,
    /// It holds another tree of the log.
    Disagrees,
}

/// Has somebody cosign the log: a witness at an address with its key, or a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddWitness {
    /// What stands before `/add-checkpoint`.
    #[schema(example = "https://witness.example/w1")]
    pub url: Option<String>,
    /// The key of the witness, as a C2SP verifier key of type 0x04; a device tells its own.
    pub verifier_key: Option<String>,
    /// A device of the fleet that has a link now.
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device_id: Option<DeviceId>,
}

/// How many witnesses a checkpoint needs to count as witnessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WitnessPolicy {
    /// So many.
    pub threshold: u64,
    /// Of so many.
    pub witnesses: u64,
}

impl Kind for WitnessPolicy {
    const KIND: &'static str = "WitnessPolicy";
}

/// Asks for another number of witnesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetWitnessPolicy {
    /// 1 up to as many as there are.
    pub threshold: u64,
}

/// A log of somebody else that is cosigned here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WitnessedLog {
    /// What it is called.
    pub origin: String,
    /// Its key, as a C2SP verifier key.
    pub verifier_key: String,
    /// The key by which our cosignatures are known, as a C2SP verifier key; null when the witness has none.
    pub witness_key: Option<String>,
    /// How many entries the newest checkpoint has that was cosigned.
    pub size: Option<u64>,
    /// When it was.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub cosigned_at: Option<Timestamp>,
    /// When the log was added.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
}

impl Kind for WitnessedLog {
    const KIND: &'static str = "WitnessedLog";
}

/// Has a log of somebody else cosigned here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddWitnessedLog {
    /// Its key, as a C2SP verifier key of type 0x01, whose name is the origin.
    pub verifier_key: String,
}

/// How the log stands with its witnesses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WitnessStanding {
    /// How many there are.
    pub witnesses: u64,
    /// How many of them a checkpoint needs.
    pub threshold: u64,
    /// How many entries the newest checkpoint has that so many cosigned.
    pub witnessed_size: Option<u64>,
    /// When the last of them did.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub witnessed_at: Option<Timestamp>,
    /// Those that do not answer.
    pub lost: Vec<String>,
    /// Those that hold another tree of the log.
    pub disagreeing: Vec<String>,
    /// In a sentence, for people.
    pub summary: String,
}
