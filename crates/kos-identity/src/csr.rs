//! Certificate requests (PKCS#10): a public key and the proof that the sender holds its private half, and nothing else.
//!
//! The authority decides every field of a certificate, so a request that asks for extensions or carries any other
//! attribute is refused rather than ignored: whoever sends one expects something that will not happen. The subject is
//! not looked at, because ordinary tools insist on writing one.
//!
//! Shape: DER of CertificationRequest, at most the length that the caller gives ([`Request::BYTES_MAX`] or less).
//! Signed under the algorithm of the key that it contains.
//!
//! Errors: [`CsrError`]; the sender makes a new request.
//!
//! Source: RFC 2986; `docs/spec/identity.md` ID-26; fuzz target `certificate`.

use der::{Decode as _, Encode as _, asn1::SetOfVec};
use kos_base::{
    Code, PublicKey, code,
    digest::{Sha256, sha256},
    key::{BadSignature, PublicKeyError},
};
use x509_cert::{name::Name, request::CertReq, request::CertReqInfo, request::Version};

use crate::certificate::{
    SigningError,
    signed::{Signed, ToBeSigned, algorithm},
};

/// A request before its signature.
#[derive(Clone, Debug)]
pub struct Request(ToBeSigned);

/// A request whose sender holds the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRequest {
    public_key: PublicKey,
    digest: Sha256,
}

/// The bytes are not a request that may be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Longer than allowed.
    #[error("certificate request of {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// What came.
        bytes: usize,
        /// What may come.
        bytes_max: usize,
    },
    /// Not DER of PKCS#10.
    #[error("not a certificate request: {0}")]
    Der(#[from] der::Error),
    /// Asks for extensions or carries another attribute.
    #[error("the certificate request carries attributes, and only its key may count")]
    Attributes,
    /// A key that kOS does not use.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// Signed with an algorithm that does not go with its key.
    #[error(
        "the certificate request is signed with another algorithm than its key goes with (P-384 with SHA-384)"
    )]
    Algorithm,
    /// Signed by another key than the one that it asks a certificate for.
    #[error("the certificate request is not signed by its own key")]
    Possession(#[from] BadSignature),
}

impl CsrError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        code::enrolment::CSR_INVALID
    }
}

impl Request {
    /// Longest request that is ever read, in bytes: a P-384 key with a generous subject.
    pub const BYTES_MAX: usize = 1024;

    /// Prepares a request for `key`, to be signed by that key.
    ///
    /// # Errors
    /// When it cannot be written, which is a fault of this program.
    pub fn new(key: &PublicKey) -> Result<Self, SigningError> {
        let content = || {
            let content = CertReqInfo {
                version: Version::V1,
                subject: Name::default(),
                public_key: der::Decode::from_der(key.spki_der())?,
                attributes: SetOfVec::new(),
            };
            ToBeSigned::new(&content, key)
        };
        content().map(Self).map_err(|e| SigningError::Encoding(e.to_string()))
    }

    /// What the key signs; ECDSA answers with a DER signature.
    pub fn to_be_signed(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The DER of the request with its signature.
    ///
    /// # Errors
    /// When the signature does not verify under the key; the key store is faulty.
    pub fn finish(self, signature: &[u8]) -> Result<Vec<u8>, SigningError> {
        self.0.finish(signature)
    }

    /// Reads a request and checks that its sender holds the private key.
    ///
    /// # Errors
    /// When it is longer than `bytes_max`, malformed, carries attributes, or the proof of possession fails.
    pub fn parse(der: &[u8], bytes_max: usize) -> Result<VerifiedRequest, CsrError> {
        if der.len() > bytes_max {
            return Err(CsrError::TooLong { bytes: der.len(), bytes_max });
        }
        let request = CertReq::from_der(der)?;
        if !request.info.attributes.is_empty() {
            return Err(CsrError::Attributes);
        }
        let public_key = PublicKey::from_spki_der(&request.info.public_key.to_der()?)?;
        if request.algorithm != algorithm(public_key.algorithm()) {
            return Err(CsrError::Algorithm);
        }
        Signed::read(der)?.verify(&public_key)?;
        Ok(VerifiedRequest { public_key, digest: sha256(der) })
    }
}

impl VerifiedRequest {
    /// The key that asks to be certified.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// SHA-256 of the request's DER, which proofs of entitlement are bound to.
    pub const fn digest(&self) -> Sha256 {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_keys::TestKey;

    fn request(key: &TestKey) -> Vec<u8> {
        let request = Request::new(key.public()).unwrap();
        let signature = key.sign(request.to_be_signed());
        request.finish(&signature).unwrap()
    }

    #[test]
    fn a_request_of_every_algorithm_yields_its_key() {
        for key in TestKey::one_of_each() {
            let der = request(&key);
            let verified = Request::parse(&der, Request::BYTES_MAX).unwrap();
            assert_eq!(verified.public_key(), key.public());
            assert_eq!(verified.digest(), sha256(&der));
        }
    }

    #[test]
    fn a_request_signed_by_another_key_is_not_finished() {
        let [a, b, _] = TestKey::one_of_each();
        let request = Request::new(a.public()).unwrap();
        let signature = b.sign(request.to_be_signed());
        assert!(matches!(request.finish(&signature), Err(SigningError::Signature(_))));
    }

    #[test]
    fn no_changed_byte_gets_through() {
        for key in TestKey::one_of_each() {
            let der = request(&key);
            for at in 0..der.len() {
                let mut changed = der.clone();
                changed[at] ^= 1;
                assert!(Request::parse(&changed, Request::BYTES_MAX).is_err(), "byte {at}");
            }
            assert!(matches!(Request::parse(&der, der.len() - 1), Err(CsrError::TooLong { .. })));
        }
    }

    #[test]
    fn a_request_that_asks_for_extensions_is_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let asking = rcgen::CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        let asking = asking.serialize_request(&key).unwrap();
        assert_eq!(Request::parse(asking.der(), Request::BYTES_MAX), Err(CsrError::Attributes));
        let plain = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        assert!(Request::parse(plain.der(), Request::BYTES_MAX).is_ok());
    }
}
