use core::time::Duration;

use kos_base::KeyAlgorithm;

use super::*;
use crate::{
    certificate::IssuerClass,
    test_authority::{NOW, TestAuthority},
    test_keys::TestKey,
};

const CLASS: IssuerClass = IssuerClass::One;

fn entry(serial: u8, reason: RevocationReason) -> Entry {
    Entry { serial: Serial::from_random([serial; 16]), at: NOW, reason }
}

const ALL_REASONS: [RevocationReason; 5] = [
    RevocationReason::KeyCompromise,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::Hold,
    RevocationReason::PrivilegeWithdrawn,
];

#[test]
fn a_list_says_who_was_taken_back_and_why() {
    let attic = TestAuthority::new("attic", 1);
    let entries: Vec<_> = (1..).zip(ALL_REASONS).map(|(serial, reason)| entry(serial, reason)).collect();
    let list = VerifiedCrl::parse(&attic.crl(CLASS, 42, &entries), &attic.issuing[0]).unwrap();
    assert_eq!((list.number(), list.issuer(), list.len()), (42, attic.issuing[0].key_id(), 5));
    assert_eq!((list.this_update(), list.next_update()), (NOW, NOW.plus(VALIDITY)));
    for entry in entries {
        assert_eq!(list.find(entry.serial), Some(Some(entry.reason)));
    }
    assert_eq!(list.find(Serial::from_random([9; 16])), None);
    let empty = VerifiedCrl::parse(&attic.root_crl(1, &[]), &attic.root).unwrap();
    assert!(empty.is_empty());
}

#[test]
fn of_two_entries_for_one_certificate_the_final_one_is_written() {
    let attic = TestAuthority::new("attic", 1);
    let twice = [entry(1, RevocationReason::Hold), entry(1, RevocationReason::Superseded)];
    let list = VerifiedCrl::parse(&attic.crl(CLASS, 1, &twice), &attic.issuing[0]).unwrap();
    assert_eq!(list.find(twice[0].serial), Some(Some(RevocationReason::Superseded)));
    assert_eq!(list.len(), 1);
}

#[test]
fn no_changed_byte_gets_through_and_no_other_issuer() {
    let attic = TestAuthority::new("attic", 1);
    let der = attic.crl(CLASS, 7, &[entry(1, RevocationReason::Hold)]);
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 1;
        assert!(VerifiedCrl::parse(&changed, &attic.issuing[0]).is_err(), "byte {at}");
        assert!(VerifiedCrl::parse(&der[..at], &attic.issuing[0]).is_err(), "length {at}");
    }
    let imposter = TestAuthority::new("attic", 50);
    for issuer in [&attic.issuing[1], &attic.root, &imposter.issuing[0]] {
        assert_eq!(VerifiedCrl::parse(&der, issuer), Err(CrlError::Issuer));
    }
    let device = attic.device(&TestKey::new(KeyAlgorithm::P256, 9));
    assert_eq!(VerifiedCrl::parse(&der, &device), Err(CrlError::Issuer));
    assert_eq!(build(&device, 1, [], NOW).err(), Some(IssueError::Issuer));
}

#[test]
fn a_list_with_a_scope_is_refused_even_from_the_issuer() {
    let attic = TestAuthority::new("attic", 1);
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(rcgen::DnType::OrganizationName, "attic");
    let name = format!("kOS Intermediate CA 1 {}", attic.issuing[0].key_id().short());
    ca.distinguished_name.push(rcgen::DnType::CommonName, name);
    ca.key_identifier_method =
        rcgen::KeyIdMethod::PreSpecified(attic.issuing[0].key_id().as_bytes().to_vec());
    let issuer = rcgen::Issuer::new(ca, attic.issuing_key(CLASS));
    let with = |scope| {
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 11, 20),
            next_update: rcgen::date_time_ymd(2026, 11, 27),
            crl_number: rcgen::SerialNumber::from(3),
            issuing_distribution_point: scope,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::PreSpecified(
                attic.issuing[0].key_id().as_bytes().to_vec(),
            ),
        };
        VerifiedCrl::parse(params.signed_by(&issuer).unwrap().der(), &attic.issuing[0])
    };
    assert_eq!(with(None).map(|list| list.number()), Ok(3));
    let scope = rcgen::CrlIssuingDistributionPoint {
        distribution_point: rcgen::CrlDistributionPoint { uris: vec!["http://a/b.crl".to_owned()] },
        scope: Some(rcgen::CrlScope::CaCertsOnly),
    };
    assert!(matches!(with(Some(scope)), Err(CrlError::Malformed(_))));
}

#[test]
fn numbers_only_grow_even_after_a_restore() {
    let later = NOW.plus(Duration::from_secs(1));
    assert_eq!(next_number(None, NOW), NOW.unix_ms());
    assert_eq!(next_number(Some(NOW.unix_ms()), NOW), NOW.unix_ms() + 1);
    assert_eq!(next_number(Some(5), later), later.unix_ms());
    assert_eq!(next_number(Some(u64::MAX), NOW), u64::MAX);
}

#[test]
fn an_older_list_does_not_replace_a_newer_one() {
    let attic = TestAuthority::new("attic", 1);
    let list = |number, entries: &[Entry]| {
        VerifiedCrl::parse(&attic.crl(CLASS, number, entries), &attic.issuing[0]).unwrap()
    };
    let revoked = entry(1, RevocationReason::KeyCompromise);
    let mut view = RevocationView::default();
    view.install(list(2, &[revoked])).unwrap();
    assert_eq!(view.install(list(1, &[])), Err(CrlError::Older { number: 1, held: 2 }));
    let (issuer, key) = (attic.issuing[0].key_id(), attic.root.key_id());
    assert!(matches!(view.status(revoked.serial, issuer, key), Status::Revoked { .. }));
    assert_eq!(view.install(list(2, &[revoked])), Ok(()), "the same again");
    assert_eq!(view.list(issuer).map(VerifiedCrl::number), Some(2));
    assert_eq!(view.lists().count(), 1);
}

#[test]
fn a_stale_list_says_so_and_still_refuses() {
    let attic = TestAuthority::new("attic", 1);
    let list = VerifiedCrl::parse(&attic.crl(CLASS, 1, &[]), &attic.issuing[0]).unwrap();
    let end = NOW.plus(VALIDITY);
    assert_eq!(list.check_fresh(end.minus(Duration::from_secs(1))), Ok(()));
    assert_eq!(list.check_fresh(end), Err(CrlError::Stale { next_update: end }));
}

#[test]
fn a_hold_can_be_lifted_and_what_is_final_cannot() {
    let attic = TestAuthority::new("attic", 1);
    let (issuer, key) = (attic.issuing[0].key_id(), attic.root.key_id());
    let serial = Serial::from_random([1; 16]);
    for (reason, after) in [
        (RevocationReason::Hold, Status::Good),
        (RevocationReason::Superseded, Status::Revoked { reason: Some(RevocationReason::Superseded) }),
    ] {
        let mut view = attic.view();
        assert_eq!(view.status(serial, issuer, key), Status::Good);
        view.revoke(issuer, serial, key, reason);
        assert_ne!(view.status(serial, issuer, key), Status::Good);
        view.release(issuer, serial, key);
        assert_eq!(view.status(serial, issuer, key), after);
    }
    let mut view = attic.view();
    view.revoke(issuer, serial, key, RevocationReason::KeyCompromise);
    let crl = attic.crl(CLASS, 2, &[entry(1, RevocationReason::Hold)]);
    view.install(VerifiedCrl::parse(&crl, &attic.issuing[0]).unwrap()).unwrap();
    let found = view.status(serial, issuer, key);
    assert_eq!(found, Status::Revoked { reason: Some(RevocationReason::KeyCompromise) }, "final before hold");
}
