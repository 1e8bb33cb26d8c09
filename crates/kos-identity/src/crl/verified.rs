//! Reading a revocation list: its form, its issuer, its signature, then its entries.

use core::fmt;
use std::sync::Arc;

use const_oid::AssociatedOid as _;
use der::{Decode as _, Reader as _, SliceReader, Tag, asn1::AnyRef};
use kos_base::{Code, KeyId, Timestamp, code, key::BadSignature};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{
    Version,
    ext::{
        Extensions,
        pkix::{AuthorityKeyIdentifier, CrlNumber},
    },
    name::Name,
    time::Time,
};

use crate::{
    certificate::{Certificate, Serial, signed::Signed, timestamp},
    registry::RevocationReason,
};

/// A list whose form and signature were checked against its issuer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCrl {
    issuer: KeyId,
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
    /// Sorted by serial number, each of them once. No reason is one that kOS does not use.
    entries: Vec<(Serial, Option<RevocationReason>)>,
    der: Arc<[u8]>,
}

/// The list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Longer than [`VerifiedCrl::BYTES_MAX`].
    #[error("revocation list of {0} bytes, at most {max} are allowed", max = VerifiedCrl::BYTES_MAX)]
    TooLong(usize),
    /// Not DER of a full version 2 list with the two extensions that ours have.
    #[error("not a revocation list: {0}")]
    Malformed(String),
    /// Of another issuer than the one it is checked against.
    #[error("revocation list of another issuer")]
    Issuer,
    /// The signature does not verify.
    #[error("revocation list whose signature does not verify")]
    Signature(#[from] BadSignature),
    /// Older than the one that is held.
    #[error("revocation list {number} is older than {held}, which is held")]
    Older {
        /// What came.
        number: u64,
        /// What is held.
        held: u64,
    },
    /// Its time is over.
    #[error("revocation list whose time was over at {next_update}")]
    Stale {
        /// When it should have been replaced.
        next_update: Timestamp,
    },
}

impl CrlError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLong(_) | Self::Malformed(_) | Self::Issuer | Self::Signature(_) => {
                code::certificate::CRL_MALFORMED
            }
            Self::Older { .. } | Self::Stale { .. } => code::certificate::CRL_STALE,
        }
    }
}

fn malformed(why: &dyn fmt::Display) -> CrlError {
    CrlError::Malformed(why.to_string())
}

impl VerifiedCrl {
    /// Longest list in bytes, room for 300 000 entries; bounds what a peer can make us hold.
    pub const BYTES_MAX: usize = 16 << 20;

    /// Reads a list and checks it against the certificate of its issuer.
    ///
    /// # Errors
    /// When it is malformed, of another issuer, or not signed by it. Keep the list that is held.
    pub fn parse(der: &[u8], issuer: &Certificate) -> Result<Self, CrlError> {
        if der.len() > Self::BYTES_MAX {
            return Err(CrlError::TooLong(der.len()));
        }
        let signed = Signed::read(der).map_err(|e| malformed(&e))?;
        let head = Head::read(signed.content).map_err(|e| malformed(&e))?;
        if head.version != Version::V2 || head.algorithm != signed.algorithm {
            return Err(malformed(&"another version, or two signature algorithms"));
        }
        if !issuer.is_ca() || head.issuer != *issuer.subject_name() {
            return Err(CrlError::Issuer);
        }
        signed.verify(issuer.public_key())?;
        let (issuer_key, number) = extensions(&head.extensions)?;
        if issuer_key != issuer.key_id() {
            return Err(CrlError::Issuer);
        }
        let list = webpki::BorrowedCertRevocationList::from_der(der).map_err(|e| malformed(&e))?;
        let mut entries = Vec::new();
        for entry in &list {
            let entry = entry.map_err(|e| malformed(&e))?;
            // A number that no certificate of ours can have revokes none of ours.
            if let Some(serial) = Serial::from_der_content(entry.serial_number) {
                entries.push((serial, entry.reason_code.and_then(reason)));
            }
        }
        entries.sort_unstable_by_key(|(serial, _)| *serial);
        if entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            Ok(Self {
                issuer: issuer_key,
                number,
                this_update: timestamp(head.this_update),
                next_update: timestamp(head.next_update),
                entries,
                der: der.into(),
            })
        } else {
            Err(malformed(&"a serial number twice"))
        }
    }

    /// Whose certificates it speaks of, by key id.
    pub const fn issuer(&self) -> KeyId {
        self.issuer
    }

    /// The list as it was signed.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its number; a larger one is newer.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// When it was signed.
    pub const fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// Until when it may be relied on.
    pub const fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// How many certificates it takes back.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it takes back none.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The reason for which a certificate was taken back: none if it was not, and an inner none for a reason that kOS
    /// does not use.
    pub fn find(&self, serial: Serial) -> Option<Option<RevocationReason>> {
        let at = self.entries.binary_search_by_key(&serial, |(serial, _)| *serial).ok()?;
        self.entries.get(at).map(|(_, reason)| *reason)
    }

    /// Whether it may still be relied on.
    ///
    /// # Errors
    /// When its time is over: reach the authority. Whom it takes back stays refused.
    pub fn check_fresh(&self, now: Timestamp) -> Result<(), CrlError> {
        if now < self.next_update { Ok(()) } else { Err(CrlError::Stale { next_update: self.next_update }) }
    }
}

/// TBSCertList without its entries.
struct Head {
    version: Version,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    this_update: Time,
    next_update: Time,
    extensions: Extensions,
}

impl Head {
    fn read(content: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(content)?;
        let head = reader.sequence(|reader| {
            let version = Version::decode(reader)?;
            let algorithm = AlgorithmIdentifierOwned::decode(reader)?;
            let issuer = Name::decode(reader)?;
            let this_update = Time::decode(reader)?;
            let next_update = Time::decode(reader)?;
            if Tag::peek(reader)? == Tag::Sequence {
                AnyRef::decode(reader)?;
            }
            let tagged =
                der::asn1::ContextSpecific::<Extensions>::decode_explicit(reader, der::TagNumber(0))?;
            let extensions = tagged.map(|tagged| tagged.value).unwrap_or_default();
            der::Result::Ok(Self { version, algorithm, issuer, this_update, next_update, extensions })
        })?;
        reader.finish()?;
        Ok(head)
    }
}

/// Issuer's key id and list number. A scope or delta indicator would change what the list means, so nothing else may
/// be there, critical or not.
fn extensions(extensions: &Extensions) -> Result<(KeyId, u64), CrlError> {
    let [a, b] = extensions.as_slice() else {
        return Err(malformed(&"other extensions than key identifier and number"));
    };
    let (key, number) = match (a.extn_id, b.extn_id) {
        (AuthorityKeyIdentifier::OID, CrlNumber::OID) => (a, b),
        (CrlNumber::OID, AuthorityKeyIdentifier::OID) => (b, a),
        _ => return Err(malformed(&"other extensions than key identifier and number")),
    };
    let key = AuthorityKeyIdentifier::from_der(key.extn_value.as_bytes()).map_err(|e| malformed(&e))?;
    let key = key.key_identifier.and_then(|key| <[u8; 32]>::try_from(key.as_bytes()).ok());
    let number = CrlNumber::from_der(number.extn_value.as_bytes()).map_err(|e| malformed(&e))?;
    let number = number.0.as_bytes();
    if number.len() > 8 {
        return Err(malformed(&"a number above 64 bits"));
    }
    let number = number.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    Ok((KeyId::from_bytes(key.ok_or(CrlError::Issuer)?), number))
}

fn reason(code: webpki::RevocationReason) -> Option<RevocationReason> {
    match code {
        webpki::RevocationReason::KeyCompromise => Some(RevocationReason::KeyCompromise),
        webpki::RevocationReason::Superseded => Some(RevocationReason::Superseded),
        webpki::RevocationReason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        webpki::RevocationReason::CertificateHold => Some(RevocationReason::Hold),
        webpki::RevocationReason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        _ => None,
    }
}
