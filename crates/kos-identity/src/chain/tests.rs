use core::time::Duration;

use kos_base::{EntryId, KeyAlgorithm, SecurityProfile, id::DeviceIdInputs};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyUsagePurpose, SanType,
};

use super::*;
use crate::{
    certificate::{IssuerClass, Warrant, capabilities_hash, oid},
    crl::{Entry, VerifiedCrl},
    test_authority::{NOW, TestAuthority},
    test_keys::TestKey,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn attic() -> TestAuthority {
    TestAuthority::new("attic", 1)
}

fn key() -> TestKey {
    TestKey::new(KeyAlgorithm::Ed25519, 9)
}

fn check(authority: &TestAuthority, presented: &[Vec<u8>], usage: Usage) -> Result<VerifiedPeer, ChainError> {
    verify(Clock::Trusted(NOW), usage, presented, &authority.anchors(), &authority.view())
}

#[test]
fn every_kind_of_peer_is_recognised_in_its_roles() {
    let (attic, key) = (attic(), key());
    let device = attic.present(&attic.device(&key), IssuerClass::One);
    let operator = attic.present(&attic.operator(&key), IssuerClass::Two);
    let server = attic.present(&attic.server(&key), IssuerClass::Two);
    let name = attic.grant(&key).facts.subject.device;
    for (presented, usages, uri) in [
        (&device, &[Usage::Client, Usage::Server][..], format!("spiffe://attic/device/{name}")),
        (&operator, &[Usage::Client], "spiffe://attic/operator/anna".to_owned()),
        (&server, &[Usage::Client, Usage::Server], "spiffe://attic/authority".to_owned()),
    ] {
        for usage in usages {
            let peer = check(&attic, presented, *usage).unwrap();
            assert_eq!(peer.identity().to_string(), uri);
            assert_eq!(peer.public_key(), key.public());
            assert_eq!(peer.revocation(), Status::Good);
            assert_eq!(peer.root(), &attic.root);
            assert_eq!(peer.facts().is_some(), uri.contains("/device/"));
        }
    }
    assert_eq!(check(&attic, &operator, Usage::Server), Err(ChainError::Purpose(Usage::Server)));
}

#[test]
fn no_changed_byte_of_a_device_certificate_gets_through() {
    let (attic, key) = (attic(), key());
    let presented = attic.present(&attic.device(&key), IssuerClass::One);
    let (anchors, view) = (attic.anchors(), attic.view());
    for at in 0..presented[0].len() {
        for bit in [1, 0x80] {
            let mut changed = presented.clone();
            changed[0][at] ^= bit;
            let peer = verify(Clock::Trusted(NOW), Usage::Client, &changed, &anchors, &view);
            assert!(peer.is_err(), "byte {at}");
        }
    }
}

#[test]
fn dates_are_judged_as_far_as_the_clock_is_known() {
    let (attic, key) = (attic(), key());
    let device = attic.device(&key);
    let presented = attic.present(&device, IssuerClass::One);
    let judge = |clock| verify(clock, Usage::Client, &presented, &attic.anchors(), &attic.view()).err();
    let (serial, not_after, not_before) = (device.serial(), device.not_after(), device.not_before());
    let expired = Some(ChainError::Expired { serial, not_after });
    let early = Some(ChainError::NotYetValid { serial, not_before });
    let second = Duration::from_secs(1);
    let root_early = Some(ChainError::NotYetValid { serial: device.serial(), not_before });
    for (clock, want) in [
        (Clock::Trusted(not_before), None),
        (Clock::Trusted(not_before.minus(second)), early),
        (Clock::Trusted(not_after), None),
        (Clock::Trusted(not_after.plus(second)), expired.clone()),
        (Clock::Trusted(Timestamp::from_unix_s(0)), root_early),
        (Clock::Trusted("2100-01-01T00:00:00Z".parse().unwrap()), expired.clone()),
        (Clock::Floor(Timestamp::from_unix_s(0)), None),
        (Clock::Floor(not_after), None),
        (Clock::Floor(not_after.plus(second)), expired),
        (Clock::Untrusted, None),
    ] {
        assert_eq!(judge(clock), want, "{clock:?}");
    }
}

#[test]
fn only_our_root_or_its_pin_is_trusted() {
    let (attic, key) = (attic(), key());
    let imposter = TestAuthority::new("attic", 50);
    let device = attic.device(&key);
    let mut presented = attic.present(&device, IssuerClass::One);
    let judge = |presented: &[Vec<u8>], anchors: &Anchors| {
        verify(Clock::Trusted(NOW), Usage::Client, presented, anchors, &RevocationView::default())
            .map(|peer| peer.revocation())
            .map_err(|e| e.code().number())
    };
    let pins = |authority: &TestAuthority| Anchors::pins(vec![authority.root.key_id()]);
    assert_eq!(judge(&presented, &attic.anchors()), Ok(Status::Unknown));
    assert_eq!(judge(&presented, &imposter.anchors()), Err(302));
    assert_eq!(judge(&presented, &Anchors::default()), Err(302));
    assert_eq!(judge(&presented, &pins(&attic)), Err(302), "the root was not presented");
    presented.push(attic.root.der().to_vec());
    assert_eq!(judge(&presented, &pins(&attic)), Ok(Status::Unknown));
    assert_eq!(judge(&presented, &pins(&imposter)), Err(302));
    assert_eq!(judge(&presented, &Anchors::pins(vec![attic.issuing[0].key_id(), device.key_id()])), Err(302));
    presented.extend([imposter.root.der().to_vec()]);
    assert_eq!(judge(&presented, &pins(&attic)), Ok(Status::Unknown));
    presented.extend([imposter.root.der().to_vec()]);
    assert_eq!(judge(&presented, &pins(&attic)), Err(301), "too many");
    assert_eq!(judge(&[], &attic.anchors()), Err(301));
    assert_eq!(judge(&[b"nonsense".to_vec()], &attic.anchors()), Err(301));
}

#[test]
fn a_pinned_root_with_a_changed_byte_is_not_trusted() {
    let (attic, key) = (attic(), key());
    let mut presented = attic.present(&attic.device(&key), IssuerClass::One);
    presented.push(attic.root.der().to_vec());
    let anchors = Anchors::pins(vec![attic.root.key_id()]);
    for at in 0..presented[2].len() {
        let mut changed = presented.clone();
        changed[2][at] ^= 1;
        let peer = verify(Clock::Trusted(NOW), Usage::Client, &changed, &anchors, &RevocationView::default());
        assert!(peer.is_err(), "byte {at}");
    }
}

#[test]
fn an_issuing_ca_that_is_presented_by_the_wrong_authority_does_not_help() {
    let (attic, cellar, key) = (attic(), TestAuthority::new("cellar", 50), key());
    let presented = vec![attic.device(&key).der().to_vec(), cellar.issuing[0].der().to_vec()];
    assert!(matches!(check(&attic, &presented, Usage::Client), Err(ChainError::Path(_))));
    let alone = vec![attic.device(&key).der().to_vec()];
    assert!(matches!(check(&attic, &alone, Usage::Client), Err(ChainError::Path(_))));
    let ca_itself = vec![attic.issuing[0].der().to_vec()];
    assert!(check(&attic, &ca_itself, Usage::Client).is_err());
    let root_itself = vec![attic.root.der().to_vec()];
    assert!(check(&attic, &root_itself, Usage::Client).is_err());
}

#[test]
fn what_was_taken_back_is_refused_by_list_by_serial_and_by_key() {
    let (attic, key) = (attic(), key());
    let device = attic.device(&key);
    let presented = attic.present(&device, IssuerClass::One);
    let judge = |view: &RevocationView| {
        verify(Clock::Untrusted, Usage::Client, &presented, &attic.anchors(), view).map(|p| p.revocation())
    };
    let reason = RevocationReason::KeyCompromise;
    let revoked = |serial| Err(ChainError::Revoked { serial, reason: Some(reason) });
    let listed = |certificate: &Certificate, reason| {
        let entry = Entry { serial: certificate.serial(), at: NOW, reason };
        if certificate == &device {
            attic.crl(IssuerClass::One, 2, &[entry])
        } else {
            attic.root_crl(2, &[entry])
        }
    };

    let mut view = attic.view();
    assert_eq!(judge(&view), Ok(Status::Good));
    let crl = VerifiedCrl::parse(&listed(&device, reason), &attic.issuing[0]).unwrap();
    view.install(crl).unwrap();
    assert_eq!(judge(&view), revoked(device.serial()));

    let mut view = attic.view();
    view.install(VerifiedCrl::parse(&listed(&attic.issuing[0], reason), &attic.root).unwrap()).unwrap();
    assert_eq!(judge(&view), revoked(attic.issuing[0].serial()), "the issuing CA");

    let mut view = attic.view();
    let hold = RevocationReason::Hold;
    view.install(VerifiedCrl::parse(&listed(&device, hold), &attic.issuing[0]).unwrap()).unwrap();
    assert_eq!(judge(&view), Err(ChainError::Suspended { serial: device.serial() }));

    let mut view = RevocationView::default();
    assert_eq!(judge(&view), Ok(Status::Unknown));
    let other = Serial::from_random([5; 16]);
    view.revoke(attic.issuing[1].key_id(), other, device.key_id(), reason);
    assert_eq!(judge(&view), revoked(device.serial()), "its key, under another certificate");

    let peer = check(&attic, &presented, Usage::Client).unwrap();
    assert_eq!(peer.check_revocation(&attic.view()), Ok(()));
    assert_eq!(peer.check_revocation(&view).err(), revoked(device.serial()).err());
}

#[test]
fn a_peer_that_is_not_the_one_that_was_wanted_is_refused() {
    let (attic, key) = (attic(), key());
    let device = check(&attic, &attic.present(&attic.device(&key), IssuerClass::One), Usage::Server).unwrap();
    assert_eq!(device.expect(&device.identity().clone()), Ok(()));
    let other = "spiffe://attic/device/kdev-0000000000000000".parse().unwrap();
    assert_eq!(device.expect(&other).unwrap_err().code().number(), 307);
    assert_eq!(device.expect_authority(&attic.name).unwrap_err().code().number(), 307);
    let server = check(&attic, &attic.present(&attic.server(&key), IssuerClass::Two), Usage::Server).unwrap();
    assert_eq!(server.expect_authority(&attic.name), Ok(()));
    assert!(server.expect_authority(&"cellar".parse().unwrap()).is_err());
}

/// A certificate that our own writer would never make, signed by a genuine issuing CA.
struct Forgery {
    params: CertificateParams,
    class: IssuerClass,
}

impl Forgery {
    /// Everything as it should be, to begin with.
    fn new(attic: &TestAuthority, key: &TestKey) -> Self {
        let facts = attic.grant(key).facts;
        let mut params = CertificateParams::default();
        let time = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.unix_s());
        params.not_before = time(NOW.minus(DAY));
        params.not_after = time(NOW.plus(DAY));
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7; 16]));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.custom_extensions = vec![extension(facts.to_der().unwrap())];
        params.subject_alt_names = vec![uri(&format!("spiffe://attic/device/{}", facts.subject.device))];
        Self { params, class: IssuerClass::One }
    }

    fn judge(&self, attic: &TestAuthority, key: &TestKey) -> Result<VerifiedPeer, ChainError> {
        let issuer = Issuer::new(ca_params(attic, self.class), attic.issuing_key(self.class));
        let forged = self.params.signed_by(key, &issuer).unwrap();
        let ca = attic.context(self.class, NOW).issuer;
        check(attic, &[forged.der().to_vec(), ca.der().to_vec()], Usage::Client)
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().unwrap())
}

fn extension(content: Vec<u8>) -> CustomExtension {
    let oid: Vec<u64> = oid::IDENTITY_EXTENSION.arcs().map(u64::from).collect();
    CustomExtension::from_oid_content(&oid, content)
}

/// Name and rights of a genuine issuing CA, for the second certificate writer.
fn ca_params(attic: &TestAuthority, class: IssuerClass) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "attic");
    let ca = attic.context(class, NOW).issuer;
    let name = format!("kOS Intermediate CA {} {}", class.number(), ca.key_id().short());
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[test]
fn a_genuine_signature_does_not_make_up_for_a_wrong_content() {
    let (attic, key) = (attic(), key());
    let facts = attic.grant(&key).facts;
    let judge = |change: &dyn Fn(&mut Forgery)| {
        let mut forgery = Forgery::new(&attic, &key);
        change(&mut forgery);
        forgery.judge(&attic, &key).map(|_| ()).map_err(|e| e.code().number())
    };
    let good = format!("spiffe://attic/device/{}", facts.subject.device);
    let mut other = facts.clone();
    other.subject.device = "kdev-0000000000000000".parse().unwrap();
    let mut elsewhere = facts.clone();
    elsewhere.subject.authority = "cellar".parse().unwrap();

    assert_eq!(judge(&|_| {}), Ok(()), "the forgery itself is a good one");
    assert_eq!(judge(&|f| f.params.extended_key_usages.clear()), Err(306), "no purpose");
    assert_eq!(judge(&|f| f.params.extended_key_usages.truncate(0)), Err(306));
    assert_eq!(judge(&|f| drop(f.params.extended_key_usages.remove(0))), Err(306), "server only");
    assert_eq!(
        judge(&|f| f.params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning]),
        Err(306)
    );
    assert_eq!(judge(&|f| f.params.key_usages.clear()), Err(306), "no key usage");
    assert_eq!(judge(&|f| f.params.key_usages = vec![KeyUsagePurpose::KeyAgreement]), Err(306));
    assert_eq!(judge(&|f| f.params.custom_extensions.clear()), Err(307), "no kOS extension");
    assert_eq!(judge(&|f| f.params.custom_extensions = vec![extension(vec![0x30, 0])]), Err(301));
    assert_eq!(judge(&|f| f.params.custom_extensions.extend(f.params.custom_extensions.clone())), Err(301));
    for contradiction in [&other, &elsewhere] {
        let der = contradiction.to_der().unwrap();
        assert_eq!(judge(&|f| f.params.custom_extensions = vec![extension(der.clone())]), Err(307));
    }
    assert_eq!(judge(&|f| f.params.subject_alt_names.clear()), Err(307), "no URI");
    assert_eq!(judge(&|f| f.params.subject_alt_names.push(uri(&good))), Err(307), "two URIs");
    for name in [
        "spiffe://attic/device/kdev-0000000000000000",
        "spiffe://cellar/device/kdev-0000000000000000",
        "spiffe://attic/operator/anna",
        "spiffe://attic/authority",
        "spiffe://attic",
        "https://attic.example/",
    ] {
        assert_eq!(judge(&|f| f.params.subject_alt_names = vec![uri(name)]), Err(307), "{name}");
    }
    for name in ["spiffe://attic/operator/anna", "spiffe://attic/authority"] {
        let by_ca_one = judge(&|f| {
            f.params.custom_extensions.clear();
            f.params.subject_alt_names = vec![uri(name)];
        });
        assert_eq!(by_ca_one, Err(302), "issuing CA 1 made {name}");
    }
    assert_eq!(judge(&|f| f.class = IssuerClass::Two), Err(302), "issuing CA 2 made a SEC-2 device");
    let der = DeviceFacts { profile: SecurityProfile::Sec4, ..facts }.to_der().unwrap();
    let sec4 = judge(&|f| f.params.custom_extensions = vec![extension(der.clone())]);
    assert_eq!(sec4, Err(302), "issuing CA 1 made a SEC-4 device");
    let far = rcgen::date_time_ymd(2040, 1, 1);
    assert_eq!(judge(&|f| f.params.not_after = far), Err(302), "outlives its issuer");
    assert_eq!(judge(&|f| f.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), Err(306));
}

#[test]
fn an_issuing_ca_cannot_make_another() {
    let (attic, key) = (attic(), key());
    let sub_key = TestKey::new(KeyAlgorithm::P256, 77);
    let mut sub = Forgery::new(&attic, &key).params;
    sub.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    sub.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    sub.subject_alt_names = vec![uri("spiffe://attic")];
    sub.custom_extensions.clear();
    sub.distinguished_name = ca_params(&attic, IssuerClass::One).distinguished_name;
    sub.distinguished_name.push(DnType::OrganizationalUnitName, "below");
    let genuine = Issuer::new(ca_params(&attic, IssuerClass::One), attic.issuing_key(IssuerClass::One));
    let sub_certificate = sub.signed_by(&sub_key, &genuine).unwrap();
    let leaf = Forgery::new(&attic, &key).params.signed_by(&key, &Issuer::new(sub, &sub_key)).unwrap();
    let presented = [leaf.der().to_vec(), sub_certificate.der().to_vec(), attic.issuing[0].der().to_vec()];
    let refused = check(&attic, &presented, Usage::Client);
    assert_eq!(refused, Err(ChainError::Path("a CA signed below the depth that it may".to_owned())));
}

#[test]
fn a_device_cannot_sign_certificates() {
    let attic = attic();
    let device_key = TestKey::new(KeyAlgorithm::P256, 9);
    let (device, victim) = (attic.device(&device_key), key());
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, attic.grant(&device_key).facts.subject.device.to_string());
    let leaf =
        Forgery::new(&attic, &victim).params.signed_by(&victim, &Issuer::new(params, &device_key)).unwrap();
    let presented = [leaf.der().to_vec(), device.der().to_vec(), attic.issuing[0].der().to_vec()];
    assert_eq!(check(&attic, &presented, Usage::Client).unwrap_err().code().number(), 302);
}

#[test]
fn strict_profiles_come_from_issuing_ca_two() {
    let (attic, key) = (attic(), key());
    let mut grant = attic.grant(&key);
    grant.facts.profile = SecurityProfile::Sec3;
    grant.facts.evidence = kos_base::EvidenceTier::EkActivated;
    grant.facts.capabilities = capabilities_hash(&[]);
    grant.hardware_serial = None;
    let device = attic.issue(Warrant::Device(grant), IssuerClass::Two, 4);
    let peer = check(&attic, &attic.present(&device, IssuerClass::Two), Usage::Client).unwrap();
    assert_eq!(peer.facts().unwrap().profile, SecurityProfile::Sec3);
    assert_eq!(peer.not_after().since(NOW), 7 * DAY);
}

#[test]
fn an_examination_answers_every_question_by_itself() {
    let (attic, key) = (attic(), key());
    let signer = TestKey::new(KeyAlgorithm::Ed25519, 30);
    let presented = attic.present(&attic.device(&key), IssuerClass::One);
    let serials = ["SN-0001".to_owned()];
    let inputs = DeviceIdInputs {
        uuid: EntryId::from_parts(NOW, [7; 10]).uuid(),
        macs: &[],
        serials: &serials,
        identity_key: key.public().id(),
    };
    let kid = crate::kid::tests::signed(&attic, &key, &signer, NOW);
    let (anchors, view) = (attic.anchors(), attic.view());
    let good = Examination {
        clock: Clock::Trusted(NOW),
        presented: &presented,
        anchors: &anchors,
        revocation: &view,
        device_id_inputs: Some(inputs),
        kid: Some(KidUnderExamination { bytes: &kid, signer: signer.public() }),
    };
    let failing = |examination: &Examination<'_>| -> Vec<&'static str> {
        let checks = examine(examination);
        assert_eq!(checks.len(), CheckName::ALL.len());
        checks.into_iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect()
    };
    assert_eq!(failing(&good), [""; 0]);

    let late = Examination { clock: Clock::Trusted(NOW.plus(40 * DAY)), ..good };
    assert_eq!(failing(&late), ["validity", "kid-confirmation"]);
    let blind = Examination { revocation: &RevocationView::default(), ..good };
    assert_eq!(failing(&blind), ["revocation"]);
    let mut revoked = view.clone();
    revoked.revoke(
        attic.issuing[0].key_id(),
        Serial::from_random([5; 16]),
        key.public().id(),
        RevocationReason::Hold,
    );
    assert_eq!(failing(&Examination { revocation: &revoked, ..good }), ["revocation"]);
    let other = DeviceIdInputs { uuid: EntryId::from_parts(NOW, [8; 10]).uuid(), ..inputs };
    assert_eq!(failing(&Examination { device_id_inputs: Some(other), ..good }), ["device-id"]);
    assert_eq!(failing(&Examination { device_id_inputs: None, ..good }), ["device-id"]);
    let no_kid = Examination { kid: None, ..good };
    assert_eq!(failing(&no_kid), ["kid-signature", "kid-confirmation"]);
    let stolen = crate::kid::tests::signed(&attic, &TestKey::new(KeyAlgorithm::P256, 3), &signer, NOW);
    let stolen = KidUnderExamination { bytes: &stolen, signer: signer.public() };
    assert_eq!(failing(&Examination { kid: Some(stolen), ..good }), ["kid-confirmation"]);
    let stranger = TestAuthority::new("attic", 50);
    let foreign = Examination { anchors: &stranger.anchors(), ..good };
    assert_eq!(failing(&foreign), ["chain", "validity", "extension", "revocation"]);
    assert_eq!(failing(&Examination { presented: &[], ..good }).len(), 6, "only the kID's signature stands");
}
