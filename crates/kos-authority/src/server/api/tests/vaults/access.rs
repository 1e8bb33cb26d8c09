//! Offline keys, one-time codes, and secrets that are used and stay.

use aws_lc_rs::{
    agreement::{PrivateKey, UnparsedPublicKey, X25519, agree},
    hmac,
};
use data_encoding::{BASE64, HEXLOWER};
use kos_base::{PublicKey, key::SignatureForm};

use super::*;
use crate::clock;

const OFFLINE: [u8; 32] = [9; 32];
/// A public key whose private half nobody has.
pub(in super::super) const RECIPIENT: &str =
    "26a0f1c0cc9a1b6a8a5c5d1c7d9bb6c0f6b2a2f8c6b7a1d0e9f8e7d6c5b4a392";
/// What RFC 6238 takes.
pub(in super::super) const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
/// PKCS#8 of the Ed25519 key in RFC 8410, section 10.3.
const PKCS8: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";

/// The code of a step before or after this moment's.
pub(in super::super) fn code_in(steps: i64) -> String {
    Codes::now().of(steps)
}

/// Codes around one moment, made here, so that nobody judges himself.
#[derive(Clone, Copy)]
struct Codes(u64);

impl Codes {
    fn now() -> Self {
        Self(clock::now().unix_ms() / 30_000)
    }

    fn of(self, steps: i64) -> String {
        code_of(self.0.checked_add_signed(steps).unwrap())
    }
}

fn code_of(step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345678901234567890");
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let four: [u8; 4] = tag.as_ref()[at..at + 4].try_into().unwrap();
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

fn recipient() -> String {
    let key = PrivateKey::from_private_key(&X25519, &OFFLINE).unwrap();
    HEXLOWER.encode(key.compute_public_key().unwrap().as_ref())
}

/// What the key agrees on with the slot that it is told of.
fn agreed(shown: &Value) -> String {
    let slots = shown["slots"].as_array().unwrap();
    let slot = slots.iter().find(|slot| slot["recipient"] == recipient().as_str()).unwrap();
    let peer = HEXLOWER.decode(slot["ephemeral"].as_str().unwrap().as_bytes()).unwrap();
    let key = PrivateKey::from_private_key(&X25519, &OFFLINE).unwrap();
    agree(&key, UnparsedPublicKey::new(&X25519, peer), (), |shared| Ok(BASE64.encode(shared))).unwrap()
}

async fn add_key(bench: &Bench, slot: &str) -> Reply {
    let body = json!({"passphrase": PASSPHRASE, "recipient": recipient()});
    bench.put(&format!("/api/v1/vaults/people/offline-keys/{slot}"), body).await
}

#[tokio::test]
async fn an_offline_key_gives_a_vault_a_new_passphrase_and_opens_it_no_more() {
    let bench = people().await;
    let added = add_key(&bench, "safe").await;
    assert_eq!(added.body["item"]["slots"][1]["kind"], "offline", "{}", added.body);
    assert_eq!(code(&add_key(&bench, "safe").await), "KOS-E0610");
    assert_eq!(code(&add_key(&bench, "shares").await), "KOS-E0610");
    // It outlives a rotation and a sharing.
    let rotate = json!({"passphrase": PASSPHRASE});
    bench.post("/api/v1/vaults/people/rotate", rotate).await;
    let share = json!({"passphrase": PASSPHRASE, "threshold": 1, "holders": ["Anna"]});
    bench.post("/api/v1/vaults/people/share", share).await;
    bench.lock("people").await;
    let shown = bench.get("/api/v1/vaults/people").await.body["item"].clone();
    let recover = |agreed: String| json!({"newPassphrase": OTHER, "agreed": agreed});
    let finish = "/api/v1/vaults/people/recovery/finish";
    assert_eq!(code(&bench.post(finish, recover(BASE64.encode(&[7; 32]))).await), "KOS-E0608");
    for nonsense in [BASE64.encode(&[7; 31]), BASE64.encode(&[0; 32]), "!".to_owned()] {
        assert_eq!(code(&bench.post(finish, recover(nonsense)).await), "KOS-E0016");
    }
    let recovered = bench.post(finish, recover(agreed(&shown))).await;
    assert_eq!(recovered.status, StatusCode::OK, "{}", recovered.body);
    let item = &recovered.body["item"];
    assert_eq!((item["slots"].as_array().unwrap().len(), &item["sharing"]), (1, &Value::Null));
    assert_eq!(bench.read("people", "x").await.body["item"]["value"], SECRET);
    assert_eq!(code(&bench.post(finish, recover(agreed(&shown))).await), "KOS-E0607");
    bench.lock("people").await;
    assert_eq!(bench.unlock("people", OTHER).await.status, StatusCode::OK);
    let entries = bench.entries().await;
    let of =
        |event: &str| entries.iter().find(|entry| entry["eventType"] == event).unwrap()["details"].clone();
    assert_eq!(of("vault_offline_key_added")["recipient"], recipient().as_str());
    assert_eq!(of("vault_recovered")["by"], "offline-key");
    assert_eq!(of("vault_unlock_failed")["by"], "offline-key");
}

#[tokio::test]
async fn an_offline_key_whose_slot_was_removed_opens_nothing_and_only_such_slots_are_removed() {
    let bench = people().await;
    add_key(&bench, "safe").await;
    let shown = bench.get("/api/v1/vaults/people").await.body["item"].clone();
    let remove = async |slot: &str, passphrase: &str| {
        let path = format!("/api/v1/vaults/people/offline-keys/{slot}");
        bench.ask(local(), "DELETE", &path, &[], &json!({"passphrase": passphrase}).to_string()).await
    };
    assert_eq!(code(&remove("safe", OTHER).await), "KOS-E0608");
    assert_eq!(code(&remove("passphrase", PASSPHRASE).await), "KOS-E0611");
    assert_eq!(remove("safe", PASSPHRASE).await.status, StatusCode::OK);
    let recover = json!({"newPassphrase": OTHER, "agreed": agreed(&shown)});
    let refused = bench.post("/api/v1/vaults/people/recovery/finish", recover).await;
    assert_eq!(code(&refused), "KOS-E0607");
    assert_eq!(bench.count("vault_offline_key_removed").await, 1);
}

#[tokio::test]
async fn secrets_are_used_and_stay_and_each_use_is_in_the_log() {
    let bench = people().await;
    for (name, kind, value) in
        [("key", "private_key", PKCS8), ("mac", "api_key", "SmVmZQ=="), ("otp", "totp_seed", "")]
    {
        let value = if value.is_empty() { BASE64.encode(SEED.as_bytes()) } else { value.to_owned() };
        let path = format!("/api/v1/vaults/people/entries/{name}");
        let put = bench.put(&path, json!({"value": value, "type": kind})).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.body);
    }
    let used = async |operation: &str, name: &str, message: &[u8]| {
        let body = json!({"message": BASE64.encode(message)});
        bench.post(&format!("/api/v1/vaults/people/{operation}/{name}"), body).await
    };
    let signed = used("sign", "key", b"message").await.body["item"].clone();
    let bytes = |field: &str| BASE64.decode(signed[field].as_str().unwrap().as_bytes()).unwrap();
    let public = PublicKey::from_spki_der(&bytes("publicKey")).unwrap();
    public.verify(SignatureForm::Der, b"message", &bytes("signature")).unwrap();
    assert_eq!(signed["algorithm"], "ed25519");
    // RFC 4231, case 2.
    let mac = used("hmac", "mac", b"what do ya want for nothing?").await;
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(mac.body["item"]["mac"], expected, "{}", mac.body);
    let codes = [
        code_in(0),
        bench.post("/api/v1/vaults/people/totp/otp", json!({})).await.body["item"]["code"]
            .as_str()
            .unwrap()
            .to_owned(),
        code_in(0),
    ];
    assert!(codes[1] == codes[0] || codes[1] == codes[2], "{codes:?}");

    for (operation, name, expected) in [
        ("sign", "mac", "KOS-E0614"),
        ("hmac", "key", "KOS-E0614"),
        ("totp", "mac", "KOS-E0614"),
        ("sign", "nothing", "KOS-E0612"),
    ] {
        assert_eq!(code(&used(operation, name, b"x").await), expected, "{operation} {name}");
    }
    assert_eq!(code(&used("sign", "key", &[0; 65_537]).await), "KOS-E0017");
    bench.lock("people").await;
    assert_eq!(code(&used("sign", "key", b"message").await), "KOS-E0630");
    let entries = bench.entries().await;
    let used: Vec<_> = entries
        .iter()
        .filter(|entry| entry["eventType"] == "vault_used")
        .map(|entry| (entry["details"]["operation"].clone(), entry["details"]["entry"].clone()))
        .collect();
    let expected = [("sign", "key"), ("hmac", "mac"), ("totp", "otp")];
    assert_eq!(used, expected.map(|(operation, entry)| (json!(operation), json!(entry))));
}

#[tokio::test]
async fn a_vault_asks_for_codes_and_takes_each_once() {
    let bench = people().await;
    let codes = Codes::now();
    let path = "/api/v1/vaults/people/authoriser";
    let add = |code: String| json!({"passphrase": PASSPHRASE, "seed": SEED, "code": code});
    assert_eq!(code(&bench.put(path, add(codes.of(-7))).await), "KOS-E0647");
    assert_eq!(bench.get("/api/v1/vaults/people").await.body["item"]["authoriser"], Value::Null);
    let added = bench.put(path, add(codes.of(-1))).await;
    assert_eq!(added.body["item"]["authoriser"]["kind"], "totp", "{}", added.body);
    assert_eq!(added.body["item"]["entries"], 1, "its seed is no secret of people");
    assert_eq!(code(&bench.put(path, add(codes.of(0))).await), "KOS-E0648");

    let read = async |code: Option<String>| {
        let body = json!({"code": code}).to_string();
        bench.ask(local(), "POST", "/api/v1/vaults/people/read/x", &[], &body).await
    };
    assert_eq!(code(&bench.read("people", "x").await), "KOS-E0646");
    assert_eq!(code(&read(Some(codes.of(-1))).await), "KOS-E0647", "it was used when it was added");
    assert_eq!(read(Some(codes.of(0))).await.body["item"]["value"], SECRET);
    assert_eq!(code(&read(Some(codes.of(0))).await), "KOS-E0647");
    // Nobody reads, replaces, uses or removes the seed, or sees it.
    for (method, path) in [
        ("POST", "read/kos/authoriser"),
        ("POST", "totp/kos/authoriser"),
        ("GET", "history/kos/authoriser"),
        ("DELETE", "entries/kos/authoriser"),
    ] {
        let refused = bench.ask(local(), method, &format!("/api/v1/vaults/people/{path}"), &[], "").await;
        assert_eq!(code(&refused), "KOS-E0618", "{path}");
    }
    assert_eq!(bench.get("/api/v1/vaults/people/entries").await.body["items"].as_array().unwrap().len(), 1);

    // Whatever a passphrase opens asks as well, and the passphrase is no way around it.
    bench.lock("people").await;
    for (path, body) in [
        ("unlock", json!({"passphrase": PASSPHRASE})),
        ("rotate", json!({"passphrase": PASSPHRASE})),
        ("share", json!({"passphrase": PASSPHRASE, "threshold": 1, "holders": ["a"]})),
    ] {
        assert_eq!(code(&bench.post(&format!("/api/v1/vaults/people/{path}"), body).await), "KOS-E0646");
    }
    assert_eq!(bench.state("people").await, "locked");
    let unlock = |code: String| json!({"passphrase": PASSPHRASE, "code": code});
    let unlocked = bench.post("/api/v1/vaults/people/unlock", unlock(codes.of(1))).await;
    assert_eq!(unlocked.status, StatusCode::OK, "{}", unlocked.body);
    let wrong = bench.post("/api/v1/vaults/people/unlock", unlock(codes.of(1))).await;
    assert_eq!(code(&wrong), "KOS-E0647");
    // Four wrong codes and a wrong passphrase are five guesses, for both.
    assert_eq!(code(&bench.unlock("people", OTHER).await), "KOS-E0608");
    assert_eq!(code(&read(Some(codes.of(7))).await), "KOS-E0636");
    assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), "KOS-E0636");
    assert_eq!(bench.count("vault_code_accepted").await, 2);
    let entries = bench.entries().await;
    let failed = entries.iter().filter(|entry| entry["eventType"] == "vault_unlock_failed");
    assert_eq!(failed.filter(|entry| entry["details"]["by"] == "code").count(), 4);
}

#[tokio::test]
async fn shares_take_the_codes_away_and_so_do_a_passphrase_and_a_code() {
    let bench = people().await;
    let path = "/api/v1/vaults/people/authoriser";
    let add = |code: String| json!({"passphrase": PASSPHRASE, "seed": SEED, "code": code});
    let share = json!({"passphrase": PASSPHRASE, "threshold": 1, "holders": ["Anna"]});
    let shared = bench.post("/api/v1/vaults/people/share", share).await;
    let words = shared.body["item"]["words"][0].as_str().unwrap().to_owned();
    let codes = Codes::now();
    assert_eq!(bench.put(path, add(codes.of(-1))).await.status, StatusCode::OK);
    let remove = async |body: Value| bench.ask(local(), "DELETE", path, &[], &body.to_string()).await;
    assert_eq!(code(&remove(json!({"passphrase": PASSPHRASE})).await), "KOS-E0646");
    let removed = remove(json!({"passphrase": PASSPHRASE, "code": codes.of(0)})).await;
    assert_eq!(removed.body["item"]["authoriser"], Value::Null, "{}", removed.body);
    assert_eq!(code(&remove(json!({"passphrase": PASSPHRASE})).await), "KOS-E0649");
    assert_eq!(bench.read("people", "x").await.status, StatusCode::OK);

    assert_eq!(bench.put(path, add(codes.of(1))).await.status, StatusCode::OK);
    bench.lock("people").await;
    bench.post("/api/v1/vaults/people/recovery", json!({"words": words, "purpose": "recovery"})).await;
    let finish = json!({"newPassphrase": OTHER});
    let recovered = bench.post("/api/v1/vaults/people/recovery/finish", finish).await;
    assert_eq!(recovered.body["item"]["authoriser"], Value::Null, "{}", recovered.body);
    assert_eq!(bench.read("people", "x").await.status, StatusCode::OK);
    bench.lock("people").await;
    assert_eq!(bench.unlock("people", OTHER).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_offline_key_alone_does_not_open_a_vault_that_asks_for_codes() {
    let bench = people().await;
    add_key(&bench, "safe").await;
    let add = json!({"passphrase": PASSPHRASE, "seed": SEED, "code": code_in(0)});
    assert_eq!(bench.put("/api/v1/vaults/people/authoriser", add).await.status, StatusCode::OK);
    let shown = bench.get("/api/v1/vaults/people").await.body["item"].clone();
    let recover =
        |code: Option<String>| json!({"newPassphrase": OTHER, "agreed": agreed(&shown), "code": code});
    let finish = "/api/v1/vaults/people/recovery/finish";
    assert_eq!(code(&bench.post(finish, recover(None)).await), "KOS-E0646");
    let recovered = bench.post(finish, recover(Some(code_in(1)))).await;
    assert_eq!(recovered.body["item"]["authoriser"]["kind"], "totp", "{}", recovered.body);
}

#[tokio::test]
async fn whose_shares_are_there_is_shown_to_whoever_goes_on() {
    let bench = people().await;
    let share = json!({"passphrase": PASSPHRASE, "threshold": 2, "holders": ["Anna", "Bert"]});
    let shared = bench.post("/api/v1/vaults/people/share", share).await;
    let words = shared.body["item"]["words"].clone();
    let state = async |who: &str| {
        let who = Origin::LocalAdmin(who.to_owned());
        bench.ask(who, "GET", "/api/v1/vaults/people/recovery", &[], "").await.body["item"].clone()
    };
    let before = state("root").await;
    assert_eq!((&before["purpose"], &before["missing"]), (&Value::Null, &json!(2)));
    for (words, missing) in [(&words[1], 1), (&words[0], 0)] {
        bench.post("/api/v1/vaults/people/recovery", json!({"words": words, "purpose": "recovery"})).await;
        let now = state("mallory").await;
        assert_eq!((&now["purpose"], &now["missing"]), (&json!("recovery"), &json!(missing)));
        assert_eq!((&now["holders"][0], &now["mayEnd"]), (&json!("Bert"), &json!(false)));
    }
    assert_eq!(state("root").await["mayEnd"], true);
    bench.shared().vaults.sleep(Duration::from_secs(1));
    assert_eq!(state("root").await["purpose"], Value::Null, "nothing of it stays through a sleep");
}
