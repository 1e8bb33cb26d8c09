//! Why an attestation is not believed.

use kos_base::{Code, approved::NotApproved, code::attest as codes};

/// What is wrong with what a device showed. Each is a refusal; nothing is believed in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// A structure that no TPM writes in this place: cut, with bytes behind it, or of another kind.
    #[error("{0} is not what a TPM writes")]
    Malformed(&'static str),
    /// A key without the properties that its part in the exchange demands.
    #[error("{0}")]
    Key(&'static str),
    /// The secret of the challenge did not come back for this connection.
    #[error("the endorsement key did not answer the challenge")]
    Activation,
    /// A signature that the attestation key did not make over these bytes.
    #[error("the signature over {0} does not verify")]
    Signature(&'static str),
    /// What was signed is for another connection, request or moment.
    #[error("{0} answers another question")]
    Stale(&'static str),
    /// The certified key is another than the one that is asked about.
    #[error("the {0} key is another than the one that was certified")]
    OtherKey(&'static str),
    /// A quote of other PCRs than those that were asked for.
    #[error("the quote is of other PCRs")]
    OtherPcrs,
    /// The values are not those that were quoted.
    #[error("the PCR values are not those of the quote")]
    Values,
    /// The counters of the TPM stand before those that are known: an older state of it, or a copy.
    #[error("the TPM is in an earlier state than it was in before")]
    WoundBack,
    /// Another endorsement key than the one that the device has shown before.
    #[error("the TPM is another one than before")]
    OtherTpm,
    /// This build has the FIPS module, which does not approve of how secrets go to a TPM.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
}

impl AttestError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Malformed(_) => codes::ATTEST_MALFORMED,
            Self::Key(_) => codes::ATTEST_KEY,
            Self::Activation => codes::ATTEST_ACTIVATION,
            Self::Signature(_) => codes::ATTEST_SIGNATURE,
            Self::Stale(_) => codes::ATTEST_STALE,
            Self::OtherKey(_) => codes::ATTEST_OTHER_KEY,
            Self::OtherPcrs => codes::ATTEST_PCRS,
            Self::Values => codes::ATTEST_VALUES,
            Self::WoundBack => codes::ATTEST_WOUND_BACK,
            Self::OtherTpm => codes::ATTEST_OTHER_TPM,
            Self::NotApproved(refusal) => refusal.code(),
        }
    }
}
