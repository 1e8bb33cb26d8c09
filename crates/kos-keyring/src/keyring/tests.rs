use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use kos_base::code;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_000);

mod tpm;

struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        for folder in ["secrets", "state", "credentials"] {
            fs::create_dir(disk.0.path().join(folder)).unwrap();
        }
        disk
    }

    fn place(&self, opener: Opener) -> Place {
        let at = |path: &str| self.0.path().join(path);
        Place {
            vault: at("secrets/machine.json"),
            anchor: Anchor::at(at("state/machine.anchor")),
            key_file: at("secrets/machine.key"),
            credentials: Some(at("credentials")),
            tpm: TpmPlace::unused(at("secrets/machine.tpm")),
            opener,
        }
    }

    fn open(&self, opener: Opener) -> Result<Keyring, KeyringError> {
        Keyring::open(self.place(opener), NOW)
    }

    fn keep(&self) -> Vec<(&'static str, Option<Vec<u8>>)> {
        ["secrets/machine.json", "state/machine.anchor", "secrets/machine.key"]
            .map(|name| (name, fs::read(self.0.path().join(name)).ok()))
            .to_vec()
    }

    fn put_back(&self, kept: &[(&'static str, Option<Vec<u8>>)], which: &str) {
        for (name, bytes) in kept.iter().filter(|(name, _)| name.contains(which)) {
            let path = self.0.path().join(name);
            match bytes {
                Some(bytes) => file::replace(&path, bytes, file::PRIVATE).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
    }
}

fn name(text: &str) -> EntryName {
    text.parse().unwrap()
}

fn value(text: &str) -> Value {
    Value::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn put(keyring: &mut Keyring, entry: &str, text: &str) -> Result<(), KeyringError> {
    keyring.change(NOW, &[Change::Put(&name(entry), SecretType::Opaque, &value(text))])
}

fn get(keyring: &mut Keyring, entry: &str) -> Option<String> {
    let value = keyring.get(NOW, &name(entry)).unwrap();
    value.map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
}

fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|file| {
        let path = file.unwrap().path();
        let content = if path.is_dir() { return holds(&path, bytes) } else { fs::read(path).unwrap() };
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn keys_come_back_after_a_restart_and_stand_nowhere_in_the_clear() {
    let disk = Disk::new();
    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    put(&mut keyring, "identity", "a secret of the machine").unwrap();
    put(&mut keyring, "store", "another").unwrap();
    drop(keyring);
    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    assert_eq!(get(&mut keyring, "identity").unwrap(), "a secret of the machine");
    assert_eq!(get(&mut keyring, "store").unwrap(), "another");
    assert_eq!(get(&mut keyring, "none"), None);
    assert!(!holds(disk.0.path(), b"a secret of the machine"));
    for (name, _) in disk.keep() {
        let mode = fs::metadata(disk.0.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(disk.0.path().join("secrets")).unwrap().count(), 2);
}

#[test]
fn what_is_replaced_or_removed_leaves_no_version() {
    let disk = Disk::new();
    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    put(&mut keyring, "identity", "old").unwrap();
    put(&mut keyring, "identity", "new").unwrap();
    let opened = keyring.opened().unwrap();
    assert_eq!(opened.history(&name("identity")).unwrap().len(), 1);
    keyring.change(NOW, &[Change::Remove(&name("identity")), Change::Remove(&name("none"))]).unwrap();
    assert_eq!(get(&mut keyring, "identity"), None);
    let before = disk.keep();
    keyring.change(NOW, &[Change::Remove(&name("identity"))]).unwrap();
    assert_eq!(disk.keep(), before, "nothing changed, so nothing is written");
}

#[test]
fn an_old_vault_is_refused_and_the_next_one_is_taken() {
    let disk = Disk::new();
    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    put(&mut keyring, "a", "1").unwrap();
    let first = disk.keep();
    put(&mut keyring, "a", "2").unwrap();
    let second = disk.keep();

    // The power went between the file and its anchor.
    disk.put_back(&first, "anchor");
    assert_eq!(get(&mut disk.open(Opener::KeyFile).unwrap(), "a").unwrap(), "2");
    assert_eq!(disk.keep(), second, "the anchor followed");

    disk.put_back(&first, "json");
    let refused = disk.open(Opener::KeyFile).unwrap_err();
    assert_eq!(refused.code(), code::vault::VAULT_BEHIND);
    fs::remove_file(disk.0.path().join("state/machine.anchor")).unwrap();
    assert_eq!(disk.open(Opener::KeyFile).unwrap_err().code(), code::vault::VAULT_FORKED);
    disk.put_back(&second, "");
    assert_eq!(get(&mut disk.open(Opener::KeyFile).unwrap(), "a").unwrap(), "2");
}

#[test]
fn another_line_of_files_is_refused() {
    let (disk, other) = (Disk::new(), Disk::new());
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    put(&mut other.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let kept = other.keep();
    disk.put_back(&kept, "json");
    assert_eq!(disk.open(Opener::KeyFile).unwrap_err().code(), code::vault::KEYRING_UNOPENED);
    disk.put_back(&kept, "key");
    assert_eq!(disk.open(Opener::KeyFile).unwrap_err().code(), code::vault::VAULT_FORKED);
}

#[test]
fn a_vault_or_key_that_is_gone_is_missed_and_never_made_anew() {
    let disk = Disk::new();
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let kept = disk.keep();
    for (gone, expected) in [
        ("secrets/machine.json", code::vault::VAULT_GONE),
        ("secrets/machine.key", code::vault::KEYRING_UNOPENED),
    ] {
        fs::remove_file(disk.0.path().join(gone)).unwrap();
        assert_eq!(disk.open(Opener::KeyFile).unwrap_err().code(), expected, "{gone}");
        assert!(!disk.0.path().join(gone).exists(), "{gone}");
        disk.put_back(&kept, "");
    }
    // Before the first file there was only a key.
    for gone in ["secrets/machine.json", "state/machine.anchor"] {
        fs::remove_file(disk.0.path().join(gone)).unwrap();
    }
    let key = fs::read(disk.0.path().join("secrets/machine.key")).unwrap();
    disk.open(Opener::KeyFile).unwrap();
    assert_eq!(
        fs::read(disk.0.path().join("secrets/machine.key")).unwrap(),
        key,
        "a key that is there is used"
    );
}

#[test]
fn every_byte_of_the_vault_and_its_key_counts() {
    let disk = Disk::new();
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let kept = disk.keep();
    for (file, bytes) in &kept {
        let genuine = bytes.clone().unwrap();
        // The line end of a key file may be missing.
        let end = genuine.len() - usize::from(file.contains("key"));
        for at in 0..end {
            let mut changed = genuine.clone();
            changed[at] ^= 1;
            fs::write(disk.0.path().join(file), &changed).unwrap();
            let opened = disk.open(Opener::KeyFile);
            assert!(opened.is_err(), "{file} byte {at}");
        }
        disk.put_back(&kept, "");
    }
    disk.open(Opener::KeyFile).unwrap();
}

#[test]
fn a_credential_takes_the_place_of_the_key_file() {
    let disk = Disk::new();
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let by_file = disk.keep();

    let refused = disk.open(Opener::Credential).unwrap_err();
    assert_eq!(refused.code(), code::vault::KEYRING_UNOPENED);
    assert!(refused.to_string().contains(crate::CREDENTIAL), "{refused}");
    assert_eq!(disk.keep(), by_file, "a refused change of the way in changes nothing");

    fs::write(disk.0.path().join("credentials/kos-machine-key"), "ab".repeat(32)).unwrap();
    let mut keyring = disk.open(Opener::Credential).unwrap();
    assert_eq!(keyring.protection().opener, Opener::Credential);
    assert_eq!(get(&mut keyring, "a").unwrap(), "1");
    assert!(!disk.0.path().join("secrets/machine.key").exists());
    // The power went before the old key file was destroyed: it opens nothing, and goes at the next start.
    disk.put_back(&by_file, "key");
    assert_eq!(get(&mut disk.open(Opener::Credential).unwrap(), "a").unwrap(), "1");
    assert!(!disk.0.path().join("secrets/machine.key").exists());

    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    assert_eq!(get(&mut keyring, "a").unwrap(), "1");
    drop(keyring);
    fs::remove_file(disk.0.path().join("credentials/kos-machine-key")).unwrap();
    assert_eq!(get(&mut disk.open(Opener::KeyFile).unwrap(), "a").unwrap(), "1");
}

#[test]
fn a_failed_write_leaves_the_vault_as_it_was() {
    let disk = Disk::new();
    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    put(&mut keyring, "a", "1").unwrap();
    let place = disk.place(Opener::KeyFile);
    // A folder in the way of the file that is not in place yet.
    let blocked = place.vault.with_file_name("machine.json.new");
    fs::create_dir(&blocked).unwrap();
    let refused = put(&mut keyring, "a", "2").unwrap_err();
    assert_eq!(refused.code(), code::config::FILE_UNWRITABLE);
    assert_eq!(get(&mut keyring, "a").unwrap(), "1", "memory does not run ahead of the disk");
    fs::remove_dir(&blocked).unwrap();
    put(&mut keyring, "a", "3").unwrap();
    assert_eq!(get(&mut disk.open(Opener::KeyFile).unwrap(), "a").unwrap(), "3");
}

#[test]
fn nothing_is_left_of_a_destroyed_keyring() {
    let disk = Disk::new();
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let twin = disk.0.path().join("twin");
    fs::hard_link(disk.0.path().join("secrets/machine.key"), &twin).unwrap();
    let place = disk.place(Opener::KeyFile);
    assert!(Keyring::is_there(&place));
    Keyring::destroy(&place).unwrap();
    assert!(!Keyring::is_there(&place) && !place.key_file.exists());
    assert!(fs::read(&twin).unwrap().iter().all(|byte| *byte == 0));
    Keyring::destroy(&place).unwrap();
}

#[test]
fn no_secret_is_printed() {
    let disk = Disk::new();
    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    put(&mut keyring, "a", "hunter2").unwrap();
    let told = format!("{keyring:?}");
    assert!(told.contains("machine.json") && !told.contains("hunter2"), "{told}");
}

#[test]
fn the_first_file_has_everything_at_once() {
    let disk = Disk::new();
    let place = disk.place(Opener::KeyFile);
    let (a, b) = (name("a"), name("b"));
    let (one, two) = (value("1"), value("2"));
    let entries = [Change::Put(&a, SecretType::Opaque, &one), Change::Put(&b, SecretType::Opaque, &two)];
    Keyring::make(&place, NOW, &entries).unwrap();
    assert!(!place.anchor.path().exists(), "the anchor comes after");
    let again = Keyring::make(&place, NOW, &entries).unwrap_err();
    assert_eq!(again.code(), code::config::FILE_UNWRITABLE);

    let before = disk.keep();
    let mut looked = Keyring::look(place).unwrap();
    assert_eq!(get(&mut looked, "a").unwrap(), "1");
    assert_eq!(disk.keep(), before, "who looks writes nothing");
    let mut keyring = disk.open(Opener::KeyFile).unwrap();
    assert_eq!((get(&mut keyring, "a").unwrap(), get(&mut keyring, "b").unwrap()), ("1".into(), "2".into()));
    assert_eq!(keyring.head().unwrap().generation, 1);
    assert!(matches!(
        Keyring::look(Disk::new().place(Opener::KeyFile)).unwrap_err(),
        KeyringError::Gone { .. }
    ));
}

#[test]
fn what_is_packed_opens_elsewhere() {
    let (a, one) = (name("a"), value("a secret of the machine"));
    let packed = Keyring::pack(NOW, &[Change::Put(&a, SecretType::Opaque, &one)]).unwrap();
    assert!(!packed.vault.windows(23).any(|window| window == b"a secret of the machine"));
    let disk = Disk::new();
    let place = disk.place(Opener::KeyFile);
    fs::write(&place.vault, &packed.vault).unwrap();
    file::replace(&place.key_file, packed.key.as_bytes(), file::PRIVATE).unwrap();
    assert_eq!(get(&mut disk.open(Opener::KeyFile).unwrap(), "a").unwrap(), "a secret of the machine");
}

#[test]
fn a_key_file_moves_to_another_place_and_the_old_one_opens_nothing() {
    let disk = Disk::new();
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let before = disk.keep();
    let former = disk.place(Opener::KeyFile).key_file;
    let elsewhere = disk.0.path().join("stick.key");
    let moved = |opener| {
        let place = Place { key_file: elsewhere.clone(), ..disk.place(opener) };
        Keyring::open_moved(place, &former, NOW)
    };
    // A place that cannot be written changes nothing.
    let nowhere = Place { key_file: disk.0.path().join("none/key"), ..disk.place(Opener::KeyFile) };
    let refused = Keyring::open_moved(nowhere, &former, NOW).unwrap_err();
    assert_eq!(refused.code(), code::config::FILE_UNWRITABLE);
    assert_eq!(disk.keep(), before);

    assert_eq!(get(&mut moved(Opener::KeyFile).unwrap(), "a").unwrap(), "1");
    assert!(!former.exists());
    // The power went before the old file was destroyed.
    disk.put_back(&before, "key");
    assert_eq!(get(&mut moved(Opener::KeyFile).unwrap(), "a").unwrap(), "1");
    assert!(!former.exists());
    disk.put_back(&before, "key");
    assert_eq!(disk.open(Opener::KeyFile).unwrap_err().code(), code::vault::KEYRING_UNOPENED);
    assert!(former.exists(), "what opens nothing is not destroyed while nothing else opens");

    // Once more, from a vault whose slot has the second name.
    fs::rename(&elsewhere, &former).unwrap();
    assert_eq!(get(&mut moved(Opener::KeyFile).unwrap(), "a").unwrap(), "1");
    // And by a credential, which was never ours.
    fs::rename(&elsewhere, &former).unwrap();
    fs::write(disk.0.path().join("credentials/kos-machine-key"), "ab".repeat(32)).unwrap();
    assert_eq!(get(&mut moved(Opener::Credential).unwrap(), "a").unwrap(), "1");
    assert!(!former.exists() && !elsewhere.exists());
    assert_eq!(get(&mut disk.open(Opener::Credential).unwrap(), "a").unwrap(), "1");
}

#[test]
fn another_name_of_the_key_file_is_not_another_place() {
    let disk = Disk::new();
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let former = disk.place(Opener::KeyFile).key_file;
    let link = disk.0.path().join("link");
    std::os::unix::fs::symlink(disk.0.path().join("secrets"), &link).unwrap();
    let place = Place { key_file: link.join("machine.key"), ..disk.place(Opener::KeyFile) };
    assert_eq!(get(&mut Keyring::open_moved(place, &former, NOW).unwrap(), "a").unwrap(), "1");
    assert_eq!(get(&mut disk.open(Opener::KeyFile).unwrap(), "a").unwrap(), "1");
}

#[test]
fn a_key_file_that_others_may_read_opens_nothing() {
    let disk = Disk::new();
    put(&mut disk.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let key = disk.0.path().join("secrets/machine.key");
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let refused = disk.open(Opener::KeyFile).unwrap_err();
        assert_eq!(refused.code(), code::vault::KEYRING_UNOPENED, "{mode:o}");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(get(&mut disk.open(Opener::KeyFile).unwrap(), "a").unwrap(), "1");
}

#[test]
fn a_key_file_that_somebody_put_elsewhere_is_not_destroyed() {
    let disk = Disk::new();
    fs::create_dir(disk.0.path().join("stick")).unwrap();
    let stick = disk.0.path().join("stick/key");
    let place = |opener| Place { key_file: stick.clone(), ..disk.place(opener) };
    put(&mut Keyring::open(place(Opener::KeyFile), NOW).unwrap(), "a", "1").unwrap();
    let key = fs::read(&stick).unwrap();
    fs::write(disk.0.path().join("credentials/kos-machine-key"), "ab".repeat(32)).unwrap();
    for _ in 0..2 {
        assert_eq!(get(&mut Keyring::open(place(Opener::Credential), NOW).unwrap(), "a").unwrap(), "1");
        assert_eq!(fs::read(&stick).unwrap(), key);
    }
}
