//! Files as the source document shapes them: read once, and refused when anything about them is not as KV-30 and KV-31 say.

use kos_vault::{KeySource, NewSlot, Opened, SourceFile, VaultError};

use crate::cast;

const PBKDF2: &str = include_str!("../../../../tests/vectors/vault/source/pbkdf2.json");
const ARGON2ID: &str = include_str!("../../../../tests/vectors/vault/source/argon2id.json");

fn import(file: &str, passphrase: &str) -> Result<Opened, VaultError> {
    let secret = cast::key();
    let slot = (&cast::slot("key file"), NewSlot::Key(&secret, KeySource::File));
    let passphrase = cast::passphrase(passphrase);
    let source = SourceFile::parse(file.as_bytes())?;
    source.import(cast::NOW, &passphrase, "production".parse().unwrap(), slot, cast::fresh(1))
}

fn check(from: &str, to: &str, code: u16) {
    assert_eq!(PBKDF2.matches(from).count(), 1, "{from}");
    let refused = import(&PBKDF2.replace(from, to), "an old passphrase").err();
    assert_eq!(refused.map(|why| why.code().number()), Some(code), "{from} becomes {to}");
}

#[test]
fn both_derivations_are_read() {
    for file in [PBKDF2, ARGON2ID] {
        let mut vault = import(file, "an old passphrase").unwrap();
        assert_eq!(vault.list().unwrap().len(), SourceFile::parse(file.as_bytes()).unwrap().entries());
        let value = vault.get(cast::NOW, &cast::name("github")).unwrap();
        assert_eq!(value.expose(), b"ghp_0123456789");
        assert!(vault.is_changed(), "it is nowhere yet");
        assert_eq!(vault.head().generation, 0);
    }
}

#[test]
fn another_passphrase_opens_nothing() {
    assert_eq!(import(PBKDF2, "another passphrase").err(), Some(VaultError::WrongSecret));
}

#[test]
fn what_is_not_of_that_shape_is_refused() {
    check(r#""version":"1.0.0""#, r#""version":"2.0.0""#, 601);
    check(r#""version":"1.0.0""#, r#""version":"kos.vault.v1""#, 601);
    check(r#""version":"1.0.0","#, r#""version":"1.0.0","mac":"","#, 601);
    check(r#""version":"1.0.0","#, r#""version":"1.0.0","version":"1.0.0","#, 601);
    check(r#""algorithm":"PBKDF2""#, r#""algorithm":"scrypt""#, 601);
    check(r#""iterations":200000"#, r#""iterations":199999"#, 605);
    check(r#""iterations":200000"#, r#""iterations":5000001"#, 606);
    check("AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0O", 601);
    check("AAECAwQFBgcICQoLDA0ODw==", "AQECAwQFBgcICQoLDA0ODw==", 608);
    check(r#""lastModified":1760000000000"#, r#""lastModified":-1"#, 601);
}

#[test]
fn what_its_checksum_covers_is_held_to_it() {
    check(r#""created":1700000000000"#, r#""created":1700000000001"#, 603);
    check(r#""github""#, r#""gitlab""#, 603);
    check(r#""github":{"#, r#""github":{"note":0,"#, 603);
}

/// With the checksum made anew, as whoever could write the file would.
fn forged(from: &str, to: &str) -> Result<Opened, VaultError> {
    let changed = PBKDF2.replace(from, to);
    assert_ne!(changed, PBKDF2);
    let start = changed.find(r#""encryptedData":"#).unwrap() + r#""encryptedData":"#.len();
    let end = changed.find(r#","integrity":"#).unwrap();
    let digest = data_encoding::HEXLOWER.encode(&kos_base::digest::sha256(&changed.as_bytes()[start..end]));
    let (front, old) = changed.split_once(r#""checksum":""#).unwrap();
    import(&format!(r#"{front}"checksum":"{digest}{}"#, &old[64..]), "an old passphrase")
}

#[test]
fn a_checksum_made_anew_vouches_for_nothing_but_the_ciphertexts_still_do() {
    let code = |from, to| forged(from, to).err().map(|why| why.code().number());
    assert_eq!(code(r#""github":{"#, r#""github":{"note":0,"#), Some(601));
    assert_eq!(code(r#""tls/front""#, r#""github""#), Some(601), "an entry that stands twice");
    assert_eq!(code(r#""github""#, "\"a\\nb\""), Some(618));
    assert_eq!(code(r#""type":"jwt""#, r#""type":"token""#), Some(601));
    assert_eq!(code("AgICAgICAgICAgIC", "AgICAgICAgICAgID"), Some(603), "the third entry");
    assert_eq!(code("AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAB"), Some(608), "the first entry");
    // KV-32: types and times are believed.
    assert!(forged(r#""created":1700000000000"#, r#""created":1700000000001"#).is_ok());
}
