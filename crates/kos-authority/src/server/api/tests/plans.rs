//! Every change of the table: as a dry run, which changes nothing and refuses what would be refused, and for good,
//! which the log has by the time of the answer.

use kos_api::routes::{OPERATOR_CREATE, VAULT_AUTHORISER_ADD, VAULT_OFFLINE_ADD, VAULT_PASSKEY_ADD};

use super::{
    papers::{Papers, papers},
    *,
};
use crate::{clock, record::SystemChange, store::EngineState, writer::SystemWrite};
use kos_audit::alert::{Alert, AlertId, Severity};
use kos_policy::{pairing::Pairing, trust::TrustLevel};

const AGENT: &str = "kai:home/kitchen";
const MEMBER: &str = "kdev-0000000000000001";
const WAITING: &str = "kdev-0000000000000002";
const SUSPENDED: &str = "kdev-0000000000000003";
const LEAST: &str = "kdev-0000000000000004";
const STRICT: &str = "kdev-0000000000000005";
const JUDGE: &str = "kdev-0000000000000006";

const VAULT: &str = "people";
const SOURCE_PASSPHRASE: &str = "an old passphrase";
const SOURCE: &str = include_str!("../../../../../../tests/vectors/vault/source/pbkdf2.json");

/// What is there, and known only once it was made.
struct Made {
    ticket: String,
    /// The words of the one share of the vault.
    words: String,
    /// Something that was found.
    alert: String,
    /// A folder for old entries.
    archive: String,
    papers: Papers,
    /// What an agent may ask.
    grant: String,
}

/// An authority on which each change of the table has something to change.
async fn bench() -> (Bench, Made) {
    let bench = Bench::new().await;
    let mut in_service = member(1);
    // Enough for a higher profile.
    in_service.evidence = kos_base::EvidenceTier::EkActivated;
    in_service.image = Some(vec![1; 32]);
    if let Some(credential) = &mut in_service.credential {
        credential.issuer = bench.shared().keys.issuing_certificate(IssuerClass::One).key_id();
    }
    in_service.attested = Some(fixtures::attested(kos_base::KeyId::from_bytes([7; 32])));
    bench.add(in_service).await;
    let mut waiting = device(2);
    waiting.lobby = Some(fixtures::lobby("192.0.2.7"));
    bench.add(waiting).await;
    bench.add(member(3)).await;
    let mut least = member(4);
    if let Some(credential) = &mut least.credential {
        credential.profile = Some(SecurityProfile::Sec1);
    }
    bench.add(least).await;
    let suspended = bench.post(&format!("/api/v1/devices/{SUSPENDED}/suspend"), json!({})).await;
    assert_eq!(suspended.status, StatusCode::OK, "{}", suspended.body);
    for n in [5, 6] {
        bench.add(strict(n)).await;
    }
    let ticket = bench.post("/api/v1/tickets", json!({"role": "sensor"})).await;
    let ticket = ticket.body["item"]["ticketId"].as_str().unwrap().to_owned();
    bench.operator("anna", OperatorRole::Operator).await;
    bench.vault(VAULT).await;
    assert_eq!(bench.secret(VAULT, "x").await.status, StatusCode::OK);
    let share = json!({"passphrase": vaults::PASSPHRASE, "threshold": 1, "holders": ["Anna"]});
    let shared = bench.post("/api/v1/vaults/people/share", share).await;
    let words = shared.body["item"]["words"][0].as_str().unwrap().to_owned();
    let guardian = json!({"name": "anna", "way": {"person": {"operator": "anna"}}});
    let named = bench.post("/api/v1/guardians", guardian).await;
    assert_eq!(named.status, StatusCode::OK, "{}", named.body);
    let key = || SigningKey::generate(KeyAlgorithm::Ed25519).unwrap().public().clone();
    let witness = kos_audit::WitnessKey::new("loft/witness", key()).unwrap().to_string();
    let witness = json!({"url": "http://127.0.0.1:9/w", "verifierKey": witness});
    let log = kos_audit::LogKey::new(&"cellar".parse().unwrap(), key()).unwrap().to_string();
    for (path, body) in [("witnesses", witness), ("witnessed-logs", json!({"verifierKey": log}))] {
        let added = bench.post(&format!("/api/v1/audit/{path}"), body).await;
        assert_eq!(added.status, StatusCode::OK, "{}", added.body);
    }
    let listed = bench.post("/api/v1/attestation/eks", json!({"ek": "aa".repeat(32)})).await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
    let golden = json!({"name": "r1", "deviceId": MEMBER});
    let golden = bench.post("/api/v1/attestation/golden", golden).await;
    assert_eq!(golden.status, StatusCode::OK, "{}", golden.body);
    let judges = bench.post("/api/v1/attestation/verifiers", json!({"deviceId": JUDGE})).await;
    assert_eq!(judges.status, StatusCode::OK, "{}", judges.body);
    let near = json!({"name": "near", "target": {"web": {"url": "https://a.example/log"}}});
    let named = bench.post("/api/v1/audit/mirrors", near).await;
    assert_eq!(named.status, StatusCode::OK, "{}", named.body);
    let alert = alert(&bench, 1).await;
    let archive = bench._folder.path().join("archive").display().to_string();
    let papers = papers(&bench, MEMBER).await;
    let grant = granted(&bench).await;
    (bench, Made { ticket, words, alert, archive, papers, grant })
}

/// A device that may judge others.
fn strict(n: u8) -> Device {
    let mut device = member(n);
    device.evidence = kos_base::EvidenceTier::EkActivated;
    device.image = Some(vec![1; 32]);
    device.assign_profile(SecurityProfile::Sec3).unwrap();
    if let Some(credential) = &mut device.credential {
        credential.not_after = clock::now().plus(Duration::from_secs(3_600));
    }
    device
}

#[tokio::test]
async fn only_a_strict_device_in_service_judges_others() {
    let (bench, _) = bench().await;
    let add = async |id: &str| bench.post("/api/v1/attestation/verifiers", json!({"deviceId": id})).await;
    for (id, code) in [
        (MEMBER, "KOS-E0883"),
        (WAITING, "KOS-E0883"),
        (SUSPENDED, "KOS-E0883"),
        (JUDGE, "KOS-E0885"),
        ("kdev-0000000000000099", "KOS-E0221"),
    ] {
        let refused = add(id).await;
        assert_eq!(refused.body["code"], code, "{id}: {}", refused.body);
    }
    let listed = bench.get("/api/v1/attestation/verifiers").await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1, "{}", listed.body);
    assert_eq!(listed.body["items"][0]["hindrance"], "has no link");
}

#[tokio::test]
async fn a_witness_whose_name_is_long_or_not_ascii_is_refused() {
    let bench = Bench::new().await;
    for (name, status) in [("w".repeat(128), 200), ("w".repeat(129), 400), ("w\u{fc}".to_owned(), 400)] {
        let key = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap().public().clone();
        let key = kos_audit::WitnessKey::new(&name, key).unwrap().to_string();
        let body = json!({"url": "http://127.0.0.1:9/w", "verifierKey": key});
        let reply = bench.post("/api/v1/audit/witnesses", body).await;
        assert_eq!(reply.status.as_u16(), status, "{name}: {}", reply.body);
    }
}

/// Pairs the member with an agent, and lets that ask something; the id of the grant.
async fn granted(bench: &Bench) -> String {
    let now = clock::now();
    let pairing = Pairing {
        id: fixtures::id(9),
        device: MEMBER.parse().unwrap(),
        partner: AGENT.parse().unwrap(),
        level: TrustLevel::Partner,
        key: Some(key(9)),
        proposed: now,
        device_said: Some(now),
        partner_said: Some(now),
        ended: None,
        number: 1,
    };
    let change = SystemChange::PairingProposed(Box::new(pairing.clone()));
    let write = SystemWrite::Pairing(Box::new(pairing), None);
    bench.shared().writer.commit(Transaction::own(now, vec![change.into()], vec![write])).await.unwrap();
    let made = bench.post("/api/v1/grants", granting()).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    made.body["item"]["grantId"].as_str().unwrap().to_owned()
}

fn granting() -> Value {
    json!({
        "deviceId": MEMBER, "agentId": AGENT, "capability": "device.status", "scope": ["status/*"],
        "expiry": clock::now().plus(Duration::from_secs(3_600)),
    })
}

/// The path of a route about this.
fn path(route: &Route, object: &str) -> String {
    route.fill(&[object, if route.name == "pairing-end" { AGENT } else { "x" }])
}

/// Something that was found; its id.
pub(super) async fn alert(bench: &Bench, first: u64) -> String {
    let rule = "clone".parse().unwrap();
    let alert = Alert {
        id: AlertId::of(&rule, first, first + 1),
        rule,
        severity: Severity::Critical,
        summary: "test".to_owned(),
        group: None,
        count: 1,
        unseen: 0,
        first,
        last: first + 1,
        entries: vec![first, first + 1],
        at: NOW,
    };
    let id = alert.id.to_string();
    let change = SystemChange::AlertRaised(Box::new(alert.clone()));
    let state = EngineState { next: first + 2, bytes: Vec::new() };
    let write = SystemWrite::Alerts(vec![alert], state);
    bench.shared().writer.commit(Transaction::own(NOW, vec![change.into()], vec![write])).await.unwrap();
    id
}

/// Brings about what the change is about: a share that was handed in, a slot, an authoriser; or arms what is disarmed or fired.
async fn prepare(bench: &Bench, route: &Route, made: &Made) {
    if route.name == "audit-archive" {
        let started = || SystemChange::Started { version: "1", after: None }.into();
        let changes = std::iter::repeat_with(started).take(600).collect();
        bench.shared().writer.commit(Transaction::own(NOW, changes, Vec::new())).await.unwrap();
        return;
    }
    if ["kill-disarm", "kill-fire"].contains(&route.name) {
        // It may be armed already.
        let armed = bench.post("/api/v1/kill/arm", json!({"program": "keep"})).await;
        assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&armed.status), "{}", armed.body);
        return;
    }
    if route.name == "vault-passkey-add" {
        // Another plan may have left a slot of this name.
        let body = json!({"passphrase": vaults::PASSPHRASE}).to_string();
        bench.ask(local(), "DELETE", "/api/v1/vaults/people/offline-keys/x", &[], &body).await;
    }
    let add = match route.name {
        "vault-offline-remove" => Some(&VAULT_OFFLINE_ADD),
        "vault-passkey-remove" => Some(&VAULT_PASSKEY_ADD),
        "vault-authoriser-remove" => Some(&VAULT_AUTHORISER_ADD),
        _ => None,
    };
    if let Some(add) = add {
        let (object, body) = example(add, made);
        let path = add.fill(&[object, "x"]);
        let added = bench.ask(local(), add.method.as_str(), &path, &[], &body.to_string()).await;
        assert_eq!(added.status, StatusCode::OK, "{}", added.body);
    }
    let purpose = match route.name {
        "vault-recover" | "vault-abandon" => "recovery",
        "vault-rehearse" => "rehearsal",
        _ => return,
    };
    let share = json!({"words": made.words, "purpose": purpose});
    let handed = bench.post("/api/v1/vaults/people/recovery", share).await;
    assert_eq!(handed.status, StatusCode::OK, "{}", handed.body);
}

/// What stands in the place of the path's placeholder, and a body that makes sense.
fn example<'a>(route: &Route, made: &'a Made) -> (&'a str, Value) {
    match route.name {
        "ticket-create" => ("", json!({"role": "sensor"})),
        "ticket-revoke" => (&made.ticket, json!({})),
        "device-approve" => (WAITING, json!({"comparisonCode": "042137"})),
        "device-reject" => (WAITING, json!({})),
        "device-reinstate" => (SUSPENDED, json!({})),
        "device-set-role" => (MEMBER, json!({"role": "relay"})),
        "device-set-profile" => (MEMBER, json!({"profile": "SEC-3"})),
        "device-set-channel" => (MEMBER, json!({"channel": "beta"})),
        "device-rename" => (MEMBER, json!({"name": "x"})),
        "device-tag" => (MEMBER, json!({"add": ["a"]})),
        "device-suspend" | "device-quarantine" | "device-regen-cert" | "device-decommission" => {
            (MEMBER, json!({}))
        }
        "device-rotate-key" => (LEAST, json!({})),
        "authority-listen" => ("", json!({"address": "127.0.0.2"})),
        "operator-create" => {
            let key = SigningKey::generate(KeyAlgorithm::P256).unwrap();
            ("", json!({"name": "otto", "role": "viewer", "csr": request_of(&key)}))
        }
        "operator-remove" => ("anna", json!({})),
        "ek-add" => ("", json!({"ek": "bb".repeat(32)})),
        "ek-remove" => ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", json!({})),
        "golden-add" => ("", json!({"name": "r2", "deviceId": MEMBER})),
        "golden-remove" => ("r1", json!({})),
        "verifier-add" => ("", json!({"deviceId": STRICT})),
        "verifier-remove" => (JUDGE, json!({})),
        "maker-add" => ("", json!({"name": "umbra", "key": made.papers.key})),
        "maker-remove" => ("acme", json!({})),
        "voucher-import" => ("", json!({"file": made.papers.file})),
        "voucher-endorse" => (&made.papers.voucher, json!({"pin": "cc".repeat(32), "key": made.papers.key})),
        "vouching-add" => {
            let wanted = json!({"deviceId": MEMBER, "uses": 1, "profileCap": "SEC-1", "lifetimeSeconds": 60});
            ("", wanted)
        }
        "vouching-remove" => (&made.papers.grant, json!({})),
        "module-set" => ("", json!({"module": "clock-sanity", "profile": "SEC-2", "stance": "advisory"})),
        "pairing-propose" => (MEMBER, json!({"with": "user:anna"})),
        "pairing-end" => (MEMBER, json!({})),
        "grant-create" => ("", granting()),
        "grant-narrow" => (&made.grant, json!({"scope": ["status/health"]})),
        "grant-revoke" => (&made.grant, json!({})),
        "grant-override" => (&made.grant, json!({"verdict": "deny", "seconds": 60, "reason": "enough"})),
        "audit-archive" => ("", json!({"folder": made.archive, "beforeIndex": 256})),
        "audit-erase" => ("", json!({"person": "anna", "reason": "asked for it"})),
        "alert-ack" => (&made.alert, json!({})),
        "manifest-apply" => {
            let policy = "permit(principal, action == Action::\"send\", resource);";
            ("", json!({"text": format!("// manifest a 1\n{policy}")}))
        }
        "alert-rules-apply" => ("", json!({"file": {"tune": [{"rule": "failed-unlocks", "times": 3}]}})),
        "guardian-add" => ("", json!({"name": "pager", "way": {"webhook": {"url": "https://a.example/x"}}})),
        "mirror-add" => ("", json!({"name": "far", "target": {"web": {"url": "https://b.example/log"}}})),
        "mirror-remove" => ("near", json!({})),
        "guardian-remove" => ("anna", json!({})),
        "vault-create" => ("fresh", json!({"passphrase": vaults::PASSPHRASE})),
        "vault-import" => (
            "fresh",
            json!({"passphrase": SOURCE_PASSPHRASE, "file": data_encoding::BASE64.encode(SOURCE.as_bytes())}),
        ),
        "vault-unlock" | "vault-rotate" => (VAULT, json!({"passphrase": vaults::PASSPHRASE})),
        "vault-lock" | "vault-remove" | "vault-rehearse" | "vault-abandon" => (VAULT, json!({})),
        "vault-put" => (VAULT, json!({"value": "AAAA"})),
        "vault-share" => {
            (VAULT, json!({"passphrase": vaults::PASSPHRASE, "threshold": 1, "holders": ["Anna"]}))
        }
        "vault-submit" => (VAULT, json!({"words": made.words, "purpose": "recovery"})),
        "vault-recover" => (VAULT, json!({"newPassphrase": vaults::PASSPHRASE})),
        "kill-arm" => ("", json!({"program": "keep"})),
        "kill-disarm" => ("", json!({})),
        "kill-fire" => ("", json!({"code": ""})),
        "vault-offline-add" => {
            (VAULT, json!({"passphrase": vaults::PASSPHRASE, "recipient": vaults::access::RECIPIENT}))
        }
        "vault-passkey-add" => (VAULT, vaults::passkey::adding(1)),
        "vault-offline-remove" | "vault-passkey-remove" => (VAULT, json!({"passphrase": vaults::PASSPHRASE})),
        "vault-authoriser-add" => {
            let (seed, code) = (vaults::access::SEED, vaults::access::code_in(0));
            (VAULT, json!({"passphrase": vaults::PASSPHRASE, "seed": seed, "code": code}))
        }
        "vault-authoriser-remove" => {
            (VAULT, json!({"passphrase": vaults::PASSPHRASE, "code": vaults::access::code_in(1)}))
        }
        "witness-add" => {
            let key = include_str!("../../../../../../tests/vectors/audit/witness/witness-vkey").trim_end();
            ("", json!({"url": "https://witness.example/w1", "verifierKey": key}))
        }
        "witness-remove" => ("loft/witness", json!({})),
        "witness-set-policy" => ("", json!({"threshold": 1})),
        "witnessed-add" => {
            let key = include_str!("../../../../../../tests/vectors/audit/golden/vkey").trim_end();
            ("", json!({"verifierKey": key}))
        }
        "witnessed-remove" => ("cellar/klog", json!({})),
        "backup-create" => ("", json!({"passphrase": "correct horse battery"})),
        other => panic!("{other}: say here how it is planned"),
    }
}

async fn plan(bench: &Bench, route: &Route, object: &str, body: &Value) -> Reply {
    let path = format!("{}?dryRun=true", path(route, object));
    bench.ask(local(), route.method.as_str(), &path, &[], &body.to_string()).await
}

#[tokio::test]
async fn every_change_can_be_planned_and_leaves_the_log_as_it_is() {
    let (bench, made) = bench().await;
    for route in changing() {
        prepare(&bench, route, &made).await;
        let before = bench.events().await;
        let (object, body) = example(route, &made);
        let reply = plan(&bench, route, object, &body).await;
        assert_eq!(reply.status, StatusCode::OK, "{}: {}", route.name, reply.body);
        assert_eq!(reply.body["kind"], "Plan", "{}", route.name);
        let item = &reply.body["item"];
        assert_eq!(item["action"], route.name);
        let told = item["changes"].as_array().unwrap().len() + item["effects"].as_array().unwrap().len();
        assert!(told > 0, "{}: {item}", route.name);
        assert_eq!(bench.events().await, before, "{}", route.name);
    }
}

/// Every route that changes something, but the one that opens a restored authority, which only one that is closed
/// serves (`tests/e2e/tests/backup.rs`), and those that ask for somebody's own word: of an operator with a certificate,
/// or of an agent, by its signature (`tests/e2e/tests/pairing.rs`).
fn changing() -> impl Iterator<Item = &'static Route> {
    let elsewhere = ["restore-open", "pairing-confirm", "agent-statement", "agent-call"];
    ALL.iter().filter(move |route| route.effect == Effect::Changes && !elsewhere.contains(&route.name))
}

#[tokio::test]
async fn every_change_has_its_entry_by_the_time_of_its_answer() {
    // The doors move only while they are open: `crates/kos-authority/src/server/tests.rs`. Who fires gets an answer from a
    // server that ends: `tests/e2e/tests/kill.rs`.
    let elsewhere = ["authority-listen", "kill-fire"];
    for route in changing().filter(|route| !elsewhere.contains(&route.name)) {
        let (bench, made) = bench().await;
        let shared = bench.shared();
        let publisher =
            crate::revocation::Publisher::new(Arc::clone(&shared.board), shared.writer.clone(), &shared.keys);
        let publishing = tokio::spawn(publisher.run());
        let (object, body) = example(route, &made);
        prepare(&bench, route, &made).await;
        let before = bench.entries().await.len();
        let path = path(route, object);
        let reply = bench.ask(local(), route.method.as_str(), &path, &[], &body.to_string()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}: {}", route.name, reply.body);
        let entries = bench.entries().await;
        let by_the_caller = json!({"type": "local-user", "id": "root"});
        let is_new = |entry: &&Value| entry["index"].as_u64() >= u64::try_from(before).ok();
        let own = entries.iter().filter(is_new).filter(|entry| entry["actor"] == by_the_caller);
        let own: Vec<_> = own.map(|entry| entry["index"].as_u64()).collect();
        assert!(!own.is_empty(), "{}: {entries:?}", route.name);
        for index in ["lastAuditIndex", "auditIndex"].map(|field| reply.body["item"][field].as_u64()) {
            assert!(index.is_none() || own.contains(&index), "{}: {index:?} of {own:?}", route.name);
        }
        publishing.abort();
    }
}

#[tokio::test]
async fn a_plan_for_what_is_not_there_is_refused_as_the_change_is() {
    let (bench, made) = bench().await;
    // What makes a vault needs one that is not there.
    let makes = |route: &Route| ["vault-create", "vault-import"].contains(&route.name);
    for route in changing().filter(|route| route.path.contains('{') && !makes(route)) {
        let (_, body) = example(route, &made);
        for nobody in ["kdev-0000000000000009", "01a1f8bf-ac7c-730d-974d-26f553ad23e3", "nobody"] {
            let planned = plan(&bench, route, nobody, &body).await;
            let path = path(route, nobody);
            let done = bench.ask(local(), route.method.as_str(), &path, &[], &body.to_string()).await;
            assert!(planned.status.is_client_error(), "{} {nobody}: {}", route.name, planned.body);
            assert_eq!((planned.status, code(&planned)), (done.status, code(&done)), "{}", route.name);
        }
    }
}

#[tokio::test]
async fn a_plan_for_an_operator_whose_name_or_key_is_taken_is_refused() {
    let (bench, _) = bench().await;
    let keys = [(); 2].map(|()| SigningKey::generate(KeyAlgorithm::P256).unwrap());
    let wanted =
        |name: &str, key: &SigningKey| json!({"name": name, "role": "viewer", "csr": request_of(key)});
    let made = bench.post("/api/v1/operators", wanted("otto", &keys[0])).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    for (body, why) in [
        (wanted("otto", &keys[1]), "there is an operator of this name"),
        (wanted("eve", &keys[0]), "this key belongs to an operator already"),
    ] {
        let planned = plan(&bench, &OPERATOR_CREATE, "", &body).await;
        assert_eq!((planned.status, code(&planned)), (StatusCode::CONFLICT, "KOS-E0892"), "{why}");
        assert_eq!(planned.body["detail"], why);
    }
}

#[tokio::test]
async fn a_key_of_a_devices_own_is_not_replaced_before_the_device_has_shown_it() {
    let (bench, _) = bench().await;
    let rotate = format!("/api/v1/devices/{LEAST}/rotate-key");
    assert_eq!(bench.post(&rotate, json!({})).await.status, StatusCode::OK);
    let again = bench.post(&rotate, json!({})).await;
    assert_eq!((again.status, code(&again)), (StatusCode::CONFLICT, "KOS-E0827"), "{}", again.body);
    let none = bench.post(&format!("/api/v1/devices/{MEMBER}/rotate-key"), json!({})).await;
    assert_eq!(code(&none), "KOS-E0826");
}

#[tokio::test]
async fn nobody_is_raised_to_sec_4_while_nobody_could_judge_it() {
    let bench = Bench::new().await;
    let mut device = strict(5);
    device.evidence = kos_base::EvidenceTier::QuoteVerified;
    bench.add(device).await;
    bench.add(strict(6)).await;
    let raise = async || {
        bench.post(&format!("/api/v1/devices/{STRICT}/set-profile"), json!({"profile": "SEC-4"})).await
    };
    let refused = raise().await;
    assert_eq!(refused.body["code"], "KOS-E0880", "{}", refused.body);
    let judge =
        async |id: &str| bench.post("/api/v1/attestation/verifiers", json!({"deviceId": id})).await.status;
    assert_eq!(judge(STRICT).await, StatusCode::OK);
    assert_eq!(raise().await.body["code"], "KOS-E0880", "not by itself");
    assert_eq!(judge(JUDGE).await, StatusCode::OK);
    let raised = raise().await;
    assert_eq!(raised.status, StatusCode::OK, "{}", raised.body);
}
