//! Random bytes. The one file of kOS that draws them; key generation draws its own inside aws-lc.

use kos_base::{Code, Secret, code};

/// The operating system gave no random bytes. Nothing that needs a fresh secret may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoEntropy;

impl NoEntropy {
    /// The stable code.
    pub const fn code(self) -> Code {
        code::config::INTERNAL
    }
}

/// Fills `bytes` from the provider's generator, which is seeded by the kernel.
///
/// # Errors
/// When the generator fails. Stop what needed the bytes; do not use `bytes`.
pub fn fill(bytes: &mut [u8]) -> Result<(), NoEntropy> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoEntropy)
}

/// `N` random bytes that are public, such as a nonce or the random part of a UUID.
///
/// # Errors
/// As [`fill`].
pub fn array<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// `N` random bytes that nobody may learn.
///
/// # Errors
/// As [`fill`].
pub fn secret<const N: usize>() -> Result<Secret<N>, NoEntropy> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    fill(bytes.as_mut_slice())?;
    Ok(Secret::new(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(array::<32>(), array::<32>());
        assert_ne!(secret::<32>(), secret::<32>());
    }
}
