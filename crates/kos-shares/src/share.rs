//! One share: what its words say, and how they are read and written.
//!
//! Shape, in bits from the first word on: identifier 15, extendable 1, iteration exponent 4, group index 4, group threshold
//! 4, group count 4, member index 4, member threshold 4 (thresholds and count less one), then the value with zero bits in
//! front that make it a multiple of ten, then three words of checksum. A key of 256 bits makes 33 words.
//!
//! Invariants: what is read is written in the same words, in lower case with one space between. A [`Share`] has a value of
//! 16 to 64 bytes, an even number, and its set has no more needed groups than there are.
//!
//! Errors: [`ShareError`], all of them the typing person's to mend, but `Malformed`, which no sheet of ours has.
//!
//! Source: SLIP-39, "Format of the share mnemonic"; `docs/spec/recovery.md` RCV-3, RCV-6 to RCV-9; fuzz target `share`.

use core::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    ITERATION_EXPONENT_MAX, SecretText, ShareError, WORDS_MAX, WORDS_MIN, checksum, field::Point, word::Word,
};

/// Words in front of the value.
const HEAD_WORDS: usize = 4;
/// Longest word and a space, in bytes.
const WORD_BYTES_MAX: usize = 9;
/// A value is a whole number of these, in bits.
const VALUE_UNIT_BITS: usize = 16;

/// Names one sharing: 15 random bits, the same in all shares of a set. Not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identifier(u16);

impl Identifier {
    /// The lower 15 of 16 random bits. One in 32 768 is the one of the sharing before: draw again then, so that older sheets
    /// are known by their first words.
    pub const fn from_random(bytes: [u8; 2]) -> Self {
        Self(u16::from_be_bytes(bytes) & 0x7fff)
    }

    /// What a vault keeps of it.
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

/// What all shares of a set have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) identifier: Identifier,
    pub(crate) is_extendable: bool,
    pub(crate) iteration_exponent: u8,
    pub(crate) group_threshold: u8,
    pub(crate) group_count: u8,
}

impl Set {
    /// What is put in front of the salt of each round: older sets hold themselves apart by it.
    pub(crate) fn salt(&self) -> Vec<u8> {
        if self.is_extendable {
            Vec::new()
        } else {
            [b"shamir".as_slice(), &self.identifier.to_bytes()].concat()
        }
    }
}

/// One of the shares of a secret. Equal when all their words are.
pub struct Share {
    pub(crate) set: Set,
    /// From 0, as all numbers here.
    pub(crate) group: u8,
    pub(crate) member: u8,
    pub(crate) member_threshold: u8,
    pub(crate) value: Zeroizing<Vec<u8>>,
}

impl Share {
    /// Which sharing it is of.
    pub const fn identifier(&self) -> Identifier {
        self.set.identifier
    }

    /// Its number in its group, from 1.
    pub const fn number(&self) -> u8 {
        self.member + 1
    }

    /// How many shares of its group are needed.
    pub const fn threshold(&self) -> u8 {
        self.member_threshold
    }

    /// What the polynomials of its group are at its number.
    pub(crate) fn point(&self) -> Point<'_> {
        (self.member, &self.value)
    }

    /// Its words in lower case, one space between two.
    pub fn to_words(&self) -> SecretText {
        let mut text = SecretText::with_room(WORDS_MAX * WORD_BYTES_MAX);
        for (index, word) in self.words().iter().enumerate() {
            text.push(if index == 0 { "" } else { " " });
            text.push(word.as_str());
        }
        text
    }

    /// Reads words in any case with any white space between, before and behind.
    ///
    /// # Errors
    /// [`ShareError::Word`], [`ShareError::Length`], [`ShareError::Checksum`] or [`ShareError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let mut words = Zeroizing::new(Vec::with_capacity(WORDS_MAX));
        for (index, typed) in text.split_whitespace().enumerate() {
            if index == WORDS_MAX {
                return Err(ShareError::Length(index + 1));
            }
            words.push(Word::read(typed, index + 1)?);
        }
        Self::from_words(&words)
    }

    fn words(&self) -> Zeroizing<Vec<Word>> {
        let set = &self.set;
        let mut words = Bits::with_room(WORDS_MAX);
        words.push(u32::from(set.identifier.0), 15);
        words.push(u32::from(set.is_extendable), 1);
        words.push(u32::from(set.iteration_exponent), 4);
        words.push(u32::from(self.group), 4);
        words.push(u32::from(set.group_threshold - 1), 4);
        words.push(u32::from(set.group_count - 1), 4);
        words.push(u32::from(self.member), 4);
        words.push(u32::from(self.member_threshold - 1), 4);
        words.pad(self.value.len() * 8);
        self.value.iter().for_each(|byte| words.push(u32::from(*byte), 8));
        let checksum = checksum::create(set.is_extendable, &words.done);
        words.done.extend(checksum);
        words.done
    }

    fn from_words(words: &[Word]) -> Result<Self, ShareError> {
        let value_words = words.len().saturating_sub(HEAD_WORDS + checksum::WORDS);
        let padding = value_words * 10 % VALUE_UNIT_BITS;
        if !(WORDS_MIN..=WORDS_MAX).contains(&words.len()) || padding > 8 {
            return Err(ShareError::Length(words.len()));
        }
        let mut bits =
            words.iter().flat_map(|word| (0..Word::BITS).rev().map(|bit| (word.bits() >> bit) & 1));
        let mut take = |count: usize| bits.by_ref().take(count).fold(0, |number, bit| (number << 1) | bit);

        let identifier = Identifier(u16::try_from(take(15)).unwrap_or_default());
        let is_extendable = take(1) == 1;
        if !checksum::holds(is_extendable, words) {
            return Err(ShareError::Checksum);
        }
        let mut number = |bits| u8::try_from(take(bits)).unwrap_or_default();
        let iteration_exponent = number(4);
        let group = number(4);
        let (group_threshold, group_count) = (number(4) + 1, number(4) + 1);
        let member = number(4);
        let member_threshold = number(4) + 1;
        if number(padding) != 0 {
            return Err(ShareError::Malformed("its padding is not zero"));
        }
        let value = (0..(value_words * 10 - padding) / 8).map(|_| number(8));
        let value = Zeroizing::new(value.collect::<Vec<u8>>());

        if group_threshold > group_count || group >= group_count {
            return Err(ShareError::Malformed("it tells of more groups than there are"));
        }
        if iteration_exponent > ITERATION_EXPONENT_MAX {
            return Err(ShareError::Malformed("it asks for too much work"));
        }
        let set = Set { identifier, is_extendable, iteration_exponent, group_threshold, group_count };
        Ok(Self { set, group, member, member_threshold, value })
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        let place = |share: &Self| (share.set, share.group, share.member, share.member_threshold);
        place(self) == place(other) && self.value.ct_eq(&other.value).into()
    }
}

impl Eq for Share {}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}, {}, ..)", self.set.identifier, self.number())
    }
}

/// Words in the making.
struct Bits {
    /// Lowest bits that are no word yet.
    pending: u32,
    count: u32,
    done: Zeroizing<Vec<Word>>,
}

impl Bits {
    fn with_room(words: usize) -> Self {
        Self { pending: 0, count: 0, done: Zeroizing::new(Vec::with_capacity(words)) }
    }

    /// Appends the lowest `count` bits of `number`, at most 16, the highest first.
    fn push(&mut self, number: u32, count: u32) {
        self.pending = (self.pending << count) | number;
        self.count += count;
        while self.count >= Word::BITS {
            self.count -= Word::BITS;
            self.done.push(Word::from_low_bits(self.pending >> self.count));
            self.pending &= (1 << self.count) - 1;
        }
    }

    /// Appends the zeros after which so many bits end a word.
    fn pad(&mut self, bits: usize) {
        let in_last_word = bits % 10;
        if in_last_word != 0 {
            (in_last_word..10).for_each(|_| self.push(0, 1));
        }
    }
}
