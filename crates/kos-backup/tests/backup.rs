//! Backups that are whole, backups that are not, and what `age` and `tar` say of them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use age::secrecy::ExposeSecret as _;
use kos_backup::{
    BackupError, Content, Manifest, Member, Opening, Packer, Passphrase, Recipient, Sealing, unpack,
    unpack_archive,
};
use kos_base::{Timestamp, digest::sha256};
use tar::{Builder, EntryType, Header};

const FILES: [(&str, &[u8]); 4] = [
    ("authority.yaml", b"name: attic\n"),
    ("keys/root.key", b"-----BEGIN PRIVATE KEY-----\n"),
    ("store.db", &[7; 70_000]),
    ("log/tile/0/000.p/3", &[1; 96]),
];

fn length(content: &[u8]) -> u64 {
    content.len().try_into().unwrap()
}

fn manifest(files: Vec<Content>) -> Manifest {
    Manifest {
        version: Manifest::VERSION,
        authority: "attic".parse().unwrap(),
        created_at: Timestamp::from_unix_s(1_700_000_000),
        program: "0.1.0".to_owned(),
        log_size: 3,
        log_key: "attic/klog+00000000+AA==".to_owned(),
        files,
    }
}

fn packed(sealing: Sealing) -> Vec<u8> {
    let mut packer = Packer::begin(Vec::new(), sealing, Timestamp::from_unix_s(1_700_000_000)).unwrap();
    for (name, content) in FILES {
        packer.add(name.parse().unwrap(), length(content), content).unwrap();
    }
    let (file, written) = packer.finish(manifest(Vec::new())).unwrap();
    assert_eq!(written.files.len(), FILES.len());
    file
}

fn key() -> (age::x25519::Identity, Opening, Sealing) {
    let key = age::x25519::Identity::generate();
    let opening = Opening::identities(key.to_string().expose_secret()).unwrap();
    let recipient: Recipient = key.to_public().to_string().parse().unwrap();
    (key, opening, Sealing::Recipients(vec![recipient]))
}

type Files = Vec<(String, Vec<u8>)>;

fn read(file: &[u8], opening: &Opening) -> Result<(Manifest, Files), BackupError> {
    let mut files = Vec::new();
    let manifest = unpack(file, opening, |name, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        files.push((name.to_string(), bytes));
        Ok(())
    })?;
    Ok((manifest, files))
}

#[test]
fn what_was_put_in_comes_out() {
    let (_, opening, sealing) = key();
    let (manifest, files) = read(&packed(sealing), &opening).unwrap();
    assert_eq!(manifest.authority.as_ref(), "attic");
    let put_in: Vec<_> = FILES.map(|(name, content)| (name.to_owned(), content.to_vec())).to_vec();
    assert_eq!(files, put_in);
    let listed: Vec<_> = manifest.files.iter().map(|file| (file.name.to_string(), file.bytes)).collect();
    assert_eq!(listed, FILES.map(|(name, content)| (name.to_owned(), length(content))));
}

#[test]
fn a_passphrase_opens_it_and_another_one_does_not() {
    let passphrase = || Passphrase::new("correct horse battery".to_owned());
    let file = packed(Sealing::Passphrase(passphrase()));
    assert!(read(&file, &Opening::Passphrase(passphrase())).is_ok());
    let wrong = Opening::Passphrase(Passphrase::new("correct horse batterz".to_owned()));
    assert!(matches!(read(&file, &wrong), Err(BackupError::WrongKey)));
    let (_, key, _) = key();
    assert!(matches!(read(&file, &key), Err(BackupError::WrongKey)));
}

#[test]
fn every_cut_and_every_changed_byte_is_found() {
    let (_, opening, sealing) = key();
    let file = packed(sealing);
    for length in (0..file.len()).step_by(97).chain([file.len() - 1]) {
        assert!(read(&file[..length], &opening).is_err(), "cut to {length}");
    }
    for at in (0..file.len()).step_by(89) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(read(&changed, &opening).is_err(), "changed at {at}");
    }
    assert!(read(&[file.as_slice(), b"more"].concat(), &opening).is_err());
}

/// An archive made by somebody who may write anything.
struct Forger(Builder<Vec<u8>>);

impl Forger {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn put(mut self, name: &str, kind: EntryType, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(length(content));
        // The library refuses some names that a forger would not.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        if kind == EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.put(name, EntryType::Regular, content)
    }

    fn manifest(self, manifest: &Manifest) -> Self {
        self.file("backup.json", &serde_json::to_vec(manifest).unwrap())
    }

    fn judge(self) -> String {
        let archive = self.0.into_inner().unwrap();
        match unpack_archive(archive.as_slice(), |_, _| Ok(())) {
            Ok(_) => "taken".to_owned(),
            Err(BackupError::Newer(version)) => format!("newer {version}"),
            Err(BackupError::Damaged(why)) => why,
            Err(other) => format!("{other:?}"),
        }
    }
}

fn listed(name: &str, content: &[u8]) -> Content {
    Content {
        name: name.parse().unwrap(),
        bytes: length(content),
        sha256: data_encoding::HEXLOWER.encode(&sha256(content)),
    }
}

#[test]
fn an_archive_that_is_not_as_its_manifest_says_is_refused() {
    let whole = || manifest(vec![listed("store.db", b"abc")]);
    let store = || Forger::new().file("store.db", b"abc");
    for (archive, says) in [
        (store().manifest(&whole()), "taken"),
        (store(), "it has no manifest"),
        (store().manifest(&manifest(Vec::new())), "it holds a file that its manifest does not name"),
        (Forger::new().manifest(&whole()), "`store.db` is missing"),
        (Forger::new().file("store.db", b"abd").manifest(&whole()), "`store.db` is not what was put in"),
        (store().file("store.db", b"abc").manifest(&whole()), "`store.db` stands there twice"),
        (store().manifest(&whole()).file("keys/root.key", b""), "something stands behind its manifest"),
        (store().manifest(&whole()).manifest(&whole()), "something stands behind its manifest"),
        (
            Forger::new().file("../store.db", b"abc").manifest(&whole()),
            "`../store.db` is no file of a backup",
        ),
        (Forger::new().file("/etc/passwd", b"x").manifest(&whole()), "`/etc/passwd` is no file of a backup"),
        (
            Forger::new().put("store.db", EntryType::Symlink, b"").manifest(&whole()),
            "something that is not a plain file",
        ),
        (
            Forger::new().put("keys/", EntryType::Directory, b"").manifest(&whole()),
            "something that is not a plain file",
        ),
        (store().manifest(&Manifest { version: 3, ..whole() }), "newer 3"),
    ] {
        assert_eq!(archive.judge(), says);
    }
    assert!(store().file("backup.json", b"{").judge().starts_with("its manifest: "));
    assert!(store().file("backup.json", br#"{"version":1,"more":1}"#).judge().starts_with("its manifest: "));
    // One of an earlier version is read.
    assert_eq!(store().manifest(&Manifest { version: 1, ..whole() }).judge(), "taken");
}

#[test]
fn a_length_that_lies_ends_with_an_error_and_takes_no_memory() {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path("store.db").unwrap();
    header.set_size(1 << 39);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend_from_slice(&[0; 1024]);
    assert!(matches!(unpack_archive(archive.as_slice(), |_, _| Ok(())), Err(BackupError::Damaged(_))));
}

#[test]
fn age_and_tar_open_it() {
    let folder = tempfile::tempdir().unwrap();
    let (key, _, sealing) = key();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("backup.age"), packed(sealing)).unwrap();
    fs::write(at("key.txt"), key.to_string().expose_secret()).unwrap();
    let mut age = Command::new("age");
    age.args(["--decrypt", "--identity"]).arg(at("key.txt")).arg(at("backup.age")).stdout(Stdio::piped());
    let mut age = age.spawn().expect("age is missing: cargo xtask test deps");
    let mut archive = Vec::new();
    age.stdout.take().unwrap().read_to_end(&mut archive).unwrap();
    assert!(age.wait().unwrap().success());

    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(folder.path()).args(["--extract", "--file", "-"]).stdin(Stdio::piped());
    let mut tar = tar.spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(tar.wait().unwrap().success());
    for (name, content) in FILES {
        assert_eq!(fs::read(at(name)).unwrap(), content, "{name}");
    }
    let sums = serde_json::from_slice::<Manifest>(&fs::read(at("backup.json")).unwrap()).unwrap();
    let sums: String = sums.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    fs::write(at("SUMS"), sums).unwrap();
    let sha256sum =
        Command::new("sha256sum").args(["-c", "SUMS"]).current_dir(folder.path()).output().unwrap();
    assert!(sha256sum.status.success(), "{}", String::from_utf8_lossy(&sha256sum.stdout));
}

#[test]
fn we_open_what_age_and_tar_made() {
    let folder = tempfile::tempdir().unwrap();
    let (key, opening, _) = key();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("store.db"), b"abc").unwrap();
    fs::write(at("backup.json"), serde_json::to_vec(&manifest(vec![listed("store.db", b"abc")])).unwrap())
        .unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--format=ustar", "--create", "--file", "a.tar", "store.db", "backup.json"]);
    assert!(tar.current_dir(folder.path()).status().unwrap().success());
    let mut age = Command::new("age");
    age.args(["--encrypt", "--recipient", &key.to_public().to_string(), "--output", "a.age", "a.tar"]);
    assert!(age.current_dir(folder.path()).status().unwrap().success());
    let (manifest, files) = read(&fs::read(at("a.age")).unwrap(), &opening).unwrap();
    assert_eq!(files, [("store.db".to_owned(), b"abc".to_vec())]);
    assert_eq!(manifest.files[0].name.as_str(), "store.db");
    assert!(manifest.files[0].name.is_private() && !"log/checkpoint".parse::<Member>().unwrap().is_private());
}
