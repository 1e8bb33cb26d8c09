use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::fixtures::NOW;

fn make() -> Keys {
    Keys::make(&"attic".parse().unwrap(), NOW).unwrap()
}

#[test]
fn keys_are_read_back_and_nobody_else_may_read_them() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("keys");
    let made = make();
    made.store_in(&folder).unwrap();
    let read = Keys::load(&folder).unwrap();
    assert_eq!(read.store, made.store);
    assert_eq!(read.root_certificate, made.root_certificate);
    assert_eq!(read.public(), made.public());
    assert_eq!(read.root_certificate.authority(), Some("attic".parse().unwrap()));
    for class in IssuerClass::ALL {
        assert_eq!(read.issuing(class).public(), made.issuing_certificate(class).public_key());
        assert_eq!(read.issuing_certificate(class).issuer_class(), Some(class));
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn no_two_keys_are_the_same() {
    let keys = make();
    let [one, two] = &keys.issuing;
    let all = [&keys.root, one, two, &keys.kid, &keys.log, &keys.orders];
    let ids: std::collections::HashSet<_> = all.iter().map(|key| key.public().id()).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn a_flipped_byte_in_any_key_file_is_named() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("keys");
    make().store_in(&folder).unwrap();
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let found = Keys::load(&folder).map(|_| "not noticed");
            assert!(matches!(found, Err(KeysError::Damaged { .. })), "{path:?}, byte {at}: {found:?}");
            let code = found.unwrap_err().code();
            assert_eq!(code, code::config::FILE_DAMAGED, "{path:?}, byte {at}");
        }
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn keys_are_never_written_over_others() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("keys");
    let first = make();
    first.store_in(&folder).unwrap();
    assert!(make().store_in(&folder).is_err());
    assert_eq!(Keys::load(&folder).unwrap().store, first.store);
    assert!(matches!(Keys::load(&home.path().join("none")), Err(KeysError::Missing(_))));
}
