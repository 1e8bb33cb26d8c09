//! Renewal, recovery, confirmation, and copies of a device.

use core::time::Duration;

use kos_base::{
    Code, DeviceState, EvidenceTier, KeyAlgorithm, Role, SecurityProfile, code, code::enrolment as codes,
};
use kos_identity::{
    certificate::Certificate,
    enrolment::{
        message::{FromAuthority, Image, Means, Prove},
        proof::RenewalKind::{self, Recovery, Renewal},
    },
    registry::{Change, Device, Operation, RevocationReason},
};

use crate::{
    applicant::{Applicant, request},
    office::{Office, issued, refusal},
    test_keys::TestKey,
};

/// Of a device of SEC-2.
const RECOVERIES: u32 = Device::recoveries(SecurityProfile::Sec2);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn key(seed: u8) -> TestKey {
    TestKey::new(KeyAlgorithm::Ed25519, seed)
}

#[test]
fn a_renewal_goes_into_service_when_it_is_confirmed_and_revokes_what_it_replaces() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    let next = first.with_next_key(70);
    let certificate = issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)));
    assert_eq!(certificate.facts().unwrap().subject.issue, 2);
    assert_eq!(office.only().credential.as_ref().unwrap().issue, 1, "not before it is confirmed");
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
    let [revocation] = office.revocations.as_slice() else { panic!("{:?}", office.revocations) };
    assert_eq!(
        (revocation.reason, revocation.key),
        (RevocationReason::Superseded, first.operational.public().id())
    );
    // Confirming again changes nothing, and is answered alike even when the device was stopped meanwhile.
    let before = office.contents();
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
    assert_eq!(office.contents(), before);
    office.operate(Operation::Suspend { reason: "because".to_owned() });
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
}

#[test]
fn continuity_is_proven_by_the_right_keys_or_not_at_all() {
    type Case = (&'static str, Code, RenewalKind, u8, u8);
    // Which key calls, which key signs as the old one; 20 is the identity key, 21 the operational one.
    let cases: [Case; 6] = [
        ("by the identity key", codes::RENEWAL_PROOF, Renewal, 20, 20),
        ("signed by another key", codes::RENEWAL_PROOF, Renewal, 21, 99),
        ("by a stranger", codes::DEVICE_UNKNOWN, Renewal, 99, 21),
        ("recovery by the operational key", codes::RENEWAL_PROOF, Recovery, 21, 21),
        ("recovery signed by another key", codes::RENEWAL_PROOF, Recovery, 20, 99),
        ("recovery while the certificate is valid", codes::STATE_FORBIDS, Recovery, 20, 20),
    ];
    for (what, code, kind, calls, signs) in cases {
        let mut office = Office::new();
        let next = Applicant::in_service(&mut office, 20).with_next_key(70);
        let before = office.contents();
        let mut line = office.call(Some(key(calls).public()));
        let welcome = next.greet_on(&mut office, &mut line);
        let means = next.by_keys(&office, &line, &welcome, (kind, 1, &key(signs)));
        let prove = Prove { means, ..next.request(&welcome) };
        assert_eq!(refusal(&next.prove(&mut office, &mut line, prove)), code, "{what}");
        assert_eq!(office.contents(), before, "{what}");
    }
}

#[test]
fn the_new_key_signs_too_and_is_not_the_identity_key() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    let next = first.with_next_key(70);
    let mut line = office.call(Some(first.operational.public()));
    let welcome = next.greet_on(&mut office, &mut line);
    let Means::Renewal { issue, old, .. } =
        next.by_keys(&office, &line, &welcome, (Renewal, 1, &first.operational))
    else {
        panic!("a renewal")
    };
    let new = vec![0; 64].into();
    let prove = Prove { means: Means::Renewal { issue, old, new }, ..next.request(&welcome) };
    assert_eq!(refusal(&next.prove(&mut office, &mut line, prove)), codes::RENEWAL_PROOF);

    let same = Applicant { operational: key(20), ..first.with_next_key(70) };
    assert_eq!(request(&same.identity), same.csr());
    let answers = same.go_on(&mut office, (Renewal, 1, &first.operational));
    assert_eq!(refusal(&answers), codes::CSR_INVALID);
}

#[test]
fn a_proof_of_renewal_is_none_of_recovery_nor_of_another_connection() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.pass(15 * DAY);
    let next = first.with_next_key(70);
    let (mut line, welcome) = next.greet(&mut office);
    let Means::Renewal { issue, old, new } =
        next.by_keys(&office, &line, &welcome, (Renewal, 1, &next.identity))
    else {
        panic!("a renewal")
    };
    let means = Means::Recovery { issue, identity: old, new };
    let answers = next.prove(&mut office, &mut line, Prove { means, ..next.request(&welcome) });
    assert_eq!(refusal(&answers), codes::RENEWAL_PROOF);

    let (elsewhere, _) = next.greet(&mut office);
    let (mut line, welcome) = next.greet(&mut office);
    let means = next.by_keys(&office, &elsewhere, &welcome, (Recovery, 1, &next.identity));
    let answers = next.prove(&mut office, &mut line, Prove { means, ..next.request(&welcome) });
    assert_eq!(refusal(&answers), codes::RENEWAL_PROOF);
}

#[test]
fn recovery_is_for_who_slept_past_the_end_and_is_counted_once_for_each_certificate() {
    let mut office = Office::new();
    let mut held = Applicant::in_service(&mut office, 20);
    for round in 0..RECOVERIES {
        office.pass(15 * DAY);
        let next = held.with_next_key(70 + u8::try_from(round).unwrap());
        let renewal = next.go_on(&mut office, (Renewal, round + 1, &held.operational));
        assert_eq!(refusal(&renewal), code::certificate::CERT_EXPIRED);
        let certificate = issued(&next.go_on(&mut office, (Recovery, round + 1, &next.identity)));
        // The answer was lost; asking again costs nothing.
        assert_eq!(issued(&next.go_on(&mut office, (Recovery, round + 1, &next.identity))), certificate);
        assert_eq!(office.only().recoveries_left, RECOVERIES - round - 1);
        assert_eq!(next.confirm(&mut office, round + 2), [FromAuthority::Recorded]);
        held = next;
    }
    office.pass(15 * DAY);
    let next = held.with_next_key(90);
    let known = RECOVERIES + 1;
    let answers = next.go_on(&mut office, (Recovery, known, &next.identity));
    assert_eq!(refusal(&answers), codes::RECOVERY_EXHAUSTED);
    office.operate(Operation::RaiseRecoveries { count: 1 });
    issued(&next.go_on(&mut office, (Recovery, known, &next.identity)));
}

#[test]
fn the_higher_the_profile_the_sooner_a_person_is_asked_who_slept_too_long() {
    for (profile, most) in [(SecurityProfile::Sec3, 1), (SecurityProfile::Sec4, 0)] {
        let mut office = Office::new();
        let mut held = Applicant { image: Image::Verified([1; 32].into()), ..Applicant::new(20) };
        held.wait_in_lobby(&mut office);
        office.devices[0].evidence = EvidenceTier::QuoteVerified;
        office.operate(Operation::Approve { profile: SecurityProfile::Sec3 });
        issued(&held.wait_in_lobby(&mut office));
        assert_eq!(held.confirm(&mut office, 1), [FromAuthority::Recorded]);
        office.devices[0].assign_profile(profile).unwrap();
        for round in 0..=most {
            office.pass(15 * DAY);
            let next = held.with_next_key(70 + u8::try_from(round).unwrap());
            let next = Applicant { image: held.image.clone(), ..next };
            let ask = |office: &mut Office| next.go_on(office, (Recovery, round + 1, &next.identity));
            if round == most {
                assert_eq!(refusal(&ask(&mut office)), codes::RECOVERY_EXHAUSTED, "{profile}");
                office.operate(Operation::RaiseRecoveries { count: 1 });
            }
            if profile == SecurityProfile::Sec4 {
                // What remains is a second verdict, and that nobody gives here.
                assert_eq!(refusal(&ask(&mut office)), code::second::SECOND_ABSENT);
                office.devices[0].recoveries_left = 0;
                continue;
            }
            issued(&ask(&mut office));
            assert_eq!(next.confirm(&mut office, round + 2), [FromAuthority::Recorded]);
            held = next;
        }
        assert_eq!(office.only().recoveries_left, 0, "{profile}");
    }
}

#[test]
fn an_older_number_means_two_devices_and_suspends_the_identity() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    let next = first.with_next_key(70);
    issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)));
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);

    // The copy's certificate is not known any more; by the identity key it shows the number that it knows.
    let copy = first.with_next_key(80);
    assert_eq!(refusal(&copy.go_on(&mut office, (Renewal, 1, &first.operational))), codes::DEVICE_UNKNOWN);
    assert_eq!(refusal(&copy.go_on(&mut office, (Recovery, 1, &copy.identity))), codes::CLONE);
    assert_eq!(office.only().state(), DeviceState::Suspended);
    assert!(office.log.iter().any(|change| matches!(change, Change::CloneSuspected { .. })));
    let held = |r: &kos_identity::registry::Revocation| r.reason == RevocationReason::Hold;
    assert_eq!(office.revocations.iter().filter(|revocation| held(revocation)).count(), 1);
}

#[test]
fn a_proof_that_was_under_way_when_its_successor_was_confirmed_is_no_alert() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.pass(15 * DAY);
    let next = first.with_next_key(70);
    let (mut late, welcome) = next.greet(&mut office);
    let means = next.by_keys(&office, &late, &welcome, (Recovery, 1, &next.identity));
    let prove = Prove { means, ..next.request(&welcome) };
    issued(&next.go_on(&mut office, (Recovery, 1, &next.identity)));
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);

    assert_eq!(refusal(&next.prove(&mut office, &mut late, prove)), codes::STATE_FORBIDS);
    assert_eq!(office.only().state(), DeviceState::Active);
}

#[test]
fn a_confirmation_is_for_the_certificate_of_its_connection() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    let next = first.with_next_key(70);
    issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)));
    let before = office.contents();
    for (applicant, issue) in [(&next, 1), (&next, 3), (&first, 2)] {
        assert_eq!(refusal(&applicant.confirm(&mut office, issue)), codes::STATE_FORBIDS, "{issue}");
    }
    assert_eq!(refusal(&first.with_next_key(99).confirm(&mut office, 2)), codes::DEVICE_UNKNOWN);
    assert_eq!(office.contents(), before);
}

#[test]
fn what_was_ordered_after_the_issue_is_not_done_by_its_confirmation() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.operate(Operation::Regenerate);
    let next = first.with_next_key(70);
    issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)));
    office.operate(Operation::SetRole { role: Role::Gateway });
    // The same bytes again; what goes with them agrees with them.
    match next.go_on(&mut office, (Renewal, 1, &first.operational)).as_slice() {
        [FromAuthority::Issued(grant)] => {
            let certificate = Certificate::parse(&grant.chain[0]).unwrap();
            assert_eq!((certificate.facts().unwrap().role, grant.role.role), (Role::Sensor, Role::Sensor));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
    assert!(office.only().regenerate, "the new role needs a new certificate");
    let last = first.with_next_key(80);
    let certificate = issued(&last.go_on(&mut office, (Renewal, 2, &next.operational)));
    assert_eq!(certificate.facts().unwrap().role, Role::Gateway);
    assert_eq!(last.confirm(&mut office, 3), [FromAuthority::Recorded]);
    assert!(!office.only().regenerate);
}

#[test]
fn a_suspension_holds_what_waits_for_its_confirmation_as_well() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    let next = first.with_next_key(70);
    issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)));
    office.operate(Operation::Suspend { reason: "because".to_owned() });
    assert_eq!(office.revocations.len(), 2);
    assert_eq!(refusal(&next.confirm(&mut office, 2)), codes::STATE_FORBIDS);
    assert!(office.misuse.is_empty(), "a device that was stopped is honest");
    office.operate(Operation::Reinstate { reason: "looked at".to_owned(), approvers: Box::default() });
    assert!(office.revocations.is_empty());
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
}

#[test]
fn from_a_quarantine_without_a_case_a_device_comes_back_through_a_proof_and_a_person() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.quarantine();
    office.operate(Operation::Reinstate { reason: "cleaned".to_owned(), approvers: Box::default() });
    // An authority before this version kept no case.
    office.devices[0].case = None;
    let next = first.with_next_key(70);
    let ask = |office: &mut Office| next.go_on(office, (Recovery, 1, &next.identity));
    assert!(matches!(ask(&mut office).as_slice(), [FromAuthority::Pending(_)]));
    let ticket = office.ticket(41);
    assert!(matches!(next.enrol(&mut office, ticket, 41).as_slice(), [FromAuthority::Pending(_)]));
    assert_eq!(refusal(&next.go_on(&mut office, (Renewal, 1, &first.operational))), codes::DEVICE_UNKNOWN);

    let lower = Operation::Approve { profile: SecurityProfile::Sec1 };
    let refused = lower.apply(office.now, kos_identity::registry::Actor::Authority, office.only().clone());
    assert_eq!(refused.unwrap_err().code(), Some(codes::DOWNGRADE));
    office.operate(Operation::Approve { profile: SecurityProfile::Sec2 });
    assert_eq!(issued(&ask(&mut office)).facts().unwrap().subject.issue, 2);
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
    assert_eq!(office.only().state(), DeviceState::Active);
}
