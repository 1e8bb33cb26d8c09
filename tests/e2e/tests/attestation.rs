//! Devices whose TPM proves itself: what the authority makes of it, with a TPM in software and a maker played by `swtpm_localca`.
#![cfg(test)]

use std::fs;

use kos_e2e::{
    fleet::{self, Authority, Device},
    judge, wait,
};
use kos_emulator::SoftTpm;
use serde_json::Value;

fn device_with(tpm: &SoftTpm, name: &str) -> Device {
    let secrets = format!("secrets:\n  keys: tpm\n  tpm: \"{}\"\n", tpm.address());
    Device::new(name, &secrets).unwrap()
}

fn attestation(authority: &Authority, id: &str) -> Value {
    authority.json(&["attest", "show", id]).unwrap()["item"].clone()
}

/// New keys, with a new attestation. What it came to.
fn renewed(authority: &Authority, id: &str) -> Value {
    let before = authority.device(id).unwrap();
    authority.json(&["regen-cert", "--device", id]).unwrap();
    authority.device_becomes(id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
    authority.device(id).unwrap()["evidenceTier"].clone()
}

fn count(authority: &Authority, event: &str) -> usize {
    let entries = authority.json(&["audit", "list", "--event", event]).unwrap();
    entries["items"].as_array().unwrap().len()
}

#[test]
fn evidence_grows_with_what_operators_and_starts_say() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let tpm = SoftTpm::new();
    let mut device = device_with(&tpm, "tpm-1");
    let id = fleet::bring_into_service(&authority, &mut device).unwrap();
    assert_eq!(authority.device(&id).unwrap()["evidenceTier"], "key-in-tpm");
    let shown = attestation(&authority, &id);
    assert_eq!(shown["vouchedBy"], "the TPM has no certificate for its P-256 endorsement key");
    assert_eq!(shown["pcrs"].as_array().unwrap().len(), 4);
    let ek = shown["ek"].as_str().unwrap().to_owned();

    authority.json(&["attest", "ek", "add", &ek, "--note", "bench 3"]).unwrap();
    assert_eq!(renewed(&authority, &id), "ek-activated");
    let again = authority.kosctl(&["attest", "ek", "add", &ek]).unwrap();
    assert!(again.code() == 6 && again.stderr.contains("KOS-E0891"), "{}", again.stderr);
    // Nothing was measured yet: every machine that measures nothing would fit.
    let golden = ["attest", "golden", "add", "r1", "--from", &id, "--yes"];
    let refused = authority.kosctl(&golden).unwrap();
    assert!(refused.code() == 5 && refused.stderr.contains("KOS-E0890"), "{}", refused.stderr);
    tpm.judge(&["tpm2_pcrextend", &format!("0:sha256={}", "cd".repeat(32))]);
    assert_eq!(renewed(&authority, &id), "ek-activated");
    authority.json(&golden).unwrap();
    assert_eq!(renewed(&authority, &id), "quote-verified");
    assert_eq!(attestation(&authority, &id)["golden"], "r1");
    assert_eq!(count(&authority, "attestation_verified"), 4);
    let asked = authority.json(&["device", "attest", &id]).unwrap();
    assert_eq!(asked["item"]["evidenceTier"], "quote-verified");
    assert_eq!(count(&authority, "attestation_verified"), 5);

    // Another start: it is told, and no golden set fits.
    tpm.judge(&["tpm2_pcrextend", &format!("7:sha256={}", "ab".repeat(32))]);
    assert_eq!(renewed(&authority, &id), "ek-activated");
    assert_eq!(count(&authority, "attestation_changed"), 2);
    let alerts = || {
        let alerts = authority.json(&["audit", "alerts", "list"])?;
        let found = alerts["items"].as_array().into_iter().flatten();
        Ok(found.into_iter().any(|alert| alert["rule"] == "attestation-changed").then_some(()))
    };
    wait::until("the alert", alerts).unwrap();

    // Off the list again.
    authority.json(&["attest", "ek", "remove", &ek, "--yes"]).unwrap();
    let weaker = authority.kosctl(&["device", "attest", &id]).unwrap();
    assert_eq!(weaker.code(), 10, "{}", weaker.stderr);
    assert!(
        weaker.stderr.contains("weaker than before: key-in-tpm, where it was ek-activated"),
        "{}",
        weaker.stderr
    );
    assert_eq!(attestation(&authority, &id)["evidenceTier"], "key-in-tpm");
    let none = authority.kosctl(&["attest", "ek", "list"]).unwrap();
    assert!(none.code() == 0 && none.stderr.contains("no endorsement keys"), "{}", none.stderr);
    device.stop().unwrap();
    let late = authority.kosctl(&["device", "attest", &id, "--timeout", "2s"]).unwrap();
    assert!(late.code() == 9 && late.stderr.contains("within 2 s"), "{}", late.stderr);
}

/// The way to SEC-3 in the order of `docs/guide/attestation.md`, and with the program that stands there for the image.
#[test]
fn the_guide_leads_to_sec_3() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let tpm = SoftTpm::new();
    let mut device = device_with(&tpm, "tpm-sec-3");
    let id = fleet::bring_into_service(&authority, &mut device).unwrap();
    let ek = attestation(&authority, &id)["ek"].as_str().unwrap().to_owned();
    authority.json(&["attest", "ek", "add", &ek]).unwrap();
    assert_eq!(renewed(&authority, &id), "ek-activated");
    let raise = ["device", "set-profile", &id, "SEC-3", "--yes"];
    let refused = authority.kosctl(&raise).unwrap();
    assert!(refused.code() == 5 && refused.stderr.contains("KOS-E0229"), "{}", refused.stderr);

    device.stop().unwrap();
    let guide = fs::read_to_string(judge::workspace("docs/guide/attestation.md")).unwrap();
    let program = guide.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let desk = tempfile::tempdir().unwrap();
    let at = |name: &str| desk.path().join(name).to_string_lossy().into_owned();
    fs::write(at("sign-image.py"), program).unwrap();
    let root = device.root().to_string_lossy().into_owned();
    fs::create_dir_all(device.root().join("usr/bin")).unwrap();
    fs::write(device.root().join("usr/bin/kosd"), "a program").unwrap();
    let (key, public) = (at("image.key"), format!("{root}/etc/kos/image.pub"));
    judge::agrees("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &key], "").unwrap();
    judge::agrees("openssl", &["pkey", "-in", &key, "-pubout", "-out", &public], "").unwrap();
    let python = judge::workspace("target/judges/bin/python").to_string_lossy().into_owned();
    let sign = [&at("sign-image.py"), &key, "sensor", "1.0", &root, "/usr/bin/kosd"];
    judge::agrees(&python, &sign, "").unwrap();

    device.run().unwrap();
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    assert_eq!(renewed(&authority, &id), "ek-activated");
    assert_eq!(authority.device(&id).unwrap()["image"], "verified");
    authority.json(&raise).unwrap();
    renewed(&authority, &id);
    let raised = || Ok((device.status()?["profile"] == "SEC-3").then_some(()));
    wait::until("SEC-3 on the device", raised).unwrap();
    device.stop().unwrap();
}

#[test]
fn the_maker_vouches_where_its_root_was_named() {
    let tpm = SoftTpm::new();
    // The key that the template of the TCG gives, as tpm2-tools make it.
    tpm.judge(&["tpm2_startup", "-c"]);
    tpm.judge(&["tpm2_createek", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pub"]);
    tpm.judge(&["tpm2_flushcontext", "-t"]);
    let public = fs::read(tpm.path("ek.pub")).unwrap();
    let (rest, y) = public.split_at(public.len() - 32);
    let coordinates = [&rest[rest.len() - 34..rest.len() - 2], y].concat();
    let root = tpm.certify_ek(&coordinates);

    let settings = format!("heartbeat_seconds: 5\nek_roots: [\"{}\"]\n", root.display());
    let authority = Authority::start_with(&settings).unwrap();
    let mut device = device_with(&tpm, "tpm-2");
    let id = fleet::bring_into_service(&authority, &mut device).unwrap();
    assert_eq!(authority.device(&id).unwrap()["evidenceTier"], "ek-chain-verified");
    assert_eq!(attestation(&authority, &id)["vouchedBy"], "id:00001014 swtpm id:20191023");
}

/// A device that does not say that its keys are in a TPM is asked for none, also where there is one.
#[test]
fn no_tpm_is_adopted_silently() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let tpm = SoftTpm::new();
    let secrets = format!("secrets:\n  tpm: \"{}\"\n", tpm.address());
    let mut device = Device::new("vault-1", &secrets).unwrap();
    let id = fleet::bring_into_service(&authority, &mut device).unwrap();
    assert_eq!(authority.device(&id).unwrap()["evidenceTier"], "key-on-device");
    assert_eq!(count(&authority, "attestation_verified"), 0);
}
