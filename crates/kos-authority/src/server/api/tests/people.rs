//! What is left of people, and who sees it.

use super::*;
use crate::record::SystemChange;

async fn guardians(bench: &Bench, origin: Origin) -> Value {
    let listed = bench.ask(origin, "GET", "/api/v1/guardians", &[], "").await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
    listed.body["items"].clone()
}

async fn add_guardian(bench: &Bench, name: &str, way: Value) {
    let added = bench.post("/api/v1/guardians", json!({"name": name, "way": way})).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.body);
}

#[tokio::test]
async fn who_is_removed_or_erased_is_a_guardian_no_more() {
    let bench = Bench::new().await;
    for name in ["anna", "berta"] {
        bench.operator(name, OperatorRole::Viewer).await;
        add_guardian(&bench, &format!("night-{name}"), json!({"person": {"operator": name}})).await;
    }
    let mail =
        json!({"mail": {"relay": "smtp://127.0.0.1:2525", "from": "kos@a.example", "to": ["b@a.example"]}});
    add_guardian(&bench, "post", mail).await;
    let path = "/api/v1/operators/anna";
    let plan = bench.ask(local(), "DELETE", &format!("{path}?dryRun=true"), &[], "{}").await;
    assert_eq!(
        plan.body["item"]["effects"],
        json!(["log: operator_removed", "log: guardian_removed, night-anna"])
    );
    let removed = bench.ask(local(), "DELETE", path, &[], "{}").await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    assert_eq!(guardians(&bench, local()).await.as_array().unwrap().len(), 2);

    let wanted = json!({"person": "berta", "reason": "asked for it"});
    let plan = bench.post("/api/v1/audit/erase?dryRun=true", wanted.clone()).await;
    let effects = plan.body["item"]["effects"].to_string();
    assert!(effects.contains("log: guardian_removed, night-berta"), "{effects}");
    assert!(effects.contains("the guardian post sends mail from kos@a.example to b@a.example"), "{effects}");
    let erased = bench.post("/api/v1/audit/erase", wanted).await;
    assert_eq!(erased.status, StatusCode::OK, "{}", erased.body);
    assert_eq!(guardians(&bench, local()).await.as_array().unwrap().len(), 1);
    let events = bench.events().await;
    assert_eq!(events.iter().filter(|event| *event == "guardian_removed").count(), 2);
    // The entry that says so came before the key went.
    assert!(bench.shared().store.subject_of("operator berta").await.unwrap().is_none());
}

#[tokio::test]
async fn a_viewer_sees_neither_names_nor_the_path_of_a_webhook() {
    let bench = Bench::new().await;
    add_guardian(&bench, "chat", json!({"webhook": {"url": "https://chat.example:8443/hooks/T0KEN?k=v"}}))
        .await;
    let mirror = json!({"name": "far", "target": {"web": {"url": "https://b.example/T0KEN"}}});
    assert_eq!(bench.post("/api/v1/audit/mirrors", mirror).await.status, StatusCode::OK);
    let ticket = bench.post("/api/v1/tickets", json!({"role": "sensor"})).await;
    assert_eq!(ticket.status, StatusCode::OK);
    for (role, sees) in
        [(OperatorRole::Viewer, false), (OperatorRole::Operator, false), (OperatorRole::Admin, true)]
    {
        let origin = bench.operator(&format!("vera-{role:?}").to_lowercase(), role).await;
        let list = bench.ask(origin.clone(), "GET", "/api/v1/audit/entries?limit=500", &[], "").await;
        let items = list.body["items"].as_array().unwrap().clone();
        assert!(!list.body.to_string().contains("T0KEN"));
        let made = items.iter().find(|item| item["eventType"] == "ticket_created").unwrap();
        let path = format!("/api/v1/audit/entries/{}", made["index"]);
        let one = bench.ask(origin.clone(), "GET", &path, &[], "").await;
        for shown in [made, &one.body["item"]] {
            let id = if sees { json!("root") } else { Value::Null };
            assert_eq!(shown["actor"]["id"], id, "{role:?}");
        }
        let address = guardians(&bench, origin).await[0]["address"].clone();
        let whole = "https://chat.example:8443/hooks/T0KEN?k=v";
        assert_eq!(address, if sees { whole } else { "https://chat.example:8443" }, "{role:?}");
    }
    assert_eq!(guardians(&bench, local()).await[0]["address"], "https://chat.example:8443/hooks/T0KEN?k=v");
}

#[tokio::test]
async fn a_backup_whose_entry_is_archived_still_holds_the_key() {
    let bench = Bench::new().await;
    bench.operator("anna", OperatorRole::Viewer).await;
    let backup = SystemChange::BackupCreated { sealed_to: "passphrase", without: Vec::new() };
    let started = || SystemChange::Started { version: "1", after: None }.into();
    let changes = std::iter::once(backup.into()).chain(std::iter::repeat_with(started).take(600)).collect();
    bench.shared().writer.commit(Transaction::own(NOW, changes, Vec::new())).await.unwrap();
    let folder = bench._folder.path().join("archive").display().to_string();
    let archived = bench.post("/api/v1/audit/archive", json!({"folder": folder, "beforeIndex": 256})).await;
    assert_eq!(archived.status, StatusCode::OK, "{}", archived.body);
    let erased = bench.post("/api/v1/audit/erase", json!({"person": "anna", "reason": "asked for it"})).await;
    assert_eq!(erased.body["item"]["backupsFound"], 1, "{}", erased.body);
}
