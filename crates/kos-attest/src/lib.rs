//! Attestation: whether what a TPM 2.0 is said to have said was said by a TPM, by which one, and what follows from it.
//!
//! The verifier of both the enrolment of a device and of later questions to it. Bytes, moments and random bytes come in as
//! arguments, verdicts go out; it has no IO, no clock, no randomness, and knows no TPM library.
//!
//! Shape: [`Challenge::make`] for an [`EndorsementKey`] and an [`AttestationKey`] from a stranger; its answer makes an
//! [`ActivatedEk`], which alone turns what the attestation key signed into a [`CertifiedKey`] or a [`VerifiedQuote`].
//! [`vouch`] says who stands behind an endorsement key. [`Evidence`] is what it comes to.
//!
//! Invariants: a verdict can be built by the check that it stands for and by nothing else. Every structure is read whole;
//! what is signed is what was read, byte for byte.
//!
//! Errors: [`AttestError`], always the fault of the device or of whoever stands between.
//!
//! What it does not do: read the logs of what was measured; fetch revocation lists of makers; RSA endorsement keys.
//!
//! Source: `docs/spec/attestation.md`; TPM 2.0 Library, parts 1 and 2; TCG EK Credential Profile 2.5; vectors in
//! `tests/vectors/attestation`; fuzz target `attestation`.

mod attest;
mod certificate;
mod credential;
mod evidence;
mod fault;
mod kdf;
mod pcrs;
mod public;
mod reader;
mod signature;

pub use attest::Clock;
pub use certificate::{ChainFault, EkRoots, Maker, VouchedEk, vouch};
pub use credential::{ActivatedEk, Binding, CertifiedKey, Challenge, Quoted, Signed, VerifiedQuote};
pub use evidence::{Evidence, GoldenSet, Trust};
pub use fault::AttestError;
pub use pcrs::{Pcrs, Values};
pub use public::{AttestationKey, EndorsementKey, PUBLIC_BYTES_MAX};
