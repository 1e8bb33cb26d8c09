use super::*;
use crate::fixtures::device_id;

#[test]
fn a_ban_and_each_state_have_a_word_of_their_own() {
    use DeviceState::{Active, Pending, Quarantined, Suspended};
    for (from, to, event) in [
        (Active, Suspended, EventType::DeviceSuspended),
        (Suspended, Active, EventType::DeviceReinstated),
        (Active, Quarantined, EventType::DeviceQuarantined),
        (Quarantined, Pending, EventType::DeviceReinstated),
        (Active, Active, EventType::DeviceBanned),
    ] {
        let device = device_id(1);
        let change = registry::Change::StateChanged { device, from, to, reason: "r".to_owned() };
        assert_eq!(event_of(&change.into()).event, event, "{from} to {to}");
    }
}

#[test]
fn an_address_never_stands_in_the_clear() {
    let change = registry::Change::Refused {
        code: code::enrolment::TICKET_PROOF,
        source: "192.0.2.7".to_owned(),
        count: 3,
    };
    let draft = event_of(&change.into());
    assert!(!Value::Object(draft.details).to_string().contains("192.0.2.7"));
    assert_eq!(draft.people, [("networkAddress", Person::Address("192.0.2.7".to_owned()))]);
}
