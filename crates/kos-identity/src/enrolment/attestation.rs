//! The three parts of an attestation, as they travel in `Hello`, `Welcome` and `Prove`.
//!
//! Source: `docs/spec/attestation.md` ATT-2 to ATT-4.

use kos_attest::PUBLIC_BYTES_MAX;
use minicbor::{Decode, Encode};

use super::message::{Bytes, Bytes32};

/// Most certificates of an offer: that of the endorsement key and its issuers.
pub const CERTIFICATES_MAX: usize = 5;
/// Longest of them in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

/// The keys of a TPM that is ready to prove itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// TPMT_PUBLIC of the endorsement key.
    #[n(0)]
    pub ek: Bytes,
    /// TPMT_PUBLIC of the attestation key.
    #[n(1)]
    pub ak: Bytes,
    /// DER, that of the endorsement key first; none if the TPM has none.
    #[n(2)]
    pub certificates: Vec<Bytes>,
}

impl Offer {
    /// Whether it is no larger than an honest one.
    pub(crate) fn is_within_limits(&self) -> bool {
        let keys = [&self.ek, &self.ak].into_iter().all(|key| key.len() <= PUBLIC_BYTES_MAX);
        let certificates = self.certificates.iter().all(|der| der.len() <= CERTIFICATE_BYTES_MAX);
        keys && certificates && self.certificates.len() <= CERTIFICATES_MAX
    }
}

/// What only the TPM of both keys opens.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TpmChallenge {
    /// The content of TPM2B_ID_OBJECT.
    #[n(0)]
    pub credential: Bytes,
    /// The content of TPM2B_ENCRYPTED_SECRET.
    #[n(1)]
    pub seed: Bytes,
    /// The PCRs that are to be quoted; bit n is PCR n.
    #[n(2)]
    pub pcrs: u32,
}

/// What a TPM says of itself, of the device's keys and of its start, for one connection.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// By the secret of the challenge.
    #[n(0)]
    pub answer: Bytes32,
    /// Of the identity key.
    #[n(1)]
    pub identity: KeyCertificate,
    /// Of the key that is to be certified.
    #[n(2)]
    pub operational: KeyCertificate,
    /// Of the PCRs.
    #[n(3)]
    pub quote: PcrQuote,
}

/// What the attestation key says of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyCertificate {
    /// TPMT_PUBLIC of the key.
    #[n(0)]
    pub public: Bytes,
    /// TPMS_ATTEST.
    #[n(1)]
    pub attest: Bytes,
    /// TPMT_SIGNATURE.
    #[n(2)]
    pub signature: Bytes,
}

/// What the attestation key says of PCRs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PcrQuote {
    /// TPMS_ATTEST.
    #[n(0)]
    pub attest: Bytes,
    /// TPMT_SIGNATURE.
    #[n(1)]
    pub signature: Bytes,
    /// The values, from the lowest PCR.
    #[n(2)]
    pub values: Bytes,
}
