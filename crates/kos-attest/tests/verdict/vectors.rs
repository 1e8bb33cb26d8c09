//! What `tpm2-tools` made is read, named and verified alike.

use std::{fs, path::Path};

use kos_attest::{AttestError, AttestationKey, Challenge, EndorsementKey, Pcrs, Quoted, Signed};
use kos_base::{KeyAlgorithm, PublicKey, Secret};

use super::{SECRET, binding};

#[expect(clippy::disallowed_methods, reason = "a test reads its vectors")]
fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/attestation").join(name))
        .unwrap()
}

/// A public area, without the length that the tools write before it.
fn public(name: &str) -> Vec<u8> {
    let bytes = file(name);
    assert_eq!(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])), bytes.len() - 2);
    bytes[2..].to_vec()
}

fn check(ak: &str, quote: &str, signature: &str) {
    let ek = EndorsementKey::parse(&public("ek.pub")).unwrap();
    let ak = AttestationKey::parse(&public(ak)).unwrap();
    let made = Challenge::make(ek, ak, &Secret::new([5; 32]), Secret::new(SECRET)).unwrap();
    let activated = made.answered(binding(), &binding().answer(&Secret::new(SECRET))).unwrap();
    let (attest, signature) = (file(quote), file(signature));
    let signed = Signed { attest: &attest, signature: &signature };
    let read = activated.quoted(&Quoted { signed, values: &[0; 128] }, Pcrs::DEFAULT).unwrap();
    assert_eq!(read.clock().reset_count, 1);

    let mut changed = signature.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let signed = Signed { attest: &attest, signature: &changed };
    let read = activated.quoted(&Quoted { signed, values: &[0; 128] }, Pcrs::DEFAULT);
    assert_eq!(read.err(), Some(AttestError::Signature("the quote")));
}

#[test]
fn quotes_of_tpm2_tools_are_verified() {
    check("ak.pub", "quote.msg", "quote.sig");
    check("ak-rsa.pub", "quote-rsa.msg", "quote-rsa.sig");
}

#[test]
fn names_are_those_of_the_tpm() {
    assert_eq!(AttestationKey::parse(&public("ak.pub")).unwrap().name().as_slice(), file("ak.name"));
}

/// Its signature verifies, and its extra data are not ours.
#[test]
fn a_certificate_of_tpm2_tools_answers_another_question() {
    let ek = EndorsementKey::parse(&public("ek.pub")).unwrap();
    let ak = AttestationKey::parse(&public("ak.pub")).unwrap();
    let made = Challenge::make(ek, ak, &Secret::new([5; 32]), Secret::new(SECRET)).unwrap();
    let activated = made.answered(binding(), &binding().answer(&Secret::new(SECRET))).unwrap();
    let shown = public("key.pub");
    let (rest, y) = shown.split_at(shown.len() - 32);
    let point = [&[4][..], &rest[rest.len() - 34..rest.len() - 2], y].concat();
    let key = PublicKey::from_raw(KeyAlgorithm::P256, &point).unwrap();
    let signed = Signed { attest: &file("certify.bin"), signature: &file("certify.sig") };
    let found = activated.certified(&shown, &signed, &key, "operational").err();
    assert_eq!(found, Some(AttestError::Stale("the certificate of a key")));
}
