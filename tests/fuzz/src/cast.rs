//! Who takes part in the targets: keys, times and certificates that are the same in every run.

use kos_base::{KeyAlgorithm, PublicKey, Timestamp};
use kos_identity::certificate::Certificate;

/// When the golden certificates were issued: 2026-11-20T10:20:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_000);

/// Certificates of `tests/vectors/identity/chain.json`.
pub(crate) const ROOT: &[u8] = include_bytes!("../../../fuzz/corpus/certificate/root.der");
pub(crate) const ISSUING_1: &[u8] = include_bytes!("../../../fuzz/corpus/certificate/issuing-1.der");
pub(crate) const ISSUING_2: &[u8] = include_bytes!("../../../fuzz/corpus/certificate/issuing-2.der");
pub(crate) const DEVICE: &[u8] = include_bytes!("../../../fuzz/corpus/certificate/device.der");

/// A certificate of the golden authority.
pub(crate) fn certificate(der: &[u8]) -> Certificate {
    Certificate::parse(der).expect("the corpus holds the golden certificates")
}

/// The base point of Ed25519: a key under which no reader is shown a signature.
pub(crate) fn nobodys_key() -> PublicKey {
    let mut raw = [0x66; 32];
    raw[0] = 0x58;
    PublicKey::from_raw(KeyAlgorithm::Ed25519, &raw).expect("32 bytes")
}
