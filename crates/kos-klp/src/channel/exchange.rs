//! The messages of an exchange as bytes, and what both ends do alike.
//!
//! Source: `docs/spec/klp.md` KLP-54 to KLP-57.

use kos_base::{
    AgreementKey, KeyId, PublicKey,
    cbor::scan,
    digest::{Sha256, sha256, sha256_parts},
    key::SignatureForm,
};
use minicbor::Decoder;

use super::{CREDENTIAL_BYTES_MAX, ChannelError, ChannelId};
use crate::{
    cose::{VERSION, write},
    fields::{read_array_head, read_bytes},
    frame::FRAME_BYTES_MAX,
    party::{Party, PartyRef},
};

/// First item of everything that is signed in an exchange.
pub(super) const DOMAIN: &str = "kos klp channel v1";

/// Kinds of messages: first item of each.
const HELLO: u8 = 1;
const REPLY: u8 = 2;
const FINISH: u8 = 3;
pub(super) const RECORD: u8 = 4;

/// Who makes a statement. A signature of one role never stands for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelRole {
    Initiator,
    Responder,
}

impl ChannelRole {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }
}

/// A hello; `bytes` are those that travelled.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) channel: ChannelId,
    pub(super) initiator: Party,
    pub(super) responder: Party,
    pub(super) key_id: KeyId,
    pub(super) ephemeral: AgreementKey,
    pub(super) bytes: Vec<u8>,
}

impl Hello {
    pub(super) fn new(
        channel: ChannelId,
        initiator: Party,
        responder: Party,
        key_id: KeyId,
        ephemeral: AgreementKey,
    ) -> Self {
        let bytes = write(256, |e| {
            e.array(7)?.u8(HELLO)?.u8(VERSION)?.bytes(&channel.0)?;
            e.str(initiator.as_str())?.str(responder.as_str())?;
            e.bytes(key_id.as_bytes())?.bytes(&ephemeral.0)?.ok()
        });
        Self { channel, initiator, responder, key_id, ephemeral, bytes }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, ChannelError> {
        let d = &mut open(bytes, 7, HELLO)?;
        if d.u8()? != VERSION {
            return Err(ChannelError::Shape("a hello of another version".to_owned()));
        }
        Ok(Self {
            channel: ChannelId(read_bytes(d)?),
            initiator: d.decode::<PartyRef<'_>>()?.to_owned(),
            responder: d.decode::<PartyRef<'_>>()?.to_owned(),
            key_id: KeyId::from_bytes(read_bytes(d)?),
            ephemeral: AgreementKey(read_bytes(d)?),
            bytes: bytes.to_vec(),
        })
    }
}

/// A reply without its sealed part; `bytes` are the head of KLP-55.
#[derive(Debug)]
pub(super) struct ReplyHead {
    pub(super) key_id: KeyId,
    pub(super) ephemeral: AgreementKey,
    pub(super) bytes: Vec<u8>,
}

impl ReplyHead {
    pub(super) fn new(channel: ChannelId, key_id: KeyId, ephemeral: AgreementKey) -> Self {
        let bytes = write(96, |e| {
            e.array(4)?.u8(REPLY)?.bytes(&channel.0)?.bytes(key_id.as_bytes())?.bytes(&ephemeral.0)?.ok()
        });
        Self { key_id, ephemeral, bytes }
    }

    pub(super) fn with_sealed(&self, channel: ChannelId, sealed: &[u8]) -> Vec<u8> {
        write(sealed.len() + 96, |e| {
            e.array(5)?.u8(REPLY)?.bytes(&channel.0)?.bytes(self.key_id.as_bytes())?;
            e.bytes(&self.ephemeral.0)?.bytes(sealed)?.ok()
        })
    }

    /// Reads a reply; the second value is its sealed part.
    pub(super) fn read(bytes: &[u8], channel: ChannelId) -> Result<(Self, &[u8]), ChannelError> {
        let d = &mut open(bytes, 5, REPLY)?;
        same_channel(d, channel)?;
        let head = Self::new(channel, KeyId::from_bytes(read_bytes(d)?), AgreementKey(read_bytes(d)?));
        Ok((head, d.bytes()?))
    }
}

/// The head of a finish.
pub(super) fn finish_head(channel: ChannelId) -> Vec<u8> {
    write(24, |e| e.array(2)?.u8(FINISH)?.bytes(&channel.0)?.ok())
}

pub(super) fn write_finish(channel: ChannelId, sealed: &[u8]) -> Vec<u8> {
    write(sealed.len() + 32, |e| e.array(3)?.u8(FINISH)?.bytes(&channel.0)?.bytes(sealed)?.ok())
}

/// Reads a finish; gives its sealed part.
pub(super) fn read_finish(bytes: &[u8], channel: ChannelId) -> Result<&[u8], ChannelError> {
    let d = &mut open(bytes, 3, FINISH)?;
    same_channel(d, channel)?;
    Ok(d.bytes()?)
}

/// Which channel a message belongs to, so that the shell finds its machine. Nothing is checked beyond the form.
///
/// # Errors
/// When it is no message of a channel; drop it.
pub fn channel_id_of(message: &[u8]) -> Result<ChannelId, ChannelError> {
    let d = &mut scanned(message)?;
    let items = d.array()?;
    let kind = d.u8()?;
    if kind == HELLO {
        d.u8()?;
    }
    match (kind, items) {
        (HELLO, Some(7)) | (REPLY, Some(5)) | (FINISH, Some(3)) | (RECORD, Some(4)) => {
            Ok(ChannelId(read_bytes(d)?))
        }
        _ => Err(ChannelError::Shape("not a message of a channel".to_owned())),
    }
}

/// Checks the bytes and the kind of a message, and stands behind the kind.
pub(super) fn open(bytes: &[u8], items: u64, kind: u8) -> Result<Decoder<'_>, ChannelError> {
    let mut d = scanned(bytes)?;
    read_array_head(&mut d, items)?;
    if d.u8()? == kind { Ok(d) } else { Err(ChannelError::Shape("a message of another kind".to_owned())) }
}

fn scanned(bytes: &[u8]) -> Result<Decoder<'_>, ChannelError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(ChannelError::Size(bytes.len()));
    }
    scan(bytes).map_err(|error| ChannelError::Shape(error.to_string()))?;
    Ok(Decoder::new(bytes))
}

pub(super) fn same_channel(d: &mut Decoder<'_>, channel: ChannelId) -> Result<(), ChannelError> {
    let read: [u8; 16] = read_bytes(d)?;
    if read == channel.0 { Ok(()) } else { Err(ChannelError::OtherChannel) }
}

/// What one end says about itself: sealed in reply and finish.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) credential: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl Statement {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        write(self.credential.len() + 160, |e| {
            e.array(2)?.bytes(&self.credential)?.bytes(&self.signature)?.ok()
        })
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, ChannelError> {
        let d = &mut scanned(bytes)?;
        read_array_head(d, 2)?;
        let statement = Self { credential: d.bytes()?.to_vec(), signature: d.bytes()?.to_vec() };
        if statement.credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(ChannelError::Size(statement.credential.len()));
        }
        Ok(statement)
    }

    /// Checks the signature of the end with this role over what it must have seen.
    pub(super) fn verify(
        &self,
        key: &PublicKey,
        key_id: KeyId,
        role: ChannelRole,
        seen: &Sha256,
    ) -> Result<(), ChannelError> {
        if key.id() != key_id {
            return Err(ChannelError::OtherKey);
        }
        let signed = to_be_signed(role, seen, &self.credential);
        Ok(key.verify(SignatureForm::Fixed, &signed, &self.signature)?)
    }
}

/// What the end with this role signs (KLP-57).
pub(super) fn to_be_signed(role: ChannelRole, seen: &Sha256, credential: &[u8]) -> Vec<u8> {
    write(128, |e| e.array(4)?.str(DOMAIN)?.str(role.as_str())?.bytes(seen)?.bytes(&sha256(credential))?.ok())
}

/// What the responder has seen when it signs, and the salt of all keys (KLP-55).
pub(super) fn transcript(hello: &[u8], reply_head: &[u8]) -> Sha256 {
    sha256_parts("kos klp channel v1 transcript", [hello, reply_head])
}

/// What the initiator has seen when it signs (KLP-57).
pub(super) fn finish_transcript(hello: &[u8], reply: &[u8]) -> Sha256 {
    sha256_parts("kos klp channel v1 finish", [hello, reply])
}
