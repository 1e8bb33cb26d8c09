//! A maker, its vouchers, and a device that may vouch, for the tests of every change.

use kos_voucher::{Bundle, Owner, Statement, Subject};

use super::*;

/// What is there, and known only once it was made.
pub(super) struct Papers {
    /// Id of a voucher that was imported.
    pub(super) voucher: String,
    /// A voucher that was not, in base64.
    pub(super) file: String,
    /// Id of the grant of a device.
    pub(super) grant: String,
    /// PEM of somebody's public key.
    pub(super) key: String,
}

fn pem(key: &SigningKey) -> String {
    let text = data_encoding::BASE64.encode(key.public().spki_der());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn voucher(bench: &Bench, maker: &SigningKey, nonce: u8) -> String {
    voucher_for(bench, maker, nonce, kos_base::KeyId::from_bytes([nonce; 32]))
}

fn voucher_for(bench: &Bench, maker: &SigningKey, nonce: u8, device: kos_base::KeyId) -> String {
    let keys = &bench.shared().keys;
    let owner = Owner { pin: keys.root.public().id(), key: keys.orders.public().clone() };
    let subject = Subject::Identity(device);
    let statement = Statement { nonce: [nonce; 16].into(), subject, owner, created: NOW, expires: None };
    let unsigned = statement.unsigned(maker.public());
    let signature = maker.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
    data_encoding::BASE64.encode(&Bundle::signed(unsigned.finish(signature)).to_bytes())
}

/// A maker that is trusted, a voucher of it, and a grant for `member`.
pub(super) async fn papers(bench: &Bench, member: &str) -> Papers {
    let maker = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let trusted = bench.post("/api/v1/makers", json!({"name": "acme", "key": pem(&maker)})).await;
    assert_eq!(trusted.status, StatusCode::OK, "{}", trusted.body);
    let imported = bench.post("/api/v1/vouchers", json!({"file": voucher(bench, &maker, 1)})).await;
    assert_eq!(imported.status, StatusCode::OK, "{}", imported.body);
    let wanted = json!({"deviceId": member, "uses": 1, "profileCap": "SEC-1", "lifetimeSeconds": 60});
    let granted = bench.post("/api/v1/vouching-nodes", wanted).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.body);
    Papers {
        voucher: imported.body["item"]["voucherId"].as_str().unwrap().to_owned(),
        file: voucher(bench, &maker, 2),
        grant: granted.body["item"]["grantId"].as_str().unwrap().to_owned(),
        key: pem(&SigningKey::generate(KeyAlgorithm::P256).unwrap()),
    }
}

#[tokio::test]
async fn a_voucher_of_a_device_that_is_turned_away_is_void() {
    let bench = Bench::new().await;
    let mut device = device(1);
    device.lobby = Some(fixtures::lobby("192.0.2.7"));
    bench.add(device.clone()).await;
    let maker = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
    bench.post("/api/v1/makers", json!({"name": "acme", "key": pem(&maker)})).await;
    let mut ids = Vec::new();
    for (nonce, key) in [(1, device.identity_key.id()), (2, key(77).id())] {
        let file = voucher_for(&bench, &maker, nonce, key);
        let imported = bench.post("/api/v1/vouchers", json!({"file": file})).await;
        assert_eq!(imported.status, StatusCode::OK, "{}", imported.body);
        ids.push(imported.body["item"]["voucherId"].as_str().unwrap().to_owned());
    }
    let rejected = bench.post(&format!("/api/v1/devices/{}/reject", device.id), json!({})).await;
    assert_eq!(rejected.status, StatusCode::OK, "{}", rejected.body);
    for (id, state) in ids.iter().zip(["void", "waiting"]) {
        let shown = bench.get(&format!("/api/v1/vouchers/{id}")).await;
        assert_eq!(shown.body["item"]["state"], state, "{}", shown.body);
    }
    let events = bench.events().await;
    assert_eq!(events.iter().filter(|event| *event == "voucher_voided").count(), 1);
}
