use std::{fs, path::Path};

use kos_base::code;
use kos_hardware::tpm::TpmAddress;
use kos_keyring::{Anchor, Opener, TpmPlace};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_000);

fn place(folder: &Path) -> Place {
    Place {
        vault: folder.join("machine.json"),
        anchor: Anchor::at(folder.join("machine.anchor")),
        key_file: folder.join("machine.key"),
        credentials: None,
        tpm: TpmPlace::unused(folder.join("machine.tpm")),
        opener: Opener::KeyFile,
    }
}

fn signers() -> Signers {
    Signers::new(Home::Vault, TpmAddress::default(), None)
}

fn keystore(folder: &TempDir) -> Keystore {
    Keystore::open(place(folder.path()), signers(), NOW).unwrap()
}

fn public(keys: &Keystore, slot: KeySlot) -> Result<Vec<u8>, KeystoreError> {
    match slot {
        KeySlot::Agreement(slot) => Ok(keys.agreement(slot, NOW)?.public().0.to_vec()),
        slot => Ok(keys.signing(slot, NOW)?.public().spki_der().to_vec()),
    }
}

fn told(made: MadeKey) -> Vec<u8> {
    match made {
        MadeKey::Signing(key) => key.spki_der().to_vec(),
        MadeKey::Agreement(key) => key.0.to_vec(),
    }
}

/// Writes keys as version 0.1.0 did; their public halves.
fn former_files(folder: &Path) -> Vec<(KeySlot, Vec<u8>)> {
    let write = |slot, content: &[u8]| {
        let path = folder.join(format!("{}.key", word(slot)));
        file::replace(&path, &root::seal(former_kind(slot), content), file::PRIVATE).unwrap();
    };
    SLOTS
        .into_iter()
        .map(|slot| match slot {
            KeySlot::Agreement(_) => {
                let key = AgreementSecret::generate().unwrap();
                write(slot, key.secret().expose());
                (slot, key.public().0.to_vec())
            }
            _ => {
                let key = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
                write(slot, &key.to_pkcs8().unwrap());
                (slot, key.public().spki_der().to_vec())
            }
        })
        .collect()
}

fn files(folder: &Path) -> Vec<String> {
    let name = |file: std::io::Result<fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn each_slot_keeps_its_own_key_until_it_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keystore(&folder);
    let made = SLOTS.map(|slot| told(keys.make(slot, NOW).unwrap()));
    let again = keystore(&folder);
    for (slot, made) in SLOTS.into_iter().zip(&made) {
        assert_eq!(&public(&keys, slot).unwrap(), made, "{slot:?}");
        assert_eq!(&public(&again, slot).unwrap(), made, "{slot:?}");
    }
    for slot in SLOTS {
        keys.erase(&[slot], NOW).unwrap();
        keys.erase(&[slot], NOW).unwrap();
        assert!(matches!(public(&keys, slot), Err(KeystoreError::Missing { .. })), "{slot:?}");
    }
    keys.make(KeySlot::Agreement(Slot::B), NOW).unwrap();
    keys.destroy(NOW).unwrap();
    assert_eq!(files(folder.path()), [""; 0]);
    keys.destroy(NOW).unwrap();
}

#[test]
fn a_device_without_keys_has_no_vault() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keystore(&folder);
    keys.erase(&SLOTS, NOW).unwrap();
    assert!(keys.protection().is_none());
    assert!(matches!(public(&keys, KeySlot::Identity), Err(KeystoreError::Missing { .. })));
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn keys_of_an_earlier_version_come_into_the_vault_and_their_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let former = former_files(folder.path());
    let twin = folder.path().join("twin");
    fs::hard_link(folder.path().join("identity.key"), &twin).unwrap();
    let keys = keystore(&folder);
    for (slot, public_half) in &former {
        assert_eq!(&public(&keys, *slot).unwrap(), public_half, "{slot:?}");
    }
    assert!(fs::read(&twin).unwrap().iter().all(|byte| *byte == 0), "the old file is overwritten");
    fs::remove_file(&twin).unwrap();
    assert_eq!(files(folder.path()), ["machine.anchor", "machine.json", "machine.key"]);
}

#[test]
fn a_migration_that_was_cut_off_anywhere_comes_out_right() {
    let source = tempfile::tempdir().unwrap();
    let former = former_files(source.path());
    let read = |name: &str| (name.to_owned(), fs::read(source.path().join(name)).unwrap());
    let old: Vec<_> = files(source.path()).iter().map(|name| read(name)).collect();
    drop(Keyring::open(place(source.path()), NOW).unwrap());
    let [key, empty, first] = ["machine.key", "machine.json", "machine.anchor"].map(read);
    drop(keystore(&source));
    let [_, full, second] = ["machine.key", "machine.json", "machine.anchor"].map(read);
    // What is there after each durable step; in the end the old files go one by one.
    let mut states =
        vec![vec![], vec![&key], vec![&key, &empty], vec![&key, &empty, &first], vec![&key, &full, &first]];
    for state in &mut states {
        state.extend(&old);
    }
    states
        .extend((0..=old.len()).map(|gone| [&key, &full, &second].into_iter().chain(&old[gone..]).collect()));
    for (number, state) in states.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in state {
            file::replace(&folder.path().join(name), bytes, file::PRIVATE).unwrap();
        }
        let keys = keystore(&folder);
        for (slot, public_half) in &former {
            assert_eq!(&public(&keys, *slot).unwrap(), public_half, "{slot:?} after step {number}");
        }
        assert_eq!(files(folder.path()), ["machine.anchor", "machine.json", "machine.key"]);
    }
}

#[test]
fn a_damaged_file_of_an_earlier_version_stops_the_device_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    former_files(folder.path());
    let path = folder.path().join("operational-b.key");
    let genuine = fs::read(&path).unwrap();
    for at in 0..genuine.len() {
        let mut changed = genuine.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        let refused = Keystore::open(place(folder.path()), signers(), NOW).unwrap_err();
        assert_eq!(refused.code(), code::config::FILE_DAMAGED, "byte {at}");
        assert!(refused.to_string().contains("operational-b.key"));
        assert_eq!(files(folder.path()).len(), SLOTS.len());
    }
}

#[test]
fn a_vault_that_is_gone_is_not_replaced_by_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    keystore(&folder).make(KeySlot::Identity, NOW).unwrap();
    fs::remove_file(folder.path().join("machine.json")).unwrap();
    let refused = Keystore::open(place(folder.path()), signers(), NOW).unwrap_err();
    assert_eq!(refused.code(), code::vault::VAULT_GONE);
    assert_eq!(files(folder.path()), ["machine.anchor", "machine.key"]);
}

#[test]
fn no_key_stands_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keystore(&folder);
    keys.make(KeySlot::Identity, NOW).unwrap();
    let pkcs8 = keys.signing(KeySlot::Identity, NOW).unwrap().to_pkcs8().unwrap();
    // The last 32 bytes of the PKCS#8 of an Ed25519 key are its seed.
    let seed = &pkcs8[pkcs8.len() - 32..];
    for name in files(folder.path()) {
        let bytes = fs::read(folder.path().join(&name)).unwrap();
        assert!(!bytes.windows(32).any(|window| window == seed), "{name}");
    }
}

#[test]
fn what_a_power_cut_left_of_a_file_whose_key_the_vault_has_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let former = former_files(folder.path());
    drop(keystore(&folder));
    // Overwritten, and then the power went before it was unlinked.
    for (slot, _) in &former {
        fs::write(folder.path().join(format!("{}.key", word(*slot))), [0; 90]).unwrap();
    }
    let keys = keystore(&folder);
    for (slot, public_half) in &former {
        assert_eq!(&public(&keys, *slot).unwrap(), public_half, "{slot:?}");
    }
    assert_eq!(files(folder.path()), ["machine.anchor", "machine.json", "machine.key"]);
}
