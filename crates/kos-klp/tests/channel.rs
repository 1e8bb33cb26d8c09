//! The secure channel: the bytes of another implementation, and an attacker who owns the relay.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "vectors are files")]

mod cast;

use cast::{NOW, Node, agree, later, public_of};
use data_encoding::HEXLOWER;
use kos_base::{AgreementKey, PublicKey};
use kos_klp::{
    channel::{
        Channel, ChannelError, ChannelId, Initiator, Input, Machine, Opened, Output, Own, Responder,
        channel_id_of,
    },
    message::MessageType,
    party::Party,
    proof::link::LinkRole,
    session::{Incoming, Outgoing, Session, Signer},
};
use serde_json::Value;

/// A node's shell: does what the machine asks for.
struct End {
    machine: Machine,
    node: Node,
    ephemeral: [u8; 32],
    /// What the credential of the peer proves.
    peer_key: PublicKey,
    sent: Vec<Vec<u8>>,
    signed: Vec<Vec<u8>>,
    credentials: Vec<Vec<u8>>,
    channel: Option<Channel>,
}

impl End {
    fn new(machine: Machine, node: Node, ephemeral: [u8; 32], peer: &Node) -> Self {
        let peer_key = peer.key();
        let (sent, signed, credentials) = (Vec::new(), Vec::new(), Vec::new());
        Self { machine, node, ephemeral, peer_key, sent, signed, credentials, channel: None }
    }

    fn drive(&mut self) -> Result<(), ChannelError> {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::MakeEphemeral => self.input(Input::Ephemeral(public_of(&self.ephemeral)))?,
                Output::Agree(peer) => self.input(Input::Shared(agree(&self.ephemeral, &peer)))?,
                Output::Authenticate { credential, .. } => {
                    self.credentials.push(credential);
                    self.input(Input::PeerKey(self.peer_key.clone()))?;
                }
                Output::Sign(bytes) => {
                    let signature = self.node.sign(&bytes);
                    self.signed.push(bytes);
                    self.input(Input::Signature(signature))?;
                }
                Output::Send(message) => self.sent.push(message),
                Output::Established(channel) => self.channel = Some(*channel),
            }
        }
        Ok(())
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), ChannelError> {
        self.machine.handle_input(NOW, input)
    }

    fn receive(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        self.input(Input::Message(message))?;
        self.drive()
    }
}

const ID: ChannelId = ChannelId::from_bytes([0x2a; 16]);

fn initiator(own: Own, peer: &Party) -> Machine {
    Machine::Initiator(Initiator::new(NOW, ID, own, peer.clone()).unwrap())
}

/// An exchange in which `relay` may change each message.
fn exchange(mut relay: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Result<(Channel, Channel), ChannelError> {
    let (a, b) = (Node::device(), Node::stranger());
    let machine = initiator(a.own(b"a"), &b.party);
    let mut left = End::new(machine, a, [0x22; 32], &b);
    left.drive()?;
    let hello = relay(0, left.sent.remove(0));
    let machine = Machine::Responder(Responder::new(NOW, &hello, b.own(b"b"))?);
    let mut right = End::new(machine, b, [0x44; 32], &left.node);
    right.drive()?;
    let reply = relay(1, right.sent.remove(0));
    left.receive(&reply)?;
    let finish = relay(2, left.sent.remove(0));
    right.receive(&finish)?;
    Ok((left.channel.expect("established"), right.channel.expect("established")))
}

fn established() -> (Channel, Channel) {
    exchange(|_, message| message).unwrap()
}

#[test]
fn the_machines_say_what_another_implementation_says() {
    let vector: Value = serde_json::from_slice(&cast::vector("channel.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let hex = |value: &Value| HEXLOWER.decode(text(value).as_bytes()).unwrap();
    let end = |name: &str| {
        let end = &vector[name];
        let node = Node::new(&text(&end["party"]), hex(&end["operationalSeed"])[0]);
        assert_eq!(node.key().id().to_string(), text(&end["operationalKeyId"]));
        (node, <[u8; 32]>::try_from(hex(&end["ephemeralSecret"])).unwrap(), hex(&end["credential"]))
    };
    let ((a, a_secret, a_credential), (b, b_secret, b_credential)) = (end("initiator"), end("responder"));
    let id = ChannelId::from_bytes(hex(&vector["channelId"]).try_into().unwrap());

    let machine = Initiator::new(NOW, id, a.own(&a_credential), b.party.clone()).unwrap();
    let mut left = End::new(Machine::Initiator(machine), a, a_secret, &b);
    left.drive().unwrap();
    let hello = left.sent.remove(0);
    assert_eq!(hello, hex(&vector["hello"]));
    assert_eq!(channel_id_of(&hello), Ok(id));

    let machine = Responder::new(NOW, &hello, b.own(&b_credential)).unwrap();
    let mut right = End::new(Machine::Responder(machine), b, b_secret, &left.node);
    right.drive().unwrap();
    assert_eq!(right.signed, [hex(&vector["responderSigns"])]);
    assert_eq!(right.sent, [hex(&vector["reply"])]);

    left.receive(&right.sent[0]).unwrap();
    assert_eq!(left.signed, [hex(&vector["initiatorSigns"])]);
    assert_eq!(left.sent, [hex(&vector["finish"])]);
    right.receive(&left.sent[0]).unwrap();
    assert_eq!((&left.credentials, &right.credentials), (&vec![b_credential], &vec![a_credential]));

    let (mut left, mut right) = (left.channel.unwrap(), right.channel.unwrap());
    for channel in [&left, &right] {
        assert_eq!(channel.exporter().expose().as_slice(), hex(&vector["exporter"]));
    }
    for record in vector["records"].as_array().unwrap() {
        let (plaintext, bytes) = (hex(&record["plaintext"]), hex(&record["record"]));
        let (from, to) =
            if record["sender"] == "initiator" { (&mut left, &mut right) } else { (&mut right, &mut left) };
        let sequence = record["sequence"].as_u64().unwrap();
        if sequence < 1 << 20 {
            let made = if plaintext.is_empty() { from.close(NOW) } else { from.seal(NOW, &plaintext) };
            assert_eq!(made.unwrap(), bytes, "{sequence}");
        }
        let opened = to.open(NOW, &bytes).unwrap();
        let wanted =
            if plaintext.is_empty() { Opened::Closed { missing: 0 } } else { Opened::Data(plaintext) };
        assert_eq!(opened, wanted);
    }
}

#[test]
fn no_changed_bit_of_the_exchange_gets_through() {
    let mut lengths = Vec::new();
    exchange(|_, message| {
        lengths.push(message.len());
        message
    })
    .unwrap();
    for (which, length) in lengths.into_iter().enumerate() {
        for at in 0..length {
            let outcome = exchange(|n, mut message| {
                if n == which {
                    message[at] ^= 1 << (at % 8);
                }
                message
            });
            assert!(outcome.is_err(), "message {which}, byte {at}");
        }
    }
}

#[test]
fn a_middleman_with_keys_of_its_own_gets_nowhere() {
    // It answers the hello of A itself, as B, with its own fresh key; it has any certificate but that of B.
    let (a, b, mallory) = (Node::device(), Node::stranger(), Node::new("attic/kdev-00000000000000aa", 0x3a));
    let machine = initiator(a.own(b"a"), &b.party);
    let mut left = End::new(machine, a, [0x22; 32], &b);
    left.drive().unwrap();
    let claims_to_be_b = Own { party: b.party.clone(), ..mallory.own(b"m") };
    let machine = Machine::Responder(Responder::new(NOW, &left.sent[0], claims_to_be_b).unwrap());
    let mut middle = End::new(machine, mallory, [0x66; 32], &left.node);
    middle.drive().unwrap();
    // The shell of A looks the key of B up and finds another than the one in the reply.
    assert_eq!(left.receive(&middle.sent[0]), Err(ChannelError::OtherKey));

    // It names the key of B in the reply instead, and cannot sign for it.
    let (a, mallory) = (Node::device(), Node::new("attic/kdev-00000000000000aa", 0x3a));
    let machine = initiator(a.own(b"a"), &b.party);
    let mut left = End::new(machine, a, [0x22; 32], &b);
    left.drive().unwrap();
    let machine = Machine::Responder(Responder::new(NOW, &left.sent[0], b.own(b"b")).unwrap());
    let mut middle = End::new(machine, mallory, [0x66; 32], &left.node);
    middle.drive().unwrap();
    assert!(matches!(left.receive(&middle.sent[0]), Err(ChannelError::Signature(_))));
}

#[test]
fn messages_of_another_exchange_do_not_fit() {
    let mut first = Vec::new();
    exchange(|_, message| {
        first.push(message.clone());
        message
    })
    .unwrap();
    // The fresh keys of a second exchange differ, so its hello does.
    let (a, b) = (Node::device(), Node::stranger());
    let machine = initiator(a.own(b"a"), &b.party);
    let mut left = End::new(machine, a, [0x23; 32], &b);
    left.drive().unwrap();
    assert_eq!(left.receive(&first[1]), Err(ChannelError::Sealed));

    // A repeated hello gets an answer, but the finish of the first exchange does not end the second.
    let machine = Machine::Responder(Responder::new(NOW, &first[0], b.own(b"b")).unwrap());
    let mut right = End::new(machine, b, [0x45; 32], &Node::device());
    right.drive().unwrap();
    assert_eq!(right.receive(&first[2]), Err(ChannelError::Sealed));
    // The first fault has ended it.
    assert_eq!(right.receive(&first[2]), Err(ChannelError::Unexpected));
}

#[test]
fn a_node_makes_no_channel_with_itself_and_answers_for_nobody_else() {
    let (a, b) = (Node::device(), Node::stranger());
    assert!(matches!(Initiator::new(NOW, ID, a.own(b""), a.party.clone()), Err(ChannelError::NotForUs(_))));
    let machine = initiator(a.own(b""), &b.party);
    let mut left = End::new(machine, a, [0x22; 32], &b);
    left.drive().unwrap();
    for other in [Node::authority(), Node::device()] {
        assert!(matches!(Responder::new(NOW, &left.sent[0], other.own(b"")), Err(ChannelError::NotForUs(_))));
    }
}

#[test]
fn a_point_of_small_order_ends_the_exchange() {
    let (a, b) = (Node::device(), Node::stranger());
    let mut machine = initiator(a.own(b"a"), &b.party);
    assert!(matches!(machine.poll_output(), Some(Output::MakeEphemeral)));
    machine.handle_input(NOW, Input::Ephemeral(AgreementKey([0; 32]))).unwrap();
    let Some(Output::Send(hello)) = machine.poll_output() else { panic!() };
    let machine = Machine::Responder(Responder::new(NOW, &hello, b.own(b"b")).unwrap());
    let mut right = End::new(machine, b, [0x44; 32], &a);
    assert_eq!(right.drive(), Err(ChannelError::NoSecret));
}

#[test]
fn an_exchange_ends_when_its_time_is_over() {
    let (a, b) = (Node::device(), Node::stranger());
    let mut machine = Initiator::new(NOW, ID, a.own(b"a"), b.party).unwrap();
    let ephemeral = || Input::Ephemeral(public_of(&[1; 32]));
    assert_eq!(machine.handle_input(later(29_999), ephemeral()), Ok(()));
    let reply = Input::Message(b"too late");
    assert_eq!(machine.handle_input(later(30_000), reply), Err(ChannelError::Over));
    assert_eq!(machine.handle_input(later(29_999), ephemeral()), Err(ChannelError::Unexpected));
}

#[test]
fn records_may_be_reordered_and_lost_but_not_repeated_changed_or_reflected() {
    let (mut left, mut right) = established();
    let records: Vec<_> = (0..5).map(|n| left.seal(NOW, &[n]).unwrap()).collect();
    for n in [0, 3, 1] {
        let data = u8::try_from(n).unwrap();
        assert_eq!(right.open(NOW, &records[n]), Ok(Opened::Data(vec![data])));
    }
    assert_eq!(right.open(NOW, &records[1]), Err(ChannelError::Replayed));
    assert_eq!(left.open(NOW, &records[2]), Err(ChannelError::Sealed));
    for at in 0..records[2].len() {
        let mut changed = records[2].clone();
        changed[at] ^= 1;
        assert!(right.open(NOW, &changed).is_err(), "byte {at}");
    }
    assert_eq!(right.open(NOW, &records[2]), Ok(Opened::Data(vec![2])));

    let close = left.close(NOW).unwrap();
    assert_eq!(left.seal(NOW, b"more"), Err(ChannelError::Over));
    assert_eq!(right.open(NOW, &close), Ok(Opened::Closed { missing: 1 }));
    assert_eq!(right.open(NOW, &records[4]), Ok(Opened::Data(vec![4])));
    assert!(right.seal(NOW, b"the other way is open").is_ok());
}

#[test]
fn where_the_way_keeps_order_a_lost_moved_or_repeated_record_is_noticed() {
    let records = |left: &mut Channel| -> Vec<_> { (0..4).map(|n| left.seal(NOW, &[n]).unwrap()).collect() };
    for (order, refusal) in [
        (&[0, 2][..], ChannelError::Missing(1)),
        (&[1, 0], ChannelError::Missing(1)),
        (&[3], ChannelError::Missing(3)),
        (&[0, 1, 1], ChannelError::Replayed),
        (&[0, 1, 0], ChannelError::Replayed),
    ] {
        let (mut left, mut right) = established();
        let records = records(&mut left);
        let first_fault = order.iter().find_map(|n| right.open_next(NOW, &records[*n]).err());
        assert_eq!(first_fault, Some(refusal), "{order:?}");
    }
    let (mut left, mut right) = established();
    let (kept, _lost, close) = (left.seal(NOW, b"1"), left.seal(NOW, b"2"), left.close(NOW));
    assert_eq!(right.open_next(NOW, &kept.unwrap()), Ok(Opened::Data(b"1".to_vec())));
    assert_eq!(right.open_next(NOW, &close.unwrap()), Err(ChannelError::Missing(1)));
}

#[test]
fn keys_are_replaced_as_records_go_and_old_ones_are_dropped() {
    let (mut left, mut right) = established();
    let mut kept = Vec::new();
    let generation = 1u64 << 20;
    for n in 1..=generation + 5000 {
        let record = left.seal(NOW, b"x").unwrap();
        if [1, generation - 2, generation - 1, generation, generation + 4999, generation + 5000].contains(&n)
        {
            kept.push(record);
        }
    }
    let open = |right: &mut Channel, n: usize| right.open(NOW, &kept[n]).map(drop);
    assert_eq!(open(&mut right, 0), Ok(()));
    assert_eq!(open(&mut right, 1), Ok(()));
    assert_eq!(open(&mut right, 3), Ok(()));
    assert_eq!(open(&mut right, 2), Ok(()), "of the generation before");
    assert_eq!(open(&mut right, 5), Ok(()));
    assert_eq!(open(&mut right, 4), Ok(()));
    assert_eq!(open(&mut right, 2), Err(ChannelError::Replayed), "its key is gone");
}

#[test]
fn a_channel_and_its_records_have_limits() {
    let (mut left, mut right) = established();
    assert_eq!(left.seal(NOW, &[]), Err(ChannelError::Size(0)));
    assert_eq!(left.seal(NOW, &[0; 64_385]), Err(ChannelError::Size(64_385)));
    let record = left.seal(NOW, &[0; 64_384]).unwrap();
    let hop = kos_klp::frame::Hop::to(left.peer().party.as_party(), later(60_000));
    assert!(kos_klp::frame::write_channel(&hop, &record).is_ok());
    let end = later(24 * 60 * 60 * 1000);
    assert_eq!(right.open(end, &record), Err(ChannelError::Over));
    assert_eq!(left.seal(end, b"x"), Err(ChannelError::Over));
}

#[test]
fn a_session_inside_a_channel_has_link_proofs() {
    let (mut left, mut right) = established();
    let (a, b) = (Node::device(), Node::stranger());
    let session = |role, channel: &Channel, own: &Node| {
        let Signer { party, key } = channel.peer().clone();
        Session::new(role, channel.exporter(), own.party.clone(), own.key().id(), Signer { party, key }, 1)
            .unwrap()
    };
    let mut at_a = session(LinkRole::Dialler, &left, &a);
    let mut at_b = session(LinkRole::Listener, &right, &b);
    let frame = at_a.link_frame(NOW, &Outgoing::new(MessageType::REPORT, cast::id(1), b"inside")).unwrap();
    let Ok(Opened::Data(frame)) = right.open(NOW, &left.seal(NOW, &frame).unwrap()) else { panic!() };
    let Ok(Incoming::Message(received)) = at_b.receive_link(NOW, cast::plain(&frame)) else { panic!() };
    assert_eq!(received.message().from, a.party.as_party());
}
