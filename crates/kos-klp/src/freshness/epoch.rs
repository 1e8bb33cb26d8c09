//! A sender's own places: an epoch that only grows, and a sequence within it.
//!
//! The epoch must be on disk before the first message under it, else a crash could give the same places out twice. The
//! types say so: [`EpochClaim`] is all that one gets from the clock and the store, and only a caller that reports it
//! durable gets the [`Sender`].
//!
//! Source: `docs/spec/klp.md` KLP-20, KLP-41.

use kos_base::{
    Timestamp,
    cbor::{self, CborError},
};

use crate::message::{Order, Place};

/// Longest stored epoch, in bytes.
const STORED_BYTES_MAX: usize = 9;

/// An epoch that is not durable yet.
#[derive(Debug)]
pub struct EpochClaim(u64);

impl EpochClaim {
    /// The next epoch: after the stored one, and not before now.
    ///
    /// # Errors
    /// When what is stored is not an epoch. Do not start over with a new one: receivers would refuse everything.
    pub fn after(now: Timestamp, stored: Option<&[u8]>) -> Result<Self, CborError> {
        let last = stored.map(|bytes| cbor::decode::<u64>(bytes, STORED_BYTES_MAX)).transpose()?;
        Ok(Self(last.map_or(0, |last| last.saturating_add(1)).max(now.unix_ms())))
    }

    /// What to store in place of the last.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&self.0)
    }

    /// The caller says that the bytes are durable.
    pub const fn is_durable(self) -> Sender {
        Sender { epoch: self.0, sequence: 0 }
    }
}

/// Gives out the places of one node.
#[derive(Debug)]
pub struct Sender {
    epoch: u64,
    sequence: u64,
}

impl Sender {
    /// The epoch of this run.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The next place, for a message on a direct link. Receivers allow gaps, so one sequence serves all of them.
    pub const fn direct(&mut self) -> Order {
        self.sequence = self.sequence.saturating_add(1);
        Order::Direct(Place { epoch: self.epoch, sequence: self.sequence })
    }

    /// For a message that may be relayed or stored.
    pub const fn stored(&self) -> Order {
        Order::Stored { epoch: self.epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(now: u64, stored: Option<&EpochClaim>) -> EpochClaim {
        let stored = stored.map(EpochClaim::to_bytes);
        EpochClaim::after(Timestamp::from_unix_ms(now), stored.as_deref()).unwrap()
    }

    #[test]
    fn an_epoch_grows_also_when_the_clock_goes_back() {
        let first = epoch(1_000, None);
        assert_eq!(first.0, 1_000);
        let second = epoch(500, Some(&first));
        assert_eq!(second.0, 1_001);
        assert_eq!(epoch(9_000, Some(&second)).0, 9_000);
    }

    #[test]
    fn a_damaged_epoch_is_not_replaced_by_a_new_one() {
        for damaged in [&b""[..], &[0x18], &[0xf6], &[0, 0]] {
            assert!(EpochClaim::after(Timestamp::from_unix_ms(1), Some(damaged)).is_err());
        }
    }

    #[test]
    fn places_rise_from_one() {
        let mut sender = epoch(7, None).is_durable();
        assert_eq!(sender.direct(), Order::Direct(Place { epoch: 7, sequence: 1 }));
        assert_eq!(sender.direct(), Order::Direct(Place { epoch: 7, sequence: 2 }));
        assert_eq!(sender.stored(), Order::Stored { epoch: 7 });
    }
}
