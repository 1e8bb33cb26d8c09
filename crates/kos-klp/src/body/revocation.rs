//! REVOCATION: there are newer CRLs.
//!
//! Source: `docs/spec/klp.md` KLP-50.

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteVec, decode, encode};

use super::{Body, read_list, write_list};
use crate::{
    fields::{Field, read_map, required},
    message::{BODY_BYTES_MAX, RevocationHead},
};

/// Most CRLs of one message: those of the root and of the issuing CAs.
pub const CRLS_MAX: u64 = 4;

/// News about revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    head: RevocationHead,
    crls: Vec<ByteVec>,
}

impl Revocation {
    /// The news with the CRLs themselves, or without them when they do not fit into a frame.
    pub fn new(head: RevocationHead, crls: Vec<Vec<u8>>) -> Self {
        let room = BODY_BYTES_MAX - 128;
        let fits = u64::try_from(crls.len()).is_ok_and(|count| count <= CRLS_MAX)
            && crls.iter().map(|crl| crl.len() + 8).sum::<usize>() <= room;
        let crls = if fits { crls.into_iter().map(ByteVec::from).collect() } else { Vec::new() };
        Self { head, crls }
    }

    /// The state that the authority is at.
    pub const fn head(&self) -> RevocationHead {
        self.head
    }

    /// CRLs in DER, not checked; when there are none, fetch them.
    pub fn crls(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.crls.iter().map(|crl| crl.as_slice())
    }
}

impl Body for Revocation {
    const BYTES_MAX: usize = BODY_BYTES_MAX;
}

impl<C> Encode<C> for Revocation {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(2)?.u8(1)?.encode(self.head)?.u8(2)?;
        write_list(e, &self.crls)
    }
}

impl<'b, C> Decode<'b, C> for Revocation {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut head, mut crls) = (None, None);
        read_map(d, |key, d| {
            match key {
                1 => head = Some(d.decode()?),
                2 => crls = Some(read_list(d, CRLS_MAX)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { head: required(head)?, crls: required(crls)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    #[test]
    fn crls_travel_along_while_they_fit() {
        let head = RevocationHead { number: 7, hash: [1; 32] };
        for (crls, travel) in [
            (vec![vec![1; 30_000], vec![2; 30_000]], 2),
            (vec![vec![1; 30_000], vec![2; 32_000]], 0),
            (vec![vec![1]; 4], 4),
            (vec![vec![1]; 5], 0),
        ] {
            let news = Revocation::new(head, crls);
            assert_eq!(news.crls().len(), travel);
            assert_eq!(read::<Revocation>(&write(&news)), Ok(news));
        }
    }
}
