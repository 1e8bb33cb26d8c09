use kos_base::KeyAlgorithm;

use super::*;
use crate::{
    test_authority::{NOW, TestAuthority},
    test_keys::TestKey,
};

const DAY: Duration = LIFETIME_MAX;

fn signer() -> TestKey {
    TestKey::new(KeyAlgorithm::Ed25519, 30)
}

fn grant(authority: &TestAuthority, key: &TestKey) -> Grant {
    let facts = authority.grant(key).facts;
    Grant {
        subject: facts.subject,
        audience: authority.name.clone(),
        holder: key.public().id(),
        certificate_not_after: NOW.plus(14 * DAY),
        traits: Traits {
            role: facts.role,
            profile: facts.profile,
            group: facts.group,
            user: None,
            capabilities: vec!["telemetry".parse().unwrap()],
            evidence: facts.evidence,
            channel: Channel::Stable,
            agreement_key: AgreementKey([0x33; 32]),
        },
    }
}

fn sign(unsigned: Unsigned, signer: &TestKey) -> Vec<u8> {
    let signature = signer.sign(&unsigned.to_be_signed());
    unsigned.finish(signature)
}

pub(crate) fn signed(authority: &TestAuthority, key: &TestKey, signer: &TestKey, now: Timestamp) -> Vec<u8> {
    sign(build(now, grant(authority, key), [0x44; 16], signer.public()), signer)
}

#[test]
fn a_kid_is_accepted_from_its_holder_within_a_day() {
    let (attic, key, signer) =
        (TestAuthority::new("attic", 1), TestKey::new(KeyAlgorithm::P256, 9), signer());
    let bytes = signed(&attic, &key, &signer, NOW);
    let expected = Expected { signer: signer.public(), audience: &attic.name, holder: key.public().id() };
    let kid = verify(NOW, &bytes, &expected).unwrap();
    assert_eq!(kid.claims().subject, attic.grant(&key).facts.subject);
    assert_eq!(kid.claims().expires_at, NOW.plus(DAY));
    assert_eq!(kid.claims().traits, grant(&attic, &key).traits);
    assert_eq!(signer_key_id(&bytes), Ok(signer.public().id()));

    let end = NOW.plus(DAY);
    let second = Duration::from_secs(1);
    assert!(verify(end.minus(second), &bytes, &expected).is_ok());
    assert_eq!(verify(end, &bytes, &expected), Err(KidError::Expired(end)));
    let begin = NOW.minus(SKEW);
    assert!(verify(begin, &bytes, &expected).is_ok());
    assert_eq!(verify(begin.minus(second), &bytes, &expected), Err(KidError::NotYetValid(begin)));
    let thief = Expected { holder: signer.public().id(), ..expected };
    assert_eq!(verify(NOW, &bytes, &thief), Err(KidError::Holder));
    let cellar = "cellar".parse().unwrap();
    let elsewhere = Expected { audience: &cellar, ..expected };
    assert_eq!(verify(NOW, &bytes, &elsewhere), Err(KidError::Audience(attic.name.clone())));
    let other_signer = Expected { signer: key.public(), ..expected };
    assert!(matches!(verify(NOW, &bytes, &other_signer), Err(KidError::Signature(_))));
}

#[test]
fn a_kid_never_outlives_the_certificate() {
    let (attic, key, signer) =
        (TestAuthority::new("attic", 1), TestKey::new(KeyAlgorithm::P256, 9), signer());
    let end = NOW.plus(Duration::from_secs(60));
    let grant = Grant { certificate_not_after: end, ..grant(&attic, &key) };
    let bytes = sign(build(NOW, grant, [0; 16], signer.public()), &signer);
    assert_eq!(open(&bytes, signer.public()).unwrap().expires_at, end);
}

#[test]
fn a_kid_that_claims_a_longer_life_is_refused() {
    let (attic, key, signer) =
        (TestAuthority::new("attic", 1), TestKey::new(KeyAlgorithm::P256, 9), signer());
    let mut claims = open(&signed(&attic, &key, &signer, NOW), signer.public()).unwrap();
    claims.expires_at = claims.expires_at.plus(Duration::from_secs(1));
    let long = Unsigned(cose::Unsigned::new(PURPOSE, signer.public(), cbor::encode(&claims)));
    let expected = Expected { signer: signer.public(), audience: &attic.name, holder: key.public().id() };
    assert_eq!(verify(NOW, &sign(long, &signer), &expected), Err(KidError::Lifetime));
}

#[test]
fn no_changed_byte_gets_through() {
    let (attic, key, signer) =
        (TestAuthority::new("attic", 1), TestKey::new(KeyAlgorithm::P256, 9), signer());
    let bytes = signed(&attic, &key, &signer, NOW);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(open(&changed, signer.public()).is_err(), "byte {at}");
        assert!(open(&bytes[..at], signer.public()).is_err(), "length {at}");
    }
}

#[test]
fn claims_that_a_kid_does_not_have_are_refused_even_when_signed() {
    let (attic, key, signer) =
        (TestAuthority::new("attic", 1), TestKey::new(KeyAlgorithm::P256, 9), signer());
    let claims = open(&signed(&attic, &key, &signer, NOW), signer.public()).unwrap();
    let good = cbor::encode(&claims);
    let judge = |payload: Vec<u8>| {
        let bytes = sign(Unsigned(cose::Unsigned::new(PURPOSE, signer.public(), payload)), &signer);
        open(&bytes, signer.public())
    };
    assert_eq!(judge(good.clone()), Ok(claims));
    let replace = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|w| w == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    for payload in [
        replace(b"\xa9\x01", b"\xa8\x01"),
        replace(b"\x67k:attic", b"\x67k:cella"),
        replace(b"\x67k:attic", b"\x65attic"),
        replace(b"sensor", b"sEnsor"),
        replace(b"SEC-2", b"SEC-9"),
        replace(b"\xa1\x03\x58\x20", b"\xa1\x02\x58\x20"),
        replace(b"\x07\x50", b"\x07\x4f"),
        replace(b"\x81\x69telemetry", b"\x82\x61b\x61a"),
        replace(b"\x81\x69telemetry", b"\x82\x61a\x61a"),
        vec![0xa0],
    ] {
        assert!(matches!(judge(payload), Err(KidError::Claims(_))));
    }
}

#[test]
fn a_usual_kid_is_short_and_the_longest_still_fits() {
    let (attic, key, signer) =
        (TestAuthority::new("attic", 1), TestKey::new(KeyAlgorithm::P256, 9), signer());
    let usual = signed(&attic, &key, &signer, NOW);
    assert!(usual.len() <= 384, "{} bytes", usual.len());

    let mut longest = grant(&attic, &key);
    longest.audience = "a".repeat(AuthorityName::CHARS_MAX).parse().unwrap();
    longest.subject.authority = longest.audience.clone();
    longest.subject.issue = u32::MAX;
    longest.traits.group = Some([&"g".repeat(32); 4].map(String::as_str).join("/")[..128].parse().unwrap());
    longest.traits.user = Some("ü".repeat(64).parse().unwrap());
    longest.traits.capabilities =
        (0..Capability::COUNT_MAX).map(|n| format!("{n:0>48}").parse().unwrap()).collect();
    let longest = sign(build(NOW, longest, [0xff; 16], signer.public()), &signer);
    assert!(longest.len() <= BYTES_MAX, "{} bytes", longest.len());
    assert!(open(&longest, signer.public()).is_ok());
}
