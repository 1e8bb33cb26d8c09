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
async fn only_administrators_learn_who_acknowledged_who_is_a_guardian_and_what_the_log_says_of_a_name() {
    let bench = Bench::new().await;
    bench.operator("berta", OperatorRole::Admin).await;
    add_guardian(&bench, "night", json!({"person": {"operator": "berta"}})).await;
    let mirror = json!({"name": "far", "target": {"web": {"url": "https://b.example/T0KEN"}}});
    assert_eq!(bench.post("/api/v1/audit/mirrors", mirror).await.status, StatusCode::OK);
    let id = plans::alert(&bench, 1).await;
    let acknowledged = bench.post(&format!("/api/v1/alerts/{id}/ack"), json!({})).await;
    assert_eq!(acknowledged.body["item"]["acknowledgedBy"]["id"], "root", "{}", acknowledged.body);
    for (role, sees) in
        [(OperatorRole::Viewer, false), (OperatorRole::Operator, false), (OperatorRole::Admin, true)]
    {
        let origin = bench.operator(&format!("vera-{role:?}").to_lowercase(), role).await;
        let get = async |path: &str| bench.ask(origin.clone(), "GET", path, &[], "").await;
        for path in ["/api/v1/alerts".to_owned(), format!("/api/v1/alerts/{id}")] {
            let alerts = get(&path).await;
            let alert = alerts.body.get("item").unwrap_or(&alerts.body["items"][0]);
            let who = &alert["acknowledgedBy"];
            assert_eq!(who["type"], "local-user", "{}", alerts.body);
            assert_eq!(who["id"], if sees { json!("root") } else { Value::Null }, "{role:?} {path}");
        }
        let guardian = guardians(&bench, origin.clone()).await[0].clone();
        assert_eq!(guardian["address"], if sees { "berta" } else { "an operator" }, "{role:?}");
        let mirrors = get("/api/v1/audit/mirrors").await;
        let place = if sees { "https://b.example/T0KEN" } else { "https://b.example" };
        assert_eq!(mirrors.body["items"][0]["target"], place, "{role:?}");
        // That a name finds something would say whose the entries are.
        let person = get("/api/v1/audit/entries?person=root").await;
        let actor = get("/api/v1/audit/entries?actor=root").await;
        let plain = get("/api/v1/audit/entries?actor=attic").await;
        assert!(!plain.body["items"].as_array().unwrap().is_empty(), "{}", plain.body);
        if sees {
            assert!(!person.body["items"].as_array().unwrap().is_empty());
            assert!(!actor.body["items"].as_array().unwrap().is_empty());
        } else {
            assert_eq!((person.status, code(&person)), (StatusCode::FORBIDDEN, "KOS-E0595"), "{role:?}");
            assert_eq!(actor.body["items"], json!([]), "{role:?}");
        }
    }
}

#[tokio::test]
async fn what_exists_already_and_what_can_never_work_is_said_with_codes_of_its_own() {
    let bench = Bench::new().await;
    let hook = |url: &str| json!({"name": "pager", "way": {"webhook": {"url": url}}});
    for never in [
        "http://192.0.2.7/x",
        "https://169.254.169.254/",
        "https://100.100.100.200/",
        "https://[64:ff9b::a9fe:a9fe]/",
    ] {
        let refused = bench.post("/api/v1/guardians", hook(never)).await;
        assert_eq!(code(&refused), "KOS-E0536", "{never}: {}", refused.body);
        assert!(
            refused.body["detail"].as_str().unwrap().contains("which is not dialled"),
            "{}",
            refused.body
        );
    }
    let added = bench.post("/api/v1/guardians", hook("https://192.0.2.7/x")).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.body);
    let again = bench.post("/api/v1/guardians", hook("https://192.0.2.7/x")).await;
    assert_eq!((again.status, code(&again)), (StatusCode::CONFLICT, "KOS-E0594"), "{}", again.body);
    let own = json!({"verifierKey": bench.shared().log.key().to_string()});
    let own = bench.post("/api/v1/audit/witnessed-logs", own).await;
    assert_eq!((own.status, code(&own)), (StatusCode::BAD_REQUEST, "KOS-E0593"), "{}", own.body);
    let nonsense = json!({"url": "http://127.0.0.1:9/w", "verifierKey": "nonsense"});
    let nonsense = bench.post("/api/v1/audit/witnesses", nonsense).await;
    assert_eq!(code(&nonsense), "KOS-E0597", "{}", nonsense.body);
    let event = bench.get("/api/v1/audit/entries?eventType=device_renam").await;
    assert!(event.body["fix"].as_str().unwrap().contains("device_renamed"), "{}", event.body);
}

#[tokio::test]
async fn an_alert_is_found_by_the_beginning_of_its_id_when_no_other_begins_so() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for n in 1..=20 {
        ids.push(plans::alert(&bench, n).await);
    }
    let known = ids.last().unwrap();
    let whole = bench.get(&format!("/api/v1/alerts/{known}")).await;
    assert_eq!(whole.status, StatusCode::OK, "{}", whole.body);
    let beginning = known.get(..8).unwrap();
    let found = bench.get(&format!("/api/v1/alerts/{beginning}")).await;
    assert_eq!(found.body["item"]["alertId"], known.as_str(), "{}", found.body);
    for bad in [known.get(..3).unwrap(), "zzzzzz", "%25%25%25%25", "ffffffff0"] {
        let none = bench.get(&format!("/api/v1/alerts/{bad}")).await;
        assert_eq!((none.status, code(&none)), (StatusCode::NOT_FOUND, "KOS-E0534"), "{bad}: {}", none.body);
    }
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
