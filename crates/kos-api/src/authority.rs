//! The authority itself: how it is, who it is, where it listens, what it has revoked.

use std::collections::BTreeMap;

use kos_base::{AuthorityName, KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    alert::AlertStatus, audit::Assurance, chain::Certificate, envelope::Kind, hex::Digest,
    keys::KeyProtection, mirror::MirrorStatus, schema, witness::WitnessStanding,
};

/// How the authority is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    #[schema(value_type = schema::AuthorityName)]
    pub authority: AuthorityName,
    /// Its version.
    pub version: String,
    /// Its clock.
    #[schema(value_type = schema::Timestamp)]
    pub now: Timestamp,
    /// Since when it runs.
    #[schema(value_type = schema::Timestamp)]
    pub started_at: Timestamp,
    /// Devices by state; states without any are 0.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub devices: BTreeMap<kos_base::DeviceState, u64>,
    /// Devices that are online.
    pub online: u64,
    /// Tickets that can be used now.
    pub open_tickets: u64,
    /// The audit log.
    pub log: LogStatus,
    /// The ports that it serves.
    pub ports: Ports,
    /// Whether it listens beyond this machine.
    pub reachable: Reach,
    /// What keeps its private keys; an earlier version does not say.
    pub keys: Option<KeyProtection>,
    /// Alerts and who is told; an earlier version does not say.
    pub alerts: Option<AlertStatus>,
    /// Copies of the log elsewhere; an earlier version does not say.
    pub mirrors: Option<MirrorStatus>,
}

impl Kind for Status {
    const KIND: &'static str = "Status";
}

/// From where an authority can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// From this machine only.
    Loopback,
    /// From others as well.
    Network,
}

/// How the audit log is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogStatus {
    /// Entries that the newest checkpoint covers.
    pub size: u64,
    /// Root of the tree over them.
    #[schema(value_type = schema::Digest)]
    pub root_hash: Digest,
    /// When it was signed.
    #[schema(value_type = schema::Timestamp)]
    pub checkpoint_time: Timestamp,
    /// What it is worth.
    pub assurance: Assurance,
    /// Who cosigns it.
    pub witnessed: Option<WitnessStanding>,
}

/// Ports of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ports {
    /// Health, metrics and, later, pages: http on loopback.
    pub web: u16,
    /// API, enrolment and KLP: TLS, and QUIC on the same number.
    pub tls: u16,
    /// Certificates and revocation lists: http.
    pub pki: u16,
}

/// Who the authority is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// Its name and SPIFFE trust domain.
    #[schema(value_type = schema::AuthorityName)]
    pub authority: AuthorityName,
    /// When it was made.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// Its root certificate.
    pub root: Certificate,
    /// What a device pins: the root's key and, when there is one, a spare.
    #[schema(value_type = Vec<schema::KeyId>)]
    pub pins: Vec<KeyId>,
    /// Its issuing CAs, the ordinary one first.
    pub issuers: Vec<Certificate>,
    /// The key that signs kIDs.
    #[schema(value_type = schema::KeyId)]
    pub kid_key_id: KeyId,
    /// PEM of that key's SubjectPublicKeyInfo.
    pub kid_key: String,
    /// `<authority>/klog`.
    pub log_origin: String,
    /// The key that verifies the log, as a C2SP verifier key.
    pub log_verifier_key: String,
    /// Where it listens.
    pub listen: Listen,
}

impl Kind for Authority {
    const KIND: &'static str = "Authority";
}

/// Where an authority listens. Loopback until somebody says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listen {
    /// The address of a network interface, or `0.0.0.0` or `::` for all.
    #[schema(example = "127.0.0.1")]
    pub address: String,
    /// The host name or address by which devices reach it.
    pub advertise: Option<String>,
}

/// Has an authority listen elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetListen {
    /// The address of a network interface, or `0.0.0.0` or `::` for all.
    #[schema(example = "0.0.0.0")]
    pub address: String,
    /// The host name or address by which devices reach it; goes into tickets and certificates.
    #[schema(example = "kos.example.org")]
    pub advertise: Option<String>,
}

/// One revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Crl {
    /// RFC 4514 name of the CA that signed it.
    pub issuer: String,
    /// Key of that CA.
    #[schema(value_type = schema::KeyId)]
    pub issuer_key_id: KeyId,
    /// Its number, which only rises.
    pub number: u64,
    /// When it was made.
    #[schema(value_type = schema::Timestamp)]
    pub this_update: Timestamp,
    /// When the next one is due.
    #[schema(value_type = schema::Timestamp)]
    pub next_update: Timestamp,
    /// How many certificates it names.
    pub entries: u64,
    /// SHA-256 of its DER.
    #[schema(value_type = schema::Digest)]
    pub sha256: Digest,
    /// Where everybody can get it.
    pub url: Option<String>,
}

impl Kind for Crl {
    const KIND: &'static str = "Crl";
}
