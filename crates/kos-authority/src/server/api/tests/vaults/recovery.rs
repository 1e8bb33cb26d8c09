//! New keys, shares, and files that leave and come back.

use super::*;

const HOLDERS: [&str; 3] = ["Anna", "Berta", "Çelik & Söhne"];

/// Shares `people` two of three and returns the words.
async fn share(bench: &Bench) -> Vec<String> {
    let body = json!({"passphrase": PASSPHRASE, "threshold": 2, "holders": HOLDERS});
    let shared = bench.post("/api/v1/vaults/people/share", body).await;
    assert_eq!(shared.status, StatusCode::OK, "{}", shared.body);
    let words = shared.body["item"]["words"].as_array().unwrap();
    words.iter().map(|words| words.as_str().unwrap().to_owned()).collect()
}

async fn submit(bench: &Bench, words: &str) -> Reply {
    submit_for(bench, words, "recovery").await
}

async fn submit_for(bench: &Bench, words: &str, purpose: &str) -> Reply {
    bench.post("/api/v1/vaults/people/recovery", json!({"words": words, "purpose": purpose})).await
}

#[tokio::test]
async fn enough_holders_give_a_vault_a_new_passphrase_and_their_sheets_are_used_up() {
    let bench = people().await;
    let older = share(&bench).await;
    let words = share(&bench).await;
    bench.lock("people").await;
    let finish = json!({"newPassphrase": OTHER});
    let early = bench.post("/api/v1/vaults/people/recovery/finish", finish.clone()).await;
    assert_eq!(code(&early), "KOS-E0638");
    assert_eq!(code(&submit(&bench, "academic acid").await), "KOS-E0651");
    assert_eq!(code(&submit(&bench, &older[0]).await), "KOS-E0655");
    let first = submit(&bench, &words[2]).await;
    assert_eq!(first.body["item"]["missing"], 1, "{}", first.body);
    assert_eq!(first.body["item"]["holders"], json!([HOLDERS[2]]));
    assert_eq!(code(&submit(&bench, &words[2].to_uppercase()).await), "KOS-E0656");
    let short = bench.post("/api/v1/vaults/people/recovery/finish", finish.clone()).await;
    assert_eq!((short.status, code(&short)), (StatusCode::FORBIDDEN, "KOS-E0638"));
    assert_eq!(submit(&bench, &words[0]).await.body["item"]["missing"], 0);
    let recovered = bench.post("/api/v1/vaults/people/recovery/finish", finish).await;
    assert_eq!(recovered.body["item"]["state"], "unlocked", "{}", recovered.body);
    assert_eq!(recovered.body["item"]["sharing"], Value::Null);
    assert_eq!(recovered.body["item"]["slots"].as_array().unwrap().len(), 1);
    assert_eq!(bench.read("people", "x").await.body["item"]["value"], SECRET);
    bench.lock("people").await;
    assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), "KOS-E0608");
    assert_eq!(bench.unlock("people", OTHER).await.status, StatusCode::OK);
    assert_eq!(code(&submit(&bench, &words[0]).await), "KOS-E0637");

    let entries = bench.entries().await;
    let handed = entries.iter().filter(|entry| entry["eventType"] == "vault_share_submitted");
    let handed: Vec<_> = handed
        .map(|entry| (entry["details"]["accepted"].clone(), entry["details"]["holder"].clone()))
        .collect();
    let expected = [
        (json!(false), Value::Null),
        (json!(false), Value::Null),
        (json!(true), json!(HOLDERS[2])),
        (json!(false), json!(HOLDERS[2])),
        (json!(true), json!(HOLDERS[0])),
    ];
    assert_eq!(handed, expected);
    let all = serde_json::to_string(&entries).unwrap();
    let long = words[0].split(' ').filter(|word| word.len() > 7).find(|word| all.contains(*word));
    assert_eq!(long, None);
}

#[tokio::test]
async fn a_rehearsal_proves_the_shares_and_changes_nothing_else() {
    let bench = people().await;
    let words = share(&bench).await;
    let check = async |name: &str| {
        let doctor = bench.get("/api/v1/doctor").await;
        let checks = doctor.body["item"]["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["name"] == name).unwrap()["ok"].clone()
    };
    assert_eq!(check("recovery").await, false);
    let file = std::fs::read(bench.file("people")).unwrap();
    for words in &words[..2] {
        submit_for(&bench, words, "rehearsal").await;
    }
    assert_eq!(code(&submit_for(&bench, &words[2], "rehearsal").await), "KOS-E0658");
    let taken = json!({"newPassphrase": OTHER});
    let taken = bench.post("/api/v1/vaults/people/recovery/finish", taken).await;
    assert_eq!(code(&taken), "KOS-E0638", "what was shown for a rehearsal recovers nothing");
    let rehearsed = bench.post("/api/v1/vaults/people/recovery/rehearse", json!({})).await;
    assert!(rehearsed.body["item"]["sharing"]["rehearsedAt"].is_string(), "{}", rehearsed.body);
    assert_eq!(std::fs::read(bench.file("people")).unwrap(), file);
    assert_eq!(check("recovery").await, true);
    let again = bench.post("/api/v1/vaults/people/recovery/rehearse", json!({})).await;
    assert_eq!(code(&again), "KOS-E0638");
    bench.lock("people").await;
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn shares_serve_what_they_were_handed_in_for_and_whoever_handed_in_one() {
    let bench = people().await;
    let words = share(&bench).await;
    submit_for(&bench, &words[0], "rehearsal").await;
    assert_eq!(submit(&bench, &words[1]).await.body["item"]["missing"], 1, "it begins anew");
    assert_eq!(submit(&bench, &words[0]).await.body["item"]["missing"], 0);
    let finish = json!({"newPassphrase": OTHER}).to_string();
    let path = "/api/v1/vaults/people/recovery/finish";
    let mallory = Origin::LocalAdmin("mallory".to_owned());
    assert_eq!(code(&bench.ask(mallory, "POST", path, &[], &finish).await), "KOS-E0638");
    assert_eq!(bench.ask(local(), "POST", path, &[], &finish).await.status, StatusCode::OK);
}

#[tokio::test]
async fn shares_that_were_handed_in_are_forgotten_in_time_and_when_asked() {
    let bench = people().await;
    let words = share(&bench).await;
    submit(&bench, &words[0]).await;
    bench.shared().vaults.advance(Duration::from_secs(15 * 60));
    assert_eq!(submit(&bench, &words[1]).await.body["item"]["missing"], 1);
    let abandoned = bench.ask(local(), "DELETE", "/api/v1/vaults/people/recovery", &[], "").await;
    assert_eq!(abandoned.status, StatusCode::OK);
    assert_eq!(submit(&bench, &words[0]).await.body["item"]["missing"], 1);
    assert_eq!(bench.count("vault_recovery_abandoned").await, 1);
}

#[tokio::test]
async fn no_vault_is_shared_in_a_way_that_cannot_be() {
    let bench = people().await;
    let many: Vec<String> = (0..17).map(|n| format!("holder {n}")).collect();
    for (threshold, holders, expected) in [
        (1, json!(["a", "b"]), "KOS-E0662"),
        (3, json!(["a", "b"]), "KOS-E0662"),
        (2, json!(many), "KOS-E0662"),
        (1, json!([]), "KOS-E0662"),
        (1, json!(["a\u{202e}b"]), "KOS-E0016"),
        (1, json!(["x".repeat(65)]), "KOS-E0016"),
    ] {
        let body = json!({"passphrase": PASSPHRASE, "threshold": threshold, "holders": holders});
        assert_eq!(code(&bench.post("/api/v1/vaults/people/share", body).await), expected, "{holders}");
    }
    let wrong = json!({"passphrase": OTHER, "threshold": 1, "holders": ["a"]});
    assert_eq!(code(&bench.post("/api/v1/vaults/people/share", wrong).await), "KOS-E0608");
}

#[tokio::test]
async fn a_rotated_vault_has_one_slot_and_the_passphrase_that_was_asked_for() {
    let bench = people().await;
    share(&bench).await;
    let body = json!({"passphrase": PASSPHRASE, "newPassphrase": OTHER});
    let rotated = bench.post("/api/v1/vaults/people/rotate", body).await;
    assert_eq!(rotated.body["item"]["sharing"], Value::Null, "{}", rotated.body);
    assert_eq!(rotated.body["item"]["slots"].as_array().unwrap().len(), 1);
    assert_eq!(rotated.body["item"]["slots"][0]["name"], "passphrase");
    let same = bench.post("/api/v1/vaults/people/rotate", json!({"passphrase": OTHER})).await;
    assert_eq!(same.status, StatusCode::OK);
    bench.lock("people").await;
    assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), "KOS-E0608");
    assert_eq!(bench.unlock("people", OTHER).await.status, StatusCode::OK);
    assert_eq!(bench.read("people", "x").await.body["item"]["value"], SECRET);
}

#[tokio::test]
async fn an_exported_file_becomes_a_vault_where_there_is_none_of_its_environment() {
    let bench = people().await;
    share(&bench).await;
    let file = std::fs::read(bench.file("people")).unwrap();
    let left = bench.get("/api/v1/vaults/people/file").await;
    assert_eq!(serde_json::from_slice::<Value>(&file).unwrap(), left.body);
    assert_eq!(bench.count("vault_exported").await, 1);
    let body =
        |passphrase: &str| json!({"file": data_encoding::BASE64.encode(&file), "passphrase": passphrase});
    assert_eq!(code(&bench.post("/api/v1/vaults/people/import", body(PASSPHRASE)).await), "KOS-E0635");

    let elsewhere = Bench::new().await;
    assert_eq!(code(&elsewhere.post("/api/v1/vaults/other/import", body(PASSPHRASE)).await), "KOS-E0639");
    assert_eq!(code(&elsewhere.post("/api/v1/vaults/people/import", body(OTHER)).await), "KOS-E0608");
    let imported = elsewhere.post("/api/v1/vaults/people/import", body(PASSPHRASE)).await;
    assert_eq!(imported.body["item"]["slots"].as_array().unwrap().len(), 1, "{}", imported.body);
    assert_eq!(elsewhere.read("people", "x").await.body["item"]["value"], SECRET);
    let nonsense = json!({"file": "e30=", "passphrase": PASSPHRASE});
    assert_eq!(code(&elsewhere.post("/api/v1/vaults/third/import", nonsense).await), "KOS-E0601");
    let large = json!({"file": "A".repeat(96 << 20), "passphrase": PASSPHRASE});
    assert_eq!(elsewhere.post("/api/v1/vaults/third/import", large).await.status.as_u16(), 413);
}
