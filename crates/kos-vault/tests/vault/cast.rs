//! Who takes part: secrets that are the same in every run, and the vault of `tests/vectors/vault/golden`.

use kos_base::{Secret, Timestamp};
use kos_vault::{
    EntryName, Fresh, KeySource, NewSecret, NewSlot, OfflineKey, Opened, Passkey, Passphrase, PrfOutput,
    Sealing, SecretType, SlotName, Value, Work,
};
use zeroize::Zeroizing;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_007);
/// The least that is admitted, so that tests are quick.
pub(crate) const ARGON2ID: Work = Work::Argon2id { iterations: 2, memory_kib: 19_456, parallelism: 1 };
pub(crate) const PBKDF2: Work = Work::Pbkdf2 { iterations: 220_000 };
/// PKCS#8 of the Ed25519 key in RFC 8410, section 10.3.
pub(crate) const ED25519_PKCS8: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";

pub(crate) fn later(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(NOW.unix_ms() + ms)
}

pub(crate) fn fresh(n: u8) -> Fresh {
    Fresh::new(Secret::new([n; 32]))
}

pub(crate) fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
}

pub(crate) fn anna() -> Passphrase {
    passphrase("correct horse battery")
}

pub(crate) fn berta() -> Passphrase {
    passphrase("Tür zu, es zieht!")
}

pub(crate) fn key() -> Secret<32> {
    Secret::new([7; 32])
}

pub(crate) fn offline() -> OfflineKey {
    OfflineKey::new(&Secret::new([9; 32])).unwrap()
}

pub(crate) fn value(bytes: &[u8]) -> Value {
    Value::new(Zeroizing::new(bytes.to_vec())).unwrap()
}

pub(crate) fn name(text: &str) -> EntryName {
    text.parse().unwrap()
}

pub(crate) fn slot(text: &str) -> SlotName {
    text.parse().unwrap()
}

/// A vault of one key slot and no entries.
pub(crate) fn empty() -> Opened {
    let environment = "machine".parse().unwrap();
    let secret = key();
    let key = NewSlot::Key(&secret, KeySource::File);
    Opened::create(NOW, environment, &slot("key file"), key, fresh(1)).unwrap()
}

pub(crate) fn put(
    vault: &mut Opened,
    at: Timestamp,
    text: &str,
    kind: SecretType,
    bytes: &[u8],
    n: u8,
) -> u64 {
    let secret = NewSecret { kind, value: &value(bytes), expires: None };
    vault.put(at, &name(text), secret, fresh(n)).unwrap()
}

/// A vault of people that opens cheaply and is empty.
pub(crate) fn light() -> Sealing {
    let anna = anna();
    let secret = NewSlot::Passphrase(&anna, ARGON2ID);
    let environment = "default".parse().unwrap();
    let vault = Opened::create(NOW, environment, &slot("passphrase"), secret, fresh(20)).unwrap();
    vault.seal(NOW).unwrap()
}

/// What the function of the passkey gives.
pub(crate) fn prf_output() -> PrfOutput {
    PrfOutput::new(Secret::new([11; 32])).unwrap()
}

/// A passkey for which a slot can be written.
pub(crate) fn passkey() -> Passkey {
    Passkey::new((0..20).collect(), "localhost".parse().unwrap(), [12; 32]).unwrap()
}

/// A vault that a passkey opens beside a key, with one entry.
pub(crate) fn with_passkey() -> Sealing {
    let mut vault = empty();
    vault.add_slot(NOW, &slot("blue key"), NewSlot::Passkey(&passkey(), &prf_output()), fresh(21)).unwrap();
    put(&mut vault, NOW, "api/payments", SecretType::ApiKey, b"first", 22);
    vault.seal(later(1)).unwrap()
}

/// The two files of the golden vault, and it.
pub(crate) fn golden() -> (Sealing, Sealing, Opened) {
    let mut vault = empty();
    vault.add_slot(NOW, &slot("anna"), NewSlot::Passphrase(&anna(), ARGON2ID), fresh(2)).unwrap();
    vault.add_slot(NOW, &slot("berta"), NewSlot::Passphrase(&berta(), PBKDF2), fresh(3)).unwrap();
    let safe = NewSlot::Offline(offline().recipient().unwrap());
    vault.add_slot(NOW, &slot("safe in the attic"), safe, fresh(4)).unwrap();
    put(&mut vault, NOW, "api/payments", SecretType::ApiKey, b"first", 5);
    let before = vault.seal(later(1)).unwrap();
    vault.written(&before);

    let second = NewSecret {
        kind: SecretType::ApiKey,
        value: &value(b"second"),
        expires: Some(Timestamp::from_unix_ms(1_826_706_000_000)),
    };
    vault.put(later(10), &name("api/payments"), second, fresh(6)).unwrap();
    let pkcs8 = data_encoding::BASE64.decode(ED25519_PKCS8.as_bytes()).unwrap();
    put(&mut vault, later(20), "signing", SecretType::PrivateKey, &pkcs8, 7);
    put(&mut vault, later(30), "nothing", SecretType::Opaque, b"", 8);
    put(&mut vault, later(40), "Büro/Tür", SecretType::Password, "Schlüssel \u{1f511}".as_bytes(), 9);
    put(&mut vault, later(50), "chain", SecretType::Certificate, &[0xab; 300], 10);
    vault.get(later(60), &name("nothing")).unwrap();
    let sealing = vault.seal(later(70)).unwrap();
    vault.written(&sealing);
    (before, sealing, vault)
}
