//! The authority as a relay between two devices.

use kos_base::{Code, SecurityProfile, Timestamp, code::klp, key::SignatureForm};
use kos_identity::{certificate::PeerIdentity, chain::Clock};
use kos_klp::{
    body::Ack,
    encryption::SealRequest,
    frame::{self, Hop},
    freshness::{EpochClaim, FreshnessError, GuardLimits, ReplayGuard},
    party::Party,
    proof::{ProofClass, batch::RootMemory, solo::SoloDraft},
    session::{ReceiveError, receive_stored},
};
use kos_net::{
    channel::{Identity, Judge, accept, open},
    keys::AgreementSecret,
    sealing,
    tls::{Expectation, Trust},
};
use tokio::sync::watch;

use super::*;

fn party(attic: &Running, n: u8) -> Party {
    Party::device(&attic.shared.name, &device_id(n))
}

fn judge(attic: &Running, enrolled: &Enrolled) -> (watch::Sender<Trust>, Judge) {
    let Expectation::Peer { trust, .. } = enrolled.client(&attic.shared).expectation else { panic!() };
    let (sender, trust) = watch::channel(trust);
    (sender, Judge { clock: Arc::new(|| Clock::Trusted(clock::now())), trust })
}

fn own(attic: &Running, enrolled: &Enrolled, n: u8) -> Identity {
    let client = enrolled.client(&attic.shared);
    assert_eq!(client.profile, SecurityProfile::Sec2);
    Identity {
        identity: PeerIdentity::Device { authority: attic.shared.name.clone(), device: device_id(n) },
        chain: client.certified.unwrap().cert.clone(),
        key: enrolled.key.clone(),
    }
}

#[tokio::test]
async fn two_devices_have_a_secure_channel_through_their_authority() {
    let attic = Running::new().await;
    let ((first, _), (second, _)) =
        (Enrolled::device(&attic.shared, 1).await, Enrolled::device(&attic.shared, 2).await);
    for carrier in Carrier::LADDER {
        let near = attic.dial(HERE, carrier, &first.client(&attic.shared)).await;
        let far = attic.dial(HERE, Carrier::Quic, &second.client(&attic.shared)).await;
        wait_for_links(&attic, 2).await;
        let ((_kept, at_first), (_also, at_second)) = (judge(&attic, &first), judge(&attic, &second));
        let (own_first, own_second) = (own(&attic, &first, 1), own(&attic, &second, 2));
        let to = own_second.identity.clone();
        let both = async {
            tokio::join!(open(near, &own_first, &at_first, &to), accept(far, &own_second, &at_second))
        };
        let (opened, accepted) = timeout(SOON, both).await.unwrap();
        let (mut opened, mut accepted) = (opened.unwrap(), accepted.unwrap());
        assert_eq!(*accepted.peer().identity(), own_first.identity);
        for said in [&b"hello"[..], &[7; 60_000]] {
            opened.sender.send(said).await.unwrap();
            let heard = timeout(SOON, accepted.receiver.recv()).await.unwrap();
            assert_eq!(heard.unwrap().as_deref(), Some(said), "{carrier}");
            accepted.sender.send(said).await.unwrap();
            let heard = timeout(SOON, opened.receiver.recv()).await.unwrap();
            assert_eq!(heard.unwrap().as_deref(), Some(said), "{carrier}");
        }
        drop((opened, accepted));
        wait_for_links(&attic, 0).await;
    }
    attic.end().await;
}

/// Two devices, each with a link to their authority.
struct Pair {
    attic: Running,
    first: Enrolled,
    second: Enrolled,
    near: Link,
    far: Link,
}

impl Pair {
    async fn new() -> Self {
        let attic = Running::new().await;
        let ((first, _), (second, _)) =
            (Enrolled::device(&attic.shared, 1).await, Enrolled::device(&attic.shared, 2).await);
        let near = attic.dial(HERE, Carrier::Tls, &first.client(&attic.shared)).await;
        let far = attic.dial(HERE, Carrier::Tls, &second.client(&attic.shared)).await;
        wait_for_links(&attic, 2).await;
        Self { attic, first, second, near, far }
    }
}

async fn wait_for_links(attic: &Running, count: usize) {
    let there = async {
        while attic.shared.links.len() != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, there).await.unwrap();
}

/// A message of a channel, as far as a relay can tell: a record of channel `[9; 16]` with 256 bytes or more.
fn record(bytes: usize) -> Vec<u8> {
    let mut record = vec![0x84, 4, 0x50];
    record.extend_from_slice(&[9; 16]);
    record.extend_from_slice(&[1, 0x59]);
    record.extend_from_slice(&u16::try_from(bytes).unwrap().to_be_bytes());
    record.resize(record.len() + bytes, 7);
    record
}

/// The status of the next answer, which names the channel.
async fn refusal(session: &mut Session, link: &mut Link) -> u16 {
    loop {
        let frame = timeout(SOON, link.receiver.recv()).await.unwrap().unwrap().unwrap();
        let Content::Plain(envelope) = Frame::parse(&frame).unwrap().into_content() else { panic!() };
        if envelope.class() == ProofClass::Solo {
            // What the manifests say.
            continue;
        }
        let received = session.receive_link(clock::now(), envelope).unwrap();
        let Incoming::Message(received) = received else { panic!() };
        let message = received.message();
        let of = (message.kind, message.reply_to);
        assert_eq!(of, (MessageType::ACK, Some(MessageId::from_bytes([9; 16]))));
        return body::read::<Ack>(message.body).unwrap().status();
    }
}

#[tokio::test]
async fn who_asks_for_what_manifests_refuse_uses_up_its_allowance_and_hears_first_that_nobody_is_there() {
    let Pair { attic, first, mut near, far, .. } = Pair::new().await;
    let mut session = session(&attic.shared, &first, 1, &near);
    let anna = fixtures::operator(&attic.shared, "anna", OperatorRole::Admin).await;
    let text = "// manifest quiet 1\n@id(\"log\") permit(principal, action == Action::\"send\", resource == Message::\"LOG\");\n";
    let (status, body, _) =
        attic.ask(HERE, &anna, &put("/api/v1/policy/manifests", &json!({"text": text}))).await;
    assert_eq!(status, 200, "{body}");
    let soon = clock::now().plus(Duration::from_secs(600));
    let mut asks = async |n: u8, bytes: usize| {
        let to = party(&attic, n);
        let frame = frame::write_channel(&Hop::to(to.as_party(), soon), &record(bytes)).unwrap();
        near.sender.send(&frame).await.unwrap();
        refusal(&mut session, &mut near).await
    };
    let refused = kos_base::code::manifest::MANIFEST_REFUSES.number();
    assert_eq!(asks(3, 300).await, klp::KLP_RECIPIENT.number());
    assert_eq!(asks(2, 300).await, refused);
    let mut last = refused;
    for _ in 0..400 {
        last = asks(2, 60_000).await;
        if last != refused {
            break;
        }
    }
    assert_eq!(last, klp::KLP_MEMORY.number());
    drop((near, far));
    attic.end().await;
}

#[tokio::test]
async fn what_a_relay_must_not_pass_on_is_refused_and_nobody_else_hears_of_it() {
    let Pair { attic, first, mut near, mut far, .. } = Pair::new().await;
    let mut session = session(&attic.shared, &first, 1, &near);
    let (here, there, nowhere) = (party(&attic, 1), party(&attic, 2), party(&attic, 3));
    let (authority, other): (Party, Party) =
        ("attic".parse().unwrap(), format!("cellar/{}", device_id(2)).parse().unwrap());
    let (now, soon) = (clock::now(), clock::now().plus(Duration::from_secs(60)));
    let cases: [(&str, Hop<'_>, Code); 9] = [
        ("a device without a link", Hop::to(nowhere.as_party(), soon), klp::KLP_RECIPIENT),
        ("the sender itself", Hop::to(here.as_party(), soon), klp::KLP_RECIPIENT),
        ("the authority", Hop::to(authority.as_party(), soon), klp::KLP_RECIPIENT),
        ("a device of somebody else", Hop::to(other.as_party(), soon), klp::KLP_RECIPIENT),
        ("nobody", Hop::default(), klp::KLP_PLAIN),
        ("no end", Hop { expires: None, ..Hop::to(there.as_party(), soon) }, klp::KLP_PLAIN),
        ("expired", Hop::to(there.as_party(), now.minus(Duration::from_secs(1))), klp::KLP_EXPIRED),
        ("no hop left", Hop { hops_left: Some(0), ..Hop::to(there.as_party(), soon) }, klp::KLP_EXPIRED),
        ("hops not said", Hop { hops_left: None, ..Hop::to(there.as_party(), soon) }, klp::KLP_EXPIRED),
    ];
    for (what, hop, code) in cases {
        near.sender.send(&frame::write_channel(&hop, &record(300)).unwrap()).await.unwrap();
        assert_eq!(refusal(&mut session, &mut near).await, code.number(), "{what}");
    }
    // The first that the other device hears is what may go on, with one hop less.
    near.sender
        .send(&frame::write_channel(&Hop::to(there.as_party(), soon), &record(301)).unwrap())
        .await
        .unwrap();
    let heard = timeout(SOON, far.receiver.recv()).await.unwrap().unwrap().unwrap();
    let passed_on = Frame::parse(&heard).unwrap();
    assert_eq!(passed_on.hop().hops_left, Some(15));
    assert!(matches!(passed_on.content(), Content::Channel(message) if **message == record(301)));
    drop((near, far));
    attic.end().await;
}

#[tokio::test]
async fn a_message_with_the_proof_of_a_link_is_never_passed_on() {
    let Pair { attic, first, second, mut near, mut far } = Pair::new().await;
    let mut session = session(&attic.shared, &first, 1, &near);
    let said = heartbeat();
    let id = MessageId::from_bytes([1; 16]);
    let frame = session.link_frame(clock::now(), &Outgoing::new(MessageType::HEARTBEAT, id, &said)).unwrap();
    // The same object in a frame for somebody else.
    let to = party(&attic, 2);
    let expires: Timestamp = clock::now().plus(Duration::from_secs(60));
    let object = &frame[3..];
    let readdressed = frame::write(&Hop::to(to.as_party(), expires), object).unwrap();
    near.sender.send(&readdressed).await.unwrap();
    let ended = timeout(SOON, near.receiver.recv()).await.unwrap();
    assert!(!matches!(ended, Ok(Some(_))), "whoever does that loses its link");
    report(&attic.shared, &second, 2, &mut far).await;
    drop((near, far));
    attic.end().await;
}

#[tokio::test]
async fn a_device_that_has_too_much_passed_on_is_told_to_wait() {
    let Pair { attic, first, mut near, mut far, .. } = Pair::new().await;
    let mut session = session(&attic.shared, &first, 1, &near);
    let to = party(&attic, 2);
    let flood = async {
        loop {
            let hop = Hop::to(to.as_party(), clock::now().plus(Duration::from_secs(60)));
            near.sender.send(&frame::write_channel(&hop, &record(60_000)).unwrap()).await.unwrap();
            tokio::select! {
                biased;
                status = refusal(&mut session, &mut near) => break status,
                () = tokio::task::yield_now() => {}
            }
        }
    };
    let reading = async { while let Ok(Some(_)) = far.receiver.recv().await {} };
    let status = tokio::select! {
        status = timeout(SOON, flood) => status.unwrap(),
        () = reading => panic!("the other link ended"),
    };
    assert_eq!(status, klp::KLP_MEMORY.number());
    drop((near, far));
    attic.end().await;
}

#[tokio::test]
async fn a_sealed_message_goes_through_the_authority_and_only_its_recipient_believes_it() {
    const CANARY: &[u8] = b"the canary sings in the cellar at noon";
    let Pair { attic, first, mut near, mut far, .. } = Pair::new().await;
    let (from, to, now) = (party(&attic, 1), party(&attic, 2), clock::now());
    let (own, other) = (AgreementSecret::generate().unwrap(), AgreementSecret::generate().unwrap());

    let places = EpochClaim::after(now, None).unwrap().is_durable();
    let outgoing =
        Outgoing::new(MessageType::TASK_REQUEST, MessageId::from_bytes(entropy::array().unwrap()), CANARY);
    let message =
        outgoing.message(now, from.as_party(), to.as_party(), places.stored(), ProofClass::Solo).unwrap();
    let draft = SoloDraft::new(&message, first.key.public());
    let signature = first.key.sign(SignatureForm::Fixed, &draft.to_be_signed()).unwrap();
    let frame = sealing::seal(SealRequest::new(draft.finish(&signature), own.public())).unwrap();
    assert!(!frame.windows(CANARY.len()).any(|bytes| bytes == CANARY));
    near.sender.send(&frame).await.unwrap();

    let heard = timeout(SOON, far.receiver.recv()).await.unwrap().unwrap().unwrap();
    let Content::Encrypted(envelope) = Frame::parse(&heard).unwrap().into_content() else { panic!() };
    let opened = sealing::unseal(&envelope, to.as_party(), &own).unwrap();
    let signer = Signer { party: from.clone(), key: first.key.public().clone() };
    let mut guard = ReplayGuard::new(GuardLimits::DEVICE);
    let mut receive = || {
        let envelope = envelope.opened(&opened).unwrap();
        receive_stored(now, to.as_party(), envelope, &signer, &mut guard, &mut RootMemory::default())
            .map(|incoming| matches!(incoming, Incoming::Message(said) if said.message().body == CANARY))
    };
    assert_eq!(receive(), Ok(true));
    assert_eq!(receive(), Err(ReceiveError::Freshness(FreshnessError::Replayed)));

    let refused = |own, key| sealing::unseal(&envelope, own, key).unwrap_err().code();
    assert_eq!(refused(from.as_party(), &own), klp::KLP_RECIPIENT);
    assert_eq!(refused(to.as_party(), &other), klp::KLP_DECRYPT);
    let mut changed = heard.clone();
    *changed.last_mut().unwrap() ^= 1;
    let Content::Encrypted(envelope) = Frame::parse(&changed).unwrap().into_content() else { panic!() };
    assert_eq!(sealing::unseal(&envelope, to.as_party(), &own).unwrap_err().code(), klp::KLP_DECRYPT);
    drop((near, far));
    attic.end().await;
}
