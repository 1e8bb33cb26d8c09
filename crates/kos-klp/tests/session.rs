//! Two nodes on a link, and a third whose messages come by relays.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "vectors are files")]

mod cast;

use std::time::Duration;

use cast::{AUTHORITY, NOW, Node, golden, guard, id, later, malice::party, plain, sender};
use kos_klp::{
    body::{self, Ack, Heartbeat},
    frame::{Content, Frame, FrameError, Hop},
    freshness::{FreshnessError, GuardLimits, ReplayGuard},
    message::{Message, MessageType, Order},
    proof::{
        ProofClass, Sealing,
        batch::{BATCH_MESSAGES_MAX, RootMemory},
        link::LinkRole,
        solo::SoloDraft,
    },
    session::{Incoming, Outgoing, ReceiveError, Received, SendError, receive_stored},
};

fn message(incoming: Incoming<'_>) -> Received<'_> {
    match incoming {
        Incoming::Message(received) => received,
        Incoming::Ignored(kind) => panic!("{kind} was ignored"),
    }
}

#[test]
fn a_heartbeat_and_its_answer_cross_a_link() {
    let (device, authority) = (Node::device(), Node::authority());
    let mut at_device = device.session(LinkRole::Dialler, &authority);
    let mut at_authority = authority.session(LinkRole::Listener, &device);
    for n in 1..=100 {
        let bytes = golden::heartbeat();
        let frame = at_device.link_frame(NOW, &golden::outgoing(MessageType::HEARTBEAT, n, &bytes)).unwrap();
        let received = message(at_authority.receive_link(later(5), plain(&frame)).unwrap());
        assert_eq!(received.class(), ProofClass::Link);
        let heartbeat: Heartbeat = body::read(received.message().body).unwrap();
        assert_eq!(heartbeat.uptime_seconds, Some(86_400));

        let ack = body::write(&Ack::done(None));
        let answer = Outgoing {
            reply_to: Some(received.message().id),
            ..Outgoing::new(MessageType::ACK, id(n), &ack)
        };
        let frame = at_authority.link_frame(later(5), &answer).unwrap();
        let received = message(at_device.receive_link(later(9), plain(&frame)).unwrap());
        assert_eq!(received.message().reply_to, Some(id(n)));
        assert_eq!(body::read::<Ack>(received.message().body).unwrap().status(), 0);
    }
}

#[test]
fn a_message_cannot_be_reflected_to_its_maker() {
    let (device, authority) = (Node::device(), Node::authority());
    let mut at_device = device.session(LinkRole::Dialler, &authority);
    let frame = golden::link();
    let error = at_device.receive_link(NOW, plain(&frame)).unwrap_err();
    assert!(matches!(error, ReceiveError::Proof(_)), "{error}");
}

#[test]
fn ends_that_disagree_about_who_they_are_have_different_keys() {
    let (device, authority, stranger) = (Node::device(), Node::authority(), Node::stranger());
    let frame = golden::link();
    for mut other in [
        authority.session(LinkRole::Dialler, &device),
        Node::new(AUTHORITY, 8).session(LinkRole::Listener, &device),
        Node::new("cellar", 1).session(LinkRole::Listener, &device),
        authority.session(LinkRole::Listener, &stranger),
    ] {
        assert!(matches!(other.receive_link(NOW, plain(&frame)), Err(ReceiveError::Proof(_))));
    }
}

#[test]
fn a_whole_batch_is_received_with_one_signature() {
    let (device, authority) = (Node::device(), Node::authority());
    let at_device = device.session(LinkRole::Dialler, &authority);
    let mut at_authority = authority.session(LinkRole::Listener, &device);
    let bodies: Vec<_> = (0..BATCH_MESSAGES_MAX).map(|n| format!("entry {n}")).collect();
    for size in [1, 2, 7, BATCH_MESSAGES_MAX] {
        let (mut sender, mut guard) = (sender(), guard());
        let logs: Vec<_> = bodies
            .iter()
            .take(size)
            .map(|body| Outgoing::new(MessageType::LOG, id(1), body.as_bytes()))
            .collect();
        let draft = at_device.batch_draft(NOW, &logs, &mut sender, &device.key()).unwrap();
        let signature = device.sign(&draft.to_be_signed());
        let mut frames: Vec<_> = draft.finish(&signature).iter().map(|p| p.direct_frame().unwrap()).collect();
        frames.reverse();
        for (frame, body) in frames.iter().zip(bodies.iter().take(size).rev()) {
            let received = at_authority.receive_signed(NOW, plain(frame), None, &mut guard).unwrap();
            let received = message(received);
            assert_eq!((received.class(), received.message().body), (ProofClass::Batch, body.as_bytes()));
        }
    }
}

#[test]
fn what_receivers_would_refuse_is_not_sent() {
    let (device, authority) = (Node::device(), Node::authority());
    let mut session = device.session(LinkRole::Dialler, &authority);
    let long = vec![0; 61_441];
    let ok = Outgoing::new(MessageType::REPORT, id(1), b"x");
    for (outgoing, wanted) in [
        (Outgoing { kind: MessageType::COMMAND, ..ok }, "COMMAND needs SOLO or more"),
        (Outgoing { kind: MessageType::TASK_REQUEST, ..ok }, "TASK_REQUEST needs BATCH or more"),
        (Outgoing { body: &long, ..ok }, "a body of 61441 bytes, at most 61440 are allowed"),
        (Outgoing { life: Duration::from_secs(86_401), ..ok }, "REPORT lives at most 86400 s"),
        (Outgoing { life: Duration::ZERO, ..ok }, "REPORT lives at most 86400 s"),
    ] {
        assert_eq!(session.link_frame(NOW, &outgoing).unwrap_err().to_string(), wanted);
    }
    let none = session.batch_draft(NOW, &[], &mut sender(), &device.key());
    assert!(matches!(none, Err(SendError::Batch(_))));
    let largest = Outgoing { body: &long[1..], ..ok };
    assert!(session.link_frame(NOW, &largest).is_ok());
}

/// A relayed message: signed by the stranger, encrypted to the authority, carried by relays that only see the hop.
#[test]
fn a_relayed_message_reaches_its_recipient_alone_and_once() {
    let (authority, stranger, device) = (Node::authority(), Node::stranger(), Node::device());
    let sent = cast::seal(golden::stored(), &authority);
    assert!(!sent.windows(4).any(|window| window == b"task"));

    let frame = Frame::parse(&sent).unwrap();
    let relayed = frame.relay(NOW).unwrap();
    let frame = Frame::parse(&relayed).unwrap();
    assert_eq!(frame.hop().hops_left, Some(15));
    let Content::Encrypted(encrypted) = frame.into_content() else { panic!("it was encrypted") };
    assert!(encrypted.open_request(device.party.as_party()).is_err());

    let opened = authority.open(&encrypted).unwrap();
    let (mut guard, mut roots) = (guard(), RootMemory::default());
    for outcome in [Ok(()), Err(ReceiveError::Freshness(FreshnessError::Replayed))] {
        let envelope = encrypted.opened(&opened).unwrap();
        assert_eq!(envelope.sealing(), Sealing::Encrypted);
        let received = receive_stored(
            NOW,
            authority.party.as_party(),
            envelope,
            &stranger.signer(),
            &mut guard,
            &mut roots,
        );
        assert_eq!(received.map(drop), outcome);
    }
}

#[test]
fn a_frame_that_a_relay_readdresses_does_not_open() {
    let (authority, device) = (Node::authority(), Node::device());
    let sent = cast::seal(golden::stored(), &authority);
    let hop = kos_base::cbor::encode(&Hop::to(authority.party.as_party(), later(600_000)));
    let at = sent.windows(hop.len()).position(|window| window == hop).unwrap();
    let other = kos_base::cbor::encode(&Hop::to(device.party.as_party(), later(600_000)));
    let readdressed = [&sent[..at], &other, &sent[at + hop.len()..]].concat();
    let Content::Encrypted(encrypted) = Frame::parse(&readdressed).unwrap().into_content() else { panic!() };
    assert!(authority.open(&encrypted).is_none());
    assert!(device.open(&encrypted).is_none());
}

#[test]
fn a_recipient_cannot_pass_a_message_on_as_meant_for_a_third() {
    let (authority, device) = (Node::authority(), Node::device());
    // The authority opens what the stranger sent it and encrypts it to the device.
    let stored = golden::stored();
    let request = kos_klp::encryption::SealRequest::new(stored.clone(), device.agreement_key());
    assert_eq!(request.plaintext(), stored.as_bytes());
    let resealed = cast::seal(stored, &device);
    let Content::Encrypted(encrypted) = Frame::parse(&resealed).unwrap().into_content() else { panic!() };
    assert_eq!(encrypted.to(), authority.party.as_party());
    assert!(encrypted.open_request(device.party.as_party()).is_err());
}

#[test]
fn relays_pass_on_only_what_they_may() {
    let (authority, stranger) = (Node::authority(), Node::stranger());
    let refused = |bytes: &[u8], now| Frame::parse(bytes).unwrap().relay(now).unwrap_err();
    assert!(matches!(refused(&golden::link(), NOW), FrameError::NotForRelays("no recipient")));
    let hop = Hop::to(authority.party.as_party(), later(600_000));
    let plain = kos_klp::frame::write(&hop, golden::stored().as_bytes()).unwrap();
    assert!(matches!(refused(&plain, NOW), FrameError::NotForRelays("not encrypted")));

    let mut bytes = cast::seal(golden::stored(), &authority);
    assert_eq!(refused(&bytes, later(600_000)), FrameError::Spent);
    for _ in 0..16 {
        bytes = Frame::parse(&bytes).unwrap().relay(NOW).unwrap();
    }
    assert_eq!(refused(&bytes, NOW), FrameError::Spent);

    let channel = kos_klp::frame::write_channel(&hop, b"anything").unwrap();
    assert!(Frame::parse(&channel).unwrap().relay(NOW).is_ok());

    let news = Outgoing::new(MessageType::TRUST_UPDATE, id(4), b"news");
    let to = party("attic/*");
    let news = news.message(NOW, stranger.party.as_party(), to, sender().stored(), ProofClass::Solo).unwrap();
    let proven = stranger.finish(SoloDraft::new(&news, &stranger.key()));
    let relayed = Frame::parse(&proven.broadcast_frame().unwrap()).unwrap().relay(NOW).unwrap();
    let mut session = authority.session(LinkRole::Listener, &Node::device());
    let signer = stranger.signer();
    let mut guard = guard();
    let received = session.receive_signed(NOW, cast::plain(&relayed), Some(&signer), &mut guard).unwrap();
    assert_eq!(message(received).message().body, b"news");
    assert!(golden::stored().broadcast_frame().is_err());
}

fn report(from: &Node, n: u8, order: Order, life_ms: u64) -> Vec<u8> {
    let message = Message {
        kind: MessageType::REPORT,
        from: from.party.as_party(),
        to: party(AUTHORITY),
        id: id(n),
        issued: NOW,
        expires: later(life_ms),
        order,
        body: b"report",
        reply_to: None,
        revocation: None,
    };
    kos_base::cbor::encode(&message)
}

fn check(guard: &mut ReplayGuard, now_ms: u64, bytes: &[u8]) -> Result<(), FreshnessError> {
    guard.accept(later(now_ms), &minicbor::decode(bytes).unwrap(), ProofClass::Solo)
}

#[test]
fn memory_is_bounded_and_nothing_is_forgotten_before_it_expires() {
    let limits = GuardLimits { windows_max: 2, ids_max: 8, ids_per_sender_max: 4 };
    let mut guard = ReplayGuard::new(limits);
    let nodes: Vec<_> = (0..4).map(|n| Node::new(&format!("attic/kdev-000000000000000{n}"), n)).collect();
    let stored = Order::Stored { epoch: 1 };
    // A sender fills its share and is refused, another is not.
    for n in 0..4 {
        assert_eq!(check(&mut guard, 0, &report(&nodes[0], n, stored, 10_000)), Ok(()));
    }
    assert_eq!(check(&mut guard, 0, &report(&nodes[0], 4, stored, 10_000)), Err(FreshnessError::Full));
    assert_eq!(check(&mut guard, 0, &report(&nodes[1], 0, stored, 20_000)), Ok(()));
    assert_eq!(check(&mut guard, 0, &report(&nodes[2], 0, stored, 20_000)), Ok(()));
    // Three quarters are full: a stranger is refused, who is known is not.
    assert_eq!(check(&mut guard, 0, &report(&nodes[3], 0, stored, 20_000)), Err(FreshnessError::Full));
    assert_eq!(check(&mut guard, 0, &report(&nodes[1], 1, stored, 20_000)), Ok(()));
    assert_eq!(check(&mut guard, 0, &report(&nodes[0], 0, stored, 10_000)), Err(FreshnessError::Replayed));
    // Once the first ones cannot be played again, there is room.
    assert_eq!(check(&mut guard, 69_999, &report(&nodes[3], 0, stored, 20_000)), Err(FreshnessError::Full));
    assert_eq!(check(&mut guard, 70_000, &report(&nodes[3], 0, stored, 20_000)), Ok(()));
    assert_eq!(
        check(&mut guard, 70_000, &report(&nodes[1], 0, stored, 20_000)),
        Err(FreshnessError::Replayed)
    );

    // The same for windows.
    let direct = |sequence| Order::Direct(kos_klp::message::Place { epoch: 1, sequence });
    assert_eq!(check(&mut guard, 0, &report(&nodes[0], 0, direct(1), 10_000)), Ok(()));
    assert_eq!(check(&mut guard, 0, &report(&nodes[1], 0, direct(1), 10_000)), Ok(()));
    assert_eq!(check(&mut guard, 0, &report(&nodes[2], 0, direct(1), 10_000)), Err(FreshnessError::Full));
    assert_eq!(check(&mut guard, 0, &report(&nodes[1], 0, direct(2), 90_000)), Ok(()));
    assert_eq!(check(&mut guard, 71_000, &report(&nodes[2], 0, direct(1), 90_000)), Ok(()));
    assert_eq!(
        check(&mut guard, 71_000, &report(&nodes[1], 0, direct(1), 90_000)),
        Err(FreshnessError::Replayed)
    );
    assert_eq!(guard.len().0, 2);
}

#[test]
fn what_was_remembered_survives_a_restart() {
    let mut guard = guard();
    let device = Node::device();
    let direct = Order::Direct(kos_klp::message::Place { epoch: 5, sequence: 9 });
    let messages =
        [report(&device, 1, direct, 10_000), report(&device, 2, Order::Stored { epoch: 5 }, 10_000)];
    for message in &messages {
        assert_eq!(check(&mut guard, 0, message), Ok(()));
    }
    let bytes = guard.to_bytes();
    let mut restarted = ReplayGuard::from_bytes(GuardLimits::DEVICE, &bytes).unwrap();
    assert_eq!(restarted.to_bytes(), bytes);
    for message in &messages {
        assert_eq!(check(&mut restarted, 1_000, message), Err(FreshnessError::Replayed));
    }
    assert!(ReplayGuard::from_bytes(GuardLimits::DEVICE, &bytes[1..]).is_err());
}

#[test]
fn a_node_that_forgot_refuses_what_it_may_have_seen() {
    let device = Node::device();
    let order = Order::Stored { epoch: 5 };
    for (start_ms, outcome) in
        [(0, Err(FreshnessError::BeforeStart)), (60_000, Err(FreshnessError::BeforeStart))]
    {
        let mut guard = ReplayGuard::forgetful(GuardLimits::DEVICE, later(start_ms));
        assert_eq!(check(&mut guard, start_ms, &report(&device, 1, order, 300_000)), outcome);
    }
    let mut guard = ReplayGuard::forgetful(GuardLimits::DEVICE, NOW.minus(Duration::from_secs(60)));
    assert_eq!(check(&mut guard, 0, &report(&device, 1, order, 300_000)), Ok(()));
}

#[test]
fn only_failures_after_the_proof_are_answered() {
    for (error, answered) in [
        (ReceiveError::SignerUnknown(Node::device().key().id()), false),
        (ReceiveError::Freshness(FreshnessError::Replayed), false),
        (ReceiveError::Freshness(FreshnessError::Expired), true),
        (ReceiveError::UnknownType(MessageType::from_number(99)), true),
        (ReceiveError::Plain, true),
    ] {
        assert_eq!(error.answer(MessageType::HEARTBEAT).is_some(), answered, "{error}");
        assert_eq!(error.answer(MessageType::ACK), None, "{error}: an ACK is never answered");
    }
}
