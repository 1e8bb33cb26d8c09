//! Every byte of a file counts.

use super::{GOLDEN, key, read_all};
use crate::{Sealed, Unlock, VaultError};

#[test]
fn every_changed_byte_is_found_and_named() {
    for at in 0..GOLDEN.len() {
        // One of the bits in turn; the case of a letter; and away altogether.
        for flip in [1 << (at % 8), 0x20, GOLDEN[at]] {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= flip;
            let refused = Sealed::parse(&bytes).and_then(|sealed| sealed.open(Unlock::Key(&key())));
            let why = refused.err().unwrap_or_else(|| panic!("byte {at} with {flip:#x} changes nothing"));
            assert!((601..=608).contains(&why.code().number()), "byte {at}: {why}");
        }
    }
}

#[test]
fn every_cut_is_found_and_named() {
    for end in 0..GOLDEN.len() {
        assert!(matches!(Sealed::parse(&GOLDEN[..end]), Err(VaultError::Malformed(_))), "{end}");
    }
    assert!(matches!(Sealed::parse(&[GOLDEN, b"x"].concat()), Err(VaultError::Malformed(_))));
}

#[test]
fn white_space_order_and_escapes_mean_nothing_and_everything_else_does() {
    let head = Sealed::parse(GOLDEN).unwrap().head();
    let value: serde_json::Value = serde_json::from_slice(GOLDEN).unwrap();
    // The value keeps its members sorted, the file does not.
    let sorted = serde_json::to_vec(&value).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    let text = String::from_utf8(GOLDEN.to_vec()).unwrap();
    let escaped = text.replace("\"machine\"", "\"\\u006dachine\"").into_bytes();
    for same in [sorted, pretty, escaped] {
        assert_ne!(same, GOLDEN);
        let opened = read_all(&same).unwrap();
        assert_eq!(opened.head(), head);
    }
}
