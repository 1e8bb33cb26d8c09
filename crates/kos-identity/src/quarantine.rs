//! The signed order that takes a device out of its fleet, and the device's signed record that it has obeyed.
//!
//! An order names one device, the number of the last certificate that it was issued, and the moment; it holds random
//! bytes, the receipt, which come back in the record. So an order counts for one device, once: after a reinstatement the
//! device holds a higher number, and it remembers the moment of the last order that it obeyed.
//!
//! Invariants: only [`judge`] makes a [`VerifiedOrder`], and only [`verify_record`] a [`VerifiedRecord`].
//!
//! Errors: an order with an [`OrderFault`] does nothing; whoever sent it is not believed. A record that does not verify is
//! refused.
//!
//! What it does not do: decide what is cleared on the device (`enrolment::device`), or who may order and reinstate
//! (`registry`).
//!
//! Source: `docs/spec/quarantine.md` QRN-3 to QRN-7, QRN-16; fuzz target `enrolment_message`.

use kos_base::{
    AuthorityName, Code, DeviceId, EntryId, PublicKey, Timestamp, cbor, code,
    cose::{CoseError, Purpose, Sealed, Unsigned},
    digest::{Sha256, sha256_parts},
};
use minicbor::{Decode, Encode};

use crate::enrolment::message::Bytes32;

/// Longest order or record in bytes.
pub const SIGNED_BYTES_MAX: usize = 2048;
/// Most keys that a bundle is sealed to. Stops an order from making a device work for long.
pub const RECIPIENTS_MAX: usize = 4;
/// Longest recipient in bytes: one of age's X25519 has 62.
pub const RECIPIENT_BYTES_MAX: usize = 96;
/// Longest sealed bundle in bytes: it has to fit into one message with its record. Stops a device that turned hostile
/// from filling the authority's disk.
pub const BUNDLE_BYTES_MAX: usize = 49_152;

const ORDER: Purpose =
    Purpose { domain: "kos quarantine order v1", typ: "application/kos-quarantine-order+cbor" };
const RECORD: Purpose =
    Purpose { domain: "kos quarantine record v1", typ: "application/kos-quarantine-record+cbor" };

/// What the authority orders.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// Names the order.
    #[n(0)]
    pub id: EntryId,
    /// Who is taken out.
    #[n(1)]
    pub device: DeviceId,
    /// Who orders it.
    #[n(2)]
    pub authority: AuthorityName,
    /// When.
    #[n(3)]
    pub at: Timestamp,
    /// Number of the last certificate that the device was issued.
    #[n(4)]
    pub issue: u32,
    /// Comes back in the record.
    #[n(5)]
    pub receipt: Bytes32,
    /// To whom the bundle is sealed: recipients of age. With none there is no bundle.
    #[n(6)]
    pub recipients: Vec<String>,
}

/// What the device says once it has obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Record {
    /// Who obeyed.
    #[n(0)]
    pub device: DeviceId,
    /// Whose device it is.
    #[n(1)]
    pub authority: AuthorityName,
    /// Which order.
    #[n(2)]
    pub order: EntryId,
    /// Its receipt.
    #[n(3)]
    pub receipt: Bytes32,
    /// When the record was made, by the device's clock.
    #[n(4)]
    pub at: Timestamp,
    /// SHA-256 of the sealed bundle that comes with it.
    #[n(5)]
    pub bundle: Option<Bytes32>,
}

/// What a device goes by when it judges an order.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Who it is.
    pub device: &'a DeviceId,
    /// Whose it is.
    pub authority: &'a AuthorityName,
    /// The authority's key of orders.
    pub orders: &'a PublicKey,
    /// The highest number of a certificate that it holds.
    pub issue: u32,
    /// The moment of the last order that it obeyed and came back from.
    pub obeyed: Option<Timestamp>,
}

/// Why an order does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderFault {
    /// Its authority did not sign it, or it is no order at all.
    #[error(transparent)]
    Signature(#[from] CoseError),
    /// It is for another device, or of another authority.
    #[error("the order is for another device")]
    OtherDevice,
    /// It is older than the certificate that the device holds, or than the last order that it obeyed.
    #[error("the order is from before the device came back")]
    Stale,
    /// It names more recipients than it may, or longer ones.
    #[error("the order names too many recipients, or one that is too long")]
    Recipients,
}

impl OrderFault {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Stale => code::quarantine::ORDER_STALE,
            Self::Signature(_) | Self::OtherDevice | Self::Recipients => code::quarantine::ORDER_INVALID,
        }
    }
}

impl Order {
    /// Prepares the order for the key of orders.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(ORDER, key, cbor::encode(self))
    }
}

impl Record {
    /// Prepares the record for the device's identity key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(RECORD, key, cbor::encode(self))
    }
}

/// An order that counts for this device, now. Only [`judge`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedOrder(Order);

/// A record whose signature holds. Only [`verify_record`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord(Record);

impl VerifiedOrder {
    /// What is ordered.
    pub const fn order(&self) -> &Order {
        &self.0
    }
}

impl VerifiedRecord {
    /// What is recorded.
    pub const fn record(&self) -> &Record {
        &self.0
    }
}

/// What the authority keeps of a receipt until it comes back.
pub fn receipt_hash(receipt: &[u8; 32]) -> Sha256 {
    sha256_parts("kos quarantine receipt v1", [receipt.as_slice()])
}

/// Judges an order: whether its authority signed it for this device, and whether the device has not been through it.
///
/// # Errors
/// When it does not count. It does nothing then, whoever sent it.
pub fn judge(signed: &[u8], known: &Known<'_>) -> Result<VerifiedOrder, OrderFault> {
    let payload = Sealed::parse(signed, SIGNED_BYTES_MAX)?.verify(ORDER, known.orders)?;
    let order: Order = cbor::decode(&payload, SIGNED_BYTES_MAX).map_err(CoseError::from)?;
    if order.device != *known.device || order.authority != *known.authority {
        return Err(OrderFault::OtherDevice);
    }
    if order.issue < known.issue || known.obeyed.is_some_and(|obeyed| order.at <= obeyed) {
        return Err(OrderFault::Stale);
    }
    let fits = |text: &String| text.len() <= RECIPIENT_BYTES_MAX && text.is_ascii();
    if order.recipients.len() > RECIPIENTS_MAX || !order.recipients.iter().all(fits) {
        return Err(OrderFault::Recipients);
    }
    Ok(VerifiedOrder(order))
}

/// Checks a record against the identity key of the device that it speaks of.
///
/// # Errors
/// When it is not signed by that key.
pub fn verify_record(signed: &[u8], key: &PublicKey) -> Result<VerifiedRecord, CoseError> {
    let payload = Sealed::parse(signed, SIGNED_BYTES_MAX)?.verify(RECORD, key)?;
    Ok(VerifiedRecord(cbor::decode(&payload, SIGNED_BYTES_MAX)?))
}
