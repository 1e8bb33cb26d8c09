//! Notices, orders and receipts, as the authority takes them.

use kos_base::{DeviceState, EntryId, KeyAlgorithm, code::enrolment as codes};
use kos_identity::{
    decommission::{self, Assurance, Record, receipt_hash},
    enrolment::{
        message::{FromAuthority, FromDevice, Notice, Receipt},
        proof::RenewalKind::Renewal,
    },
    registry::{Change, Operation, Order, RevocationReason},
};
use minicbor::bytes::ByteArray;

use crate::{
    applicant::Applicant,
    office::{NOW, Office, PROTOCOL, issued, refusal},
    test_keys::TestKey,
};

const ORDERED: [u8; 32] = [1; 32];
const OWN: [u8; 32] = [2; 32];

/// The device's record of its end, signed by this key.
fn record(office: &Office, by: &TestKey, (order, receipt): (Option<EntryId>, [u8; 32])) -> Vec<u8> {
    let record = Record {
        device: office.only().id.clone(),
        authority: office.context.name.clone(),
        at: NOW,
        order,
        receipt: ByteArray::from(receipt),
        assurance: Assurance::CryptoErased,
        pin: office.context.root.key_id(),
        addresses: Vec::new(),
    };
    let unsigned = record.unsigned(by.public());
    let signature = by.sign(&unsigned.to_be_signed());
    unsigned.finish(signature)
}

fn notice(office: &mut Office, record: &[u8]) -> Vec<FromAuthority> {
    let mut line = office.call(None);
    office.tell(&mut line, &FromDevice::Notice(Notice { record: record.to_vec().into() }).to_bytes())
}

fn receipt(office: &mut Office, receipt: [u8; 32], record: &[u8]) -> Vec<FromAuthority> {
    let message = Receipt {
        device: office.only().id.clone(),
        receipt: ByteArray::from(receipt),
        record: record.to_vec().into(),
    };
    let mut line = office.call(None);
    office.tell(&mut line, &FromDevice::Receipt(message).to_bytes())
}

fn order(office: &mut Office) -> EntryId {
    let id = EntryId::from_parts(NOW, [4; 10]);
    let order = decommission::Order {
        id,
        device: office.only().id.clone(),
        authority: office.context.name.clone(),
        at: NOW,
        receipt: ByteArray::from(ORDERED),
    };
    let unsigned = order.unsigned(office.orders.public());
    let signature = office.orders.sign(&unsigned.to_be_signed());
    let signed = unsigned.finish(signature);
    let order = Order { signed, receipt_hash: receipt_hash(&ORDERED).to_vec(), at: NOW };
    office.operate(Operation::Decommission { reason: "sold".to_owned(), order });
    id
}

fn ended(office: &Office) {
    assert_eq!(office.only().state(), DeviceState::Decommissioned);
    assert!(office.only().order.is_none());
    let wiped = |change: &Change| matches!(change, Change::DeviceDecommissioned { .. });
    assert_eq!(office.log.iter().filter(|change| wiped(change)).count(), 1);
    assert!(office.revocations.iter().all(|revocation| revocation.reason != RevocationReason::Hold));
}

#[test]
fn an_order_goes_to_the_identity_key_only_and_its_receipt_ends_the_device() {
    let mut office = Office::new();
    let device = Applicant::in_service(&mut office, 20);
    let id = order(&mut office);
    let mut line = office.call(Some(device.operational.public()));
    assert_eq!(refusal(&office.tell(&mut line, &device.hello())), codes::STATE_FORBIDS);
    let mut line = office.call(Some(device.identity.public()));
    let answers = office.tell(&mut line, &device.hello());
    let [FromAuthority::Order(order)] = answers.as_slice() else { panic!("{answers:?}") };
    let (key, own) = (&office.context.keys.orders, &office.only().id);
    assert_eq!(decommission::verify_order(&order.order, key, own).unwrap().order().id, id);

    let signed = record(&office, &device.operational, (Some(id), ORDERED));
    let before = office.contents();
    assert_eq!(refusal(&receipt(&mut office, OWN, &signed)), codes::STATE_FORBIDS);
    let forged = record(&office, &TestKey::new(KeyAlgorithm::Ed25519, 99), (Some(id), ORDERED));
    assert_eq!(refusal(&receipt(&mut office, ORDERED, &forged)), PROTOCOL);
    assert_eq!(office.contents(), before);
    for _ in 0..2 {
        assert_eq!(receipt(&mut office, ORDERED, &signed), [FromAuthority::Recorded]);
    }
    ended(&office);
}

#[test]
fn a_device_ends_itself_by_notice_and_receipt_or_by_the_receipt_alone() {
    for tells_before in [true, false] {
        let mut office = Office::new();
        let device = Applicant::in_service(&mut office, 20);
        let signed = record(&office, &device.operational, (None, OWN));
        if tells_before {
            for _ in 0..2 {
                assert_eq!(notice(&mut office, &signed), [FromAuthority::Recorded]);
            }
            assert_eq!(office.only().state(), DeviceState::Decommissioning);
            // What it ordered itself is not for anybody else.
            let mut line = office.call(Some(device.identity.public()));
            assert_eq!(refusal(&office.tell(&mut line, &device.hello())), codes::STATE_FORBIDS);
        }
        assert_eq!(receipt(&mut office, OWN, &signed), [FromAuthority::Recorded]);
        ended(&office);
        assert_eq!(office.revocations.len(), 1);
    }
}

#[test]
fn a_device_that_ended_itself_while_its_order_was_under_way_is_believed() {
    let mut office = Office::new();
    let device = Applicant::in_service(&mut office, 20);
    let signed = record(&office, &device.operational, (None, OWN));
    order(&mut office);
    assert_eq!(receipt(&mut office, OWN, &signed), [FromAuthority::Recorded]);
    ended(&office);
}

#[test]
fn the_record_may_be_signed_by_a_key_whose_confirmation_was_lost() {
    // Either side may be ahead: the certificate is issued and not confirmed, or confirmed and the device never heard.
    for confirmed in [false, true] {
        let mut office = Office::new();
        let first = Applicant::in_service(&mut office, 20);
        let next = first.with_next_key(70);
        issued(&next.go_on(&mut office, (Renewal, 1, &first.operational)));
        if confirmed {
            assert_eq!(next.confirm(&mut office, 2), [FromAuthority::Recorded]);
        }
        let signed = record(&office, &next.operational, (None, OWN));
        assert_eq!(receipt(&mut office, OWN, &signed), [FromAuthority::Recorded]);
        ended(&office);
    }
}

#[test]
fn a_device_that_never_confirmed_can_end_itself() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let device = Applicant::new(20);
    issued(&device.enrol(&mut office, ticket, 40));
    let signed = record(&office, &device.operational, (None, OWN));
    assert_eq!(receipt(&mut office, OWN, &signed), [FromAuthority::Recorded]);
    ended(&office);
}

#[test]
fn nobody_ends_a_device_without_its_key() {
    let mut office = Office::new();
    let device = Applicant::in_service(&mut office, 20);
    let before = office.contents();
    for by in [&TestKey::new(KeyAlgorithm::Ed25519, 99), &device.identity, &office_key()] {
        let signed = record(&office, by, (None, OWN));
        assert_eq!(refusal(&notice(&mut office, &signed)), PROTOCOL);
        assert_eq!(refusal(&receipt(&mut office, OWN, &signed)), PROTOCOL);
    }
    let other = record(&office, &device.operational, (None, OWN));
    assert_eq!(refusal(&receipt(&mut office, ORDERED, &other)), codes::STATE_FORBIDS);
    assert_eq!(office.contents(), before);
}

fn office_key() -> TestKey {
    TestKey::new(KeyAlgorithm::Ed25519, 12)
}

#[test]
fn after_a_quarantine_only_the_receipt_of_an_order_counts() {
    let mut office = Office::new();
    let device = Applicant::in_service(&mut office, 20);
    office.quarantine();
    let signed = record(&office, &device.operational, (None, OWN));
    assert_eq!(refusal(&notice(&mut office, &signed)), codes::STATE_FORBIDS);
    assert_eq!(refusal(&receipt(&mut office, OWN, &signed)), codes::STATE_FORBIDS);
    order(&mut office);
    assert_eq!(receipt(&mut office, ORDERED, &signed), [FromAuthority::Recorded]);
    ended(&office);
}
