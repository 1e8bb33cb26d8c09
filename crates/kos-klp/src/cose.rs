//! The shapes of COSE (RFC 9052) that the protocol uses: one signer, one MAC, one recipient, and no header but `alg`
//! and `kid`.
//!
//! Since every shape is fixed, they are read in place and written straight out; a general COSE library would build a
//! tree for each heartbeat. Foreign libraries judge the result in `tests/judges.rs`.
//!
//! Source: `docs/spec/klp.md` KLP-25, KLP-26; RFC 9052 4.4, 5.3, 6.3.

use kos_base::{KeyAlgorithm, KeyId, cbor::scan};
use minicbor::{Decoder, Encoder, data::Tag, decode::Error};

use crate::{
    fields::{read_array_head, read_bytes},
    message::MessageType,
};

/// Tag of a COSE_Encrypt0.
pub(crate) const TAG_ENCRYPT0: u64 = 16;
/// Tag of a COSE_Mac0.
pub(crate) const TAG_MAC0: u64 = 17;
/// Tag of a COSE_Sign1.
pub(crate) const TAG_SIGN1: u64 = 18;
/// Product in every external additional data.
pub(crate) const PRODUCT: &str = "kos klp";
/// Version of the protocol.
pub(crate) const VERSION: u8 = 1;

/// COSE algorithms in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// A signature of a key of this algorithm.
    Signature(KeyAlgorithm),
    /// HMAC 256/256.
    Hmac,
    /// HPKE-4, integrated encryption.
    Hpke,
}

impl Algorithm {
    const fn number(self) -> i64 {
        match self {
            Self::Signature(KeyAlgorithm::P256) => -7,
            Self::Signature(KeyAlgorithm::Ed25519) => -8,
            Self::Signature(KeyAlgorithm::P384) => -35,
            Self::Hmac => 5,
            Self::Hpke => 42,
        }
    }

    fn from_number(number: i64) -> Result<Self, Error> {
        Ok(match number {
            -7 => Self::Signature(KeyAlgorithm::P256),
            -8 => Self::Signature(KeyAlgorithm::Ed25519),
            -35 => Self::Signature(KeyAlgorithm::P384),
            5 => Self::Hmac,
            42 => Self::Hpke,
            _ => return Err(Error::message("an algorithm that the protocol does not use")),
        })
    }
}

/// A protected header as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protected<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: KeyId,
}

impl<'a> Protected<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        scan(bytes).map_err(Error::custom)?;
        let d = &mut Decoder::new(bytes);
        if d.map()? != Some(2) || d.u8()? != 1 {
            return Err(Error::message("a protected header other than alg and kid"));
        }
        let algorithm = Algorithm::from_number(d.i64()?)?;
        if d.u8()? != 4 {
            return Err(Error::message("a protected header other than alg and kid"));
        }
        Ok(Self { bytes, algorithm, key_id: KeyId::from_bytes(read_bytes(d)?) })
    }
}

/// Writes a protected header.
pub(crate) fn protected(algorithm: Algorithm, key_id: &KeyId) -> Vec<u8> {
    write(48, |e| e.map(2)?.u8(1)?.i64(algorithm.number())?.u8(4)?.bytes(key_id.as_bytes())?.ok())
}

/// A COSE_Sign1 or COSE_Mac0 with its payload: signature or tag is `seal`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authenticated<'a> {
    pub(crate) protected: Protected<'a>,
    pub(crate) payload: &'a [u8],
    pub(crate) seal: &'a [u8],
}

impl<'a> Authenticated<'a> {
    /// Reads what follows the tag.
    pub(crate) fn read(d: &mut Decoder<'a>) -> Result<Self, Error> {
        read_array_head(d, 4)?;
        let protected = Protected::read(d.bytes()?)?;
        if d.map()? != Some(0) {
            return Err(Error::message("an unprotected header"));
        }
        Ok(Self { protected, payload: d.bytes()?, seal: d.bytes()? })
    }

    /// Writes the tagged object.
    pub(crate) fn write(tag: u64, protected: &[u8], payload: &[u8], seal: &[u8]) -> Vec<u8> {
        write(protected.len() + payload.len() + seal.len() + 16, |e| {
            e.tag(Tag::new(tag))?.array(4)?.bytes(protected)?.map(0)?.bytes(payload)?.bytes(seal)?.ok()
        })
    }
}

/// A COSE_Encrypt0 with its encapsulated key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encrypted<'a> {
    pub(crate) protected: Protected<'a>,
    pub(crate) encapsulated: [u8; 32],
    pub(crate) ciphertext: &'a [u8],
}

/// Header parameter of the encapsulated key.
const ENCAPSULATED_KEY: i8 = -4;

impl<'a> Encrypted<'a> {
    /// Reads what follows the tag.
    pub(crate) fn read(d: &mut Decoder<'a>) -> Result<Self, Error> {
        read_array_head(d, 3)?;
        let protected = Protected::read(d.bytes()?)?;
        if protected.algorithm != Algorithm::Hpke {
            return Err(Error::message("an encryption that the protocol does not use"));
        }
        if d.map()? != Some(1) || d.i8()? != ENCAPSULATED_KEY {
            return Err(Error::message("an unprotected header other than ek"));
        }
        Ok(Self { protected, encapsulated: read_bytes(d)?, ciphertext: d.bytes()? })
    }

    /// Writes the tagged object.
    pub(crate) fn write(protected: &[u8], encapsulated: &[u8; 32], ciphertext: &[u8]) -> Vec<u8> {
        write(protected.len() + ciphertext.len() + 52, |e| {
            e.tag(Tag::new(TAG_ENCRYPT0))?.array(3)?.bytes(protected)?;
            e.map(1)?.i8(ENCAPSULATED_KEY)?.bytes(encapsulated)?.bytes(ciphertext)?.ok()
        })
    }
}

/// External additional data of a proof (KLP-26); no type stands for the root of a batch.
pub(crate) fn proof_aad(kind: Option<MessageType>) -> Vec<u8> {
    let number = kind.map_or(0, MessageType::number);
    write(16, |e| e.array(3)?.str(PRODUCT)?.u8(VERSION)?.u16(number)?.ok())
}

/// Sig_structure or MAC_structure up to where the bytes of the payload follow.
pub(crate) fn authenticated_prefix(context: &str, protected: &[u8], aad: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    write(context.len() + protected.len() + aad.len() + 16, |e| {
        e.array(4)?.str(context)?.bytes(protected)?.bytes(aad)?.bytes_len(length)?.ok()
    })
}

/// Sig_structure of a COSE_Sign1.
pub(crate) fn sig_structure(protected: &[u8], aad: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = authenticated_prefix("Signature1", protected, aad, payload);
    bytes.extend_from_slice(payload);
    bytes
}

/// Enc_structure of a COSE_Encrypt0.
pub(crate) fn enc_structure(protected: &[u8], aad: &[u8]) -> Vec<u8> {
    write(protected.len() + aad.len() + 24, |e| {
        e.array(3)?.str("Encrypt0")?.bytes(protected)?.bytes(aad)?.ok()
    })
}

/// Whether the next item is a tag, and which.
pub(crate) fn read_tag(d: &mut Decoder<'_>) -> Result<u64, Error> {
    Ok(d.tag()?.as_u64())
}

/// Runs `fill` over a new buffer. Writing to memory cannot fail.
pub(crate) fn write(
    capacity: usize,
    fill: impl FnOnce(
        &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<core::convert::Infallible>>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity);
    drop(fill(&mut Encoder::new(&mut bytes)));
    bytes
}
