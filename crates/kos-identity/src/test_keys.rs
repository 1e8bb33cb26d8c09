//! Private keys for tests: from a seed, so that what they certify is the same in every run.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _,
    },
};
use kos_base::{KeyAlgorithm, PublicKey};

/// A private key whose owner is the test.
pub(crate) struct TestKey {
    public: PublicKey,
    private: Private,
}

enum Private {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl TestKey {
    pub(crate) fn new(algorithm: KeyAlgorithm, seed: u8) -> Self {
        let (private, raw) = match algorithm {
            KeyAlgorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
                let raw = pair.public_key().as_ref().to_vec();
                (Private::Ed25519(pair), raw)
            }
            // RFC 5915: ECPrivateKey with the scalar and the curve; the public point follows from them.
            KeyAlgorithm::P256 => {
                let der = [
                    &[0x30, 0x31, 2, 1, 1, 4, 32][..],
                    &[seed; 32],
                    b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
                ];
                let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &der.concat())
                    .unwrap();
                let raw = pair.public_key().as_ref().to_vec();
                (Private::Ecdsa(pair), raw)
            }
            KeyAlgorithm::P384 => {
                let der =
                    [&[0x30, 0x3e, 2, 1, 1, 4, 48][..], &[seed; 48], b"\xa0\x07\x06\x05\x2b\x81\x04\x00\x22"];
                let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, &der.concat())
                    .unwrap();
                let raw = pair.public_key().as_ref().to_vec();
                (Private::Ecdsa(pair), raw)
            }
        };
        Self { public: PublicKey::from_raw(algorithm, &raw).unwrap(), private }
    }

    pub(crate) fn one_of_each() -> [Self; 3] {
        [KeyAlgorithm::Ed25519, KeyAlgorithm::P256, KeyAlgorithm::P384]
            .map(|algorithm| Self::new(algorithm, 7))
    }

    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs as X.509 wants it.
    #[expect(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.private {
            Private::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Private::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
        }
    }
}

impl rcgen::PublicKeyData for TestKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.raw()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.public.algorithm() {
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            KeyAlgorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

/// So that the second certificate writer can sign what ours never would.
impl rcgen::SigningKey for TestKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, message))
    }
}
