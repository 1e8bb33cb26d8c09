//! Which PCRs, and their values.

use kos_base::digest::{Sha256, sha256};

use crate::AttestError;

/// PCRs of a TPM of the PC client profile.
pub(crate) const PCRS: u32 = 24;
const VALUE_BYTES: usize = 32;

/// A set of PCRs of the SHA-256 bank: bit n is PCR n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcrs(u32);

impl Pcrs {
    /// What a device is asked for unless somebody says otherwise: firmware, what it loads, the boot manager, and the state of
    /// secure boot. Configuration and what the system measures itself (1, 3, 5, 6, 8 and above) change by design.
    pub const DEFAULT: Self = Self(0b1001_0101);

    /// From bits; nothing if one of them is of no PCR.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits >> PCRS == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The numbers, from the lowest.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..PCRS).filter(move |number| self.0 >> number & 1 == 1)
    }
}

/// Values of PCRs, from the lowest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    pcrs: Pcrs,
    bytes: Vec<u8>,
}

impl Values {
    /// Takes one value for each PCR, one after the other.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub fn new(pcrs: Pcrs, bytes: Vec<u8>) -> Result<Self, AttestError> {
        if bytes.len() == pcrs.numbers().count() * VALUE_BYTES {
            Ok(Self { pcrs, bytes })
        } else {
            Err(AttestError::Values)
        }
    }

    /// Which PCRs.
    pub const fn pcrs(&self) -> Pcrs {
        self.pcrs
    }

    /// One after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a TPM quotes of them.
    pub fn digest(&self) -> Sha256 {
        sha256(&self.bytes)
    }

    /// Each with its number.
    pub fn each(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.pcrs.numbers().zip(self.bytes.chunks_exact(VALUE_BYTES))
    }

    /// Whether any is other than what all are when a TPM is switched on. A good start of which nothing was measured is one that
    /// every machine fits which measures nothing.
    pub fn is_measured(&self) -> bool {
        self.each().any(|(_, value)| [0, 0xff].iter().all(|unset| value.iter().any(|byte| byte != unset)))
    }

    /// The numbers of those that `other` has with another value, or not at all.
    pub fn differing(&self, other: &Self) -> Vec<u32> {
        let differs =
            |(number, value): &(u32, &[u8])| !other.each().any(|(n, v)| n == *number && v == *value);
        self.each().filter(differs).map(|(number, _)| number).collect()
    }
}
