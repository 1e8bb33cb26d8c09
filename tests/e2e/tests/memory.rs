//! What is left in the memory of an authority of secrets that went through it: nothing, once nobody uses them.
#![cfg(test)]

use std::{
    fs::{self, File},
    io::Read as _,
};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use kos_api::{
    routes,
    text::SecretText,
    vault::{
        AddPasskey, RecoverVault, SharePurpose, ShareVault, SubmitShare, UnlockVault, Vault, VaultPasskey,
        VaultRecovery, VaultShares,
    },
};
use kos_e2e::{
    fleet::Authority,
    judge::Desk,
    memory::{self, Searched},
    program::{self, Finished},
    secret::Secret,
    wait,
};
use kosctl::{Change, Client, Outcome, Server};
use serde::Serialize;
use serde_json::Value;

/// A serial that a rule of the settings names. It is public and stays in memory, so that a search has something to find.
const CANARY: &str = "canary-of-the-settings-0001";

/// Random bytes that nobody else has.
fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

fn random_text() -> String {
    BASE64.encode(&random(24))
}

/// `kosctl vault ..` with something on stdin, as people do it.
fn vault(authority: &Authority, words: &[&str], input: &str) -> Finished {
    let server = format!("unix:{}", authority.socket().display());
    program::run("kosctl", &[&["--server", &server, "--no-input", "vault"], words].concat(), input).unwrap()
}

fn done(authority: &Authority, words: &[&str], input: &str) -> String {
    let run = vault(authority, words, input);
    assert_eq!(run.code(), 0, "{words:?}: {}", run.stderr);
    run.stdout
}

/// A change over the API, for what `kosctl` would do in more steps.
fn change<T: kos_api::Kind>(authority: &Authority, route: &routes::Route, body: &impl Serialize) -> T {
    change_at(authority, route, &["default"], body)
}

fn change_at<T: kos_api::Kind>(
    authority: &Authority,
    route: &routes::Route,
    at: &[&str],
    body: &impl Serialize,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(Server::Unix(authority.socket()), None);
    match runtime.block_on(client.change(route, at, body, &Change::default())).unwrap() {
        Outcome::Done(done) => done,
        Outcome::Planned(_) => panic!("planned and not done"),
    }
}

/// Every key of the vault, as a foreign reader computes them.
fn keys(authority: &Authority, desk: &Desk, passphrase: &str) -> Vec<Secret> {
    let file = fs::read(authority.data().join("authority/vaults/default.json")).unwrap();
    desk.put("file", file).unwrap();
    desk.put("passphrase", passphrase).unwrap();
    let (file, passphrase) = (desk.at("file"), desk.at("passphrase"));
    let (fine, said) = desk.python("crates/kos-vault/tests/judge/keys.py", &[&file, &passphrase]).unwrap();
    assert!(fine, "{said}");
    let keys = said.lines().map(|line| {
        let (name, hex) = line.split_once(": ").unwrap();
        Secret::new(name, &data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap()
    });
    keys.collect()
}

fn search(authority: &Authority, secrets: &[Secret]) -> Searched {
    memory::search(authority.pid().unwrap(), secrets).unwrap()
}

#[test]
fn a_vault_leaves_no_secret_in_memory() {
    let rule = format!("approve:\n  - name: canary\n    serials: [{CANARY}]\n");
    let mut authority = Authority::start_with(&rule).unwrap();
    let desk = Desk::new().unwrap();
    let (first, second, third) = (random_text(), random_text(), random_text());
    let (short, long, lines) =
        (random_text(), BASE64.encode(&random(30_000)), format!("{}\n\"", random_text()));

    done(&authority, &["unlock", "--create"], &first);
    done(&authority, &["put", "short", "--type", "password"], &short);
    desk.put("long", &long).unwrap();
    done(&authority, &["put", "long", "--file", &desk.at("long")], "");
    done(&authority, &["put", "lines", "--file", "-"], &lines);
    assert_eq!(done(&authority, &["get", "short"], "").trim(), short);
    assert_eq!(done(&authority, &["get", "long"], ""), long);
    assert_eq!(done(&authority, &["get", "lines"], ""), lines);
    done(&authority, &["lock"], "");
    let wrong = random_text();
    assert_eq!(vault(&authority, &["unlock"], &wrong).code(), 5);
    done(&authority, &["unlock"], &first);
    let mut secrets = keys(&authority, &desk, &first);
    let (salt, given) = (random(32), random(32));
    let output = SecretText::new(BASE64.encode(&given));
    let passkey = VaultPasskey {
        credential_id: BASE64URL_NOPAD.encode(&random(32)),
        relying_party: "localhost".to_owned(),
        prf_salt: BASE64URL_NOPAD.encode(&salt),
    };
    let body = AddPasskey {
        passphrase: SecretText::new(first.clone()),
        passkey,
        output: output.clone(),
        code: None,
    };
    let _: Vault = change_at(&authority, &routes::VAULT_PASSKEY_ADD, &["default", "blue"], &body);
    done(&authority, &["lock"], "");
    let body = UnlockVault { passphrase: None, passkey: Some(output), code: None };
    let _: Vault = change(&authority, &routes::VAULT_UNLOCK, &body);
    secrets.push(Secret::new("what a passkey gave", &given).unwrap());
    desk.put("new", &second).unwrap();
    done(&authority, &["rotate", "--yes", "--new-passphrase-file", &desk.at("new")], &first);
    secrets.extend(keys(&authority, &desk, &second));

    let shares: VaultShares = change(
        &authority,
        &routes::VAULT_SHARE,
        &ShareVault {
            passphrase: SecretText::new(second.clone()),
            threshold: 2,
            holders: vec!["alice".to_owned(), "bob".to_owned()],
            code: None,
        },
    );
    for words in &shares.words {
        secrets.push(Secret::text("a share", words.expose()).unwrap());
        let body = SubmitShare { words: words.clone(), purpose: SharePurpose::Recovery };
        let _: VaultRecovery = change(&authority, &routes::VAULT_SUBMIT, &body);
    }
    let body = RecoverVault {
        new_passphrase: SecretText::new(third.clone()),
        agreed: None,
        passkey: None,
        code: None,
    };
    let _: Vault = change(&authority, &routes::VAULT_RECOVER, &body);
    assert_eq!(done(&authority, &["get", "short"], "").trim(), short);
    secrets.extend(keys(&authority, &desk, &third));

    for (name, text) in [
        ("the first passphrase", &first),
        ("the second passphrase", &second),
        ("the third passphrase", &third),
        ("a wrong passphrase", &wrong),
        ("a short secret", &short),
        ("the beginning of a long secret", &long[..64].to_owned()),
        ("the middle of a long secret", &long[16_000..16_064].to_owned()),
        ("the end of a long secret", &long[long.len() - 64..].to_owned()),
        ("a secret with a line feed", &lines[..32].to_owned()),
    ] {
        secrets.push(Secret::text(name, text).unwrap());
    }
    let canary = Secret::text("the canary", CANARY).unwrap();
    assert_ne!(search(&authority, &[canary]).found, [""; 0], "a search that finds nothing");

    // It is open, and nobody uses it.
    let open = search(&authority, &secrets);
    done(&authority, &["lock"], "");
    let locked = search(&authority, &secrets);
    assert!(
        locked.found.is_empty(),
        "locked, {} bytes were read:\n{}",
        locked.bytes,
        locked.found.join("\n")
    );
    assert!(open.found.is_empty(), "open, not readable: {:?}\n{}", open.closed, open.found.join("\n"));
    authority.stop().unwrap();
}

/// Starts it again with system calls that fail, and opens its vault.
fn again_without(authority: &mut Authority, calls: &str, passphrase: &str) {
    authority.stop().unwrap();
    let options =
        ["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={calls}:error=EPERM")];
    authority.spawn(|command| program::under_strace(&command, options)).unwrap();
    wait::until("the vault to open", || {
        assert!(authority.is_running()?, "{}", authority.errors());
        Ok((vault(authority, &["unlock"], passphrase).code() == 0).then_some(()))
    })
    .unwrap();
}

/// What `vault status` says of its keys, and whether the doctor is content with it.
fn protection(authority: &Authority) -> (Option<String>, bool) {
    let status = authority.json(&["vault", "status", "--env", "default"]).unwrap();
    let doctor = authority.kosctl(&["doctor", "-o", "json"]).unwrap();
    let doctor: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let checks = doctor["item"]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "key-memory").unwrap();
    let protection = status["item"]["memory"]["protection"].as_str().map(str::to_owned);
    (protection, check["ok"] == true)
}

/// Mappings that no other process can read, and those that are locked.
fn guarded(authority: &Authority) -> (usize, usize) {
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", authority.pid().unwrap())).unwrap();
    let locked = smaps.lines().filter(|line| line.starts_with("VmFlags:") && line.contains(" lo")).count();
    (smaps.lines().filter(|line| line.contains("secretmem")).count(), locked)
}

#[test]
fn keys_of_an_open_vault_are_not_swapped_and_the_owner_is_told_how() {
    let mut authority = Authority::start().unwrap();
    let passphrase = random_text();
    done(&authority, &["unlock", "--create"], &passphrase);
    let (shelter, content) = protection(&authority);
    let shelter = shelter.unwrap();
    // An older kernel has locked memory only.
    assert!(content && ["memfd_secret", "mlock"].contains(&shelter.as_str()), "{shelter}");
    let (secret, locked) = guarded(&authority);
    assert!(locked == 1 && secret == usize::from(shelter == "memfd_secret"), "{shelter}: {secret}, {locked}");
    done(&authority, &["lock"], "");
    assert_eq!((protection(&authority).0, guarded(&authority)), (None, (0, 0)));

    again_without(&mut authority, "memfd_secret", &passphrase);
    assert_eq!((protection(&authority), guarded(&authority)), ((Some("mlock".to_owned()), true), (0, 1)));
    again_without(&mut authority, "memfd_secret,mlock", &passphrase);
    assert_eq!((protection(&authority), guarded(&authority)), ((Some("none".to_owned()), false), (0, 0)));
    authority.stop().unwrap();
}
