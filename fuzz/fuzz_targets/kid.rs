//! kIDs: whatever the bytes, reading ends, nothing is believed without its signature, and what was read is written alike.

#![no_main]

use kos_base::{KeyAlgorithm, PublicKey, cbor};
use kos_identity::kid::{self, Claims};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = kid::signer_key_id(bytes);
    // The base point: a key whose private half the fuzzer does not know how to use.
    let mut raw = [0x66; 32];
    raw[0] = 0x58;
    if let Ok(signer) = PublicKey::from_raw(KeyAlgorithm::Ed25519, &raw) {
        assert!(kid::open(bytes, &signer).is_err(), "nobody signed this");
    }
    if let Ok(claims) = cbor::decode::<Claims>(bytes, kid::BYTES_MAX) {
        assert_eq!(cbor::encode(&claims), bytes);
    }
});
