//! The links of the authority, one for each device.

use std::time::Duration;

use kos_base::{DeviceId, EntryId, KeyId, Timestamp, key::SignatureForm};
use kos_identity::{certificate::PeerIdentity, enrolment::authority::kid_grant, kid, registry::Device};
use kos_klp::{
    body::{self, Ack, Command, Heartbeat, HeartbeatAnswer, Instruction, Revocation},
    frame::{Content, Frame},
    freshness::{EpochClaim, Sender},
    message::{MessageId, MessageType, RevocationHead},
    proof::{ProofClass, link::LinkRole},
    session::{Incoming, Outgoing, Session, Signer},
};
use kos_net::{carrier::Link, entropy};
use tokio::sync::{mpsc, oneshot};

use super::{Beat, Inner, Store};

/// Something to send that no device has asked for.
#[derive(Clone, Debug)]
pub(crate) enum Push {
    /// An order, signed.
    Order(Instruction),
    /// Revocation lists, signed.
    Lists(Vec<Vec<u8>>),
    /// A message of this type that says this, signed.
    Signed(MessageType, Vec<u8>),
    /// These bytes.
    Raw(Vec<u8>),
    /// Something of this type and proof, as if made so much later.
    Odd(MessageType, ProofClass, Duration),
}

/// An open link.
pub(super) struct Handle {
    key: KeyId,
    pub(super) push: mpsc::Sender<Push>,
    /// Dropping it cuts the link.
    _cut: oneshot::Sender<()>,
}

struct Talk<'a> {
    inner: &'a Inner,
    link: Link,
    session: Session,
    places: Sender,
    device: DeviceId,
}

impl Store {
    /// Cuts the link of a device that is not admitted any more or shows another key.
    pub(super) fn notice(&mut self, device: &Device) {
        let serves = |key| device.credential.as_ref().is_some_and(|held| held.key.id() == key);
        let keeps = |handle: &Handle| device.is_admitted() && serves(handle.key);
        if self.links.get(&device.id).is_some_and(|handle| !keeps(handle)) {
            self.links.remove(&device.id);
        }
    }
}

impl Inner {
    /// Serves a link until it ends, if its device is in service.
    pub(super) async fn talk(&self, link: Link) {
        let PeerIdentity::Device { authority, device } = link.about.peer.identity().clone() else { return };
        let key = link.about.peer.public_key().clone();
        let (push, mut pushes) = mpsc::channel(16);
        let (cutter, mut cut) = oneshot::channel();
        {
            let mut store = self.store.lock().unwrap();
            let record = store.devices.get(&device).filter(|record| record.is_admitted());
            if record.and_then(|record| record.credential.as_ref()).map(|held| held.key.id())
                != Some(key.id())
            {
                return;
            }
            store.links.insert(device.clone(), Handle { key: key.id(), push, _cut: cutter });
        }
        self.tell();
        let own = authority.as_ref().parse().unwrap();
        let peer = Signer { party: format!("{authority}/{device}").parse().unwrap(), key };
        let exporter = link.about.exporter();
        let session =
            Session::new(LinkRole::Listener, exporter, own, self.own.public().id(), peer, 1).unwrap();
        let places = EpochClaim::after(self.clock.now(), None).unwrap().is_durable();
        let mut talk = Talk { inner: self, link, session, places, device };
        talk.go_on(&mut pushes, &mut cut).await;
        let key = talk.session.peer_key().id();
        let mut store = self.store.lock().unwrap();
        if store.links.get(&talk.device).is_some_and(|handle| handle.key == key) {
            store.links.remove(&talk.device);
        }
        drop(store);
        self.tell();
    }
}

impl Talk<'_> {
    async fn go_on(&mut self, pushes: &mut mpsc::Receiver<Push>, cut: &mut oneshot::Receiver<()>) {
        loop {
            let goes_on = tokio::select! {
                _ = &mut *cut => return,
                Some(push) = pushes.recv() => self.push(push).await,
                frame = self.link.receiver.recv() => match frame {
                    Ok(Some(frame)) => self.take(&frame).await,
                    _ => None,
                },
            };
            if goes_on.is_none() {
                return;
            }
        }
    }

    /// Takes a frame in. None: the device sent what it must not send.
    async fn take(&mut self, frame: &[u8]) -> Option<()> {
        let Content::Plain(envelope) = Frame::parse(frame).ok()?.into_content() else { return None };
        let now = self.inner.clock.now();
        let Incoming::Message(received) = self.session.receive_link(now, envelope).ok()? else { return None };
        let message = received.message();
        match message.kind {
            MessageType::HEARTBEAT => {
                let said: Heartbeat = body::read(message.body).ok()?;
                let (id, answer) = (message.id, self.answer(said));
                self.send_ack(id, &answer).await
            }
            MessageType::ACK => {
                let ack: Ack = body::read(message.body).ok()?;
                self.inner.store.lock().unwrap().answers.push(ack.status());
                self.inner.tell();
                Some(())
            }
            // As an authority that does not know logs of devices.
            MessageType::LOG => Some(()),
            _ => None,
        }
    }

    fn answer(&self, said: Heartbeat) -> HeartbeatAnswer {
        let now = self.inner.clock.now();
        let mut store = self.inner.store.lock().unwrap();
        let device = store.devices.get(&self.device).unwrap();
        let credential = device.credential.as_ref().unwrap();
        let grant = kid_grant(&self.inner.context, device, credential);
        let unsigned = kid::build(now, grant, entropy::array().unwrap(), self.inner.kid.public());
        let signature = self.inner.kid.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
        let answer = HeartbeatAnswer {
            time: now,
            kid: Some(unsigned.finish(signature)),
            channel: Some(device.channel).filter(|channel| *channel != said.channel),
            wanted: Vec::new(),
            renew_at: device.regenerate.then_some(now),
            interval_seconds: 60,
            pending_order: None,
        };
        let beat = Beat { carrier: self.link.about.carrier, issue: credential.issue, said };
        store.beats.push(beat);
        drop(store);
        self.inner.tell();
        answer
    }

    async fn send_ack(&mut self, of: MessageId, answer: &HeartbeatAnswer) -> Option<()> {
        let ack = body::write(&Ack::done(Some(body::write(answer))));
        let id = MessageId::from_bytes(entropy::array().unwrap());
        let outgoing = Outgoing { reply_to: Some(of), ..Outgoing::new(MessageType::ACK, id, &ack) };
        let frame = self.session.link_frame(self.inner.clock.now(), &outgoing).unwrap();
        self.link.sender.send(&frame).await.ok()
    }

    async fn push(&mut self, push: Push) -> Option<()> {
        let now = self.inner.clock.now();
        match push {
            Push::Raw(frame) => self.link.sender.send(&frame).await.ok(),
            Push::Signed(kind, said) => self.sign(kind, &said).await,
            Push::Odd(kind, class, ahead) => self.odd(kind, class, now.plus(ahead)).await,
            Push::Order(instruction) => {
                let id = EntryId::from_parts(now, entropy::array().unwrap());
                self.sign(MessageType::COMMAND, &body::write(&Command { id, instruction })).await
            }
            Push::Lists(lists) => {
                let head = RevocationHead { number: 1, hash: [0; 32] };
                for news in Revocation::messages(head, lists) {
                    self.sign(MessageType::REVOCATION, &body::write(&news)).await?;
                }
                Some(())
            }
        }
    }

    async fn sign(&mut self, kind: MessageType, said: &[u8]) -> Option<()> {
        let now = self.inner.clock.now();
        let outgoing = Outgoing::new(kind, MessageId::from_bytes(entropy::array().unwrap()), said);
        let own = &self.inner.own;
        let draft = self.session.solo_draft(now, &outgoing, &mut self.places, own.public()).unwrap();
        let signature = own.sign(SignatureForm::Fixed, &draft.to_be_signed()).unwrap();
        let frame = draft.finish(&signature).direct_frame().unwrap();
        self.inner.store.lock().unwrap().sent.push(frame.clone());
        self.link.sender.send(&frame).await.ok()
    }

    async fn odd(&mut self, kind: MessageType, class: ProofClass, at: Timestamp) -> Option<()> {
        let said = body::write(&Ack::done(None));
        let outgoing = Outgoing::new(kind, MessageId::from_bytes(entropy::array().unwrap()), &said);
        let own = &self.inner.own;
        let frame = match class {
            ProofClass::Link => self.session.link_frame(at, &outgoing).unwrap(),
            ProofClass::Solo | ProofClass::Batch => {
                let draft = self.session.solo_draft(at, &outgoing, &mut self.places, own.public()).unwrap();
                let signature = own.sign(SignatureForm::Fixed, &draft.to_be_signed()).unwrap();
                draft.finish(&signature).direct_frame().unwrap()
            }
        };
        self.link.sender.send(&frame).await.ok()
    }
}
