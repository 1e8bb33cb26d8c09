//! Public keys, their ids and signatures.
//!
//! A key is kept as the DER of its SubjectPublicKeyInfo together with its algorithm, so that the algorithm is pinned
//! with the key and never read from a message. Verification is pure; private keys are never here.
//!
//! Source: RFC 5280 4.1.2.7, RFC 8410, RFC 5480; `docs/spec/identity.md` ID-10 to ID-13.

use core::{fmt, str::FromStr};

use aws_lc_rs::signature::{self, VerificationAlgorithm};
use data_encoding::HEXLOWER;
use der::{Decode as _, Encode as _, asn1::BitString};
use spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};

use crate::{digest::sha256, id::ParseIdError};

/// Signature algorithms in use. ECDSA signatures are DER in certificates and fixed-length in COSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
}

/// Where a signature stands, which decides how ECDSA writes its two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureForm {
    /// X.509 and TLS: a DER SEQUENCE of two INTEGERs.
    Der,
    /// COSE (RFC 9053): the two numbers at fixed length, one after the other.
    Fixed,
}

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

impl KeyAlgorithm {
    /// The name that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "ecdsa-p256",
            Self::P384 => "ecdsa-p384",
        }
    }

    const fn raw_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::P256 => 65,
            Self::P384 => 97,
        }
    }

    fn verifier(self, form: SignatureForm) -> &'static dyn VerificationAlgorithm {
        match (self, form) {
            (Self::Ed25519, _) => &signature::ED25519,
            (Self::P256, SignatureForm::Der) => &signature::ECDSA_P256_SHA256_ASN1,
            (Self::P256, SignatureForm::Fixed) => &signature::ECDSA_P256_SHA256_FIXED,
            (Self::P384, SignatureForm::Der) => &signature::ECDSA_P384_SHA384_ASN1,
            (Self::P384, SignatureForm::Fixed) => &signature::ECDSA_P384_SHA384_FIXED,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// SHA-256 of a key's SubjectPublicKeyInfo.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes 32 bytes over, as read from a store or message.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first 16 hex characters, as file names of `/pki` use them.
    pub fn short(&self) -> String {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        HEXLOWER.encode(&[a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({}..)", self.short())
    }
}

impl FromStr for KeyId {
    type Err = ParseIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(s.as_bytes()).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
        bytes.map(Self).ok_or_else(|| ParseIdError::new(s, "a key id (64 lower-case hex characters)"))
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A signature key of an algorithm that we use. `Eq` compares the SubjectPublicKeyInfo.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    raw_at: usize,
}

/// The bytes are not a key that kOS uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not the DER of a SubjectPublicKeyInfo, or one with trailing bytes.
    #[error("not a SubjectPublicKeyInfo")]
    Malformed,
    /// An algorithm or curve that kOS does not use.
    #[error("key of an algorithm that is not Ed25519, P-256 or P-384")]
    Algorithm,
    /// A length that the algorithm does not have, or a compressed point.
    #[error("key of the wrong length for its algorithm")]
    Length,
}

/// The signature does not verify under this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

impl PublicKey {
    /// Longest SubjectPublicKeyInfo of a key that kOS uses (P-384), in bytes.
    pub const SPKI_BYTES_MAX: usize = 120;

    /// Reads the DER of a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When it is malformed or of an algorithm that kOS does not use; ask the sender for another key.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, PublicKeyError> {
        let parsed = SubjectPublicKeyInfoOwned::from_der(spki).map_err(|_| PublicKeyError::Malformed)?;
        let curve = parsed.algorithm.parameters.as_ref().map(|p| p.decode_as::<ObjectIdentifier>());
        let algorithm = match (parsed.algorithm.oid, curve) {
            (ED25519, None) => KeyAlgorithm::Ed25519,
            (EC, Some(Ok(P256))) => KeyAlgorithm::P256,
            (EC, Some(Ok(P384))) => KeyAlgorithm::P384,
            _ => return Err(PublicKeyError::Algorithm),
        };
        let raw = parsed.subject_public_key.as_bytes().ok_or(PublicKeyError::Malformed)?;
        Self::checked(algorithm, spki.to_vec(), raw)
    }

    /// Builds the SubjectPublicKeyInfo around a raw key: 32 bytes of Ed25519 or an uncompressed point.
    ///
    /// # Errors
    /// When the length does not fit the algorithm.
    pub fn from_raw(algorithm: KeyAlgorithm, raw: &[u8]) -> Result<Self, PublicKeyError> {
        let curve =
            |oid: &ObjectIdentifier| der::Any::encode_from(oid).map_err(|_| PublicKeyError::Malformed);
        let algorithm_id = match algorithm {
            KeyAlgorithm::Ed25519 => AlgorithmIdentifierOwned { oid: ED25519, parameters: None },
            KeyAlgorithm::P256 => AlgorithmIdentifierOwned { oid: EC, parameters: Some(curve(&P256)?) },
            KeyAlgorithm::P384 => AlgorithmIdentifierOwned { oid: EC, parameters: Some(curve(&P384)?) },
        };
        let spki = SubjectPublicKeyInfoOwned {
            algorithm: algorithm_id,
            subject_public_key: BitString::from_bytes(raw).map_err(|_| PublicKeyError::Length)?,
        };
        Self::checked(algorithm, spki.to_der().map_err(|_| PublicKeyError::Malformed)?, raw)
    }

    fn checked(algorithm: KeyAlgorithm, spki: Vec<u8>, raw: &[u8]) -> Result<Self, PublicKeyError> {
        let uncompressed = algorithm == KeyAlgorithm::Ed25519 || raw.first() == Some(&4);
        if raw.len() != algorithm.raw_key_bytes() || !uncompressed {
            return Err(PublicKeyError::Length);
        }
        let raw_at = spki.len().checked_sub(raw.len()).ok_or(PublicKeyError::Length)?;
        Ok(Self { algorithm, spki, raw_at })
    }

    /// The algorithm, pinned with the key.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key itself: 32 bytes of Ed25519, or an uncompressed point.
    pub fn raw(&self) -> &[u8] {
        self.spki.get(self.raw_at..).unwrap_or_default()
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn id(&self) -> KeyId {
        KeyId(sha256(&self.spki))
    }

    /// Checks `signature` over `message`.
    ///
    /// # Errors
    /// When it does not verify. Treat the message as never received.
    pub fn verify(&self, form: SignatureForm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        signature::UnparsedPublicKey::new(self.algorithm.verifier(form), self.raw())
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {}..)", self.algorithm, self.id().short())
    }
}

/// CBOR: a byte string holding the SubjectPublicKeyInfo.
impl<C> minicbor::Encode<C> for PublicKey {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.spki)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for PublicKey {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_spki_der(d.bytes()?).map_err(minicbor::decode::Error::custom)
    }
}

/// CBOR: a byte string of 32.
impl<C> minicbor::Encode<C> for KeyId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for KeyId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?.try_into();
        bytes.map(Self).map_err(|_| minicbor::decode::Error::message("a key id has 32 bytes"))
    }
}

/// Public half of an X25519 agreement key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgreementKey(pub [u8; 32]);

impl AgreementKey {
    /// Stands where a device has none: a point of small order, to which nobody can seal.
    pub const NONE: Self = Self([0; 32]);

    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// CBOR: a byte string of 32.
impl<C> minicbor::Encode<C> for AgreementKey {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for AgreementKey {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?.try_into();
        bytes.map(Self).map_err(|_| minicbor::decode::Error::message("an agreement key has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, test 2.
    const ED25519_PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const ED25519_SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    fn hex(s: &str) -> Vec<u8> {
        HEXLOWER.decode(s.as_bytes()).unwrap()
    }

    #[test]
    fn an_rfc_8032_signature_verifies_and_a_changed_one_does_not() {
        let key = PublicKey::from_raw(KeyAlgorithm::Ed25519, &hex(ED25519_PUBLIC)).unwrap();
        assert_eq!(PublicKey::from_spki_der(key.spki_der()), Ok(key.clone()));
        let mut signature = hex(ED25519_SIGNATURE);
        assert_eq!(key.verify(SignatureForm::Fixed, &[0x72], &signature), Ok(()));
        assert_eq!(key.verify(SignatureForm::Fixed, &[0x73], &signature), Err(BadSignature));
        signature[0] ^= 1;
        assert_eq!(key.verify(SignatureForm::Fixed, &[0x72], &signature), Err(BadSignature));
    }

    #[test]
    fn keys_of_other_lengths_and_algorithms_are_refused() {
        assert_eq!(PublicKey::from_raw(KeyAlgorithm::Ed25519, &[0; 31]), Err(PublicKeyError::Length));
        assert_eq!(PublicKey::from_raw(KeyAlgorithm::P256, &[2; 65]), Err(PublicKeyError::Length));
        assert_eq!(PublicKey::from_spki_der(&[0x30, 0]), Err(PublicKeyError::Malformed));
        let mut long = PublicKey::from_raw(KeyAlgorithm::Ed25519, &hex(ED25519_PUBLIC)).unwrap().spki;
        long.push(0);
        assert_eq!(PublicKey::from_spki_der(&long), Err(PublicKeyError::Malformed));
    }
}
