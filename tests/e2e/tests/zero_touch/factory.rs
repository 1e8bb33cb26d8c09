//! Factory certificates.

use kos_e2e::fleet::{Authority, Device};
use serde_json::{Value, json};

use super::cast::{Maker, ask, newcomer, only, put, text, withheld};

const PAPERS: &str = "enrolment:\n  maker: /etc/kos/maker.pem\n  certificate: /etc/kos/factory.pem\n";

/// The device leaves its factory: with a key, and a certificate of `ca` for the key that `certified` holds.
fn leaves_factory(device: &Device, maker: &Maker, ca: &Value, certified: &Device, more: &Value) {
    put(device, "etc/kos/maker.pem", maker.public());
    let mut question =
        json!({"do": "idevid", "ca": ca, "public": certified.says(&["factory"]).unwrap(), "serial": "SN-1"});
    for (name, value) in more.as_object().into_iter().flatten() {
        question[name] = value.clone();
    }
    // With its CA behind it, by which the device knows whose serial a voucher names.
    let chain = format!("{}{}", text(&ask(&question)["certificate"]), text(&ca["certificate"]));
    put(device, "etc/kos/factory.pem", &chain);
}

fn trusted(authority: &Authority, maker: &Maker, ca: &Value, certificates: &str) {
    let ca = maker.file("ca.pem", text(&ca["certificate"]));
    maker.is_trusted_by(authority, &["--ca", &ca, "--certificates", certificates]);
}

/// With hardwareModuleName in a critical subjectAltName, and an end in the year 9999.
#[test]
fn it_lets_in_where_the_operator_said_so() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (maker, ca) = (Maker::new("EdDSA"), ask(&json!({"do": "ca"})));
    trusted(&authority, &maker, &ca, "admit");
    let pin = text(&Maker::owner(&authority)["pin"]);
    let mut device = newcomer(&authority, "zt-f1", &format!("  pin: [{pin}]\n{PAPERS}"));
    leaves_factory(&device, &maker, &ca, &device, &json!({"module": true}));
    device.run().unwrap();
    let shown = only(&authority, "active");
    assert_eq!(shown["admittedBy"], "factory certificate SN-1 of acme");
    assert_eq!(shown["profile"], "SEC-2");
}

#[test]
fn a_serial_that_a_voucher_names_is_proven_by_it() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (maker, ca) = (Maker::new("EdDSA"), ask(&json!({"do": "ca"})));
    trusted(&authority, &maker, &ca, "name");
    let mut device = newcomer(&authority, "zt-f2", PAPERS);
    leaves_factory(&device, &maker, &ca, &device, &json!({}));
    device.run().unwrap();
    let id = text(&only(&authority, "pending")["deviceId"]);
    withheld(&authority, &id, "KOS-E0814");
    let status = device.status().unwrap();
    assert!(text(&status["stateReason"]).contains("KOS-E0814"), "{status}");

    let subject = json!(["serial", "SN-1", ca["id"]]);
    let voucher = maker.voucher(&subject, &Maker::owner(&authority), &json!({}));
    authority.json(&["voucher", "import", &maker.issue(&voucher)]).unwrap();
    let shown = only(&authority, "active");
    assert_eq!((&shown["deviceId"], &shown["lobby"]), (&json!(id), &json!(null)));
    assert_eq!(shown["admittedBy"], format!("voucher {} of acme", text(&voucher["id"])));
}

#[test]
fn of_a_ca_of_ones_own_or_another_key_it_counts_as_none() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (maker, ca) = (Maker::new("EdDSA"), ask(&json!({"do": "ca"})));
    trusted(&authority, &maker, &ca, "admit");
    let own = ask(&json!({"do": "ca"}));
    let mut stranger = newcomer(&authority, "zt-f3", PAPERS);
    leaves_factory(&stranger, &maker, &own, &stranger, &json!({}));
    stranger.run().unwrap();
    let id = text(&only(&authority, "pending")["deviceId"]);
    withheld(&authority, &id, "KOS-E0812");
    authority.json(&["device", "reject", &id, "--reason", "stranger", "--yes"]).unwrap();
    stranger.stop().unwrap();

    let mut thief = newcomer(&authority, "zt-f4", PAPERS);
    let honest = newcomer(&authority, "zt-f5", PAPERS);
    leaves_factory(&thief, &maker, &ca, &honest, &json!({}));
    thief.run().unwrap();
    let id = text(&only(&authority, "pending")["deviceId"]);
    withheld(&authority, &id, "KOS-E0813");
    assert_eq!(authority.device(&id).unwrap()["profile"], "SEC-0");
}
