//! What a second verifier goes by: endorsement keys, roots of makers, and what good starts look like.
//!
//! Source: `docs/spec/second-verifier.md` SECV-8 to SECV-10.

use kos_attest::{EkRoots, GoldenSet, Pcrs, Values};
use kos_base::{Code, KeyId, code::second as codes};

/// Most golden sets: each is compared with each quote.
pub const GOLDEN_MAX: usize = 256;
/// Most endorsement keys that are listed by hand. A larger fleet names the roots of its makers.
pub const EKS_MAX: usize = 4096;
/// PCRs of a TPM of the PC client profile.
const PCRS: u32 = 24;

/// What a good start is called, and PCRs of the SHA-256 bank with their values.
pub type Measured = (String, Vec<(u32, [u8; 32])>);

/// Lists of a node's own.
#[derive(Clone, Debug)]
pub struct Lists {
    eks: Vec<KeyId>,
    roots: EkRoots,
    golden: Vec<GoldenSet>,
}

/// Why lists are not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListsFault {
    /// There are more of something than there may be.
    #[error("there are more than {0} {1}")]
    TooMany(usize, &'static str),
    /// A root is no certificate.
    #[error("a root of a maker cannot be read")]
    Root,
    /// Nothing was measured in a golden set: every machine that measures nothing would fit.
    #[error("in the golden set {0} every PCR is as in a TPM that was just switched on")]
    Unmeasured(String),
    /// A golden set names no PCR, one that is not there, or one twice.
    #[error("the golden set {0} does not name each of its PCRs once, from 0 to 23")]
    Pcrs(String),
}

impl ListsFault {
    /// The stable code.
    pub const fn code(&self) -> Code {
        codes::SECOND_LISTS
    }
}

impl Lists {
    /// Puts them together. `roots` are DER.
    ///
    /// # Errors
    /// When any of it cannot be used: a node judges by all of it or not at all.
    pub fn new<'a>(
        eks: Vec<KeyId>,
        roots: impl IntoIterator<Item = &'a [u8]>,
        golden: Vec<Measured>,
    ) -> Result<Self, ListsFault> {
        if eks.len() > EKS_MAX {
            return Err(ListsFault::TooMany(EKS_MAX, "endorsement keys"));
        }
        if golden.len() > GOLDEN_MAX {
            return Err(ListsFault::TooMany(GOLDEN_MAX, "golden sets"));
        }
        let roots = EkRoots::new(roots).map_err(|_| ListsFault::Root)?;
        let golden = golden.into_iter().map(set).collect::<Result<_, _>>()?;
        Ok(Self { eks, roots, golden })
    }

    pub(super) fn names(&self, ek: KeyId) -> bool {
        self.eks.contains(&ek)
    }

    pub(super) const fn roots(&self) -> &EkRoots {
        &self.roots
    }

    pub(super) fn golden(&self) -> &[GoldenSet] {
        &self.golden
    }
}

fn set((name, mut pcrs): Measured) -> Result<GoldenSet, ListsFault> {
    pcrs.sort_unstable_by_key(|(number, _)| *number);
    let bits = pcrs.iter().try_fold(0_u32, |bits, (number, _)| {
        let bit = 1_u32.checked_shl(*number).filter(|bit| *number < PCRS && bits & bit == 0)?;
        Some(bits | bit)
    });
    let values = pcrs.iter().flat_map(|(_, value)| *value).collect();
    let made = bits.filter(|bits| *bits != 0).and_then(Pcrs::from_bits);
    match made.and_then(|pcrs| Values::new(pcrs, values).ok()) {
        Some(values) if !values.is_measured() => Err(ListsFault::Unmeasured(name)),
        Some(values) => Ok(GoldenSet { name, values }),
        None => Err(ListsFault::Pcrs(name)),
    }
}
