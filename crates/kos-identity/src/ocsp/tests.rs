use kos_base::KeyAlgorithm;

use super::*;
use crate::{
    certificate::IssuerClass,
    test_authority::{NOW, TestAuthority},
    test_keys::TestKey,
};

fn certificate(ca: &Certificate, serial: u8) -> CertId {
    let hash = |of: &[u8]| {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, of);
        OctetString::new(hash.as_ref()).unwrap()
    };
    CertId {
        hash: AlgorithmIdentifierOwned { oid: ID_SHA_1, parameters: Some(Any::null()) },
        issuer_name: hash(&ca.subject_name().to_der().unwrap()),
        issuer_key: hash(ca.public_key().raw()),
        serial: SerialNumber::new(&[serial; 16]).unwrap(),
    }
}

fn request(certificates: Vec<CertId>, extensions: Option<Extensions>) -> Vec<u8> {
    let questions = certificates.into_iter().map(|certificate| Question { certificate, extensions: None });
    let content = RequestContent { version: 0, asker: None, questions: questions.collect(), extensions };
    WrittenRequest { content, signature: None }.to_der().unwrap()
}

fn nonce(bytes: usize) -> Extension {
    let inner = OctetString::new(vec![7; bytes]).unwrap().to_der().unwrap();
    Extension { extn_id: ID_PKIX_OCSP_NONCE, critical: false, extn_value: OctetString::new(inner).unwrap() }
}

#[test]
fn the_answer_holds_the_standings_in_the_order_of_the_questions() {
    let attic = TestAuthority::new("attic", 1);
    let ca = &attic.issuing[0];
    let asked =
        request(vec![certificate(ca, 1), certificate(ca, 2), certificate(ca, 3)], Some(vec![nonce(32)]));
    let parsed = Request::parse(&asked).unwrap();
    let cas = [&attic.root, &attic.issuing[1], ca];
    assert_eq!(parsed.issuer(cas), Ok(ca));
    let serials: Vec<_> = parsed.questions().map(Option::unwrap).collect();
    assert_eq!(serials, [1, 2, 3].map(|n| Serial::from_random([n; 16])));

    let revoked = Standing::Revoked { at: NOW, reason: RevocationReason::Hold };
    let unsigned = answer(&parsed, ca, &[Standing::Good, revoked], NOW).unwrap();
    let content = ResponseContent::from_der(unsigned.to_be_signed()).unwrap();
    assert!(matches!(content.answers[0].status, CertStatus::Good(_)));
    assert!(matches!(content.answers[1].status, CertStatus::Revoked(_)));
    assert!(matches!(content.answers[2].status, CertStatus::Unknown(_)), "a missing standing");
    assert_eq!(content.extensions, Some(vec![nonce(32)]));
    let signature = attic.issuing_key(IssuerClass::One).sign(unsigned.to_be_signed());
    let wrong = attic.issuing_key(IssuerClass::Two).sign(unsigned.to_be_signed());
    assert!(unsigned.clone().finish(&wrong).is_err());
    assert!(unsigned.finish(&signature).is_ok());
}

#[test]
fn only_the_ca_that_was_asked_answers() {
    let attic = TestAuthority::new("attic", 1);
    let [one, two] = &attic.issuing;
    let ask = |certificates| Request::parse(&request(certificates, None)).unwrap();
    let mixed = ask(vec![certificate(one, 1), certificate(two, 1)]);
    assert_eq!(mixed.issuer([&attic.root, one, two]), Err(OcspError::Unauthorized));
    assert_eq!(ask(vec![certificate(one, 1)]).issuer([two]), Err(OcspError::Unauthorized));
    assert_eq!(ask(vec![certificate(&attic.root, 1)]).issuer([&attic.root]), Ok(&attic.root));
    let device = attic.device(&TestKey::new(KeyAlgorithm::P256, 9));
    let of_device = ask(vec![certificate(&device, 1)]);
    assert_eq!(of_device.issuer([&device]), Err(OcspError::Unauthorized));
    assert_eq!(answer(&of_device, &device, &[], NOW).err(), Some(IssueError::Issuer));
    let mut md5 = certificate(one, 1);
    md5.hash.oid = ObjectIdentifier::new_unwrap("1.2.840.113549.2.5");
    assert_eq!(ask(vec![md5]).issuer([one]), Err(OcspError::Unauthorized));
    let mut long = certificate(one, 1);
    long.serial = SerialNumber::new(&[1; 20]).unwrap();
    assert_eq!(ask(vec![long]).questions().collect::<Vec<_>>(), [None]);
}

#[test]
fn hostile_requests_are_refused() {
    let attic = TestAuthority::new("attic", 1);
    let ca = &attic.issuing[0];
    let good = request(vec![certificate(ca, 1)], Some(vec![nonce(1)]));
    assert!(Request::parse(&good).is_ok());
    for len in 0..good.len() {
        assert!(Request::parse(&good[..len]).is_err(), "{len}");
    }
    let unknown = |critical| Extension { extn_id: ID_PKIX_OCSP_BASIC, critical, ..nonce(1) };
    let one = || vec![certificate(ca, 1)];
    for (bytes, ok) in [
        (request(one(), Some(vec![nonce(Request::NONCE_BYTES_MAX)])), true),
        (request(one(), Some(vec![nonce(Request::NONCE_BYTES_MAX + 1)])), false),
        (request(one(), Some(vec![nonce(0)])), false),
        (request(one(), Some(vec![nonce(1), nonce(1)])), false),
        (request(one(), Some(vec![unknown(false)])), true),
        (request(one(), Some(vec![unknown(true)])), false),
        (request(vec![certificate(ca, 1); Request::QUESTIONS_MAX], None), true),
        (request(vec![certificate(ca, 1); Request::QUESTIONS_MAX + 1], None), false),
        (request(Vec::new(), None), false),
        (vec![0x30; Request::BYTES_MAX + 1], false),
    ] {
        assert_eq!(Request::parse(&bytes).is_ok(), ok);
    }
}

#[test]
fn refusals_are_the_unsigned_answers_of_rfc_6960() {
    assert_eq!(OcspError::Malformed(String::new()).response(), [0x30, 3, 0x0a, 1, 1]);
    assert_eq!(OcspError::Unauthorized.response(), [0x30, 3, 0x0a, 1, 6]);
}
