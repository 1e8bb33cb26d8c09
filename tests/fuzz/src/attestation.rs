//! What strangers show of a TPM: reading ends, and nothing is believed but the quotes that a TPM signed.

use kos_attest::{
    ActivatedEk, AttestationKey, Binding, Challenge, EkRoots, EndorsementKey, Pcrs, Quoted, Signed, vouch,
};
use kos_base::{KeyId, Secret};

use crate::{
    Verdict,
    cast::{NOW, ROOT, nobodys_key},
};

const EK: &[u8] = include_bytes!("../../../tests/vectors/attestation/ek.pub");
const AK: &[u8] = include_bytes!("../../../tests/vectors/attestation/ak.pub");
const QUOTE: &[u8] = include_bytes!("../../../tests/vectors/attestation/quote.msg");
const SIGNATURE: &[u8] = include_bytes!("../../../tests/vectors/attestation/quote.sig");

/// Reads the bytes as keys, as a certificate of an endorsement key, and as each part of what an attestation key signs.
pub fn run(bytes: &[u8]) -> Verdict {
    let ek = EndorsementKey::parse(bytes);
    let ak = AttestationKey::parse(bytes);
    if let (Ok(ek), Some(ak)) = (&ek, AK.get(2..).and_then(|ak| AttestationKey::parse(ak).ok())) {
        let _ = Challenge::make(ek.clone(), ak, &Secret::new([5; 32]), Secret::new([6; 32]));
    }
    let activated = activated();
    let roots = EkRoots::new([ROOT]).expect("the corpus holds the golden certificates");
    assert!(vouch(activated.ek(), &[bytes], &roots, NOW).is_err(), "nobody signed this certificate");

    let quoted = |attest: &[u8], signature: &[u8]| {
        let signed = Signed { attest, signature };
        activated.quoted(&Quoted { signed, values: &[0; 128] }, Pcrs::DEFAULT)
    };
    let quote = quoted(bytes, SIGNATURE);
    assert!(quote.is_err() || bytes == QUOTE, "nobody signed this quote");
    let signature = quoted(QUOTE, bytes);
    let signed = Signed { attest: bytes, signature: SIGNATURE };
    let key = nobodys_key();
    assert!(activated.certified(bytes, &signed, &key, "fuzzed").is_err());
    let readings = [Verdict::of(&ek), Verdict::of(&ak), Verdict::of(&quote), Verdict::of(&signature)];
    readings.into_iter().reduce(Verdict::or).unwrap_or(Verdict::Refused)
}

/// The endorsement key of the vectors, as it is once it has answered.
fn activated() -> ActivatedEk {
    let public = |bytes: &'static [u8]| bytes.get(2..).unwrap_or_default();
    let ek = EndorsementKey::parse(public(EK)).expect("a key that tpm2-tools made");
    let ak = AttestationKey::parse(public(AK)).expect("a key that tpm2-tools made");
    let binding = Binding::of_request(&[1; 32], &[2; 32], KeyId::from_bytes([3; 32]), &[4; 32]);
    let made = Challenge::make(ek, ak, &Secret::new([5; 32]), Secret::new([6; 32]));
    let answer = binding.answer(&Secret::new([6; 32]));
    made.and_then(|made| made.answered(binding, &answer)).expect("the answer is right")
}
