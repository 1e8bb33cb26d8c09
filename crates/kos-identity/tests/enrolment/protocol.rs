//! Messages out of place, too large, replayed or not messages at all.

use kos_base::code::enrolment as codes;
use kos_identity::enrolment::{
    authority::CommitFailed,
    message::{FRAME_BYTES_MAX, FromAuthority, FromDevice, Notice, Prove, Stored},
};

use crate::{
    applicant::{Applicant, request},
    office::{Office, PROTOCOL, issued, refusal},
};

/// Sends frames on a new connection; the last of them must be refused with `code`, and nothing may have changed.
fn check(what: &str, code: kos_base::Code, frames: &[Vec<u8>]) {
    let mut office = Office::new();
    let before = office.contents();
    let mut line = office.call(Some(Applicant::new(20).identity.public()));
    let (last, first) = frames.split_last().unwrap();
    for frame in first {
        office.tell(&mut line, frame);
    }
    assert_eq!(refusal(&office.tell(&mut line, last)), code, "{what}");
    assert!(line.closed, "{what}");
    assert_eq!(office.misuse, [code], "{what}");
    assert_eq!(office.contents(), before, "{what}");
    assert!(office.tell(&mut line, last).is_empty(), "{what}: nothing follows the end");
}

#[test]
fn messages_out_of_place_end_the_conversation() {
    let applicant = Applicant::new(20);
    let (_, welcome) = applicant.greet(&mut Office::new());
    let prove = FromDevice::Prove(applicant.request(&welcome)).to_bytes();
    let stored = FromDevice::Stored(Stored { issue: 1, bootloader: None }).to_bytes();
    let notice = FromDevice::Notice(Notice { record: vec![0; 40].into() }).to_bytes();
    check("proof without hello", PROTOCOL, std::slice::from_ref(&prove));
    check("hello twice", PROTOCOL, &[applicant.hello(), applicant.hello()]);
    check("confirmation instead of proof", PROTOCOL, &[applicant.hello(), stored.clone()]);
    check("notice that is no record", PROTOCOL, &[notice]);
    check("confirmation of a stranger", codes::DEVICE_UNKNOWN, &[stored]);
    check("nothing", PROTOCOL, &[Vec::new()]);
    check("nonsense", PROTOCOL, &[b"GET / HTTP/1.1\r\n\r\n".to_vec()]);
    check("more than a frame holds", PROTOCOL, &[vec![0; FRAME_BYTES_MAX + 1]]);
    check("a message and more", PROTOCOL, &[[applicant.hello(), vec![0]].concat()]);
}

#[test]
fn a_hello_beyond_its_limits_is_refused() {
    let mut many = Applicant::new(20);
    many.facts.macs = vec![many.facts.macs[0]; 17];
    let mut serials = Applicant::new(20);
    serials.facts.serials = vec!["S".to_owned(); 9];
    let mut long = Applicant::new(20);
    long.facts.serials = vec!["S".repeat(65)];
    let mut empty = Applicant::new(20);
    empty.facts.serials = vec![String::new()];
    let mut escape = Applicant::new(20);
    escape.facts.serials = vec!["\u{1b}[2J".to_owned()];
    for (what, applicant) in
        [("addresses", many), ("serials", serials), ("length", long), ("nothing", empty), ("escape", escape)]
    {
        check(what, PROTOCOL, &[applicant.hello()]);
    }
}

#[test]
fn without_a_key_only_an_end_can_be_told() {
    let applicant = Applicant::new(20);
    for frame in [applicant.hello(), FromDevice::Stored(Stored { issue: 1, bootloader: None }).to_bytes()] {
        let mut office = Office::new();
        let mut line = office.call(None);
        assert_eq!(refusal(&office.tell(&mut line, &frame)), PROTOCOL);
    }
}

#[test]
fn a_proof_counts_only_with_the_token_and_nonce_of_its_conversation() {
    let applicant = Applicant::new(20);
    type Change = fn(&mut Prove);
    let changes: [(&str, Change); 2] =
        [("token", |prove| prove.token[0] ^= 1), ("nonce", |prove| prove.nonce[31] ^= 1)];
    for (what, change) in changes {
        let mut office = Office::new();
        let ticket = office.ticket(40);
        let (mut line, welcome) = applicant.greet(&mut office);
        let means = applicant.by_ticket(&line, ticket, 40);
        let mut prove = Prove { means, ..applicant.request(&welcome) };
        change(&mut prove);
        assert_eq!(refusal(&applicant.prove(&mut office, &mut line, prove)), PROTOCOL, "{what}");
        assert_eq!(office.misuse, [PROTOCOL], "{what}");
        assert!(office.devices.is_empty(), "{what}");
    }
}

#[test]
fn a_recorded_conversation_is_worth_nothing_on_another_connection() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let applicant = Applicant::new(20);
    let (mut line, welcome) = applicant.greet(&mut office);
    let means = applicant.by_ticket(&line, ticket, 40);
    let recorded = Prove { means, ..applicant.request(&welcome) };
    issued(&applicant.prove(&mut office, &mut line, recorded.clone()));
    let before = office.contents();

    // As it is: the token is of another conversation.
    let thief = Applicant::new(60);
    let (mut line, _) = thief.greet(&mut office);
    assert_eq!(refusal(&thief.prove(&mut office, &mut line, recorded.clone())), PROTOCOL);
    // With token and nonce of this one: the proof is of another connection.
    let (mut line, welcome) = thief.greet(&mut office);
    let replayed = Prove { means: recorded.means, csr: recorded.csr, ..thief.request(&welcome) };
    assert_eq!(refusal(&thief.prove(&mut office, &mut line, replayed)), codes::TICKET_PROOF);
    assert_eq!(office.contents(), before);
    assert_eq!(office.misuse, [PROTOCOL, codes::TICKET_PROOF]);
}

#[test]
fn requests_that_prove_nothing_or_want_more_are_refused() {
    let applicant = Applicant::new(20);
    let with_attributes = {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let asking = rcgen::CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        asking.serialize_request(&key).unwrap().der().to_vec()
    };
    let mut changed = applicant.csr();
    *changed.last_mut().unwrap() ^= 1;
    let cases = [
        ("by the identity key itself", request(&applicant.identity)),
        ("with extensions", with_attributes),
        ("with another signature", changed),
        ("nothing", Vec::new()),
        ("too long", vec![0x30; 2_000]),
    ];
    for (what, csr) in cases {
        let mut office = Office::new();
        let ticket = office.ticket(40);
        let (mut line, welcome) = applicant.greet(&mut office);
        let means = applicant.by_ticket(&line, ticket, 40);
        let prove = Prove { means, csr: csr.into(), ..applicant.request(&welcome) };
        assert_eq!(refusal(&applicant.prove(&mut office, &mut line, prove)), codes::CSR_INVALID, "{what}");
        assert_eq!((office.devices.len(), office.tickets[0].uses), (0, 0), "{what}");
    }
}

#[test]
fn a_conflict_is_decided_again_and_not_for_ever() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    office.failures = [CommitFailed::Conflict; 4].into();
    let applicant = Applicant::new(20);
    issued(&applicant.enrol(&mut office, ticket, 40));
    assert_eq!(office.tickets[0].uses, 1);

    let mut office = Office::new();
    let ticket = office.ticket(40);
    office.failures = [CommitFailed::Conflict; 5].into();
    let answers = applicant.enrol(&mut office, ticket, 40);
    assert_eq!(refusal(&answers), kos_base::code::store::STORE_CONFLICT);
    assert!(office.devices.is_empty());
}

#[test]
fn a_store_that_fails_is_told_and_nothing_was_issued() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let full = kos_base::code::store::STORE_CONFLICT;
    office.failures = [CommitFailed::Store(full)].into();
    let applicant = Applicant::new(20);
    assert_eq!(refusal(&applicant.enrol(&mut office, ticket, 40)), full);
    assert!(office.misuse.is_empty(), "it is not the device's fault");
    issued(&applicant.enrol(&mut office, ticket, 40));
    assert_eq!(applicant.confirm(&mut office, 1), [FromAuthority::Recorded]);
}
