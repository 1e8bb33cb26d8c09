//! Files that are not what they were, and power that goes at a bad moment.

use kos_vault::Head;

use super::*;
use crate::{
    record::{SystemChange, VaultDeed},
    store::Anchor,
    writer::SystemWrite,
};

/// Makes the anchor of `people` another one, as a store that was put back would.
async fn anchor_to(bench: &Bench, anchor: &Anchor) {
    let environment: Environment = "people".parse().unwrap();
    let instead_of: Option<Head> =
        bench.shared().store.anchor(&environment).await.unwrap().map(|held| held.head);
    let change = SystemChange::Vault(environment, VaultDeed::Rehearsed);
    let write = SystemWrite::Vault { anchor: Box::new(anchor.clone()), instead_of };
    let transaction = Transaction::own(NOW, vec![change.into()], vec![write]);
    bench.shared().writer.commit(transaction).await.unwrap();
}

async fn anchor(bench: &Bench) -> Anchor {
    bench.shared().store.anchor(&"people".parse().unwrap()).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_older_file_is_refused_and_recorded_once_and_the_newest_one_is_taken_again() {
    let bench = people().await;
    let file = bench.file("people");
    let old = std::fs::read(&file).unwrap();
    bench.secret("people", "y").await;
    let newest = std::fs::read(&file).unwrap();
    bench.lock("people").await;
    std::fs::write(&file, &old).unwrap();
    for _ in 0..2 {
        assert_eq!(bench.state("people").await, "refused");
        let refused = bench.unlock("people", PASSPHRASE).await;
        assert_eq!((refused.status, code(&refused)), (StatusCode::FORBIDDEN, "KOS-E0631"));
    }
    assert_eq!(bench.count("vault_refused").await, 1);
    let doctor = bench.get("/api/v1/doctor").await;
    let checks = doctor.body["item"]["checks"].as_array().unwrap().clone();
    let check = checks.iter().find(|check| check["name"] == "vaults").unwrap();
    assert_eq!(check["ok"], false, "{check}");
    std::fs::write(&file, &newest).unwrap();
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
    assert_eq!(bench.read("people", "y").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_open_vault_whose_file_is_lost_is_written_again_before_its_keys_go() {
    let bench = people().await;
    let file = bench.file("people");
    let check = async || {
        let doctor = bench.get("/api/v1/doctor").await;
        let checks = doctor.body["item"]["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["name"] == "vaults").unwrap()["ok"].clone()
    };
    for round in 1..=3 {
        assert_eq!(check().await, true);
        if round == 2 {
            std::fs::remove_file(&file).unwrap();
        } else {
            std::fs::write(&file, b"garbage").unwrap();
        }
        assert_eq!(check().await, false);
        match round {
            1 => assert_eq!(bench.lock("people").await.body["item"]["state"], "locked"),
            2 => {
                bench.shared().vaults.advance(Duration::from_secs(24 * 3600));
                assert_eq!(bench.state("people").await, "locked");
            }
            _ => {
                let exported = bench.ask(local(), "GET", "/api/v1/vaults/people/file", &[], "").await;
                assert_eq!(exported.status, StatusCode::OK);
            }
        }
        assert_eq!(bench.count("vault_repaired").await, round);
        assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
        assert_eq!(bench.read("people", "x").await.body["item"]["value"], SECRET);
    }
}

#[tokio::test]
async fn a_file_that_is_one_ahead_is_repaired_when_it_is_opened() {
    let bench = people().await;
    let before = anchor(&bench).await;
    bench.secret("people", "y").await;
    let after = anchor(&bench).await;
    bench.lock("people").await;
    anchor_to(&bench, &before).await;
    // Nobody believes it before its MAC was checked.
    assert_eq!(bench.state("people").await, "locked");
    assert_eq!(code(&bench.unlock("people", OTHER).await), "KOS-E0608");
    assert_eq!(anchor(&bench).await, before);
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
    assert_eq!(anchor(&bench).await, after);
    assert_eq!(bench.count("vault_repaired").await, 1);
    assert_eq!(bench.read("people", "y").await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_ahead_another_root_and_a_file_that_is_gone_are_refused() {
    let bench = people().await;
    let first = anchor(&bench).await;
    bench.secret("people", "y").await;
    bench.secret("people", "z").await;
    let last = anchor(&bench).await;
    bench.lock("people").await;
    let mut other_root = first.clone();
    other_root.head.generation = last.head.generation - 1;
    // One ahead of a root from which it does not come: only its MAC can say so.
    let mut same = last.clone();
    same.head.root[0] ^= 1;
    for (kept, at_sight) in [(&first, true), (&other_root, false), (&same, true)] {
        anchor_to(&bench, kept).await;
        let state = if at_sight { "refused" } else { "locked" };
        assert_eq!(bench.state("people").await, state, "{kept:?}");
        for _ in 0..2 {
            assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), "KOS-E0632", "{kept:?}");
        }
        assert_eq!(bench.state("people").await, "refused", "{kept:?}");
        anchor_to(&bench, &last).await;
        assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
        bench.lock("people").await;
    }
    assert_eq!(bench.count("vault_refused").await, 3);
    std::fs::remove_file(bench.file("people")).unwrap();
    assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), "KOS-E0633");
    assert_eq!(code(&bench.put("/api/v1/vaults/people", json!({"passphrase": OTHER})).await), "KOS-E0635");
}

#[tokio::test]
async fn a_vault_whose_anchor_is_not_the_one_in_memory_any_more_is_locked() {
    let bench = people().await;
    let held = anchor(&bench).await;
    let mut elsewhere = held.clone();
    elsewhere.head.generation += 7;
    anchor_to(&bench, &elsewhere).await;
    assert_eq!(code(&bench.secret("people", "y").await), "KOS-E0631");
    anchor_to(&bench, &held).await;
    assert_eq!(bench.state("people").await, "locked");
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
    assert_eq!(bench.count("vault_repaired").await, 0);
}

#[tokio::test]
async fn a_vault_whose_making_was_cut_off_is_made_again_and_what_lay_there_is_kept() {
    let bench = people().await;
    let left = bench.file("other");
    std::fs::copy(bench.file("people"), &left).unwrap();
    assert_eq!(code(&bench.unlock("other", PASSPHRASE).await), "KOS-E0634");
    bench.vault("other").await;
    assert_eq!(bench.state("other").await, "unlocked");
    let aside = left.with_extension("json.aside");
    assert_eq!(std::fs::read(aside).unwrap(), std::fs::read(bench.file("people")).unwrap());
}

#[tokio::test]
async fn a_damaged_file_and_two_that_changed_places_are_refused() {
    let bench = people().await;
    bench.vault("other").await;
    for environment in ["people", "other"] {
        bench.lock(environment).await;
    }
    let (file, other) = (bench.file("people"), bench.file("other"));
    let (good, swapped) = (std::fs::read(&file).unwrap(), std::fs::read(&other).unwrap());
    let text = String::from_utf8(good.clone()).unwrap();
    let at = text.find("\"ciphertext\": \"").or_else(|| text.find("\"ciphertext\":\"")).unwrap() + 18;
    let mut flipped = good.clone();
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    for (bytes, expected) in [
        (flipped.as_slice(), "KOS-E0603"),
        (&good[..good.len() / 2], "KOS-E0603"),
        (b"", "KOS-E0603"),
        (&swapped, "KOS-E0632"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(code(&bench.unlock("people", PASSPHRASE).await), expected);
        assert_eq!(bench.state("people").await, "refused");
        let shown = bench.get("/api/v1/vaults/people").await;
        assert_eq!(shown.body["item"]["refusal"]["code"], expected, "{}", shown.body);
    }
    std::fs::write(&other, &good).unwrap();
    assert_eq!(code(&bench.unlock("other", PASSPHRASE).await), "KOS-E0632");
    let listed = bench.get("/api/v1/vaults").await;
    let states: Vec<_> =
        listed.body["items"].as_array().unwrap().iter().map(|v| v["state"].clone()).collect();
    assert_eq!(states, ["refused", "refused"]);
    std::fs::write(&file, &good).unwrap();
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_file_and_its_folder_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = people().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&bench.file("people")), mode(&bench.shared().home.vaults())), (0o600, 0o700));
}

#[tokio::test]
async fn no_backup_carries_a_file_that_is_not_the_vault_unless_that_is_given_up_by_name() {
    let bench = people().await;
    bench.vault("other").await;
    bench.lock("people").await;
    let backup = async |without: &[&str]| {
        let body = json!({"passphrase": "a long passphrase", "withoutVaults": without});
        bench.post("/api/v1/backups", body).await
    };
    std::fs::write(bench.file("people"), std::fs::read(bench.file("other")).unwrap()).unwrap();
    let refused = backup(&[]).await;
    assert_eq!((code(&refused), &refused.body["object"]["id"]), ("KOS-E0632", &json!("people")));
    assert_eq!(bench.count("backup_created").await, 0);
    assert_eq!(code(&backup(&["nothing"]).await), "KOS-E0634");
    assert_eq!(backup(&["people"]).await.status, StatusCode::OK);
    let entries = bench.entries().await;
    let entry = entries.iter().find(|entry| entry["eventType"] == "backup_created").unwrap();
    assert_eq!(entry["details"]["withoutVaults"], json!(["people"]));

    // What is in memory is written again first.
    std::fs::write(bench.file("other"), b"garbage").unwrap();
    assert_eq!(backup(&["people"]).await.status, StatusCode::OK);
    assert_eq!(bench.count("vault_repaired").await, 1);
}

#[tokio::test]
async fn a_vault_locks_itself_when_the_machine_slept() {
    let bench = people().await;
    let vaults = &bench.shared().vaults;
    vaults.sleep(Duration::from_millis(100));
    assert_eq!(bench.read("people", "x").await.status, StatusCode::OK);
    // Before a use, whether the round has come or not.
    vaults.sleep(Duration::from_secs(2));
    assert_eq!(code(&bench.read("people", "x").await), "KOS-E0630");
    assert_eq!(bench.unlock("people", PASSPHRASE).await.status, StatusCode::OK);
    vault::look_round(bench.shared()).await;
    assert_eq!(bench.state("people").await, "unlocked", "an older sleep counts no more");
    vaults.sleep(Duration::from_secs(2));
    vault::look_round(bench.shared()).await;
    let entries = bench.entries().await;
    let locked = entries.iter().filter(|entry| entry["eventType"] == "vault_locked");
    let locked: Vec<_> = locked.map(|entry| (&entry["details"]["reason"], &entry["actor"]["type"])).collect();
    assert_eq!(locked, [(&json!("suspend"), &json!("authority")), (&json!("suspend"), &json!("authority"))]);
}
