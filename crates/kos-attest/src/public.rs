//! Public areas of keys of a TPM: read, named, and held against what their part in the exchange demands.
//!
//! Shape: TPMT_PUBLIC, at most [`PUBLIC_BYTES_MAX`] bytes: kind, name algorithm, attributes, policy, parameters, public key.
//!
//! Invariants: a name is the digest of the bytes that were read. A key that is not exactly of a kind that is listed here is
//! refused, so that no property is taken on trust.
//!
//! Source: TPM 2.0 Library, part 1, 16 (names); part 2, 8.3 (TPMA_OBJECT), 12.2; `docs/spec/attestation.md` ATT-7 to ATT-9.

use kos_base::{KeyAlgorithm, KeyId, PublicKey, digest::sha256};

use crate::{AttestError, reader::Reader};

/// Longest public area in bytes: that of an RSA key of 2 048 bits has 310.
pub const PUBLIC_BYTES_MAX: usize = 512;
/// The number of a hash algorithm, and SHA-256.
pub(crate) const NAME_BYTES: usize = 34;
pub(crate) const COORDINATE_BYTES: usize = 32;
const RSA_BYTES: usize = 256;
const POLICY_BYTES_MAX: usize = 64;

pub(crate) const ALG_RSA: u16 = 0x0001;
pub(crate) const ALG_SHA256: u16 = 0x000b;
pub(crate) const ALG_RSASSA: u16 = 0x0014;
pub(crate) const ALG_ECDSA: u16 = 0x0018;
const ALG_AES: u16 = 0x0006;
const ALG_NULL: u16 = 0x0010;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
const CURVE_P256: u16 = 0x0003;

const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const ADMIN_WITH_POLICY: u32 = 1 << 7;
const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;
/// Made inside, and never outside.
const STAYS: u32 = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN;

/// What a TPM calls an object.
pub(crate) type Name = [u8; NAME_BYTES];

/// The key that a TPM has from its maker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsementKey {
    name: Name,
    key: PublicKey,
}

/// The key that signs what a TPM says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationKey {
    name: Name,
    key: SigningPublic,
}

/// A key of the device that was made in its TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceKey {
    pub(crate) name: Name,
    pub(crate) key: PublicKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SigningPublic {
    Ecdsa(PublicKey),
    Rsassa { modulus: Vec<u8>, exponent: u32 },
}

impl EndorsementKey {
    /// Reads the public area of an endorsement key.
    ///
    /// # Errors
    /// When it is not one of the template that is taken (ATT-7).
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestError> {
        let public = Public::read(bytes, "the endorsement key")?;
        if public.attributes != STAYS | ADMIN_WITH_POLICY | RESTRICTED | DECRYPT {
            return Err(AttestError::Key("the endorsement key has not the properties of its template"));
        }
        match public.key {
            Material::Ecc { symmetric: Symmetric::Aes128Cfb, scheme: None, key } => {
                Ok(Self { name: name_of(bytes), key })
            }
            _ => Err(AttestError::Key("the endorsement key is of a kind that is not taken")),
        }
    }

    /// By what it is known.
    pub fn id(&self) -> KeyId {
        self.key.id()
    }

    /// The key, on P-256.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What its TPM calls it.
    pub(crate) const fn name(&self) -> &Name {
        &self.name
    }
}

impl AttestationKey {
    /// Reads the public area of an attestation key.
    ///
    /// # Errors
    /// When it could sign anything else than what a TPM says (ATT-8).
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestError> {
        let public = Public::read(bytes, "the attestation key")?;
        if public.attributes & (RESTRICTED | SIGN | DECRYPT) != RESTRICTED | SIGN {
            return Err(AttestError::Key("the attestation key is not restricted to what its TPM says"));
        }
        if public.attributes & STAYS != STAYS || public.attributes & ENCRYPTED_DUPLICATION != 0 {
            return Err(AttestError::Key("the attestation key does not stay in its TPM"));
        }
        let key = match public.key {
            Material::Ecc { symmetric: Symmetric::None, scheme: Some(ALG_ECDSA), key } => {
                SigningPublic::Ecdsa(key)
            }
            Material::Rsa { modulus, exponent } => SigningPublic::Rsassa { modulus, exponent },
            Material::Ecc { .. } => {
                return Err(AttestError::Key("the attestation key is of a kind that is not taken"));
            }
        };
        Ok(Self { name: public.name, key })
    }

    /// What its TPM calls it: the number of SHA-256 and the digest of its public area.
    pub const fn name(&self) -> &[u8; NAME_BYTES] {
        &self.name
    }

    pub(crate) const fn key(&self) -> &SigningPublic {
        &self.key
    }
}

impl DeviceKey {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, AttestError> {
        let public = Public::read(bytes, "the certified key")?;
        if public.attributes & STAYS != STAYS || public.attributes & ENCRYPTED_DUPLICATION != 0 {
            return Err(AttestError::Key("a key of the device does not stay in its TPM"));
        }
        if public.attributes & (RESTRICTED | SIGN | DECRYPT) != SIGN {
            return Err(AttestError::Key("a key of the device is for something else than signatures"));
        }
        match public.key {
            Material::Ecc { symmetric: Symmetric::None, scheme: Some(ALG_ECDSA) | None, key } => {
                Ok(Self { name: public.name, key })
            }
            _ => Err(AttestError::Key("a key of the device is of a kind that is not taken")),
        }
    }
}

/// Any public area of a key that we may have to do with.
struct Public {
    name: Name,
    attributes: u32,
    key: Material,
}

enum Material {
    Ecc {
        symmetric: Symmetric,
        scheme: Option<u16>,
        key: PublicKey,
    },
    /// With RSASSA and SHA-256 only.
    Rsa {
        modulus: Vec<u8>,
        exponent: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Symmetric {
    None,
    Aes128Cfb,
}

impl Public {
    fn read(bytes: &[u8], what: &'static str) -> Result<Self, AttestError> {
        let mut reader = Reader::new(bytes, what);
        if bytes.len() > PUBLIC_BYTES_MAX {
            return Err(reader.malformed());
        }
        let kind = reader.u16()?;
        reader.exactly(ALG_SHA256)?;
        let attributes = reader.u32()?;
        reader.buffer(POLICY_BYTES_MAX)?;
        let symmetric = symmetric(&mut reader)?;
        let scheme = scheme(&mut reader)?;
        let key = match kind {
            ALG_ECC => {
                reader.exactly(CURVE_P256)?;
                reader.exactly(ALG_NULL)?;
                let key = point(reader.buffer(COORDINATE_BYTES)?, reader.buffer(COORDINATE_BYTES)?);
                Material::Ecc { symmetric, scheme, key: key.ok_or(reader.malformed())? }
            }
            ALG_RSA if symmetric == Symmetric::None && scheme == Some(ALG_RSASSA) => {
                reader.exactly(2048)?;
                let exponent = match reader.u32()? {
                    0 => 65_537,
                    other => other,
                };
                let modulus = reader.buffer(RSA_BYTES)?;
                if modulus.len() != RSA_BYTES {
                    return Err(reader.malformed());
                }
                Material::Rsa { modulus: modulus.to_vec(), exponent }
            }
            _ => return Err(AttestError::Key("a key is of a kind that is not taken")),
        };
        reader.end()?;
        Ok(Self { name: name_of(bytes), attributes, key })
    }
}

fn symmetric(reader: &mut Reader<'_>) -> Result<Symmetric, AttestError> {
    match reader.u16()? {
        ALG_NULL => Ok(Symmetric::None),
        ALG_AES => {
            reader.exactly(128)?;
            reader.exactly(ALG_CFB)?;
            Ok(Symmetric::Aes128Cfb)
        }
        _ => Err(reader.malformed()),
    }
}

fn scheme(reader: &mut Reader<'_>) -> Result<Option<u16>, AttestError> {
    match reader.u16()? {
        ALG_NULL => Ok(None),
        scheme @ (ALG_ECDSA | ALG_RSASSA) => {
            reader.exactly(ALG_SHA256)?;
            Ok(Some(scheme))
        }
        _ => Err(reader.malformed()),
    }
}

/// The point of two coordinates, which may lack leading zeros. Whether it is on the curve shows when it is used.
fn point(x: &[u8], y: &[u8]) -> Option<PublicKey> {
    let mut raw = vec![4];
    for coordinate in [x, y] {
        raw.extend(core::iter::repeat_n(0, COORDINATE_BYTES.checked_sub(coordinate.len())?));
        raw.extend_from_slice(coordinate);
    }
    PublicKey::from_raw(KeyAlgorithm::P256, &raw).ok()
}

/// The qualified name of a key with this name below that parent: a hierarchy by its handle, or a key by its own.
pub(crate) fn qualified(parent: &[u8], name: &Name) -> Name {
    name_of(&[parent, name.as_slice()].concat())
}

fn name_of(public: &[u8]) -> Name {
    let mut name = [0; NAME_BYTES];
    let (algorithm, hash) = name.split_at_mut(2);
    algorithm.copy_from_slice(&ALG_SHA256.to_be_bytes());
    hash.copy_from_slice(&sha256(public));
    name
}
