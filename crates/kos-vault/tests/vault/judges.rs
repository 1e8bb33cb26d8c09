//! A reader in Python, written from `docs/spec/vault.md` alone, opens what we write and refuses what we refuse; and it
//! writes the files of the source document that we import.
#![expect(clippy::disallowed_methods, reason = "a foreign judge is another process that reads files")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use data_encoding::HEXLOWER;
use kos_vault::{NewSlot, SourceFile, Unlock};
use serde_json::{Value, json};

use crate::cast;

const GOLDEN: &str = include_str!("../../../../tests/vectors/vault/golden/vault.json");
const PASSKEY: &str = include_str!("../../../../tests/vectors/vault/golden/passkey.json");
const CONTENTS: &str = include_str!("../../../../tests/vectors/vault/golden/contents.json");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn python(judge: &str) -> Command {
    let mut command = Command::new(repository().join("target/judges/bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge").join(judge));
    command
}

/// What the reader says of each pair of a file and a secret.
fn judge(given: &[(String, Value)]) -> Vec<String> {
    let given: Vec<Value> =
        given.iter().map(|(file, unlock)| json!({"file": file, "unlock": unlock})).collect();
    let mut judge = python("vault.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the judge needs target/judges: cargo xtask test deps");
    judge.stdin.take().unwrap().write_all(json!(given).to_string().as_bytes()).unwrap();
    let judged = judge.wait_with_output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
    assert_eq!(said.lines().count(), given.len(), "{why}");
    said.lines().map(str::to_owned).collect()
}

fn key() -> Value {
    json!({"key": HEXLOWER.encode(cast::key().expose())})
}

#[test]
fn python_opens_the_golden_vault_with_every_secret_and_no_other() {
    let secrets = [
        key(),
        json!({"passphrase": "correct horse battery"}),
        json!({"passphrase": "T\u{fc}r zu, es zieht!"}),
        json!({"offline": HEXLOWER.encode(&[9; 32])}),
    ];
    let wrong = [json!({"key": "08".repeat(32)}), json!({"passphrase": "correct horse batterz"})];
    let given: Vec<_> =
        secrets.iter().chain(&wrong).map(|unlock| (GOLDEN.to_owned(), unlock.clone())).collect();
    let said = judge(&given);
    let expected: Value = serde_json::from_str(CONTENTS).unwrap();
    for (said, secret) in said.iter().zip(&secrets) {
        assert_eq!(serde_json::from_str::<Value>(said).unwrap(), expected, "{secret}");
    }
    assert_eq!(said[secrets.len()..], ["refused: the secret", "refused: the secret"]);
}

#[test]
fn python_opens_a_vault_by_what_a_passkey_gave_and_by_nothing_else() {
    let output = |byte: u8| json!({"passkey": HEXLOWER.encode(&[byte; 32])});
    let given = [output(11), key(), output(12), json!({"key": HEXLOWER.encode(&[11; 32])})];
    let said = judge(&given.map(|unlock| (PASSKEY.to_owned(), unlock)));
    let contents: Value = serde_json::from_str(&said[0]).unwrap();
    assert_eq!(contents["entries"][0][0], "api/payments");
    assert_eq!(said[0], said[1]);
    assert_eq!(said[2..], ["refused: the secret", "refused: the secret"]);
}

/// The table of KV-37: Python derives it from the page, and `src/slot.rs` in Rust.
#[test]
fn python_derives_the_vector_of_the_page() {
    const PAGE: &str = include_str!("../../../../docs/spec/vault.md");
    let mut judge = python("passkey.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    judge.stdin.take().unwrap().write_all(PAGE.as_bytes()).unwrap();
    let judged = judge.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert_eq!(said.lines().count(), 3, "{}", String::from_utf8_lossy(&judged.stderr));
    for row in said.lines() {
        assert!(PAGE.lines().any(|line| line == row), "{row}");
    }
}

#[test]
fn python_refuses_all_malice() {
    let folder = repository().join("tests/vectors/vault/malice");
    let cases: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let cases: Vec<PathBuf> = cases.into_iter().filter(|path| path.is_dir()).collect();
    assert!(cases.len() > 50);
    let read = |path: &PathBuf| std::fs::read_to_string(path.join("vault.json")).unwrap();
    let given: Vec<_> = cases.iter().map(|path| (read(path), key())).collect();
    for (path, said) in cases.iter().zip(judge(&given)) {
        assert!(said.starts_with("refused: "), "{}: {said}", path.display());
    }
}

#[test]
fn python_writes_files_of_the_source_document_and_opens_what_they_became() {
    for (algorithm, vector) in [("PBKDF2", "pbkdf2.json"), ("Argon2id", "argon2id.json")] {
        let written = python("source.py").arg(algorithm).output().unwrap();
        let file = std::fs::read(repository().join("tests/vectors/vault/source").join(vector)).unwrap();
        assert_eq!(String::from_utf8_lossy(&written.stdout), String::from_utf8_lossy(&file), "{algorithm}");

        let old = cast::passphrase("an old passphrase");
        let secret = cast::key();
        let slot = (&cast::slot("key file"), NewSlot::Key(&secret, kos_vault::KeySource::File));
        let environment = "production".parse().unwrap();
        let source = SourceFile::parse(&file).unwrap();
        let vault = source.import(cast::NOW, &old, environment, slot, cast::fresh(1)).unwrap();
        let sealed = vault.seal(cast::NOW).unwrap();
        let text = String::from_utf8(sealed.bytes().to_vec()).unwrap();
        let said: Value = serde_json::from_str(&judge(&[(text, key())])[0]).unwrap();
        let hex = |text: &str| HEXLOWER.encode(text.as_bytes());
        let expected = json!([
            ["B\u{fc}ro \"1\"", 1, "password", 1_700_000_000_002_u64, null, hex("Schl\u{fc}ssel")],
            ["github", 1, "api_key", 1_700_000_000_000_u64, null, hex("ghp_0123456789")],
            ["session", 1, "jwt", 1_700_000_000_003_u64, 1_795_170_060_000_u64, hex("e30.e30.")],
            [
                "tls/front",
                1,
                "certificate",
                1_700_000_000_001_u64,
                1_826_706_000_000_u64,
                hex("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
            ],
        ]);
        assert_eq!(said["entries"], expected, "{algorithm}");
        let opened = kos_vault::Sealed::parse(sealed.bytes()).unwrap().open(Unlock::Key(&secret)).unwrap();
        assert_eq!(opened.list().unwrap()[1].last_accessed.unix_ms(), 1_750_000_000_000);
    }
}
