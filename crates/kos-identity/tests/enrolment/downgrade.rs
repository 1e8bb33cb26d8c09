//! No way down, on the authority: one test a path. What the device refuses is in `device/downgrade.rs`.
//!
//! Source: `docs/spec/policy.md` POLS-21, POLS-25 to POLS-28.

use core::time::Duration;

use kos_base::{EvidenceTier, SecurityProfile, cbor, code, code::enrolment as codes};
use kos_identity::{
    certificate::Certificate,
    enrolment::{
        authority::kid_grant,
        message::FromAuthority,
        proof::RenewalKind::{Recovery, Renewal},
    },
    registry::{Actor, Change, Device, Operation},
};
use minicbor::{Decode, Encode};

use crate::{
    applicant::Applicant,
    office::{Office, issued, refusal},
};

use SecurityProfile::{Sec0, Sec1, Sec2, Sec3, Sec4};

fn says(certificate: &Certificate) -> SecurityProfile {
    certificate.facts().unwrap().profile
}

fn refused(office: &Office, operation: Operation) -> Option<kos_base::Code> {
    operation.apply(office.now, Actor::Authority, office.only().clone()).unwrap_err().code()
}

/// A value whose bytes say `to` wherever they said `from`: what no function of the registry would do.
pub(crate) fn forged<T: Encode<()> + for<'b> Decode<'b, ()>>(value: &T, from: &str, to: &str) -> T {
    let mut bytes = cbor::encode(value);
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    cbor::decode(&bytes, bytes.len()).unwrap()
}

/// The only device with a record that says less, and a certificate that still says what it said.
fn lower_the_record(office: &mut Office) {
    let held = office.devices.remove(0);
    let credential = held.credential.clone();
    let mut lowered: Device = forged(&held, "SEC-2", "SEC-1");
    lowered.credential = credential;
    office.devices.push(lowered);
    assert_eq!(office.only().profile(), Sec1);
}

#[test]
fn who_claims_more_than_was_proven_is_refused_counted_and_spends_no_ticket() {
    for (profile, evidence) in [
        (Sec2, EvidenceTier::None),
        (Sec3, EvidenceTier::KeyOnDevice),
        (Sec3, EvidenceTier::KeyInTpm),
        (Sec4, EvidenceTier::EkChainVerified),
    ] {
        let mut office = Office::new();
        let applicant = Applicant { profile, ..Applicant::new(20) };
        let ticket = office.ticket(40);
        office.tickets[0].profile_cap = profile;
        if evidence != EvidenceTier::KeyOnDevice {
            // It waited before, and what it has shown since is another tier.
            applicant.wait_in_lobby(&mut office);
            office.devices[0].evidence = evidence;
        }
        let before = office.contents();
        assert_eq!(refusal(&applicant.enrol(&mut office, ticket, 40)), code::policy::POLICY_EVIDENCE);
        assert_eq!(office.contents(), before);
        assert_eq!(office.misuse, [code::policy::POLICY_EVIDENCE]);
    }
}

#[test]
fn enrolment_does_not_lead_down() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    // In service a ticket gives nothing, whatever it says.
    let ticket = office.ticket(41);
    office.tickets[1].profile_cap = Sec1;
    let again = Applicant { profile: Sec1, ..first.with_next_key(70) };
    assert_eq!(refusal(&again.enrol(&mut office, ticket, 41)), codes::ENROLLED_ALREADY);
    assert_eq!(office.only().profile(), Sec2);
}

#[test]
fn a_renewal_does_not_lead_down() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    // The device asks for less; it is not asked.
    let next = Applicant { profile: Sec0, ..first.with_next_key(70) };
    assert_eq!(says(&issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)))), Sec2);
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
    // The record says less than the certificate in service.
    lower_the_record(&mut office);
    let last = first.with_next_key(80);
    let refused = last.go_on(&mut office, (Renewal, 2, &next.operational));
    assert_eq!(refusal(&refused), codes::DOWNGRADE);
    assert_eq!(office.certificates.len(), 2);
}

#[test]
fn a_recovery_does_not_lead_down() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.pass(Duration::from_secs(15 * 24 * 3600));
    let next = Applicant { profile: Sec1, ..first.with_next_key(70) };
    let mut lowered = Office::new();
    lowered.now = office.now;
    lowered.devices = office.devices.clone();
    assert_eq!(says(&issued(&next.go_on(&mut office, (Recovery, 1, &first.identity)))), Sec2);
    lower_the_record(&mut lowered);
    let next = first.with_next_key(71);
    assert_eq!(refusal(&next.go_on(&mut lowered, (Recovery, 1, &first.identity))), codes::DOWNGRADE);
}

#[test]
fn the_way_back_from_quarantine_does_not_lead_down() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.quarantine();
    office.operate(Operation::Reinstate { reason: "cleaned".to_owned(), approvers: Box::default() });
    let next = Applicant { profile: Sec1, ..first.with_next_key(70) };
    // An authority before this version kept no case.
    office.devices[0].case = None;
    let ticket = office.ticket(41);
    office.tickets[1].profile_cap = Sec1;
    assert!(matches!(next.enrol(&mut office, ticket, 41).as_slice(), [FromAuthority::Pending(_)]));
    for lower in [Sec0, Sec1] {
        assert_eq!(refused(&office, Operation::Approve { profile: lower }), Some(codes::DOWNGRADE));
    }
    office.operate(Operation::Approve { profile: Sec2 });
    assert_eq!(says(&issued(&next.go_on(&mut office, (Recovery, 1, &next.identity)))), Sec2);
}

#[test]
fn neither_does_the_one_with_a_case() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.quarantine();
    office.operate(Operation::Reinstate { reason: "cleaned".to_owned(), approvers: Box::default() });
    let next = Applicant { profile: Sec1, ..first.with_next_key(70) };
    assert_eq!(says(&issued(&next.go_on(&mut office, (Recovery, 1, &next.identity)))), Sec2);
}

#[test]
fn an_operator_raises_what_was_proven_and_lowers_nothing() {
    let mut office = Office::new();
    let first = Applicant::new(20);
    first.wait_in_lobby(&mut office);
    office.operate(Operation::Approve { profile: Sec1 });
    assert_eq!(says(&issued(&first.wait_in_lobby(&mut office))), Sec1);
    let raise = |profile| Operation::SetProfile { profile };
    assert_eq!(refused(&office, raise(Sec2)), Some(codes::STATE_FORBIDS), "it is not in service");
    first.confirm(&mut office, 1);

    assert_eq!(refused(&office, raise(Sec0)), Some(codes::DOWNGRADE));
    assert_eq!(refused(&office, raise(Sec1)), None, "it is so already");
    assert_eq!(refused(&office, raise(Sec3)), Some(code::policy::POLICY_EVIDENCE));
    office.operate(raise(Sec2));
    let id = office.only().id.clone();
    assert_eq!(office.log.last(), Some(&Change::ProfileChanged { device: id, from: Sec1, to: Sec2 }));

    // Until the next certificate, the kID says what is certified.
    let held = office.only().credential.clone().unwrap();
    assert_eq!(kid_grant(&office.context, office.only(), &held).traits.profile, Sec1);
    assert!(office.only().regenerate);
    let next = first.with_next_key(70);
    assert_eq!(says(&issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)))), Sec2);
    next.confirm(&mut office, 2);
    let held = office.only().credential.clone().unwrap();
    assert_eq!(kid_grant(&office.context, office.only(), &held).traits.profile, Sec2);
    assert_eq!(refused(&office, raise(Sec1)), Some(codes::DOWNGRADE));
}

#[test]
fn the_strict_profiles_are_raised_to_with_a_verified_boot_alone() {
    let mut office = Office::new();
    Applicant::in_service(&mut office, 20);
    office.devices[0].evidence = EvidenceTier::QuoteVerified;
    let raise = || Operation::SetProfile { profile: Sec3 };
    assert_eq!(refused(&office, raise()), Some(codes::IMAGE_UNVERIFIED));
    office.devices[0].image = Some(vec![1; 32]);
    office.devices[0].bootloader = Some(kos_identity::enrolment::message::Bootloader::Failed);
    assert_eq!(refused(&office, raise()), Some(codes::BOOTLOADER_UNLOCKED));
    office.devices[0].bootloader = None;
    office.operate(raise());
    assert_eq!(office.only().recoveries_left, 1, "as many as the profile has, and never more than were left");
}

#[test]
fn a_device_of_the_lobby_profile_is_given_no_command() {
    let mut office = Office::new();
    let applicant = Applicant { profile: Sec0, ..Applicant::new(20) };
    let ticket = office.ticket(40);
    assert_eq!(says(&issued(&applicant.enrol(&mut office, ticket, 40))), Sec0);
    applicant.confirm(&mut office, 1);
    let channel = kos_base::Channel::Beta;
    let keep = kos_identity::registry::AllowDev::Keep;
    let refused = refused(&office, Operation::SetChannel { channel, allow_dev: keep });
    assert_eq!(refused, Some(code::policy::POLICY_SCOPE));
}
