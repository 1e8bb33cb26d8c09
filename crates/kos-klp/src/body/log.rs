//! LOG: entries of a device's own log on their way to its authority, and how much of it the authority holds.
//!
//! Entries and checkpoint are signed by themselves, so the message needs no proof of its own but that of the link. What
//! they say is judged by the log of devices, not here.
//!
//! Source: `docs/spec/klp.md` KLP-72 to KLP-76.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, read_blob};
use crate::fields::{Field, read_bytes, read_map, required};

/// Most bytes of leaves in one message. With everything around them they fit into a frame.
pub const LEAVES_BYTES_MAX: usize = 49_152;
/// Most leaves in one message: those of one bundle.
pub const LEAVES_MAX: u64 = 256;
/// Longest checkpoint, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 2_048;

/// A part of a device's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The key of the log: an Ed25519 key.
    pub key: [u8; 32],
    /// Index of the first leaf.
    pub first: u64,
    /// The leaves, in their order. None: the device asks what is held.
    pub leaves: Vec<Vec<u8>>,
    /// A checkpoint over the log up to the last of them; without leaves, the newest that there is.
    pub checkpoint: String,
}

/// The answer to [`Log`]: how much of the log with this key is held, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeld {
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
}

impl Body for Log {
    const BYTES_MAX: usize = LEAVES_BYTES_MAX + CHECKPOINT_BYTES_MAX + 2_048;
}

impl Body for LogHeld {
    const BYTES_MAX: usize = 64;
}

impl<C> Encode<C> for Log {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(4)?.u8(1)?.bytes(&self.key)?.u8(2)?.u64(self.first)?.u8(3)?;
        e.array(u64::try_from(self.leaves.len()).unwrap_or(u64::MAX))?;
        for leaf in &self.leaves {
            e.bytes(leaf)?;
        }
        e.u8(4)?.str(&self.checkpoint)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Log {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut key, mut first, mut leaves, mut checkpoint) = (None, None, None, None);
        read_map(d, |field, d| {
            match field {
                1 => key = Some(read_bytes(d)?),
                2 => first = Some(d.u64()?),
                3 => leaves = Some(read_leaves(d)?),
                4 => checkpoint = Some(d.str()?).filter(|text| text.len() <= CHECKPOINT_BYTES_MAX),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self {
            key: required(key)?,
            first: required(first)?,
            leaves: required(leaves)?,
            checkpoint: required(checkpoint)?.to_owned(),
        })
    }
}

fn read_leaves(d: &mut Decoder<'_>) -> Result<Vec<Vec<u8>>, decode::Error> {
    let count = d.array()?.filter(|count| *count <= LEAVES_MAX);
    let count = count.ok_or_else(|| decode::Error::message("more leaves than one message may bring"))?;
    let (mut leaves, mut left) = (Vec::new(), LEAVES_BYTES_MAX);
    for _ in 0..count {
        let leaf = read_blob(d, left)?;
        left -= leaf.len();
        leaves.push(leaf);
    }
    Ok(leaves)
}

impl<C> Encode<C> for LogHeld {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(2)?.u8(1)?.u64(self.size)?.u8(2)?.bytes(&self.root)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for LogHeld {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut size, mut root) = (None, None);
        read_map(d, |field, d| {
            match field {
                1 => size = Some(d.u64()?),
                2 => root = Some(read_bytes(d)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { size: required(size)?, root: required(root)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;
    use crate::frame::FRAME_BYTES_MAX;

    fn log(leaves: Vec<Vec<u8>>) -> Log {
        Log { key: [7; 32], first: 3, leaves, checkpoint: "attic/klog\n".to_owned() }
    }

    #[test]
    fn a_part_of_a_log_is_read_back_as_it_was_written() {
        for leaves in [vec![], vec![vec![1; 700], vec![2; 16_640]], vec![vec![9]; 256]] {
            let log = log(leaves);
            assert_eq!(read::<Log>(&write(&log)), Ok(log));
        }
        let held = LogHeld { size: 9, root: [3; 32] };
        assert_eq!(read::<LogHeld>(&write(&held)), Ok(held));
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_and_the_largest_fits_into_a_frame() {
        assert!(read::<Log>(&write(&log(vec![vec![9]; 257]))).is_err());
        assert!(read::<Log>(&write(&log(vec![vec![9; 24_576], vec![9; 24_577]]))).is_err());
        let long = Log { checkpoint: "x".repeat(CHECKPOINT_BYTES_MAX + 1), ..log(vec![]) };
        assert!(read::<Log>(&write(&long)).is_err());
        let mut largest = log(vec![vec![9; 192]; 256]);
        largest.checkpoint = "x".repeat(CHECKPOINT_BYTES_MAX);
        let bytes = write(&largest);
        assert!(read::<Log>(&bytes).is_ok() && bytes.len() + 4_096 < FRAME_BYTES_MAX, "{}", bytes.len());
    }
}
