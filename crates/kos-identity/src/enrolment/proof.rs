//! What is signed to be let in, and the code that people compare.
//!
//! Every proof is a signature over deterministic CBOR that begins with a domain and the TLS exporter of the connection it
//! travels on, so that it is worth nothing on another connection, for another purpose or for another request. The
//! argument is written out in `docs/spec/enrolment.md`, section "Why the proofs hold".
//!
//! Source: `docs/spec/enrolment.md` PRF-1 to PRF-9; vectors in `tests/vectors/enrolment`.

use kos_base::{
    DeviceId, EntryId, KeyId, PublicKey, Role, SecurityProfile, cbor,
    digest::{Sha256, sha256_parts},
};
use minicbor::{Encode, bytes::ByteArray};

use super::message::{Bytes32, COMMITMENT_DOMAIN};

/// 32 bytes exported from the TLS connection under the label of its purpose.
pub type Exporter = [u8; 32];

/// What a ticket's key signs.
#[derive(Debug)]
pub struct TicketProof<'a> {
    /// Of the connection.
    pub exporter: &'a Exporter,
    /// Key id of the identity key on whose connection it travels.
    pub identity: KeyId,
    /// SHA-256 of the request for a certificate.
    pub csr: &'a Sha256,
    /// Which ticket.
    pub ticket: EntryId,
    /// What the device asks for.
    pub role: Role,
    /// What the device asks for.
    pub profile: SecurityProfile,
}

#[derive(Encode)]
struct TicketProofWire<'a> {
    #[n(0)]
    domain: &'a str,
    #[n(1)]
    exporter: Bytes32,
    #[n(2)]
    identity: KeyId,
    #[n(3)]
    csr: Bytes32,
    #[n(4)]
    ticket: EntryId,
    #[n(5)]
    role: Role,
    #[n(6)]
    profile: SecurityProfile,
}

impl TicketProof<'_> {
    /// The bytes that are signed.
    pub fn to_be_signed(&self) -> Vec<u8> {
        cbor::encode(&TicketProofWire {
            domain: "kos ticket proof v1",
            exporter: ByteArray::from(*self.exporter),
            identity: self.identity,
            csr: ByteArray::from(*self.csr),
            ticket: self.ticket,
            role: self.role,
            profile: self.profile,
        })
    }
}

/// What the old key (or the identity key) and the new key sign for a renewal or a recovery.
#[derive(Debug)]
pub struct RenewalProof<'a> {
    /// Of the connection.
    pub exporter: &'a Exporter,
    /// The authority's nonce.
    pub challenge: &'a Sha256,
    /// Whose.
    pub device: &'a DeviceId,
    /// SHA-256 of the request for a certificate.
    pub csr: &'a Sha256,
    /// The last issue number that the device knows.
    pub issue: u32,
    /// What the keys vouch for.
    pub kind: RenewalKind,
}

/// Whether a certificate in service is renewed or an identity is recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalKind {
    /// By the old operational key.
    Renewal,
    /// By the identity key.
    Recovery,
}

#[derive(Encode)]
struct RenewalProofWire<'a> {
    #[n(0)]
    domain: &'a str,
    #[n(1)]
    exporter: Bytes32,
    #[n(2)]
    challenge: Bytes32,
    #[n(3)]
    device: &'a DeviceId,
    #[n(4)]
    csr: Bytes32,
    #[n(5)]
    issue: u32,
}

impl RenewalProof<'_> {
    /// The bytes that are signed.
    pub fn to_be_signed(&self) -> Vec<u8> {
        cbor::encode(&RenewalProofWire {
            domain: match self.kind {
                RenewalKind::Renewal => "kos renewal proof v1",
                RenewalKind::Recovery => "kos recovery proof v1",
            },
            exporter: ByteArray::from(*self.exporter),
            challenge: ByteArray::from(*self.challenge),
            device: self.device,
            csr: ByteArray::from(*self.csr),
            issue: self.issue,
        })
    }
}

/// Commits to a nonce before the other side has chosen its own.
pub fn commitment(nonce: &[u8; 32]) -> Sha256 {
    sha256_parts(COMMITMENT_DOMAIN, [nonce.as_slice()])
}

/// The six digits that device and authority each compute and a person compares.
///
/// The device has committed to its nonce before it sees the authority's, so somebody in the middle has one guess in a
/// million for each attempt. Attempts are bounded on both sides: the shell counts greetings that are broken off against
/// their source, and a device computes only a few codes before a person has to step in.
pub fn comparison_code(
    device: &PublicKey,
    authority_root: KeyId,
    device_nonce: &[u8; 32],
    authority_nonce: &[u8; 32],
) -> String {
    let hash = sha256_parts(
        "kos comparison code v1",
        [device.spki_der(), authority_root.as_bytes().as_slice(), device_nonce, authority_nonce],
    );
    let [a, b, c, d, e, f, g, h, ..] = hash;
    // 2^64 is so much larger than 10^6 that the remainder is uniform to one part in 10^13.
    format!("{:06}", u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 1_000_000)
}
