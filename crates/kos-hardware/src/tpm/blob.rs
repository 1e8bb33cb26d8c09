//! What is kept outside of a TPM for something inside: bytes that are of no use without it, and not secret.
//!
//! Shape: `kos-tpm`, version (1 byte, 1), kind (1 byte: `s` sealed secret, `k` signing key), PCRs (4 bytes, bit n is PCR n
//! of the SHA-256 bank), name of the storage key (34 bytes), public part and private part (each with its length in 2
//! bytes), SHA-256 of all before. Numbers are big-endian. Nothing follows.
//!
//! Invariants: the digest is compared before anything else is believed, so damage is told from a cleared TPM. It keeps
//! nobody from writing another blob: that the TPM finds out, which has a MAC over both parts.
//!
//! Errors: [`HardwareError::Damaged`] for anything that is not exactly this. Restore it.
//!
//! Source: `docs/spec/hardware.md` HW-7.

use aws_lc_rs::digest::{SHA256, digest};

use super::primary::{NAME_BYTES, Name};
use crate::HardwareError;

const MAGIC: &[u8; 7] = b"kos-tpm";
const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 32;

/// What a blob is for. A blob of one kind is never taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sealed,
    Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) kind: Kind,
    pub(super) pcrs: u32,
    pub(super) parent: Name,
    pub(super) public: Vec<u8>,
    pub(super) private: Vec<u8>,
}

impl Blob {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[VERSION, self.kind.byte()]);
        bytes.extend_from_slice(&self.pcrs.to_be_bytes());
        bytes.extend_from_slice(&self.parent);
        for part in [&self.public, &self.private] {
            // Parts come out of a frame of 4096 bytes.
            bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        let sum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(sum.as_ref());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8], kind: Kind) -> Result<Self, HardwareError> {
        let damaged = HardwareError::Damaged;
        let rest = bytes.strip_prefix(MAGIC).ok_or(damaged("it does not begin as it should"))?;
        if rest.first() != Some(&VERSION) {
            return Err(damaged("its version is none that this program knows"));
        }
        let sum_at = bytes.len().checked_sub(DIGEST_BYTES).ok_or(damaged("it is too short"))?;
        let (content, sum) = bytes.split_at(sum_at);
        if digest(&SHA256, content).as_ref() != sum {
            return Err(damaged("its digest does not fit"));
        }
        let rest = content.get(MAGIC.len() + 1..).ok_or(damaged("it is too short"))?;
        let parsed = (|| {
            let ([found], rest) = rest.split_first_chunk()?;
            let (pcrs, rest) = rest.split_first_chunk()?;
            let (parent, rest) = rest.split_first_chunk::<NAME_BYTES>()?;
            let (public, rest) = part(rest)?;
            let (private, rest) = part(rest)?;
            let fits = *found == kind.byte() && rest.is_empty();
            fits.then(|| Self {
                kind,
                pcrs: u32::from_be_bytes(*pcrs),
                parent: *parent,
                public: public.to_vec(),
                private: private.to_vec(),
            })
        })();
        parsed.ok_or(damaged("it is of another kind or form"))
    }
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Sealed => b's',
            Self::Key => b'k',
        }
    }
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Blob {
        Blob {
            kind: Kind::Key,
            pcrs: 0x81,
            parent: [7; NAME_BYTES],
            public: vec![1; 90],
            private: vec![2; 126],
        }
    }

    #[test]
    fn a_blob_is_read_as_it_was_written_and_by_its_kind_only() {
        let bytes = example().to_bytes();
        assert_eq!(Blob::from_bytes(&bytes, Kind::Key), Ok(example()));
        assert!(matches!(Blob::from_bytes(&bytes, Kind::Sealed), Err(HardwareError::Damaged(_))));
    }

    #[test]
    fn a_changed_bit_a_cut_and_a_byte_more_are_damage() {
        let bytes = example().to_bytes();
        let check = |bytes: &[u8]| {
            assert!(matches!(Blob::from_bytes(bytes, Kind::Key), Err(HardwareError::Damaged(_))));
        };
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            check(&changed);
        }
        for cut in 0..bytes.len() {
            check(&bytes[..cut]);
        }
        check(&[&bytes[..], &[0]].concat());
    }

    /// With a digest that fits, as somebody writes who wants to.
    #[test]
    fn lengths_that_lie_are_damage() {
        let honest = example().to_bytes();
        let content = &honest[..honest.len() - DIGEST_BYTES];
        let public_at = MAGIC.len() + 2 + 4 + NAME_BYTES;
        for length in [0, 1, 89, 91, 218, 219, 220, u16::MAX] {
            let mut content = content.to_vec();
            content[public_at..public_at + 2].copy_from_slice(&u16::to_be_bytes(length));
            let sum = digest(&SHA256, &content);
            content.extend_from_slice(sum.as_ref());
            let read = Blob::from_bytes(&content, Kind::Key);
            assert!(matches!(read, Err(HardwareError::Damaged(_))), "{length}: {read:?}");
        }
    }
}
