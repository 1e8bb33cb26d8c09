//! The file of rules, signed by the log's key with a counter that only rises.
//!
//! Shape: a signed object (ID-14 to ID-16), domain `kos alert rules v1`, typ `application/kos-alert-rules+json`; its payload
//! is canonical JSON (RFC 8785) with the members `counter` and `file`.
//!
//! Invariant: what was not signed by the log's key for this purpose, or would be written differently, is no file of rules.
//! Whether it is the newest, the log says: the last `alert_rules_changed` holds its counter and its digest.
//!
//! Errors: [`SignedError`]; the built-in rules stay in force.
//!
//! Source: ALR-13.

use kos_base::{
    Code, code,
    cose::{self, CoseError, Purpose},
    digest::{Sha256, sha256},
};
use serde::{Deserialize, Serialize};

use super::set::RuleFile;
use crate::LogKey;

/// What the signature of a file of rules is for.
pub const RULES: Purpose = Purpose { domain: "kos alert rules v1", typ: "application/kos-alert-rules+json" };

/// Longest signed file, in bytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// A file of rules and its place in the row of those that were in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NumberedFile {
    /// 1 for the first; the next one has one more.
    pub counter: u64,
    /// The file.
    pub file: RuleFile,
}

/// Why bytes are no signed file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// The log's key did not sign it for this purpose.
    #[error(transparent)]
    Envelope(#[from] CoseError),
    /// What it signed is no file of rules, or would be written differently.
    #[error("not a file of rules in canonical form")]
    Malformed,
    /// It would be too long.
    #[error("a file of rules has at most {BYTES_MAX} bytes")]
    TooLong,
}

impl SignedError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Envelope(_) | Self::Malformed => code::audit::ALERT_RULES_DAMAGED,
            Self::TooLong => code::audit::ALERT_RULES_INVALID,
        }
    }
}

/// A file on its way to the log's key.
#[derive(Debug)]
pub struct UnsignedFile(cose::Unsigned);

impl UnsignedFile {
    /// Prepares `file` to be signed by `key`.
    ///
    /// # Errors
    /// When it is too long.
    pub fn new(file: &NumberedFile, key: &LogKey) -> Result<Self, SignedError> {
        let json = to_json(file)?;
        if json.len() + 512 > BYTES_MAX {
            return Err(SignedError::TooLong);
        }
        Ok(Self(cose::Unsigned::new(RULES, key.public(), json)))
    }

    /// The bytes that the log's key signs.
    pub fn to_be_signed(&self) -> Vec<u8> {
        self.0.to_be_signed()
    }

    /// The signed file.
    pub fn finish(self, signature: [u8; 64]) -> Vec<u8> {
        self.0.finish(signature.to_vec())
    }
}

/// Checks the signature and reads the file.
///
/// # Errors
/// When the log's key did not sign these bytes as a file of rules.
pub fn open(bytes: &[u8], key: &LogKey) -> Result<NumberedFile, SignedError> {
    let json = cose::Sealed::parse(bytes, BYTES_MAX)?.verify(RULES, key.public())?;
    let file: NumberedFile = serde_json::from_slice(&json).map_err(|_| SignedError::Malformed)?;
    if to_json(&file)? == json { Ok(file) } else { Err(SignedError::Malformed) }
}

/// The digest by which the log names a signed file.
pub fn digest(bytes: &[u8]) -> Sha256 {
    sha256(bytes)
}

/// The members of every struct stand in the order of their names, and of maps they do anyway.
fn to_json(file: &NumberedFile) -> Result<Vec<u8>, SignedError> {
    serde_json::to_vec(file).map_err(|_| SignedError::Malformed)
}
