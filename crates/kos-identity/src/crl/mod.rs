//! Certificate revocation lists: what a CA takes back, as a list that anybody can check and keep.
//!
//! Every CA of an authority signs one full list of its own; there are no deltas, no indirect lists and no
//! distribution-point scopes. [`build`] writes it, [`VerifiedCrl`] is one whose signature was checked, once, when it
//! came in, and [`RevocationView`] answers for all issuers together. Not here: fetching, publishing, and the records
//! from which the entries come.
//!
//! Shape: DER of a version 2 CertificateList, at most [`VerifiedCrl::BYTES_MAX`] bytes, with authority key identifier
//! and CRL number and no other extension; entries sorted by serial number, each with a reason.
//!
//! Invariants: the number only grows, also across a restore; no serial number twice.
//!
//! Errors: [`CrlError`]; keep the list that is held and fetch again.
//!
//! Source: RFC 5280 5; `docs/spec/identity.md` ID-35 to ID-40; fuzz target `certificate`.

mod verified;
mod view;

pub use verified::{CrlError, VerifiedCrl};
pub use view::{RevocationView, Status};

use core::time::Duration;

use der::{
    Encode as _, Sequence,
    asn1::{Any, OctetString},
};
use kos_base::Timestamp;
use spki::AlgorithmIdentifierOwned;
use x509_cert::{
    Version,
    crl::RevokedCert,
    ext::{
        Extensions,
        pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason},
    },
    name::Name,
    time::Time,
};

use crate::{
    certificate::{
        Certificate, IssueError, Serial, SigningError, moment, plain,
        signed::{ToBeSigned, algorithm},
    },
    registry::RevocationReason,
};

/// How long a list may be relied on. It is replaced at a seventh of this.
pub const VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

/// One certificate that its issuer took back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub serial: Serial,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// A list before its signature.
#[derive(Clone, Debug)]
pub struct Unsigned(ToBeSigned);

/// Number of the list that follows number `last`: larger than any that this CA can have signed before, even if the
/// authority was restored from a backup that did not know of it.
pub fn next_number(last: Option<u64>, now: Timestamp) -> u64 {
    last.map_or(0, |last| last.saturating_add(1)).max(now.unix_ms())
}

/// Prepares the list of everything that `issuer` has taken back, to be signed by its key. Entries may come in any order;
/// of two with the same serial number, one that is final wins over a hold.
///
/// # Errors
/// When `issuer` is not a CA.
///
/// # Cost
/// About a microsecond and 50 bytes for each entry.
pub fn build(
    issuer: &Certificate,
    number: u64,
    entries: impl IntoIterator<Item = Entry>,
    now: Timestamp,
) -> Result<Unsigned, IssueError> {
    if !issuer.is_ca() {
        return Err(IssueError::Issuer);
    }
    let mut entries: Vec<Entry> = entries.into_iter().collect();
    entries.sort_by_key(|entry| (entry.serial, entry.reason == RevocationReason::Hold));
    entries.dedup_by_key(|entry| entry.serial);
    let mut revoked = Vec::new();
    for entry in &entries {
        let reason = plain(&reason_code(entry.reason))?;
        RevokedCert {
            serial_number: entry.serial.to_x509()?,
            revocation_date: moment(entry.at)?,
            crl_entry_extensions: Some(vec![reason]),
        }
        .encode_to_vec(&mut revoked)?;
    }
    // RFC 5280 5.1.2.6: a list without entries has no empty sequence either.
    let revoked = (!revoked.is_empty()).then(|| Any::new(der::Tag::Sequence, revoked)).transpose()?;
    let authority_key = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(*issuer.key_id().as_bytes())?),
        ..Default::default()
    };
    let content = Content {
        version: Version::V2,
        algorithm: algorithm(issuer.public_key().algorithm()),
        issuer: issuer.subject_name().clone(),
        this_update: moment(now)?,
        next_update: moment(now.plus(VALIDITY))?,
        revoked,
        extensions: vec![plain(&authority_key)?, plain(&CrlNumber::try_from(number)?)?],
    };
    Ok(Unsigned(ToBeSigned::new(&content, issuer.public_key())?))
}

impl Unsigned {
    /// What the CA's key signs; ECDSA answers with a DER signature.
    pub fn to_be_signed(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The DER of the list with its signature.
    ///
    /// # Errors
    /// When the signature does not verify under the CA's key; the key store is faulty.
    pub fn finish(self, signature: &[u8]) -> Result<Vec<u8>, SigningError> {
        self.0.finish(signature)
    }
}

/// The PEM form of a list.
pub fn pem(der: &[u8]) -> String {
    crate::certificate::pem("X509 CRL", der)
}

/// TBSCertList with the entries as one blob: a structure for each would cost five times as much.
#[derive(Sequence)]
struct Content {
    version: Version,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<Any>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

pub(crate) const fn reason_code(reason: RevocationReason) -> CrlReason {
    match reason {
        RevocationReason::KeyCompromise => CrlReason::KeyCompromise,
        RevocationReason::Superseded => CrlReason::Superseded,
        RevocationReason::CessationOfOperation => CrlReason::CessationOfOperation,
        RevocationReason::Hold => CrlReason::CertificateHold,
        RevocationReason::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
    }
}

#[cfg(test)]
mod tests;
