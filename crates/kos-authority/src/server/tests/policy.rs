//! The matrix of security profiles on the doors of the network: real TLS and QUIC, devices of all five profiles, every
//! type of KLP, every pair of peers.
//!
//! Source: `docs/spec/policy.md` POLS-12 to POLS-20.

use kos_base::{Code, EvidenceTier, SecurityProfile, code};
use kos_klp::{
    body::{Ack, Log},
    encryption::SealRequest,
    frame::{self, Hop},
    freshness::EpochClaim,
    party::Party,
    proof::{ProofClass, solo::SoloDraft},
};
use kos_net::{
    keys::{AgreementSecret, certified, self_signed},
    sealing,
    tls::HandshakeError,
};
use kos_policy::{Standing, guardrails};
use tokio::io::duplex;

use super::{messages::Device, *};
use crate::{reception::MisuseBook, server::front::Front};

/// A device that has proven exactly what its profile needs.
fn honest(profile: SecurityProfile) -> Standing {
    Standing::certified(profile, guardrails(profile).evidence)
}

async fn device(attic: &Running, n: u8, profile: SecurityProfile) -> Enrolled {
    Enrolled::device_with(&attic.shared, n, honest(profile), profile).await.0
}

/// What is recorded as refused by policy: rule, request and count of each entry.
async fn refused(attic: &Running) -> Vec<(String, String, u64)> {
    crate::policy::record(&attic.shared, clock::now()).await.unwrap();
    let query = EntryQuery { event: Some(kos_audit::EventType::PolicyRefused), ..EntryQuery::default() };
    let entries = attic.shared.store.entries(&query, 500).await.unwrap();
    let details = entries.iter().map(|entry| {
        let leaf = kos_audit::SealedEntry::from_bytes(entry.leaf.clone());
        let verified = leaf.verify(attic.shared.log.key()).unwrap();
        let details = verified.entry().details.members();
        let text = |name: &str| details.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("rule"), text("request"), details["count"].as_u64().unwrap())
    });
    details.collect()
}

/// What the authority answers to a message of each type from a device of SEC-0 to SEC-4: `scope` (refused by policy),
/// `type` (nobody handles it), `ok`, `log` (taken in or not, but not by policy), `-` (no answer).
const MESSAGES: [(MessageType, [&str; 5]); 18] = [
    (MessageType::TASK_REQUEST, ["scope", "scope", "type", "type", "type"]),
    (MessageType::AGENT_MIGRATION, ["scope", "scope", "type", "type", "type"]),
    (MessageType::REPUTATION_DELTA, ["scope", "-", "-", "-", "-"]),
    (MessageType::BROADCAST_ANNOUNCE, ["scope", "-", "-", "-", "-"]),
    (MessageType::VECTOR_SYNC, ["scope", "-", "-", "-", "-"]),
    (MessageType::TRUST_UPDATE, ["scope", "type", "type", "type", "type"]),
    (MessageType::SERVICE_DISCOVERY, ["scope", "-", "-", "-", "-"]),
    (MessageType::HEARTBEAT, ["ok", "ok", "ok", "ok", "ok"]),
    (MessageType::COMMAND, ["scope", "type", "type", "type", "type"]),
    (MessageType::REPORT, ["-", "-", "-", "-", "-"]),
    (MessageType::CONFIG, ["scope", "type", "type", "type", "type"]),
    (MessageType::UPDATE, ["scope", "type", "type", "type", "type"]),
    (MessageType::LOG, ["log", "log", "log", "log", "log"]),
    (MessageType::REVOCATION, ["type", "type", "type", "type", "type"]),
    (MessageType::ACK, ["-", "-", "-", "-", "-"]),
    (MessageType::WITNESS, ["scope", "type", "type", "type", "type"]),
    (MessageType::ALERT, ["type", "type", "type", "type", "type"]),
    (MessageType::POLICY, ["type", "type", "type", "type", "type"]),
];

#[tokio::test]
async fn every_type_of_message_of_every_profile_is_answered_as_written() {
    let attic = Running::new().await;
    let written: Vec<_> = MESSAGES.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(written, MessageType::all().collect::<Vec<_>>(), "a type without a row");
    let log = Log { key: [7; 32], first: 0, leaves: Vec::new(), checkpoint: String::new() };
    for (column, profile) in SecurityProfile::ALL.iter().enumerate() {
        let n = u8::try_from(column).unwrap() + 1;
        let enrolled = device(&attic, n, *profile).await;
        let carrier = Carrier::LADDER[column % Carrier::LADDER.len()];
        let link = attic.dial(HERE, carrier, &enrolled.client(&attic.shared)).await;
        let mut device = Device::new(&attic, &enrolled, n, link);
        for (kind, expected) in MESSAGES {
            let body = match kind {
                MessageType::HEARTBEAT => heartbeat(),
                MessageType::ACK => body::write(&Ack::done(None)),
                MessageType::LOG => body::write(&log),
                _ => vec![0xa0],
            };
            let class =
                if kind.least_proof() == ProofClass::Link { ProofClass::Link } else { ProofClass::Solo };
            let id = |byte| MessageId::from_bytes([byte; 16]);
            let outgoing = Outgoing::new(kind, id(1), &body);
            let frames = device.frames(class, clock::now(), &[outgoing]);
            device.send(&frames).await;
            // Whatever became of it, the link lives and the next answer is to be seen.
            let beat = heartbeat();
            let next = Outgoing::new(MessageType::HEARTBEAT, id(2), &beat);
            let frames = device.frames(ProofClass::Link, clock::now(), &[next]);
            device.send(&frames).await;
            let (of, status) = device.answer().await;
            let cell = match (of == Some(id(1)), status) {
                (false, 0) => "-",
                (true, 0) if kind != MessageType::LOG => "ok",
                (true, n) if n == code::policy::POLICY_SCOPE.number() => "scope",
                (true, n) if n == code::klp::KLP_TYPE.number() => "type",
                (true, _) if kind == MessageType::LOG => "log",
                (_, other) => panic!("{profile} {kind}: {other}"),
            };
            assert_eq!(cell, expected[column], "{profile} {kind}");
            if of == Some(id(1)) {
                assert_eq!(device.answer().await, (Some(id(2)), 0), "{profile} {kind}");
            }
        }
    }
    // One entry a device and rule at once; the rest is counted for the next minute.
    let refused = refused(&attic).await;
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused.iter().all(|(_, request, count)| request.starts_with("message/") && *count > 0));
    assert!(refused.iter().all(|(rule, _, _)| rule == "scope"), "{refused:?}");
    attic.end().await;
}

/// The status of the next answer that names no message of ours.
async fn told(session: &mut Session, link: &mut Link) -> u16 {
    loop {
        let frame = timeout(SOON, link.receiver.recv()).await.unwrap().unwrap().unwrap();
        let Content::Plain(envelope) = Frame::parse(&frame).unwrap().into_content() else { continue };
        if let Ok(Incoming::Message(received)) = session.receive_link(clock::now(), envelope) {
            return body::read::<Ack>(received.message().body).unwrap().status();
        }
    }
}

/// Whether a frame from a device of SEC-0 (row) to one of SEC-0 (column) and so on is passed on: for one encrypted to
/// the recipient's key, and for one of a secure channel.
const PEERS: [[(bool, bool); 5]; 5] = {
    const NO: (bool, bool) = (false, false);
    const YES: (bool, bool) = (true, true);
    const CHANNEL: (bool, bool) = (false, true);
    [
        [NO, NO, NO, NO, NO],
        [NO, YES, YES, YES, NO],
        [NO, YES, YES, YES, NO],
        [NO, YES, YES, YES, CHANNEL],
        [NO, NO, NO, CHANNEL, CHANNEL],
    ]
};

#[tokio::test]
async fn between_every_two_profiles_goes_what_both_allow() {
    let attic = Running::new().await;
    let party = |n: u8| Party::device(&attic.shared.name, &device_id(n));
    let mut ends = Vec::new();
    for (at, profile) in SecurityProfile::ALL.iter().enumerate() {
        let at = u8::try_from(at).unwrap();
        for n in [at + 1, at + 11] {
            let enrolled = device(&attic, n, *profile).await;
            let link = attic.dial(HERE, Carrier::Tls, &enrolled.client(&attic.shared)).await;
            ends.push((n, enrolled, link));
        }
    }
    let there = async {
        while attic.shared.links.len() != 10 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, there).await.unwrap();
    let (mut near, mut far): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(n, _, _)| *n < 10);
    for (row, (n, enrolled, link)) in near.iter_mut().enumerate() {
        let mut session = session(&attic.shared, enrolled, *n, link);
        let places = EpochClaim::after(clock::now(), None).unwrap().is_durable();
        for (column, (m, _, other)) in far.iter_mut().enumerate() {
            let (encrypted, channel) = PEERS[row][column];
            let (from, to, now) = (party(*n), party(*m), clock::now());
            let recipient = AgreementSecret::generate().unwrap();
            let id = MessageId::from_bytes(entropy::array().unwrap());
            let outgoing = Outgoing::new(MessageType::TASK_REQUEST, id, b"hello");
            let message = outgoing
                .message(now, from.as_party(), to.as_party(), places.stored(), ProofClass::Solo)
                .unwrap();
            let draft = SoloDraft::new(&message, enrolled.key.public());
            let signature = enrolled.key.sign(kos_base::key::SignatureForm::Fixed, &draft.to_be_signed());
            let sealed = SealRequest::new(draft.finish(&signature.unwrap()), recipient.public());
            let hop = Hop::to(to.as_party(), now.plus(Duration::from_secs(60)));
            let mut record = vec![0x84, 4, 0x50];
            record.extend_from_slice(&[9; 16]);
            record.extend_from_slice(&[1, 0x59, 1, 0]);
            record.resize(record.len() + 256, 7);
            for (passes, frame) in [
                (encrypted, sealing::seal(sealed).unwrap()),
                (channel, frame::write_channel(&hop, &record).unwrap()),
            ] {
                link.sender.send(&frame).await.unwrap();
                let what = format!("SEC-{row} to SEC-{column}");
                if passes {
                    // What the authority has to say of its own, such as a key, comes in between.
                    let passed = async {
                        loop {
                            let heard = other.receiver.recv().await.unwrap().unwrap();
                            let content = Frame::parse(&heard).unwrap().into_content();
                            if !matches!(content, Content::Plain(_)) {
                                return;
                            }
                        }
                    };
                    timeout(SOON, passed).await.expect(&what);
                } else {
                    let status = told(&mut session, link).await;
                    assert_eq!(status, code::policy::POLICY_PEER.number(), "{what}");
                }
            }
        }
    }
    let rules: std::collections::BTreeSet<_> =
        refused(&attic).await.into_iter().map(|(rule, _, _)| rule).collect();
    assert_eq!(rules, ["forward-secrecy", "isolation", "verified-peers"].map(str::to_owned).into());
    drop((near, far));
    attic.end().await;
}

#[tokio::test]
async fn over_the_api_every_profile_reads_about_itself_and_changes_nothing() {
    let attic = Running::new().await;
    for (n, profile) in (1..).zip(SecurityProfile::ALL) {
        let enrolled = device(&attic, n, *profile).await;
        let own = format!("/api/v1/devices/{}", device_id(n));
        assert_eq!(attic.ask(HERE, &enrolled, &get(&own)).await.0, 200, "{profile}");
        for path in ["set-profile", "set-channel", "approve"] {
            let ask = put(&format!("{own}/{path}"), &json!({"profile": "SEC-2"})).replacen("PUT", "POST", 1);
            assert_eq!(attic.ask(HERE, &enrolled, &ask).await.0, 403, "{profile} {path}");
        }
    }
    attic.end().await;
}

/// How the port judges whoever shows this.
async fn judged(front: &Front, client: &ClientTls, protocol: Protocol) -> Option<Code> {
    let (near, far) = duplex(16 * 1_024);
    let host = HERE.parse().unwrap();
    let (accepted, _connected) = tokio::join!(front.tls().accept(far), client.connect(near, &host, protocol));
    match accepted {
        Ok(_) => None,
        Err(HandshakeError::Tls(error)) => panic!("{error}"),
        Err(other) => Some(other.code()),
    }
}

#[tokio::test]
async fn a_certificate_that_claims_more_than_its_evidence_opens_no_door() {
    let attic = Running::new().await;
    let front = Front::new(&attic.shared, Arc::new(MisuseBook::default())).await.unwrap();
    let mut n = 0;
    for profile in SecurityProfile::ALL {
        for evidence in EvidenceTier::ALL {
            n += 1;
            let standing = Standing::certified(*profile, *evidence);
            let (enrolled, _) = Enrolled::device_with(&attic.shared, n, standing, *profile).await;
            let enough = *evidence >= guardrails(*profile).evidence;
            let expected = (!enough).then_some(code::policy::POLICY_EVIDENCE);
            for protocol in [Protocol::Klp, Protocol::Http1] {
                let judged = judged(&front, &enrolled.client(&attic.shared), protocol).await;
                assert_eq!(judged, expected, "{profile} {evidence}");
            }
        }
    }
    drop(front);
    attic.end().await;
}

#[tokio::test]
async fn an_identity_key_opens_the_enrolment_door_alone() {
    let attic = Running::new().await;
    let front = Front::new(&attic.shared, Arc::new(MisuseBook::default())).await.unwrap();
    let enrolled = device(&attic, 1, SecurityProfile::Sec0).await;
    let key = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519).unwrap());
    let own = self_signed(&key).unwrap();
    let lobby = ClientTls { certified: Some(certified(vec![own], key)), ..enrolled.client(&attic.shared) };
    assert_eq!(judged(&front, &lobby, Protocol::Enrolment).await, None);
    for protocol in [Protocol::Klp, Protocol::Http1, Protocol::Http2] {
        assert!(judged(&front, &lobby, protocol).await.is_some(), "{protocol:?}");
    }
    drop(front);
    attic.end().await;
}

#[tokio::test]
async fn a_certificate_that_says_more_than_the_record_is_believed_nowhere() {
    let attic = Running::new().await;
    let more = honest(SecurityProfile::Sec3);
    let (enrolled, record) = Enrolled::device_with(&attic.shared, 1, more, SecurityProfile::Sec2).await;
    let path = format!("/api/v1/devices/{}", record.id);
    let (status, answer, _) = attic.ask(HERE, &enrolled, &get(&path)).await;
    assert_eq!((status, &answer["code"]), (403, &json!("KOS-E0703")), "{answer}");
    let mut link = attic.dial(HERE, Carrier::Tls, &enrolled.client(&attic.shared)).await;
    let heard = timeout(SOON, link.receiver.recv()).await.unwrap();
    assert!(!matches!(heard, Ok(Some(_))), "it has no link");
    let refused = refused(&attic).await;
    assert!(refused.iter().any(|(rule, _, _)| rule == "as-recorded"), "{refused:?}");
    // A record that was raised since is another thing: the certificate counts until the next one.
    let (behind, record) =
        Enrolled::device_with(&attic.shared, 2, honest(SecurityProfile::Sec1), SecurityProfile::Sec2).await;
    let path = format!("/api/v1/devices/{}", record.id);
    assert_eq!(attic.ask(HERE, &behind, &get(&path)).await.0, 200);
    drop(link);
    attic.end().await;
}
