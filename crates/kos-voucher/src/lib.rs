//! What lets a device in without a hand on it: a voucher of its maker, a factory certificate, or the word of a node that
//! is trusted already.
//!
//! Shape: [`Bundle::parse`] reads a voucher and its endorsements, [`Bundle::verify`] makes a [`Voucher`] of it;
//! [`idevid::judge`] makes a [`Factory`] of a factory certificate; [`Vouch`] and [`Grant`] are read and checked likewise.
//! [`entitle`] says what all of it comes to for one device.
//!
//! Invariants: a [`Voucher`] and a [`Factory`] can be built by the check that they stand for and by nothing else. Nothing here
//! gives more than the operator's terms, and nothing here looks at evidence of a TPM: that is handed in.
//!
//! Errors: [`Withheld`]: a code, and what exactly did not hold. It is no refusal: the device waits for a person.
//!
//! What it does not do: keep anything; count uses (whoever writes the record does, in the transaction that creates the device).
//!
//! Source: `docs/spec/voucher.md`; RFC 9052; IEEE 802.1AR; vectors in `tests/vectors/voucher`; fuzz target `voucher`.

mod entry;
pub mod idevid;
mod maker;
mod node;
mod voucher;
mod withheld;

pub use entry::{By, Entry, Known, Shown, Spends, entitle, naming};
pub use idevid::Factory;
pub use maker::{Certificates, Maker, Terms};
pub use node::{Grant, SignedBy, Sponsor, VOUCH_BYTES_MAX, VOUCH_LIFE_MAX, Vouch, Vouched};
pub use voucher::{
    Bundle, Endorsement, Fate, Kept, NotAVoucherId, Owner, Statement, Subject, VOUCHER_BYTES_MAX, Voucher,
    VoucherId, why_void,
};
pub use withheld::Withheld;
