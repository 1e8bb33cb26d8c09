//! The shape that certificates, requests, revocation lists and OCSP answers share: content, algorithm, signature.
//!
//! Signing has two steps because no private key is here: [`ToBeSigned::bytes`] goes to whoever holds it, and
//! [`ToBeSigned::finish`] takes the signature and checks it, so that a faulty token never puts a broken artefact into
//! the world. Reading keeps the signed bytes as they came: they are what the signature is checked over.
//!
//! Source: RFC 5280 4.1.1, RFC 2986 4.2, RFC 6960 4.2.1.

use der::{
    Decode, Encode, Reader as _, Sequence, SliceReader,
    asn1::{AnyRef, BitStringRef},
};
use kos_base::{
    Code, KeyAlgorithm, PublicKey, code,
    key::{BadSignature, SignatureForm},
};
use spki::AlgorithmIdentifierOwned;

use super::oid;

/// The signature that came back cannot stand under the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// Not a signature of the signer's key over the content; the key store is faulty or was asked for another key.
    #[error("the signer's answer does not verify under its key")]
    Signature(#[from] BadSignature),
    /// The signed object could not be written or read back; a fault of this program.
    #[error("the signed object cannot be written: {0}")]
    Encoding(String),
}

impl SigningError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Signature(_) => code::certificate::SIGNER_FAULT,
            Self::Encoding(_) => code::config::INTERNAL,
        }
    }
}

/// DER content and the key that is to sign it.
#[derive(Clone, Debug)]
pub(crate) struct ToBeSigned {
    content: Vec<u8>,
    signer: PublicKey,
}

#[derive(Sequence)]
struct Written<'a> {
    content: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

impl ToBeSigned {
    pub(crate) fn new(content: &impl Encode, signer: &PublicKey) -> der::Result<Self> {
        Ok(Self { content: content.to_der()?, signer: signer.clone() })
    }

    /// What the key signs; ECDSA answers in [`SignatureForm::Der`].
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.content
    }

    pub(crate) fn signer(&self) -> &PublicKey {
        &self.signer
    }

    pub(crate) fn finish(self, signature: &[u8]) -> Result<Vec<u8>, SigningError> {
        self.signer.verify(SignatureForm::Der, &self.content, signature)?;
        let written = || {
            Written {
                content: AnyRef::from_der(&self.content)?,
                algorithm: algorithm(self.signer.algorithm()),
                signature: BitStringRef::from_bytes(signature)?,
            }
            .to_der()
        };
        written().map_err(|e| SigningError::Encoding(e.to_string()))
    }
}

/// A signed object in its three parts; nobody has checked the signature yet.
#[derive(Clone, Debug)]
pub(crate) struct Signed<'a> {
    /// The DER of the content, exactly as received.
    pub(crate) content: &'a [u8],
    pub(crate) algorithm: AlgorithmIdentifierOwned,
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let signed = reader.sequence(|reader| {
            let content = reader.tlv_bytes()?;
            let algorithm = AlgorithmIdentifierOwned::decode(reader)?;
            let bits = BitStringRef::decode(reader)?;
            let signature = bits.as_bytes().ok_or(der::ErrorKind::Value { tag: der::Tag::BitString })?;
            der::Result::Ok(Self { content, algorithm, signature })
        })?;
        reader.finish()?;
        Ok(signed)
    }

    /// Checks algorithm and signature under `key`. The algorithm is the key's, never the message's.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), BadSignature> {
        if self.algorithm != algorithm(key.algorithm()) {
            return Err(BadSignature);
        }
        key.verify(SignatureForm::Der, self.content, self.signature)
    }
}

/// How X.509 names the signature algorithm of a key.
pub(crate) const fn algorithm(algorithm: KeyAlgorithm) -> AlgorithmIdentifierOwned {
    let oid = match algorithm {
        KeyAlgorithm::Ed25519 => oid::ED25519,
        KeyAlgorithm::P256 => oid::ECDSA_WITH_SHA256,
        KeyAlgorithm::P384 => oid::ECDSA_WITH_SHA384,
    };
    AlgorithmIdentifierOwned { oid, parameters: None }
}
