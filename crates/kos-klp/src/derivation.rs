//! HKDF with SHA-256 (RFC 5869): one secret in, secrets for one purpose each out.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use kos_base::Secret;

/// Length of what is expanded, in bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A pseudo-random key that others are expanded from.
pub(crate) struct Root(Prk);

impl Root {
    /// HKDF-Extract.
    pub(crate) fn extract(salt: &[u8], secret: &Secret<32>) -> Self {
        Self(Salt::new(HKDF_SHA256, salt).extract(secret.expose()))
    }

    /// Takes a secret that HKDF made as the key of further expansions.
    pub(crate) fn from_secret(secret: &Secret<32>) -> Self {
        Self(Prk::new_less_safe(HKDF_SHA256, secret.expose()))
    }

    /// HKDF-Expand to `N` bytes, at most 8 160.
    pub(crate) fn expand<const N: usize>(&self, info: &[&[u8]]) -> Secret<N> {
        let mut out = [0; N];
        // It fails only past 255 blocks, which no N of ours reaches; a key of zeros must not come out even then.
        let filled = self.0.expand(info, Length(N)).and_then(|okm| okm.fill(&mut out));
        debug_assert!(filled.is_ok(), "HKDF-Expand to {N} bytes");
        let secret = Secret::new(out);
        out.fill(0);
        secret
    }
}
