//! Vouchers.

use kos_e2e::{fleet::Authority, wait};
use kos_emulator::SoftTpm;
use serde_json::json;

use super::cast::{Maker, NONCE, ask, ek_of, newcomer, now_ms, only, put, text, withheld};

const PAPERS: &str = "enrolment:\n  maker: /etc/kos/maker.pem\n";

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

/// Nothing that the maker did not sign, for this owner, in this form, is taken; and whatever is, once.
#[test]
fn what_is_not_whole_is_not_imported() {
    let mut authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (maker, stranger) = (Maker::new("EdDSA"), Maker::new("ES256"));
    let (owner, subject) = (Maker::owner(&authority), json!(["key", "ab".repeat(32)]));
    let spoiled = |maker: &Maker, more| maker.issue(&maker.voucher(&subject, &owner, &more));
    let code = |file: &str| {
        let done = authority.kosctl(&["voucher", "import", file]).unwrap();
        done.stderr.split(['[', ']']).nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(code(&spoiled(&maker, json!({}))), "KOS-E0801", "before anybody trusts the maker");
    maker.is_trusted_by(&authority, &[]);
    for (wanted, more) in [
        ("KOS-E0802", json!({"spoil": "signature"})),
        ("KOS-E0802", json!({"spoil": "algorithm"})),
        ("KOS-E0800", json!({"spoil": "critical"})),
        ("KOS-E0800", json!({"spoil": "unprotected"})),
        ("KOS-E0800", json!({"spoil": "field"})),
        ("KOS-E0800", json!({"spoil": "payload"})),
        ("KOS-E0803", json!({"pin": "cd".repeat(32)})),
        ("KOS-E0805", json!({"created": now_ms() - 9_000, "expires": now_ms() - 1_000})),
        ("KOS-E0800", json!({"expires": 1})),
    ] {
        assert_eq!(code(&spoiled(&maker, more.clone())), wanted, "{more}");
    }
    assert_eq!(code(&spoiled(&stranger, json!({}))), "KOS-E0801");
    assert_eq!(code(&maker.file("none", "no voucher")), "KOS-E0800");

    // Nine owners in a row, each with a word of the one before.
    let (first, last) = (ask(&json!({"do": "key", "alg": "EdDSA"})), &owner);
    let sold = maker.voucher(&subject, &json!({"pin": "cd".repeat(32), "key": first["public"]}), &json!({}));
    let chain = |times| {
        let one = json!({
            "do": "endorse", "file": sold["file"], "private": first["private"], "pin": "cd".repeat(32),
            "owner": first["public"], "created": now_ms(), "times": times,
        });
        let more = json!({
            "do": "endorse", "file": ask(&one)["file"], "private": first["private"], "pin": last["pin"],
            "owner": last["key"], "created": now_ms(),
        });
        maker.issue(&ask(&more))
    };
    assert_eq!(code(&chain(8)), "KOS-E0807");
    // Somebody who never owned it passes it on.
    let thief = ask(&json!({"do": "key", "alg": "ES256"}));
    let stolen = ask(&json!({
        "do": "endorse", "file": sold["file"], "private": thief["private"], "pin": last["pin"],
        "owner": last["key"], "created": now_ms(),
    }));
    assert_eq!(code(&maker.issue(&stolen)), "KOS-E0802");
    assert_eq!(code(&chain(7)), "", "eight are enough for anybody");
    assert_eq!(code(&chain(7)), "KOS-E0809", "its nonce says that it is the same");
    let list = authority.json(&["voucher", "list"]).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    authority.stop().unwrap();
}

/// Sold on before it ever came: it serves the last owner, and knows which one that is.
#[test]
fn a_device_that_was_passed_on_comes_to_its_last_owner() {
    let mut before = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let mut after = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let maker = Maker::new("EdDSA");
    for authority in [&before, &after] {
        maker.is_trusted_by(authority, &[]);
    }
    let mut device = newcomer(&before, "zt-v2", PAPERS);
    put(&device, "etc/kos/maker.pem", maker.public());
    let key = device.says(&["factory"]).unwrap().lines().next().unwrap().to_owned();
    let voucher = maker.voucher(&json!(["key", key]), &Maker::owner(&before), &json!({}));
    before.json(&["voucher", "import", &maker.issue(&voucher)]).unwrap();
    let next = Maker::owner(&after);
    let (pin, owner) = (text(&next["pin"]), maker.file("next.pem", text(&next["key"])));
    let sold = maker.file("sold", "");
    let endorse = ["voucher", "endorse", &text(&voucher["id"]), "--pin", &pin, "--key", &owner];
    before.json(&[&endorse[..], &["--out", &sold, "--yes"]].concat()).unwrap();
    let again = before.kosctl(&[&endorse[..], &["--out", &sold, "--yes"]].concat()).unwrap();
    assert!(again.stderr.contains("KOS-E0808"), "{}", again.stderr);
    let imported = after.json(&["voucher", "import", &sold]).unwrap();
    assert_eq!(imported["item"]["voucherId"], voucher["id"]);

    // It meets the former owner first.
    device.run().unwrap();
    let id = text(&only(&before, "pending")["deviceId"]);
    withheld(&before, &id, "KOS-E0808");
    assert!(text(&device.status().unwrap()["stateReason"]).contains("KOS-E0808"));
    device.stop().unwrap();
    before.stop().unwrap();
    let mut device = newcomer(&after, "zt-v2", PAPERS);
    put(&device, "etc/kos/maker.pem", maker.public());
    let key = device.says(&["factory"]).unwrap().lines().next().unwrap().to_owned();
    device.run().unwrap();
    let id = text(&only(&after, "pending")["deviceId"]);
    withheld(&after, &id, "KOS-E0810");
    let more = json!({"nonce": NONCE.replace("00", "ff")});
    let voucher = maker.voucher(&json!(["key", key]), &Maker::owner(&after), &more);
    after.json(&["voucher", "import", &maker.issue(&voucher)]).unwrap();
    let shown = only(&after, "active");
    assert_eq!(shown["admittedBy"], format!("voucher {} of acme", text(&voucher["id"])));
    device.stop().unwrap();
    after.stop().unwrap();
}

/// A device that asks for what only a TPM would prove, and a maker that is trusted no more.
#[test]
fn a_device_that_claims_more_than_it_proves_waits() {
    let mut authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let maker = Maker::new("ES256");
    maker.is_trusted_by(&authority, &["--profile", "SEC-4"]);
    let more = format!("identity:\n  profile: SEC-3\n{PAPERS}");
    let mut device = newcomer(&authority, "zt-v3", &more);
    put(&device, "etc/kos/maker.pem", maker.public());
    let key = device.says(&["factory"]).unwrap().lines().next().unwrap().to_owned();
    let voucher = maker.voucher(&json!(["key", key]), &Maker::owner(&authority), &json!({}));
    authority.json(&["voucher", "import", &maker.issue(&voucher)]).unwrap();
    device.run().unwrap();
    let id = text(&only(&authority, "pending")["deviceId"]);
    withheld(&authority, &id, "KOS-E0701");
    assert_eq!(authority.device(&id).unwrap()["profile"], "SEC-0");
    assert_eq!(authority.json(&["voucher", "list"]).unwrap()["items"][0]["state"], "waiting");

    // The maker is trusted no more; a ticket, or a person, still lets the device in.
    authority.json(&["voucher", "maker", "remove", "acme", "--yes"]).unwrap();
    // The device hears it with its next question; the record follows once a minute.
    let heard = || Ok(text(&device.status()?["stateReason"]).contains("KOS-E0801").then_some(()));
    wait::until("the reason on the device", heard).unwrap();
    let code = text(&authority.device(&id).unwrap()["lobby"]["comparisonCode"]);
    authority.json(&["device", "approve", &id, "--profile", "SEC-2", "--code", &code, "--yes"]).unwrap();
    authority.device_becomes(&id, "state", |state| state == "active").unwrap();
    // It let nobody in, and lets nobody in any more.
    assert_eq!(authority.json(&["voucher", "list"]).unwrap()["items"][0]["state"], "spent");
    device.stop().unwrap();
    authority.stop().unwrap();
}
