//! The frames of `tests/vectors/klp`, made and judged again.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "vectors are files")]

mod cast;

use cast::{Node, guard, malice, vector};
use kos_klp::{
    frame::{Content, Frame},
    message::MessageType,
    proof::{ProofClass, link::LinkRole},
    session::Incoming,
};

#[test]
fn golden_frames_and_malice_are_made_again_byte_for_byte() {
    let mut made = vec![
        ("golden/link.cbor".to_owned(), cast::golden::link()),
        ("golden/solo.cbor".to_owned(), cast::golden::solo()),
        ("golden/batch.cbor".to_owned(), cast::golden::batch()),
        ("golden/inputs.json".to_owned(), format!("{:#}\n", cast::golden::inputs()).into_bytes()),
    ];
    let mut index = "# file, whether the same frame arrived before, code of the refusal\n".to_owned();
    for fault in malice::faults() {
        index.push_str(&malice::line(&fault));
        index.push('\n');
        made.push((format!("malice/{}.cbor", fault.name), fault.frame));
    }
    made.push(("malice/index.txt".to_owned(), index.into_bytes()));
    cast::compare(&made);
}

#[test]
fn golden_frames_are_received_with_the_proof_that_they_have() {
    let (authority, device, stranger) = (Node::authority(), Node::device(), Node::stranger().signer());
    for (name, class, kind) in [
        ("golden/link.cbor", ProofClass::Link, MessageType::HEARTBEAT),
        ("golden/solo.cbor", ProofClass::Solo, MessageType::REPORT),
        ("golden/batch.cbor", ProofClass::Batch, MessageType::LOG),
        ("golden/encrypted.cbor", ProofClass::Solo, MessageType::TASK_REQUEST),
    ] {
        let (frame, mut guard) = (vector(name), guard());
        let mut session = authority.session(LinkRole::Listener, &device);
        let opened;
        let envelope = match Frame::parse(&frame).unwrap().into_content() {
            Content::Plain(envelope) => envelope,
            Content::Encrypted(encrypted) => {
                opened = authority.open(&encrypted).expect("another implementation sealed it to us");
                encrypted.opened(&opened).unwrap()
            }
            Content::Channel(_) => panic!("{name}"),
        };
        let incoming = match class {
            ProofClass::Link => session.receive_link(cast::NOW, envelope),
            _ => session.receive_signed(cast::NOW, envelope, Some(&stranger), &mut guard),
        };
        let Ok(Incoming::Message(received)) = incoming else { panic!("{name}: {incoming:?}") };
        assert_eq!((received.class(), received.message().kind), (class, kind), "{name}");
    }
}

#[test]
fn every_fault_is_refused_with_its_code() {
    for fault in malice::faults() {
        let verdict = malice::judge(&fault.frame, fault.arrival);
        assert_eq!(verdict.err(), fault.code, "{}", fault.name);
    }
}

#[test]
fn no_prefix_and_no_changed_bit_of_a_golden_frame_is_believed() {
    for name in ["golden/link.cbor", "golden/solo.cbor", "golden/batch.cbor", "golden/encrypted.cbor"] {
        let frame = vector(name);
        assert_eq!(malice::judge(&frame, malice::Arrival::First), Ok(()), "{name}");
        for end in 0..frame.len() {
            assert!(malice::judge(&frame[..end], malice::Arrival::First).is_err(), "{name} cut at {end}");
        }
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1 << (at % 8);
            let verdict = malice::judge(&changed, malice::Arrival::First);
            // The hop of the encrypted frame is not under a proof; what may change there does no harm.
            let in_hop = name == "golden/encrypted.cbor" && at < 40;
            assert!(verdict.is_err() || in_hop, "{name} changed at {at}");
        }
    }
}
