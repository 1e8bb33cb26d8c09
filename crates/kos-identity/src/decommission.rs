//! The signed order to wipe, and the device's signed record of its end.
//!
//! An order comes from the authority's order key and holds random bytes, the receipt. The device first makes its record
//! durable (signed by its operational key while it still has one), then wipes, then sends receipt and record back over a
//! connection that only the authority's certificate protects: knowing the receipt proves that this device read the
//! order, and the record proves what it did. A device that ends itself draws the receipt, and gives notice before it
//! wipes if the authority can be reached.
//!
//! Source: `docs/spec/enrolment.md` END-1 to END-4; vectors in `tests/vectors/enrolment`.

use kos_base::{
    AuthorityName, DeviceId, EntryId, KeyId, PublicKey, Timestamp, cbor,
    cose::{CoseError, Purpose, Sealed, Unsigned},
    digest::{Sha256, sha256_parts},
};
use minicbor::{Decode, Encode};

use crate::enrolment::message::Bytes32;

/// Longest order or record in bytes.
pub const SIGNED_BYTES_MAX: usize = 2048;

const ORDER: Purpose = Purpose { domain: "kos decommission order v1", typ: "application/kos-order+cbor" };
const RECORD: Purpose = Purpose { domain: "kos decommission record v1", typ: "application/kos-record+cbor" };

/// What the authority orders.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// Names the order.
    #[n(0)]
    pub id: EntryId,
    /// Who is to wipe itself.
    #[n(1)]
    pub device: DeviceId,
    /// Who orders it.
    #[n(2)]
    pub authority: AuthorityName,
    /// When.
    #[n(3)]
    pub at: Timestamp,
    /// Comes back after the wipe.
    #[n(4)]
    pub receipt: Bytes32,
}

/// What the device leaves behind: `decommissioned.cose`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Record {
    /// Who ended.
    #[n(0)]
    pub device: DeviceId,
    /// Whose device it was.
    #[n(1)]
    pub authority: AuthorityName,
    /// When it began to wipe, by its own clock.
    #[n(2)]
    pub at: Timestamp,
    /// The order, or none when it ended itself.
    #[n(3)]
    pub order: Option<EntryId>,
    /// The receipt of the order, or random bytes of its own.
    #[n(4)]
    pub receipt: Bytes32,
    /// What the wipe assures.
    #[n(5)]
    pub assurance: Assurance,
    /// Root key of the authority, so that the notice finds the right one after the wipe.
    #[n(6)]
    pub pin: KeyId,
    /// Where the authority was.
    #[n(7)]
    pub addresses: Vec<String>,
}

/// What a wipe assures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Assurance {
    /// Overwritten and deleted, as well as the storage allows.
    #[n(0)]
    Cleared,
    /// The key that everything was encrypted with is destroyed.
    #[n(1)]
    CryptoErased,
}

impl Assurance {
    /// The word that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::CryptoErased => "crypto-erased",
        }
    }
}

/// What the authority keeps of a receipt until it comes back.
pub fn receipt_hash(receipt: &[u8; 32]) -> Sha256 {
    sha256_parts("kos decommission receipt v1", [receipt.as_slice()])
}

impl Order {
    /// Prepares the order for the order key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(ORDER, key, cbor::encode(self))
    }
}

impl Record {
    /// Prepares the record for the device's operational key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(RECORD, key, cbor::encode(self))
    }

    /// Reads a record without judging it, to find out whose it claims to be.
    ///
    /// # Errors
    /// When it is not a record at all.
    pub fn peek(signed: &[u8]) -> Result<Self, CoseError> {
        let sealed = Sealed::parse(signed, SIGNED_BYTES_MAX)?;
        Ok(cbor::decode(sealed.unverified_payload(), SIGNED_BYTES_MAX)?)
    }
}

/// An order whose signature holds. Only [`verify_order`] makes one.
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

/// Checks an order against the authority's order key and the device that it is to be for.
///
/// # Errors
/// When it is not signed by that key or is for another device. Ignore it and record that it came.
pub fn verify_order(signed: &[u8], key: &PublicKey, device: &DeviceId) -> Result<VerifiedOrder, CoseError> {
    let payload = Sealed::parse(signed, SIGNED_BYTES_MAX)?.verify(ORDER, key)?;
    let order: Order = cbor::decode(&payload, SIGNED_BYTES_MAX)?;
    if order.device == *device { Ok(VerifiedOrder(order)) } else { Err(CoseError::Mismatch) }
}

/// Checks a record against the operational key of the device that it speaks of.
///
/// # Errors
/// When it is not signed by that key.
pub fn verify_record(signed: &[u8], key: &PublicKey) -> Result<VerifiedRecord, CoseError> {
    let payload = Sealed::parse(signed, SIGNED_BYTES_MAX)?.verify(RECORD, key)?;
    Ok(VerifiedRecord(cbor::decode(&payload, SIGNED_BYTES_MAX)?))
}
