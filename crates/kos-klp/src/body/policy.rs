//! POLICY: what the manifests say about the device, or with whom it is paired.
//!
//! Source: `docs/spec/klp.md` KLP-95 to KLP-97, KLP-110; `docs/spec/manifest.md` MAN-24 to MAN-29; `docs/spec/pairing.md`.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, read_blob};
use crate::fields::{Field, read_map};

/// Longest slice or bonds, in bytes.
pub const POLICY_SLICE_BYTES_MAX: usize = 49_152;

/// Something signed for a device. It carries its own signature, which counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A slice of the manifests.
    Slice(Vec<u8>),
    /// Its pairings, and what agents may ask of it.
    Bonds(Vec<u8>),
}

impl Body for Policy {
    const BYTES_MAX: usize = POLICY_SLICE_BYTES_MAX + 16;
}

impl<C> Encode<C> for Policy {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let (key, signed) = match self {
            Self::Slice(signed) => (1, signed),
            Self::Bonds(signed) => (2, signed),
        };
        e.map(1)?.u8(key)?.bytes(signed)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Policy {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut slice, mut bonds) = (None, None);
        read_map(d, |key, d| {
            match key {
                1 => slice = Some(read_blob(d, POLICY_SLICE_BYTES_MAX)?),
                2 => bonds = Some(read_blob(d, POLICY_SLICE_BYTES_MAX)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        match (slice, bonds) {
            (Some(slice), None) => Ok(Self::Slice(slice)),
            (None, Some(bonds)) => Ok(Self::Bonds(bonds)),
            _ => Err(decode::Error::message("neither a slice nor bonds, or both")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    #[test]
    fn one_of_the_two_is_read_back_and_nothing_that_is_over_the_limit() {
        for of in [Policy::Slice, Policy::Bonds] {
            for bytes in [0, 1, POLICY_SLICE_BYTES_MAX] {
                let policy = of(vec![7; bytes]);
                assert_eq!(read::<Policy>(&write(&policy)), Ok(policy));
            }
            assert!(read::<Policy>(&write(&of(vec![7; POLICY_SLICE_BYTES_MAX + 1]))).is_err());
        }
        // Nothing, and both.
        assert!(read::<Policy>(&[0xa0]).is_err());
        assert!(read::<Policy>(&[0xa2, 1, 0x40, 2, 0x40]).is_err());
    }
}
