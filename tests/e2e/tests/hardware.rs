//! Devices whose keys are in hardware: made there, used there, and of no use without it.
#![cfg(test)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use kos_e2e::{
    fleet::{self, Authority, Device},
    judge::Desk,
    program::files,
    wait,
};
use kos_emulator::{SoftToken, SoftTpm};
use serde_json::Value;

/// The public half of what the device shows now, as a certificate of its authority tells it.
fn algorithm(authority: &Authority, id: &str) -> String {
    let chain = authority.json(&["identity", "chain", "--device", id]).unwrap();
    assert_eq!(chain["item"]["valid"], true, "{chain}");
    chain["item"]["certificates"][0]["algorithm"].as_str().unwrap().to_owned()
}

/// New keys, in use.
fn renew(authority: &Authority, id: &str) {
    let before = authority.device(id).unwrap();
    authority.json(&["regen-cert", "--device", id]).unwrap();
    authority.device_becomes(id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
}

fn again_in_service(authority: &Authority, device: &mut Device, id: &str) {
    let before = authority.device(id).unwrap()["lastHeartbeatAt"].clone();
    device.run().unwrap();
    authority.device_becomes(id, "lastHeartbeatAt", |at| *at != before).unwrap();
}

/// What the daemon says when it does not start.
fn refused(device: &mut Device) -> String {
    device.run().unwrap();
    let program = device.program().unwrap();
    let ended = program.ended().unwrap();
    assert!(!ended.success());
    let told = || Ok(Some(program.errors()).filter(|errors| errors.contains("  fix ")));
    wait::until("the refusal", told).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (path, _) in files(from).unwrap() {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        // With its rights.
        fs::copy(path, target).unwrap();
    }
}

#[test]
fn a_device_with_a_tpm_lives_by_keys_that_its_disk_does_not_have() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let mut tpm = SoftTpm::new();
    let secrets = format!("secrets:\n  opener: tpm\n  keys: tpm\n  tpm: \"{}\"\n", tpm.address());
    let mut device = Device::new("tpm-1", &secrets).unwrap();
    let id = fleet::bring_into_service(&authority, &mut device).unwrap();
    assert_eq!(algorithm(&authority, &id), "ecdsa-p256");
    let keys = device.status().unwrap()["keys"].clone();
    assert_eq!(keys["opener"], "tpm");
    assert!(keys["rollback"].as_str().unwrap().contains("counter"), "{keys}");
    renew(&authority, &id);
    assert_eq!(algorithm(&authority, &id), "ecdsa-p256");

    // OpenSSL finds the chain good.
    let desk = Desk::new().unwrap();
    let chain = authority.json(&["identity", "chain", "--device", &id]).unwrap();
    let pem = |at: usize| chain["item"]["certificates"][at]["pem"].as_str().unwrap().to_owned();
    desk.put("device.pem", pem(0)).unwrap();
    desk.put("issuing.pem", pem(1)).unwrap();
    desk.put("root.pem", pem(2)).unwrap();
    desk.agrees("openssl verify -x509_strict -CAfile root.pem -untrusted issuing.pem device.pem", "OK")
        .unwrap();

    // The disk alone, in a machine with another TPM.
    device.stop().unwrap();
    let other = SoftTpm::new();
    let theirs = secrets.replace(&tpm.address(), &other.address());
    let thief = Device::new("tpm-1", &theirs).unwrap();
    let config = fs::read(thief.root().join("etc/kos/config.yaml")).unwrap();
    copy(device.root(), thief.root());
    fs::write(thief.root().join("etc/kos/config.yaml"), config).unwrap();
    let mut thief = thief;
    let refusal = refused(&mut thief);
    assert!(refusal.contains("KOS-E0641") && refusal.contains("another TPM"), "{refusal}");

    // A copy of the disk from before a renewal, in its own machine.
    let old = tempfile::tempdir().unwrap();
    copy(device.root(), old.path());
    again_in_service(&authority, &mut device, &id);
    renew(&authority, &id);
    device.stop().unwrap();
    for folder in ["etc/kos/secrets", "var/lib/kos/device"] {
        fs::remove_dir_all(device.root().join(folder)).unwrap();
        copy(&old.path().join(folder), &device.root().join(folder));
    }
    let refusal = refused(&mut device);
    assert!(refusal.contains("KOS-E0631"), "{refusal}");

    // Without its TPM it does not start, and says why.
    tpm.kill();
    let refusal = refused(&mut device);
    assert!(refusal.contains("no TPM or token answers"), "{refusal}");
}

#[test]
fn a_device_with_a_token_signs_in_it_and_waits_while_it_is_out() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let token = SoftToken::new();
    let secrets = format!(
        "secrets:\n  keys: token\n  token_module: {}\n  token: \"{}\"\n",
        SoftToken::MODULE,
        SoftToken::LABEL
    );
    let mut device = Device::new("token-1", &secrets).unwrap().with_environment(token.environment());
    let pin = device.root().join("etc/kos/secrets/token.pin");
    fs::create_dir_all(pin.parent().unwrap()).unwrap();
    fs::write(&pin, "000000\n").unwrap();
    let ticket = authority.ticket(&["--role", "sensor"]).unwrap();
    let refused = device.enrol(&ticket).unwrap();
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = device.enrol(&ticket).unwrap();
    assert!(refused.stderr.contains("KOS-E0673"), "{}", refused.stderr);

    fs::write(&pin, format!("{}\n", SoftToken::PIN)).unwrap();
    let id = fleet::bring_into_service(&authority, &mut device).unwrap();
    assert_eq!(algorithm(&authority, &id), "ecdsa-p256");
    let listed = token.judge(&["--list-objects", "--type", "privkey"]);
    for label in ["kos-identity", "kos-operational-a"] {
        assert!(listed.contains(label), "{listed}");
    }
    assert_eq!(listed.matches("never extractable").count(), 2, "{listed}");
    renew(&authority, &id);
    let listed = token.judge(&["--list-objects", "--type", "privkey"]);
    assert!(listed.contains("kos-operational-b") && !listed.contains("kos-operational-a"), "{listed}");

    // The token is taken out while the daemon is away; it starts when it is back.
    device.stop().unwrap();
    let (tokens, away) = (token.path("tokens"), token.path("away"));
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    device.run().unwrap();
    wait::until("the missing token to be told", || {
        Ok(device.program()?.errors().contains("KOS-E0671").then_some(()))
    })
    .unwrap();
    device.kill().unwrap();
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    again_in_service(&authority, &mut device, &id);

    let name = authority.device(&id).unwrap()["name"].as_str().unwrap().to_owned();
    authority.json(&["decommission", "--device", &id, "--confirm", &name]).unwrap();
    authority.device_becomes(&id, "state", |state: &Value| state == "decommissioned").unwrap();
    device.program().unwrap().ended().unwrap();
    let listed = token.judge(&["--list-objects", "--type", "privkey"]);
    assert!(!listed.contains("kos-"), "{listed}");
}

#[test]
fn an_authority_whose_cas_are_in_a_token_issues_while_it_is_there() {
    let token = SoftToken::new();
    let desk = Desk::new().unwrap();
    desk.put("pin", format!("{}\n", SoftToken::PIN)).unwrap();
    fs::set_permissions(desk.at("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    let settings = format!(
        "heartbeat_seconds: 5\nca_keys: token\ntoken:\n  module: {}\n  name: {}\n  pin_file: {}\n",
        SoftToken::MODULE,
        SoftToken::LABEL,
        desk.at("pin")
    );
    let mut authority = Authority::start_in(&settings, &[token.environment()]).unwrap();
    let listed = token.judge(&["--list-objects", "--type", "privkey"]);
    for label in ["kos-ca-root", "kos-ca-issuing-1", "kos-ca-issuing-2"] {
        assert!(listed.contains(label), "{listed}");
    }
    assert_eq!(listed.matches("never extractable").count(), 3, "{listed}");
    let (mut device, id) = fleet::device_in_service(&authority, "hsm-1").unwrap();
    let chain = authority.json(&["identity", "chain", "--device", &id]).unwrap();
    let pem = |at: usize| chain["item"]["certificates"][at]["pem"].as_str().unwrap().to_owned();
    for (at, name) in ["device.pem", "issuing.pem", "root.pem"].iter().enumerate() {
        desk.put(name, pem(at)).unwrap();
    }
    desk.agrees("openssl verify -x509_strict -CAfile root.pem -untrusted issuing.pem device.pem", "OK")
        .unwrap();

    // Without the token nothing is issued, and what is there goes on.
    let (tokens, away) = (token.path("tokens"), token.path("away"));
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    let mut stranger = Device::new("hsm-2", "").unwrap();
    stranger.begin_enrolment(&authority.ticket(&["--role", "sensor"]).unwrap()).unwrap();
    wait::until("the missing token to be told", || {
        let told = authority.errors();
        Ok((told.contains("KOS-E0671") || told.contains("KOS-E0678")).then_some(()))
    })
    .unwrap();
    stranger.kill().unwrap();
    assert!(authority.json(&["status"]).is_ok());
    authority.stop().unwrap();
    let refused = authority.refuses().unwrap();
    assert!(refused.stderr.contains("KOS-E0671"), "{}", refused.stderr);
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();

    authority.serve().unwrap();
    let before = authority.device(&id).unwrap()["lastHeartbeatAt"].clone();
    authority.device_becomes(&id, "lastHeartbeatAt", |at| *at != before).unwrap();
    renew(&authority, &id);
    device.stop().unwrap();

    // A backup opens on another machine that has the token.
    desk.put("passphrase", "correct horse battery\n").unwrap();
    let backup = desk.at("backup.age");
    let made = ["backup", "create", "--out", &backup, "--passphrase-file", &desk.at("passphrase")];
    authority.json(&made).unwrap();
    authority.stop().unwrap();
    let mut restored = Authority::put_back(&authority, Path::new(&backup), "correct horse battery").unwrap();
    restored.serve_closed().unwrap();
}

#[test]
fn an_authority_whose_keys_a_tpm_opens_starts_in_its_machine_alone() {
    let mut tpm = SoftTpm::new();
    let settings = format!("heartbeat_seconds: 5\nkeys_opener: tpm\nkeys_tpm: \"{}\"\n", tpm.address());
    let mut authority = Authority::start_with(&settings).unwrap();
    let status = authority.json(&["status"]).unwrap();
    assert_eq!(status["item"]["keys"]["opener"], "tpm", "{status}");
    assert!(!authority.data().join("authority/keys/machine.key").exists());
    let old = tempfile::tempdir().unwrap();
    authority.stop().unwrap();
    copy(authority.data(), old.path());

    // Another way in and back: the vault goes on in generations, and so does the counter.
    let file = authority.data().join("authority/authority.yaml");
    for opener in ["key-file", "tpm"] {
        fs::write(&file, settings.replace("keys_opener: tpm", &format!("keys_opener: {opener}"))).unwrap();
        authority.serve().unwrap();
        let status = authority.json(&["status"]).unwrap();
        assert_eq!(status["item"]["keys"]["opener"], opener, "{status}");
        authority.stop().unwrap();
    }
    tpm.kill();
    let refused = authority.refuses().unwrap();
    assert!(refused.stderr.contains("KOS-E0641") && refused.stderr.contains("no TPM"), "{}", refused.stderr);
    tpm.start();

    // The whole folder of before.
    let folder = authority.data().join("authority");
    for name in ["keys", "machine.anchor", "store.db", "log"] {
        let (from, to) = (old.path().join("authority").join(name), folder.join(name));
        if from.is_dir() {
            fs::remove_dir_all(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
    let refused = authority.refuses().unwrap();
    assert!(refused.stderr.contains("KOS-E0631"), "{}", refused.stderr);
}
