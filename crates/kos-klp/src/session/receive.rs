//! Coming in: the checks of KLP-43, in their order.
//!
//! Source: `docs/spec/klp.md` KLP-36 to KLP-44.

use kos_base::{Code, KeyId, PublicKey, Timestamp, code::klp};

use super::Session;
use crate::{
    freshness::{FreshnessError, ReplayGuard, check_time},
    message::{Audience, Message, MessageType, Order, Unhandled},
    party::{Party, PartyRef},
    proof::{Envelope, ProofClass, ProofError, Sealing, Verified, batch::RootMemory},
};

/// A key and whose it is. Whoever makes one vouches that a valid, unrevoked certificate says so now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Whose key it is.
    pub party: Party,
    /// The key.
    pub key: PublicKey,
}

/// A message that passed every check. Only a session, or [`receive_stored`], makes one.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    verified: Verified<'a>,
}

impl<'a> Received<'a> {
    /// The message.
    pub const fn message(&self) -> &Message<'a> {
        self.verified.message()
    }

    /// The proof that it had. Only SOLO and BATCH convince a third party.
    pub const fn class(&self) -> ProofClass {
        self.verified.class()
    }

    /// The key that it was proven with.
    pub const fn key_id(&self) -> KeyId {
        self.verified.key_id()
    }
}

/// What became of a message that did not fail.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would cost an allocation for each message")]
pub enum Incoming<'a> {
    /// It may be acted on.
    Message(Received<'a>),
    /// Of a type that this version does not know and need not know.
    Ignored(MessageType),
}

/// Why a message is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// Nobody has vouched for the key that it names: look it up and try again, or drop it.
    #[error("signed by the unknown key {0}")]
    SignerUnknown(KeyId),
    /// The proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The key belongs to somebody else than the sender that the message names.
    #[error("the message names the sender `{claimed}`, but its key is that of `{owner}`")]
    Sender {
        /// Whom the message names.
        claimed: Party,
        /// Whose key it is.
        owner: Party,
    },
    /// It has a place in the sequence of a link, but its sender is not at the other end of this one.
    #[error("a message for the direct link came by another way")]
    Diverted,
    /// A message for relays has the proof of a link.
    #[error("a message for relays has the proof of a link")]
    LinkForRelays,
    /// It is for somebody else.
    #[error("the message is for `{0}`")]
    NotForUs(Party),
    /// It came by relays and is not encrypted.
    #[error("a relayed message that is not encrypted")]
    Plain,
    /// Of a type that this version does not know and would have to.
    #[error("a message of the unknown type {}", .0.number())]
    UnknownType(MessageType),
    /// Its type needs a stronger proof.
    #[error("{kind} with {class}, which needs {} or more", kind.least_proof())]
    ProofTooWeak {
        /// The type.
        kind: MessageType,
        /// The proof that it had.
        class: ProofClass,
    },
    /// It is not new.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
}

impl ReceiveError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::SignerUnknown(_) => klp::KLP_SIGNER,
            Self::Proof(error) => error.code(),
            Self::Sender { .. } => klp::KLP_SENDER,
            Self::Diverted => klp::KLP_REPLAY,
            Self::LinkForRelays | Self::ProofTooWeak { .. } => klp::KLP_PROOF_TOO_WEAK,
            Self::NotForUs(_) => klp::KLP_RECIPIENT,
            Self::Plain => klp::KLP_PLAIN,
            Self::UnknownType(_) => klp::KLP_TYPE,
            Self::Freshness(error) => error.code(),
        }
    }

    /// The status of the ACK that answers a message of this type (KLP-44); none when nothing is known about who sent it,
    /// or when the answer would only serve whoever plays messages again. An ACK is never answered, or two ends that
    /// refuse each other's would never be done.
    pub const fn answer(&self, refused: MessageType) -> Option<Code> {
        match self {
            _ if refused.number() == MessageType::ACK.number() => None,
            Self::SignerUnknown(_)
            | Self::Proof(_)
            | Self::Sender { .. }
            | Self::Diverted
            | Self::NotForUs(_) => None,
            Self::Freshness(FreshnessError::Replayed | FreshnessError::OldEpoch) => None,
            _ => Some(self.code()),
        }
    }

    /// Whether the other end of a direct link is broken: what it proves does not hold, or names somebody else. Close the
    /// link.
    pub const fn breaks_link(&self) -> bool {
        matches!(self, Self::Proof(_) | Self::Sender { .. })
    }
}

impl Session {
    /// Takes a message with a LINK proof.
    ///
    /// # Errors
    /// When any check fails. A proof that does not hold on a direct link means a broken peer: close it.
    pub fn receive_link<'a>(
        &mut self,
        now: Timestamp,
        envelope: Envelope<'a>,
    ) -> Result<Incoming<'a>, ReceiveError> {
        let verified = envelope.verify_link(&self.keys.peer, self.peer_key_id)?;
        let message = verified.message();
        is_from(message, self.peer.party.as_party())?;
        let Order::Direct(place) = message.order else { return Err(ReceiveError::LinkForRelays) };
        if message.to != self.own.as_party() {
            return Err(ReceiveError::NotForUs(message.to.to_owned()));
        }
        if let Some(ignored) = ignored_or_allowed(&verified)? {
            return Ok(ignored);
        }
        check_time(now, message)?;
        self.window.accept(place)?;
        Ok(Incoming::Message(Received { verified }))
    }

    /// Takes a message with a SOLO or BATCH proof, from the other end or passed on by it. `signer` is what the shell
    /// knows about the key of [`Envelope::key_id`]; none is needed for the other end's own.
    ///
    /// # Errors
    /// When any check fails, and [`ReceiveError::SignerUnknown`] when the key must be looked up first.
    pub fn receive_signed<'a>(
        &mut self,
        now: Timestamp,
        envelope: Envelope<'a>,
        signer: Option<&Signer>,
        guard: &mut ReplayGuard,
    ) -> Result<Incoming<'a>, ReceiveError> {
        let key_id = envelope.key_id();
        let (signer, path) = if key_id == self.peer_key_id {
            (&self.peer, Path::Direct)
        } else {
            let vouched = signer.filter(|signer| signer.key.id() == key_id);
            (vouched.ok_or(ReceiveError::SignerUnknown(key_id))?, Path::Relayed)
        };
        judge(now, self.own.as_party(), envelope, signer, path, guard, &mut self.roots)
    }
}

/// Takes a message that came without a link of its sender: from a store, a relay or a stick. `roots` remembers what was
/// verified last, so that messages of one batch cost one verification.
///
/// # Errors
/// When any check fails.
pub fn receive_stored<'a>(
    now: Timestamp,
    own: PartyRef<'_>,
    envelope: Envelope<'a>,
    signer: &Signer,
    guard: &mut ReplayGuard,
    roots: &mut RootMemory,
) -> Result<Incoming<'a>, ReceiveError> {
    judge(now, own, envelope, signer, Path::Relayed, guard, roots)
}

/// How a signed message came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// On the link of its sender.
    Direct,
    /// By somebody else.
    Relayed,
}

/// KLP-43 for signed messages.
fn judge<'a>(
    now: Timestamp,
    own: PartyRef<'_>,
    envelope: Envelope<'a>,
    signer: &Signer,
    path: Path,
    guard: &mut ReplayGuard,
    roots: &mut RootMemory,
) -> Result<Incoming<'a>, ReceiveError> {
    let sealing = envelope.sealing();
    let verified = envelope.verify(&signer.key, roots)?;
    let message = verified.message();
    is_from(message, signer.party.as_party())?;
    if path == Path::Relayed && matches!(message.order, Order::Direct(_)) {
        return Err(ReceiveError::Diverted);
    }
    let everyone = message.to.is_everyone() && message.kind.audience() == Audience::Everyone;
    let for_us = message.to == own || everyone && message.to.includes(own);
    if !for_us {
        return Err(ReceiveError::NotForUs(message.to.to_owned()));
    }
    if matches!(message.order, Order::Stored { .. }) && sealing == Sealing::Plain && !everyone {
        return Err(ReceiveError::Plain);
    }
    if let Some(ignored) = ignored_or_allowed(&verified)? {
        return Ok(ignored);
    }
    guard.accept(now, message, verified.class())?;
    Ok(Incoming::Message(Received { verified }))
}

fn is_from(message: &Message<'_>, owner: PartyRef<'_>) -> Result<(), ReceiveError> {
    if message.from == owner {
        return Ok(());
    }
    Err(ReceiveError::Sender { claimed: message.from.to_owned(), owner: owner.to_owned() })
}

/// Checks type and strength of the proof; some when the message is to be ignored.
fn ignored_or_allowed<'a>(verified: &Verified<'a>) -> Result<Option<Incoming<'a>>, ReceiveError> {
    let (kind, class) = (verified.message().kind, verified.class());
    match (kind.is_known(), kind.unhandled()) {
        (false, Unhandled::Ignore) => Ok(Some(Incoming::Ignored(kind))),
        (false, Unhandled::Refuse) => Err(ReceiveError::UnknownType(kind)),
        (true, _) if class < kind.least_proof() => Err(ReceiveError::ProofTooWeak { kind, class }),
        (true, _) => Ok(None),
    }
}
