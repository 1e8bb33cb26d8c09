//! How bad things are: what the seed decided about network, power and clocks.

use core::time::Duration;

use crate::chance::Chance;

/// One in how many times something goes wrong; 0 for never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// A frame, or an attempt to connect, is lost and the connection with it.
    pub(super) loses: u64,
    /// A frame is delayed beyond everybody's patience.
    pub(super) stalls: u64,
    /// A device loses power before it acts on an output.
    pub(super) device_cuts: u64,
    /// The authority loses power before it acts on an output.
    pub(super) authority_cuts: u64,
    /// An operator does something to a device while its conversation is under way.
    pub(super) meddles: u64,
    /// A connection without pins ends up with somebody else.
    pub(super) intercepts: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub(super) const CALM: Self =
        Self { loses: 0, stalls: 0, device_cuts: 0, authority_cuts: 0, meddles: 0, intercepts: 0 };

    /// What this seed brings: each trouble is absent, rare or frequent.
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let mut often = |rare: u64, frequent: u64| match chance.below(3) {
            0 => 0,
            1 => rare,
            _ => frequent,
        };
        Self {
            loses: often(40, 8),
            stalls: often(60, 15),
            device_cuts: often(120, 20),
            authority_cuts: often(300, 50),
            meddles: often(40, 12),
            intercepts: often(12, 4),
        }
    }

    /// How long a frame or an answer takes.
    pub(super) fn delay(&self, chance: &mut Chance) -> Duration {
        let ms = if self.stalls > 0 && chance.one_in(self.stalls) {
            chance.between(20_000, 90_000)
        } else if chance.one_in(8) {
            chance.between(50, 3_000)
        } else {
            chance.between(1, 40)
        };
        Duration::from_millis(ms)
    }
}
