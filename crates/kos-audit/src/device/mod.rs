//! The log of a device: how it grows in files, how it is brought to the authority, and how the authority judges what comes.
//!
//! Both ends keep the same folder, which is that of C2SP tlog-tiles, and grow it by a [`Ledger`]. On the device entries
//! wait in a file of their own, the *tail*, until a checkpoint covers them. A [`Courier`] says what the device sends
//! next; [`receive`] judges it on the other side. A message is whole by itself: entries that follow one another, and a
//! checkpoint over the log up to the last of them.
//!
//! Invariants: what is acknowledged is verified and durable (the shell writes [`Growth`] in its order, then answers); a
//! ledger never grows by an entry that the log's key did not sign for that place, or to a root that it did not sign;
//! nothing below the size of a checkpoint is ever given up silently.
//!
//! What it does not do: read or write files, sign, or look at what entries say, but for their weight.
//!
//! Source: `docs/spec/device-log.md` DLG-1 to DLG-40; `docs/spec/audit.md` AUD-36 to AUD-42.

mod courier;
mod ledger;
mod receive;

pub use self::{
    courier::{Contradiction, Courier, Errand},
    ledger::{Growth, Ledger, LedgerError, TAIL_HEAD_BYTES, TailRead, tail_head},
    receive::{DeliveryFault, Taken, receive},
};

/// Most bytes of leaves that one message brings. With a checkpoint it fits into a frame of any carrier.
pub const PIECE_BYTES_MAX: usize = 48 * 1024;

#[cfg(test)]
mod tests;
