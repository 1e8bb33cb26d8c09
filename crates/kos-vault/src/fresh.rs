//! Random bytes that the shell drew, for one operation.
//!
//! An operation needs several random values: salts, nonces, sometimes a key. All are expanded from one draw by HKDF, each
//! under its own label, so that the shell hands in 32 bytes and cannot hand in too few. `Fresh` is consumed; two
//! operations never share one.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use kos_base::Secret;
use zeroize::Zeroize as _;

use crate::VaultError;

const DOMAIN: &[u8] = b"kos vault v1 fresh";

/// 32 bytes of the system's random number generator, never used before.
#[derive(Debug)]
pub struct Fresh(Secret<32>);

impl Fresh {
    /// Takes over what was drawn. Bytes that come twice can give two secrets one key.
    pub const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    pub(crate) fn draws(self) -> Draws {
        Draws(Salt::new(HKDF_SHA256, DOMAIN).extract(self.0.expose()))
    }
}

/// What one operation draws from.
pub(crate) struct Draws(Prk);

impl Draws {
    /// `N` bytes for the one purpose that `label` and `parts` name. `parts` have fixed lengths, or stand last.
    pub(crate) fn draw<const N: usize>(&self, label: &str, parts: &[&[u8]]) -> Result<Secret<N>, VaultError> {
        let info: Vec<&[u8]> = core::iter::once(label.as_bytes()).chain(parts.iter().copied()).collect();
        let mut out = [0; N];
        let filled = self.0.expand(&info, Length(N)).and_then(|okm| okm.fill(&mut out));
        let secret = Secret::new(out);
        out.zeroize();
        filled.map(|()| secret).map_err(|_| VaultError::Fault)
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_by_label_and_by_what_was_drawn() {
        let draws = |byte| Fresh::new(Secret::new([byte; 32])).draws();
        let salt = draws(1).draw::<32>("salt ", &[b"a"]).unwrap();
        assert_eq!(salt, draws(1).draw::<32>("salt ", &[b"a"]).unwrap());
        assert_ne!(salt, draws(1).draw::<32>("salt ", &[b"b"]).unwrap());
        assert_ne!(salt, draws(2).draw::<32>("salt ", &[b"a"]).unwrap());
        assert!(!format!("{:?}", Fresh::new(Secret::new([77; 32]))).contains("77"));
    }
}
