//! X25519 agreement keys, and HPKE in base mode for payloads that only one recipient may read.
//!
//! Shape: enc is 32 bytes, the ciphertext is 16 bytes longer than the plaintext. One message per sealed object, so
//! there is no sequence number to manage.
//!
//! What it does not do: authenticate the sender. KLP signs around or inside what is sealed here.
//!
//! Errors: in the build with the FIPS module everything here is [`KeyError::NotApproved`]; see [`kos_base::approved`].
//!
//! Source: RFC 9180 with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305; RFC 7748; `docs/spec/klp.md`.

use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use kos_base::{
    AgreementKey, Secret,
    approved::{Algorithm, Mode},
};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305 as SUITE,
    hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey},
};
use zeroize::Zeroizing;

use super::KeyError;
use crate::entropy;

/// The private half of an X25519 key.
pub struct AgreementSecret {
    secret: Secret<32>,
    public: AgreementKey,
}

/// What [`seal`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkeSealed {
    /// The sender's one-time public key (`enc` of RFC 9180).
    pub enc: [u8; 32],
    /// Ciphertext and tag, 16 bytes longer than the plaintext.
    pub ciphertext: Vec<u8>,
}

impl AgreementSecret {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_secret(entropy::secret().map_err(|_| KeyError::Provider)?)
    }

    /// Takes the 32 bytes over, as read from a file.
    ///
    /// # Errors
    /// When the provider fails; every 32 bytes are an X25519 key.
    pub fn from_secret(secret: Secret<32>) -> Result<Self, KeyError> {
        Mode::BUILT.admit(Algorithm::X25519)?;
        let key = PrivateKey::from_private_key(&X25519, secret.expose()).map_err(|_| KeyError::Rejected)?;
        let public = key.compute_public_key().map_err(|_| KeyError::Provider)?;
        let public = <[u8; 32]>::try_from(public.as_ref()).map_err(|_| KeyError::Provider)?;
        Ok(Self { secret, public: AgreementKey(public) })
    }

    /// The 32 bytes, for the file that keeps them.
    pub const fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// The public half.
    pub const fn public(&self) -> AgreementKey {
        self.public
    }

    /// The raw shared secret with `peer`. Derive keys from it, never use it as one.
    ///
    /// # Errors
    /// When `peer` is a point of small order, which would make the secret known to everybody.
    pub fn agree(&self, peer: AgreementKey) -> Result<Secret<32>, KeyError> {
        let own =
            PrivateKey::from_private_key(&X25519, self.secret.expose()).map_err(|_| KeyError::Rejected)?;
        agree(&own, UnparsedPublicKey::new(&X25519, peer.0), KeyError::Agreement, |shared| {
            let shared = <[u8; 32]>::try_from(shared).map(Zeroizing::new);
            shared.map(|bytes| Secret::new(*bytes)).map_err(|_| KeyError::Agreement)
        })
    }

    /// Opens what was sealed to this key for the same `info` and `aad`.
    ///
    /// # Errors
    /// When it was sealed for another key, purpose or context, or was changed.
    pub fn open(
        &self,
        enc: &[u8; 32],
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Mode::BUILT.admit(Algorithm::HpkeX25519)?;
        let enc = EncapsulatedSecret(enc.to_vec());
        let own = HpkePrivateKey::from(self.secret.expose().to_vec());
        SUITE.open(&enc, info, aad, ciphertext, &own).map(Zeroizing::new).map_err(|_| KeyError::Open)
    }
}

impl fmt::Debug for AgreementSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgreementSecret(..)")
    }
}

/// Seals `plaintext` to `recipient`. `info` names the purpose, `aad` is what travels beside it in the open.
///
/// # Errors
/// When `recipient` is a point of small order or there is no randomness.
pub fn seal(
    recipient: AgreementKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<HpkeSealed, KeyError> {
    Mode::BUILT.admit(Algorithm::HpkeX25519)?;
    let recipient = HpkePublicKey(recipient.0.to_vec());
    let (enc, ciphertext) = SUITE.seal(info, aad, plaintext, &recipient).map_err(|_| KeyError::Agreement)?;
    let enc = <[u8; 32]>::try_from(enc.0).map_err(|_| KeyError::Provider)?;
    Ok(HpkeSealed { enc, ciphertext })
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn hex<const N: usize>(s: &str) -> [u8; N] {
        HEXLOWER.decode(s.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 9180, A.2.1, sequence number 0.
    #[test]
    fn the_published_vector_opens() {
        let key = AgreementSecret::from_secret(Secret::new(hex(
            "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
        )))
        .unwrap();
        let enc = hex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
        let ciphertext: [u8; 45] =
            hex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28");
        let opened = key.open(&enc, b"Ode on a Grecian Urn", b"Count-0", &ciphertext).unwrap();
        assert_eq!(opened.as_slice(), b"Beauty is truth, truth beauty");
    }

    #[test]
    fn sealed_bytes_open_only_for_their_recipient_purpose_and_context() {
        let key = AgreementSecret::generate().unwrap();
        let HpkeSealed { enc, ciphertext } = seal(key.public(), b"info", b"aad", b"secret").unwrap();
        assert_eq!(key.open(&enc, b"info", b"aad", &ciphertext).unwrap().as_slice(), b"secret");

        let mut changed = ciphertext.clone();
        changed[0] ^= 1;
        let other = AgreementSecret::generate().unwrap();
        for (what, opened) in [
            ("recipient", other.open(&enc, b"info", b"aad", &ciphertext)),
            ("info", key.open(&enc, b"infp", b"aad", &ciphertext)),
            ("aad", key.open(&enc, b"info", b"aae", &ciphertext)),
            ("ciphertext", key.open(&enc, b"info", b"aad", &changed)),
            ("empty", key.open(&enc, b"info", b"aad", b"")),
            ("enc", key.open(&[0; 32], b"info", b"aad", &ciphertext)),
        ] {
            assert_eq!(opened.unwrap_err(), KeyError::Open, "{what}");
        }
    }

    #[test]
    fn both_sides_agree_and_a_point_of_small_order_is_refused() {
        let (a, b) = (AgreementSecret::generate().unwrap(), AgreementSecret::generate().unwrap());
        assert_eq!(a.agree(b.public()).unwrap(), b.agree(a.public()).unwrap());
        let small = AgreementKey([0; 32]);
        assert_eq!(a.agree(small).unwrap_err(), KeyError::Agreement);
        assert_eq!(seal(small, b"", b"", b"x").unwrap_err(), KeyError::Agreement);
        assert_eq!(format!("{a:?}"), "AgreementSecret(..)");
    }
}
