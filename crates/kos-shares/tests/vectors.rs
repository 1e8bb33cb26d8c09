//! The published vectors of SLIP-39: `tests/vectors/slip39`.
#![cfg(test)]

use data_encoding::HEXLOWER;
use kos_base::code::{Code, share};
use kos_shares::{Joiner, Passphrase, Share, ShareError, WORDS_MAX};

const VECTORS: &str = include_str!("../../../tests/vectors/slip39/vectors.json");

/// What is wrong with the sets that join to nothing, by what their description begins with.
const FAULTS: [(&str, Code); 15] = [
    ("Mnemonic with invalid checksum", share::SHARE_CHECKSUM),
    ("Mnemonic with invalid padding", share::SHARE_MALFORMED),
    ("Basic sharing 2-of-3", share::SHARES_MISSING),
    ("Mnemonics with different identifiers", share::SHARE_OTHER_SET),
    ("Mnemonics with different iteration exponents", share::SHARE_OTHER_SET),
    ("Mnemonics with mismatching group thresholds", share::SHARE_OTHER_SET),
    ("Mnemonics with mismatching group counts", share::SHARE_OTHER_SET),
    ("Mnemonics with greater group threshold than group counts", share::SHARE_MALFORMED),
    ("Mnemonics with duplicate member indices", share::SHARE_CONTRADICTING),
    ("Mnemonics with mismatching member thresholds", share::SHARE_OTHER_SET),
    ("Mnemonics giving an invalid digest", share::SHARES_DIGEST),
    ("Insufficient number of groups", share::SHARES_MISSING),
    ("Threshold number of groups, but insufficient number of members", share::SHARES_MISSING),
    ("Mnemonic with insufficient length", share::SHARE_LENGTH),
    ("Mnemonic with invalid master secret length", share::SHARE_LENGTH),
];

struct Vector {
    description: String,
    shares: Vec<String>,
    /// In hex; empty when the shares are not to join.
    secret: String,
}

fn vectors() -> Vec<Vector> {
    let read: Vec<(String, Vec<String>, String, String)> = serde_json::from_str(VECTORS).unwrap();
    let vector = |(description, shares, secret, _)| Vector { description, shares, secret };
    read.into_iter().map(vector).collect()
}

fn join(shares: &[String]) -> Result<String, ShareError> {
    let mut joiner = Joiner::new();
    for share in shares {
        joiner.add(Share::parse(share)?)?;
    }
    let passphrase = Passphrase::new("TREZOR".to_owned()).unwrap();
    Ok(HEXLOWER.encode(joiner.join_guarded(&passphrase)?.expose()))
}

#[test]
fn every_valid_set_joins_to_its_secret() {
    let (mut joined, mut extendable) = (0, 0);
    for vector in vectors().iter().filter(|vector| !vector.secret.is_empty()) {
        assert_eq!(join(&vector.shares).as_ref(), Ok(&vector.secret), "{}", vector.description);
        joined += 1;
        extendable += usize::from(vector.description.to_lowercase().contains("extendable"));
    }
    assert_eq!((joined, extendable), (15, 4));
}

#[test]
fn every_invalid_set_is_refused_for_what_is_wrong_with_it() {
    let mut refused = 0;
    for vector in vectors().iter().filter(|vector| vector.secret.is_empty()) {
        let (_, kind) = vector.description.split_once(". ").unwrap();
        let (_, expected) = FAULTS.iter().find(|(start, _)| kind.starts_with(start)).unwrap();
        let found = join(&vector.shares).map_err(|error| error.code());
        assert_eq!(found, Err(*expected), "{}", vector.description);
        refused += 1;
    }
    assert_eq!(refused, 30);
}

#[test]
fn malice_is_refused_with_its_code() {
    let cases: Vec<(String, Vec<String>, String)> =
        serde_json::from_str(include_str!("../../../tests/vectors/slip39/malice.json")).unwrap();
    for (description, shares, code) in &cases {
        let read: Result<Vec<_>, _> = shares.iter().map(|share| Share::parse(share)).collect();
        let refused = read.and_then(kos_shares::join).unwrap_err();
        assert_eq!(refused.code().to_string(), *code, "{description}");
    }
    assert_eq!(cases.len(), 7);
}

#[test]
fn every_share_that_is_read_is_written_in_the_same_words() {
    let mut read = 0;
    for text in vectors().iter().flat_map(|vector| &vector.shares) {
        if let Ok(share) = Share::parse(text) {
            assert_eq!(share.to_words().expose(), text);
            read += 1;
        }
    }
    assert!(read > 60, "{read}");
}

#[test]
fn the_longest_share_is_read_and_a_word_more_is_too_many() {
    let text = include_str!("../../../tests/vectors/slip39/512-bits.txt").trim_end();
    assert_eq!(text.split(' ').count(), WORDS_MAX);
    assert_eq!(Share::parse(text).unwrap().to_words().expose(), text);
    assert_eq!(Share::parse(&format!("{text} academic")).unwrap_err(), ShareError::Length(WORDS_MAX + 1));
}
