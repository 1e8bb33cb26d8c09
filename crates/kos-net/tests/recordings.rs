//! Forward secrecy: somebody has recorded all that went through a relay, and later gets the long-term keys of both ends.

#![cfg(test)]

mod attic;

use std::time::Duration;

use attic::relay::{ANNA, Attic, BERT, Deed, Direction, Ends, relay};
use kos_base::{AgreementKey, Secret, Timestamp, key::SignatureForm};
use kos_klp::{
    channel::{ChannelError, Initiator, Input, Opened, Output, Own, Responder, channel_id_of},
    frame::{Content, Frame},
    party::Party,
};
use kos_net::{
    carrier::Carrier,
    channel::{Identity, SecureLink, accept, open},
    keys::{AgreementSecret, SigningKey},
};
use minicbor::{Decoder, data::Type};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const CANARY: &[u8] = b"the canary sings in the cellar at noon";
const LATER: Timestamp = Timestamp::from_unix_s(1);

/// The messages of one channel, as a relay saw them.
struct Recording {
    hello: Vec<u8>,
    reply: Vec<u8>,
    /// Records of the end that accepted the channel.
    back: Vec<Vec<u8>>,
}

/// What was taken from a device when it was too late: its operational key and its agreement key.
struct Taken {
    operational: std::sync::Arc<SigningKey>,
    agreement: AgreementSecret,
}

impl Taken {
    /// Both keys as an attacker may try to use them in X25519.
    fn secrets(&self) -> [AgreementSecret; 2] {
        let pkcs8 = self.operational.to_pkcs8().unwrap();
        // The private number of a P-256 key is the first octet string of 32 bytes (RFC 5915).
        let at = pkcs8.windows(2).position(|bytes| bytes == [0x04, 0x20]).unwrap() + 2;
        let scalar: [u8; 32] = pkcs8[at..at + 32].try_into().unwrap();
        [*self.agreement.secret().expose(), scalar]
            .map(|secret| AgreementSecret::from_secret(Secret::new(secret)).unwrap())
    }
}

/// The item of 32 bytes that stands `last` in a hello or `fourth` in a reply: the fresh X25519 key.
fn ephemeral(message: &[u8], at: u64) -> AgreementKey {
    let mut d = Decoder::new(message);
    d.array().unwrap();
    for _ in 0..at {
        d.skip().unwrap();
    }
    assert_eq!(d.datatype().unwrap(), Type::Bytes);
    AgreementKey(d.bytes().unwrap().try_into().unwrap())
}

/// Goes through a recorded exchange again as the end that opened it, with every shared secret that the taken keys give.
/// What the records say, if one of them fits.
fn read_with(recording: &Recording, taken: &[Taken; 2], anna: &Identity, bert: &Identity) -> Option<Vec<u8>> {
    let fresh = [ephemeral(&recording.hello, 6), ephemeral(&recording.reply, 3)];
    let secrets: Vec<AgreementSecret> = taken.iter().flat_map(Taken::secrets).collect();
    let publics: Vec<AgreementKey> =
        fresh.into_iter().chain(secrets.iter().map(AgreementSecret::public)).collect();
    let mut tried = 0;
    for secret in &secrets {
        for public in &publics {
            tried += 1;
            let shared = secret.agree(*public).unwrap();
            match read_again(recording, shared, fresh[0], anna, bert) {
                Ok(said) => return Some(said),
                Err(error) => assert_eq!(error, ChannelError::Sealed),
            }
        }
    }
    assert_eq!(tried, 4 * 6);
    None
}

fn read_again(
    recording: &Recording,
    shared: Secret<32>,
    fresh: AgreementKey,
    anna: &Identity,
    bert: &Identity,
) -> Result<Vec<u8>, ChannelError> {
    let own = Own { party: party(ANNA), key: anna.key.public().clone(), credential: b"anything".to_vec() };
    let id = channel_id_of(&recording.hello).unwrap();
    let mut machine = Initiator::new(LATER, id, own, party(BERT)).unwrap();
    assert!(matches!(machine.poll_output(), Some(Output::MakeEphemeral)));
    machine.handle_input(LATER, Input::Ephemeral(fresh)).unwrap();
    let Some(Output::Send(hello)) = machine.poll_output() else { panic!("no hello") };
    assert_eq!(hello, recording.hello, "the attacker goes through the very exchange that was recorded");
    machine.handle_input(LATER, Input::Message(&recording.reply)).unwrap();
    assert!(matches!(machine.poll_output(), Some(Output::Agree(_))));
    machine.handle_input(LATER, Input::Shared(shared))?;
    assert!(matches!(machine.poll_output(), Some(Output::Authenticate { .. })));
    machine.handle_input(LATER, Input::PeerKey(bert.key.public().clone())).unwrap();
    let Some(Output::Sign(bytes)) = machine.poll_output() else { panic!("nothing to sign") };
    let signature = anna.key.sign(SignatureForm::Fixed, &bytes).unwrap();
    machine.handle_input(LATER, Input::Signature(signature)).unwrap();
    let mut channel = loop {
        match machine.poll_output() {
            Some(Output::Established(channel)) => break channel,
            Some(_) => {}
            None => panic!("no channel"),
        }
    };
    match channel.open(LATER, &recording.back[0]) {
        Ok(Opened::Data(said)) => Ok(said),
        other => panic!("{other:?}"),
    }
}

fn party(device: &str) -> Party {
    format!("attic/{device}").parse().unwrap()
}

fn taken(identity: &Identity) -> Taken {
    Taken { operational: identity.key.clone(), agreement: AgreementSecret::generate().unwrap() }
}

#[tokio::test]
async fn keys_that_are_stolen_later_open_nothing_that_was_recorded() {
    let mut attic = Attic::new().await;
    let (anna, bert) = (attic.own(ANNA, &attic.anna), attic.own(BERT, &attic.bert));
    let ends = attic.link(Carrier::Tls).await;
    let Ends { anna: from_anna, bert: from_bert, relay: links } = ends;
    let between = relay(links, |_, _, frame| Deed::PassOn(vec![frame]));
    let (at_anna, at_bert, to) = (attic.judge(), attic.judge(), attic.identity(BERT));
    let both =
        async { tokio::join!(open(from_anna, &anna, &at_anna, &to), accept(from_bert, &bert, &at_bert)) };
    let (opened, accepted) = timeout(SOON, both).await.unwrap();
    let (mut opened, accepted): (SecureLink, SecureLink) = (opened.unwrap(), accepted.unwrap());
    let mut sender = accepted.sender;
    sender.send(CANARY).await.unwrap();
    assert_eq!(opened.receiver.recv().await.unwrap().unwrap(), CANARY);
    sender.close().await.unwrap();
    opened.sender.close().await.unwrap();

    let seen = timeout(SOON, between).await.unwrap().unwrap();
    let messages = |wanted: Direction| -> Vec<Vec<u8>> {
        let frames = seen.iter().filter(|(way, _)| *way == wanted);
        frames.map(|(_, frame)| message(frame)).collect()
    };
    let (mut forth, mut back) = (messages(Direction::Forth), messages(Direction::Back));
    let recording = Recording { hello: forth.remove(0), reply: back.remove(0), back };
    let keys = [taken(&anna), taken(&bert)];
    assert_eq!(read_with(&recording, &keys, &anna, &bert), None);
}

fn message(frame: &[u8]) -> Vec<u8> {
    match Frame::parse(frame).unwrap().into_content() {
        Content::Channel(message) => message.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The same attack against an end that uses its agreement key where a fresh one belongs. It works, so that it fails
/// above for the right reason.
#[tokio::test]
async fn the_attack_works_on_an_end_that_draws_no_fresh_key() {
    let attic = Attic::new().await;
    let (anna, bert) = (attic.own(ANNA, &attic.anna), attic.own(BERT, &attic.bert));
    let keys = [taken(&anna), taken(&bert)];
    let own = |device: &str, identity: &Identity| Own {
        party: party(device),
        key: identity.key.public().clone(),
        credential: b"anything".to_vec(),
    };
    let fresh = AgreementSecret::generate().unwrap();
    let id = kos_klp::channel::ChannelId::from_bytes([7; 16]);
    let mut machine = Initiator::new(LATER, id, own(ANNA, &anna), party(BERT)).unwrap();
    machine.poll_output();
    machine.handle_input(LATER, Input::Ephemeral(fresh.public())).unwrap();
    let Some(Output::Send(hello)) = machine.poll_output() else { panic!("no hello") };

    let mut careless = Responder::new(LATER, &hello, own(BERT, &bert)).unwrap();
    let (mut reply, mut finish) = (Vec::new(), Vec::new());
    let mut channel = None;
    while channel.is_none() {
        match careless.poll_output() {
            Some(Output::MakeEphemeral) => {
                careless.handle_input(LATER, Input::Ephemeral(keys[1].agreement.public())).unwrap();
            }
            Some(Output::Agree(peer)) => {
                let shared = keys[1].agreement.agree(peer).unwrap();
                careless.handle_input(LATER, Input::Shared(shared)).unwrap();
            }
            Some(Output::Sign(bytes)) => {
                let signature = bert.key.sign(SignatureForm::Fixed, &bytes).unwrap();
                careless.handle_input(LATER, Input::Signature(signature)).unwrap();
            }
            Some(Output::Send(message)) => {
                reply = message;
                machine.handle_input(LATER, Input::Message(&reply)).unwrap();
                while let Some(output) = machine.poll_output() {
                    match output {
                        Output::Agree(peer) => {
                            let shared = fresh.agree(peer).unwrap();
                            machine.handle_input(LATER, Input::Shared(shared)).unwrap();
                        }
                        Output::Authenticate { .. } => {
                            machine.handle_input(LATER, Input::PeerKey(bert.key.public().clone())).unwrap();
                        }
                        Output::Sign(bytes) => {
                            let signature = anna.key.sign(SignatureForm::Fixed, &bytes).unwrap();
                            machine.handle_input(LATER, Input::Signature(signature)).unwrap();
                        }
                        Output::Send(message) => finish = message,
                        Output::MakeEphemeral | Output::Established(_) => {}
                    }
                }
                careless.handle_input(LATER, Input::Message(&finish)).unwrap();
            }
            Some(Output::Authenticate { .. }) => {
                careless.handle_input(LATER, Input::PeerKey(anna.key.public().clone())).unwrap();
            }
            Some(Output::Established(made)) => channel = Some(made),
            None => panic!("no channel"),
        }
    }
    let back = vec![channel.unwrap().seal(LATER, CANARY).unwrap()];
    let recording = Recording { hello, reply, back };
    assert_eq!(read_with(&recording, &keys, &anna, &bert).as_deref(), Some(CANARY));
}
