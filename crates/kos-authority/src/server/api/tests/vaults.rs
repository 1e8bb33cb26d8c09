//! Vaults through the API: their life, what guards them, and what becomes of them when files are not what they were.

pub(super) mod access;
mod faults;
pub(super) mod passkey;
mod recovery;

use std::{path::PathBuf, time::Duration};

use kos_vault::Environment;

use super::*;
use crate::vault;

pub(super) const PASSPHRASE: &str = "correct horse battery";
const OTHER: &str = "Tür zu, es zieht!";
const SECRET: &str = "aHVudGVyMi1zZWNyZXQ=";

impl Bench {
    async fn put(&self, path: &str, body: Value) -> Reply {
        self.ask(local(), "PUT", path, &[], &body.to_string()).await
    }

    /// Makes a vault with this passphrase.
    pub(super) async fn vault(&self, environment: &str) {
        let path = format!("/api/v1/vaults/{environment}");
        let made = self.put(&path, json!({"passphrase": PASSPHRASE})).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    }

    pub(super) async fn secret(&self, environment: &str, name: &str) -> Reply {
        let path = format!("/api/v1/vaults/{environment}/entries/{name}");
        self.put(&path, json!({"value": SECRET, "type": "password"})).await
    }

    async fn read(&self, environment: &str, name: &str) -> Reply {
        self.ask(local(), "POST", &format!("/api/v1/vaults/{environment}/read/{name}"), &[], "").await
    }

    async fn unlock(&self, environment: &str, passphrase: &str) -> Reply {
        let path = format!("/api/v1/vaults/{environment}/unlock");
        self.post(&path, json!({"passphrase": passphrase})).await
    }

    async fn lock(&self, environment: &str) -> Reply {
        self.post(&format!("/api/v1/vaults/{environment}/lock"), json!({})).await
    }

    async fn state(&self, environment: &str) -> Value {
        self.get(&format!("/api/v1/vaults/{environment}")).await.body["item"]["state"].clone()
    }

    fn file(&self, environment: &str) -> PathBuf {
        self.shared().vaults.path(&environment.parse::<Environment>().unwrap())
    }

    async fn count(&self, event: &str) -> usize {
        self.events().await.iter().filter(|found| *found == event).count()
    }
}

/// An authority with the vault `people`, which is open and has the secret `x`.
async fn people() -> Bench {
    let bench = Bench::new().await;
    bench.vault("people").await;
    bench.secret("people", "x").await;
    bench
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_not_repeated_in_the_answer() {
    let bench = Bench::new().await;
    bench.vault("people").await;
    for body in [
        "\"hunter2\"",
        "{\"passphrase\": {\"hunter2\": 1}}",
        "[\"a\", \"b\", \"c\", \"hunter2\"]",
        "{\"passphrase\": \"hunter2",
    ] {
        let refused = bench.ask(local(), "POST", "/api/v1/vaults/people/unlock", &[], body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(!refused.body.to_string().contains("hunter2"), "{}", refused.body);
        assert!(refused.body["detail"].as_str().unwrap().contains("line 1"), "{}", refused.body);
    }
    let misspelt = bench.post("/api/v1/vaults/people/unlock", json!({"passphrsae": ""})).await;
    assert!(misspelt.body["detail"].as_str().unwrap().contains("passphrsae"), "{}", misspelt.body);
}

#[tokio::test]
async fn a_new_version_keeps_its_type() {
    let bench = Bench::new().await;
    bench.vault("people").await;
    bench.secret("people", "x").await;
    let second = bench.put("/api/v1/vaults/people/entries/x", json!({"value": SECRET})).await;
    assert_eq!(
        (&second.body["item"]["type"], &second.body["item"]["version"]),
        (&json!("password"), &json!(2))
    );
}

#[tokio::test]
async fn a_vault_takes_gives_and_loses_secrets_and_the_log_has_each_of_it() {
    let bench = Bench::new().await;
    bench.vault("people").await;
    assert_eq!(code(&bench.put("/api/v1/vaults/people", json!({"passphrase": OTHER})).await), "KOS-E0635");
    let first = bench.secret("people", "db/password").await;
    assert_eq!((&first.body["item"]["version"], &first.body["item"]["versions"]), (&json!(1), &json!(1)));
    let second = bench.secret("people", "db/password").await;
    assert_eq!(
        (&second.body["item"]["version"], &second.body["item"]["type"]),
        (&json!(2), &json!("password"))
    );

    let listed = bench.get("/api/v1/vaults/people/entries").await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed.body["items"][0]["name"], "db/password");
    let history = bench.get("/api/v1/vaults/people/history/db/password").await;
    let numbers: Vec<_> =
        history.body["items"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [json!(2), json!(1)]);

    let given = bench.read("people", "db/password").await;
    assert_eq!((&given.body["item"]["value"], &given.body["item"]["version"]), (&json!(SECRET), &json!(2)));
    let older = bench.read("people", "db/password?version=1").await;
    assert_eq!((&older.body["item"]["value"], &older.body["item"]["version"]), (&json!(SECRET), &json!(1)));
    for (name, expected) in [("db/password?version=3", "KOS-E0612"), ("nothing", "KOS-E0612")] {
        assert_eq!(code(&bench.read("people", name).await), expected, "{name}");
    }
    assert_eq!(bench.count("vault_access").await, 2);

    let shown = bench.get("/api/v1/vaults/people").await;
    assert_eq!(
        (&shown.body["item"]["state"], &shown.body["item"]["entries"]),
        (&json!("unlocked"), &json!(1))
    );
    let locked = bench.lock("people").await;
    assert_eq!(
        (&locked.body["item"]["state"], &locked.body["item"]["entries"]),
        (&json!("locked"), &Value::Null)
    );
    assert_eq!(bench.lock("people").await.status, StatusCode::OK);
    assert_eq!(code(&bench.read("people", "db/password").await), "KOS-E0630");
    assert_eq!(code(&bench.secret("people", "x").await), "KOS-E0630");
    assert_eq!(code(&bench.get("/api/v1/vaults/people/entries").await), "KOS-E0630");

    assert_eq!(code(&bench.unlock("people", OTHER).await), "KOS-E0608");
    assert_eq!(bench.unlock("people", PASSPHRASE).await.body["item"]["state"], "unlocked");
    assert_eq!(bench.read("people", "db/password").await.body["item"]["value"], SECRET);
    let path = "/api/v1/vaults/people/entries/db/password";
    let with_key = [("idempotency-key", "k-1")];
    let removed = bench.ask(local(), "DELETE", path, &with_key, "").await;
    assert_eq!(removed.body["item"]["version"], 2, "{}", removed.body);
    // No answer is kept: a hash of the path would be kept with it, by which the name could be guessed.
    assert_eq!(code(&bench.ask(local(), "DELETE", path, &with_key, "").await), "KOS-E0612");
    let events = bench.events().await;
    let own: Vec<_> = events.iter().filter(|event| event.starts_with("vault_")).map(String::as_str).collect();
    assert_eq!(
        own,
        [
            "vault_created",
            "vault_entry_put",
            "vault_entry_put",
            "vault_access",
            "vault_access",
            "vault_locked",
            "vault_unlock_failed",
            "vault_unlocked",
            "vault_access",
            "vault_entry_removed"
        ]
    );
}

#[tokio::test]
async fn a_vault_is_not_made_of_what_makes_no_sense() {
    let bench = Bench::new().await;
    for (environment, body, expected) in [
        ("people", json!({"passphrase": "too short"}), "KOS-E0617"),
        ("people", json!({"passphrase": "x".repeat(1025)}), "KOS-E0617"),
        ("People", json!({"passphrase": PASSPHRASE}), "KOS-E0016"),
        ("people", json!({"password": PASSPHRASE}), "KOS-E0016"),
        ("people", json!({}), "KOS-E0016"),
    ] {
        let refused = bench.put(&format!("/api/v1/vaults/{environment}"), body.clone()).await;
        assert_eq!(code(&refused), expected, "{body}");
    }
    bench.vault("people").await;
    for (body, expected) in [
        (json!({"value": "not base64!"}), "KOS-E0016"),
        (json!({"value": SECRET, "type": "toaster"}), "KOS-E0016"),
        (json!({"value": SECRET, "type": "private_key"}), "KOS-E0615"),
        (json!({"value": SECRET, "expiresAt": "2020-01-01T00:00:00.000Z"}), "KOS-E0016"),
    ] {
        let refused = bench.put("/api/v1/vaults/people/entries/x", body.clone()).await;
        assert_eq!(code(&refused), expected, "{body}");
    }
    let largest = data_encoding::BASE64.encode(&vec![7; 65_536]);
    assert_eq!(
        bench.put("/api/v1/vaults/people/entries/x", json!({"value": largest})).await.status,
        StatusCode::OK
    );
    let beyond = data_encoding::BASE64.encode(&vec![7; 65_537]);
    let full = bench.put("/api/v1/vaults/people/entries/x", json!({"value": beyond})).await;
    assert_eq!(code(&full), "KOS-E0616");
    assert_eq!(bench.state("people").await, "unlocked");
}

#[tokio::test]
async fn after_five_wrong_passphrases_the_right_one_waits_as_well() {
    let bench = Bench::new().await;
    bench.vault("people").await;
    bench.lock("people").await;
    for _ in 0..3 {
        assert_eq!(code(&bench.unlock("people", OTHER).await), "KOS-E0608");
    }
    bench.unlock("people", PASSPHRASE).await;
    let rotate = json!({"passphrase": OTHER});
    assert_eq!(code(&bench.post("/api/v1/vaults/people/rotate", rotate).await), "KOS-E0608");
    bench.lock("people").await;
    assert_eq!(code(&bench.unlock("people", OTHER).await), "KOS-E0608");
    for passphrase in [PASSPHRASE, OTHER] {
        let refused = bench.unlock("people", passphrase).await;
        assert_eq!((refused.status.as_u16(), code(&refused)), (429, "KOS-E0636"));
    }
    assert_eq!(bench.count("vault_unlock_failed").await, 5);
    bench.shared().vaults.advance(Duration::from_secs(299));
    assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), "KOS-E0636");
    bench.shared().vaults.advance(Duration::from_secs(1));
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_vault_that_nobody_uses_locks_itself() {
    let bench = Bench::new().await;
    bench.vault("people").await;
    bench.secret("people", "x").await;
    let vaults = &bench.shared().vaults;
    vaults.advance(Duration::from_secs(890));
    vault::look_round(bench.shared()).await;
    // Looking at it is no use of it; reading is.
    assert_eq!(bench.state("people").await, "unlocked");
    assert_eq!(bench.read("people", "x").await.status, StatusCode::OK);
    vaults.advance(Duration::from_secs(890));
    assert_eq!(bench.read("people", "x").await.status, StatusCode::OK);
    vaults.advance(Duration::from_secs(900));
    // Before each use it is asked, whether the round has come or not.
    assert_eq!(code(&bench.read("people", "x").await), "KOS-E0630");
    bench.unlock("people", PASSPHRASE).await;
    vaults.advance(Duration::from_secs(900));
    vault::look_round(bench.shared()).await;
    vault::look_round(bench.shared()).await;
    let entries = bench.entries().await;
    let locked = entries.iter().filter(|entry| entry["eventType"] == "vault_locked");
    let locked: Vec<_> = locked.map(|entry| (&entry["details"]["reason"], &entry["actor"]["type"])).collect();
    assert_eq!(
        locked,
        [(&json!("inactivity"), &json!("authority")), (&json!("inactivity"), &json!("authority"))]
    );
    bench.unlock("people", PASSPHRASE).await;
    vault::close(bench.shared()).await;
    assert_eq!(bench.state("people").await, "locked");
    assert_eq!(bench.entries().await.last().unwrap()["details"]["reason"], "stop");
}

#[tokio::test]
async fn nothing_of_a_secret_is_in_a_file_an_entry_or_a_debugging_text() {
    let bench = Bench::new().await;
    bench.vault("people").await;
    bench.secret("people", "hidden-name").await;
    bench.read("people", "hidden-name").await;
    let planted = ["hunter2-secret", SECRET, PASSPHRASE, "hidden-name"];
    let mut looked = 0;
    for entry in std::fs::read_dir(bench.shared().home.folder()).unwrap() {
        let path = entry.unwrap().path();
        let files = if path.is_dir() {
            std::fs::read_dir(&path).unwrap().map(|f| f.unwrap().path()).collect()
        } else {
            vec![path]
        };
        for file in files.iter().filter(|file| file.is_file()) {
            let bytes = std::fs::read(file).unwrap();
            looked += 1;
            for text in planted {
                // The store has the key of the subject beside its name, as for people; erasing it is what hides the name.
                let is_known = text == "hidden-name"
                    && file.file_name().unwrap().to_string_lossy().starts_with("store.db");
                let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!found || is_known, "{text} in {}", file.display());
            }
        }
    }
    assert!(looked > 10, "{looked}");
    let debug = format!("{:?}", bench.shared());
    for text in planted {
        assert!(!debug.contains(text), "{text}");
    }
    let entry = bench.entries().await.pop().unwrap();
    assert_eq!(
        (&entry["eventType"], &entry["target"]),
        (&json!("vault_access"), &json!({"type": "vault", "id": "people"}))
    );
    assert_eq!(entry["details"], json!({"entry": "hidden-name", "type": "password", "version": 1}));
    let stored = bench.shared().store.entry(entry["index"].as_u64().unwrap()).await.unwrap().unwrap();
    assert!(!stored.leaf.windows(11).any(|window| window == b"hidden-name"));
}

#[tokio::test]
async fn a_repeated_request_with_a_passphrase_leaves_no_answer_behind() {
    let bench = Bench::new().await;
    let with_key = [("idempotency-key", "k-1")];
    let body = json!({"passphrase": PASSPHRASE}).to_string();
    let made = bench.ask(local(), "PUT", "/api/v1/vaults/people", &with_key, &body).await;
    assert_eq!(made.status, StatusCode::OK);
    let again = bench.ask(local(), "PUT", "/api/v1/vaults/people", &with_key, &body).await;
    assert_eq!(code(&again), "KOS-E0635");
}
