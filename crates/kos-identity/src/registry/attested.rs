//! What was verified last of a device's TPM.
//!
//! Source: `docs/spec/attestation.md` ATT-21.

use kos_attest::Clock;
use kos_base::{EvidenceTier, KeyId, Timestamp, digest::sha256};
use minicbor::{Decode, Encode};

/// The outcome of an attestation that held, and what the next one is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attested {
    /// Id of the endorsement key.
    #[n(0)]
    pub ek: KeyId,
    /// Name of the attestation key.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub ak: Vec<u8>,
    /// Which PCRs were quoted; bit n is PCR n.
    #[n(2)]
    pub pcrs: u32,
    /// Their values, from the lowest.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub values: Vec<u8>,
    /// Milliseconds that the TPM had run.
    #[n(4)]
    pub clock_ms: u64,
    /// How often it was switched on.
    #[n(5)]
    pub reset_count: u32,
    /// How often it woke up since then.
    #[n(6)]
    pub restart_count: u32,
    /// What it came to.
    #[n(7)]
    pub tier: EvidenceTier,
    /// When.
    #[n(8)]
    pub at: Timestamp,
    /// Who vouches for the endorsement key, or why nobody does.
    #[n(9)]
    pub vouched_by: String,
    /// The golden set that the quote fits.
    #[n(10)]
    pub golden: Option<String>,
}

impl Attested {
    /// The counters that the TPM showed.
    pub const fn clock(&self) -> Clock {
        let Self { clock_ms, reset_count, restart_count, .. } = *self;
        Clock { clock_ms, reset_count, restart_count, is_safe: true }
    }

    /// The digest of the values, as the TPM quoted it.
    pub fn digest(&self) -> Vec<u8> {
        sha256(&self.values).to_vec()
    }
}
