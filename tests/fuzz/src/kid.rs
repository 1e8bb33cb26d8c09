//! kIDs: reading ends, nothing opens that the signer did not sign, and what was read is written alike.

use data_encoding::HEXLOWER;
use kos_base::{KeyAlgorithm, PublicKey, cbor, cose::Sealed};
use kos_identity::kid::{self, Claims};

use crate::{Verdict, cast::nobodys_key};

/// The kIDs of `tests/vectors/identity/kid.json`.
const SIGNED: [&[u8]; 2] =
    [include_bytes!("../../../fuzz/corpus/kid/0.cwt"), include_bytes!("../../../fuzz/corpus/kid/1.cwt")];

/// Who signed them.
const SIGNER: &[u8] = b"acdb0e29743f0ccb8686d0a104cb96e05abefec1538765e7595869f7dc8c49aa";

/// Reads the bytes as a kID and as claims.
pub fn run(bytes: &[u8]) -> Verdict {
    let raw = HEXLOWER.decode(SIGNER).expect("hex");
    let signer = PublicKey::from_raw(KeyAlgorithm::Ed25519, &raw).expect("32 bytes");
    let opened = kid::open(bytes, &signer);
    assert_eq!(opened.is_ok(), SIGNED.contains(&bytes), "it opens exactly when the signer signed it");
    assert!(kid::open(bytes, &nobodys_key()).is_err(), "nobody signed this");

    let sealed = Sealed::parse(bytes, kid::BYTES_MAX);
    if let Ok(sealed) = &sealed {
        assert_eq!(kid::signer_key_id(bytes), Ok(sealed.key_id()));
        let _ = check_claims(sealed.unverified_payload());
    }
    Verdict::of(&sealed).or(check_claims(bytes))
}

fn check_claims(bytes: &[u8]) -> Verdict {
    let claims = cbor::decode::<Claims>(bytes, kid::BYTES_MAX);
    if let Ok(claims) = &claims {
        assert_eq!(cbor::encode(claims), bytes);
    }
    Verdict::of(&claims)
}
