//! Quarantine at both ends: orders that count and those that do not, what a power cut leaves, and who may end it.

use core::time::Duration;

use kos_base::{
    Code, DeviceState, KeyAlgorithm, SecurityProfile, Timestamp,
    code::{enrolment as codes, quarantine as own},
};
use kos_identity::{
    enrolment::{
        device::{Command, Event, KeySlot, Output, Stage},
        message::{FromAuthority, FromDevice, Isolated, SignedOrder},
        proof::RenewalKind::{Recovery, Renewal},
    },
    quarantine::{Order, RECIPIENTS_MAX, Record},
    registry::{Actor, Approver, Approvers, Case, Change, OperateError, Operation, RevocationReason},
};
use minicbor::bytes::ByteArray;

use crate::{
    applicant::Applicant,
    device::hand::Hand,
    office::{NOW, Office, PROTOCOL, issued, refusal},
    test_keys::TestKey,
};

pub(crate) fn reinstate() -> Operation {
    reinstate_while([("anna", NOW), ("otto", NOW)])
}

/// The same while these stand, each since a moment.
fn reinstate_while<const N: usize>(stand: [(&str, Timestamp); N]) -> Operation {
    let standing = stand.map(|(name, since)| Approver { name: name.parse().unwrap(), since }).to_vec();
    let approvers = Box::new(Approvers { standing, salt: [9; 32] });
    Operation::Reinstate { reason: "looked at".to_owned(), approvers }
}

fn in_service() -> (Office, Hand) {
    let mut office = Office::new();
    let mut hand = Hand::with_ticket(&mut office);
    hand.start(&mut office);
    assert_eq!(hand.active(), Some(1));
    (office, hand)
}

fn stage(hand: &Hand) -> Option<Stage> {
    hand.machine.journal().isolation.as_ref().map(|case| case.stage)
}

/// Lets time pass until the machine has nothing to do for minutes.
fn settle(office: &mut Office, hand: &mut Hand) {
    for _ in 0..4 {
        hand.pass(office, Duration::from_secs(300));
    }
}

#[test]
fn a_device_clears_itself_says_so_and_comes_back_under_a_higher_number() {
    let (mut office, mut hand) = in_service();
    office.quarantine();
    assert_eq!(office.only().state(), DeviceState::Quarantined);
    assert_eq!(office.revocations[0].reason, RevocationReason::KeyCompromise);
    hand.command(&mut office, Command::CheckIn);
    assert_eq!(
        (stage(&hand), hand.active(), hand.keys()),
        (Some(Stage::Reported), None, vec![KeySlot::Identity])
    );
    assert_eq!(hand.installed, None);
    assert_eq!(office.bundles, [b"sealed"]);
    let case = office.only().case.clone().unwrap();
    assert!(case.confirmed_at.is_some() && case.bundle.is_some());
    let told = |event: &Event| hand.told.iter().filter(|told| *told == event).count();
    assert_eq!(told(&Event::Isolated(case.order)), 1);

    // It asks on, gets the same order, and does nothing.
    settle(&mut office, &mut hand);
    assert_eq!(hand.told.last(), Some(&Event::StillIsolated));
    assert_eq!((office.bundles.len(), hand.gathered.len()), (1, 1));
    // Whatever its owner says, it stays.
    hand.start(&mut office);
    hand.command(&mut office, Command::Regenerate);
    assert_eq!((stage(&hand), hand.keys().len()), (Some(Stage::Reported), 1));

    office.operate(reinstate());
    assert_eq!(office.only().state(), DeviceState::Pending);
    settle(&mut office, &mut hand);
    assert_eq!((office.only().state(), hand.active(), stage(&hand)), (DeviceState::Active, Some(2), None));
    assert!(hand.told.contains(&Event::Reinstated(2)), "{:?}", hand.told);
    assert_eq!(office.only().case, None);
}

#[test]
fn an_order_that_is_forged_or_for_somebody_else_does_nothing() {
    let (mut office, hand) = in_service();
    let sound = office.isolation();
    let other = "kdev-7f4ac30123456789".parse().unwrap();
    let many = vec!["age1x".to_owned(); RECIPIENTS_MAX + 1];
    let ours = &office.orders;
    let stranger = TestKey::new(KeyAlgorithm::Ed25519, 99);
    let mut bad: Vec<(Vec<u8>, Code)> = vec![
        (office.case(&sound, &stranger).signed, own::ORDER_INVALID),
        (office.case(&Order { device: other, ..sound.clone() }, ours).signed, own::ORDER_INVALID),
        (
            office.case(&Order { authority: "cellar".parse().unwrap(), ..sound.clone() }, ours).signed,
            own::ORDER_INVALID,
        ),
        (office.case(&Order { recipients: many, ..sound.clone() }, ours).signed, own::ORDER_INVALID),
        (
            office.case(&Order { recipients: vec!["a".repeat(97)], ..sound.clone() }, ours).signed,
            own::ORDER_INVALID,
        ),
        (office.case(&Order { issue: 0, ..sound.clone() }, ours).signed, own::ORDER_STALE),
        (Vec::new(), own::ORDER_INVALID),
    ];
    let genuine = office.case(&sound, ours).signed;
    for at in (0..genuine.len()).step_by(7) {
        let mut changed = genuine.clone();
        changed[at] ^= 1;
        bad.push((changed, own::ORDER_INVALID));
    }
    let before = hand.journal.clone();
    for (signed, code) in bad {
        let mut hand = hand.copy();
        hand.bend = Some(Box::new(move |answer| {
            *answer = FromAuthority::Quarantine(SignedOrder { order: signed.clone().into() });
        }));
        hand.command(&mut office, Command::CheckIn);
        assert_eq!(hand.told.last(), Some(&Event::Untrusted(code)));
        assert_eq!((&hand.journal, hand.active(), hand.keys().len()), (&before, Some(1), 3));
    }
    // And the one that is sound counts.
    let mut hand = hand.copy();
    office.quarantine();
    hand.command(&mut office, Command::CheckIn);
    assert_eq!(hand.active(), None);
}

#[test]
fn an_order_that_was_obeyed_is_not_obeyed_again_after_the_return() {
    let (mut office, mut hand) = in_service();
    office.quarantine();
    let old = office.only().case.clone().unwrap().signed;
    hand.command(&mut office, Command::CheckIn);
    office.operate(reinstate());
    settle(&mut office, &mut hand);
    assert_eq!(hand.active(), Some(2));
    let replayed = old.clone();
    hand.bend = Some(Box::new(move |answer| {
        *answer = FromAuthority::Quarantine(SignedOrder { order: replayed.clone().into() });
    }));
    hand.command(&mut office, Command::CheckIn);
    assert_eq!(hand.told.last(), Some(&Event::Untrusted(own::ORDER_STALE)));
    assert_eq!(hand.active(), Some(2));
    hand.bend = None;
    // Another one is; and while it lasts, the old one is no reason to begin anew.
    office.pass(Duration::from_secs(60));
    office.quarantine();
    settle(&mut office, &mut hand);
    hand.command(&mut office, Command::CheckIn);
    settle(&mut office, &mut hand);
    assert_eq!((stage(&hand), hand.gathered.len()), (Some(Stage::Reported), 2));
    hand.bend = Some(Box::new(move |answer| {
        *answer = FromAuthority::Quarantine(SignedOrder { order: old.clone().into() });
    }));
    settle(&mut office, &mut hand);
    assert_eq!((stage(&hand), hand.gathered.len()), (Some(Stage::Reported), 2));
}

#[test]
fn a_power_cut_before_any_step_loses_nothing() {
    let cuts: &[fn(&Output) -> bool] = &[
        |output| matches!(output, Output::Event(Event::Isolated(_))),
        |output| matches!(output, Output::Persist(_)),
        |output| matches!(output, Output::Erase(_)),
        |output| matches!(output, Output::Forget),
        |output| matches!(output, Output::Gather { .. }),
        |output| matches!(output, Output::Sign { .. }),
        |output| matches!(output, Output::Send(_)),
        |output| matches!(output, Output::MakeKey(_)),
        |output| matches!(output, Output::Connect { .. }),
    ];
    for cut in cuts {
        let (mut office, mut hand) = in_service();
        office.quarantine();
        hand.loses_power_at = Some(*cut);
        for round in 0..8 {
            hand.command(&mut office, if round == 0 { Command::CheckIn } else { Command::Resume });
            hand.loses_power_at = (round % 2 == 1).then_some(*cut);
            settle(&mut office, &mut hand);
        }
        hand.loses_power_at = None;
        hand.command(&mut office, Command::Resume);
        hand.command(&mut office, Command::CheckIn);
        settle(&mut office, &mut hand);
        assert_eq!((stage(&hand), hand.keys()), (Some(Stage::Reported), vec![KeySlot::Identity]));
        assert!(office.only().case.as_ref().unwrap().confirmed_at.is_some());
        let confirmed = |change: &&Change| matches!(change, Change::QuarantineConfirmed { .. });
        assert_eq!(office.log.iter().filter(confirmed).count(), 1);
        office.operate(reinstate());
        settle(&mut office, &mut hand);
        assert_eq!((office.only().state(), hand.active()), (DeviceState::Active, Some(2)));
    }
}

#[test]
fn only_a_fresh_proof_by_the_identity_key_leads_back() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.quarantine();
    let next = first.with_next_key(70);
    let forbidden = |answers: &[FromAuthority]| assert_eq!(refusal(answers), codes::DEVICE_UNKNOWN);
    office.operate(reinstate());
    let ticket = office.ticket(41);
    assert_eq!(refusal(&next.enrol(&mut office, ticket, 41)), own::IN_QUARANTINE);
    assert_eq!(refusal(&next.wait_in_lobby(&mut office)), own::IN_QUARANTINE);
    forbidden(&next.go_on(&mut office, (Renewal, 1, &first.operational)));
    let approve = Operation::Approve { profile: SecurityProfile::Sec2 };
    let refused = office.operate_as("anna", approve).unwrap_err();
    assert_eq!(refused.code(), Some(codes::STATE_FORBIDS));
    let back = next.go_on(&mut office, (Recovery, 1, &next.identity));
    assert_eq!(issued(&back).facts().unwrap().subject.issue, 2);
    // The same again, until it is confirmed.
    assert_eq!(issued(&next.go_on(&mut office, (Recovery, 1, &next.identity))), issued(&back));
    assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
    assert_eq!(office.only().state(), DeviceState::Active);
}

#[test]
fn a_device_of_sec_4_needs_two_people_with_certificates() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.devices[0].assign_profile(SecurityProfile::Sec4).unwrap();
    office.quarantine();
    for actor in
        [Actor::LocalUser("root".to_owned()), Actor::Authority, Actor::Device(office.only().id.clone())]
    {
        let refused = reinstate().apply(office.now, actor, office.only().clone());
        assert_eq!(refused.unwrap_err(), OperateError::Approver);
    }
    office.operate_as("anna", reinstate()).unwrap();
    assert_eq!(office.only().state(), DeviceState::Quarantined);
    assert_eq!(office.operate_as("anna", reinstate()), Err(OperateError::ApprovedAlready));
    let next = first.with_next_key(70);
    let mut line = office.call(Some(next.identity.public()));
    let answers = office.tell(&mut line, &next.hello());
    assert!(matches!(answers.as_slice(), [FromAuthority::Quarantine(_)]), "{answers:?}");
    office.operate_as("otto", reinstate()).unwrap();
    assert_eq!(office.only().state(), DeviceState::Pending);
    let approvals = office.log.iter().filter(|change| matches!(change, Change::ReinstatementApproved { .. }));
    assert_eq!(approvals.count(), 2);
}

#[test]
fn whoever_was_removed_since_has_approved_nothing_and_comes_back_as_somebody_else() {
    let mut office = Office::new();
    let _device = Applicant::in_service(&mut office, 20);
    office.devices[0].assign_profile(SecurityProfile::Sec4).unwrap();
    office.quarantine();
    let since = office.now;
    office.operate_as("anna", reinstate_while([("anna", since), ("otto", since)])).unwrap();
    office.now = since.plus(Duration::from_secs(9));
    // She is gone.
    office.operate_as("otto", reinstate_while([("otto", since)])).unwrap();
    assert_eq!(office.only().state(), DeviceState::Quarantined);
    // Somebody of her name is no reason to count hers, may approve, and is one person with otto.
    let both = || reinstate_while([("anna", since.plus(Duration::from_secs(9))), ("otto", since)]);
    assert_eq!(office.operate_as("otto", both()), Err(OperateError::ApprovedAlready));
    office.operate_as("anna", both()).unwrap();
    assert_eq!(office.only().state(), DeviceState::Pending);
    let counts = office.log.iter().filter_map(|change| match change {
        Change::ReinstatementApproved { count, .. } => Some(*count),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn who_approved_is_told_by_nothing_but_the_salt_of_the_case_and_not_at_all_once_forgotten() {
    let mut office = Office::new();
    let _device = Applicant::in_service(&mut office, 20);
    office.devices[0].assign_profile(SecurityProfile::Sec4).unwrap();
    office.quarantine();
    office.operate_as("anna", reinstate()).unwrap();
    let mut case = office.only().case.clone().unwrap();
    let [anna, otto] = ["anna", "otto"].map(|name| Actor::Operator(name.parse().unwrap()));
    assert!(case.is_approved_by(&anna) && !case.is_approved_by(&otto));
    let other = Case { salt: Some(ByteArray::from([10; 32])), ..case.clone() };
    assert!(!other.is_approved_by(&anna));
    case.forget(&otto, [1; 32]);
    assert!(case.is_approved_by(&anna));
    case.forget(&anna, [1; 32]);
    assert!(!case.is_approved_by(&anna) && case.approvals.len() == 1);
}

#[test]
fn a_record_counts_once_and_only_with_receipt_key_and_bundle_of_its_order() {
    let mut office = Office::new();
    let device = Applicant::in_service(&mut office, 20);
    let order = office.isolation();
    office.quarantine();
    let sound = Record {
        device: order.device.clone(),
        authority: order.authority.clone(),
        order: order.id,
        receipt: order.receipt,
        at: NOW,
        bundle: None,
    };
    let tell = |office: &mut Office, record: &Record, by: &TestKey, over: &TestKey, bundle: Option<&[u8]>| {
        let unsigned = record.unsigned(by.public());
        let signed = unsigned.finish(by.sign(&record.unsigned(by.public()).to_be_signed()));
        let message = Isolated { record: signed.into(), bundle: bundle.map(|bytes| bytes.to_vec().into()) };
        let mut line = office.call(Some(over.public()));
        office.tell(&mut line, &FromDevice::Isolated(message).to_bytes())
    };
    let (identity, operational) = (&device.identity, &device.operational);
    let before = office.contents();
    let wrong = Record { receipt: ByteArray::from([8; 32]), ..sound.clone() };
    assert_eq!(refusal(&tell(&mut office, &wrong, identity, identity, None)), codes::STATE_FORBIDS);
    assert_eq!(refusal(&tell(&mut office, &sound, operational, identity, None)), PROTOCOL);
    assert_eq!(refusal(&tell(&mut office, &sound, identity, identity, Some(b"x"))), PROTOCOL);
    // The operational key is nobody's any more.
    assert_eq!(refusal(&tell(&mut office, &sound, identity, operational, None)), codes::DEVICE_UNKNOWN);
    assert_eq!(office.contents(), before);
    for _ in 0..2 {
        assert_eq!(tell(&mut office, &sound, identity, identity, None), [FromAuthority::Recorded]);
    }
    let confirmed = |change: &&Change| matches!(change, Change::QuarantineConfirmed { .. });
    assert_eq!(office.log.iter().filter(confirmed).count(), 1);
}

#[test]
fn an_approved_return_can_be_taken_back_until_it_is_made() {
    let mut office = Office::new();
    let first = Applicant::in_service(&mut office, 20);
    office.quarantine();
    let order = office.only().case.as_ref().unwrap().order;
    office.operate(reinstate());
    let next = first.with_next_key(70);
    issued(&next.go_on(&mut office, (Recovery, 1, &next.identity)));
    // Not confirmed yet.
    office.quarantine();
    let device = office.only();
    assert_eq!((device.state(), device.case.as_ref().unwrap().order), (DeviceState::Quarantined, order));
    assert!(device.case.as_ref().unwrap().approvals.is_empty() && device.credentials().next().is_none());
    assert_ne!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
    let again = first.with_next_key(71);
    let mut line = office.call(Some(again.identity.public()));
    let answers = office.tell(&mut line, &again.hello());
    assert!(matches!(answers.as_slice(), [FromAuthority::Quarantine(_)]), "{answers:?}");
}
