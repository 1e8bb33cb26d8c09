//! Whoever asks may go away, or hear that it took too long: what was committed is followed by what belongs to it.

use std::{fs, time::Duration};

use super::*;

const SOON: Duration = Duration::from_secs(20);
const PERMIT: &str = "@id(\"all\") permit(principal, action == Action::\"send\", resource);";

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_manifest_that_is_committed_is_in_force_when_whoever_asked_has_left() {
    let bench = Bench::new().await;
    let shared = Arc::clone(bench.shared());
    let text = |name: &str| json!({"text": format!("// manifest {name} 1\n{PERMIT}\n")}).to_string();
    bench.leave("PUT", "/api/v1/policy/manifests", &text("first")).await;
    until("what is on the disk is in force", || shared.manifests.point().governs()).await;
    let applied = bench.ask(local(), "PUT", "/api/v1/policy/manifests", &[], &text("second")).await;
    assert_eq!(applied.status, StatusCode::OK, "{}", applied.body);
    for name in ["first", "second"] {
        assert_eq!(shared.manifests.policies_of(name).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_is_in_force_follows_the_store_before_anything_else_is_applied() {
    let bench = Bench::new().await;
    let shared = Arc::clone(bench.shared());
    let text = |name: &str| json!({"text": format!("// manifest {name} 1\n{PERMIT}\n")}).to_string();
    let empty = crate::policy::manifest::applied::Manifests::load(&shared.store, &shared.keys).await.unwrap();
    let applied = bench.ask(local(), "PUT", "/api/v1/policy/manifests", &[], &text("first")).await;
    assert_eq!(applied.status, StatusCode::OK, "{}", applied.body);
    assert_eq!(empty.point().counter(), 0);
    assert!(empty.catch_up(&shared.store, &shared.keys).await.unwrap());
    assert_eq!(empty.policies_of("first").len(), 1);
    assert!(!empty.catch_up(&shared.store, &shared.keys).await.unwrap(), "once");
}

#[tokio::test]
async fn no_file_keeps_who_was_erased_when_whoever_asked_has_left() {
    let bench = Bench::new().await;
    bench.operator("berta", OperatorRole::Viewer).await;
    let mut beside = bench.shared().home.store().into_os_string();
    beside.push("-wal");
    let length = || fs::metadata(&beside).map_or(0, |about| about.len());
    assert!(length() > 0);
    let body = json!({"person": "berta", "reason": "asked for it"}).to_string();
    bench.leave("POST", "/api/v1/audit/erase", &body).await;
    assert!(bench.shared().store.subject_of("operator berta").await.unwrap().is_none());
    until("the write-ahead log is empty", || length() == 0).await;

    // An attempt of before an end of power or patience is followed by another one.
    bench.operator("anna", OperatorRole::Viewer).await;
    assert!(length() > 0);
    let again = bench.ask(local(), "POST", "/api/v1/audit/erase", &[], &body).await;
    assert_eq!((code(&again), length()), ("KOS-E0561", 0), "{}", again.body);
}
