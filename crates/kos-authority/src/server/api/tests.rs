use std::collections::BTreeSet;

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use kos_api::{
    operator::OperatorRole,
    routes::{ALL, Caller, Effect, Object, Route},
};
use kos_base::{KeyAlgorithm, SecurityProfile, key::SignatureForm};
use kos_identity::{
    certificate::{IssuerClass, Serial},
    csr,
    registry::{Actor, Change, Device, Lobby, Write},
};
use kos_net::keys::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::{
    authority::Authority,
    fixtures::{self, Enrolled, NOW, device, device_id, key, member},
    writer::Transaction,
};

mod leaving;
mod papers;
mod people;
mod plans;
mod quarantine;
mod streams;
mod tokens;
mod vaults;

/// An authority whose API is asked without sockets.
struct Bench {
    _folder: TempDir,
    authority: Authority,
    router: Router,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Bench {
    async fn new() -> Self {
        let (folder, authority) = fixtures::attic().await;
        let router = router(Arc::clone(authority.shared()));
        Self { _folder: folder, authority, router }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.authority.shared()
    }

    async fn ask(
        &self,
        origin: Origin,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = tokens::with_token(request, &origin, method, path, body);
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(origin);
        request.extensions_mut().insert(Tokens::over(tokens::exporter()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        // A stream has no end.
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream { Body::empty() } else { response.into_body() };
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// Asks, and goes away as soon as something is committed, before there is an answer.
    async fn leave(&self, method: &str, path: &str, body: &str) {
        let request = Request::builder().method(method).uri(path);
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(local());
        let mut progress = self.shared().writer.progress();
        progress.mark_unchanged();
        tokio::select! {
            biased;
            changed = progress.changed() => changed.unwrap(),
            _ = self.router.clone().oneshot(request) => panic!("it was answered before anything was committed"),
        }
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(local(), "GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask(local(), "POST", path, &[], &body.to_string()).await
    }

    async fn add(&self, device: Device) {
        let change = Change::DeviceWaiting {
            device: device.id.clone(),
            identity_key: device.identity_key.id(),
            withheld: None,
        };
        let transaction = Transaction {
            at: NOW,
            actor: Actor::Authority,
            changes: vec![change.into()],
            writes: vec![Write::Device(Box::new(device))],
            system: Vec::new(),
            answer: None,
        };
        self.shared().writer.commit(transaction).await.unwrap();
    }

    async fn entries(&self) -> Vec<Value> {
        let (mut entries, mut cursor) = (Vec::new(), String::new());
        loop {
            let reply = self.get(&format!("/api/v1/audit/entries?limit=500{cursor}")).await;
            entries.extend(reply.body["items"].as_array().unwrap().iter().cloned());
            match reply.body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return entries,
            }
        }
    }

    async fn events(&self) -> Vec<String> {
        let entries = self.entries().await;
        entries.iter().map(|entry| entry["eventType"].as_str().unwrap().to_owned()).collect()
    }

    /// Somebody with an operator certificate of this role, as the TLS port would have verified them.
    async fn operator(&self, name: &str, role: OperatorRole) -> Origin {
        Origin::Peer(fixtures::operator(self.shared(), name, role).await.peer(self.shared()))
    }

    /// A device in service, likewise.
    async fn device(&self, n: u8) -> Origin {
        Origin::Peer(Enrolled::device(self.shared(), n).await.0.peer(self.shared()))
    }
}

fn local() -> Origin {
    Origin::LocalAdmin("root".to_owned())
}

fn code(reply: &Reply) -> &str {
    reply.body["code"].as_str().unwrap_or_default()
}

/// The PEM of a request for a certificate of `key`.
fn request_of(key: &SigningKey) -> String {
    let unsigned = csr::Request::new(key.public()).unwrap();
    let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed()).unwrap();
    let body = data_encoding::BASE64.encode(&unsigned.finish(&signature).unwrap());
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

/// A route's path with something in place of every placeholder.
fn path_of(route: &Route) -> String {
    route.fill(&["kdev-0000000000000001", "x"])
}

#[tokio::test]
async fn every_declared_route_has_a_handler_and_no_other_does() {
    let bench = Bench::new().await;
    let mounted: BTreeSet<_> = mount(Arc::clone(bench.shared())).mounted.into_iter().collect();
    let declared: BTreeSet<_> = ALL.iter().map(|route| route.name).collect();
    assert_eq!(mounted, declared);
}

#[tokio::test]
async fn each_route_lets_in_whom_its_declaration_admits_and_nobody_else() {
    let bench = Bench::new().await;
    let viewer = bench.operator("vera", OperatorRole::Viewer).await;
    let operator = bench.operator("otto", OperatorRole::Operator).await;
    let admin = bench.operator("anna", OperatorRole::Admin).await;
    let callers = [
        (Origin::Nobody, Caller::Anonymous),
        (Origin::LocalStranger, Caller::Anonymous),
        (viewer, Caller::Operator(OperatorRole::Viewer)),
        (operator, Caller::Operator(OperatorRole::Operator)),
        (admin, Caller::Operator(OperatorRole::Admin)),
        (local(), Caller::LocalAdmin),
    ];
    for route in ALL {
        for (origin, caller) in &callers {
            let reply = bench.ask(origin.clone(), route.method.as_str(), &path_of(route), &[], "{}").await;
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status);
            assert_eq!(!refused, route.admits(*caller), "{} for {caller:?}: {}", route.name, reply.status);
            assert!(reply.headers.contains_key(routes::REQUEST_ID), "{}", route.name);
        }
    }
}

#[tokio::test]
async fn a_device_reads_about_itself_and_gets_nothing_else() {
    let bench = Bench::new().await;
    let (own, other) = (bench.device(1).await, bench.device(2).await);
    // What agents sign anybody may bring, and here nobody signed anything.
    let signed = |route: &&Route| route.access == [routes::Access::Agent];
    for route in ALL.iter().filter(|route| !signed(route)) {
        for (origin, object) in [(&own, Object::Own), (&other, Object::Other)] {
            let reply = bench.ask(origin.clone(), route.method.as_str(), &path_of(route), &[], "{}").await;
            // What does not name the first device is somebody else's for both.
            let object = if route.path.contains("{device}") { object } else { Object::Other };
            let admitted = route.admits(Caller::Device(object));
            assert_eq!(reply.status != StatusCode::FORBIDDEN, admitted, "{} {object:?}", route.name);
            assert_eq!(reply.status.is_success(), admitted, "{} {object:?}: {}", route.name, reply.body);
        }
    }
    bench.post("/api/v1/devices/kdev-0000000000000001/suspend", json!({})).await;
    let suspended = bench.ask(own, "GET", "/api/v1/devices/kdev-0000000000000001", &[], "").await;
    assert_eq!(suspended.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_archive_is_apart_from_the_log_and_its_copies_by_every_way_to_them() {
    let bench = Bench::new().await;
    let (base, home) = (bench._folder.path(), bench.shared().home.folder());
    bench.shared().log_files.publish(&bench.shared().store, 0).await.unwrap();
    for (name, to) in [("log", home.join("log")), ("data", base.to_owned())] {
        std::os::unix::fs::symlink(to, base.join(format!("to-{name}"))).unwrap();
    }
    let at = |name: &str| base.join(name).display().to_string();
    std::fs::create_dir(at("copy")).unwrap();
    let copy = json!({"name": "near", "target": {"folder": {"path": at("copy")}}});
    assert_eq!(bench.post("/api/v1/audit/mirrors", copy).await.status, StatusCode::OK);
    let own = home.file_name().unwrap().to_str().unwrap();
    let (log, inside) = (format!("to-data/{own}/log"), format!("to-data/{own}/x/y"));
    for place in ["to-log", "to-log/x", &log, &inside, "to-data", "copy", "copy/x"] {
        let wanted = json!({"beforeIndex": 256, "folder": at(place)});
        let reply = bench.post("/api/v1/audit/archive", wanted).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{place}: {}", reply.body);
    }
    let apart = json!({"beforeIndex": 256, "folder": at("to-data/archive")});
    let reply = bench.post("/api/v1/audit/archive", apart).await;
    assert_eq!(reply.body["code"], kos_base::code::audit::NOTHING_TO_ARCHIVE.to_string(), "{}", reply.body);
}

#[tokio::test]
async fn an_examination_of_a_sound_authority_finds_nothing() {
    let bench = Bench::new().await;
    bench.shared().log_files.publish(&bench.shared().store, 0).await.unwrap();
    let reply = bench.get("/api/v1/doctor").await;
    assert_eq!(reply.body["item"]["ok"], true, "{}", reply.body);
    let checks = reply.body["item"]["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    let expected = [
        "audit-log",
        "log-files",
        "witnesses",
        "keys",
        "ca-certificates",
        "revocation-lists",
        "disk",
        "reach",
        "vaults",
        "key-memory",
        "recovery",
        "alerts",
        "guardians",
        "mirrors",
        "device-logs",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn an_operator_who_was_removed_or_revoked_is_nobody_from_the_next_request_on() {
    let bench = Bench::new().await;
    let anna = bench.operator("anna", OperatorRole::Admin).await;
    assert_eq!(bench.ask(anna.clone(), "GET", "/api/v1/status", &[], "").await.status, StatusCode::OK);
    let removed = bench.ask(local(), "DELETE", "/api/v1/operators/anna", &[], "").await;
    assert_eq!(removed.body["item"]["state"], "removed");
    let refused = bench.ask(anna, "GET", "/api/v1/status", &[], "").await;
    assert_eq!((refused.status, code(&refused)), (StatusCode::FORBIDDEN, "KOS-E0305"));
}

#[tokio::test]
async fn an_operator_is_let_in_by_a_request_and_its_name_is_taken_until_it_is_removed() {
    let bench = Bench::new().await;
    let (first, second) = (
        SigningKey::generate(KeyAlgorithm::P256).unwrap(),
        SigningKey::generate(KeyAlgorithm::P256).unwrap(),
    );
    let wanted = |key: &SigningKey| json!({"name": "anna", "role": "operator", "csr": request_of(key)});
    let made = bench.post("/api/v1/operators", wanted(&first)).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    assert!(made.body["item"]["certificates"].as_str().unwrap().matches("BEGIN CERTIFICATE").count() == 2);
    let taken = bench.post("/api/v1/operators", wanted(&second)).await;
    assert_eq!((taken.status, code(&taken)), (StatusCode::CONFLICT, "KOS-E0892"));
    bench.ask(local(), "DELETE", "/api/v1/operators/anna", &[], "").await;
    let again = bench.post("/api/v1/operators", wanted(&first)).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "a key that was taken back stays so");
    assert_eq!(bench.post("/api/v1/operators", wanted(&second)).await.status, StatusCode::OK);
    let bad = bench.post("/api/v1/operators", json!({"name": "otto", "role": "admin", "csr": "x"})).await;
    assert_eq!(code(&bad), "KOS-E0212");
    let events = bench.events().await;
    assert_eq!(events.iter().filter(|event| *event == "operator_added").count(), 2);
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_once_and_its_key_serves_no_other() {
    let bench = Bench::new().await;
    let with_key = [("idempotency-key", "k-1")];
    let body = r#"{"role":"sensor"}"#;
    let first = bench.ask(local(), "POST", "/api/v1/tickets", &with_key, body).await;
    let again = bench.ask(local(), "POST", "/api/v1/tickets", &with_key, body).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.body, again.body);
    assert!(first.body["item"]["text"].as_str().unwrap().starts_with("kos1."));
    let other = bench.ask(local(), "POST", "/api/v1/tickets", &with_key, r#"{"role":"relay"}"#).await;
    assert_eq!(other.status.as_u16(), 422);
    let events = bench.events().await;
    assert_eq!(events.iter().filter(|event| *event == "ticket_created").count(), 1);
    // Another caller's key is another key, and a malformed one is none.
    let anna = bench.operator("anna", OperatorRole::Admin).await;
    let hers = bench.ask(anna, "POST", "/api/v1/tickets", &with_key, body).await;
    assert_ne!(hers.body["item"]["ticketId"], first.body["item"]["ticketId"]);
    for bad in ["", "a b", &"x".repeat(65)] {
        let refused = bench.ask(local(), "POST", "/api/v1/tickets", &[("idempotency-key", bad)], body).await;
        assert_eq!(code(&refused), "KOS-E0016", "{bad:?}");
    }
}

#[tokio::test]
async fn a_ticket_is_bounded_shown_without_its_secret_and_withdrawn() {
    let bench = Bench::new().await;
    for (body, expected) in [
        (json!({"role": "sensor", "lifetimeSeconds": 601}), "KOS-E0226"),
        (json!({"role": "sensor", "lifetimeSeconds": 0}), "KOS-E0016"),
        (json!({"role": "sensor", "uses": 0}), "KOS-E0016"),
        (json!({"role": "sensor", "uses": 10_001}), "KOS-E0016"),
        (json!({"role": "sensor", "boundSerial": "\u{1b}[2J"}), "KOS-E0016"),
        (json!({"role": "toaster"}), "KOS-E0016"),
        (json!({"rolle": "sensor"}), "KOS-E0016"),
        (json!([]), "KOS-E0016"),
    ] {
        let refused = bench.post("/api/v1/tickets", body.clone()).await;
        assert_eq!(code(&refused), expected, "{body}");
    }
    assert_eq!(bench.ask(local(), "POST", "/api/v1/tickets", &[], "").await.status, StatusCode::BAD_REQUEST);
    let long = json!({"role": "sensor", "lifetimeSeconds": 86_400, "reason": "a fair"});
    let made = bench.post("/api/v1/tickets", long).await;
    let id = made.body["item"]["ticketId"].as_str().unwrap().to_owned();
    let shown = bench.get(&format!("/api/v1/tickets/{id}")).await;
    assert_eq!(
        (&shown.body["item"]["text"], &shown.body["item"]["createdBy"]),
        (&Value::Null, &json!("root"))
    );
    let planned = bench.post(&format!("/api/v1/tickets/{id}/revoke?dryRun=true"), json!({})).await;
    assert_eq!(planned.body["kind"], "Plan");
    for _ in 0..2 {
        let revoked = bench.post(&format!("/api/v1/tickets/{id}/revoke"), json!({})).await;
        assert_eq!(revoked.body["item"]["state"], "revoked");
    }
    let events = bench.events().await;
    assert_eq!(events.iter().filter(|event| *event == "ticket_revoked").count(), 1);
    for unknown in ["x", "01a1f8bf-ac7c-730d-974d-26f553ad23e3"] {
        assert_eq!(bench.get(&format!("/api/v1/tickets/{unknown}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_device_is_changed_planned_and_guarded_by_its_tag() {
    let bench = Bench::new().await;
    bench.add(member(1)).await;
    let path = "/api/v1/devices/kdev-0000000000000001";
    let shown = bench.get(path).await;
    let tag = shown.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(shown.body["item"]["channel"], "stable");

    let planned = bench.post(&format!("{path}/set-channel?dryRun=true"), json!({"channel": "beta"})).await;
    assert_eq!(
        planned.body["item"]["changes"],
        json!([{"field": "channel", "from": "stable", "to": "beta"}])
    );
    assert_eq!(planned.body["item"]["effects"], json!(["log: channel_changed"]));
    assert_eq!(bench.get(path).await.headers["etag"].to_str().unwrap(), tag);

    let to_beta = r#"{"channel":"beta"}"#;
    let moved =
        bench.ask(local(), "POST", &format!("{path}/set-channel"), &[("if-match", &tag)], to_beta).await;
    assert_eq!(moved.body["item"]["channel"], "beta");
    let late =
        bench.ask(local(), "POST", &format!("{path}/rename"), &[("if-match", &tag)], r#"{"name":"x"}"#).await;
    assert_eq!((late.status, code(&late)), (StatusCode::PRECONDITION_FAILED, "KOS-E0106"));

    let again = bench.post(&format!("{path}/set-channel"), json!({"channel": "beta"})).await;
    assert_eq!(again.status, StatusCode::OK);
    let events = bench.events().await;
    assert_eq!(events.iter().filter(|event| *event == "channel_changed").count(), 1);

    for (action, body, expected) in [
        ("set-channel", json!({"channel": "dev"}), "KOS-E0222"),
        ("approve", json!({}), "KOS-E0213"),
        ("reinstate", json!({}), "KOS-E0213"),
        ("rename", json!({"name": "a\u{202e}b"}), "KOS-E0016"),
        ("tag", json!({"add": ["UPPER"]}), "KOS-E0016"),
        ("suspend", json!({"reason": ""}), "KOS-E0016"),
        ("set-role", json!({"role": "sensor", "rôle": 1}), "KOS-E0016"),
    ] {
        let refused = bench.post(&format!("{path}/{action}"), body).await;
        assert_eq!(code(&refused), expected, "{action}");
    }
    let short = bench.post("/api/v1/devices/0000/rename", json!({"name": "x"})).await;
    assert_eq!(code(&short), "KOS-E0221", "a change names the whole id");
}

#[tokio::test]
async fn a_suspension_revokes_and_its_end_releases() {
    let bench = Bench::new().await;
    bench.add(member(1)).await;
    let path = "/api/v1/devices/kdev-0000000000000001";
    let suspended = bench.post(&format!("{path}/suspend"), json!({"reason": "lost"})).await;
    assert_eq!(suspended.body["item"]["state"], "suspended");
    let serial = Serial::from_random([1; 16]);
    assert!(bench.shared().board.record(key(200).id(), serial).is_some());
    let back = bench.post(&format!("{path}/reinstate"), json!({})).await;
    assert_eq!(back.body["item"]["state"], "active");
    assert!(bench.shared().board.record(key(200).id(), serial).is_none());
    let misspelt = bench.get(&format!("{path}/events?eventType=device_enroled")).await;
    assert_eq!(
        (misspelt.status, code(&misspelt)),
        (StatusCode::BAD_REQUEST, "KOS-E0016"),
        "{}",
        misspelt.body
    );
    let events = bench.get(&format!("{path}/events")).await;
    let events: Vec<_> = events.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["eventType"].as_str().unwrap().to_owned())
        .collect();
    let expected = [
        "device_pending",
        "device_suspended",
        "certificate_revoked",
        "device_reinstated",
        "certificate_hold_released",
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn recoveries_are_raised_to_a_number_without_touching_the_state() {
    let bench = Bench::new().await;
    let mut device = member(1);
    device.recoveries_left = 0;
    bench.add(device).await;
    let path = "/api/v1/devices/kdev-0000000000000001/reinstate";
    for _ in 0..2 {
        let raised = bench.post(path, json!({"recoveries": 2})).await;
        assert_eq!(raised.status, StatusCode::OK, "{}", raised.body);
    }
    let shown = bench.get("/api/v1/devices/kdev-0000000000000001").await;
    assert_eq!(
        (&shown.body["item"]["recoveriesLeft"], &shown.body["item"]["state"]),
        (&json!(2), &json!("active"))
    );
    let events = bench.events().await;
    assert_eq!(events.iter().filter(|event| *event == "recoveries_raised").count(), 1);
}

#[tokio::test]
async fn a_decommissioning_is_ordered_once_and_can_be_followed() {
    let bench = Bench::new().await;
    let mut device = member(1);
    if let Some(credential) = &mut device.credential {
        credential.issuer = bench.shared().keys.issuing_certificate(IssuerClass::One).key_id();
    }
    bench.add(device).await;
    let path = "/api/v1/devices/kdev-0000000000000001/decommission";
    assert_eq!(bench.get(path).await.status, StatusCode::NOT_FOUND);
    let publisher = crate::revocation::Publisher::new(
        Arc::clone(&bench.shared().board),
        bench.shared().writer.clone(),
        &bench.shared().keys,
    );
    let publishing = tokio::spawn(publisher.run());
    let with_key = [("idempotency-key", "k-1")];
    let body = json!({"reason": "sold"}).to_string();
    let ordered = bench.ask(local(), "POST", path, &with_key, &body).await;
    assert_eq!(ordered.body["item"]["state"], "decommissioning", "{}", ordered.body);
    assert_eq!(ordered.body["item"]["wipe"], "pending");
    assert!(ordered.body["item"]["crlNumber"].as_u64().is_some());
    let index = ordered.body["item"]["auditIndex"].as_u64().unwrap();
    let entry = bench.get(&format!("/api/v1/audit/entries/{index}")).await;
    assert_eq!(entry.body["item"]["eventType"], "decommission_ordered");
    let repeated = bench.ask(local(), "POST", path, &with_key, &body).await;
    assert_eq!(repeated.body, ordered.body);
    let again = bench.post(path, json!({})).await;
    assert_eq!(again.body["item"], ordered.body["item"]);
    assert_eq!(bench.get(path).await.body["item"], ordered.body["item"]);
    publishing.abort();
}

#[tokio::test]
async fn an_operator_sees_what_a_waiting_device_asks_for() {
    let bench = Bench::new().await;
    let mut waits = device(1);
    waits.lobby = Some(Lobby { requested: Some(SecurityProfile::Sec3), ..fixtures::lobby("192.0.2.7") });
    bench.add(waits).await;
    let shown = bench.get("/api/v1/devices/kdev-0000000000000001").await.body["item"]["lobby"].clone();
    assert_eq!((&shown["requestedRole"], &shown["requestedProfile"]), (&json!("sensor"), &json!("SEC-3")));
}

#[tokio::test]
async fn devices_are_listed_in_pages_and_found_by_prefix() {
    let bench = Bench::new().await;
    for n in 1..=7 {
        bench.add(if n % 2 == 0 { member(n) } else { device(n) }).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/devices?limit=3".to_owned();
    loop {
        let reply = bench.get(&path).await;
        seen.extend(
            reply.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| d["deviceId"].as_str().unwrap().to_owned()),
        );
        match reply.body["next"].as_str() {
            Some(next) => path = format!("/api/v1/devices?limit=3&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (1..=7).map(|n| device_id(n).to_string()).collect::<Vec<_>>());
    let pending = bench.get("/api/v1/devices?state=pending").await;
    assert_eq!(pending.body["items"].as_array().unwrap().len(), 4);
    let ambiguous = bench.get("/api/v1/devices/0000").await;
    assert_eq!(code(&ambiguous), "KOS-E0014");
    assert!(ambiguous.body["detail"].as_str().unwrap().contains("kdev-0000000000000001"));
    let only = bench.get("/api/v1/devices/KDEV-0000000000000001").await;
    assert_eq!(only.body["item"]["deviceId"], "kdev-0000000000000001");
    for bad in ["limit=0", "limit=501", "stade=pending", "state=gone", "cursor=x"] {
        let refused = bench.get(&format!("/api/v1/devices?{bad}")).await;
        assert_eq!(code(&refused), "KOS-E0016", "{bad}");
    }
}

#[tokio::test]
async fn entries_are_listed_by_person_proven_and_verified() {
    let bench = Bench::new().await;
    bench.post("/api/v1/tickets", json!({"role": "sensor"})).await;
    let mine = bench.get("/api/v1/audit/entries?actor=root").await;
    let items = mine.body["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["actor"], json!({"type": "local-user", "id": "root"}));
    let index = items[0]["index"].as_u64().unwrap();
    let shown = bench.get(&format!("/api/v1/audit/entries/{index}")).await;
    let text = shown.body["item"]["merkleProof"].as_str().unwrap();
    let proof = kos_audit::Proof::parse(text).unwrap();
    assert!(proof.verify(None, bench.shared().log.key(), &[]).is_ok());
    let checkpoint = bench.get("/api/v1/audit/checkpoint").await.body["item"]["text"].clone();
    bench.post("/api/v1/tickets", json!({"role": "sensor"})).await;
    let verdict = bench.post("/api/v1/audit/verify", json!({"against": checkpoint})).await;
    assert_eq!(verdict.body["item"]["ok"], true, "{}", verdict.body);
    assert_eq!(verdict.body["item"]["assurance"], "held-checkpoint");
    for unknown in ["99999", "-1", "x"] {
        let refused = bench.get(&format!("/api/v1/audit/entries/{unknown}")).await;
        assert_eq!(code(&refused), "KOS-E0508", "{unknown}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_and_paths_that_are_not_there_are_problems() {
    let bench = Bench::new().await;
    let large = format!(r#"{{"role":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    let refused = bench.ask(local(), "POST", "/api/v1/tickets", &[], &large).await;
    assert_eq!((refused.status, code(&refused)), (StatusCode::PAYLOAD_TOO_LARGE, "KOS-E0017"));
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!(bench.get("/api/v1/nowhere").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        bench.ask(local(), "DELETE", "/api/v1/status", &[], "").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}
