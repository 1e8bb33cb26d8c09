//! HKDF with SHA-256 (RFC 5869): one secret in, secrets for one purpose each out.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use kos_base::Secret;
use zeroize::Zeroize as _;

/// Length of what is expanded, in bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A pseudo-random key that others are expanded from.
pub(crate) struct Root(Prk);

/// The cryptographic library failed to derive a key. It has no reason to; what needed the key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key could not be derived")]
pub struct DerivationError;

impl Root {
    /// HKDF-Extract.
    pub(crate) fn extract(salt: &[u8], secret: &Secret<32>) -> Self {
        Self(Salt::new(HKDF_SHA256, salt).extract(secret.expose()))
    }

    /// Takes a secret that HKDF made as the key of further expansions.
    pub(crate) fn from_secret(secret: &Secret<32>) -> Self {
        Self(Prk::new_less_safe(HKDF_SHA256, secret.expose()))
    }

    /// HKDF-Expand to `N` bytes.
    pub(crate) fn expand<const N: usize>(&self, info: &[&[u8]]) -> Result<Secret<N>, DerivationError> {
        let mut out = [0; N];
        let filled = self.0.expand(info, Length(N)).and_then(|okm| okm.fill(&mut out));
        let secret = Secret::new(out);
        out.zeroize();
        filled.map(|()| secret).map_err(|_| DerivationError)
    }
}
