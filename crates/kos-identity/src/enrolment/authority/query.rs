//! What a session asks the store, and what it is told.

use kos_attest::GoldenSet;
use kos_base::{DeviceId, DeviceState, EntryId, KeyId, Mac};
use kos_voucher::{Kept, Maker, Sponsor};

use crate::registry::{Device, Ticket};

/// What to look up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// A device whose identity key, operational key or unconfirmed operational key this is.
    pub key: Option<KeyId>,
    /// A device by id.
    pub device: Option<DeviceId>,
    /// A ticket.
    pub ticket: Option<EntryId>,
    /// Devices that show any of these under another identity key.
    pub macs: Vec<Mac>,
    /// Likewise.
    pub serials: Vec<String>,
    /// An endorsement key: whether it is listed, and who else showed it.
    pub ek: Option<KeyId>,
    /// Vouchers, by [`kos_voucher::Subject::place`]. With any of them go the makers.
    pub vouchers: Vec<String>,
    /// The makers alone.
    pub makers: bool,
    /// A grant to vouch, and the node that it is of.
    pub sponsor: Option<(EntryId, DeviceId)>,
    /// For counting who waits from this address.
    pub source: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The device.
    pub device: Option<Device>,
    /// The ticket.
    pub ticket: Option<Ticket>,
    /// Devices with the same hardware and another identity key.
    pub lookalikes: Vec<Lookalike>,
    /// How many devices wait in all.
    pub waiting: u64,
    /// How many wait from this address.
    pub waiting_from_source: u64,
    /// Whether an operator listed the endorsement key.
    pub ek_listed: bool,
    /// What good starts look like.
    pub golden: Vec<GoldenSet>,
    /// Vouchers under what the device shows.
    pub vouchers: Vec<Kept>,
    /// Makers whom operators trust.
    pub makers: Vec<Maker>,
    /// The grant to vouch.
    pub sponsor: Option<Box<Sponsor>>,
    /// The node that it is of.
    pub node: Option<Box<Device>>,
    /// Newest revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
}

/// A device with the same hardware as the one that asks, under another identity key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookalike {
    /// Which.
    pub id: DeviceId,
    /// Where it is in its life.
    pub state: DeviceState,
    /// Whether it was banned.
    pub banned: bool,
    /// Whether it has proven that it has the TPM that is asked about, and holds a certificate or did.
    pub has_tpm: bool,
}
