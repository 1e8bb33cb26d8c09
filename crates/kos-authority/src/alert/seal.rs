//! Secrets of guardians, out of a key that never leaves the vault of the machine.
//!
//! Shape: HKDF-SHA-256 with salt `kos guardian v1` over the entry `store` of that vault; info: what the secret is for, the name
//! of the guardian and its salt of 16 bytes, each preceded by its length. So a secret that we make is kept nowhere but in that
//! vault, and a backup, which has the vault, has it too.
//!
//! Source: ALR-31.

use aws_lc_rs::hkdf;
use kos_base::Secret;

use super::GuardianName;

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

/// The secret of this guardian for `purpose`.
pub(super) fn derive(
    key: &Secret<32>,
    purpose: &str,
    name: &GuardianName,
    salt: [u8; 16],
) -> Result<Secret<32>, aws_lc_rs::error::Unspecified> {
    let lengths =
        [purpose.len(), name.as_ref().len()].map(|n| u64::try_from(n).unwrap_or(u64::MAX).to_be_bytes());
    let [purpose_length, name_length] = &lengths;
    let info: [&[u8]; 5] = [purpose_length, purpose.as_bytes(), name_length, name.as_ref().as_bytes(), &salt];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kos guardian v1").extract(key.expose());
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    extracted.expand(&info, Length)?.fill(bytes.as_mut_slice())?;
    Ok(Secret::new(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guardian_purpose_and_salt_has_a_secret_of_its_own() {
        let key = Secret::new([7; 32]);
        let secret = |purpose, name: &str, salt| {
            *derive(&key, purpose, &name.parse().unwrap(), [salt; 16]).unwrap().expose()
        };
        let all = [secret("a", "b", 1), secret("a", "b", 2), secret("a", "c", 1), secret("ab", "b", 1)];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(secret("a", "b", 1), all[0]);
    }
}
