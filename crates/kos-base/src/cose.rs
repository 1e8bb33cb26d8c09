//! COSE_Sign1 (RFC 9052) as kOS uses it: one signer, protected `alg`, `kid` and `typ`, and a purpose as external
//! additional data.
//!
//! Signing has two steps, because the core holds no private key: [`Unsigned::to_be_signed`] goes to whoever holds
//! it, and [`Unsigned::finish`] takes the signature. Reading has two as well: [`Sealed::parse`] checks the form and
//! lets the key id be seen, [`Sealed::verify`] hands out the payload, and nothing else does.
//!
//! The algorithm is that of the key, pinned by whoever trusts it; a header that names another is refused.
//!
//! Source: RFC 9052 4.2 to 4.4, RFC 9596 (`typ`); `docs/spec/identity.md` ID-14 to ID-16; fuzz target `kid`.

use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, Label, TaggedCborSerializable as _};
use coset::{RegisteredLabelWithPrivate, cbor::Value, iana};

use crate::{
    KeyAlgorithm, KeyId, PublicKey,
    cbor::{CborError, scan},
    key::{BadSignature, SignatureForm},
};

/// What a signature is for. No signature for one purpose verifies for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Product, purpose and version, bound into the signature as external additional data.
    pub domain: &'static str,
    /// The `typ` header.
    pub typ: &'static str,
}

const TYP: Label = Label::Int(16);

/// Why bytes are not a signed object of the purpose that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Not deterministic CBOR.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Not a tagged COSE_Sign1 with exactly our headers and a payload.
    #[error("not a COSE_Sign1 with alg, kid, typ and payload")]
    Shape,
    /// `typ` or algorithm differs from what the purpose and key demand.
    #[error("signed object of another type or algorithm")]
    Mismatch,
    /// Signed by a key other than the one it is checked against.
    #[error("signed by another key")]
    OtherKey,
    /// The signature does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// An object before its signature.
#[derive(Debug)]
pub struct Unsigned {
    sign1: CoseSign1,
    domain: &'static str,
}

impl Unsigned {
    /// Prepares `payload` to be signed for `purpose` by `key`.
    pub fn new(purpose: Purpose, key: &PublicKey, payload: Vec<u8>) -> Self {
        let header = HeaderBuilder::new()
            .algorithm(algorithm(key.algorithm()))
            .key_id(key.id().as_bytes().to_vec())
            .value(16, Value::Text(purpose.typ.to_owned()))
            .build();
        Self {
            sign1: CoseSign1Builder::new().protected(header).payload(payload).build(),
            domain: purpose.domain,
        }
    }

    /// The bytes that the key signs, in [`SignatureForm::Fixed`].
    pub fn to_be_signed(&self) -> Vec<u8> {
        self.sign1.tbs_data(self.domain.as_bytes())
    }

    /// The tagged object with its signature. Whether the signature is right shows when somebody verifies it.
    pub fn finish(mut self, signature: Vec<u8>) -> Vec<u8> {
        self.sign1.signature = signature;
        self.sign1.to_tagged_vec().unwrap_or_default()
    }
}

/// An object whose form is right and whose signature nobody has checked yet.
#[derive(Clone, Debug)]
pub struct Sealed {
    sign1: CoseSign1,
    key_id: KeyId,
}

impl Sealed {
    /// Reads a tagged COSE_Sign1 of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// When it is not one, or has other headers than ours.
    pub fn parse(bytes: &[u8], bytes_max: usize) -> Result<Self, CoseError> {
        if bytes.len() > bytes_max {
            return Err(CborError::TooLong { bytes: bytes.len(), bytes_max }.into());
        }
        scan(bytes)?;
        let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|_| CoseError::Shape)?;
        if let Some(protected) = &sign1.protected.original_data {
            scan(protected)?;
        }
        let header = &sign1.protected.header;
        let known = Header { alg: None, key_id: Vec::new(), rest: Vec::new(), ..header.clone() };
        let typ_only = matches!(header.rest.as_slice(), [(TYP, Value::Text(_))]);
        if !known.is_empty() || !typ_only || !sign1.unprotected.is_empty() || sign1.payload.is_none() {
            return Err(CoseError::Shape);
        }
        let key_id = <[u8; 32]>::try_from(header.key_id.as_slice()).map_err(|_| CoseError::Shape)?;
        Ok(Self { sign1, key_id: KeyId::from_bytes(key_id) })
    }

    /// Which key claims to have signed, so that it can be looked up.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The payload before any check, only to find out which key to check with.
    pub fn unverified_payload(&self) -> &[u8] {
        self.sign1.payload.as_deref().unwrap_or_default()
    }

    /// Checks type, algorithm, key and signature, and hands out the payload.
    ///
    /// # Errors
    /// When any of them differs. Treat the object as never received.
    pub fn verify(self, purpose: Purpose, key: &PublicKey) -> Result<Vec<u8>, CoseError> {
        let header = &self.sign1.protected.header;
        let typ = matches!(header.rest.as_slice(), [(TYP, Value::Text(typ))] if typ == purpose.typ);
        let wanted = RegisteredLabelWithPrivate::Assigned(algorithm(key.algorithm()));
        if !typ || header.alg.as_ref() != Some(&wanted) {
            return Err(CoseError::Mismatch);
        }
        if self.key_id != key.id() {
            return Err(CoseError::OtherKey);
        }
        self.sign1.verify_signature(purpose.domain.as_bytes(), |signature, message| {
            key.verify(SignatureForm::Fixed, message, signature)
        })?;
        self.sign1.payload.ok_or(CoseError::Shape)
    }
}

const fn algorithm(algorithm: KeyAlgorithm) -> iana::Algorithm {
    match algorithm {
        KeyAlgorithm::Ed25519 => iana::Algorithm::EdDSA,
        KeyAlgorithm::P256 => iana::Algorithm::ES256,
        KeyAlgorithm::P384 => iana::Algorithm::ES384,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    const A: Purpose = Purpose { domain: "kos test a v1", typ: "application/a" };
    const B: Purpose = Purpose { domain: "kos test b v1", typ: "application/a" };
    const C: Purpose = Purpose { domain: "kos test a v1", typ: "application/c" };

    fn key(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
        (pair, public)
    }

    fn signed() -> Vec<u8> {
        let (pair, public) = key(1);
        let unsigned = Unsigned::new(A, &public, b"payload".to_vec());
        let signature = pair.sign(&unsigned.to_be_signed()).as_ref().to_vec();
        unsigned.finish(signature)
    }

    #[test]
    fn a_signed_object_opens_only_for_its_purpose_and_key() {
        let bytes = signed();
        let open = |purpose, key: &PublicKey| Sealed::parse(&bytes, 999).unwrap().verify(purpose, key);
        assert_eq!(open(A, &key(1).1).unwrap(), b"payload");
        assert_eq!(open(B, &key(1).1), Err(CoseError::Signature(BadSignature)));
        assert_eq!(open(C, &key(1).1), Err(CoseError::Mismatch));
        assert_eq!(open(A, &key(2).1), Err(CoseError::OtherKey));
    }

    #[test]
    fn no_changed_byte_gets_through() {
        let bytes = signed();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let opened = Sealed::parse(&changed, 999).and_then(|s| s.verify(A, &key(1).1));
            assert!(opened.is_err(), "byte {at}");
        }
        assert!(Sealed::parse(&bytes, bytes.len() - 1).is_err());
    }
}
