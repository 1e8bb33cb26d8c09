//! Who made a message, and how that is shown.
//!
//! Three proofs: [`solo`] is a signature of its own, [`batch`] one signature for up to 256 messages, [`link`] a MAC under
//! a key of the link. Reading and believing are apart: an [`Envelope`] has the right form and claims things; only
//! [`Envelope::verify`] and [`Envelope::verify_link`] make a [`Verified`] message, and it says which proof it had. The
//! bytes that are checked are those that were received.
//!
//! Signing has two steps, since private keys are elsewhere: a draft gives `to_be_signed`, and `finish` takes the
//! signature. The key of a link is not a private key: it is derived from a secret that both ends share for the life of
//! the link, so the core holds it and makes MACs by itself.
//!
//! Not here: whether the sender may say this, whether it is fresh, whether it is for us ([`crate::session`]).
//!
//! Errors: the object is treated as never received.
//!
//! Source: `docs/spec/klp.md` KLP-15, KLP-25 to KLP-31; `tests/vectors/klp/golden`; fuzz target `klp_frame`.

pub mod batch;
pub mod link;
mod merkle;
pub mod solo;

use core::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use kos_base::{
    Code, KeyId, PublicKey, Timestamp,
    cbor::scan,
    key::{BadSignature, SignatureForm},
};
use minicbor::{Decoder, data::Type, decode::Error};

use self::{
    batch::{BatchProof, RootMemory},
    link::LinkKey,
};
use crate::{
    cose::{self, Algorithm, Authenticated},
    message::{Message, MessageId, MessageType},
    party::{Party, PartyRef},
};

/// How a message is proven. Later is stronger; each can stand for those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProofClass {
    /// A MAC that both ends of a link can make: says who to the other end, and nothing to a third.
    Link,
    /// One signature over several messages to one recipient.
    Batch,
    /// A signature of its own.
    Solo,
}

impl ProofClass {
    /// The word of the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "LINK",
            Self::Batch => "BATCH",
            Self::Solo => "SOLO",
        }
    }
}

impl fmt::Display for ProofClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The signature does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The MAC is not that of the link's key.
    #[error("the MAC is not that of the link")]
    Mac,
    /// Made with a key or algorithm other than the one it is checked against.
    #[error("proven with another key or algorithm")]
    OtherKey,
    /// The message is not in the batch that was signed.
    #[error("the message is not in the batch that was signed")]
    NotInBatch,
    /// The message goes to another recipient or belongs to another epoch than its batch.
    #[error("the message differs from its batch in recipient or epoch")]
    BatchDiffers,
    /// A signature was checked where a MAC stands, or the other way round.
    #[error("a proof of another kind was expected")]
    OtherClass,
}

impl ProofError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        kos_base::code::klp::KLP_PROOF
    }
}

/// Whether a message came encrypted to its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Readable by whoever carried it.
    Plain,
    /// Readable by its recipient alone.
    Encrypted,
}

/// A message and its claimed proof, in the right form and not checked yet.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    sealing: Sealing,
    proof: Proof<'a>,
    payload: &'a [u8],
    message: Message<'a>,
}

#[derive(Clone, Debug)]
enum Proof<'a> {
    Solo(Authenticated<'a>),
    Batch(BatchProof<'a>),
    Link(Authenticated<'a>),
}

impl<'a> Envelope<'a> {
    /// Reads the bytes of a proven object, which have passed the scan for deterministic CBOR.
    pub(crate) fn read(object: &'a [u8], sealing: Sealing) -> Result<Self, Error> {
        let d = &mut Decoder::new(object);
        let (proof, payload) = if d.datatype()? == Type::Array {
            let (proof, payload) = BatchProof::read(d)?;
            (Proof::Batch(proof), payload)
        } else {
            let tag = cose::read_tag(d)?;
            let object = Authenticated::read(d)?;
            match (tag, object.protected.algorithm) {
                (cose::TAG_SIGN1, Algorithm::Signature(_)) => (Proof::Solo(object), object.payload),
                (cose::TAG_MAC0, Algorithm::Hmac) => (Proof::Link(object), object.payload),
                _ => return Err(Error::message("an object that the protocol does not use")),
            }
        };
        scan(payload).map_err(Error::custom)?;
        Ok(Self { sealing, proof, payload, message: minicbor::decode(payload)? })
    }

    /// The proof that it claims to have.
    pub const fn class(&self) -> ProofClass {
        match self.proof {
            Proof::Solo(_) => ProofClass::Solo,
            Proof::Batch(_) => ProofClass::Batch,
            Proof::Link(_) => ProofClass::Link,
        }
    }

    /// Whether it came encrypted.
    pub const fn sealing(&self) -> Sealing {
        self.sealing
    }

    /// The key that it claims to be proven with, so that it can be looked up.
    pub const fn key_id(&self) -> KeyId {
        match &self.proof {
            Proof::Solo(object) | Proof::Link(object) => object.protected.key_id,
            Proof::Batch(proof) => proof.signed.protected.key_id,
        }
    }

    /// Whom it claims to be from, only to find the key to check it with.
    pub const fn claimed_sender(&self) -> PartyRef<'a> {
        self.message.from
    }

    /// What it claims to be about, and its claimed id: for the answer to a refusal, which needs the proof to have held.
    pub const fn claimed_name(&self) -> (MessageType, MessageId) {
        (self.message.kind, self.message.id)
    }

    pub(crate) const fn unverified(&self) -> &Message<'a> {
        &self.message
    }

    /// Checks a SOLO or BATCH under the key of its claimed sender.
    ///
    /// # Errors
    /// When it does not hold, or is a LINK. Treat the message as never received.
    pub fn verify(self, key: &PublicKey, roots: &mut RootMemory) -> Result<Verified<'a>, ProofError> {
        let class = self.class();
        match &self.proof {
            Proof::Solo(object) => check_signature(object, &cose::proof_aad(Some(self.message.kind)), key)?,
            Proof::Batch(proof) => proof.check(self.payload, &self.message, key, roots)?,
            Proof::Link(_) => return Err(ProofError::OtherClass),
        }
        Ok(Verified { message: self.message, class, key_id: key.id() })
    }

    /// Checks a LINK under the key for messages of the other end, whose certificate has the key `peer`.
    ///
    /// # Errors
    /// When it does not hold, or is none. Treat the message as never received.
    pub fn verify_link(self, key: &LinkKey, peer: KeyId) -> Result<Verified<'a>, ProofError> {
        let Proof::Link(object) = &self.proof else { return Err(ProofError::OtherClass) };
        if object.protected.key_id != peer {
            return Err(ProofError::OtherKey);
        }
        let aad = cose::proof_aad(Some(self.message.kind));
        let tag = key.tag(
            &cose::authenticated_prefix("MAC0", object.protected.bytes, &aad, self.payload),
            self.payload,
        );
        verify_slices_are_equal(tag.as_ref(), object.seal).map_err(|_| ProofError::Mac)?;
        Ok(Verified { message: self.message, class: ProofClass::Link, key_id: peer })
    }
}

/// Checks key, algorithm and signature of a COSE_Sign1.
fn check_signature(object: &Authenticated<'_>, aad: &[u8], key: &PublicKey) -> Result<(), ProofError> {
    let protected = &object.protected;
    if protected.key_id != key.id() || protected.algorithm != Algorithm::Signature(key.algorithm()) {
        return Err(ProofError::OtherKey);
    }
    let signed = cose::sig_structure(protected.bytes, aad, object.payload);
    Ok(key.verify(SignatureForm::Fixed, &signed, object.seal)?)
}

/// A message whose proof holds. Nothing else makes one.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    message: Message<'a>,
    class: ProofClass,
    key_id: KeyId,
}

impl<'a> Verified<'a> {
    /// The message. Its sender holds the key that was given; whether that key is the sender's, the caller knows.
    pub const fn message(&self) -> &Message<'a> {
        &self.message
    }

    /// The proof that it had.
    pub const fn class(&self) -> ProofClass {
        self.class
    }

    /// The key that it was proven with.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }
}

/// Bytes of a signed object, ready to be framed or encrypted ([`crate::frame`], [`crate::encryption`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    pub(crate) object: Vec<u8>,
    pub(crate) to: Party,
    pub(crate) expires: Timestamp,
}

impl Proven {
    /// The bytes of the object.
    pub fn as_bytes(&self) -> &[u8] {
        &self.object
    }
}
