//! What a vault publishes of a share: enough to know the share by, and nothing of use to anybody who has too few.
//!
//! Source: `docs/spec/recovery.md` RCV-17 to RCV-20 and the argument below them.

use core::fmt;

use data_encoding::HEXLOWER;
use kos_base::digest::{Sha256, sha256_parts};

use crate::Share;

/// The hash of a share's words. Public.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Commitment(Sha256);

impl Commitment {
    const DOMAIN: &str = "kos recovery share v1";

    /// That of `share`.
    pub fn of(share: &Share) -> Self {
        Self(sha256_parts(Self::DOMAIN, [share.to_words().expose().as_bytes()]))
    }

    /// One that a vault kept.
    pub const fn from_bytes(bytes: Sha256) -> Self {
        Self(bytes)
    }

    /// What a vault keeps.
    pub const fn as_bytes(&self) -> &Sha256 {
        &self.0
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}
