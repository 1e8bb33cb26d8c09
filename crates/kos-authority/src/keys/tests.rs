use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};
use kos_base::digest::sha256;
use kos_hardware::tpm::TpmAddress;
use kos_keyring::{Home, Opener, Signers, file};
use tempfile::TempDir;

use super::*;
use crate::{fixtures::NOW, settings::Settings};

const FORMER: [&str; 7] =
    ["root.key", "issuing-1.key", "issuing-2.key", "kid.key", "log.key", "orders.key", "store.key"];

fn settings(keys_opener: Opener, keys_file: Option<&Path>) -> Settings {
    Settings { keys_opener, keys_file: keys_file.map(Path::to_owned), ..Settings::default() }
}

fn make() -> Keys {
    Keys::make(&"attic".parse().unwrap(), &Signers::new(Home::Vault, TpmAddress::default(), None), NOW)
        .unwrap()
}

/// The folder of an authority, of which there is nothing but keys.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn sealed() -> (Self, Keys) {
        let (disk, keys) = (Self::new(), make());
        disk.keep().make(&keys, NOW).unwrap();
        (disk, keys)
    }

    /// As an earlier version wrote them.
    fn former() -> (Self, Keys) {
        let (disk, keys) = (Self::new(), make());
        fs::DirBuilder::new().mode(0o700).create(disk.at("keys")).unwrap();
        let [one, two] = &keys.issuing;
        let signers = [&keys.root, one, two, &keys.kid, &keys.log, &keys.orders];
        let [first, second] = &keys.issuing_certificates;
        let mut files: Vec<_> = sealed::SIGNERS
            .into_iter()
            .zip(signers)
            .map(|(name, key)| (format!("{name}.key"), pem("PRIVATE KEY", &key.to_pkcs8().unwrap())))
            .collect();
        let certificates = [&keys.root_certificate, first, second];
        for (name, certificate) in folder::CERTIFICATES.into_iter().zip(certificates) {
            files.push((name.to_owned(), pem("CERTIFICATE", certificate.der())));
        }
        files.push(("store.key".to_owned(), HEXLOWER.encode(keys.store.expose())));
        let mut sums = String::new();
        for (name, text) in files {
            sums += &format!("{}  {name}\n", HEXLOWER.encode(&sha256(text.as_bytes())));
            fs::write(disk.at("keys").join(name), text).unwrap();
        }
        fs::write(disk.at("keys/SHA256SUMS"), sums).unwrap();
        (disk, keys)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn keep(&self) -> Keep {
        Keep::in_folder(self.0.path())
    }

    fn open(&self) -> Result<Keys, KeysError> {
        self.keep().open(NOW).map(|(keys, _)| keys)
    }

    /// Every file, by its path below the folder.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for folder in ["", "keys"] {
            for entry in fs::read_dir(self.at(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.strip_prefix(self.0.path()).unwrap().display().to_string();
                    found.push((name, fs::read(path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    fn put(&self, files: &[(String, Vec<u8>)]) {
        fs::remove_dir_all(self.at("keys")).unwrap();
        fs::create_dir(self.at("keys")).unwrap();
        let _ = fs::remove_file(self.at("machine.anchor"));
        for (name, bytes) in files {
            file::replace(&self.at(name), bytes, file::PRIVATE).unwrap();
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn same(one: &Keys, other: &Keys) {
    assert_eq!(one.store, other.store);
    assert_eq!(one.root_certificate, other.root_certificate);
    assert_eq!(one.issuing_certificates, other.issuing_certificates);
    assert_eq!(one.public(), other.public());
    assert_eq!(one.root.public(), other.root.public());
    assert_eq!(one.root.to_pkcs8().unwrap(), other.root.to_pkcs8().unwrap());
}

fn names(files: &[(String, Vec<u8>)]) -> Vec<&str> {
    files.iter().map(|(name, _)| name.as_str()).collect()
}

const SEALED: [&str; 7] = [
    "keys/SHA256SUMS",
    "keys/issuing-1.crt",
    "keys/issuing-2.crt",
    "keys/machine.json",
    "keys/machine.key",
    "keys/root.crt",
    "machine.anchor",
];

#[test]
fn keys_are_read_back_and_nobody_else_may_read_them() {
    let (disk, made) = Disk::sealed();
    let read = disk.open().unwrap();
    same(&read, &made);
    assert_eq!(read.root_certificate.authority(), Some("attic".parse().unwrap()));
    for class in IssuerClass::ALL {
        assert_eq!(read.issuing(class).public(), made.issuing_certificate(class).public_key());
        assert_eq!(read.issuing_certificate(class).issuer_class(), Some(class));
    }
    assert_eq!(names(&disk.files()), SEALED);
    assert_eq!(fs::metadata(disk.at("keys")).unwrap().permissions().mode() & 0o777, 0o700);
    for name in SEALED {
        let mode = fs::metadata(disk.at(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
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
fn a_flipped_byte_in_any_file_is_named_and_nothing_is_written() {
    let (disk, _) = Disk::sealed();
    let genuine = disk.files();
    for (name, bytes) in &genuine {
        // The line end of a key file may be missing.
        let end = bytes.len() - usize::from(name == "keys/machine.key");
        // Every byte of a vault is flipped in the tests of kos-keyring; here it is seen what becomes of it.
        let step = if name == "keys/machine.json" { 7 } else { 1 };
        for at in (0..end).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(disk.at(name), &damaged).unwrap();
            let found = disk.keep().look(NOW).map(|_| "not noticed").unwrap_err();
            let expected: &[Code] = match name.as_str() {
                "keys/machine.json" => &[
                    code::vault::VAULT_DAMAGED,
                    code::vault::VAULT_FORGED,
                    code::vault::VAULT_NEWER,
                    code::vault::KEYRING_UNOPENED,
                ],
                "keys/machine.key" => &[code::vault::KEYRING_UNOPENED],
                _ => &[code::config::FILE_DAMAGED],
            };
            assert!(expected.contains(&found.code()), "{name}, byte {at}: {found}: {}", found.code());
            // What is damaged in the digests shows at a certificate.
            let told = if name == "keys/SHA256SUMS" { ".crt" } else { name };
            let told = if name == "keys/machine.key" { "keys/machine.json" } else { told };
            assert!(found.to_string().contains(told), "{name}, byte {at}: {found}");
            if at % 8 == 0 {
                let found = disk.open().unwrap_err();
                assert!(expected.contains(&found.code()), "{name}, byte {at}: {found}");
            }
            assert_eq!(fs::read(disk.at(name)).unwrap(), damaged, "{name}, byte {at}");
        }
        file::replace(&disk.at(name), bytes, file::PRIVATE).unwrap();
    }
    assert_eq!(disk.files(), genuine);
    disk.open().unwrap();
}

#[test]
fn keys_are_never_written_over_others() {
    let (disk, first) = Disk::sealed();
    assert!(disk.keep().make(&make(), NOW).is_err());
    same(&disk.open().unwrap(), &first);
    // Whose keys are gone gets no new ones by chance.
    fs::remove_dir_all(disk.at("keys")).unwrap();
    let gone = disk.keep().make(&make(), NOW).unwrap_err();
    assert_eq!(gone.code(), code::vault::VAULT_GONE);
    assert_eq!(disk.open().unwrap_err().code(), code::vault::VAULT_GONE);
    assert!(!disk.at("keys").exists() && !Disk::new().keep().is_there());
}

#[test]
fn a_cut_while_keys_are_made_leaves_none_or_all() {
    let (disk, keys) = Disk::sealed();
    fs::remove_file(disk.at("machine.anchor")).unwrap();
    same(&disk.open().unwrap(), &keys);
    assert!(disk.at("machine.anchor").exists(), "the anchor follows");

    let half = Disk::new();
    fs::create_dir(half.at("keys.new")).unwrap();
    fs::write(half.at("keys.new/machine.key"), "half").unwrap();
    assert!(!half.keep().is_there());
    half.keep().make(&keys, NOW).unwrap();
    same(&half.open().unwrap(), &keys);
    assert!(!half.at("keys.new").exists());
}

#[test]
fn keys_of_the_earlier_form_are_sealed_and_destroyed() {
    let (disk, keys) = Disk::former();
    let twins: Vec<_> = FORMER.iter().map(|name| (disk.at("keys").join(name), disk.at(name))).collect();
    for (file, twin) in &twins {
        fs::hard_link(file, twin).unwrap();
    }
    same(&disk.open().unwrap(), &keys);
    for (file, twin) in twins {
        assert!(!file.exists());
        assert!(fs::read(&twin).unwrap().iter().all(|byte| *byte == 0), "{}", twin.display());
        fs::remove_file(twin).unwrap();
    }
    assert_eq!(names(&disk.files()), SEALED);
    let sums = fs::read_to_string(disk.at("keys/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 3, "{sums}");
    let before = disk.files();
    same(&disk.open().unwrap(), &keys);
    assert_eq!(disk.files(), before, "once is enough");
}

#[test]
fn whatever_moment_the_power_goes_while_keys_are_sealed_nothing_is_lost() {
    let (disk, keys) = Disk::former();
    let former = disk.files();
    disk.open().unwrap();
    let sealed = disk.files();
    let made = |name: &str| sealed.iter().find(|(held, _)| held == name).unwrap().clone();
    let half = |name: &str| {
        let (name, bytes) = made(name);
        (format!("{name}.new"), bytes[..bytes.len() / 2].to_vec())
    };

    // Each state that a cut can leave, one after the other.
    let mut states = vec![former.clone()];
    let mut state = former;
    for name in ["keys/machine.key", "keys/machine.json", "machine.anchor"] {
        states.push([state.clone(), vec![half(name)]].concat());
        state.push(made(name));
        states.push(state.clone());
    }
    for name in
        sealed::SIGNERS.map(|name| format!("keys/{name}.key")).into_iter().chain(["keys/store.key".into()])
    {
        let mut overwritten = state.clone();
        overwritten.iter_mut().find(|(held, _)| *held == name).unwrap().1.fill(0);
        states.push(overwritten);
        state.retain(|(held, _)| *held != name);
        states.push(state.clone());
    }
    states.push([state.clone(), vec![half("keys/SHA256SUMS")]].concat());
    assert_eq!(states.len(), 22);
    for (at, state) in states.iter().enumerate() {
        disk.put(state);
        same(&disk.open().unwrap_or_else(|e| panic!("state {at}: {e}")), &keys);
        let after = disk.files();
        let left: Vec<_> = names(&after).into_iter().filter(|name| !SEALED.contains(name)).collect();
        assert!(left.is_empty(), "state {at}: {left:?}");
        same(&disk.open().unwrap(), &keys);
    }
}

#[test]
fn a_damaged_file_of_the_earlier_form_is_named_and_nothing_changes() {
    let (disk, _) = Disk::former();
    let genuine = disk.files();
    for (name, bytes) in &genuine {
        for at in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(disk.at(name), &damaged).unwrap();
            let before = disk.files();
            let found = disk.open().unwrap_err();
            assert_eq!(found.code(), code::config::FILE_DAMAGED, "{name}, byte {at}: {found}");
            let told = if name.ends_with("SHA256SUMS") { "keys/" } else { name.as_str() };
            assert!(found.to_string().contains(told), "{name}: {found}");
            assert_eq!(disk.files(), before, "{name}, byte {at}");
        }
        fs::remove_file(disk.at(name)).unwrap();
        let before = disk.files();
        assert_eq!(disk.open().unwrap_err().code(), code::config::FILE_UNREADABLE, "{name}");
        assert_eq!(disk.files(), before, "{name}");
        file::replace(&disk.at(name), bytes, file::PRIVATE).unwrap();
    }
    disk.open().unwrap();
}

#[test]
fn a_way_in_that_is_not_there_leaves_keys_of_the_earlier_form_as_they_are() {
    let (disk, keys) = Disk::former();
    let credentials = disk.at("credentials");
    let keep = || disk.keep().by(&settings(Opener::Credential, None), Some(&credentials));
    let before = disk.files();
    assert_eq!(keep().open(NOW).unwrap_err().code(), code::vault::KEYRING_UNOPENED);
    assert_eq!(disk.files(), before);
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("kos-machine-key"), "5a".repeat(32)).unwrap();
    same(&keep().open(NOW).unwrap().0, &keys);
    assert!(!disk.at("keys/machine.key").exists() && !disk.at("keys/root.key").exists());
}

#[test]
fn the_way_in_changes_with_the_settings() {
    let (disk, keys) = Disk::sealed();
    let (credentials, stick) = (disk.at("credentials"), disk.at("stick"));
    for folder in [&credentials, &stick] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(credentials.join("kos-machine-key"), "5a".repeat(32)).unwrap();
    let key_file = stick.join("machine.key");
    let elsewhere = || disk.keep().by(&settings(Opener::KeyFile, Some(&key_file)), None);
    let credential = || disk.keep().by(&settings(Opener::Credential, Some(&key_file)), Some(&credentials));

    let (opened, kept) = elsewhere().open(NOW).unwrap();
    same(&opened, &keys);
    assert_eq!((kept.head.generation, kept.protection.opener), (2, Opener::KeyFile));
    assert!(key_file.exists() && !disk.at("keys/machine.key").exists());
    // The old place does not open it, and nothing is made anew there.
    assert_eq!(disk.open().unwrap_err().code(), code::vault::KEYRING_UNOPENED);
    assert!(!disk.at("keys/machine.key").exists());

    let (opened, kept) = credential().open(NOW).unwrap();
    same(&opened, &keys);
    assert_eq!((kept.head.generation, kept.protection.opener), (3, Opener::Credential));
    // Whoever put it elsewhere has to say what becomes of it.
    assert!(key_file.exists());
    let old = disk.files();
    fs::write(disk.at("keys/machine.key"), "5b".repeat(32)).unwrap();
    let refused = credential().look(NOW).and_then(|_| disk.open());
    assert_eq!(refused.unwrap_err().code(), code::vault::KEYRING_UNOPENED, "no other way in opens it");
    same(&credential().open(NOW).unwrap().0, &keys);
    assert_eq!(disk.files(), old, "a key file that opens nothing goes");
}

#[test]
fn what_is_packed_for_a_backup_opens_without_the_way_in_of_this_machine() {
    let (disk, keys) = Disk::sealed();
    let packed = keys.pack(NOW).unwrap();
    let elsewhere = Disk::new();
    fs::create_dir(elsewhere.at("keys")).unwrap();
    for name in Keep::PUBLIC {
        fs::copy(disk.at("keys").join(name), elsewhere.at("keys").join(name)).unwrap();
    }
    let [vault, key] = Keep::PRIVATE;
    fs::write(elsewhere.at("keys").join(vault), &packed.vault).unwrap();
    file::replace(&elsewhere.at("keys").join(key), packed.key.as_bytes(), file::PRIVATE).unwrap();
    same(&elsewhere.open().unwrap(), &keys);
    assert_ne!(fs::read(disk.at("keys/machine.key")).unwrap(), packed.key.as_bytes());
    // Put in the place of ours, it is another vault.
    fs::write(disk.at("keys/machine.json"), &packed.vault).unwrap();
    file::replace(&disk.at("keys/machine.key"), packed.key.as_bytes(), file::PRIVATE).unwrap();
    assert_eq!(disk.open().unwrap_err().code(), code::vault::VAULT_FORKED);
}

#[test]
fn nothing_of_a_key_is_in_the_clear() {
    let (disk, keys) = Disk::sealed();
    let [one, two] = &keys.issuing;
    let signers = [&keys.root, one, two, &keys.kid, &keys.log, &keys.orders];
    let mut secrets: Vec<_> = signers.iter().map(|key| key.to_pkcs8().unwrap().to_vec()).collect();
    secrets.push(keys.store.expose().to_vec());
    let contains = |bytes: &[u8], needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    for (name, bytes) in disk.files() {
        for secret in &secrets {
            // The last 24 bytes are a part of the key in each form.
            let tail = &secret[secret.len() - 24..];
            for needle in
                [tail.to_vec(), HEXLOWER.encode(tail).into_bytes(), BASE64.encode(tail).into_bytes()]
            {
                assert!(!contains(&bytes, &needle), "{name}");
            }
        }
    }
}
