//! The programs of the build with the FIPS module: they say so, do their work, and refuse by name what it does not approve.
//!
//! Only `cargo xtask fips` runs this, with programs that it has built (`KOS_PROGRAMS`). Without them it fails.
//!
//! Source: `docs/guide/fips.md`.
#![cfg(test)]

use std::{fs, path::Path};

use kos_e2e::{
    fleet::{self, Authority, Device},
    judge::{self, Desk, workspace},
    operator::Operator,
    program::{self, Finished},
    wait,
};

const SETTINGS: &str = "heartbeat_seconds: 5\n";
const PASSPHRASE: &str = "correct horse battery staple";
/// That of the vaults in `tests/vectors/vault/source`.
const SOURCE_PASSPHRASE: &str = "an old passphrase";
const REFUSED: &str = "KOS-E0900";

/// Begins the names of the symbols of the module, and of the library that is not one.
const MODULE_SYMBOL: &[u8] = b"aws_lc_fips_0_";
const OTHER_SYMBOL: &[u8] = b"aws_lc_0_";

fn vault(authority: &Authority, words: &[&str], input: &str) -> Finished {
    let socket = format!("unix:{}", authority.socket().display());
    program::run("kosctl", &[&["--server", &socket, "--no-input", "vault"], words].concat(), input).unwrap()
}

fn done(authority: &Authority, words: &[&str], input: &str) -> String {
    let run = vault(authority, words, input);
    assert_eq!(run.code(), 0, "{words:?}: {}", run.stderr);
    run.stdout
}

/// That it was refused for this algorithm, and what to use instead was named.
fn refused(what: &str, run: &Finished, algorithm: &str, instead: &str) {
    let told = run.stderr.clone() + &run.stdout;
    assert_eq!(run.code(), 5, "{what}: {told}");
    for part in [REFUSED, algorithm, instead] {
        assert!(told.contains(part), "{what} does not say `{part}`: {told}");
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

/// Waits for a heartbeat that is newer than every one so far.
fn reports(authority: &Authority, device: &str) {
    let before = authority.device(device).unwrap()["lastHeartbeatAt"].clone();
    authority.device_becomes(device, "lastHeartbeatAt", |at| *at != before).unwrap();
}

#[test]
fn every_program_says_which_module_it_has_and_has_no_other_cryptography_of_c() {
    for name in ["kosd", "kos-authority", "kosctl", "quickstart"] {
        let told = program::run(name, &["--version"], "").unwrap().stdout;
        let mut lines = told.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with(name)), "{told}");
        let module = lines.next().unwrap_or_default();
        assert!(module.starts_with("FIPS module: AWS-LC FIPS 4, release 4."), "{told}");
        assert!(!told.to_lowercase().contains("complian"), "{told}");
        let program = fs::read(program::path(name).unwrap()).unwrap();
        assert!(has(&program, MODULE_SYMBOL), "{name}");
        assert!(!has(&program, OTHER_SYMBOL), "{name} has another library linked as well");
    }
}

#[test]
fn a_device_enrols_reports_is_revoked_and_every_step_is_in_the_log() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "fips-1").unwrap();
    assert!(device.program().unwrap().errors().contains("FIPS module: AWS-LC FIPS 4"));
    assert!(authority.errors().contains("FIPS module: AWS-LC FIPS 4"));
    reports(&authority, &id);
    let shown = authority.device(&id).unwrap();
    assert_eq!(shown["state"], "active", "{shown}");
    assert!(shown["kidSubject"].as_str().is_some_and(|kid| !kid.is_empty()), "{shown}");

    // A power cut at either end; what was sealed is opened again.
    device.kill().unwrap();
    authority.kill().unwrap();
    authority.serve().unwrap();
    device.run().unwrap();
    reports(&authority, &id);

    // Over TLS, as an operator with a certificate.
    let anna = Operator::elsewhere(&authority, "anna", "admin").unwrap();
    let listed = anna.kosctl(&["--context", "home", "device", "list", "-o", "name"]).unwrap();
    assert!(listed.code() == 0 && listed.stdout.contains(&id), "{} {}", listed.stdout, listed.stderr);
    let order = ["--context", "home", "device", "quarantine", &id, "--reason", "stolen", "--yes"];
    let ordered = anna.kosctl(&order).unwrap();
    assert_eq!(ordered.code(), 0, "{}", ordered.stderr);
    authority.device_becomes(&id, "online", |online| *online == false).unwrap();
    wait::until("a list with its certificate", || {
        let lists = authority.json(&["authority", "crl"])?;
        let lists = lists["items"].as_array().cloned().unwrap_or_default();
        Ok(lists.iter().any(|list| list["entries"].as_u64() > Some(0)).then_some(()))
    })
    .unwrap();

    let verdict = authority.json(&["audit", "verify"]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    let events = authority.events().unwrap();
    for event in ["device_enrolled", "certificate_revoked"] {
        assert!(events.iter().any(|e| e == event), "{event}: {events:?}");
    }
    authority.stop().unwrap();
}

#[test]
fn a_device_of_sec_1_works_without_a_key_of_its_own_and_none_is_ordered() {
    let authority = Authority::start_with(SETTINGS).unwrap();
    let mut device = Device::new("fips-2", "identity:\n  profile: SEC-1\n").unwrap();
    let id = fleet::bring_into_service(&authority, &mut device).unwrap();
    reports(&authority, &id);
    let run = authority.kosctl(&["device", "rotate-key", &id]).unwrap();
    refused("rotate-key", &run, "HPKE with X25519", "over a link");
    assert!(!authority.events().unwrap().iter().any(|event| event.starts_with("own_key")));
}

#[test]
fn a_vault_is_written_with_pbkdf2_and_argon2id_shares_and_x25519_are_refused() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    refused(
        "13 bytes",
        &vault(&authority, &["unlock", "--create"], "thirteen byte"),
        "fewer than 14 bytes",
        "at least 14",
    );
    done(&authority, &["unlock", "--create"], PASSPHRASE);
    done(&authority, &["put", "db/pass", "--type", "password"], "hunter2\n");
    done(&authority, &["lock"], "");
    done(&authority, &["unlock"], PASSPHRASE);
    assert_eq!(done(&authority, &["get", "db/pass"], ""), "hunter2\n");
    let file = desk.at("exported");
    done(&authority, &["export", "--out", &file], "");
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("PBKDF2") && !written.contains("Argon2id"), "{written}");

    // What others wrote: PBKDF2 is taken over, Argon2id is not.
    let source =
        |name: &str| workspace("tests/vectors/vault/source").join(name).to_string_lossy().into_owned();
    let import = |name: &str, env: &str| {
        vault(&authority, &["import", &source(name), "--env", env], SOURCE_PASSPHRASE)
    };
    let taken = import("pbkdf2.json", "pbkdf2");
    assert_eq!(taken.code(), 0, "{}", taken.stderr);
    refused("a vault with Argon2id", &import("argon2id.json", "argon2id"), "Argon2id", "usual build");

    let sheets = desk.at("sheets");
    let share =
        ["share", "--threshold", "2", "--no-read-back", "--out", &sheets, "--holder", "a", "--holder", "b"];
    refused("shares", &vault(&authority, &share, PASSPHRASE), "SLIP-39", "second passkey");
    let key = desk.at("key");
    refused(
        "an offline key",
        &vault(&authority, &["offline-key", "make", "--out", &key], ""),
        "X25519",
        "P-256",
    );
    assert!(!Path::new(&key).exists() || fs::read(&key).unwrap().is_empty());
}

#[test]
fn nothing_is_sealed_with_age_and_no_file_of_it_is_opened() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    desk.put("passphrase", PASSPHRASE).unwrap();
    let (out, passphrase) = (desk.at("backup"), desk.at("passphrase"));
    let create = ["backup", "create", "--out", &out, "--passphrase-file", &passphrase];
    refused("backup create", &authority.kosctl(&create).unwrap(), "age", "encrypted by other means");
    assert!(!authority.events().unwrap().iter().any(|event| event == "backup_created"));
    assert!(!Path::new(&out).exists());

    // A file of the program age itself.
    let key = desk.at("age.key");
    judge::agrees("age-keygen", &["-o", &key], "").unwrap();
    let recipient = judge::agrees("age-keygen", &["-y", &key], "").unwrap();
    desk.put("plain", "no archive").unwrap();
    let (sealed, plain) = (desk.at("sealed"), desk.at("plain"));
    judge::agrees("age", &["-r", recipient.trim(), "-o", &sealed, &plain], "").unwrap();
    let verify = authority.kosctl(&["backup", "verify", &sealed, "--identity-file", &key]).unwrap();
    refused("backup verify", &verify, "age", "encrypted by other means");
    let elsewhere = desk.at("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let restore = program::run(
        "kos-authority",
        &["restore", &sealed, "--identity-file", &key, "--data", &elsewhere],
        "",
    )
    .unwrap();
    refused("restore", &restore, "age", "encrypted by other means");
}

#[test]
fn a_quarantine_is_obeyed_without_the_bundle_that_would_be_sealed_with_age() {
    let authority = Authority::start_with(SETTINGS).unwrap();
    let desk = Desk::new().unwrap();
    let key = desk.at("age.key");
    judge::agrees("age-keygen", &["-o", &key], "").unwrap();
    let recipient = judge::agrees("age-keygen", &["-y", &key], "").unwrap();
    let guardian =
        ["guardian", "add", "night", "--syslog", "udp://127.0.0.1:9", "--bundle-key", recipient.trim()];
    authority.json(&guardian).unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "fips-3").unwrap();
    authority.json(&["device", "quarantine", &id, "--reason", "acts strangely", "--yes"]).unwrap();
    authority.device_becomes(&id, "quarantine", |case| !case["confirmedAt"].is_null()).unwrap();
    let daemon = device.program().unwrap();
    wait::until("the device to say why", || {
        Ok(daemon
            .errors()
            .lines()
            .any(|line| line.contains("no forensic bundle") && line.contains("age"))
            .then_some(()))
    })
    .unwrap();
    let got = authority.kosctl(&["device", "forensics", &id, "--out", &desk.at("bundle")]).unwrap();
    assert!(got.stderr.contains("KOS-E0765"), "{}", got.stderr);
}

#[test]
fn a_tpm_is_refused_before_it_is_spoken_to() {
    let authority = Authority::start().unwrap();
    for secrets in ["  keys: tpm\n", "  opener: tpm\n"] {
        let device =
            Device::new("fips-4", &format!("secrets:\n{secrets}  tpm: \"swtpm:127.0.0.1:9\"\n")).unwrap();
        let ticket = authority.ticket(&["--role", "sensor"]).unwrap();
        refused(secrets, &device.enrol(&ticket).unwrap(), "AES-128-CFB", "PKCS#11 token");
    }
    let keys = "keys_opener: tpm\nkeys_tpm: \"swtpm:127.0.0.1:9\"\n";
    let told = Authority::start_with(keys).unwrap_err().to_string();
    assert!(told.contains(REFUSED) && told.contains("AES-128-CFB"), "{told}");
}

#[test]
fn openssl_is_let_in_with_aes_gcm_and_p_256_and_neither_with_chacha20_nor_with_x25519_alone() {
    let authority = Authority::start().unwrap();
    let anna = Operator::here(&authority, "anna", "admin").unwrap();
    let desk = Desk::new().unwrap();
    for name in ["root.pem", "operator.pem", "operator.key"] {
        desk.put(name, fs::read(anna.file(name)).unwrap()).unwrap();
    }
    let line = format!(
        "openssl s_client -verify_return_error -CAfile root.pem -connect 127.0.0.1:{} -alpn http/1.1 -cert operator.pem \
         -cert_chain operator.pem -key operator.key",
        authority.ports().tls
    );
    for (suite, group) in [("TLS_AES_256_GCM_SHA384", "P-256"), ("TLS_AES_256_GCM_SHA384", "P-384")] {
        let said = desk
            .agrees(&format!("{line} -ciphersuites {suite} -groups {group}"), "Verify return code: 0 (ok)");
        let said = said.unwrap();
        assert!(said.contains(&format!("Cipher is {suite}")), "{said}");
        let curve = if group == "P-256" { "prime256v1" } else { "secp384r1" };
        assert!(said.contains(curve) || said.contains(group), "{said}");
    }
    for more in [
        "-ciphersuites TLS_CHACHA20_POLY1305_SHA256 -groups P-256",
        "-ciphersuites TLS_AES_256_GCM_SHA384 -groups X25519",
    ] {
        let (yes, said) = desk.ask(&format!("{line} -ign_eof {more}")).unwrap();
        assert!(!yes && said.contains("alert handshake failure"), "{more}: {said}");
    }
}
