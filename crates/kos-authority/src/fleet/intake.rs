//! What comes in over the link of a device: messages for the authority, and frames for somebody else.
//!
//! Source: `docs/spec/klp.md` KLP-22, KLP-23, KLP-43, KLP-44.

use kos_base::{Code, Timestamp, code};
use kos_klp::{
    body::{self, Ack, Log},
    frame::{Content, Frame},
    freshness::{GuardLimits, ReplayGuard},
    message::{MessageId, MessageType, Unhandled},
    proof::{Envelope, ProofClass},
    session::{Incoming, Outgoing},
};
use kos_net::entropy;

use super::talk::{Ended, Talk};
use crate::{clock, device_log, policy::manifest::applied};

/// What one link remembers of messages that its device signed: a window for SOLO and one for BATCH, and some ids of what
/// is for everyone.
const HEARD: GuardLimits = GuardLimits { windows_max: 2, ids_max: 64, ids_per_sender_max: 64 };

impl Talk<'_> {
    /// Takes one frame in.
    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let now = clock::now();
        let frame = Frame::parse(bytes)?;
        match frame.content() {
            Content::Plain(_) => {}
            Content::Encrypted(_) | Content::Channel(_) => return self.pass_on(now, &frame).await,
        }
        let Content::Plain(envelope) = frame.into_content() else { return Ok(()) };
        self.take_message(now, envelope).await
    }

    async fn take_message(&mut self, now: Timestamp, envelope: Envelope<'_>) -> Result<(), Ended> {
        let (kind, id) = envelope.claimed_name();
        let incoming = match envelope.class() {
            ProofClass::Link => self.session.receive_link(now, envelope),
            ProofClass::Solo | ProofClass::Batch => {
                let heard = self.heard.get_or_insert_with(|| Box::new(ReplayGuard::new(HEARD)));
                self.session.receive_signed(now, envelope, None, heard)
            }
        };
        let (said, held, of) = match incoming {
            Ok(Incoming::Message(received)) => {
                let message = received.message();
                (message.body.to_vec(), message.revocation, message.reply_to)
            }
            Ok(Incoming::Ignored(_)) => return Ok(()),
            Err(error) if error.breaks_link() => return Err(error.into()),
            Err(error) => {
                tracing::info!(device = %self.id, %error, "a message is not taken");
                return match error.answer(kind) {
                    Some(code) => self.refuse(Some(id), code).await,
                    None => Ok(()),
                };
            }
        };
        if kind.errand().is_some_and(|errand| !self.may(errand)) {
            return self.refuse(Some(id), code::policy::POLICY_SCOPE).await;
        }
        if applied::refuses_message(&self.board.shared, &self.device, self.standing, kind, now) {
            return self.refuse(Some(id), code::manifest::MANIFEST_REFUSES).await;
        }
        match kind {
            MessageType::HEARTBEAT => {
                self.bring_policy().await?;
                self.bring_bonds().await?;
                self.heartbeat(now, id, &said).await?;
                self.compare(held).await
            }
            MessageType::LOG => self.log(now, id, &said).await,
            // What became of a command shows in the next heartbeat.
            MessageType::ACK => {
                let ack = body::read::<Ack>(&said)?;
                self.calls.answered(of, &ack);
                self.judging.answered(of, &ack);
                self.witnessed(of, &ack)?;
                self.acknowledged(of, ack.status()).await
            }
            MessageType::TASK_REQUEST => self.for_agent(now, id, &said).await,
            kind => match kind.unhandled() {
                Unhandled::Refuse => self.refuse(Some(id), code::klp::KLP_TYPE).await,
                Unhandled::Ignore => Ok(()),
            },
        }
    }

    /// Takes a part of the device's log, and says how much is held.
    async fn log(&mut self, now: Timestamp, message: MessageId, said: &[u8]) -> Result<(), Ended> {
        let log: Log = body::read(said)?;
        let ack = match device_log::take(&self.board.shared, &self.device, log, now).await {
            Ok(held) => Ack::done(Some(body::write(&held))),
            Err(code) => Ack::refused(code, code.title()),
        };
        let (ack, id) = (body::write(&ack), MessageId::from_bytes(entropy::array()?));
        let outgoing = Outgoing { reply_to: Some(message), ..Outgoing::new(MessageType::ACK, id, &ack) };
        let frame = self.session.link_frame(clock::now(), &outgoing)?;
        Ok(self.sender.queue(&frame).await?)
    }

    /// Tells the device that something of its is not taken.
    pub(super) async fn refuse(&mut self, what: Option<MessageId>, code: Code) -> Result<(), Ended> {
        let ack = body::write(&Ack::refused(code, code.title()));
        let id = MessageId::from_bytes(entropy::array()?);
        let outgoing = Outgoing { reply_to: what, ..Outgoing::new(MessageType::ACK, id, &ack) };
        let frame = self.session.link_frame(clock::now(), &outgoing)?;
        Ok(self.sender.queue(&frame).await?)
    }
}
