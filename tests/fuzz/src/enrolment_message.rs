//! Messages of enrolment, one alone or a conversation of frames: whatever the bytes, reading ends, what was read is
//! written alike, and neither machine does more than the evidence allows.
//!
//! The authority has an empty store and one ticket whose secret nobody has, so it signs nothing. The device pins the
//! golden root and holds the key of the golden certificate, so it enrols with that certificate or not at all.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{AgreementKey, KeyAlgorithm, PublicKey, Role, Secret, SecurityProfile, cbor};
use kos_identity::{
    decommission::{self, Record},
    enrolment::{
        authority::{self, Context, Found, Query, Session},
        device::{
            self, Anchor, BootloaderLock, ClockTrust, Command, Event, Journal, KeySlot, Machine, MadeKey,
            Profile,
        },
        message::{AuthorityKeys, Facts, FromAuthority, FromDevice, Image},
    },
    quarantine::{self, Known},
    registry::Ticket,
    second::{self, Judge, Lists, Opinion, TRANSCRIPT_BYTES_MAX, Transcript},
};

use crate::{
    Verdict,
    cast::{DEVICE, ISSUING_1, ISSUING_2, NOW, ROOT, certificate, nobodys_key},
};

/// Reads the bytes as one message, and as frames of either side of a conversation.
pub fn run(bytes: &[u8]) -> Verdict {
    let conversation = frames(bytes);
    tell_authority(&conversation);
    tell_device(&conversation);
    let read = conversation.iter().all(|frame| check_message(frame) == Verdict::Read);
    if read && !conversation.is_empty() { Verdict::Read } else { check_signed(bytes) }
}

/// What stands behind each 4-byte length; bytes without a length that fits are a frame by themselves.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let framed = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        let (frame, rest) = framed.unwrap_or((bytes, &[]));
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn check_message(frame: &[u8]) -> Verdict {
    let from_device = FromDevice::from_bytes(frame);
    if let Ok(message) = &from_device {
        assert_eq!(message.to_bytes(), frame);
    }
    let from_authority = FromAuthority::from_bytes(frame);
    if let Ok(message) = &from_authority {
        assert_eq!(message.to_bytes(), frame);
    }
    Verdict::of(&from_device).or(Verdict::of(&from_authority))
}

/// Journals, orders and records.
fn check_signed(bytes: &[u8]) -> Verdict {
    let journal = Journal::from_bytes(bytes);
    if let Ok(journal) = &journal {
        assert_eq!(journal.to_bytes(), bytes);
        let _ = journal.goal(NOW);
    }
    let record = Record::peek(bytes);
    assert!(decommission::verify_record(bytes, &nobodys_key()).is_err(), "nobody signed this record");
    let device = "kdev-7f4ac30123456789".parse().expect("a device id");
    assert!(decommission::verify_order(bytes, &nobodys_key(), &device).is_err(), "nobody signed this order");
    assert!(quarantine::verify_record(bytes, &nobodys_key()).is_err(), "nobody signed this record");
    let authority = "attic".parse().expect("a name");
    let orders = nobodys_key();
    let known = Known { device: &device, authority: &authority, orders: &orders, issue: 0, obeyed: None };
    assert!(quarantine::judge(bytes, &known).is_err(), "nobody signed this order");
    check_transcript(bytes, &Judge { authority: &authority, device: &device, lists: None });
    Verdict::of(&journal).or(Verdict::of(&record))
}

/// A node that has no lists believes nobody, whatever it is told.
fn check_transcript(bytes: &[u8], by: &Judge<'_>) {
    if let Ok(transcript) = cbor::decode::<Transcript>(bytes, TRANSCRIPT_BYTES_MAX) {
        assert_eq!(transcript.to_bytes(), bytes);
    }
    if let Ok(said) = second::judge(bytes, by, NOW) {
        assert_eq!(said.opinion, Opinion::Unable);
        let lists = Lists::new(Vec::new(), [], Vec::new()).expect("empty lists");
        let said = second::judge(bytes, &Judge { lists: Some(&lists), ..*by }, NOW).expect("as before");
        assert_eq!(said.opinion, Opinion::No);
    }
}

/// An authority whose store holds nothing but what [`found`] says.
fn tell_authority(frames: &[&[u8]]) {
    static CONTEXT: LazyLock<Arc<Context>> = LazyLock::new(|| Arc::new(context()));
    let mut session = Session::new(Arc::clone(&CONTEXT));
    let (enrolment, renewal) = ([1; 32], [2; 32]);
    let peer = Some(nobodys_key());
    session
        .handle_input(NOW, authority::Input::Opened { peer, enrolment, renewal, source: "192.0.2.7".into() });
    let mut frames = frames.iter();
    loop {
        let input = match session.poll_output() {
            Some(authority::Output::Draw) => {
                authority::Input::Drawn(Secret::new([7; authority::RANDOM_BYTES]))
            }
            Some(authority::Output::Lookup(query)) => authority::Input::Found(Box::new(found(&query))),
            Some(authority::Output::Keep(_)) => continue,
            Some(authority::Output::Commit(_)) => authority::Input::Committed(Ok(())),
            Some(authority::Output::Send(answer)) => {
                assert!(FromAuthority::from_bytes(&answer).is_ok(), "the device can read the answer");
                continue;
            }
            Some(output @ (authority::Output::Sign { .. } | authority::Output::Second(_))) => {
                assert_eq!(format!("{output:?}"), "", "nobody is entitled to a certificate");
                return;
            }
            Some(authority::Output::Misuse(_)) => continue,
            Some(authority::Output::Close) => return,
            None => match frames.next() {
                Some(frame) => authority::Input::Frame(frame.to_vec()),
                None => return,
            },
        };
        session.handle_input(NOW, input);
    }
}

fn context() -> Context {
    let key = nobodys_key();
    Context {
        name: "attic".parse().expect("a name"),
        root: certificate(ROOT),
        issuers: [certificate(ISSUING_1), certificate(ISSUING_2)],
        keys: AuthorityKeys { kid: key.clone(), orders: key.clone(), log: key },
        publication: None,
        heartbeat_s: 60,
        rules: Vec::new(),
        attestation: authority::AttestationTerms::default(),
    }
}

fn found(query: &Query) -> Found {
    let ticket = query.ticket.map(|id| Ticket {
        id,
        version: 1,
        proof_key: nobodys_key(),
        role: Role::Sensor,
        profile_cap: SecurityProfile::Sec2,
        group: None,
        device_name: None,
        uses_max: 1,
        uses: 0,
        created_at: NOW,
        expires_at: NOW.plus(core::time::Duration::from_secs(60)),
        revoked: false,
        serial: None,
        identity_key: None,
        last_device: None,
    });
    Found { ticket, ..Found::default() }
}

/// A new device that pins the golden root and waits to be let in; gives it back as the conversation left it.
fn tell_device(frames: &[&[u8]]) -> Machine {
    let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a seed has 32 bytes");
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, key.public_key().as_ref()).expect("32 bytes");
    let root = certificate(ROOT).key_id();
    let mut machine =
        Machine::load(profile(), None, None, ClockTrust::Trusted).expect("there is no journal yet");
    let anchor = Anchor { name: None, pins: vec![root], addresses: vec!["attic.example:8641".into()] };
    machine.handle_command(NOW, Command::Enrol { anchor, ticket: None });
    let mut frames = frames.iter();
    loop {
        let input = match machine.poll_output() {
            Some(device::Output::MakeKey(KeySlot::Agreement(_))) => {
                device::Input::KeyMade(MadeKey::Agreement(AgreementKey([9; 32])))
            }
            Some(device::Output::MakeKey(_)) => device::Input::KeyMade(MadeKey::Signing(public.clone())),
            Some(device::Output::Draw) => device::Input::Drawn(Secret::new([7; device::RANDOM_BYTES])),
            Some(device::Output::Connect { .. }) => {
                device::Input::Connected { root, enrolment: [1; 32], renewal: [2; 32] }
            }
            Some(device::Output::Sign { message, .. }) => {
                device::Input::Signed(key.sign(&message).as_ref().to_vec())
            }
            Some(device::Output::Send(message)) => {
                assert!(FromDevice::from_bytes(&message).is_ok(), "the authority can read the message");
                continue;
            }
            Some(device::Output::Persist(journal)) => {
                assert!(Journal::from_bytes(&journal).is_ok(), "what is remembered can be read again");
                continue;
            }
            Some(device::Output::Install(files)) => {
                assert_eq!(
                    files.chain.first().map(Vec::as_slice),
                    Some(DEVICE),
                    "nobody issued this certificate"
                );
                continue;
            }
            Some(device::Output::Event(Event::Enrolled(_) | Event::Ended(_)) | device::Output::Wipe) => {
                let held = machine.journal().active.as_ref().and_then(|held| held.chain.first());
                assert_eq!(held.map(|leaf| leaf.as_slice()), Some(DEVICE), "nobody ordered this");
                continue;
            }
            Some(_) => continue,
            None => match frames.next() {
                Some(frame) => device::Input::Received(frame.to_vec()),
                None => return machine,
            },
        };
        machine.handle_input(NOW, input);
    }
}

/// The device of the golden certificate.
fn profile() -> Profile {
    Profile {
        facts: Facts { macs: Vec::new(), serials: vec!["SN-0001".into()] },
        image: Image::Unverified,
        role: Role::Sensor,
        profile: SecurityProfile::Sec2,
        name: None,
        capabilities: Vec::new(),
        bootloader: BootloaderLock::None,
        keys: device::KeyHome::Elsewhere,
        introduction: device::Introduction::default(),
    }
}

#[cfg(test)]
mod tests {
    use kos_identity::enrolment::message::{Carrier, MessageError};

    use super::*;

    const LETS_IN: &[u8] = include_bytes!("../../../fuzz/corpus/enrolment_message/is-let-in");

    #[test]
    fn the_target_reaches_an_enrolment() {
        assert!(tell_device(&frames(LETS_IN)).journal().active.is_some());
        assert!(tell_device(&[]).journal().active.is_none());
    }

    #[test]
    fn a_grant_that_no_journal_could_hold_is_refused() {
        let Ok(FromAuthority::Issued(mut grant)) = FromAuthority::from_bytes(frames(LETS_IN)[1]) else {
            panic!("the authority greets, then issues");
        };
        grant.role.carriers = vec![Carrier::Quic; 40_000];
        let message = FromAuthority::Issued(grant).to_bytes();
        assert_eq!(FromAuthority::from_bytes(&message), Err(MessageError::Limit { what: "carriers" }));
        assert!(tell_device(&[frames(LETS_IN)[0], &message]).journal().active.is_none());
    }
}
