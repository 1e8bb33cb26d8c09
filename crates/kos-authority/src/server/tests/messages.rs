//! What the authority makes of messages of every proof, and how it refuses.

use kos_base::{Code, Timestamp, code::klp, key::SignatureForm};
use kos_klp::{
    body::Ack,
    freshness::{EpochClaim, Sender},
    proof::{ProofClass, solo::SoloDraft},
};

use super::*;

/// A device at its end of a link.
pub(super) struct Device<'a> {
    key: &'a SigningKey,
    pub(super) session: Session,
    places: Sender,
    pub(super) link: Link,
}

impl<'a> Device<'a> {
    pub(super) fn new(attic: &Running, device: &'a Enrolled, n: u8, link: Link) -> Self {
        let session = session(&attic.shared, device, n, &link);
        let places = EpochClaim::after(clock::now(), None).unwrap().is_durable();
        Self { key: &device.key, session, places, link }
    }

    /// The frames of some messages with this proof.
    pub(super) fn frames(
        &mut self,
        class: ProofClass,
        now: Timestamp,
        outgoing: &[Outgoing<'_>],
    ) -> Vec<Vec<u8>> {
        let key = self.key;
        let sign = |bytes: &[u8]| key.sign(SignatureForm::Fixed, bytes).unwrap();
        match class {
            ProofClass::Link => {
                outgoing.iter().map(|one| self.session.link_frame(now, one).unwrap()).collect()
            }
            ProofClass::Solo => outgoing
                .iter()
                .map(|one| {
                    let draft: SoloDraft =
                        self.session.solo_draft(now, one, &mut self.places, key.public()).unwrap();
                    let signature = sign(&draft.to_be_signed());
                    draft.finish(&signature).direct_frame().unwrap()
                })
                .collect(),
            ProofClass::Batch => {
                let places = &mut self.places;
                let draft = self.session.batch_draft(now, outgoing, places, key.public()).unwrap();
                let signature = sign(&draft.to_be_signed());
                draft.finish(&signature).iter().map(|proven| proven.direct_frame().unwrap()).collect()
            }
        }
    }

    pub(super) async fn send(&mut self, frames: &[Vec<u8>]) {
        for frame in frames {
            self.link.sender.send(frame).await.unwrap();
        }
    }

    /// The next answer: which message it answers, and its status.
    pub(super) async fn answer(&mut self) -> (Option<MessageId>, u16) {
        loop {
            let frame = timeout(SOON, self.link.receiver.recv()).await.unwrap().unwrap().unwrap();
            let Content::Plain(envelope) = Frame::parse(&frame).unwrap().into_content() else { continue };
            if let Ok(Incoming::Message(received)) = self.session.receive_link(clock::now(), envelope) {
                let message = received.message();
                let ack: Ack = body::read(message.body).unwrap();
                return (message.reply_to, ack.status());
            }
        }
    }

    /// Reports, and expects the next answer to be the one to that.
    async fn is_answered(&mut self) {
        let (said, id) = (heartbeat(), id(250));
        let frames =
            self.frames(ProofClass::Link, clock::now(), &[Outgoing::new(MessageType::HEARTBEAT, id, &said)]);
        self.send(&frames).await;
        assert_eq!(self.answer().await, (Some(id), 0));
    }
}

fn id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

#[tokio::test]
async fn what_came_together_is_answered_to_the_last_good_frame_before_the_link_ends() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    // The end of a QUIC connection overtakes what was sent on it.
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let link = attic.dial(HERE, carrier, &enrolled.client(&attic.shared)).await;
        let mut device = Device::new(&attic, &enrolled, 1, link);
        let said = heartbeat();
        let outgoing: Vec<_> = (0..80).map(|n| Outgoing::new(MessageType::HEARTBEAT, id(n), &said)).collect();
        for frame in device.frames(ProofClass::Link, clock::now(), &outgoing) {
            device.link.sender.queue(&frame).await.unwrap();
        }
        device.link.sender.queue(b"no frame of KLP").await.unwrap();
        device.link.sender.flush().await.unwrap();
        for one in &outgoing {
            assert_eq!(device.answer().await, (Some(one.id), 0), "{carrier}");
        }
        let end = timeout(SOON, device.link.receiver.recv()).await.unwrap();
        assert!(!matches!(end, Ok(Some(_))), "{carrier}");
    }
    attic.end().await;
}

#[tokio::test]
async fn heartbeats_are_taken_with_every_proof_and_each_of_them_once() {
    let attic = Running::new().await;
    let (enrolled, record) = Enrolled::device(&attic.shared, 1).await;
    let link = attic.dial(HERE, Carrier::Tls, &enrolled.client(&attic.shared)).await;
    let mut device = Device::new(&attic, &enrolled, 1, link);
    let said = heartbeat();
    for (n, class) in (0..).step_by(10).zip([ProofClass::Solo, ProofClass::Batch, ProofClass::Link]) {
        let outgoing: Vec<_> =
            (n..n + 3).map(|n| Outgoing::new(MessageType::HEARTBEAT, id(n), &said)).collect();
        let frames = device.frames(class, clock::now(), &outgoing);
        device.send(&frames).await;
        for one in &outgoing {
            assert_eq!(device.answer().await, (Some(one.id), 0), "{class}");
        }
        // What is played again is neither taken nor answered.
        device.send(&frames).await;
        device.is_answered().await;
    }
    assert!(attic.shared.presence.is_online(&record.id, clock::now()));
    drop(device);
    attic.end().await;
}

#[tokio::test]
async fn what_is_not_taken_is_refused_by_its_code_and_the_link_lives_on() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    let link = attic.dial(HERE, Carrier::Tls, &enrolled.client(&attic.shared)).await;
    let mut device = Device::new(&attic, &enrolled, 1, link);
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let now = clock::now();
    let (early, late) = (now.minus(minutes(10)), now.plus(minutes(10)));
    let cases: [(MessageType, ProofClass, Timestamp, Option<Code>); 9] = [
        // Of a type that would have to be known, or that only an authority sends.
        (MessageType::from_number(99), ProofClass::Solo, now, Some(klp::KLP_TYPE)),
        (MessageType::TASK_REQUEST, ProofClass::Batch, now, Some(klp::KLP_TYPE)),
        (MessageType::COMMAND, ProofClass::Solo, now, Some(klp::KLP_TYPE)),
        // Not fresh.
        (MessageType::HEARTBEAT, ProofClass::Link, early, Some(klp::KLP_EXPIRED)),
        (MessageType::HEARTBEAT, ProofClass::Solo, late, Some(klp::KLP_FUTURE)),
        // Of a type that need not be known, or has no use here.
        (MessageType::from_number(40_000), ProofClass::Solo, now, None),
        (MessageType::REPORT, ProofClass::Link, now, None),
        // An answer is never answered.
        (MessageType::ACK, ProofClass::Link, late, None),
        (MessageType::ACK, ProofClass::Link, now, None),
    ];
    for (n, (kind, class, at, expected)) in (1..).zip(cases) {
        let said = if kind == MessageType::ACK { body::write(&Ack::done(None)) } else { heartbeat() };
        let frames = device.frames(class, at, &[Outgoing::new(kind, id(n), &said)]);
        device.send(&frames).await;
        if let Some(code) = expected {
            assert_eq!(device.answer().await, (Some(id(n)), code.number()), "{kind} with {class}");
        }
        device.is_answered().await;
    }
    drop(device);
    attic.end().await;
}

#[tokio::test]
async fn a_proof_that_does_not_hold_costs_the_link() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    let said = heartbeat();
    for class in [ProofClass::Link, ProofClass::Batch, ProofClass::Solo] {
        let link = attic.dial(HERE, Carrier::Tls, &enrolled.client(&attic.shared)).await;
        let mut device = Device::new(&attic, &enrolled, 1, link);
        let outgoing = Outgoing::new(MessageType::HEARTBEAT, id(1), &said);
        let mut frames = device.frames(class, clock::now(), &[outgoing]);
        // The last byte of a MAC or signature, or of what a batch signed for.
        *frames[0].last_mut().unwrap() ^= 1;
        device.send(&frames).await;
        let heard = timeout(SOON, device.link.receiver.recv()).await.unwrap();
        assert!(!matches!(heard, Ok(Some(_))), "{class}");
    }
    attic.end().await;
}
