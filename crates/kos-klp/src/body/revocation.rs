//! REVOCATION: there are newer CRLs.
//!
//! Shape: whole CRLs while they fit, and one that does not as pieces in order, each in a message of its own. The receiver
//! puts pieces together with an [`Assembly`], which holds at most one list of [`LIST_BYTES_MAX`] bytes.
//!
//! What it does not do: believe anything. A list carries the signature of its CA, which counts; the digest of the pieces
//! only finds out early that they do not belong together.
//!
//! Source: `docs/spec/klp.md` KLP-50.

use kos_base::digest::sha256;
use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteVec, decode, encode};

use super::{Body, read_list, write_list};
use crate::{
    fields::{Field, read_array_head, read_bytes, read_map, required},
    message::{BODY_BYTES_MAX, RevocationHead},
};

/// Most CRLs of one message: those of the root and of the issuing CAs.
pub const CRLS_MAX: u64 = 4;
/// Longest CRL, in bytes, that is put together from pieces. Stops whoever signs for an authority from filling a device.
pub const LIST_BYTES_MAX: u32 = 16 << 20;

/// Bytes for lists in one message; the rest is for everything around them.
const ROOM: usize = BODY_BYTES_MAX - 256;
/// Bytes around a list in a message.
const LIST_HEAD: usize = 8;

/// News about revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    head: RevocationHead,
    crls: Vec<ByteVec>,
    piece: Option<Piece>,
}

/// A part of a CRL that is longer than a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// SHA-256 of the whole list.
    digest: [u8; 32],
    /// Length of the whole list.
    total: u32,
    /// Where this part begins.
    offset: u32,
    bytes: ByteVec,
}

impl Revocation {
    /// The messages that carry these CRLs, in the order in which they are sent. A list longer than [`LIST_BYTES_MAX`] is
    /// left out.
    pub fn messages(head: RevocationHead, lists: impl IntoIterator<Item = Vec<u8>>) -> Vec<Self> {
        let (mut messages, mut together, mut room) = (Vec::new(), Vec::new(), ROOM);
        let whole = |crls: Vec<ByteVec>| Self { head, crls, piece: None };
        for list in lists {
            let Some(total) = u32::try_from(list.len()).ok().filter(|total| *total <= LIST_BYTES_MAX) else {
                continue;
            };
            if list.len() + LIST_HEAD > ROOM {
                let digest = sha256(&list);
                let pieces = (0..total).step_by(ROOM).zip(list.chunks(ROOM)).map(|(offset, bytes)| {
                    let piece = Piece { digest, total, offset, bytes: bytes.to_vec().into() };
                    Self { head, crls: Vec::new(), piece: Some(piece) }
                });
                messages.extend(pieces);
                continue;
            }
            let full = u64::try_from(together.len()).is_ok_and(|count| count >= CRLS_MAX);
            if full || list.len() + LIST_HEAD > room {
                messages.push(whole(core::mem::take(&mut together)));
                room = ROOM;
            }
            room = room.saturating_sub(list.len() + LIST_HEAD);
            together.push(ByteVec::from(list));
        }
        if !together.is_empty() {
            messages.push(whole(together));
        }
        messages
    }

    /// The state that the authority is at.
    pub const fn head(&self) -> RevocationHead {
        self.head
    }

    /// CRLs in DER, not checked.
    pub fn crls(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.crls.iter().map(|crl| crl.as_slice())
    }

    /// A part of another one.
    pub const fn piece(&self) -> Option<&Piece> {
        self.piece.as_ref()
    }
}

/// The list that is being put together on one link.
#[derive(Debug, Default)]
pub struct Assembly {
    begun: Option<([u8; 32], u32)>,
    bytes: Vec<u8>,
}

/// A piece that does not follow the one before, or pieces that are not one list. What was there is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece of a revocation list that does not fit the others")]
pub struct Misfit;

impl Assembly {
    /// Takes the next piece; the list, once it was the last.
    ///
    /// # Errors
    /// [`Misfit`]; the sender begins again when it hears that the list is still wanted.
    pub fn take(&mut self, piece: &Piece) -> Result<Option<Vec<u8>>, Misfit> {
        if piece.offset == 0 {
            *self = Self { begun: Some((piece.digest, piece.total)), bytes: Vec::new() };
        }
        let follows = self.begun == Some((piece.digest, piece.total))
            && usize::try_from(piece.offset) == Ok(self.bytes.len());
        let total = usize::try_from(piece.total).unwrap_or(usize::MAX);
        let after = self.bytes.len().saturating_add(piece.bytes.len());
        if !follows || piece.bytes.is_empty() || after > total || piece.total > LIST_BYTES_MAX {
            *self = Self::default();
            return Err(Misfit);
        }
        // Only what came is held, whatever total a piece names.
        self.bytes.extend_from_slice(&piece.bytes);
        if after < total {
            return Ok(None);
        }
        let list = core::mem::take(self).bytes;
        if sha256(&list) == piece.digest { Ok(Some(list)) } else { Err(Misfit) }
    }
}

impl Body for Revocation {
    const BYTES_MAX: usize = BODY_BYTES_MAX;
}

impl<C> Encode<C> for Revocation {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(if self.piece.is_some() { 3 } else { 2 })?.u8(1)?.encode(self.head)?.u8(2)?;
        write_list(e, &self.crls)?;
        if let Some(Piece { digest, total, offset, bytes }) = &self.piece {
            e.u8(3)?.array(4)?.bytes(digest)?.u32(*total)?.u32(*offset)?.bytes(bytes)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Revocation {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut head, mut crls, mut piece) = (None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => head = Some(d.decode()?),
                2 => crls = Some(read_list(d, CRLS_MAX)?),
                3 => {
                    read_array_head(d, 4)?;
                    let (digest, total, offset) = (read_bytes(d)?, d.u32()?, d.u32()?);
                    piece = Some(Piece { digest, total, offset, bytes: d.bytes()?.to_vec().into() });
                }
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { head: required(head)?, crls: required(crls)?, piece })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    const HEAD: RevocationHead = RevocationHead { number: 7, hash: [1; 32] };

    /// What arrives of these lists, by the number of messages.
    fn travel(lists: &[Vec<u8>]) -> (usize, Vec<Vec<u8>>) {
        let messages = Revocation::messages(HEAD, lists.to_vec());
        let (mut assembly, mut arrived) = (Assembly::default(), Vec::new());
        for message in &messages {
            let bytes = write(message);
            assert!(bytes.len() <= BODY_BYTES_MAX);
            let message = read::<Revocation>(&bytes).unwrap();
            arrived.extend(message.crls().map(<[u8]>::to_vec));
            arrived.extend(message.piece().and_then(|piece| assembly.take(piece).unwrap()));
        }
        (messages.len(), arrived)
    }

    #[test]
    fn lists_of_any_length_arrive() {
        let list = |byte: u8, length: usize| vec![byte; length];
        for (lists, messages) in [
            (vec![list(1, 30_000), list(2, 30_000)], 1),
            (vec![list(1, 30_000), list(2, 32_000)], 2),
            (vec![list(1, 1); 4], 1),
            (vec![list(1, 1); 5], 2),
            (vec![list(1, ROOM - 4)], 1),
            (vec![list(1, ROOM - LIST_HEAD)], 1),
            (vec![list(1, 200_000)], 4),
            (Vec::new(), 0),
        ] {
            assert_eq!(travel(&lists), (messages, lists));
        }
        let (messages, arrived) = travel(&[list(1, 100), list(2, 3_000_000), list(3, 100)]);
        assert_eq!((messages, arrived.len()), (51, 3));
    }

    #[test]
    fn pieces_that_do_not_belong_together_make_no_list() {
        let pieces = |list: Vec<u8>| -> Vec<Piece> {
            let messages = Revocation::messages(HEAD, [list]);
            messages.iter().filter_map(|message| message.piece().cloned()).collect()
        };
        let (one, other) = (pieces(vec![1; 150_000]), pieces(vec![2; 150_000]));
        let [first, second, third] = one.as_slice() else { panic!("{} pieces", one.len()) };
        let altered = Piece { bytes: vec![9; third.bytes.len()].into(), ..third.clone() };
        let long = Piece { total: LIST_BYTES_MAX + 1, ..first.clone() };
        let empty = Piece { bytes: Vec::new().into(), ..first.clone() };
        for order in [
            vec![second],
            vec![first, third],
            vec![first, second, second],
            vec![first, &other[1]],
            vec![first, second, &altered],
            vec![&long],
            vec![&empty],
        ] {
            let mut assembly = Assembly::default();
            let (last, before) = order.split_last().unwrap();
            for piece in before {
                assert_eq!(assembly.take(piece), Ok(None));
            }
            assert_eq!(assembly.take(last), Err(Misfit));
            // And from the beginning it goes well again.
            for piece in [first, second] {
                assert_eq!(assembly.take(piece), Ok(None));
            }
            assert_eq!(assembly.take(third), Ok(Some(vec![1; 150_000])));
        }
    }
}
