//! What travels: `[version, hop, object]`.
//!
//! [`Frame::parse`] is the door for bytes from a network. It checks length and deterministic CBOR before anything is
//! allocated, reads the hop and finds out what the object is; it believes nothing. [`Frame::relay`] passes a frame on
//! without opening it.
//!
//! ```text
//! [1, {..hop..}, COSE_Sign1 | [COSE_Sign1, index, path, message] | COSE_Mac0 | COSE_Encrypt0 | channel message]
//! ```
//!
//! Limits: [`FRAME_BYTES_MAX`], [`HOP_BYTES_MAX`], depth 8. Errors: the peer broke the protocol, or a relay tampered;
//! drop the frame, and close a direct link that sent it.
//!
//! Source: `docs/spec/klp.md` KLP-12 to KLP-18; `tests/vectors/klp/malice`; fuzz target `klp_frame`.

mod hop;

use kos_base::{
    Code, Timestamp,
    cbor::{self, CborError},
    code::klp,
};
use minicbor::{Decoder, data::Type};

pub use self::hop::{HINTS_MAX, HOP_BYTES_MAX, HOPS_MAX, Hop, Priority};
use crate::{
    cose::{self, VERSION},
    encryption::EncryptedEnvelope,
    fields::{read_array_head, reason},
    proof::{Envelope, ProofClass, Proven, Sealing},
};

/// Longest frame, in bytes; what a peer can make us hold before it is read.
pub const FRAME_BYTES_MAX: usize = 65_536;

/// Why bytes are not a frame, or a frame does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Too long, or not deterministic CBOR.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Not a frame, hop, object or message of this protocol.
    #[error("not a frame of the protocol: {0}")]
    Shape(String),
    /// Of another version.
    #[error("a frame of version {0}")]
    Version(u64),
    /// The hop names another recipient or expiry than the message.
    #[error("the hop differs from what was signed")]
    HopDiffers,
    /// Longer than a frame may be.
    #[error("a frame of {0} bytes, at most {FRAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A frame that no relay passes on: a LINK, one without recipient or expiry, or one that is not encrypted.
    #[error("a frame that is not for relays: {0}")]
    NotForRelays(&'static str),
    /// It has expired, or made as many hops as it may.
    #[error("the frame has expired or made its last hop")]
    Spent,
}

impl FrameError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Cbor(_) | Self::Shape(_) | Self::Version(_) => klp::KLP_MALFORMED,
            Self::HopDiffers => klp::KLP_HOP,
            Self::TooLong(_) => klp::KLP_TOO_LARGE,
            Self::NotForRelays(_) => klp::KLP_PLAIN,
            Self::Spent => klp::KLP_EXPIRED,
        }
    }
}

impl From<minicbor::decode::Error> for FrameError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Shape(reason(&error))
    }
}

/// A frame as it was received.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    hop: Hop<'a>,
    content: Content<'a>,
    object: &'a [u8],
}

/// What a frame carries.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would cost an allocation for each message")]
pub enum Content<'a> {
    /// A message with its proof, which nobody has checked yet.
    Plain(Envelope<'a>),
    /// The same, encrypted to its recipient.
    Encrypted(EncryptedEnvelope<'a>),
    /// A message of a secure channel ([`crate::channel`]).
    Channel(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// When it breaks the protocol, or its hop differs from its message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(CborError::TooLong { bytes: bytes.len(), bytes_max: FRAME_BYTES_MAX }.into());
        }
        cbor::scan(bytes)?;
        let d = &mut Decoder::new(bytes);
        read_array_head(d, 3)?;
        let version = d.u64()?;
        if version != u64::from(VERSION) {
            return Err(FrameError::Version(version));
        }
        let hop_at = d.position();
        let hop: Hop<'a> = d.decode()?;
        if d.position() - hop_at > HOP_BYTES_MAX {
            return Err(FrameError::Shape("a hop over its limit".to_owned()));
        }
        let object = bytes.get(d.position()..).unwrap_or_default();
        let content = match d.datatype()? {
            Type::Bytes => Content::Channel(d.bytes()?),
            Type::Tag if d.probe().tag()?.as_u64() == cose::TAG_ENCRYPT0 => {
                Content::Encrypted(EncryptedEnvelope::read(object, &hop)?)
            }
            _ => Content::Plain(Envelope::read(object, Sealing::Plain)?),
        };
        if let Content::Plain(envelope) = &content
            && !hop.agrees_with(envelope.unverified())
        {
            return Err(FrameError::HopDiffers);
        }
        Ok(Self { hop, content, object })
    }

    /// Where it goes. Believe nothing of it that the message does not say.
    pub const fn hop(&self) -> &Hop<'a> {
        &self.hop
    }

    /// What it carries.
    pub fn into_content(self) -> Content<'a> {
        self.content
    }

    /// What it carries, borrowed.
    pub const fn content(&self) -> &Content<'a> {
        &self.content
    }

    /// The frame with one hop fewer and the same object, for the next relay or the recipient (KLP-18). `custodian` and
    /// hints are kept; a relay that changes them writes the frame with [`write`](fn@write).
    ///
    /// # Errors
    /// When it must not be passed on; drop it.
    pub fn relay(&self, now: Timestamp) -> Result<Vec<u8>, FrameError> {
        let to = self.hop.to.ok_or(FrameError::NotForRelays("no recipient"))?;
        let expires = self.hop.expires.ok_or(FrameError::NotForRelays("no expiry"))?;
        match &self.content {
            Content::Encrypted(_) | Content::Channel(_) => {}
            Content::Plain(envelope) if envelope.class() == ProofClass::Solo && to.is_everyone() => {}
            Content::Plain(_) => return Err(FrameError::NotForRelays("not encrypted")),
        }
        let left = self.hop.hops_left.and_then(|left| left.checked_sub(1)).ok_or(FrameError::Spent)?;
        if expires <= now {
            return Err(FrameError::Spent);
        }
        write(&Hop { hops_left: Some(left), ..self.hop.clone() }, self.object)
    }
}

/// Puts an object into a frame.
///
/// # Errors
/// When the frame would be too long.
pub fn write(hop: &Hop<'_>, object: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut frame = cose::write(object.len() + 64, |e| e.array(3)?.u8(VERSION)?.encode(hop)?.ok());
    frame.extend_from_slice(object);
    if frame.len() > FRAME_BYTES_MAX { Err(FrameError::TooLong(frame.len())) } else { Ok(frame) }
}

/// Puts a message of a secure channel into a frame.
///
/// # Errors
/// When the frame would be too long.
pub fn write_channel(hop: &Hop<'_>, message: &[u8]) -> Result<Vec<u8>, FrameError> {
    write(hop, &cose::write(message.len() + 8, |e| e.bytes(message)?.ok()))
}

impl Proven {
    /// The frame for a direct link: its hop says nothing that the message does not.
    ///
    /// # Errors
    /// When the frame would be too long.
    pub fn direct_frame(&self) -> Result<Vec<u8>, FrameError> {
        write(&Hop::default(), &self.object)
    }

    /// The frame for relays of a message to everyone, which is not encrypted.
    ///
    /// # Errors
    /// When the message is for one party, or the frame would be too long.
    pub fn broadcast_frame(&self) -> Result<Vec<u8>, FrameError> {
        if !self.to.as_party().is_everyone() {
            return Err(FrameError::NotForRelays("not encrypted"));
        }
        write(&Hop::to(self.to.as_party(), self.expires), &self.object)
    }
}
