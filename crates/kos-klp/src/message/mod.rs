//! What one node tells another, before any proof and encryption.
//!
//! A message borrows from the bytes it was read from: on the way of a heartbeat nothing is copied. Reading says only
//! that the form is right. Whether sender, time and sequence mean anything is for [`crate::proof`] and
//! [`crate::session`]; nobody but them makes a message that may be believed.
//!
//! ```text
//! {1 type, 2 from, 3 to, 4 id 16 B, 5 issued ms, 6 expires ms, 7 epoch, 8 sequence, 9 body, ?10 reply to 16 B,
//!  ?11 [number, hash 32 B]}
//! ```
//!
//! Source: `docs/spec/klp.md` KLP-16, KLP-19 to KLP-24; fuzz target `klp_frame`.

mod kind;

use core::{fmt, time::Duration};

use data_encoding::HEXLOWER;
use kos_base::{EntryId, Timestamp};
use minicbor::{Decoder, Encoder, decode, encode};

pub use self::kind::{Audience, MessageType, Unhandled};
use crate::{
    fields::{Field, read_array_head, read_bytes, read_map, required},
    party::PartyRef,
};

/// Longest body, in bytes: a frame of 65 536 less room for hop, proof and encryption.
pub const BODY_BYTES_MAX: usize = 61_440;
/// Life of a message when nothing else is asked for (KLP-24).
pub const LIFE_DEFAULT: Duration = Duration::from_secs(300);

/// 16 bytes that name a message among those of its sender.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// Takes 16 bytes over that the shell drew.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<EntryId> for MessageId {
    fn from(id: EntryId) -> Self {
        Self(*id.as_bytes())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// By what a receiver knows that it has not seen a message before (KLP-20). Signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// By its place among the messages of this sender on the direct link.
    Direct(Place),
    /// By its id: it may be relayed and stored.
    Stored {
        /// The sender's epoch.
        epoch: u64,
    },
}

/// A place in the sequence of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The sender's epoch: only grows.
    pub epoch: u64,
    /// From 1 up within the epoch. A place with sequence 0 is written as a stored message.
    pub sequence: u64,
}

impl Order {
    /// The sender's epoch.
    pub const fn epoch(self) -> u64 {
        match self {
            Self::Direct(Place { epoch, .. }) | Self::Stored { epoch } => epoch,
        }
    }

    const fn sequence(self) -> u64 {
        match self {
            Self::Direct(Place { sequence, .. }) => sequence,
            Self::Stored { .. } => 0,
        }
    }

    const fn from_parts(epoch: u64, sequence: u64) -> Self {
        match sequence {
            0 => Self::Stored { epoch },
            sequence => Self::Direct(Place { epoch, sequence }),
        }
    }
}

/// Number and hash of the newest revocation state that a node holds (KLP-21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RevocationHead {
    /// Only grows.
    pub number: u64,
    /// Hash of the state with this number.
    pub hash: [u8; 32],
}

/// A message whose form is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is about.
    pub kind: MessageType,
    /// Who says it.
    pub from: PartyRef<'a>,
    /// To whom.
    pub to: PartyRef<'a>,
    /// Its name.
    pub id: MessageId,
    /// When it was made.
    pub issued: Timestamp,
    /// Until when it counts.
    pub expires: Timestamp,
    /// How a second one is known.
    pub order: Order,
    /// What it says, in the form of its type.
    pub body: &'a [u8],
    /// Which message it answers.
    pub reply_to: Option<MessageId>,
    /// What its sender knows about revocations.
    pub revocation: Option<RevocationHead>,
}

/// CBOR: a map (KLP-19).
impl<C> minicbor::Encode<C> for Message<'_> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let count = 9 + u64::from(self.reply_to.is_some()) + u64::from(self.revocation.is_some());
        e.map(count)?.u8(1)?.u16(self.kind.number())?;
        e.u8(2)?.str(self.from.as_str())?.u8(3)?.str(self.to.as_str())?;
        e.u8(4)?.bytes(&self.id.0)?;
        e.u8(5)?.u64(self.issued.unix_ms())?.u8(6)?.u64(self.expires.unix_ms())?;
        e.u8(7)?.u64(self.order.epoch())?.u8(8)?.u64(self.order.sequence())?;
        e.u8(9)?.bytes(self.body)?;
        if let Some(id) = self.reply_to {
            e.u8(10)?.bytes(&id.0)?;
        }
        if let Some(head) = self.revocation {
            e.u8(11)?.encode_with(head, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Message<'b> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let (mut kind, mut from, mut to, mut id, mut issued, mut expires) =
            (None, None, None, None, None, None);
        let (mut epoch, mut sequence, mut body, mut reply_to, mut revocation) =
            (None, None, None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => kind = Some(MessageType::from_number(d.u16()?)),
                2 => from = Some(d.decode_with(ctx)?),
                3 => to = Some(d.decode_with(ctx)?),
                4 => id = Some(MessageId(read_bytes(d)?)),
                5 => issued = Some(d.decode_with(ctx)?),
                6 => expires = Some(d.decode_with(ctx)?),
                7 => epoch = Some(d.u64()?),
                8 => sequence = Some(d.u64()?),
                9 => body = Some(d.bytes()?).filter(|body| body.len() <= BODY_BYTES_MAX),
                10 => reply_to = Some(MessageId(read_bytes(d)?)),
                11 => revocation = Some(d.decode_with(ctx)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self {
            kind: required(kind)?,
            from: required(from)?,
            to: required(to)?,
            id: required(id)?,
            issued: required(issued)?,
            expires: required(expires)?,
            order: Order::from_parts(required(epoch)?, required(sequence)?),
            body: required(body)?,
            reply_to,
            revocation,
        })
    }
}

/// CBOR: the array of number and hash.
impl<C> minicbor::Encode<C> for RevocationHead {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.u64(self.number)?.bytes(&self.hash)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for RevocationHead {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        read_array_head(d, 2)?;
        Ok(Self { number: d.u64()?, hash: read_bytes(d)? })
    }
}

#[cfg(test)]
mod tests {
    use kos_base::cbor::{decode, encode};

    use super::*;

    fn message() -> Message<'static> {
        Message {
            kind: MessageType::HEARTBEAT,
            from: PartyRef::parse("attic/kdev-7f4ac30123456789").unwrap(),
            to: PartyRef::parse("attic").unwrap(),
            id: MessageId([7; 16]),
            issued: Timestamp::from_unix_ms(1_000),
            expires: Timestamp::from_unix_ms(301_000),
            order: Order::Direct(Place { epoch: 9, sequence: 1 }),
            body: b"body",
            reply_to: None,
            revocation: None,
        }
    }

    #[test]
    fn a_message_is_read_back_as_it_was_written() {
        let full = Message {
            order: Order::Stored { epoch: 9 },
            reply_to: Some(MessageId([8; 16])),
            revocation: Some(RevocationHead { number: 3, hash: [9; 32] }),
            ..message()
        };
        for message in [message(), full] {
            let bytes = encode(&message);
            assert_eq!(decode::<Message<'_>>(&bytes, 999).unwrap(), message);
        }
    }

    #[test]
    fn every_field_but_the_last_two_must_be_there() {
        let bytes = encode(&message());
        // Without the last pair, its head says eight: body is gone.
        let mut short = bytes[..bytes.len() - 6].to_vec();
        short[0] = 0xa8;
        assert!(decode::<Message<'_>>(&short, 999).unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn unknown_fields_are_refused_from_0_up_and_skipped_below() {
        let mut positive = encode(&message());
        positive[0] = 0xaa;
        let mut negative = positive.clone();
        positive.extend([12, 1]);
        negative.extend([0x20, 1]);
        assert!(minicbor::decode::<Message<'_>>(&positive).is_err());
        assert_eq!(minicbor::decode::<Message<'_>>(&negative).unwrap(), message());
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let long = vec![0; BODY_BYTES_MAX + 1];
        for (body, ok) in [(&long[1..], true), (&long[..], false)] {
            let bytes = encode(&Message { body, ..message() });
            assert_eq!(minicbor::decode::<Message<'_>>(&bytes).is_ok(), ok);
        }
    }
}
