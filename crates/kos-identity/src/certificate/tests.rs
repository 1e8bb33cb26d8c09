use kos_base::{EvidenceTier, KeyAlgorithm, SecurityProfile};

use super::*;
use crate::{
    test_authority::{NOW, TestAuthority, certify},
    test_keys::TestKey,
};

#[test]
fn a_device_certificate_says_what_was_granted_and_nothing_else() {
    let authority = TestAuthority::new("attic", 1);
    for key in TestKey::one_of_each() {
        let grant = authority.grant(&key);
        let certificate = authority.device(&key);
        assert_eq!(certificate.public_key(), key.public());
        assert_eq!(certificate.facts(), Some(&grant.facts));
        assert_eq!(certificate.subject(), format!("CN={}", grant.facts.subject.device));
        assert_eq!(certificate.uris(), [format!("spiffe://attic/device/{}", grant.facts.subject.device)]);
        assert_eq!(certificate.serial(), Serial::from_random([0x81; 16]));
        assert_eq!(certificate.not_before(), NOW.minus(BACK_DATING));
        assert_eq!(certificate.not_after(), NOW.plus(Profile::Device(SecurityProfile::Sec2).lifetime()));
        assert_eq!(certificate.issuer_key_id(), Some(authority.issuing[0].key_id()));
        assert_eq!(certificate.authority().as_ref(), Some(&authority.name));
        assert!(!certificate.is_ca());
        assert!(certificate.der().len() < Certificate::BYTES_MAX / 4, "{}", certificate.der().len());
        assert_eq!(Certificate::parse(certificate.der()), Ok(certificate));
    }
}

#[test]
fn the_cas_know_what_they_are() {
    let authority = TestAuthority::new("attic", 1);
    assert!(authority.root.is_root());
    assert_eq!(authority.root.issuer_class(), None);
    assert_eq!(authority.root.not_after().since(NOW).as_secs(), 7305 * 24 * 3600);
    for class in IssuerClass::ALL {
        let issuing = authority.context(class, NOW).issuer;
        assert_eq!(issuing.issuer_class(), Some(class));
        assert!(!issuing.is_root());
        assert_eq!(issuing.authority().as_ref(), Some(&authority.name));
        assert_eq!(issuing.verify_signature(authority.root.public_key()), Ok(()));
    }
}

#[test]
fn lifetimes_are_those_of_the_security_profiles() {
    let days = [30, 30, 14, 7, 1];
    for (profile, days) in SecurityProfile::ALL.iter().zip(days) {
        assert_eq!(Profile::Device(*profile).lifetime().as_secs(), days * 24 * 3600, "{profile}");
    }
}

#[test]
fn a_certificate_never_outlives_its_issuer() {
    let authority = TestAuthority::new("attic", 1);
    let key = TestKey::new(KeyAlgorithm::Ed25519, 9);
    let issuer = &authority.issuing[0];
    let late = issuer.not_after().minus(core::time::Duration::from_secs(3600));
    let context = authority.context(IssuerClass::One, late);
    let warrant = || Warrant::Device(authority.grant(&key));
    let unsigned = issue(warrant(), Serial::from_random([1; 16]), &context).unwrap();
    assert_eq!(certify(unsigned, authority.issuing_key(IssuerClass::One)).not_after(), issuer.not_after());
    for now in [issuer.not_after(), Timestamp::from_unix_s(0), issuer.not_before().minus(BACK_DATING)] {
        let context = authority.context(IssuerClass::One, now);
        let refused = issue(warrant(), Serial::from_random([1; 16]), &context);
        assert_eq!(refused.err(), Some(IssueError::IssuerValidity), "{now}");
    }
}

/// What issuance says to a device that claims more than it has shown.
fn policy(profile: SecurityProfile, shown: EvidenceTier) -> IssueError {
    let newcomer = kos_policy::Standing::certified(SecurityProfile::Sec0, shown);
    let request = kos_policy::Request::Certify(kos_policy::Way::Enrolment, profile);
    IssueError::Policy(kos_policy::decide(newcomer, request).check().unwrap_err())
}

#[test]
fn issuing_refuses_what_the_profile_does_not_allow() {
    let authority = TestAuthority::new("attic", 1);
    let key = TestKey::new(KeyAlgorithm::Ed25519, 9);
    let refuse = |change: fn(&mut DeviceGrant), class, want: IssueError| {
        let mut grant = authority.grant(&key);
        change(&mut grant);
        let warrant = Warrant::Device(grant);
        let refused = issue(warrant, Serial::from_random([1; 16]), &authority.context(class, NOW));
        assert_eq!(refused.err(), Some(want));
    };
    refuse(|_| {}, IssuerClass::Two, IssueError::Issuer);
    refuse(
        |grant| grant.facts.evidence = EvidenceTier::None,
        IssuerClass::One,
        policy(SecurityProfile::Sec2, EvidenceTier::None),
    );
    refuse(
        |grant| grant.facts.profile = SecurityProfile::Sec4,
        IssuerClass::Two,
        policy(SecurityProfile::Sec4, EvidenceTier::KeyOnDevice),
    );
    refuse(
        |grant| {
            grant.facts.profile = SecurityProfile::Sec4;
            grant.facts.evidence = EvidenceTier::QuoteVerified;
        },
        IssuerClass::Two,
        IssueError::Unseconded,
    );
    refuse(
        |grant| grant.facts.subject.authority = "cellar".parse().unwrap(),
        IssuerClass::One,
        IssueError::Authority,
    );
    refuse(
        |grant| grant.operational_key = TestAuthority::new("attic", 1).issuing[0].public_key().clone(),
        IssuerClass::One,
        IssueError::Key,
    );
    let context = IssuerContext { issuer: &authority.root, publication: None, now: NOW };
    let by_root = issue(Warrant::Device(authority.grant(&key)), Serial::from_random([1; 16]), &context);
    assert_eq!(by_root.err(), Some(IssueError::Issuer));
    let weak = issuing_ca(IssuerClass::One, key.public(), Serial::from_random([1; 16]), &context);
    assert_eq!(weak.err(), Some(IssueError::Key));
    let weak = root(&authority.name, key.public(), Serial::from_random([1; 16]), NOW);
    assert_eq!(weak.err(), Some(IssueError::Key));
}

#[test]
fn a_signature_of_another_key_makes_no_certificate() {
    let authority = TestAuthority::new("attic", 1);
    let key = TestKey::new(KeyAlgorithm::Ed25519, 9);
    let context = authority.context(IssuerClass::One, NOW);
    let unsigned =
        issue(Warrant::Device(authority.grant(&key)), Serial::from_random([1; 16]), &context).unwrap();
    assert_eq!(unsigned.signer(), authority.issuing[0].public_key());
    let signature = authority.issuing_keys[1].sign(unsigned.to_be_signed());
    assert!(matches!(unsigned.finish(&signature), Err(SigningError::Signature(_))));
}

#[test]
fn an_identity_certificate_shows_its_key_for_ever() {
    for key in TestKey::one_of_each() {
        let certificate = certify(identity_certificate(key.public()).unwrap(), &key);
        assert_eq!(presented_key(certificate.der()).as_ref(), Ok(key.public()));
        assert_eq!(certificate.not_after(), Timestamp::MAX.floor_s());
        assert_eq!(certificate.authority(), None);
    }
}

#[test]
fn the_key_of_a_makers_certificate_can_be_read() {
    let key = TestKey::new(KeyAlgorithm::P256, 9);
    let mut maker = rcgen::CertificateParams::new(vec!["factory.example".to_owned()]).unwrap();
    maker.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x7f; 20]));
    let certificate = maker.self_signed(&key).unwrap();
    assert_eq!(presented_key(certificate.der()).as_ref(), Ok(key.public()));
    assert!(Certificate::parse(certificate.der()).is_err());
}

#[test]
fn hostile_bytes_are_refused_without_being_believed() {
    let authority = TestAuthority::new("attic", 1);
    let der = authority.device(&TestKey::new(KeyAlgorithm::P256, 9)).der().to_vec();
    for len in 0..der.len() {
        assert!(Certificate::parse(&der[..len]).is_err(), "{len}");
    }
    let mut longer = der;
    longer.push(0);
    assert!(Certificate::parse(&longer).is_err());
    assert_eq!(
        Certificate::parse(&[0x30; Certificate::BYTES_MAX + 1]),
        Err(CertificateError::TooLong(Certificate::BYTES_MAX + 1))
    );
}

#[test]
fn unknown_critical_extensions_are_refused_and_others_ignored() {
    let key = TestKey::new(KeyAlgorithm::P256, 9);
    let with = |critical| {
        let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(critical);
        let mut params = rcgen::CertificateParams::default();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[1]));
        params.custom_extensions.push(unknown);
        Certificate::parse(params.self_signed(&key).unwrap().der())
    };
    assert!(with(false).is_ok());
    assert_eq!(with(true), Err(CertificateError::Part("an unknown critical extension")));
}

/// The certificates of `tests/vectors/identity/chain.json`, by name.
fn golden() -> Vec<(&'static str, Certificate)> {
    let publication = Publication::new("http://pki.attic.example:8642".parse().unwrap()).with_ocsp();
    let attic = TestAuthority::published("attic", 1, Some(publication));
    let [device, operator, server] =
        [KeyAlgorithm::Ed25519, KeyAlgorithm::P256, KeyAlgorithm::Ed25519].map(|a| TestKey::new(a, 9));
    let identity = certify(identity_certificate(device.public()).unwrap(), &device);
    vec![
        ("root", attic.root.clone()),
        ("issuing-1", attic.issuing[0].clone()),
        ("issuing-2", attic.issuing[1].clone()),
        ("device", attic.device(&device)),
        ("operator", attic.operator(&operator)),
        ("authority", attic.server(&server)),
        ("identity", identity),
    ]
}

#[test]
fn the_golden_certificates_are_what_this_code_builds() {
    let golden_chain = include_str!("../../../../tests/vectors/identity/chain.json");
    let file: serde_json::Value = serde_json::from_str(golden_chain).unwrap();
    let mut issuers = Vec::new();
    for (name, built) in golden() {
        let stored = file["certificates"][name].as_str().unwrap();
        let stored = Certificate::parse(&data_encoding::HEXLOWER.decode(stored.as_bytes()).unwrap()).unwrap();
        let content = |certificate: &Certificate| Signed::read(certificate.der()).unwrap().content.to_vec();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&content(&stored)),
            data_encoding::HEXLOWER.encode(&content(&built)),
            "{name}"
        );
        issuers.push(stored.public_key().clone());
        assert!(issuers.iter().any(|issuer| stored.verify_signature(issuer).is_ok()), "{name}");
    }
}
