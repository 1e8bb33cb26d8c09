//! The death notice: what is left to prove that it happened, and when (KILL-26 to KILL-29).
//!
//! It brings the key that signed it, so that it can be read without anything else. Whose key that is, only who knows its
//! id from elsewhere can say: a log entry, a certificate, a ticket.
//!
//! Source: `docs/spec/kill.md` KILL-26 to KILL-29; fuzzed as every signed object (`kos_base::cose`).

use kos_base::{
    PublicKey, Timestamp, cbor,
    cose::{CoseError, Purpose, Sealed, Unsigned},
};
use minicbor::{Decode, Encode};

/// Longest notice in bytes; a checkpoint with cosignatures takes most of it.
pub const NOTICE_BYTES_MAX: usize = 8_192;

const NOTICE: Purpose = Purpose { domain: "kos death notice v1", typ: "application/kos-death-notice+cbor" };

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Notice {
    /// What was destroyed.
    #[n(0)]
    pub subject: NoticeSubject,
    /// Its device id or name.
    #[n(1)]
    pub name: String,
    /// The authority of a device that had one.
    #[n(2)]
    pub authority: Option<String>,
    /// When it was fired.
    #[n(3)]
    pub at: Timestamp,
    /// The key that signs.
    #[n(4)]
    pub key: PublicKey,
    /// Whether the program was to be deleted.
    #[n(5)]
    pub program_deleted: bool,
    /// Place of the last entry in the log.
    #[n(6)]
    pub entry: Option<u64>,
    /// The last checkpoint of the log.
    #[n(7)]
    pub checkpoint: Option<String>,
}

/// What was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum NoticeSubject {
    /// A device.
    #[n(0)]
    Device,
    /// An authority.
    #[n(1)]
    Authority,
}

impl Notice {
    /// Prepares the notice for the key that it names.
    pub fn unsigned(&self) -> Unsigned {
        Unsigned::new(NOTICE, &self.key, cbor::encode(self))
    }
}

/// A notice whose signature holds. Only [`verify_notice`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNotice(Notice);

impl VerifiedNotice {
    /// What is told.
    pub const fn notice(&self) -> &Notice {
        &self.0
    }
}

/// Checks a notice against the key that it brings. Compare that key's id with the one that is known.
///
/// # Errors
/// When it is not one, or the key did not sign it.
pub fn verify_notice(signed: &[u8]) -> Result<VerifiedNotice, CoseError> {
    let sealed = Sealed::parse(signed, NOTICE_BYTES_MAX)?;
    let claimed: Notice = cbor::decode(sealed.unverified_payload(), NOTICE_BYTES_MAX)?;
    let payload = sealed.verify(NOTICE, &claimed.key)?;
    Ok(VerifiedNotice(cbor::decode(&payload, NOTICE_BYTES_MAX)?))
}
