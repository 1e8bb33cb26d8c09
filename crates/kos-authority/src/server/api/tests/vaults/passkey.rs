//! Passkeys: what they give opens a vault, counts when it is wrong, and asks for codes as a passphrase does.

use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::{
    access::{SEED, code_in},
    *,
};

/// What the function of a passkey gave.
fn output(byte: u8) -> String {
    BASE64.encode(&[byte; 32])
}

pub(in super::super) fn passkey(id: u8) -> Value {
    json!({
        "credentialId": BASE64URL_NOPAD.encode(&[id; 16]), "relyingParty": "localhost",
        "prfSalt": BASE64URL_NOPAD.encode(&[9; 32])
    })
}

/// A body that adds one.
pub(in super::super) fn adding(id: u8) -> Value {
    json!({"passphrase": PASSPHRASE, "passkey": passkey(id), "output": output(id)})
}

async fn add(bench: &Bench, slot: &str, id: u8) -> Reply {
    bench.put(&format!("/api/v1/vaults/people/passkeys/{slot}"), adding(id)).await
}

async fn unlock(bench: &Bench, byte: u8) -> Reply {
    bench.post("/api/v1/vaults/people/unlock", json!({"passkey": output(byte)})).await
}

async fn remove(bench: &Bench, slot: &str, passphrase: &str) -> Reply {
    let path = format!("/api/v1/vaults/people/passkeys/{slot}");
    bench.ask(local(), "DELETE", &path, &[], &json!({"passphrase": passphrase}).to_string()).await
}

#[tokio::test]
async fn a_passkey_opens_a_vault_until_it_is_removed() {
    let bench = people().await;
    let added = add(&bench, "blue", 1).await;
    let slot = &added.body["item"]["slots"][1];
    assert_eq!((&slot["kind"], &slot["passkey"]), (&json!("passkey"), &passkey(1)), "{}", added.body);
    assert_eq!(code(&add(&bench, "blue", 2).await), "KOS-E0610");
    assert_eq!(code(&add(&bench, "shares", 2).await), "KOS-E0610", "a name of the authority's own");
    assert_eq!(code(&add(&bench, "again", 1).await), "KOS-E0619");
    assert_eq!(add(&bench, "red", 2).await.status, StatusCode::OK);
    for byte in [1, 2] {
        bench.lock("people").await;
        assert_eq!(unlock(&bench, byte).await.body["item"]["state"], "unlocked");
    }
    assert_eq!(bench.read("people", "x").await.body["item"]["value"], SECRET);
    assert_eq!(code(&unlock(&bench, 3).await), "KOS-E0608");

    assert_eq!(code(&remove(&bench, "blue", OTHER).await), "KOS-E0608");
    assert_eq!(code(&remove(&bench, "passphrase", PASSPHRASE).await), "KOS-E0611");
    assert_eq!(remove(&bench, "blue", PASSPHRASE).await.status, StatusCode::OK);
    bench.lock("people").await;
    assert_eq!(code(&unlock(&bench, 1).await), "KOS-E0608");
    assert_eq!(unlock(&bench, 2).await.status, StatusCode::OK);
    let entries = bench.entries().await;
    let of = |event: &str| -> Vec<Value> {
        let found = entries.iter().filter(|entry| entry["eventType"] == event);
        found.map(|entry| entry["details"].clone()).collect()
    };
    let told = of("vault_passkey_added");
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["slot"], &told[0]["relyingParty"]), (&json!("blue"), &json!("localhost")));
    assert_eq!(told[0]["credentialId"], "01".repeat(16));
    assert_eq!(of("vault_passkey_removed")[0]["slot"], "blue");
    assert_eq!(of("vault_unlock_failed").iter().filter(|told| told["by"] == "passkey").count(), 2);
}

#[tokio::test]
async fn wrong_and_removed_passkeys_count_as_wrong_passphrases_do() {
    let bench = people().await;
    add(&bench, "blue", 1).await;
    for _ in 0..3 {
        assert_eq!(code(&unlock(&bench, 7).await), "KOS-E0608");
    }
    assert_eq!(remove(&bench, "blue", PASSPHRASE).await.status, StatusCode::OK);
    // No slot of this kind is left, and the one who tries is as wrong as before.
    assert_eq!(code(&unlock(&bench, 1).await), "KOS-E0607");
    assert_eq!(code(&bench.unlock("people", OTHER).await), "KOS-E0608");
    assert_eq!(code(&unlock(&bench, 1).await), "KOS-E0636");
    assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), "KOS-E0636");
    assert_eq!(bench.count("vault_unlock_failed").await, 5);
    bench.shared().vaults.advance(Duration::from_secs(301));
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_passkey_alone_does_not_open_a_vault_that_asks_for_codes() {
    let bench = people().await;
    add(&bench, "blue", 1).await;
    let authoriser = json!({"passphrase": PASSPHRASE, "seed": SEED, "code": code_in(0)});
    assert_eq!(bench.put("/api/v1/vaults/people/authoriser", authoriser).await.status, StatusCode::OK);
    bench.lock("people").await;
    assert_eq!(code(&unlock(&bench, 1).await), "KOS-E0646");
    assert_eq!(bench.state("people").await, "locked");
    let both = json!({"passkey": output(1), "code": code_in(1)});
    let unlocked = bench.post("/api/v1/vaults/people/unlock", both).await;
    assert_eq!(unlocked.body["item"]["state"], "unlocked", "{}", unlocked.body);
}

#[tokio::test]
async fn a_passkey_gives_a_vault_a_new_passphrase_and_new_keys_drop_it() {
    let bench = people().await;
    add(&bench, "blue", 1).await;
    let finish = "/api/v1/vaults/people/recovery/finish";
    let recover = |byte: u8| json!({"newPassphrase": OTHER, "passkey": output(byte)});
    assert_eq!(code(&bench.post(finish, recover(2)).await), "KOS-E0608");
    let both = json!({"newPassphrase": OTHER, "passkey": output(1), "agreed": output(1)});
    assert_eq!(code(&bench.post(finish, both).await), "KOS-E0016");
    let recovered = bench.post(finish, recover(1)).await;
    assert_eq!(recovered.body["item"]["slots"].as_array().unwrap().len(), 1, "{}", recovered.body);
    assert_eq!(bench.read("people", "x").await.body["item"]["value"], SECRET);
    bench.lock("people").await;
    assert_eq!(code(&unlock(&bench, 1).await), "KOS-E0607");
    assert_eq!(bench.unlock("people", OTHER).await.status, StatusCode::OK);
    let entries = bench.entries().await;
    assert!(
        entries
            .iter()
            .any(|entry| entry["details"]["by"] == "passkey" && entry["eventType"] == "vault_recovered")
    );

    let again = json!({"passphrase": OTHER, "passkey": passkey(1), "output": output(1)});
    let added = bench.put("/api/v1/vaults/people/passkeys/blue", again).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.body);
    let plan = bench.post("/api/v1/vaults/people/rotate?dryRun=true", json!({"passphrase": OTHER})).await;
    assert!(plan.body["item"]["effects"].to_string().contains("passkeys open nothing"), "{}", plan.body);
    let rotated = bench.post("/api/v1/vaults/people/rotate", json!({"passphrase": OTHER})).await;
    assert_eq!(rotated.body["item"]["slots"].as_array().unwrap().len(), 1, "{}", rotated.body);
}

#[tokio::test]
async fn what_is_no_passkey_is_refused_before_anything_is_tried() {
    let bench = people().await;
    let path = "/api/v1/vaults/people/passkeys/blue";
    let with = |field: &str, value: Value| {
        let mut body = adding(1);
        body["passkey"][field] = value;
        body
    };
    for body in [
        with("credentialId", json!(BASE64URL_NOPAD.encode(&[1; 15]))),
        with("credentialId", json!(BASE64.encode(&[1; 16]))),
        with("relyingParty", json!("https://localhost")),
        with("prfSalt", json!(BASE64URL_NOPAD.encode(&[1; 31]))),
        json!({"passphrase": PASSPHRASE, "passkey": passkey(1), "output": output(0)}),
        json!({"passphrase": PASSPHRASE, "passkey": passkey(1), "output": "AAAA"}),
    ] {
        assert_eq!(code(&bench.put(path, body.clone()).await), "KOS-E0016", "{body}");
    }
    for body in
        [json!({}), json!({"passphrase": PASSPHRASE, "passkey": output(1)}), json!({"passkey": "AAAA"})]
    {
        assert_eq!(
            code(&bench.post("/api/v1/vaults/people/unlock", body.clone()).await),
            "KOS-E0016",
            "{body}"
        );
    }
    assert_eq!(bench.count("vault_unlock_failed").await, 0);
}
