//! Whom a rule lets in without a person, and whom it does not.

use core::time::Duration;

use kos_base::{DeviceState, KeyId, Role, SecurityProfile, code::enrolment as codes};
use kos_identity::{
    enrolment::{
        authority::{ApprovalRule, Asks, RuleError},
        message::FromAuthority,
        proof::RenewalKind::Recovery,
    },
    registry::{Actor, Change, Operation},
};

use crate::{
    applicant::Applicant,
    office::{Office, issued, refusal},
};

/// What is asked of a device: serials, addresses, keys, roles.
fn asks(serials: &[&str], macs: &[&str], keys: &[KeyId], roles: &[Role]) -> Asks {
    Asks {
        eks: std::collections::BTreeSet::new(),
        serials: serials.iter().map(ToString::to_string).collect(),
        macs: macs.iter().map(|mac| mac.parse().unwrap()).collect(),
        keys: keys.iter().copied().collect(),
        roles: roles.iter().copied().collect(),
    }
}

fn rule(asks: Asks, profile: SecurityProfile) -> ApprovalRule {
    ApprovalRule::new("line-2".parse().unwrap(), asks, profile).unwrap()
}

/// A rule for the serial of [`Applicant`] 20.
fn for_serial() -> Vec<ApprovalRule> {
    vec![rule(asks(&["S20"], &[], &[], &[]), SecurityProfile::Sec1)]
}

fn waits(answers: &[FromAuthority]) -> bool {
    matches!(answers, [FromAuthority::Pending(_)])
}

#[test]
fn a_rule_lets_in_who_shows_everything_that_it_asks_for() {
    let key = Applicant::new(20).identity.public().id();
    let (other, sensor) = (KeyId::from_bytes([9; 32]), [Role::Gateway, Role::Sensor]);
    let (mac, mine) = ("00:11:22:33:44:14", ["S19", "S20"]);
    let cases = [
        ("serial", true, asks(&mine, &[], &[], &[])),
        ("address", true, asks(&[], &[mac], &[], &[])),
        ("key", true, asks(&[], &[], &[other, key], &[])),
        ("all of it", true, asks(&mine, &[mac], &[key], &sensor)),
        ("another serial", false, asks(&["S2", "S200", "s20"], &[], &[], &[])),
        ("another address", false, asks(&[], &["00:11:22:33:44:15"], &[], &[])),
        ("another key", false, asks(&[], &[], &[other], &[])),
        ("serial without key", false, asks(&mine, &[], &[other], &[])),
        ("serial without address", false, asks(&mine, &["00:11:22:33:44:15"], &[], &[])),
        ("another role", false, asks(&mine, &[], &[], &[Role::Gateway])),
    ];
    for (what, fits, asks) in cases {
        let mut office = Office::new();
        office.rules(vec![rule(asks, SecurityProfile::Sec1)]);
        let applicant = Applicant::new(20);
        assert!(waits(&applicant.wait_in_lobby(&mut office)), "{what}");
        if fits {
            let certificate = issued(&applicant.wait_in_lobby(&mut office));
            assert_eq!(certificate.facts().unwrap().profile, SecurityProfile::Sec1, "{what}");
            assert_eq!(applicant.confirm(&mut office, 1), [FromAuthority::Recorded], "{what}");
        } else {
            assert!(waits(&applicant.wait_in_lobby(&mut office)), "{what}");
            assert!(office.certificates.is_empty(), "{what}");
        }
    }
}

#[test]
fn what_a_rule_did_is_recorded_as_the_authoritys_doing() {
    let mut office = Office::new();
    office.rules(for_serial());
    assert!(waits(&Applicant::new(20).wait_in_lobby(&mut office)));
    let device = office.only().id.clone();
    let (profile, rule) = (SecurityProfile::Sec1, Some("line-2".parse().unwrap()));
    let identity_key = office.only().identity_key.id();
    let expected = [
        Change::DeviceWaiting { device: device.clone(), identity_key, withheld: None },
        Change::DeviceApproved { device, profile, rule },
    ];
    assert_eq!(office.log, expected);
    assert_eq!(office.actors, [Actor::Authority, Actor::Authority]);
}

#[test]
fn a_device_gets_what_it_asks_for_and_at_most_what_the_rule_gives() {
    let key = Applicant::new(20).identity.public().id();
    for (gives, wants, gets) in [
        (SecurityProfile::Sec0, SecurityProfile::Sec2, SecurityProfile::Sec0),
        (SecurityProfile::Sec2, SecurityProfile::Sec2, SecurityProfile::Sec2),
        (SecurityProfile::Sec2, SecurityProfile::Sec1, SecurityProfile::Sec1),
    ] {
        let mut office = Office::new();
        office.rules(vec![rule(asks(&[], &[], &[key], &[]), gives)]);
        let applicant = Applicant { profile: wants, ..Applicant::new(20) };
        assert!(waits(&applicant.wait_in_lobby(&mut office)));
        assert_eq!(issued(&applicant.wait_in_lobby(&mut office)).facts().unwrap().profile, gets);
    }
}

#[test]
fn rules_that_give_more_than_they_ask_for_do_not_exist() {
    let make = |asks, profile| ApprovalRule::new("line-2".parse().unwrap(), asks, profile).map(drop);
    let local = "02:11:22:33:44:55";
    let key = KeyId::from_bytes([1; 32]);
    for (asks, profile, expected) in [
        (Asks::default(), SecurityProfile::Sec0, Err(RuleError::Everybody)),
        (asks(&[], &[], &[], &[Role::Sensor]), SecurityProfile::Sec0, Err(RuleError::Everybody)),
        (
            asks(&[], &[local], &[], &[]),
            SecurityProfile::Sec0,
            Err(RuleError::Address(local.parse().unwrap())),
        ),
        (
            asks(&["S1"], &["00:11:22:33:44:55"], &[], &[]),
            SecurityProfile::Sec2,
            Err(RuleError::Profile(SecurityProfile::Sec2)),
        ),
        (asks(&["S1"], &[], &[], &[]), SecurityProfile::Sec1, Ok(())),
        (asks(&["S1"], &[], &[key], &[]), SecurityProfile::Sec2, Ok(())),
    ] {
        assert_eq!(make(asks, profile), expected);
    }
}

#[test]
fn a_rule_that_is_newer_than_the_wait_ends_it() {
    let mut office = Office::new();
    let applicant = Applicant::new(20);
    assert!(waits(&applicant.wait_in_lobby(&mut office)));
    office.rules(for_serial());
    assert!(waits(&applicant.wait_in_lobby(&mut office)));
    issued(&applicant.wait_in_lobby(&mut office));
    let approvals = office.log.iter().filter(|change| matches!(change, Change::DeviceApproved { .. }));
    assert_eq!(approvals.count(), 1);
}

fn approved(office: &Office) -> bool {
    office.only().lobby.as_ref().is_some_and(|entry| entry.approved)
}

#[test]
fn a_rule_that_was_taken_back_before_the_certificate_lets_nobody_in() {
    let lesser = vec![rule(asks(&["S20"], &[], &[], &[]), SecurityProfile::Sec0)];
    let other = vec![rule(asks(&["S21"], &[], &[], &[]), SecurityProfile::Sec1)];
    for (after, profile) in [(Vec::new(), None), (other, None), (lesser, Some(SecurityProfile::Sec0))] {
        let mut office = Office::new();
        office.rules(for_serial());
        let applicant = Applicant { profile: SecurityProfile::Sec1, ..Applicant::new(20) };
        assert!(waits(&applicant.wait_in_lobby(&mut office)));
        assert!(approved(&office));
        office.rules(after);
        assert!(waits(&applicant.wait_in_lobby(&mut office)));
        assert_eq!(approved(&office), profile.is_some());
        if let Some(profile) = profile {
            issued(&applicant.wait_in_lobby(&mut office));
            assert_eq!(office.only().profile(), profile);
        }
    }
}

#[test]
fn what_a_device_said_first_counts_as_much_as_what_it_says_now() {
    let mut office = Office::new();
    let mut applicant = Applicant::new(30);
    assert!(waits(&applicant.wait_in_lobby(&mut office)));
    office.rules(for_serial());
    applicant.facts.serials = vec!["S20".to_owned()];
    for _ in 0..2 {
        assert!(waits(&applicant.wait_in_lobby(&mut office)));
    }
    assert!(office.certificates.is_empty());
}

#[test]
fn no_rule_settles_a_clone_alert() {
    let mut office = Office::new();
    Applicant::in_service(&mut office, 20);
    office.rules(for_serial());
    let mut newcomer = Applicant::new(30);
    newcomer.facts = Applicant::new(20).facts;
    for _ in 0..3 {
        assert!(waits(&newcomer.wait_in_lobby(&mut office)));
    }
    // Nor once the other is gone: the alert stays until a person has looked at it.
    let serials = std::mem::take(&mut office.devices[0].serials);
    let macs = std::mem::take(&mut office.devices[0].macs);
    assert!(waits(&newcomer.wait_in_lobby(&mut office)));
    (office.devices[0].serials, office.devices[0].macs) = (serials, macs);
    assert!(!office.log.iter().any(|change| matches!(change, Change::DeviceApproved { .. })));
}

#[test]
fn of_two_who_show_the_same_serial_a_rule_lets_in_the_first_and_the_other_is_an_alert() {
    let mut office = Office::new();
    office.rules(for_serial());
    let (first, mut second) = (Applicant::new(20), Applicant::new(30));
    second.facts.serials = vec!["S20".to_owned()];
    // Neither is let in when the other comes, and nobody who only waits makes an alert.
    assert!(waits(&second.wait_in_lobby(&mut office)));
    let waiting = office.devices.pop().unwrap();
    assert!(waits(&first.wait_in_lobby(&mut office)));
    issued(&first.wait_in_lobby(&mut office));
    assert_eq!(first.confirm(&mut office, 1), [FromAuthority::Recorded]);
    office.devices.push(waiting);

    for _ in 0..2 {
        assert!(waits(&second.wait_in_lobby(&mut office)));
    }
    assert!(office.log.iter().any(|change| matches!(change, Change::CloneSuspected { .. })));
    assert_eq!(office.certificates.len(), 1);
}

#[test]
fn no_rule_lets_back_in_who_was_stopped() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.rules(for_serial());
    office.quarantine();
    office.operate(Operation::Reinstate { reason: "cleaned".to_owned(), approvers: Box::default() });
    // An authority before this version kept no case; with one, neither rule nor lobby leads back.
    office.devices[0].case = None;
    let next = first.with_next_key(70);
    for _ in 0..2 {
        assert!(waits(&next.wait_in_lobby(&mut office)));
        assert!(waits(&next.go_on(&mut office, (Recovery, 1, &next.identity))));
    }
    assert_eq!(office.only().state(), DeviceState::Pending);
    office.operate(Operation::Ban { reason: "because".to_owned() });
    let mut line = office.call(Some(next.identity.public()));
    assert_eq!(refusal(&office.tell(&mut line, &next.hello())), codes::BANNED);
}

#[test]
fn a_person_may_give_more_than_the_rule_that_was_faster() {
    let mut office = Office::new();
    office.rules(for_serial());
    let applicant = Applicant::new(20);
    assert!(waits(&applicant.wait_in_lobby(&mut office)));
    office.pass(Duration::from_secs(1));
    office.operate(Operation::Approve { profile: SecurityProfile::Sec2 });
    assert_eq!(office.only().lobby.as_ref().unwrap().rule, None);
    let certificate = issued(&applicant.wait_in_lobby(&mut office));
    assert_eq!(certificate.facts().unwrap().profile, SecurityProfile::Sec2);
}
