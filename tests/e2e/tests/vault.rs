//! A vault through the programs: filled, locked, shared, rehearsed, recovered, killed.
#![cfg(test)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use data_encoding::{BASE64, HEXUPPER};
use kos_e2e::{
    fleet::Authority,
    otp::{self, SEED},
    program::{self, Finished},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";
const NEW_PASSPHRASE: &str = "another horse, another stable";

/// How often the authority is killed while secrets are put.
const KILLS: u32 = 3;

/// `kosctl vault ..` with something on stdin.
fn vault(socket: &str, words: &[&str], input: &str) -> Finished {
    program::run("kosctl", &[&["--server", socket, "--no-input", "vault"], words].concat(), input).unwrap()
}

fn done(socket: &str, words: &[&str], input: &str) -> String {
    let run = vault(socket, words, input);
    assert_eq!(run.code(), 0, "{words:?}: {}", run.stderr);
    run.stdout
}

fn item(socket: &str, words: &[&str], input: &str) -> Value {
    let text = done(socket, &[words, &["-o", "json"]].concat(), input);
    serde_json::from_str::<Value>(&text).unwrap()["item"].clone()
}

fn socket(authority: &Authority) -> String {
    format!("unix:{}", authority.socket().display())
}

/// What somebody keeps beside the authority.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn sheet(&self, begins: &str) -> String {
        let files = fs::read_dir(self.at("sheets")).unwrap().map(|file| file.unwrap().path());
        let is = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(begins) && name.ends_with(".txt")
        };
        files.into_iter().find(is).unwrap().to_string_lossy().into_owned()
    }
}

#[test]
fn a_vault_gives_its_secrets_only_while_it_is_open() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new();
    let socket = socket(&authority);
    let made = item(&socket, &["unlock", "--create"], PASSPHRASE);
    assert_eq!(made["state"], "unlocked");
    assert!(made["locksAt"].is_string(), "{made}");
    assert_eq!(vault(&socket, &["unlock", "--create"], PASSPHRASE).code(), 6);

    let first = item(&socket, &["put", "db/pass", "--type", "password"], "hunter1\n");
    assert_eq!((&first["version"], &first["type"]), (&1.into(), &"password".into()));
    assert_eq!(item(&socket, &["put", "db/pass", "--type", "password"], "hunter2\n")["version"], 2);
    assert_eq!(done(&socket, &["get", "db/pass"], ""), "hunter2\n");
    assert_eq!(done(&socket, &["get", "db/pass", "--version", "1"], ""), "hunter1\n");
    let out = desk.at("secret");
    assert_eq!(done(&socket, &["get", "db/pass", "--out", &out], ""), "");
    assert_eq!(fs::read(&out).unwrap(), b"hunter2\n");
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(done(&socket, &["list", "-o", "name"], ""), "db/pass\n");
    assert_eq!(done(&socket, &["history", "db/pass", "-o", "name"], ""), "2\n1\n");

    let exported = desk.at("exported");
    done(&socket, &["export", "--out", &exported], "");
    let file = fs::read(&exported).unwrap();
    assert!(!file.windows(7).any(|part| part == b"hunter2" || part == b"db/pass"));
    // An older file may be the only good one.
    let again = vault(&socket, &["export", "--out", &exported], "");
    assert!(again.code() == 2 && again.stderr.contains("--force"), "{}", again.stderr);
    done(&socket, &["export", "--out", &exported, "--force"], "");
    assert_eq!(vault(&socket, &["import", &exported], PASSPHRASE).code(), 6, "there is one already");
    fs::write(desk.at("foreign"), "{}").unwrap();
    let nameless = vault(&socket, &["import", &desk.at("foreign")], PASSPHRASE);
    assert!(nameless.code() == 2 && nameless.stderr.contains("--env"), "{}", nameless.stderr);
    let mut elsewhere = Authority::start().unwrap();
    let other = self::socket(&elsewhere);
    assert_eq!(vault(&other, &["import", &exported], "wrong horse battery staple").code(), 5);
    done(&other, &["import", &exported], PASSPHRASE);
    done(&other, &["unlock"], PASSPHRASE);
    assert_eq!(done(&other, &["get", "db/pass"], ""), "hunter2\n");
    elsewhere.stop().unwrap();

    assert_eq!(item(&socket, &["lock"], "")["state"], "locked");
    for words in [&["get", "db/pass"][..], &["list"], &["rm", "db/pass", "--yes"]] {
        let refused = vault(&socket, words, "");
        assert!(refused.code() != 0 && refused.stdout.is_empty(), "{words:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("unlock"), "no way out: {}", refused.stderr);
    }
    let wrong = vault(&socket, &["unlock"], "wrong horse battery staple");
    assert_eq!(wrong.code(), 5, "{}", wrong.stderr);
    done(&socket, &["unlock"], PASSPHRASE);

    authority.stop().unwrap();
    authority.serve().unwrap();
    assert_eq!(item(&socket, &["status", "--env", "default"], "")["state"], "locked");
    assert_ne!(vault(&socket, &["get", "db/pass"], "").code(), 0);
    done(&socket, &["unlock"], PASSPHRASE);
    assert_eq!(done(&socket, &["get", "db/pass"], ""), "hunter2\n");
    let verdict = authority.json(&["audit", "verify"]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    for (path, bytes) in program::files(authority.data()).unwrap() {
        for secret in [&b"hunter2"[..], PASSPHRASE.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", path.display());
        }
    }
    authority.stop().unwrap();
}

#[test]
fn two_of_three_holders_rehearse_and_recover_a_vault() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new();
    let socket = socket(&authority);
    done(&socket, &["unlock", "--create"], PASSPHRASE);
    done(&socket, &["put", "key", "--file", "-"], "hunter2");
    let sheets = desk.at("sheets");
    let share = ["share", "--threshold", "2", "--no-read-back", "--out", &sheets, "--holder"];
    let shared = item(&socket, &[&share[..], &["alice", "bob", "carol"]].concat(), PASSPHRASE);
    assert_eq!(shared["words"], Value::Array(Vec::new()));
    let [alice, bob, carol] = ["01", "02", "03"].map(|number| desk.sheet(number));

    let too_few = vault(&socket, &["rehearse", "--share-file", &carol], "");
    assert_eq!(too_few.code(), 9, "{}", too_few.stderr);
    let rehearsed = item(&socket, &["rehearse", "--share-file", &alice], "");
    assert!(rehearsed["sharing"]["rehearsedAt"].is_string(), "{rehearsed}");

    done(&socket, &["lock"], "");
    let recovered = item(&socket, &["recover", "--share-file", &bob, &alice], NEW_PASSPHRASE);
    assert_eq!(recovered["state"], "unlocked");
    assert_eq!(done(&socket, &["get", "key"], ""), "hunter2");
    done(&socket, &["lock"], "");
    assert_eq!(vault(&socket, &["unlock"], PASSPHRASE).code(), 5, "the old passphrase opens it still");
    done(&socket, &["unlock"], NEW_PASSPHRASE);
    assert_ne!(vault(&socket, &["rehearse", "--share-file", &alice, &bob], "").code(), 0);
    authority.stop().unwrap();
}

/// `openssl ..` in the folder of the desk.
fn openssl(desk: &Desk, words: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(words).current_dir(desk.0.path());
    let run = program::finish(command, "").unwrap();
    assert_eq!(run.code(), 0, "{words:?}: {}", run.stderr);
    run.stdout
}

#[test]
fn what_a_vault_signs_and_codes_other_programs_agree_with() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new();
    let socket = socket(&authority);
    done(&socket, &["unlock", "--create"], PASSPHRASE);
    fs::write(desk.at("message"), b"a message\n\x00").unwrap();
    let message = desk.at("message");
    for (name, how) in [
        ("ed25519", &["-algorithm", "ed25519"][..]),
        ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ] {
        openssl(&desk, &[&["genpkey", "-outform", "DER", "-out", name], how].concat());
        openssl(&desk, &["pkey", "-in", name, "-inform", "DER", "-pubout", "-out", "public"]);
        // The form that both write: PKCS#8.
        openssl(
            &desk,
            &["pkcs8", "-topk8", "-nocrypt", "-in", name, "-inform", "DER", "-outform", "DER", "-out", "key"],
        );
        done(&socket, &["put", name, "--type", "private_key", "--file", &desk.at("key")], "");
        let signature = done(&socket, &["use", "sign", name, "--file", &message], "");
        fs::write(desk.at("signature"), BASE64.decode(signature.trim().as_bytes()).unwrap()).unwrap();
        let verify =
            ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "public", "-sigfile", "signature", "-in"];
        openssl(&desk, &[&verify[..], &["message"]].concat());
    }
    done(&socket, &["put", "mac", "--type", "api_key"], "a key of mac");
    let key = HEXUPPER.encode(b"a key of mac");
    let key = format!("hexkey:{key}");
    let theirs = openssl(&desk, &["mac", "-digest", "SHA256", "-macopt", &key, "-in", "message", "HMAC"]);
    let ours = done(&socket, &["use", "hmac", "mac", "--file", &message], "");
    assert_eq!(ours.trim(), theirs.trim().to_lowercase());
    done(&socket, &["put", "otp", "--type", "totp_seed"], SEED);
    let before = otp::step().unwrap();
    let ours = done(&socket, &["use", "totp", "otp"], "");
    let theirs: Vec<String> = (before..=otp::step().unwrap()).map(|step| otp::code(step).unwrap()).collect();
    assert!(theirs.contains(&ours.trim().to_owned()), "{ours} {theirs:?}");
    authority.stop().unwrap();
}

#[test]
fn an_offline_key_and_codes_guard_and_give_back_a_vault_through_a_restart() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new();
    let socket = socket(&authority);
    done(&socket, &["unlock", "--create"], PASSPHRASE);
    done(&socket, &["put", "key"], "hunter2");
    let (key, passphrase, new) = (desk.at("offline"), desk.at("pass"), desk.at("new"));
    fs::write(&passphrase, PASSPHRASE).unwrap();
    fs::write(&new, NEW_PASSPHRASE).unwrap();
    let made = item(&socket, &["offline-key", "make", "--out", &key], "");
    let recipient = made["recipient"].as_str().unwrap();
    done(&socket, &["offline-key", "add", "--recipient", recipient], PASSPHRASE);

    let (seed, typed) = (desk.at("seed"), desk.at("code"));
    fs::write(&seed, SEED).unwrap();
    let first = otp::step().unwrap();
    let next = |steps: u64| fs::write(&typed, otp::code(first + steps).unwrap()).unwrap();
    next(0);
    let add = ["authoriser", "totp", "add", "--passphrase-file", &passphrase];
    done(&socket, &[&add[..], &["--seed-file", &seed, "--code-file", &typed]].concat(), "");
    assert_eq!(vault(&socket, &["get", "key", "--code-file", &typed], "").code(), 5, "it was used");
    authority.stop().unwrap();
    authority.serve().unwrap();
    assert_eq!(item(&socket, &["status", "--env", "default"], "")["authoriser"]["kind"], "totp");
    let unlock = ["unlock", "--passphrase-file", &passphrase, "--code-file", &typed];
    let replayed = vault(&socket, &unlock, "");
    assert!(replayed.code() == 5 && replayed.stderr.contains("KOS-E0647"), "{}", replayed.stderr);
    next(1);
    let recover = ["recover", "--offline-key", &key, "--new-passphrase-file", &new];
    assert_eq!(vault(&socket, &recover, "").code(), 2, "nobody types a code here");
    let recovered = item(&socket, &[&recover[..], &["--code-file", &typed]].concat(), "");
    assert_eq!((&recovered["state"], recovered["slots"].as_array().unwrap().len()), (&"unlocked".into(), 1));
    done(&socket, &["lock"], "");
    assert_ne!(vault(&socket, &recover, "").code(), 0, "its slot is gone");
    // The programs know the key only from its file.
    let secret = fs::read_to_string(&key).unwrap();
    let secret = secret.lines().find(|line| line.starts_with("kos-offline-secret:")).unwrap();
    for (path, bytes) in program::files(authority.data()).unwrap() {
        for text in [secret, SEED] {
            assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()), "{}", path.display());
        }
    }
    assert_eq!(authority.json(&["audit", "verify"]).unwrap()["item"]["ok"], true);
    authority.stop().unwrap();
}

#[test]
fn a_vault_keeps_what_it_acknowledged_through_kills() {
    let mut authority = Authority::start().unwrap();
    let socket = socket(&authority);
    done(&socket, &["unlock", "--create"], PASSPHRASE);
    let mut acknowledged: Vec<String> = Vec::new();
    for kill in 0..KILLS {
        let over = AtomicBool::new(false);
        let before = acknowledged.len();
        thread::scope(|scope| {
            let puts = scope.spawn(|| {
                let mut put = Vec::new();
                for step in 0_u32.. {
                    let name = format!("run-{kill}/{step}");
                    // What is asked for while the authority is down is refused, and that is nobody's fault.
                    if vault(&socket, &["put", &name], &name).code() == 0 {
                        put.push(name);
                    }
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
                put
            });
            wait::pass(Duration::from_millis(900 + 370 * u64::from(kill)));
            authority.kill().unwrap();
            over.store(true, Ordering::Relaxed);
            acknowledged.extend(puts.join().unwrap());
        });
        assert!(acknowledged.len() > before, "run {kill}: nothing was put before the kill");
        authority.serve().unwrap();
        done(&socket, &["unlock"], PASSPHRASE);
        for name in &acknowledged {
            assert_eq!(&done(&socket, &["get", name], ""), name, "run {kill}");
        }
    }
    assert_eq!(authority.json(&["audit", "verify"]).unwrap()["item"]["ok"], true);
    authority.stop().unwrap();
}
