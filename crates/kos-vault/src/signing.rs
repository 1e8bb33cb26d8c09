//! Signing with a private key that stays in the vault.
//!
//! Ed25519 is deterministic. The nonce of ECDSA is drawn by aws-lc itself, which takes none from outside.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _,
    },
};
use kos_base::{KeyAlgorithm, PublicKey, key::SignatureForm};

use crate::VaultError;

/// A key of one of the two algorithms, with both ways in which ECDSA writes a signature.
pub(crate) enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    P256 { der: EcdsaKeyPair, fixed: EcdsaKeyPair },
}

impl PrivateKey {
    /// Reads PKCS#8, version 1 or 2.
    pub(crate) fn read(pkcs8: &[u8]) -> Option<Self> {
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8) {
            return Some(Self::Ed25519(key));
        }
        let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).ok()?;
        let fixed = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        Some(Self::P256 { der, fixed })
    }

    pub(crate) fn public(&self) -> Result<PublicKey, VaultError> {
        let (algorithm, raw) = match self {
            Self::Ed25519(key) => (KeyAlgorithm::Ed25519, key.public_key().as_ref()),
            Self::P256 { der, .. } => (KeyAlgorithm::P256, der.public_key().as_ref()),
        };
        PublicKey::from_raw(algorithm, raw).map_err(|_| VaultError::Fault)
    }

    pub(crate) fn sign(&self, form: SignatureForm, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        let signature = match (self, form) {
            (Self::Ed25519(key), _) => key.try_sign(message),
            (Self::P256 { der, .. }, SignatureForm::Der) => der.sign_digest(&digest(&SHA256, message)),
            (Self::P256 { fixed, .. }, SignatureForm::Fixed) => fixed.sign_digest(&digest(&SHA256, message)),
        };
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| VaultError::Fault)
    }
}
