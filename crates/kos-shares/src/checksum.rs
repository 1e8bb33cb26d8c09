//! RS1024: three words that notice a changed one.
//!
//! A Reed-Solomon code over GF(1024): every change of up to three words is noticed, and of changes of more words all but
//! one in 10^9. It protects against slips, not against malice: anybody can compute it.
//!
//! Invariant: no branch and no index depends on a word.
//!
//! Source: SLIP-39, "Checksum"; `docs/spec/recovery.md` RCV-6.

use crate::word::Word;

/// Words of a checksum.
pub(crate) const WORDS: usize = 3;

const GENERATOR: [u32; 10] = [
    0x00e0_e040,
    0x01c1_c080,
    0x0383_8100,
    0x0707_0200,
    0x0e0e_0009,
    0x1c0c_2412,
    0x3808_6c24,
    0x3090_fc48,
    0x21b1_f890,
    0x03f3_f120,
];

/// Shares say in one bit which of the two kinds they are, and each kind has a code of its own.
const fn customization(is_extendable: bool) -> &'static [u8] {
    if is_extendable { b"shamir_extendable" } else { b"shamir" }
}

/// The words that have to follow `data`.
pub(crate) fn create(is_extendable: bool, data: &[Word]) -> [Word; WORDS] {
    let remainder = remainder(is_extendable, data.iter().copied().chain([Word::default(); WORDS])) ^ 1;
    [20, 10, 0].map(|shift| Word::from_low_bits(remainder >> shift))
}

/// Whether the last words of a share follow from those before.
pub(crate) fn holds(is_extendable: bool, words: &[Word]) -> bool {
    remainder(is_extendable, words.iter().copied()) == 1
}

fn remainder(is_extendable: bool, words: impl Iterator<Item = Word>) -> u32 {
    let customization = customization(is_extendable).iter().map(|byte| u32::from(*byte));
    customization.chain(words.map(Word::bits)).fold(1, |sum, value| {
        let top = sum >> 20;
        let shifted = ((sum & 0xf_ffff) << Word::BITS) ^ value;
        (0..).zip(GENERATOR).fold(shifted, |sum, (bit, term)| sum ^ (term * ((top >> bit) & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_one_word_is_noticed() {
        for is_extendable in [false, true] {
            let data: Vec<Word> = (0..17).map(|i| Word::from_low_bits(i * 61)).collect();
            let mut words = [data.as_slice(), &create(is_extendable, &data)].concat();
            assert!(holds(is_extendable, &words) && !holds(!is_extendable, &words));
            for place in 0..words.len() {
                let right = words[place];
                for other in (0..1024).map(Word::from_low_bits).filter(|other| *other != right) {
                    words[place] = other;
                    assert!(!holds(is_extendable, &words));
                }
                words[place] = right;
            }
        }
    }
}
