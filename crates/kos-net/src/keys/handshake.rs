//! Our private keys as TLS wants them.

use std::sync::Arc;

use kos_base::{KeyAlgorithm, key::SignatureForm};
use kos_identity::certificate::identity_certificate;
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
    sign::{CertifiedKey, Signer, SigningKey as TlsSigningKey},
};

use super::{KeyError, SigningKey};
use crate::tls::verifier;

/// `chain` (own certificate first) with its private key, as TLS presents them.
pub fn certified(chain: Vec<CertificateDer<'static>>, key: Arc<SigningKey>) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey::new(chain, Arc::new(HandshakeKey(key))))
}

/// The certificate with which a device shows its identity key before anybody has certified it. It says nothing but the
/// key; whoever receives it must not believe anything else in it.
///
/// # Errors
/// When the provider cannot sign.
pub fn self_signed(key: &SigningKey) -> Result<CertificateDer<'static>, KeyError> {
    let unsigned = identity_certificate(key.public()).map_err(|_| KeyError::Provider)?;
    let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed())?;
    let certificate = unsigned.finish(&signature).map_err(|_| KeyError::Provider)?;
    Ok(CertificateDer::from(certificate.der().to_vec()))
}

#[derive(Clone, Debug)]
struct HandshakeKey(Arc<SigningKey>);

impl HandshakeKey {
    fn scheme(&self) -> SignatureScheme {
        verifier::scheme(self.0.public().algorithm())
    }
}

impl TlsSigningKey for HandshakeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer: Box<dyn Signer> = Box::new(self.clone());
        offered.contains(&self.scheme()).then_some(signer)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public().spki_der().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.public().algorithm() {
            KeyAlgorithm::Ed25519 => SignatureAlgorithm::ED25519,
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => SignatureAlgorithm::ECDSA,
        }
    }
}

impl Signer for HandshakeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(SignatureForm::Der, message).map_err(|e| Error::General(e.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        Self::scheme(self)
    }
}

#[cfg(test)]
mod tests {
    use kos_identity::certificate::presented_key;

    use super::*;

    #[test]
    fn a_self_signed_certificate_shows_the_key() {
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256, KeyAlgorithm::P384] {
            let key = SigningKey::generate(algorithm).unwrap();
            assert_eq!(presented_key(&self_signed(&key).unwrap()).as_ref(), Ok(key.public()));
        }
    }
}
