//! SEC-4 with the real programs: no certificate without the word of a second device, which judges by lists of its own. TPMs are in
//! software, and what they are expected to say is read with tpm2-tools.
//!
//! Source: `docs/spec/second-verifier.md`.
#![cfg(test)]

use std::{fs, path::PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use kos_e2e::{
    fleet::{self, Authority, Device},
    judge, wait,
};
use kos_emulator::SoftTpm;
use serde_json::{Value, json};

/// Where a node has its lists.
const LISTS: &str = "etc/kos/verifier.json";
const PCRS: [u32; 4] = [0, 2, 4, 7];

fn ask(question: &Value) -> Value {
    let said = judge::python("tests/e2e/judge/voucher.py", &question.to_string()).unwrap();
    serde_json::from_str(&said).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A TPM, its endorsement key and its PCRs, as tpm2-tools tell them.
struct Known {
    tpm: SoftTpm,
    ek: String,
    pcrs: Vec<String>,
}

impl Known {
    fn new() -> Self {
        let tpm = SoftTpm::new();
        tpm.judge(&["tpm2_startup", "-c"]);
        tpm.judge(&["tpm2_createek", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pem", "-f", "pem"]);
        tpm.judge(&["tpm2_flushcontext", "-t"]);
        let public = fs::read_to_string(tpm.path("ek.pem")).unwrap();
        let ek = text(&ask(&json!({"do": "id", "public": public}))["id"]);
        tpm.judge(&["tpm2_pcrextend", &format!("0:sha256={}", "cd".repeat(32))]);
        let bank = PCRS.map(|number| number.to_string()).join(",");
        tpm.judge(&["tpm2_pcrread", &format!("sha256:{bank}"), "-o", "pcrs.bin"]);
        let values = fs::read(tpm.path("pcrs.bin")).unwrap();
        let pcrs: Vec<_> = values.chunks_exact(32).map(|value| HEXLOWER.encode(value)).collect();
        assert_eq!(pcrs.len(), PCRS.len());
        Self { tpm, ek, pcrs }
    }

    /// Lists that know this TPM, and whose good start is the one of these values.
    fn lists(&self, values: &[String]) -> Value {
        let pcrs = PCRS.iter().zip(values).map(|(number, value)| json!({"number": number, "value": value}));
        json!({"eks": [self.ek], "golden": [{"name": "by-hand", "pcrs": pcrs.collect::<Vec<_>>()}]})
    }

    /// A device with this TPM and an image that its maker signed.
    fn device(&self, serial: &str, more: &str) -> Device {
        let maker = ask(&json!({"do": "key", "alg": "EdDSA"}));
        let files = json!({"/usr/bin/app": "app"});
        let image = ask(&json!({"do": "image", "private": maker["private"], "files": files}));
        let settings = format!(
            "secrets:\n  keys: tpm\n  tpm: \"{}\"\nimage:\n  signer: \"{}\"\n  policy: require\n{more}",
            self.tpm.address(),
            text(&image["signer"]),
        );
        let device = Device::new(serial, &settings).unwrap();
        put(&device, "usr/bin/app", b"app");
        put(&device, "etc/kos/image.manifest", &BASE64.decode(text(&image["manifest"]).as_bytes()).unwrap());
        device
    }
}

fn put(device: &Device, path: &str, content: &[u8]) -> PathBuf {
    let path = device.root().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// Enrols with a ticket for this profile, and comes into service.
fn in_service(authority: &Authority, device: &mut Device, profile: &str) -> String {
    let ticket = authority.ticket(&["--role", "sensor", "--profile", profile]).unwrap();
    let done = device.enrol(&ticket).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    let id = device.id().unwrap();
    device.run().unwrap();
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    assert_eq!(authority.device(&id).unwrap()["profile"], profile);
    id
}

/// The device asks once more, with the same ticket, and is refused with this exit code and code.
fn refused(device: &Device, ticket: &str, exit: i32, code: &str) {
    let done = device.enrol(ticket).unwrap();
    assert_eq!(done.code(), exit, "{}", done.stderr);
    assert!(done.stderr.contains(code), "wanted {code}: {}", done.stderr);
}

fn details(authority: &Authority, event: &str) -> Vec<Value> {
    let list = authority.json(&["audit", "list", "--event", event]).unwrap();
    list["items"].as_array().unwrap().iter().map(|entry| entry["details"].clone()).collect()
}

/// What the device has in its own log of this.
fn own(device: &Device, event: &str) -> Vec<Value> {
    let socket = device.root().join("run/kos/kosd.sock");
    let list = fleet::json(&socket, &["audit", "list", "--event", event]).unwrap();
    list["items"].as_array().unwrap().clone()
}

#[test]
fn sec_4_needs_a_second_device_that_believes_it_by_lists_of_its_own() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (first, second) = (Known::new(), Known::new());
    for known in [&first, &second] {
        authority.json(&["attest", "ek", "add", &known.ek]).unwrap();
    }
    let mut node = first.device("sv-node", &format!("verifier:\n  file: /{LISTS}\n"));
    put(&node, LISTS, second.lists(&second.pcrs).to_string().as_bytes());
    let node_id = in_service(&authority, &mut node, "SEC-3");
    authority.json(&["attest", "golden", "add", "r1", "--from", &node_id, "--yes"]).unwrap();

    // Nobody was named: SEC-4 is out of reach, and nothing is spent.
    let mut strict = second.device("sv-strict", "");
    let ticket = authority.ticket(&["--role", "sensor", "--profile", "SEC-4"]).unwrap();
    refused(&strict, &ticket, 7, "KOS-E0880");
    let unfit = authority.kosctl(&["attest", "verifier", "add", "kdev-0000000000000009", "--yes"]).unwrap();
    assert!(unfit.stderr.contains("KOS-E0221"), "{}", unfit.stderr);
    authority.json(&["attest", "verifier", "add", &node_id, "--yes"]).unwrap();
    let listed = authority.json(&["attest", "verifier", "list"]).unwrap();
    assert_eq!(
        (&listed["items"][0]["deviceId"], &listed["items"][0]["hindrance"]),
        (&json!(node_id), &json!(null))
    );

    // The authority believes the device, and the node's operator has another start in mind: no.
    let other = vec!["ab".repeat(32); PCRS.len()];
    put(&node, LISTS, second.lists(&other).to_string().as_bytes());
    refused(&strict, &ticket, 5, "KOS-E0882");
    // Or another TPM.
    put(&node, LISTS, first.lists(&first.pcrs).to_string().as_bytes());
    refused(&strict, &ticket, 5, "KOS-E0882");
    // Or nothing that can be read.
    put(&node, LISTS, b"{}");
    refused(&strict, &ticket, 7, "KOS-E0886");
    fs::remove_file(node.root().join(LISTS)).unwrap();
    refused(&strict, &ticket, 7, "KOS-E0886");
    assert!(details(&authority, "second_verdict").is_empty());
    assert_eq!(authority.json(&["list"]).unwrap()["items"].as_array().unwrap().len(), 1);

    // Its operator puts the right ones there: the node says yes, and the log of both says so.
    put(&node, LISTS, second.lists(&second.pcrs).to_string().as_bytes());
    let done = strict.enrol(&ticket).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    let id = strict.id().unwrap();
    strict.run().unwrap();
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    let shown = authority.device(&id).unwrap();
    assert_eq!((&shown["profile"], &shown["evidenceTier"]), (&json!("SEC-4"), &json!("quote-verified")));
    let verdicts = details(&authority, "second_verdict");
    assert_eq!((verdicts.len(), &verdicts[0]["verifier"]), (1, &json!(node_id)));
    let told = own(&node, "second_verdict");
    let opinions: Vec<_> = told.iter().map(|entry| entry["details"]["opinion"].clone()).collect();
    assert_eq!(opinions, ["no", "no", "unable", "unable", "yes"]);
    let last = &told.last().unwrap()["details"];
    assert_eq!((&last["device"], &last["transcript"]), (&json!(id), &verdicts[0]["transcript"]));

    // Each renewal asks again.
    let before = authority.device(&id).unwrap();
    authority.json(&["regen-cert", "--device", &id]).unwrap();
    authority.device_becomes(&id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
    assert_eq!(details(&authority, "second_verdict").len(), 2);

    // The node is off: no new certificate, and the device keeps the one that it has.
    node.stop().unwrap();
    wait::until("the node to be gone", || {
        let listed = authority.json(&["attest", "verifier", "list"])?;
        Ok((listed["items"][0]["hindrance"] == "has no link").then_some(()))
    })
    .unwrap();
    let before = authority.device(&id).unwrap();
    authority.json(&["regen-cert", "--device", &id]).unwrap();
    let failed = wait::until("the refusal", || {
        let failed = details(&authority, "attestation_failed");
        Ok(failed.into_iter().find(|failed| failed["code"] == "KOS-E0880"))
    });
    assert_eq!(failed.unwrap()["reason"], "no second verifier has judged the device in time");
    let after = authority.device(&id).unwrap();
    assert_eq!((&after["certSerial"], &after["profile"]), (&before["certSerial"], &json!("SEC-4")));

    // Back, it judges again; taken off the list, it does not.
    node.run().unwrap();
    authority.device_becomes(&id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
    assert_eq!(details(&authority, "second_verdict").len(), 3);
    authority.json(&["attest", "verifier", "remove", &node_id, "--yes"]).unwrap();
    let none = authority.kosctl(&["attest", "verifier", "list"]).unwrap();
    assert!(none.code() == 0 && none.stderr.contains("no second verifiers"), "{}", none.stderr);
    let third = Known::new();
    authority.json(&["attest", "ek", "add", &third.ek]).unwrap();
    let late = third.device("sv-late", "");
    let ticket = authority.ticket(&["--role", "sensor", "--profile", "SEC-4"]).unwrap();
    refused(&late, &ticket, 7, "KOS-E0880");
}
