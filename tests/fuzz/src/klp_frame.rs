//! KLP frames, bodies, channel messages and stored memories: whatever the bytes, reading ends, nothing is believed that
//! nobody proved, and what is passed on or written again is read again.

use kos_base::{AgreementKey, Secret, cbor};
use kos_klp::{
    body::{
        self, Ack, Alert, Body, Command, Config, Heartbeat, HeartbeatAnswer, Log, LogHeld, Revocation,
        WitnessAnswer, WitnessRequest,
    },
    channel::{ChannelId, Initiator, Input, Own, Responder, channel_id_of},
    frame::{Content, Frame},
    freshness::{GuardLimits, ReplayGuard},
    message::Message,
    party::Party,
    proof::{Envelope, ProofClass, link::LinkRole},
    session::{Session, Signer},
};

use crate::{
    Verdict,
    cast::{NOW, nobodys_key},
};

/// Reads the bytes as everything that travels in a link or lies in the memory of a session.
pub fn run(bytes: &[u8]) -> Verdict {
    let bodies = [
        check_body::<Ack>(bytes),
        check_body::<Alert>(bytes),
        check_body::<Command>(bytes),
        check_body::<Config>(bytes),
        check_body::<Heartbeat>(bytes),
        check_body::<HeartbeatAnswer>(bytes),
        check_body::<Log>(bytes),
        check_body::<LogHeld>(bytes),
        check_body::<Revocation>(bytes),
        check_body::<WitnessAnswer>(bytes),
        check_body::<WitnessRequest>(bytes),
    ];
    let guard = ReplayGuard::from_bytes(GuardLimits::DEVICE, bytes);
    if let Ok(guard) = &guard {
        assert_eq!(guard.to_bytes().len(), bytes.len());
    }
    let readings = [check_frame(bytes), check_message(bytes), check_channel(bytes), Verdict::of(&guard)];
    readings.into_iter().chain(bodies).fold(Verdict::Refused, Verdict::or)
}

fn check_frame(bytes: &[u8]) -> Verdict {
    let Ok(frame) = Frame::parse(bytes) else { return Verdict::Refused };
    if let Ok(relayed) = frame.relay(NOW) {
        let again = Frame::parse(&relayed).expect("what is passed on is a frame");
        assert!(again.hop().hops_left < frame.hop().hops_left);
    }
    match frame.into_content() {
        Content::Plain(envelope) => believe(envelope),
        Content::Encrypted(encrypted) => {
            let _ = encrypted.open_request(encrypted.to());
            if let Ok(envelope) = encrypted.opened(bytes) {
                believe(envelope);
            }
        }
        Content::Channel(message) => {
            let _ = check_channel(message);
        }
    }
    Verdict::Read
}

fn check_message(bytes: &[u8]) -> Verdict {
    if cbor::scan(bytes).is_err() {
        return Verdict::Refused;
    }
    let message = minicbor::decode::<Message<'_>>(bytes);
    if let Ok(message) = &message {
        // The only bytes that a reader skips are those of negative keys.
        let written = cbor::encode(message);
        assert!(written == bytes || written.len() < bytes.len());
    }
    Verdict::of(&message)
}

fn believe(envelope: Envelope<'_>) {
    let signer = Signer {
        party: envelope.claimed_sender().as_str().parse().expect("it was read"),
        key: nobodys_key(),
    };
    let secret = Secret::new([9; 32]);
    let session =
        Session::new(LinkRole::Listener, &secret, party("attic"), nobodys_key().id(), signer.clone(), 1);
    let mut session = session.expect("derivation works");
    let mut guard = ReplayGuard::new(GuardLimits::DEVICE);
    let refused = match envelope.class() {
        ProofClass::Link => session.receive_link(NOW, envelope).is_err(),
        ProofClass::Batch | ProofClass::Solo => {
            session.receive_signed(NOW, envelope, Some(&signer), &mut guard).is_err()
        }
    };
    assert!(refused, "nobody proved this");
    assert!(guard.is_empty(), "a refused message leaves no trace");
}

fn check_body<T: Body + PartialEq + core::fmt::Debug>(bytes: &[u8]) -> Verdict {
    let read = body::read::<T>(bytes);
    if let Ok(read) = &read {
        let written = body::write(read);
        assert!(written == bytes || written.len() < bytes.len());
        assert_eq!(body::read::<T>(&written).as_ref(), Ok(read));
    }
    Verdict::of(&read)
}

fn check_channel(bytes: &[u8]) -> Verdict {
    let claimed = channel_id_of(bytes);
    if let Ok(mut machine) = Responder::new(NOW, bytes, own()) {
        let _ = machine.handle_input(NOW, Input::Ephemeral(AgreementKey([9; 32])));
        let _ = machine.handle_input(NOW, Input::Shared(Secret::new([9; 32])));
        let _ = machine.handle_input(NOW, Input::Signature(vec![9; 64]));
        let _ = machine.handle_input(NOW, Input::Message(bytes));
    }
    let id = claimed.clone().unwrap_or(ChannelId::from_bytes([9; 16]));
    let mut machine = Initiator::new(NOW, id, own(), party("cellar")).expect("two parties");
    let _ = machine.handle_input(NOW, Input::Ephemeral(AgreementKey([9; 32])));
    if machine.handle_input(NOW, Input::Message(bytes)).is_ok() {
        assert!(
            machine.handle_input(NOW, Input::Shared(Secret::new([9; 32]))).is_err(),
            "nobody sealed this"
        );
    }
    Verdict::of(&claimed)
}

fn party(text: &str) -> Party {
    text.parse().expect("a party")
}

fn own() -> Own {
    Own { party: party("attic"), key: nobodys_key(), credential: Vec::new() }
}
