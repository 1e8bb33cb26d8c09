//! No way down, on the device: an authority that gives less, by mistake or because somebody lowered its records, is
//! refused, and the device goes on with what it has.
//!
//! Source: `docs/spec/policy.md` POLS-27.

use core::time::Duration;

use kos_base::{DeviceState, SecurityProfile, code::enrolment as codes};
use kos_identity::{
    certificate::Certificate,
    enrolment::device::{Command, Event, Journal},
    registry::Operation,
};

use super::{DAY, hand::Hand};
use crate::{downgrade::forged, office::Office};

/// The only device with a record that never said more than SEC-1.
fn lower_everything(office: &mut Office) {
    let held = office.devices.remove(0);
    office.devices.push(forged(&held, "SEC-2", "SEC-1"));
}

fn issued_last(office: &Office) -> SecurityProfile {
    Certificate::parse(office.certificates.last().unwrap()).unwrap().facts().unwrap().profile
}

fn in_service() -> (Office, Hand) {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    assert_eq!(hand.machine.journal().profile_floor(), Some(SecurityProfile::Sec2));
    (office, hand)
}

fn refuses(hand: &Hand, issue: u32) {
    let refusals = hand.told.iter().filter(|told| **told == Event::Untrusted(codes::DOWNGRADE));
    assert!(refusals.count() > 0, "{:?}", hand.told);
    assert_eq!(hand.active(), Some(issue));
}

#[test]
fn a_device_does_not_take_a_renewal_that_leads_down() {
    let (mut office, mut hand) = in_service();
    lower_everything(&mut office);
    hand.command(&mut office, Command::Regenerate);
    assert_eq!(issued_last(&office), SecurityProfile::Sec1);
    refuses(&hand, 1);
    // Nor after a power cut.
    hand.cut_power();
    hand.command(&mut office, Command::Resume);
    hand.pass(&mut office, Duration::from_secs(300));
    refuses(&hand, 1);
}

#[test]
fn a_device_does_not_take_a_recovery_that_leads_down() {
    let (mut office, mut hand) = in_service();
    hand.offline = true;
    hand.pass(&mut office, DAY * 20);
    lower_everything(&mut office);
    hand.offline = false;
    hand.pass(&mut office, Duration::from_secs(3_600));
    assert_eq!(issued_last(&office), SecurityProfile::Sec1);
    refuses(&hand, 1);
}

#[test]
fn a_device_does_not_come_back_from_quarantine_with_less() {
    let (mut office, mut hand) = in_service();
    office.quarantine();
    office.operate(Operation::Reinstate { reason: "cleaned".to_owned(), approvers: Box::default() });
    lower_everything(&mut office);
    hand.command(&mut office, Command::CheckIn);
    hand.pass(&mut office, Duration::from_secs(300));
    assert_eq!(issued_last(&office), SecurityProfile::Sec1);
    refuses(&hand, 1);
}

#[test]
fn a_device_that_its_authority_has_forgotten_keeps_its_floor() {
    let (mut office, mut hand) = in_service();
    office.devices.clear();
    hand.ticket = None;
    hand.profile.profile = SecurityProfile::Sec1;
    hand.command(&mut office, Command::CheckIn);
    for _ in 0..3 {
        hand.pass(&mut office, Duration::from_secs(300));
    }
    assert_eq!((office.only().state(), hand.active()), (DeviceState::Pending, None));
    let asked = office.only().lobby.as_ref().and_then(|lobby| lobby.requested);
    assert_eq!(
        asked,
        Some(SecurityProfile::Sec2),
        "it asks for what it had, whatever its configuration says"
    );
    office.operate(Operation::Approve { profile: SecurityProfile::Sec1 });
    hand.pass(&mut office, Duration::from_secs(300));
    assert_eq!(issued_last(&office), SecurityProfile::Sec1);
    assert!(hand.told.contains(&Event::Untrusted(codes::DOWNGRADE)), "{:?}", hand.told);
    assert_eq!(hand.active(), None);
    // Once somebody has looked, it is let in with what it had.
    office.operate(Operation::Approve { profile: SecurityProfile::Sec2 });
    for _ in 0..4 {
        hand.pass(&mut office, Duration::from_secs(300));
    }
    let floor = Journal::from_bytes(hand.journal.as_ref().unwrap()).unwrap().profile_floor;
    assert_eq!(floor, Some(SecurityProfile::Sec2));
}

#[test]
fn a_wiped_device_begins_anew() {
    let (mut office, mut hand) = in_service();
    hand.command(&mut office, Command::Decommission);
    assert!(hand.journal.is_none(), "the floor belongs to the life that ended");
}
