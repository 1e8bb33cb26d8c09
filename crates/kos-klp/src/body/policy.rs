//! POLICY: what the manifests say about the device.
//!
//! Source: `docs/spec/klp.md` KLP-95 to KLP-97; `docs/spec/manifest.md` MAN-24 to MAN-29.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, read_blob};
use crate::fields::{Field, read_map, required};

/// Longest slice, in bytes.
pub const POLICY_SLICE_BYTES_MAX: usize = 49_152;

/// A slice for a device. It carries its own signature, which counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The signed slice.
    pub slice: Vec<u8>,
}

impl Body for Policy {
    const BYTES_MAX: usize = POLICY_SLICE_BYTES_MAX + 16;
}

impl<C> Encode<C> for Policy {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(1)?.u8(1)?.bytes(&self.slice)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Policy {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let mut slice = None;
        read_map(d, |key, d| {
            match key {
                1 => slice = Some(read_blob(d, POLICY_SLICE_BYTES_MAX)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { slice: required(slice)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    #[test]
    fn a_slice_is_read_back_and_none_that_is_over_the_limit() {
        for bytes in [0, 1, POLICY_SLICE_BYTES_MAX] {
            let policy = Policy { slice: vec![7; bytes] };
            assert_eq!(read::<Policy>(&write(&policy)), Ok(policy));
        }
        assert!(read::<Policy>(&write(&Policy { slice: vec![7; POLICY_SLICE_BYTES_MAX + 1] })).is_err());
        assert!(read::<Policy>(&[0xa0]).is_err());
    }
}
