//! Private keys: the shell's answer to the core's requests to make a key and to sign.
//!
//! What is not here: where keys are kept (the programs' business), and how a TPM or token is spoken to (`kos-hardware`).
//!
//! Invariants: the algorithm is fixed when the key is made; the bytes leave only as PKCS#8 in a buffer that wipes
//! itself; nothing here can be printed, cloned or serialised.
//!
//! Errors: a key that is refused was damaged or is not ours, and is never replaced silently.
//!
//! Source: RFC 5958 (PKCS#8), RFC 8410 (Ed25519), RFC 5915 (EC); `docs/spec/identity.md`.

mod agreement;
mod elsewhere;
mod handshake;

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};
use kos_base::{Code, KeyAlgorithm, PublicKey, Secret, approved::NotApproved, code, key::SignatureForm};
use zeroize::Zeroizing;

pub use self::{
    agreement::{AgreementSecret, HpkeSealed, seal},
    elsewhere::HardwareKey,
    handshake::{certified, self_signed},
};

/// What can go wrong with a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the PKCS#8 of a key that kOS uses, or one whose halves do not fit.
    #[error("not the PKCS#8 of an Ed25519, P-256 or P-384 key")]
    Rejected,
    /// The peer's agreement key leads to no secret (a point of small order). Refuse the peer.
    #[error("the peer's agreement key is not usable")]
    Agreement,
    /// Sealed for another key or purpose, or changed on the way. Treat it as never received.
    #[error("the sealed bytes do not open")]
    Open,
    /// The provider failed; it does so only without memory or randomness.
    #[error("the cryptographic provider failed")]
    Provider,
    /// The key is in a TPM or token, and cannot be written out.
    #[error("the key never leaves its TPM or token")]
    Elsewhere,
    /// The TPM or token did not sign, for the reason that the code tells. Its log line says more.
    #[error("{}", .0.title())]
    Hardware(Code),
    /// This build has the FIPS module, which does not approve of that algorithm.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    /// The TPM or token signed with another key, or wrongly. The signature was given to nobody.
    #[error("the signature of the TPM or token does not verify")]
    WrongSignature,
}

impl KeyError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Rejected => code::config::FILE_DAMAGED,
            Self::Agreement => code::klp::KLP_CHANNEL,
            Self::Open => code::klp::KLP_DECRYPT,
            Self::Provider => code::config::INTERNAL,
            Self::NotApproved(refusal) => refusal.code(),
            Self::Elsewhere => code::hardware::HARDWARE_ELSEWHERE,
            Self::Hardware(code) => code,
            Self::WrongSignature => code::hardware::HARDWARE_ANSWER,
        }
    }
}

/// A private key that signs. Printed only as its algorithm and public key id.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    /// The provider binds a key to one way of writing signatures, so there is one object for each.
    Ecdsa {
        der: EcdsaKeyPair,
        fixed: EcdsaKeyPair,
    },
    /// In a TPM or token.
    Elsewhere(Arc<dyn HardwareKey>),
}

/// The two bindings of an ECDSA curve, for [`SignatureForm::Der`] and [`SignatureForm::Fixed`].
struct Curve {
    der: &'static EcdsaSigningAlgorithm,
    fixed: &'static EcdsaSigningAlgorithm,
}

const P256: Curve = Curve { der: &ECDSA_P256_SHA256_ASN1_SIGNING, fixed: &ECDSA_P256_SHA256_FIXED_SIGNING };
const P384: Curve = Curve { der: &ECDSA_P384_SHA384_ASN1_SIGNING, fixed: &ECDSA_P384_SHA384_FIXED_SIGNING };

impl SigningKey {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// When the provider has no randomness.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let fresh = |curve: Curve| {
            let key = EcdsaKeyPair::generate(curve.der).map_err(|_| KeyError::Provider)?;
            let pkcs8 = key.to_pkcs8v1().map_err(|_| KeyError::Provider)?;
            Self::ecdsa(algorithm, &curve, pkcs8.as_ref())
        };
        match algorithm {
            KeyAlgorithm::Ed25519 => {
                Self::ed25519(Ed25519KeyPair::generate().map_err(|_| KeyError::Provider)?)
            }
            KeyAlgorithm::P256 => fresh(P256),
            KeyAlgorithm::P384 => fresh(P384),
        }
    }

    /// Reads an unencrypted PKCS#8 key (version 1 or 2).
    ///
    /// # Errors
    /// When it is damaged or of an algorithm that kOS does not use.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        match Ed25519KeyPair::from_pkcs8(pkcs8) {
            Ok(pair) => Self::ed25519(pair),
            Err(_) => Self::ecdsa(KeyAlgorithm::P256, &P256, pkcs8)
                .or_else(|_| Self::ecdsa(KeyAlgorithm::P384, &P384, pkcs8)),
        }
    }

    /// The Ed25519 key of a seed, as a ticket's secret yields it.
    ///
    /// # Errors
    /// When the provider fails.
    pub fn from_ed25519_seed(seed: &Secret<32>) -> Result<Self, KeyError> {
        Self::ed25519(Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| KeyError::Provider)?)
    }

    fn ed25519(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref());
        Ok(Self { public: public.map_err(|_| KeyError::Rejected)?, pair: Pair::Ed25519(pair) })
    }

    fn ecdsa(algorithm: KeyAlgorithm, curve: &Curve, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let der = EcdsaKeyPair::from_pkcs8(curve.der, pkcs8).map_err(|_| KeyError::Rejected)?;
        let fixed = EcdsaKeyPair::from_pkcs8(curve.fixed, pkcs8).map_err(|_| KeyError::Rejected)?;
        let public = PublicKey::from_raw(algorithm, der.public_key().as_ref());
        Ok(Self { public: public.map_err(|_| KeyError::Rejected)?, pair: Pair::Ecdsa { der, fixed } })
    }

    /// A key whose private half is in a TPM or token. Every signature of it is verified before it is given out.
    pub fn elsewhere(public: PublicKey, key: Arc<dyn HardwareKey>) -> Self {
        Self { pair: Pair::Elsewhere(key), public }
    }

    /// The key as PKCS#8 version 1, which every other tool reads.
    ///
    /// # Errors
    /// When the key is in a TPM or token, or the provider fails.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = match &self.pair {
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
            Pair::Ecdsa { der, .. } => der.to_pkcs8v1(),
            Pair::Elsewhere(_) => return Err(KeyError::Elsewhere),
        };
        Ok(Zeroizing::new(document.map_err(|_| KeyError::Provider)?.as_ref().to_vec()))
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message` as its place demands: certificates and TLS take DER, COSE takes fixed length. Ed25519 writes
    /// both alike.
    ///
    /// # Errors
    /// When the provider fails, or the TPM or token that has the key.
    ///
    /// # Cost
    /// A key in a TPM or token blocks the thread for as long as that takes: milliseconds to seconds.
    pub fn sign(&self, form: SignatureForm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        let signature = match (&self.pair, form) {
            (Pair::Ed25519(pair), _) => pair.try_sign(message),
            (Pair::Ecdsa { der, .. }, SignatureForm::Der) => der.sign(&random, message),
            (Pair::Ecdsa { fixed, .. }, SignatureForm::Fixed) => fixed.sign(&random, message),
            (Pair::Elsewhere(key), form) => return elsewhere::sign(&**key, &self.public, form, message),
        };
        Ok(signature.map_err(|_| KeyError::Provider)?.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {}..)", self.public.algorithm(), self.public.id().short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHMS: [KeyAlgorithm; 3] = [KeyAlgorithm::Ed25519, KeyAlgorithm::P256, KeyAlgorithm::P384];

    #[test]
    fn a_key_survives_its_file_and_signs_in_both_forms() {
        for algorithm in ALGORITHMS {
            let made = SigningKey::generate(algorithm).unwrap();
            let read = SigningKey::from_pkcs8(&made.to_pkcs8().unwrap()).unwrap();
            assert_eq!(made.public(), read.public());
            assert_eq!(read.public().algorithm(), algorithm);
            for form in [SignatureForm::Der, SignatureForm::Fixed] {
                let signature = read.sign(form, b"message").unwrap();
                assert_eq!(
                    made.public().verify(form, b"message", &signature),
                    Ok(()),
                    "{algorithm} {form:?}"
                );
                assert!(made.public().verify(form, b"messagf", &signature).is_err(), "{algorithm} {form:?}");
            }
        }
    }

    #[test]
    fn the_seed_of_rfc_8032_gives_its_public_key() {
        let hex = |s: &str| data_encoding::HEXLOWER.decode(s.as_bytes()).unwrap();
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_ed25519_seed(&Secret::new(seed.try_into().unwrap())).unwrap();
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(key.public().raw(), public);
    }

    #[test]
    fn a_damaged_key_file_is_refused_at_every_length_and_debug_shows_no_secret() {
        for algorithm in ALGORITHMS {
            let key = SigningKey::generate(algorithm).unwrap();
            let pkcs8 = key.to_pkcs8().unwrap();
            for cut in 0..pkcs8.len() {
                assert_eq!(SigningKey::from_pkcs8(&pkcs8[..cut]).unwrap_err(), KeyError::Rejected, "{cut}");
            }
            assert!(format!("{key:?}").len() < 48, "{key:?}");
        }
    }
}
