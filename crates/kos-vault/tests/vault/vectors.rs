//! The golden bytes of `tests/vectors/vault` are what we write. What must be refused is made and judged inside the crate
//! (`src/tests/malice.rs`), since only there a file can be given a checksum that fits.

use kos_vault::{Sealed, Unlock};
use serde_json::{Value, json};

use crate::cast;

const BEFORE: &[u8] = include_bytes!("../../../../tests/vectors/vault/golden/before.json");
const GOLDEN: &[u8] = include_bytes!("../../../../tests/vectors/vault/golden/vault.json");
const LIGHT: &[u8] = include_bytes!("../../../../tests/vectors/vault/golden/light.json");
const PASSKEY: &[u8] = include_bytes!("../../../../tests/vectors/vault/golden/passkey.json");
const CONTENTS: &str = include_str!("../../../../tests/vectors/vault/golden/contents.json");

#[test]
fn the_golden_bytes_are_what_we_write() {
    let (before, file, _) = cast::golden();
    let passkey = cast::with_passkey();
    for (written, golden) in [(before, BEFORE), (file, GOLDEN), (cast::light(), LIGHT), (passkey, PASSKEY)] {
        assert_eq!(String::from_utf8_lossy(written.bytes()), String::from_utf8_lossy(golden));
    }
}

#[test]
fn the_golden_bytes_hold_what_is_written_beside_them() {
    let mut vault = Sealed::parse(GOLDEN).unwrap().open(Unlock::Key(&cast::key())).unwrap();
    let mut entries = Vec::new();
    for listed in vault.list().unwrap() {
        for past in vault.history(&listed.name).unwrap() {
            let value = vault.get_version(cast::NOW, &listed.name, past.number).unwrap();
            let expires = past.expires.map(|at| at.unix_ms());
            let value = data_encoding::HEXLOWER.encode(value.expose());
            let (name, kind) = (listed.name.as_str(), past.kind.as_str());
            entries.push(json!([name, past.number, kind, past.created.unix_ms(), expires, value]));
        }
    }
    let head = vault.head();
    let root = data_encoding::HEXLOWER.encode(&head.root);
    let read = json!({"generation": head.generation, "root": root, "entries": entries});
    assert_eq!(read, serde_json::from_str::<Value>(CONTENTS).unwrap());
}
