//! The private keys of an authority: sealed on the disk, taken over from earlier versions, opened in another way, damaged,
//! put back old, backed up and restored.
#![cfg(test)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use kos_e2e::{
    fleet::Authority,
    judge::{self, Desk},
    keys::{self, at, former, of_authority, write_former},
    program::{self, Program, files},
    secret::Secret,
    wait,
};
use serde_json::Value;

const PASSPHRASE: &str = "correct horse battery staple";
const CREDENTIAL: &str = "kos-machine-key";

fn settings(authority: &Authority, text: &str) {
    fs::write(at(authority.data(), "authority.yaml"), text).unwrap();
}

/// The entries about how the keys are sealed.
fn sealed(authority: &Authority) -> Vec<Value> {
    let list = authority.json(&["audit", "list", "--event", "keys_sealed"]).unwrap();
    list["items"].as_array().unwrap().iter().map(|entry| entry["details"].clone()).collect()
}

#[test]
fn no_key_is_in_the_clear_after_init() {
    let desk = Desk::new().unwrap();
    let data = desk.at("data");
    let made = program::run("kos-authority", &["init", "--data", &data, "--name", "attic"], "").unwrap();
    assert_eq!(made.code(), 0, "{}", made.stderr);
    let secrets = Secret::keys_of_authority(Path::new(&data)).unwrap();
    let whole: Vec<_> = of_authority(Path::new(&data))
        .unwrap()
        .iter()
        .map(|(name, bytes)| Secret::new(&format!("all of {name}"), bytes).unwrap())
        .collect();
    assert_eq!((secrets.len(), whole.len()), (7, 7));
    let found = files(Path::new(&data)).unwrap();
    assert!(found.len() >= 7, "{found:?}");
    for (path, bytes) in found {
        for secret in secrets.iter().chain(&whole) {
            secret.is_not_in(&path.display().to_string(), &bytes).unwrap();
        }
    }
}

#[test]
fn keys_of_an_earlier_version_are_sealed_whenever_the_program_is_killed() {
    let mut authority = Authority::start().unwrap();
    authority.stop().unwrap();
    let before = of_authority(authority.data()).unwrap();
    write_former(authority.data()).unwrap();
    assert_eq!(former(authority.data()).unwrap().len(), 7);
    let desk = Desk::new().unwrap();
    let mut kills = 0;
    for call in ["rename", "fdatasync", "unlink"] {
        for number in 1.. {
            let data = PathBuf::from(desk.at("data"));
            let _ = fs::remove_dir_all(&data);
            program::copy(authority.data(), &data).unwrap();
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let words = ["serve", "--data", &desk.at("data"), "--port-base", "0"];
            let serve = program::command("kos-authority", &words).unwrap();
            let options = ["-e", "trace=rename,fdatasync,unlink", "-e", &inject].map(str::to_owned);
            let command = program::under_strace(&serve, options);
            let mut watched = Program::of("strace", command, "").unwrap();
            let ready = wait::until("a kill, or the end of the start", || {
                let ended = !watched.is_running()?;
                Ok((ended || watched.errors().contains("ready")).then_some(!ended))
            })
            .unwrap();
            let said = watched.errors();
            assert!(!said.contains("error["), "{call} {number}: {said}");
            watched.kill().unwrap();
            if ready {
                break;
            }
            // The keys are in the clear, or sealed and the same; never gone.
            let settled = keys::FILES.iter().all(|name| at(&data, name).exists())
                && former(&data).unwrap().is_empty()
                && fs::read_to_string(at(&data, "keys/SHA256SUMS")).unwrap().lines().count() == 3;
            if settled {
                assert_eq!(of_authority(&data).unwrap(), before);
                break;
            }
            kills += 1;
            let again = Again::start(&data);
            assert_eq!(of_authority(&data).unwrap(), before, "{call} {number}");
            assert_eq!(former(&data).unwrap(), [""; 0], "{call} {number}");
            again.stop();
        }
    }
    assert!(kills >= 20, "only {kills} steps were cut");

    // And at last without a cut: the log tells of it once.
    authority.serve().unwrap();
    assert_eq!(of_authority(authority.data()).unwrap(), before);
    authority.stop().unwrap();
    authority.serve().unwrap();
    let told = sealed(&authority);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["opener"], &told[0]["generation"]), (&"key-file".into(), &1.into()));
    authority.stop().unwrap();
}

/// An authority that was started at any ports, until it serves.
struct Again(Program);

impl Again {
    fn start(data: &Path) -> Self {
        let data = data.display().to_string();
        let serve = ["serve", "--data", &data, "--port-base", "0"];
        let program = Program::start("kos-authority", &serve, "").unwrap();
        wait::until("an authority to be ready", || {
            let said = program.errors();
            assert!(!said.contains("error["), "{said}");
            Ok(said.contains("ready").then_some(()))
        })
        .unwrap();
        Self(program)
    }

    fn stop(self) {
        self.0.stop().unwrap();
    }
}

#[test]
fn a_damaged_file_of_an_earlier_version_is_named_and_nothing_changes() {
    let mut authority = Authority::start().unwrap();
    authority.stop().unwrap();
    write_former(authority.data()).unwrap();
    for name in ["root.key", "store.key", "SHA256SUMS", "issuing-2.crt"] {
        let path = at(authority.data(), "keys").join(name);
        let genuine = fs::read(&path).unwrap();
        let mut damaged = genuine.clone();
        damaged[40] ^= 1;
        fs::write(&path, damaged).unwrap();
        let before = files(&at(authority.data(), "keys")).unwrap();
        let refused = authority.refuses().unwrap();
        assert_eq!(refused.code(), 8, "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains("KOS-E0007"), "{name}: {}", refused.stderr);
        assert_eq!(files(&at(authority.data(), "keys")).unwrap(), before, "{name}");
        assert!(!at(authority.data(), "machine.anchor").exists());
        fs::write(&path, genuine).unwrap();
    }
    authority.serve().unwrap();
    authority.stop().unwrap();
}

#[test]
fn damage_a_missing_key_and_an_old_vault_end_the_start_and_nothing_is_overwritten() {
    let mut authority = Authority::start().unwrap();
    authority.stop().unwrap();
    let data = authority.data().to_path_buf();
    let refuses = |authority: &Authority, code: &str, exit: i32, what: &str| {
        let before = files(&at(&data, "keys")).unwrap();
        let anchor = fs::read(at(&data, "machine.anchor")).ok();
        let refused = authority.refuses().unwrap();
        assert!(refused.stderr.contains(code), "{what}: {}", refused.stderr);
        assert_eq!(refused.code(), exit, "{what}: {}", refused.stderr);
        assert_eq!(files(&at(&data, "keys")).unwrap(), before, "{what}");
        assert_eq!(fs::read(at(&data, "machine.anchor")).ok(), anchor, "{what}");
    };
    for (name, tenths, code, exit) in [
        ("keys/machine.json", 9, "KOS-E060", 8),
        ("keys/machine.json", 5, "KOS-E060", 8),
        ("keys/machine.key", 5, "KOS-E0641", 5),
        ("machine.anchor", 5, "KOS-E0007", 8),
        ("keys/issuing-1.crt", 5, "KOS-E0007", 8),
    ] {
        let path = at(&data, name);
        let genuine = fs::read(&path).unwrap();
        let mut damaged = genuine.clone();
        let byte = genuine.len() * tenths / 10;
        damaged[byte] ^= 1;
        fs::write(&path, damaged).unwrap();
        refuses(&authority, code, exit, name);
        fs::remove_file(&path).unwrap();
        match name {
            "keys/machine.json" => refuses(&authority, "KOS-E0633", 8, "no vault"),
            "keys/machine.key" => refuses(&authority, "KOS-E0641", 5, "no key"),
            _ => {}
        }
        fs::write(&path, genuine).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let told = {
        fs::rename(at(&data, "keys/machine.key"), at(&data, "away")).unwrap();
        let told = authority.refuses().unwrap().stderr;
        fs::rename(at(&data, "away"), at(&data, "keys/machine.key")).unwrap();
        told
    };
    assert!(told.contains("keys/machine.key is missing") && told.contains("docs/guide/keys.md"), "{told}");

    // A change of the way in makes the next file; the one before is then an old one.
    let desk = Desk::new().unwrap();
    let old = PathBuf::from(desk.at("old"));
    program::copy(&at(&data, "keys"), &old).unwrap();
    settings(&authority, &format!("keys_file: {}\n", desk.at("machine.key")));
    authority.serve().unwrap();
    authority.stop().unwrap();
    for name in ["machine.json", "machine.key"] {
        fs::copy(old.join(name), at(&data, "keys").join(name)).unwrap();
    }
    refuses(&authority, "KOS-E0631", 8, "an old vault");
    // Keys that are gone are not made anew.
    fs::remove_dir_all(at(&data, "keys")).unwrap();
    let shown = data.display().to_string();
    let init = program::run("kos-authority", &["init", "--data", &shown], "").unwrap();
    assert!(init.stderr.contains("KOS-E0022"), "{}", init.stderr);
    let refused = authority.refuses().unwrap();
    assert!(refused.stderr.contains("KOS-E0633"), "{}", refused.stderr);
}

#[test]
fn the_keys_open_as_the_settings_say_and_status_and_log_tell() {
    let mut authority = Authority::start().unwrap();
    let before = of_authority(authority.data()).unwrap();
    let shown = |authority: &Authority| authority.json(&["status"]).unwrap()["item"]["keys"].clone();
    let status = shown(&authority);
    assert_eq!(status["opener"], "key-file");
    for said in ["protectsAgainst", "notAgainst", "rollback"] {
        assert!(status[said].as_str().is_some_and(|text| text.len() > 10), "{status}");
    }
    assert!(sealed(&authority).is_empty());
    authority.stop().unwrap();

    // The credential is not there yet: nothing changes, and it says what is missing.
    settings(&authority, "keys_opener: credential\n");
    let refused = authority.refuses().unwrap();
    assert_eq!(refused.code(), 5, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("KOS-E0641") && refused.stderr.contains("credentials"),
        "{}",
        refused.stderr
    );
    assert_eq!(of_authority(authority.data()).unwrap(), before);

    let desk = Desk::new().unwrap();
    let credential = "5a".repeat(32);
    desk.put(&format!("credentials/{CREDENTIAL}"), &credential).unwrap();
    authority.has_credentials(Path::new(&desk.at("credentials")));
    authority.serve().unwrap();
    assert_eq!(shown(&authority)["opener"], "credential");
    assert!(!at(authority.data(), "keys/machine.key").exists(), "the old way in is destroyed");
    let told = sealed(&authority);
    assert_eq!((&told[0]["opener"], &told[0]["generation"]), (&"credential".into(), &2.into()));
    let doctor = authority.kosctl(&["doctor"]).unwrap();
    assert_eq!(doctor.code(), 0, "{}", doctor.stdout);
    let vault = fs::read_to_string(at(authority.data(), "keys/machine.json")).unwrap();
    assert!(!vault.contains(&credential));

    // What would stop the next start is told before it.
    fs::rename(desk.at(&format!("credentials/{CREDENTIAL}")), desk.at("away")).unwrap();
    let doctor = authority.kosctl(&["doctor"]).unwrap();
    assert_ne!(doctor.code(), 0);
    assert!(doctor.stdout.contains(CREDENTIAL), "{}", doctor.stdout);
    fs::rename(desk.at("away"), desk.at(&format!("credentials/{CREDENTIAL}"))).unwrap();
    authority.stop().unwrap();

    // Back to a key file, on another medium from the start.
    settings(&authority, &format!("keys_file: {}\n", desk.at("machine.key")));
    authority.serve().unwrap();
    assert_eq!(shown(&authority)["opener"], "key-file");
    assert!(Path::new(&desk.at("machine.key")).exists());
    assert!(!at(authority.data(), "keys/machine.key").exists());
    assert_eq!(sealed(&authority).len(), 2);
    authority.stop().unwrap();
}

#[test]
fn a_backup_opens_on_another_machine_whatever_opened_the_keys_here() {
    let desk = Desk::new().unwrap();
    let mut lost = Authority::start().unwrap();
    let before = of_authority(lost.data()).unwrap();
    lost.stop().unwrap();
    desk.put(&format!("credentials/{CREDENTIAL}"), "5a".repeat(32)).unwrap();
    desk.put("passphrase", PASSPHRASE).unwrap();
    settings(&lost, "keys_opener: credential\n");
    lost.has_credentials(Path::new(&desk.at("credentials")));
    lost.serve().unwrap();
    let (out, passphrase) = (desk.at("backup.age"), desk.at("passphrase"));
    lost.json(&["backup", "create", "--out", &out, "--passphrase-file", &passphrase]).unwrap();
    lost.kill().unwrap();

    // A machine without that credential.
    let (data, backup) = (desk.at("data"), PathBuf::from(&out));
    let restored = program::run("kos-authority", &["restore", &out, "--data", &data], PASSPHRASE).unwrap();
    assert_eq!(restored.code(), 0, "{}", restored.stderr);
    assert!(
        restored.stderr.contains(CREDENTIAL) && restored.stderr.contains("keys_opener"),
        "{}",
        restored.stderr
    );
    assert_eq!(of_authority(Path::new(&data)).unwrap(), before);
    let mut restored = Authority::put_back(&lost, &backup, PASSPHRASE).unwrap();
    let refused = restored.refuses().unwrap();
    assert!(refused.stderr.contains("KOS-E0641"), "{}", refused.stderr);
    settings(&restored, "");
    restored.serve_closed().unwrap();
    let planned = restored.kosctl(&["backup", "restore", "--declare-loss", "--dry-run"]).unwrap();
    let line = planned.stdout.lines().find(|line| line.starts_with("to ")).unwrap();
    let name = line.split_whitespace().last().unwrap();
    restored.json(&["backup", "restore", "--declare-loss", "--confirm", name]).unwrap();
    wait::until("the authority to serve", || Ok(restored.kosctl(&["list"])?.status.success().then_some(())))
        .unwrap();
    // The log was told of the credential on the machine that is lost, and of the key file here.
    let told: Vec<_> = sealed(&restored).iter().map(|entry| entry["opener"].clone()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&"credential".into()) && told.contains(&"key-file".into()), "{told:?}");
    assert_eq!(of_authority(restored.data()).unwrap(), before);
    restored.stop().unwrap();
}

#[test]
fn a_backup_of_an_earlier_version_is_restored_and_sealed() {
    let desk = Desk::new().unwrap();
    let mut lost = Authority::start().unwrap();
    let before = of_authority(lost.data()).unwrap();
    judge::agrees("age-keygen", &["-o", &desk.at("identity")], "").unwrap();
    let identity = String::from_utf8(desk.take("identity").unwrap()).unwrap();
    let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
    let out = desk.at("backup.age");
    lost.json(&["backup", "create", "--out", &out, "--recipient", &recipient]).unwrap();
    lost.stop().unwrap();

    // Opened by age and tar, its keys as they were, packed again.
    desk.agrees("age --decrypt --identity identity --output backup.tar backup.age", "").unwrap();
    fs::create_dir_all(desk.at("parts/authority")).unwrap();
    desk.agrees("tar --extract --file backup.tar --directory parts/authority", "").unwrap();
    let parts = PathBuf::from(desk.at("parts"));
    assert_eq!(former(&parts).unwrap(), [""; 0], "a backup has no key in the clear");
    assert!(!at(&parts, "machine.anchor").exists(), "what has just been made needs none");
    assert_eq!(of_authority(&parts).unwrap(), before);
    write_former(&parts).unwrap();
    let manifest = at(&parts, "backup.json");
    let mut text: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    fs::remove_file(&manifest).unwrap();
    assert_eq!(text["version"], 2);
    let listed: Vec<_> = files(&parts.join("authority"))
        .unwrap()
        .into_iter()
        .map(|(path, bytes)| {
            let name = path.strip_prefix(parts.join("authority")).unwrap().display().to_string();
            let sha256 = data_encoding::HEXLOWER.encode(&kos_base::digest::sha256(&bytes));
            serde_json::json!({"name": name, "bytes": bytes.len(), "sha256": sha256})
        })
        .collect();
    let names: Vec<_> = listed.iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect();
    (text["version"], text["files"]) = (1.into(), listed.into());
    fs::write(&manifest, text.to_string()).unwrap();
    let pack = format!(
        "--create --format ustar --file old.tar --directory parts/authority {} backup.json",
        names.join(" ")
    );
    desk.agrees(&format!("tar {pack}"), "").unwrap();
    desk.agrees(&format!("age --recipient {recipient} --output old.age old.tar"), "").unwrap();

    let (old, key) = (desk.at("old.age"), desk.at("identity"));
    let verdict = program::run("kosctl", &["backup", "verify", &old, "--identity-file", &key], "").unwrap();
    assert_eq!(verdict.code(), 0, "{}{}", verdict.stdout, verdict.stderr);
    let data = desk.at("data");
    let restore = ["restore", &old, "--data", &data, "--identity-file", &key];
    let restored = program::run("kos-authority", &restore, "").unwrap();
    assert_eq!(restored.code(), 0, "{}", restored.stderr);
    assert_eq!(of_authority(Path::new(&data)).unwrap(), before);
    assert_eq!(former(Path::new(&data)).unwrap(), [""; 0]);
}
