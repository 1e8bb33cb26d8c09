//! A whole life: ticket, enrolment, another channel, new keys, decommissioning; and what the log says of it.
#![cfg(test)]

use std::fs;

use kos_e2e::{
    fleet::{self, Authority},
    judge,
    program::files,
    secret::Secret,
    wait,
};
use serde_json::Value;

/// The order in which a life writes; other entries may stand between.
const LIFE: [&str; 10] = [
    "authority_created",
    "ticket_created",
    "device_enrolled",
    "certificate_issued",
    "device_active",
    "channel_changed",
    "certificate_renewed",
    "decommission_ordered",
    "certificate_revoked",
    "device_decommissioned",
];

#[test]
fn a_life_leaves_its_steps_in_the_log_and_no_key_on_the_device() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "life-1").unwrap();
    let mut keys = Secret::keys_of_device(device.root()).unwrap();
    authority.json(&["set-channel", "--device", &id, "--channel", "beta"]).unwrap();
    authority.device_becomes(&id, "channel", |c| c == "beta").unwrap();

    let before = authority.device(&id).unwrap();
    authority.json(&["regen-cert", "--device", &id]).unwrap();
    authority.device_becomes(&id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
    keys.extend(Secret::keys_of_device(device.root()).unwrap());

    let health = authority.device_becomes(&id, "health", |health| health["cpuPercent"].is_number()).unwrap();
    let (health, number) = (&health["health"], |field: &str| health["health"][field].as_f64().unwrap());
    assert!((0.0..=100.0).contains(&number("cpuPercent")), "{health}");
    assert!(number("ramTotalBytes") > number("ramUsedBytes") && number("ramUsedBytes") > 0.0, "{health}");
    assert!(number("uptimeSeconds") > 0.0, "{health}");

    let chain = authority.json(&["identity", "chain", "--device", &id]).unwrap();
    assert_eq!(chain["kind"], "IdentityChain");
    assert_eq!(chain["item"]["valid"], true, "{chain}");
    let checks: Vec<&str> =
        chain["item"]["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in
        ["chain", "validity", "extension", "device-id", "kid-signature", "kid-confirmation", "revocation"]
    {
        assert!(checks.contains(&name), "{checks:?}");
    }
    let certificates = chain["item"]["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 3);

    let secrets = device.root().join("etc/kos/secrets");
    assert!(!files(&secrets).unwrap().is_empty());

    let name = authority.device(&id).unwrap()["name"].as_str().unwrap().to_owned();
    let ordered = authority.json(&["decommission", "--device", &id, "--confirm", &name]).unwrap();
    assert_eq!(ordered["kind"], "Decommission");
    assert!(ordered["item"]["crlNumber"].as_u64().unwrap() > 0, "{ordered}");
    authority.device_becomes(&id, "state", |s| s == "decommissioned").unwrap();
    device.program().unwrap().ended().unwrap();

    assert_eq!(fs::read_dir(&secrets).unwrap().count(), 0, "secrets/ is empty");
    assert!(!device.root().join("etc/kos/identity.cert").exists());
    let left: Vec<String> = fs::read_dir(device.root().join("var/lib/kos/device"))
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left, ["decommissioned.cose"]);
    for (path, bytes) in files(device.root()).unwrap() {
        for key in &keys {
            key.is_not_in(&path.display().to_string(), &bytes).unwrap();
        }
    }

    let events = authority.events().unwrap();
    let mut from = events.iter();
    for step in LIFE {
        assert!(from.any(|event| event == step), "no `{step}` in its place: {events:?}");
    }
    let verdict = authority.json(&["audit", "verify"]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");

    openssl_says_revoked(&authority, certificates);
}

/// `openssl verify -crl_check_all` with the published lists.
fn openssl_says_revoked(authority: &Authority, certificates: &[Value]) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let [device, issuing, root] = [0, 1, 2].map(|n| certificates[n]["pem"].as_str().unwrap());
    fs::write(at("device.pem"), device).unwrap();
    fs::write(at("issuing.pem"), issuing).unwrap();
    fs::write(at("root.pem"), root).unwrap();
    let said = wait::until("the revocation to be published", || {
        let mut lists = String::new();
        for n in [1, 2] {
            let key = &certificates[n]["keyId"].as_str().unwrap()[..16];
            let url = format!("http://127.0.0.1:{}/pki/{key}.crl.pem", authority.ports().pki);
            lists += &judge::agrees("curl", &["-sSf", &url], "")?;
        }
        fs::write(at("crls.pem"), lists)?;
        let arguments = ["verify", "-crl_check_all", "-x509_strict", "-CAfile", &at("root.pem")];
        let more = ["-untrusted", &at("issuing.pem"), "-CRLfile", &at("crls.pem"), &at("device.pem")];
        let done = judge::run("openssl", &[&arguments[..], &more[..]].concat(), "")?;
        let said = format!("{}{}", done.stdout, done.stderr);
        Ok(said.contains("certificate revoked").then_some(said))
    });
    said.unwrap();
}
