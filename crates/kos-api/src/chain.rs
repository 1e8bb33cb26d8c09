//! The identity of a device, from its certificate to the root, with every check that was made.

use kos_base::{DeviceId, EntryId, KeyId, KidSubject, Mac, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    envelope::Kind,
    hex::{Digest, Serial},
    schema,
};

/// The chain of a device and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityChain {
    /// Which device; nothing when a file was judged that names none.
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device_id: Option<DeviceId>,
    /// Device first, root last.
    pub certificates: Vec<Certificate>,
    /// The device's current kID.
    pub kid: Option<Kid>,
    /// What the device id was computed from, so that anyone can compute it again.
    pub device_id_inputs: Option<DeviceIdInputs>,
    /// What the authority says of the device's certificate.
    pub revocation: Revocation,
    /// What was checked, in order: `chain`, `validity`, `extension`, `device-id`, `kid-signature`,
    /// `kid-confirmation`, `revocation`.
    pub checks: Vec<ChainCheck>,
    /// Whether every check holds.
    pub valid: bool,
}

impl Kind for IdentityChain {
    const KIND: &'static str = "IdentityChain";
}

/// What a device id is a hash of; see `docs/spec/identity.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceIdInputs {
    /// The UUIDv7 that the authority minted at first contact.
    #[schema(value_type = schema::EntryId)]
    pub uuid: EntryId,
    /// Hardware addresses, as the device told them.
    #[schema(value_type = Vec<String>)]
    pub macs: Vec<Mac>,
    /// Serials of the hardware, as the device told them.
    pub serials: Vec<String>,
    /// The device's identity key.
    #[schema(value_type = schema::KeyId)]
    pub identity_key_id: KeyId,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// RFC 4514.
    #[schema(example = "CN=kdev-7f4ac30123456789")]
    pub subject: String,
    /// RFC 4514.
    pub issuer: String,
    /// Its number.
    #[schema(value_type = schema::Serial)]
    pub serial: Serial,
    /// SHA-256 of its DER.
    #[schema(value_type = schema::Digest)]
    pub sha256: Digest,
    /// The key that it certifies.
    #[schema(value_type = schema::KeyId)]
    pub key_id: KeyId,
    /// That key's algorithm: `ed25519`, `ecdsa-p256`, `ecdsa-p384`.
    pub algorithm: String,
    /// From when it is valid.
    #[schema(value_type = schema::Timestamp)]
    pub not_before: Timestamp,
    /// Until when it is valid.
    #[schema(value_type = schema::Timestamp)]
    pub not_after: Timestamp,
    /// The certificate itself.
    pub pem: String,
}

/// A Kind Identity Token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kid {
    /// Of whom it speaks.
    #[schema(value_type = schema::KidSubject)]
    pub subject: KidSubject,
    /// `k:` and the authority.
    pub issuer: String,
    /// The kID signer's key.
    #[schema(value_type = schema::KeyId)]
    pub key_id: KeyId,
    /// When it was issued.
    #[schema(value_type = schema::Timestamp)]
    pub issued_at: Timestamp,
    /// When it ends.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: Timestamp,
    /// The token itself: base64url without padding of a COSE_Sign1.
    pub cwt: String,
}

/// What a revocation list says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The answer.
    pub status: RevocationStatus,
    /// The reason of RFC 5280 in kebab case, such as `key-compromise`.
    pub reason: Option<String>,
    /// The list that was asked.
    pub crl_number: Option<u64>,
    /// When that list was made.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub this_update: Option<Timestamp>,
}

/// Whether a certificate may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationStatus {
    /// It is not on the list.
    Good,
    /// It is on the list for good.
    Revoked,
    /// It is on the list, and may come off again.
    Suspended,
    /// There is no list to ask.
    Unknown,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainCheck {
    /// Which.
    pub name: ChainCheckName,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub detail: Option<String>,
}

/// The checks of an identity, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChainCheckName {
    /// Each certificate is signed by the next, and the last is the root.
    Chain,
    /// Each is valid now.
    Validity,
    /// The kOS extension is there and says what the registry says.
    Extension,
    /// Subject, SPIFFE id and extension name the same device.
    DeviceId,
    /// The kID is signed by the authority's kID signer and has not ended.
    KidSignature,
    /// The kID is confirmed by the key of the certificate.
    KidConfirmation,
    /// The certificate is not on the issuer's list.
    Revocation,
}

impl ChainCheckName {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Chain,
        Self::Validity,
        Self::Extension,
        Self::DeviceId,
        Self::KidSignature,
        Self::KidConfirmation,
        Self::Revocation,
    ];
}
