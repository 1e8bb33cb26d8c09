//! Going out: messages get their time, place and proof.
//!
//! Source: `docs/spec/klp.md` KLP-19, KLP-20, KLP-23, KLP-24.

use core::time::Duration;

use kos_base::{Code, PublicKey, Timestamp, code::klp};

use super::Session;
use crate::{
    frame::{self, FrameError, Hop},
    freshness::Sender,
    message::{BODY_BYTES_MAX, LIFE_DEFAULT, Message, MessageId, MessageType, Order, Place, RevocationHead},
    party::PartyRef,
    proof::{
        ProofClass,
        batch::{BatchDraft, BatchError},
        solo::SoloDraft,
    },
};

/// What is to be said, before it is known how.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// What it is about.
    pub kind: MessageType,
    /// Its name; 16 bytes that the shell drew.
    pub id: MessageId,
    /// What it says.
    pub body: &'a [u8],
    /// How long it counts.
    pub life: Duration,
    /// Which message it answers.
    pub reply_to: Option<MessageId>,
    /// What we know about revocations.
    pub revocation: Option<RevocationHead>,
}

/// Why a message is not sent. The caller asked for what receivers would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A body over the limit.
    #[error("a body of {0} bytes, at most {BODY_BYTES_MAX} are allowed")]
    Body(usize),
    /// Longer than its type may live.
    #[error("{kind} lives at most {} s", kind.life_max().as_secs())]
    Life {
        /// The type.
        kind: MessageType,
    },
    /// A proof that receivers of this type do not take.
    #[error("{kind} needs {} or more", kind.least_proof())]
    ProofTooWeak {
        /// The type.
        kind: MessageType,
    },
    /// Messages that do not make a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Too large once it is put together.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl SendError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Body(_) => klp::KLP_TOO_LARGE,
            Self::Life { .. } => klp::KLP_TTL,
            Self::ProofTooWeak { .. } => klp::KLP_PROOF_TOO_WEAK,
            Self::Batch(_) => klp::KLP_MALFORMED,
            Self::Frame(error) => error.code(),
        }
    }
}

impl<'a> Outgoing<'a> {
    /// A message of this type with the default life, that answers nothing.
    pub const fn new(kind: MessageType, id: MessageId, body: &'a [u8]) -> Self {
        Self { kind, id, body, life: LIFE_DEFAULT, reply_to: None, revocation: None }
    }

    /// The message as it will be proven with `class`. For one that may be relayed or stored, take the order of
    /// [`Sender::stored`].
    ///
    /// # Errors
    /// When receivers would refuse it.
    pub fn message(
        &self,
        now: Timestamp,
        from: PartyRef<'a>,
        to: PartyRef<'a>,
        order: Order,
        class: ProofClass,
    ) -> Result<Message<'a>, SendError> {
        let kind = self.kind;
        if self.body.len() > BODY_BYTES_MAX {
            return Err(SendError::Body(self.body.len()));
        }
        if self.life > kind.life_max() || self.life.as_millis() == 0 {
            return Err(SendError::Life { kind });
        }
        if class < kind.least_proof() {
            return Err(SendError::ProofTooWeak { kind });
        }
        let expires = now.plus(self.life);
        let Self { id, body, reply_to, revocation, .. } = *self;
        Ok(Message { kind, from, to, id, issued: now, expires, order, body, reply_to, revocation })
    }
}

impl Session {
    /// The frame of a message to the other end with a LINK proof.
    ///
    /// # Errors
    /// When receivers would refuse it.
    pub fn link_frame(&mut self, now: Timestamp, outgoing: &Outgoing<'_>) -> Result<Vec<u8>, SendError> {
        let order = Order::Direct(Place { epoch: self.epoch, sequence: self.sequence + 1 });
        let (from, to) = (self.own.as_party(), self.peer.party.as_party());
        let message = outgoing.message(now, from, to, order, ProofClass::Link)?;
        let object = self.keys.own.prove(&message, &self.own_key);
        let frame = frame::write(&Hop::default(), &object)?;
        self.sequence += 1;
        Ok(frame)
    }

    /// A message to the other end that `key`, our operational key, is to sign.
    ///
    /// # Errors
    /// When receivers would refuse it.
    pub fn solo_draft(
        &self,
        now: Timestamp,
        outgoing: &Outgoing<'_>,
        sender: &mut Sender,
        key: &PublicKey,
    ) -> Result<SoloDraft, SendError> {
        let (from, to) = (self.own.as_party(), self.peer.party.as_party());
        let message = outgoing.message(now, from, to, sender.direct(), ProofClass::Solo)?;
        Ok(SoloDraft::new(&message, key))
    }

    /// Up to 256 messages to the other end that `key`, our operational key, is to sign at once.
    ///
    /// # Errors
    /// When receivers would refuse one of them, or there are none or too many.
    pub fn batch_draft(
        &self,
        now: Timestamp,
        outgoing: &[Outgoing<'_>],
        sender: &mut Sender,
        key: &PublicKey,
    ) -> Result<BatchDraft, SendError> {
        let (from, to) = (self.own.as_party(), self.peer.party.as_party());
        let messages = outgoing
            .iter()
            .map(|outgoing| outgoing.message(now, from, to, sender.direct(), ProofClass::Batch))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(BatchDraft::new(&messages, key)?)
    }
}
