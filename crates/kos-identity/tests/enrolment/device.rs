//! The device's machine against a real authority, with a shell that a test can bend.

mod downgrade;
mod hand;

use core::time::Duration;

use kos_base::{
    Code, DeviceState, SecurityProfile, Timestamp, code, code::enrolment as codes, id::DeviceIdInputs,
};
use kos_identity::{
    decommission,
    enrolment::{
        device::{
            BootloaderLock, CODES_MAX, Command, Event, Goal, Input, Journal, KeySlot, Machine, Output, Slot,
        },
        message::{Bootloader, FromAuthority, Grant, SignedOrder},
    },
    registry::{Operation, Order},
};

use crate::office::{NOW, Office};
use hand::Hand;

/// Of a device of SEC-2.
const RECOVERIES: u32 = kos_identity::registry::Device::recoveries(SecurityProfile::Sec2);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_device_enrols_renews_and_leaves_nothing_of_its_old_keys() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    assert_eq!(hand.active(), Some(1));
    assert_eq!(office.only().state(), DeviceState::Active);
    let first = hand.keys();

    let Goal::Rest(renew_at) = hand.machine.journal().goal(hand.now) else { panic!("at rest") };
    assert_eq!(hand.machine.poll_timeout(), Some(renew_at));
    hand.pass(&mut office, renew_at.since(hand.now));
    assert_eq!(hand.active(), Some(2));
    assert_eq!(hand.keys().len(), first.len());
    assert!(hand.keys().iter().all(|key| !first.contains(key) || *key == KeySlot::Identity));
    assert!(matches!(hand.told.last(), Some(Event::Renewed(2))));
}

#[test]
fn what_contradicts_the_request_is_not_used() {
    type Change = fn(&mut Grant);
    let cases: [(&str, Code, Change); 9] = [
        ("device", code::certificate::CERT_IDENTITY, |grant| {
            grant.device = "kdev-7f4ac30123456789".parse().unwrap();
        }),
        ("number", code::certificate::CERT_IDENTITY, |grant| grant.issue += 1),
        ("role", code::certificate::CERT_IDENTITY, |grant| grant.role.role = kos_base::Role::Gateway),
        ("profile", code::certificate::CERT_IDENTITY, |grant| grant.role.profile = SecurityProfile::Sec3),
        ("root", code::certificate::CERT_CHAIN, |grant| grant.chain[2] = grant.chain[1].clone()),
        ("issuing CA", code::certificate::CERT_CHAIN, |grant| grant.chain[1] = grant.chain[2].clone()),
        ("certificate", code::certificate::CERT_MALFORMED, |grant| grant.chain[0] = vec![0x30, 0].into()),
        ("kID", code::certificate::KID_INVALID, |grant| grant.kid = vec![0xd2, 0x80].into()),
        ("signer of kIDs", code::certificate::KID_INVALID, |grant| {
            grant.keys.kid = grant.keys.orders.clone();
        }),
    ];
    for (what, code, change) in cases {
        let mut office = Office::new();
        let mut hand = Hand::with_ticket(&mut office);
        hand.bend = Some(Box::new(move |answer| {
            if let FromAuthority::Issued(grant) = answer {
                change(grant);
            }
        }));
        hand.start(&mut office);
        assert!(hand.told.contains(&Event::Untrusted(code)), "{what}: {:?}", hand.told);
        assert!(hand.machine.journal().candidate.as_ref().is_some_and(|c| c.held.is_none()), "{what}");
        assert_eq!(hand.active(), None, "{what}");

        // The next answer is as it should be.
        hand.bend = None;
        hand.pass(&mut office, Duration::from_secs(1));
        assert_eq!(hand.active(), Some(1), "{what}");
    }
}

#[test]
fn a_renewal_does_not_lead_back() {
    type Change = fn(&mut Grant, &Grant);
    let cases: [(&str, Change); 3] = [
        ("the same again", |grant, first| *grant = first.clone()),
        ("a lower profile", |grant, _| grant.role.profile = SecurityProfile::Sec1),
        ("other keys of the authority", |grant, _| grant.keys.log = grant.keys.kid.clone()),
    ];
    for (what, change) in cases {
        let mut office = Office::new();
        let mut hand = Hand::with_ticket(&mut office);
        hand.start(&mut office);
        let first = hand.grants.last().unwrap().clone();
        hand.bend = Some(Box::new(move |answer| {
            if let FromAuthority::Issued(grant) = answer {
                change(grant, &first);
            }
        }));
        hand.command(&mut office, Command::Regenerate);
        assert!(matches!(hand.told.last(), Some(Event::Untrusted(_))), "{what}: {:?}", hand.told);
        assert_eq!(hand.active(), Some(1), "{what}");
    }
}

#[test]
fn a_peer_that_breaks_the_protocol_or_names_itself_otherwise_is_left() {
    type Change = fn(&mut FromAuthority);
    let cases: [(&str, Code, Change); 3] = [
        ("another name", codes::PIN_MISMATCH, |answer| {
            if let FromAuthority::Welcome(welcome) = answer {
                welcome.authority = "cellar".parse().unwrap();
            }
        }),
        ("an answer to another question", codes::PROTOCOL, |answer| *answer = FromAuthority::Recorded),
        ("an order for somebody else", codes::PROTOCOL, |answer| {
            *answer = FromAuthority::Order(SignedOrder { order: vec![0xd2].into() });
        }),
    ];
    for (what, code, change) in cases {
        let mut office = Office::new();
        let mut hand = Hand::with_ticket(&mut office);
        hand.bend = Some(Box::new(change));
        hand.start(&mut office);
        assert_eq!(hand.told, [Event::Untrusted(code)], "{what}");
        assert!(hand.link.is_none(), "{what}");
    }
}

#[test]
fn without_a_pin_a_person_decides_which_root_is_pinned() {
    let mut office = Office::new();
    let mut rogue = Office::new();
    let mut hand = Hand::without_pin(&office);
    hand.start(&mut office);
    let [code] = hand.codes.as_slice() else { panic!("{:?}", hand.codes) };
    let code = code.clone();
    assert_eq!(office.only().lobby.as_ref().and_then(|lobby| lobby.comparison.clone()), Some(code.clone()));

    // Somebody else answers, approves at once and shows another code.
    hand.root = kos_base::KeyId::from_bytes([6; 32]);
    hand.pass(&mut rogue, Duration::from_secs(5));
    let seen = hand.codes.last().cloned();
    assert_ne!(seen.as_ref(), Some(&code));
    rogue.operate(Operation::Approve { profile: SecurityProfile::Sec1 });
    hand.pass(&mut rogue, Duration::from_secs(5));
    assert!(hand.grants.last().is_some_and(|grant| grant.issue == 1));
    assert_eq!(
        (hand.active(), hand.machine.journal().candidate.as_ref().unwrap().held.is_some()),
        (None, false)
    );

    // A code that was never shown confirms nothing; the right one pins the right root, and the device goes on there.
    hand.command(&mut rogue, Command::CodeConfirmed("000000".to_owned()));
    assert!(hand.machine.journal().authority.as_ref().unwrap().pins.is_empty());
    office.operate(Operation::Approve { profile: SecurityProfile::Sec1 });
    hand.root = office.context.root.key_id();
    hand.command(&mut office, Command::CodeConfirmed(code));
    assert_eq!(hand.machine.journal().authority.as_ref().unwrap().pins, [office.context.root.key_id()]);
    assert_eq!(hand.active(), Some(1));
}

#[test]
fn codes_are_bounded_until_a_person_begins_anew() {
    let mut office = Office::new();
    let mut hand = Hand::without_pin(&office);
    hand.start(&mut office);
    for other in 1..=4 {
        hand.root = kos_base::KeyId::from_bytes([other; 32]);
        hand.pass(&mut Office::new(), Duration::from_secs(5));
    }
    assert_eq!(hand.told.last(), Some(&Event::Untrusted(codes::TOO_MANY_CODES)));
    assert_eq!(hand.codes.len(), usize::try_from(CODES_MAX).unwrap());

    // The code that the authority keeps is still the one that is shown, before and after a person begins anew.
    hand.root = office.context.root.key_id();
    hand.pass(&mut office, Duration::from_secs(5));
    hand.start(&mut office);
    let [first, .., last_but_one, last] = hand.codes.as_slice() else { panic!("{:?}", hand.codes) };
    assert_eq!((first, first), (last_but_one, last));
    hand.root = kos_base::KeyId::from_bytes([9; 32]);
    hand.pass(&mut Office::new(), Duration::from_secs(5));
    assert_ne!(hand.codes.first(), hand.codes.last());
}

#[test]
fn the_code_survives_a_power_cut() {
    let mut office = Office::new();
    let mut hand = Hand::without_pin(&office);
    hand.start(&mut office);
    hand.cut_power();
    hand.command(&mut office, Command::Resume);
    let [first, second] = hand.codes.as_slice() else { panic!("{:?}", hand.codes) };
    assert_eq!(first, second);
}

#[test]
fn a_clock_in_1970_or_2100_keeps_nobody_out() {
    for now in [Timestamp::from_unix_s(3), Timestamp::from_unix_s(4_102_444_800)] {
        let mut office = Office::new();
        let mut hand = Hand::with_ticket(&mut office);
        hand.now = now;
        hand.start(&mut office);
        assert_eq!(hand.active(), Some(1), "{now}: {:?}", hand.told);
        assert_eq!(hand.machine.journal().time_floor, Some(office.now));
        assert!(hand.told.contains(&Event::Time(office.now)));
    }
}

#[test]
fn a_clock_that_was_wrong_makes_no_recovery() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    hand.cut_power();
    hand.now = Timestamp::from_unix_s(4_102_444_800);
    hand.command(&mut office, Command::Resume);
    assert_eq!(hand.now, office.now);
    assert_eq!(office.only().recoveries_left, RECOVERIES);
    assert!(!hand.told.iter().any(|event| matches!(event, Event::Refused(_))), "{:?}", hand.told);
}

#[test]
fn a_device_that_does_not_know_the_time_asks_and_recovers_if_it_slept_too_long() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    office.pass(20 * DAY);
    hand.cut_power_and_clock();
    hand.command(&mut office, Command::Resume);
    assert_eq!(hand.active(), Some(2));
    assert_eq!(office.only().recoveries_left, RECOVERIES - 1);
}

#[test]
fn a_pause_ends_when_the_clock_is_set_back() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.now = NOW.plus(400 * DAY);
    hand.offline = true;
    hand.start(&mut office);
    assert_eq!(hand.told, [Event::Unreachable]);
    assert!(hand.machine.poll_timeout().is_some_and(|at| at > hand.now));
    hand.offline = false;
    hand.now = NOW;
    hand.pass(&mut office, Duration::ZERO);
    assert_eq!(hand.active(), Some(1));
}

#[test]
fn a_question_that_was_given_up_is_answered_before_the_next_is_asked() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    let again = hand.enrolment();
    hand.machine.handle_command(NOW, hand.enrolment());
    assert!(matches!(hand.machine.poll_output(), Some(Output::Persist(_))));
    assert!(matches!(hand.machine.poll_output(), Some(Output::MakeKey(KeySlot::Identity))));
    hand.machine.handle_command(NOW, again);
    assert!(matches!(hand.machine.poll_output(), Some(Output::Close)));
    assert!(matches!(hand.machine.poll_output(), Some(Output::Persist(_))));
    assert!(hand.machine.poll_output().is_none(), "the shell is still making a key");
    assert!(hand.machine.poll_timeout().is_none());
    let made = hand.make(KeySlot::Identity);
    hand.machine.handle_input(NOW, Input::KeyMade(made));
    hand.drive(&mut office);
    assert_eq!(hand.active(), Some(1));
}

#[test]
fn the_bootloader_is_locked_until_its_outcome_is_durable() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.profile.bootloader = BootloaderLock::Command;
    hand.load();
    hand.loses_power_at = Some(|output| matches!(output, Output::LockBootloader));
    hand.start(&mut office);
    assert_eq!((hand.locks, hand.active()), (0, None));
    hand.loses_power_at = None;
    hand.command(&mut office, Command::Resume);
    assert_eq!((hand.locks, hand.active()), (1, Some(1)));
    assert_eq!(hand.machine.journal().bootloader, Some(Bootloader::Locked));
    hand.command(&mut office, Command::Regenerate);
    assert_eq!((hand.locks, hand.active()), (1, Some(2)));
}

#[test]
fn an_enrolment_elsewhere_forgets_what_another_authority_said() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.loses_power_at =
        Some(|output| matches!(output, Output::Connect { key, .. } if *key != Some(KeySlot::Identity)));
    hand.start(&mut office);
    hand.loses_power_at = None;
    assert!(hand.machine.journal().membership.is_some());
    let identity = hand.machine.journal().identity.clone();

    let mut elsewhere = Office::new();
    let ticket = elsewhere.ticket(40);
    hand.root = kos_base::KeyId::from_bytes([6; 32]);
    hand.ticket = Some(ticket);
    hand.offline = true;
    let enrolment = hand.enrolment();
    hand.command(&mut elsewhere, enrolment);
    let journal = hand.machine.journal();
    assert_eq!((journal.identity.clone(), &journal.membership), (identity, &None));
    assert!(journal.candidate.as_ref().is_some_and(|candidate| candidate.held.is_none()));
}

#[test]
fn a_check_in_fetches_what_was_issued_to_somebody_else_and_else_changes_nothing() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    hand.command(&mut office, Command::CheckIn);
    assert_eq!((hand.active(), office.certificates.len()), (Some(1), 1));

    // A copy of the device renews; the device is not known any more by its certificate, and shows its number.
    let mut copy = hand.copy();
    copy.command(&mut office, Command::Regenerate);
    assert_eq!(copy.active(), Some(2));
    hand.command(&mut office, Command::CheckIn);
    hand.pass(&mut office, Duration::from_secs(1));
    assert_eq!(office.only().state(), DeviceState::Suspended);
    assert!(hand.told.contains(&Event::Refused(codes::CLONE)));
}

#[test]
fn keys_that_nothing_names_are_erased_at_the_start() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    hand.loses_power_at = Some(|output| matches!(output, Output::Erase(_)));
    hand.command(&mut office, Command::Regenerate);
    assert_eq!(hand.keys().len(), 5);
    hand.loses_power_at = None;
    hand.command(&mut office, Command::Resume);
    assert_eq!(hand.keys().len(), 3);
    assert_eq!(hand.machine.journal().active.as_ref().map(|held| held.slot), Some(Slot::B));
}

#[test]
fn the_files_follow_although_power_failed_before_they_were_written() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.loses_power_at = Some(|output| matches!(output, Output::Install(_)));
    hand.start(&mut office);
    hand.loses_power_at = None;
    hand.command(&mut office, Command::Resume);
    assert_eq!(hand.active(), Some(1));
    assert_eq!(hand.installed.as_ref().map(Vec::len), Some(3));
}

#[test]
fn an_order_reaches_a_device_whose_certificate_nobody_knows_any_more() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.loses = Some(|answer| matches!(answer, FromAuthority::Recorded));
    hand.start(&mut office);
    assert_eq!((hand.active(), office.only().state()), (None, DeviceState::Active));
    hand.loses = None;
    office.operate(Operation::Quarantine { reason: "because".to_owned() });
    let receipt = [1; 32];
    let order = decommission::Order {
        id: kos_base::EntryId::from_parts(NOW, [4; 10]),
        device: office.only().id.clone(),
        authority: office.context.name.clone(),
        at: NOW,
        receipt: minicbor::bytes::ByteArray::from(receipt),
    };
    let unsigned = order.unsigned(office.orders.public());
    let signature = office.orders.sign(&unsigned.to_be_signed());
    let signed = unsigned.finish(signature);
    let receipt_hash = decommission::receipt_hash(&receipt).to_vec();
    let order = Order { signed, receipt_hash, at: NOW };
    office.operate(Operation::Decommission { reason: "because".to_owned(), order });
    for _ in 0..3 {
        hand.pass(&mut office, Duration::from_secs(60));
    }
    assert_eq!(office.only().state(), DeviceState::Decommissioned);
    assert!(hand.record.is_some() && hand.keys().is_empty());
}

#[test]
fn a_forged_order_wipes_nothing() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    let order = decommission::Order {
        id: kos_base::EntryId::from_parts(NOW, [4; 10]),
        device: office.only().id.clone(),
        authority: office.context.name.clone(),
        at: NOW,
        receipt: minicbor::bytes::ByteArray::from([1; 32]),
    };
    let forger = crate::test_keys::TestKey::new(kos_base::KeyAlgorithm::Ed25519, 99);
    let unsigned = order.unsigned(forger.public());
    let signature = forger.sign(&unsigned.to_be_signed());
    let forged = FromAuthority::Order(SignedOrder { order: unsigned.finish(signature).into() });
    hand.bend = Some(Box::new(move |answer| *answer = forged.clone()));
    hand.command(&mut office, Command::CheckIn);
    assert_eq!(hand.told.last(), Some(&Event::Untrusted(codes::PROTOCOL)));
    assert!(!hand.machine.is_ending());
    assert_eq!(hand.keys().len(), 3);
}

#[test]
fn a_device_that_nobody_knows_ends_without_a_record_and_names_no_lost_key() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.offline = true;
    hand.start(&mut office);
    hand.loses_power_at = Some(|output| matches!(output, Output::Wipe));
    hand.command(&mut office, Command::Decommission);
    assert_eq!(hand.journal.as_deref().map(Journal::from_bytes), Some(Ok(Journal::default())));
    assert_eq!(hand.record, None);
}

#[test]
fn every_start_after_the_record_goes_on_with_the_wipe() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    hand.offline = true;
    hand.loses_power_at = Some(|output| matches!(output, Output::Wipe));
    hand.command(&mut office, Command::Decommission);
    assert!(hand.record.is_some() && hand.keys().len() == 3);
    hand.loses_power_at = None;
    hand.command(&mut office, Command::Resume);
    assert!(hand.keys().is_empty() && hand.journal.is_none());
    assert_eq!(office.only().state(), DeviceState::Active, "nobody could be told");
    hand.offline = false;
    hand.pass(&mut office, Duration::from_secs(300));
    assert_eq!(office.only().state(), DeviceState::Decommissioned);
}

#[test]
fn a_damaged_journal_stops_the_device() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    let mut journal = hand.journal.clone().unwrap();
    journal.push(0);
    let trust = kos_identity::enrolment::device::ClockTrust::Trusted;
    assert!(Machine::load(hand.profile.clone(), Some(&journal), None, trust).is_err());
}

#[test]
fn the_id_is_computed_from_what_the_device_was_at_first() {
    let mut office = Office::new();
    let mut hand = Hand::without_pin(&office);
    hand.start(&mut office);
    let old = hand.profile.facts.clone();
    hand.profile.facts.macs.clear();
    hand.cut_power();
    office.operate(Operation::Approve { profile: SecurityProfile::Sec1 });
    let code = hand.codes[0].clone();
    hand.command(&mut office, Command::CodeConfirmed(code));
    assert_eq!(hand.active(), Some(1));
    let membership = hand.machine.journal().membership.clone().unwrap();
    let id = kos_base::DeviceId::derive(&DeviceIdInputs {
        uuid: membership.uuid.uuid(),
        macs: &old.macs,
        serials: &old.serials,
        identity_key: hand.machine.journal().identity.as_ref().unwrap().id(),
    });
    assert_eq!(membership.device, id);
}

#[test]
fn from_quarantine_a_device_comes_back_once_a_person_lets_it_in() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    office.operate(Operation::Quarantine { reason: "because".to_owned() });
    hand.command(&mut office, Command::CheckIn);
    assert_eq!(hand.told.last(), Some(&Event::Refused(codes::STATE_FORBIDS)));
    office.operate(Operation::Reinstate { reason: "cleaned".to_owned() });
    hand.pass(&mut office, Duration::from_secs(300));
    hand.command(&mut office, Command::CheckIn);
    hand.pass(&mut office, Duration::from_secs(300));
    assert_eq!((office.only().state(), hand.told.last()), (DeviceState::Pending, Some(&Event::Waiting)));
    office.operate(Operation::Approve { profile: SecurityProfile::Sec2 });
    hand.pass(&mut office, Duration::from_secs(300));
    assert_eq!((office.only().state(), hand.active()), (DeviceState::Active, Some(2)));
}

#[test]
fn a_device_whose_authority_lost_its_record_asks_to_be_let_in_anew() {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    let before = office.devices.remove(0);
    hand.ticket = None;
    hand.command(&mut office, Command::CheckIn);
    for _ in 0..3 {
        hand.pass(&mut office, Duration::from_secs(300));
    }
    let waiting = office.only().clone();
    assert_eq!((&waiting.identity_key, waiting.state()), (&before.identity_key, DeviceState::Pending));
    assert_ne!(waiting.id, before.id);
    assert_eq!((hand.active(), hand.keys().len()), (None, 3), "identity key and the keys of the request");
    office.operate(Operation::Approve { profile: SecurityProfile::Sec2 });
    hand.pass(&mut office, Duration::from_secs(300));
    assert_eq!(office.only().state(), DeviceState::Active);
}
