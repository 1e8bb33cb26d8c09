//! The sequences that one sender has used: the greatest, and which of the 4 095 below it.
//!
//! Source: `docs/spec/klp.md` KLP-37; the shape of RFC 6479.

use minicbor::{Decoder, Encoder, decode, encode};

use super::FreshnessError;
use crate::{
    fields::{Field, read_array_head, read_map, required},
    message::Place,
};

/// How far below the greatest sequence one may still arrive: what carriers reorder, at 512 bytes a sender.
pub const WINDOW_SEQUENCES: u64 = 4096;

const WORD_BITS: u64 = 64;
const WORDS: usize = 64;

/// Which places of one sender have been used. Empty until the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    epoch: u64,
    greatest: u64,
    /// One bit for each of the last 4 096 sequences, at its number modulo 4 096. None until the first.
    seen: Option<Box<[u64; WORDS]>>,
}

impl Window {
    /// Uses `place` up, or says that it must not be used.
    ///
    /// # Errors
    /// When the epoch or sequence is too old, or the place was used before; drop the message.
    pub fn accept(&mut self, place: Place) -> Result<(), FreshnessError> {
        if place.sequence == 0 || place.epoch < self.epoch {
            return Err(FreshnessError::OldEpoch);
        }
        if place.epoch > self.epoch {
            *self = Self { epoch: place.epoch, greatest: 0, seen: None };
        }
        let seen = self.seen.get_or_insert_with(|| Box::new([0; WORDS]));
        if place.sequence > self.greatest {
            clear_between(seen, self.greatest, place.sequence);
            self.greatest = place.sequence;
        } else if self.greatest - place.sequence >= WINDOW_SEQUENCES || bit(seen, place.sequence) {
            return Err(FreshnessError::Replayed);
        }
        set(seen, place.sequence);
        Ok(())
    }

    /// The greatest place seen.
    pub const fn greatest(&self) -> Place {
        Place { epoch: self.epoch, sequence: self.greatest }
    }
}

fn position(sequence: u64) -> (usize, u64) {
    let at = sequence % WINDOW_SEQUENCES;
    (usize::try_from(at / WORD_BITS).unwrap_or(0), 1 << (at % WORD_BITS))
}

fn bit(seen: &[u64; WORDS], sequence: u64) -> bool {
    let (word, mask) = position(sequence);
    seen.get(word).is_some_and(|word| word & mask != 0)
}

fn set(seen: &mut [u64; WORDS], sequence: u64) {
    let (word, mask) = position(sequence);
    seen.iter_mut().skip(word).take(1).for_each(|word| *word |= mask);
}

/// Makes room for the sequences after `greatest` up to `new`.
fn clear_between(seen: &mut [u64; WORDS], greatest: u64, new: u64) {
    if new - greatest >= WINDOW_SEQUENCES {
        *seen = [0; WORDS];
        return;
    }
    let mut at = greatest + 1;
    while at <= new {
        let (word, mask) = position(at);
        let whole = mask == 1 && new - at >= WORD_BITS - 1;
        let keep = if whole { 0 } else { !mask };
        seen.iter_mut().skip(word).take(1).for_each(|word| *word &= keep);
        at += if whole { WORD_BITS } else { 1 };
    }
}

/// CBOR: the map 1 epoch, 2 greatest, 3 the words of the window.
impl<C> minicbor::Encode<C> for Window {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(2 + u64::from(self.seen.is_some()))?.u8(1)?.u64(self.epoch)?.u8(2)?.u64(self.greatest)?;
        if let Some(seen) = &self.seen {
            e.u8(3)?.array(64)?;
            seen.iter().try_for_each(|word| e.u64(*word).map(drop))?;
        }
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Window {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut epoch, mut greatest, mut seen) = (None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => epoch = Some(d.u64()?),
                2 => greatest = Some(d.u64()?),
                3 => {
                    read_array_head(d, 64)?;
                    let mut words = Box::new([0; WORDS]);
                    words.iter_mut().try_for_each(|word| d.u64().map(|read| *word = read))?;
                    seen = Some(words);
                }
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { epoch: required(epoch)?, greatest: required(greatest)?, seen })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use kos_base::cbor::{decode, encode};
    use proptest::prelude::*;

    use super::*;

    fn at(epoch: u64, sequence: u64) -> Place {
        Place { epoch, sequence }
    }

    #[test]
    fn a_place_is_used_once() {
        let mut window = Window::default();
        for (place, outcome) in [
            (at(5, 1), Ok(())),
            (at(5, 1), Err(FreshnessError::Replayed)),
            (at(5, 3), Ok(())),
            (at(5, 2), Ok(())),
            (at(5, 2), Err(FreshnessError::Replayed)),
            (at(5, 0), Err(FreshnessError::OldEpoch)),
            (at(5, 4099), Ok(())),
            (at(5, 3), Err(FreshnessError::Replayed)),
            (at(5, 4), Ok(())),
            (at(4, 9999), Err(FreshnessError::OldEpoch)),
            (at(6, 1), Ok(())),
            (at(5, 5000), Err(FreshnessError::OldEpoch)),
            (at(6, u64::MAX), Ok(())),
            (at(6, u64::MAX), Err(FreshnessError::Replayed)),
            (at(6, u64::MAX - 1), Ok(())),
        ] {
            assert_eq!(window.accept(place), outcome, "{place:?}");
        }
    }

    /// The same promise, kept with a set of everything ever seen.
    #[derive(Default)]
    struct Model {
        greatest: Place2,
        seen: HashSet<(u64, u64)>,
    }

    type Place2 = (u64, u64);

    impl Model {
        fn accepts(&mut self, place: Place) -> bool {
            let (epoch, greatest) = self.greatest;
            let fits = place.epoch > epoch
                || place.epoch == epoch
                    && (place.sequence > greatest || greatest - place.sequence < WINDOW_SEQUENCES);
            if place.sequence == 0 || !fits || !self.seen.insert((place.epoch, place.sequence)) {
                return false;
            }
            self.greatest = self.greatest.max((place.epoch, place.sequence));
            true
        }
    }

    proptest! {
        #[test]
        fn the_window_decides_as_a_set_of_everything_would(
            steps in prop::collection::vec((0u64..3, prop_oneof![0u64..70, 0u64..9000, Just(4096), Just(8192)]), 1..400),
            restart_at in 0usize..400,
        ) {
            let (mut window, mut model) = (Window::default(), Model::default());
            for (n, (epoch, sequence)) in steps.into_iter().enumerate() {
                let place = at(epoch, sequence);
                prop_assert_eq!(window.accept(place).is_ok(), model.accepts(place), "{:?}", place);
                if n == restart_at {
                    window = decode(&encode(&window), 4096).unwrap();
                }
            }
        }

        #[test]
        fn a_rising_sequence_with_gaps_is_accepted_and_each_replay_refused(
            gaps in prop::collection::vec(1u64..5000, 1..60),
        ) {
            let mut window = Window::default();
            let mut sequence = 0;
            for gap in gaps {
                sequence += gap;
                prop_assert_eq!(window.accept(at(1, sequence)), Ok(()));
                prop_assert!(window.accept(at(1, sequence)).is_err());
            }
        }
    }
}
