//! What an attestation comes to.
//!
//! Source: `docs/spec/attestation.md` ATT-17 to ATT-20.

use kos_base::EvidenceTier;

use crate::{ActivatedEk, CertifiedKey, Values, VerifiedQuote, certificate::VouchedEk};

/// Values of PCRs that an operator knows to be those of a good start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldenSet {
    /// What people call it.
    pub name: String,
    /// The values.
    pub values: Values,
}

impl GoldenSet {
    /// Whether a quote has all of them, with these values. A set of nothing fits nothing.
    pub fn fits(&self, quote: &VerifiedQuote) -> bool {
        self.values.pcrs().bits() != 0 && self.values.differing(quote.values()).is_empty()
    }
}

/// Who stands behind an endorsement key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody.
    Unknown,
    /// An operator, who wrote it down.
    Listed,
    /// Its maker.
    Vouched(VouchedEk),
}

/// Everything that was verified of one device. Its parts can be built by nothing but their checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    activated: ActivatedEk,
    operational: CertifiedKey,
    quote: VerifiedQuote,
    trust: Trust,
    golden: Option<String>,
}

impl Evidence {
    /// Puts the verdicts together. A certificate for another endorsement key vouches for nothing.
    pub fn new(
        activated: ActivatedEk,
        operational: CertifiedKey,
        quote: VerifiedQuote,
        trust: Trust,
        sets: &[GoldenSet],
    ) -> Self {
        let trust = match trust {
            Trust::Vouched(vouched) if vouched.ek() != activated.ek().id() => Trust::Unknown,
            trust => trust,
        };
        let golden = sets.iter().find(|set| set.fits(&quote)).map(|set| set.name.clone());
        Self { activated, operational, quote, trust, golden }
    }

    /// The tier (ATT-17).
    pub const fn tier(&self) -> EvidenceTier {
        match (&self.trust, &self.golden) {
            (Trust::Unknown, _) => EvidenceTier::KeyInTpm,
            (Trust::Listed | Trust::Vouched(_), Some(_)) => EvidenceTier::QuoteVerified,
            (Trust::Vouched(_), None) => EvidenceTier::EkChainVerified,
            (Trust::Listed, None) => EvidenceTier::EkActivated,
        }
    }

    /// The keys of the TPM.
    pub const fn activated(&self) -> &ActivatedEk {
        &self.activated
    }

    /// The key that is to be certified.
    pub const fn operational(&self) -> &CertifiedKey {
        &self.operational
    }

    /// The quote.
    pub const fn quote(&self) -> &VerifiedQuote {
        &self.quote
    }

    /// Who stands behind the endorsement key.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The golden set that the quote fits.
    pub fn golden(&self) -> Option<&str> {
        self.golden.as_deref()
    }
}
