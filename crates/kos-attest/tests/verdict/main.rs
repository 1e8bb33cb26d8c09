//! What the verifier believes, and everything that it does not.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod chain;
mod vectors;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use kos_attest::{
    ActivatedEk, AttestError, AttestationKey, Binding, Challenge, EndorsementKey, Evidence, GoldenSet, Pcrs,
    Quoted, Signed, Trust, Values,
};
use kos_base::{EvidenceTier, KeyId, PublicKey, Secret};
use kos_emulator::paper::{self, KEY, PaperTpm, Said};

const SECRET: [u8; 32] = [6; 32];

fn binding() -> Binding {
    Binding::of_request(&[1; 32], &[2; 32], KeyId::from_bytes([3; 32]), &[4; 32])
}

fn challenge(ek: &[u8], ak: &[u8]) -> Result<Challenge, AttestError> {
    let (ek, ak) = (EndorsementKey::parse(ek)?, AttestationKey::parse(ak)?);
    Challenge::make(ek, ak, &Secret::new([5; 32]), Secret::new(SECRET))
}

fn activated(tpm: &PaperTpm) -> ActivatedEk {
    let challenge = challenge(&tpm.ek_public(), &tpm.ak_public()).unwrap();
    let secret = tpm.activate(challenge.credential(), challenge.seed()).unwrap();
    challenge.answered(binding(), &binding().answer(&Secret::new(secret))).unwrap()
}

/// A key of the device, with its uncompressed point.
fn device_key() -> (PublicKey, Vec<u8>) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (PublicKey::from_spki_der(spki.as_ref()).unwrap(), pair.public_key().as_ref().to_vec())
}

fn signed(said: &Said) -> Signed<'_> {
    Signed { attest: &said.attest, signature: &said.signature }
}

/// Takes a quote of the default PCRs that `tell` makes.
fn quoted(tpm: &PaperTpm, said: &Said, values: &[u8]) -> Result<kos_attest::VerifiedQuote, AttestError> {
    activated(tpm).quoted(&Quoted { signed: signed(said), values }, Pcrs::DEFAULT)
}

#[test]
fn an_honest_tpm_is_believed() {
    let tpm = PaperTpm::new();
    let pcrs = Pcrs::DEFAULT.bits();
    let activated = activated(&tpm);
    let (key, point) = device_key();
    let public = paper::signing(KEY, &point);
    let said = tpm.certify(&public, binding().as_bytes());
    let certified = activated.certified(&public, &signed(&said), &key, "operational").unwrap();
    assert_eq!(certified.key(), &key);

    let said = tpm.quote(pcrs, binding().as_bytes());
    let quote = quoted(&tpm, &said, &tpm.values(pcrs)).unwrap();
    assert_eq!(quote.values().each().map(|(number, _)| number).collect::<Vec<_>>(), [0, 2, 4, 7]);
    assert_eq!((quote.clock().clock_ms, quote.clock().reset_count, quote.firmware()), (60_000, 3, 7));

    let golden = GoldenSet { name: "r1".into(), values: quote.values().clone() };
    let mut other = tpm.values(0b1);
    other[0] ^= 1;
    let other =
        GoldenSet { name: "r2".into(), values: Values::new(Pcrs::from_bits(1).unwrap(), other).unwrap() };
    let nothing = GoldenSet {
        name: "r0".into(),
        values: Values::new(Pcrs::from_bits(0).unwrap(), Vec::new()).unwrap(),
    };
    let check = |trust: Trust, sets: &[GoldenSet], tier: EvidenceTier| {
        let evidence = Evidence::new(activated.clone(), certified.clone(), quote.clone(), trust, sets);
        assert_eq!(evidence.tier(), tier);
    };
    check(Trust::Listed, &[other.clone(), golden.clone()], EvidenceTier::QuoteVerified);
    check(Trust::Listed, &[other, nothing], EvidenceTier::EkActivated);
    check(Trust::Unknown, &[golden], EvidenceTier::KeyInTpm);
}

#[test]
fn only_the_tpm_of_both_keys_answers_for_this_connection() {
    let tpm = PaperTpm::new();
    let made = challenge(&tpm.ek_public(), &tpm.ak_public()).unwrap();
    assert!(PaperTpm::new().activate(made.credential(), made.seed()).is_none(), "another TPM");
    let secret = tpm.activate(made.credential(), made.seed()).unwrap();
    assert_eq!(secret, SECRET);

    let other = Binding::of_request(&[1; 32], &[9; 32], KeyId::from_bytes([3; 32]), &[4; 32]);
    let answer = other.answer(&Secret::new(secret));
    assert_eq!(made.answered(binding(), &answer).err(), Some(AttestError::Activation));

    // A stranger's attestation key with the endorsement key of a good TPM: the credential is for the name of the first.
    let stranger = PaperTpm::new();
    let made = challenge(&tpm.ek_public(), &stranger.ak_public()).unwrap();
    assert!(tpm.activate(made.credential(), made.seed()).is_none());
}

#[test]
fn a_quote_of_another_question_other_pcrs_or_other_values_is_refused() {
    let mut tpm = PaperTpm::new();
    let pcrs = Pcrs::DEFAULT.bits();
    let fresh = tpm.quote(pcrs, binding().as_bytes());
    let values = tpm.values(pcrs);

    let nonce = Binding::of_request(&[1; 32], &[9; 32], KeyId::from_bytes([3; 32]), &[4; 32]);
    let stale = tpm.quote(pcrs, nonce.as_bytes());
    assert_eq!(
        quoted(&tpm, &stale, &values),
        Err(AttestError::Stale("the quote")),
        "wrong nonce, or replayed"
    );

    for other in [0b1, 0b1001_0111, 0b1001_0100] {
        let said = tpm.quote(other, binding().as_bytes());
        assert_eq!(quoted(&tpm, &said, &tpm.values(other)), Err(AttestError::OtherPcrs), "{other:b}");
    }
    let mut wrong = values.clone();
    wrong[40] ^= 1;
    for values in [&wrong[..], &values[..96], &[], &[&values[..], &[0; 32]].concat()] {
        assert_eq!(quoted(&tpm, &fresh, values), Err(AttestError::Values), "{} bytes", values.len());
    }
    tpm.bank = 0x0004;
    let said = tpm.quote(pcrs, binding().as_bytes());
    assert_eq!(quoted(&tpm, &said, &values), Err(AttestError::OtherPcrs), "another bank");
}

#[test]
fn what_no_tpm_made_is_refused_even_when_its_key_signed_it() {
    let mut tpm = PaperTpm::new();
    let pcrs = Pcrs::DEFAULT.bits();
    let honest = tpm.quote(pcrs, binding().as_bytes());
    let values = tpm.values(pcrs);
    let malformed = Err(AttestError::Malformed("the quote"));

    tpm.magic = 0x0054_4347;
    let said = tpm.quote(pcrs, binding().as_bytes());
    assert_eq!(quoted(&tpm, &said, &values), malformed, "magic");
    tpm.magic = 0xff54_4347;

    let (_, point) = device_key();
    let certificate = tpm.certify(&paper::signing(KEY, &point), binding().as_bytes());
    assert_eq!(quoted(&tpm, &certificate, &values), malformed, "a certificate is no quote");

    let again = |attest: Vec<u8>| {
        let signature = tpm.sign(&attest);
        quoted(&tpm, &Said { attest, signature }, &values)
    };
    for cut in 0..honest.attest.len() {
        assert!(again(honest.attest[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    assert_eq!(again([&honest.attest[..], &[0]].concat()), malformed, "a byte behind it");
    assert!(again(honest.attest.clone()).is_ok());

    for cut in 0..honest.signature.len() {
        let said = Said { signature: honest.signature[..cut].to_vec(), ..honest.clone() };
        assert!(quoted(&tpm, &said, &values).is_err(), "signature cut at {cut}");
    }
    let said = Said { signature: [&honest.signature[..], &[0]].concat(), ..honest.clone() };
    assert_eq!(quoted(&tpm, &said, &values), Err(AttestError::Malformed("a signature")));
    let stranger = PaperTpm::new().quote(pcrs, binding().as_bytes());
    assert_eq!(quoted(&tpm, &stranger, &values), Err(AttestError::Signature("the quote")));
}

#[test]
fn keys_without_the_properties_of_their_part_are_refused() {
    const RESTRICTED: u32 = 1 << 16;
    const DECRYPT: u32 = 1 << 17;
    const SIGN: u32 = 1 << 18;
    const FIXED_TPM: u32 = 1 << 1;
    const FIXED_PARENT: u32 = 1 << 4;
    const ORIGIN: u32 = 1 << 5;
    let key = |error: Option<AttestError>| matches!(error, Some(AttestError::Key(_)));
    let (public, point) = device_key();

    let missing = [RESTRICTED, SIGN, FIXED_TPM, FIXED_PARENT, ORIGIN].map(|bit| paper::AK & !bit);
    for attributes in missing.into_iter().chain([paper::AK | DECRYPT, KEY]) {
        let mut tpm = PaperTpm::new();
        tpm.ak_attributes = attributes;
        assert!(key(AttestationKey::parse(&tpm.ak_public()).err()), "{attributes:#x}");
    }
    let tpm = PaperTpm::new();
    let activated = activated(&tpm);
    let missing = [SIGN, FIXED_TPM, FIXED_PARENT, ORIGIN].map(|bit| KEY & !bit);
    for attributes in missing.into_iter().chain([KEY | DECRYPT, KEY | RESTRICTED, KEY | 1 << 11]) {
        let shown = paper::signing(attributes, &point);
        let said = tpm.certify(&shown, binding().as_bytes());
        let found = activated.certified(&shown, &signed(&said), &public, "identity").err();
        assert!(key(found), "{attributes:#x}");
    }
    // A signing key is no endorsement key, and the reverse.
    assert!(EndorsementKey::parse(&tpm.ak_public()).is_err());
    assert!(AttestationKey::parse(&tpm.ek_public()).is_err());
}

#[test]
fn a_certificate_speaks_for_its_key_only() {
    let tpm = PaperTpm::new();
    let activated = activated(&tpm);
    let ((mine, point), (theirs, other)) = (device_key(), device_key());
    let (public, foreign) = (paper::signing(KEY, &point), paper::signing(KEY, &other));
    let said = tpm.certify(&public, binding().as_bytes());
    let check =
        |public: &[u8], expected: &PublicKey| activated.certified(public, &signed(&said), expected, "new");
    assert!(check(&public, &mine).is_ok());
    assert_eq!(check(&public, &theirs).err(), Some(AttestError::OtherKey("new")));
    assert_eq!(check(&foreign, &theirs).err(), Some(AttestError::OtherKey("new")));
    let quote = tpm.quote(1, binding().as_bytes());
    let found = activated.certified(&public, &signed(&quote), &mine, "new").err();
    assert_eq!(found, Some(AttestError::Malformed("the certificate of a key")));
}

#[test]
fn a_tpm_that_was_wound_back_or_copied_is_found() {
    let mut tpm = PaperTpm::new();
    let pcrs = Pcrs::DEFAULT.bits();
    let show =
        |tpm: &PaperTpm| quoted(tpm, &tpm.quote(pcrs, binding().as_bytes()), &tpm.values(pcrs)).unwrap();
    tpm.clock = (60_000, 3, 1);
    let known = show(&tpm).clock();
    for (clock, follows) in [
        ((60_000, 3, 1), true),
        ((60_001, 3, 1), true),
        ((10, 3, 2), true),
        ((10, 4, 0), true),
        ((59_999, 3, 1), false),
        ((90_000, 3, 0), false),
        ((90_000, 2, 9), false),
    ] {
        tpm.clock = clock;
        let expected = if follows { Ok(()) } else { Err(AttestError::WoundBack) };
        assert_eq!(show(&tpm).follows(&known), expected, "{clock:?}");
    }
}

#[test]
fn no_byte_of_a_good_attestation_can_be_another() {
    let tpm = PaperTpm::new();
    let pcrs = Pcrs::DEFAULT.bits();
    let activated = activated(&tpm);
    let (key, point) = device_key();
    let public = paper::signing(KEY, &point);
    let certificate = tpm.certify(&public, binding().as_bytes());
    let quote = tpm.quote(pcrs, binding().as_bytes());
    let values = tpm.values(pcrs);
    let believes = |parts: &[Vec<u8>; 6]| {
        let [public, attest, signature, quote, quote_signature, values] = parts;
        let certified =
            activated.certified(public, &Signed { attest, signature }, &key, "operational").is_ok();
        let signed = Signed { attest: quote, signature: quote_signature };
        certified && activated.quoted(&Quoted { signed, values }, Pcrs::DEFAULT).is_ok()
    };
    let good = [public, certificate.attest, certificate.signature, quote.attest, quote.signature, values];
    assert!(believes(&good));
    for part in 0..good.len() {
        for at in 0..good[part].len() {
            let mut changed = good.clone();
            changed[part][at] ^= 1;
            assert!(!believes(&changed), "part {part}, byte {at}");
        }
    }
    // And of what the authority sends: the TPM finds it.
    let made = challenge(&tpm.ek_public(), &tpm.ak_public()).unwrap();
    for at in 0..made.credential().len() {
        let mut changed = made.credential().to_vec();
        changed[at] ^= 1;
        assert!(at < 2 || tpm.activate(&changed, made.seed()).is_none(), "credential, byte {at}");
    }
    for at in 0..made.seed().len() {
        let mut changed = made.seed().to_vec();
        changed[at] ^= 1;
        let is_length = [0, 1, 34, 35].contains(&at);
        assert!(is_length || tpm.activate(made.credential(), &changed).is_none(), "seed, byte {at}");
    }
}

#[test]
fn a_point_that_is_on_no_curve_is_refused() {
    let tpm = PaperTpm::new();
    let mut ek = tpm.ek_public();
    let last = ek.len() - 1;
    ek[last] ^= 1;
    assert!(matches!(challenge(&ek, &tpm.ak_public()), Err(AttestError::Key(_))));
}
