//! Every byte of a file counts.

use kos_base::Secret;

use super::{GOLDEN, PASSKEY, key, read_all};
use crate::{PrfOutput, Sealed, Unlock, VaultError};

fn check_flips(golden: &[u8], unlock: Unlock<'_>) {
    assert!(Sealed::parse(golden).and_then(|sealed| sealed.open(unlock)).is_ok());
    for at in 0..golden.len() {
        // One of the bits in turn; the case of a letter; and away altogether.
        for flip in [1 << (at % 8), 0x20, golden[at]] {
            let mut bytes = golden.to_vec();
            bytes[at] ^= flip;
            let refused = Sealed::parse(&bytes).and_then(|sealed| sealed.open(unlock));
            let why = refused.err().unwrap_or_else(|| panic!("byte {at} with {flip:#x} changes nothing"));
            assert!((601..=608).contains(&why.code().number()), "byte {at}: {why}");
        }
    }
}

#[test]
fn every_changed_byte_is_found_and_named() {
    check_flips(GOLDEN, Unlock::Key(&key()));
}

#[test]
fn every_changed_byte_is_found_and_named_by_whoever_opens_with_a_passkey() {
    let output = PrfOutput::new(Secret::new([11; 32])).unwrap();
    check_flips(PASSKEY, Unlock::Passkey(&output));
    check_flips(PASSKEY, Unlock::Key(&key()));
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
    // A map keeps members in order or as they came, as the build has it: neither is then the order of the file.
    let members = value.as_object().unwrap().clone().into_iter().rev();
    let turned = serde_json::to_vec(&members.collect::<serde_json::Map<_, _>>()).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    let text = String::from_utf8(GOLDEN.to_vec()).unwrap();
    let escaped = text.replace("\"machine\"", "\"\\u006dachine\"").into_bytes();
    for same in [turned, pretty, escaped] {
        assert_ne!(same, GOLDEN);
        let opened = read_all(&same).unwrap();
        assert_eq!(opened.head(), head);
    }
}
