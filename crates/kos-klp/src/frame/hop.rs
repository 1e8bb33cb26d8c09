//! The part of a frame that relays read and change.
//!
//! Nothing here is signed. Whatever also stands in the message must agree with it, and nothing else is used for more
//! than moving the frame.
//!
//! Source: `docs/spec/klp.md` KLP-13, KLP-14.

use kos_base::Timestamp;
use minicbor::{Decoder, Encoder, decode, encode};

use crate::{
    address::Host,
    fields::{Field, read_bytes, read_map},
    message::Message,
    party::PartyRef,
};

/// Longest hop, in bytes: what a relay keeps about a frame that it cannot read.
pub const HOP_BYTES_MAX: usize = 1024;
/// Most hops that a frame may still make; ends loops.
pub const HOPS_MAX: u8 = 16;
/// Most routing hints.
pub const HINTS_MAX: usize = 4;

/// How much hurry a frame claims. A relay decides by its own rules how far it believes that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When nothing else waits.
    Bulk,
    /// What stands when nothing is said.
    #[default]
    Normal,
    /// Revocation, trust, orders.
    Urgent,
}

impl Priority {
    const fn number(self) -> u8 {
        match self {
            Self::Bulk => 0,
            Self::Normal => 1,
            Self::Urgent => 2,
        }
    }
}

/// Where a frame goes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The recipient; must be that of the message.
    pub to: Option<PartyRef<'a>>,
    /// When relays drop it; must be that of the message.
    pub expires: Option<Timestamp>,
    /// How much hurry it claims; normal when not said.
    pub priority: Option<Priority>,
    /// How many relays it may still pass.
    pub hops_left: Option<u8>,
    /// Which of several paths it takes.
    pub path_id: Option<[u8; 8]>,
    /// Who answers for its delivery now.
    pub custodian: Option<PartyRef<'a>>,
    /// Nodes that may know the way.
    pub hints: Vec<Host>,
}

impl<'a> Hop<'a> {
    /// For a frame that goes through relays.
    pub fn to(to: PartyRef<'a>, expires: Timestamp) -> Self {
        Self { to: Some(to), expires: Some(expires), hops_left: Some(HOPS_MAX), ..Self::default() }
    }

    /// Whether it says nothing else than `message` does (KLP-14).
    pub(super) fn agrees_with(&self, message: &Message<'_>) -> bool {
        self.to.is_none_or(|to| to == message.to) && self.expires.is_none_or(|at| at == message.expires)
    }
}

/// CBOR: a map.
impl<C> minicbor::Encode<C> for Hop<'_> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let hints = Some(&self.hints).filter(|hints| !hints.is_empty());
        let there = [
            self.to.is_some(),
            self.expires.is_some(),
            self.priority.is_some(),
            self.hops_left.is_some(),
            self.path_id.is_some(),
            self.custodian.is_some(),
            hints.is_some(),
        ];
        e.map(there.into_iter().map(u64::from).sum())?;
        if let Some(to) = self.to {
            e.u8(1)?.encode_with(to, ctx)?;
        }
        if let Some(expires) = self.expires {
            e.u8(2)?.encode_with(expires, ctx)?;
        }
        if let Some(priority) = self.priority {
            e.u8(3)?.u8(priority.number())?;
        }
        if let Some(hops) = self.hops_left {
            e.u8(4)?.u8(hops)?;
        }
        if let Some(path) = self.path_id {
            e.u8(5)?.bytes(&path)?;
        }
        if let Some(custodian) = self.custodian {
            e.u8(6)?.encode_with(custodian, ctx)?;
        }
        if let Some(hints) = hints {
            e.u8(7)?.array(u64::try_from(hints.len()).unwrap_or(u64::MAX))?;
            hints.iter().try_for_each(|hint| e.str(&hint.to_string()).map(drop))?;
        }
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Hop<'b> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let mut hop = Self::default();
        read_map(d, |key, d| {
            match key {
                1 => hop.to = Some(d.decode_with(ctx)?),
                2 => hop.expires = Some(d.decode_with(ctx)?),
                3 => hop.priority = Some(read_priority(d)?),
                4 => hop.hops_left = Some(read_hops(d)?),
                5 => hop.path_id = Some(read_bytes(d)?),
                6 => hop.custodian = Some(d.decode_with(ctx)?),
                7 => hop.hints = read_hints(d)?,
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(hop)
    }
}

fn read_priority(d: &mut Decoder<'_>) -> Result<Priority, decode::Error> {
    match d.u8()? {
        0 => Ok(Priority::Bulk),
        1 => Ok(Priority::Normal),
        2 => Ok(Priority::Urgent),
        _ => Err(decode::Error::message("a priority that does not exist")),
    }
}

fn read_hops(d: &mut Decoder<'_>) -> Result<u8, decode::Error> {
    let hops = d.u8()?;
    if hops > HOPS_MAX { Err(decode::Error::message("more hops than a frame may make")) } else { Ok(hops) }
}

fn read_hints(d: &mut Decoder<'_>) -> Result<Vec<Host>, decode::Error> {
    let count = d
        .array()?
        .filter(|count| usize::try_from(*count).is_ok_and(|count| (1..=HINTS_MAX).contains(&count)));
    let count = count.ok_or_else(|| decode::Error::message("no or too many routing hints"))?;
    (0..count)
        .map(|_| {
            let text = d.str()?;
            let host: Host = text.parse().map_err(decode::Error::custom)?;
            if host.to_string() == text {
                Ok(host)
            } else {
                Err(decode::Error::message("a host not in its normal form"))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use kos_base::cbor::{decode, encode};

    use super::*;

    #[test]
    fn a_hop_is_read_back_as_it_was_written() {
        let to = PartyRef::parse("attic").unwrap();
        let full = Hop {
            priority: Some(Priority::Urgent),
            path_id: Some([3; 8]),
            custodian: Some(to),
            hints: vec!["gate.attic".parse().unwrap(), "relay.attic".parse().unwrap()],
            ..Hop::to(to, Timestamp::from_unix_ms(5))
        };
        for hop in [Hop::default(), Hop::to(to, Timestamp::from_unix_ms(5)), full] {
            assert_eq!(decode::<Hop<'_>>(&encode(&hop), HOP_BYTES_MAX).unwrap(), hop);
        }
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        for bytes in [
            &[0xa1, 3, 3][..],            // priority 3
            &[0xa1, 4, 17],               // 17 hops
            &[0xa1, 5, 0x41, 0],          // a path id of one byte
            &[0xa1, 7, 0x80],             // hints, but none
            &[0xa1, 7, 0x81, 0x61, b'A'], // a host in upper case
            &[0xa1, 7, 0x85, 0x61, b'a', 0x61, b'a', 0x61, b'a', 0x61, b'a', 0x61, b'a'],
            &[0xa1, 8, 0],
        ] {
            assert!(minicbor::decode::<Hop<'_>>(bytes).is_err(), "{bytes:?}");
        }
    }
}
