//! Vouchers.

use kos_e2e::fleet::Authority;
use kos_emulator::SoftTpm;
use serde_json::json;

use super::cast::{Maker, ek_of, newcomer, only, put, text};

fn tpm_settings(tpm: &SoftTpm) -> String {
    let address = tpm.address();
    format!("secrets:\n  keys: tpm\n  tpm: \"{address}\"\nenrolment:\n  maker: /etc/kos/maker.pem\n")
}

/// The maker knew the TPM and sold the device; nobody has touched it since.
#[test]
fn from_power_on_to_service_by_the_voucher_of_its_maker() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let maker = Maker::new("ES256");
    maker.is_trusted_by(
        &authority,
        &["--profile", "SEC-3", "--evidence", "ek-activated", "--group", "berlin"],
    );
    let tpm = SoftTpm::new();
    let owner = Maker::owner(&authority);
    let voucher = maker.voucher(&json!(["ek", ek_of(&tpm)]), &owner, &json!({}));
    let file = maker.issue(&voucher);
    let imported = authority.json(&["voucher", "import", &file]).unwrap();
    assert_eq!(imported["item"]["voucherId"], voucher["id"]);
    assert_eq!(imported["item"]["state"], "waiting");

    let mut device = newcomer(&authority, "zt-1", &tpm_settings(&tpm));
    put(&device, "etc/kos/maker.pem", maker.public());
    device.run().unwrap();
    let shown = only(&authority, "active");
    let id = text(&shown["deviceId"]);
    assert_eq!(shown["group"], "berlin");
    assert_eq!(shown["profile"], "SEC-2", "it asks for no more");
    assert_eq!(shown["evidenceTier"], "ek-activated");
    assert_eq!(shown["admittedBy"], format!("voucher {} of acme", text(&voucher["id"])));
    let status = device.status().unwrap();
    assert_eq!((&status["state"], &status["comparisonCode"]), (&json!("active"), &json!(null)));

    let list = authority.json(&["voucher", "list"]).unwrap();
    assert_eq!((&list["items"][0]["state"], &list["items"][0]["deviceId"]), (&json!("spent"), &json!(id)));
    let again = authority.kosctl(&["voucher", "import", &file]).unwrap();
    assert!(again.stderr.contains("KOS-E0809"), "{}", again.stderr);
    let events = authority.events().unwrap();
    for event in ["maker_trusted", "voucher_imported", "device_enrolled"] {
        assert!(events.iter().any(|said| said == event), "{event}");
    }
    // A renewal keeps the evidence: the voucher still names the TPM.
    let before = authority.device(&id).unwrap();
    authority.json(&["regen-cert", "--device", &id]).unwrap();
    let after =
        authority.device_becomes(&id, "certSerial", |serial| *serial != before["certSerial"]).unwrap();
    assert_eq!(after["evidenceTier"], "ek-activated");
}
