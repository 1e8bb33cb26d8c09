//! The 1 024 words, each of which stands for ten bits.
//!
//! `words.txt` is the list of SLIP-39 as published: sorted, four to eight letters, and no two words begin with the same four.
//! Its SHA-256 is checked here, and against the list of a foreign library in `tests/judge`.
//!
//! Source: SLIP-39, "Wordlist"; `docs/spec/recovery.md` RCV-3, RCV-8.

use core::fmt;
use std::sync::LazyLock;

use zeroize::{Zeroize, Zeroizing};

const LIST: &str = include_str!("words.txt");

static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| LIST.lines().collect());

/// Letters that tell a word from all others.
const PREFIX_LETTERS: usize = 4;

/// Longest text that is compared with the words, in bytes; what is longer is a typing error of another kind.
const TYPED_BYTES_MAX: usize = 16;

/// Ten bits, written as a word.
#[derive(Clone, Copy, PartialEq, Eq, Default, Zeroize)]
pub(crate) struct Word(u32);

impl Word {
    pub(crate) const BITS: u32 = 10;

    /// The lowest ten bits of `bits`.
    pub(crate) const fn from_low_bits(bits: u32) -> Self {
        Self(bits & 0x3ff)
    }

    /// Below 1 024.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn as_str(self) -> &'static str {
        let word = usize::try_from(self.0).ok().and_then(|index| WORDS.get(index));
        word.copied().unwrap_or_default()
    }

    /// Reads the word at `position` of a share, counted from one, in any case.
    pub(crate) fn read(typed: &str, position: usize) -> Result<Self, UnknownWord> {
        let typed = Zeroizing::new(typed.to_ascii_lowercase());
        let found = WORDS.binary_search(&typed.as_str()).ok().and_then(|index| u32::try_from(index).ok());
        found.map(Self).ok_or_else(|| UnknownWord { position, nearest: nearest(&typed) })
    }
}

/// The one word that was meant: the one with the same first letters, or else the only one that is a slip of one letter away.
fn nearest(typed: &str) -> Option<&'static str> {
    if typed.len() > TYPED_BYTES_MAX {
        return None;
    }
    let prefix = typed.get(..PREFIX_LETTERS);
    if let Some(word) = prefix.and_then(|prefix| WORDS.iter().find(|word| word.starts_with(prefix))) {
        return Some(word);
    }
    let mut close = WORDS.iter().filter(|word| strsim::osa_distance(word, typed) <= 1);
    match (close.next(), close.next()) {
        (Some(word), None) => Some(word),
        _ => None,
    }
}

/// A word that is not in the list. Neither it nor the one that was meant is printed, since both belong to a secret.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("word {position} is not in the list of words")]
pub struct UnknownWord {
    position: usize,
    nearest: Option<&'static str>,
}

impl UnknownWord {
    /// Which one it is, counted from one.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The one word that was likely meant, to be shown to whoever typed and to nobody else. The share is never mended with
    /// it: only the sheet knows.
    pub const fn nearest(&self) -> Option<&'static str> {
        self.nearest
    }
}

impl fmt::Debug for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnknownWord({}, ..)", self.position)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use kos_base::digest::sha256;

    use super::*;

    fn check_nearest(typed: &str, expected: Option<&str>) {
        let unknown = Word::read(typed, 7).map(Word::bits).unwrap_err();
        assert_eq!((unknown.position(), unknown.nearest()), (7, expected), "{typed}");
    }

    #[test]
    fn the_list_is_the_published_one() {
        assert_eq!(
            HEXLOWER.encode(&sha256(LIST.as_bytes())),
            "bcc4555340332d169718aed8bf31dd9d5248cb7da6e5d355140ef4f1e601eec3"
        );
    }

    #[test]
    fn the_list_keeps_what_reading_relies_on() {
        assert_eq!(WORDS.len(), 1024);
        assert!(WORDS.is_sorted_by(|a, b| a[..PREFIX_LETTERS] < b[..PREFIX_LETTERS]));
        assert!(WORDS.iter().all(|word| (4..=8).contains(&word.len())));
    }

    #[test]
    fn every_word_is_read_as_itself_in_any_case() {
        for bits in 0..1024 {
            let word = Word::from_low_bits(bits);
            assert_eq!(Word::read(word.as_str(), 1).map(Word::bits), Ok(bits));
            assert_eq!(Word::read(&word.as_str().to_uppercase(), 1).map(Word::bits), Ok(bits));
        }
        assert_eq!(
            (Word::from_low_bits(0).as_str(), Word::from_low_bits(1023).as_str()),
            ("academic", "zero")
        );
    }

    #[test]
    fn the_word_that_was_meant_is_named_where_there_is_only_one() {
        check_nearest("acadmic", Some("academic"));
        check_nearest("acad", Some("academic"));
        check_nearest("ACADEMY", Some("academic"));
        check_nearest("cademic", Some("academic"));
        check_nearest("zreo", Some("zero"));
        check_nearest("ero", Some("zero"));
        check_nearest("", None);
        check_nearest("x", None);
        check_nearest("élan", Some("plan"));
        check_nearest("éléé", None);
        check_nearest("acaédemic", Some("academic"));
        check_nearest("academicacademicacademic", None);
    }

    #[test]
    fn an_unknown_word_prints_its_place_only() {
        let unknown = Word::read("acadmic", 7).map(Word::bits).unwrap_err();
        assert_eq!(format!("{unknown} {unknown:?}"), "word 7 is not in the list of words UnknownWord(7, ..)");
    }
}
