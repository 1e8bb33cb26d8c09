//! The one source of chance: xoshiro256++, seeded by SplitMix64. The same seed gives the same world on every machine.

/// A generator. Not for secrets: whoever knows the seed knows everything.
#[derive(Clone, Debug)]
pub struct Chance([u64; 4]);

impl Chance {
    /// A generator for this seed.
    pub const fn new(mut seed: u64) -> Self {
        let a = splitmix(&mut seed);
        let b = splitmix(&mut seed);
        let c = splitmix(&mut seed);
        let d = splitmix(&mut seed);
        Self([a, b, c, d])
    }

    /// 64 bits.
    pub const fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        // As in the reference, the new `a` and `b` are made of the new `c` and `d`, before those are changed again.
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `end`, or 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = (u128::from(self.bits()) * u128::from(end)) >> 64;
        u64::try_from(wide).unwrap_or_default()
    }

    /// A number from `first` to `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// True once in `n` times; never for 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// One of them; none of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(from.len()).unwrap_or(u64::MAX));
        from.get(usize::try_from(at).ok()?)
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.bits().to_le_bytes()) {
                *to = from;
            }
        }
        bytes
    }
}

const fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // xoshiro256++ from state 1, 2, 3, 4: the first outputs of the reference implementation.
        let mut chance = Chance([1, 2, 3, 4]);
        let drawn: Vec<_> = (0..4).map(|_| chance.bits()).collect();
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut chance = Chance::new(7);
        for _ in 0..1000 {
            assert!(chance.below(3) < 3);
            assert!((5..=6).contains(&chance.between(5, 6)));
        }
        assert_eq!(chance.below(0), 0);
        assert!(chance.pick::<u8>(&[]).is_none());
    }
}
