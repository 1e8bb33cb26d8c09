//! What a device does with messages that it cannot take.

use std::time::Duration;

use kos_base::{Channel, code::klp};
use kos_klp::{
    body::Instruction,
    frame::{self, Hop},
    message::MessageType,
    proof::ProofClass,
};

use super::{authority::Push, reports::reporting, *};

/// Whatever came before, an order is carried out over the link on which the device first reported.
async fn link_lives_on(authority: &Authority, answers: &[u16]) {
    authority.operate(kos_identity::registry::Operation::SetChannel {
        channel: Channel::Beta,
        allow_dev: kos_identity::registry::AllowDev::Mark,
    });
    authority.push(&Push::Order(Instruction::SetChannel(Channel::Beta)));
    authority.until("an answer to the order", |seen| (seen.answers.last() == Some(&0)).then_some(())).await;
    authority.until("beta", |seen| (seen.beats.last()?.said.channel == Channel::Beta).then_some(())).await;
    let (heard, beats) = authority.look(|seen| (seen.answers.to_vec(), seen.beats.len()));
    assert_eq!(heard, answers);
    assert_eq!(beats, 2, "one heartbeat when the link came up, and one with the new channel");
}

#[tokio::test]
async fn what_a_device_cannot_take_is_refused_by_its_code_and_the_link_lives_on() {
    let authority = Authority::start().await;
    let (device, _root) = reporting(&authority, "").await;
    let (now, later) = (Duration::ZERO, Duration::from_secs(600));
    for (kind, class, ahead) in [
        (MessageType::from_number(99), ProofClass::Solo, now),
        (MessageType::TASK_REQUEST, ProofClass::Solo, now),
        (MessageType::HEARTBEAT, ProofClass::Link, now),
        (MessageType::HEARTBEAT, ProofClass::Link, later),
        (MessageType::COMMAND, ProofClass::Solo, later),
        // Neither of these is answered.
        (MessageType::from_number(40_000), ProofClass::Solo, now),
        (MessageType::REPORT, ProofClass::Link, now),
        (MessageType::LOG, ProofClass::Solo, now),
        (MessageType::ACK, ProofClass::Link, later),
    ] {
        authority.push(&Push::Odd(kind, class, ahead));
    }
    let (unknown, future) = (klp::KLP_TYPE.number(), klp::KLP_FUTURE.number());
    link_lives_on(&authority, &[unknown, unknown, unknown, future, future, 0]).await;
    device.stop().await;
}

#[tokio::test]
async fn a_frame_that_somebody_has_passed_on_costs_no_link() {
    let authority = Authority::start().await;
    let (device, _root) = reporting(&authority, "").await;
    authority.push(&Push::Raw(frame::write_channel(&Hop::default(), b"nobody answers this").unwrap()));
    link_lives_on(&authority, &[0]).await;
    device.stop().await;
}
