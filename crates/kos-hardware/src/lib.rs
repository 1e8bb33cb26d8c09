//! Keys in a TPM 2.0 or a PKCS#11 token: made inside, used, never taken out.
//!
//! - [`tpm`] seals 32 bytes to a TPM, makes keys in it and counts in it what cannot be counted back;
//! - [`token`] makes and uses keys in a token, through the library of its maker, loaded at run time.
//!
//! What is not here: which key is kept where, and when it is made (the programs' business); any file but the device of a
//! TPM; attestation of a TPM to somebody else.
//!
//! Invariants: nothing here holds the private half of a key. What a TPM answers is bounded, checked and, where it decides
//! anything, authenticated. Everything that was loaded into a TPM is flushed, on every way out. A PIN is tried once.
//!
//! All of it blocks: milliseconds in an emulator, up to seconds in real hardware.
//!
//! Source: `docs/spec/hardware.md`.

mod refusal;
pub mod token;
pub mod tpm;

pub use self::refusal::HardwareError;
