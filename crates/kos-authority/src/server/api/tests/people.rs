//! What is left of people, and who sees it.

use super::*;

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
