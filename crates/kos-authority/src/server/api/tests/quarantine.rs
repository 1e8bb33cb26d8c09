//! Quarantine over the API: one transaction, as many people as the profile needs, and nothing else that leads out.

use kos_base::{DeviceState, EntryId, Timestamp};
use kos_identity::registry::Ticket;

use super::*;
use crate::{clock, record::SystemChange, store::StoreError, writer::SystemWrite};

const PATH: &str = "/api/v1/devices/kdev-0000000000000001";

async fn add_ticket(bench: &Bench, ticket: Ticket, let_in: &Device) {
    let enrolled = Change::DeviceEnrolled {
        device: let_in.id.clone(),
        identity_key: let_in.identity_key.id(),
        role: let_in.role,
        profile: let_in.profile(),
        ticket: Some(ticket.id),
        by: None,
        spent: Vec::new(),
    };
    let transaction = Transaction {
        at: NOW,
        actor: Actor::Authority,
        changes: vec![enrolled.into()],
        writes: vec![Write::Ticket(Box::new(ticket))],
        system: Vec::new(),
        answer: None,
    };
    bench.shared().writer.commit(transaction).await.unwrap();
}

async fn reinstate(bench: &Bench, who: &Origin) -> Reply {
    bench.ask(who.clone(), "POST", &format!("{PATH}/reinstate"), &[], "{}").await
}

#[tokio::test]
async fn an_order_revokes_takes_tickets_back_and_names_what_a_person_has_to_change() {
    let bench = Bench::new().await;
    bench.add(member(1)).await;
    let mut known = fixtures::ticket(7);
    (known.uses, known.uses_max) = (1, 5);
    known.expires_at = clock::now().plus(Duration::from_secs(600));
    add_ticket(&bench, known.clone(), &member(1)).await;
    let mut others = fixtures::ticket(8);
    others.expires_at = known.expires_at;
    add_ticket(&bench, others.clone(), &member(2)).await;
    let guardian = json!({"name": "own", "way": {"device": {"device": "kdev-0000000000000001"}}});
    assert_eq!(bench.post("/api/v1/guardians", guardian).await.status, StatusCode::OK);

    let ordered = bench.post(&format!("{PATH}/quarantine"), json!({"reason": "strange"})).await;
    assert_eq!(ordered.body["item"]["state"], "quarantined", "{}", ordered.body);
    let case = &ordered.body["item"]["quarantine"];
    assert!(case["orderId"].is_string() && case["confirmedAt"].is_null(), "{case}");
    assert_eq!((&case["approvals"], &case["approvalsNeeded"]), (&json!(0), &json!(1)));
    let serial = Serial::from_random([1; 16]);
    assert!(bench.shared().board.record(key(200).id(), serial).is_some());
    let shown = bench.shared().store.ticket(known.id).await.unwrap().unwrap();
    assert!(shown.revoked, "the device knows the secret of this ticket");
    assert!(!bench.shared().store.ticket(others.id).await.unwrap().unwrap().revoked);

    let entries = bench.entries().await;
    let about: Vec<_> =
        entries.iter().rev().take(5).map(|entry| entry["eventType"].as_str().unwrap()).collect();
    assert_eq!(
        about.into_iter().rev().collect::<Vec<_>>(),
        [
            "device_quarantined",
            "quarantine_ordered",
            "certificate_revoked",
            "ticket_revoked",
            "secrets_rotated"
        ]
    );
    let named = &entries.last().unwrap()["details"]["exposed"];
    let remedy = |kind: &str| {
        let found = named.as_array().unwrap().iter().find(|exposed| exposed["kind"] == kind);
        found.map(|exposed| exposed["remedy"].as_str().unwrap().to_owned())
    };
    for (kind, expected) in
        [("operational-key", "rotated"), ("kid", "expires"), ("ticket", "rotated"), ("guardian", "person")]
    {
        assert_eq!(remedy(kind).as_deref(), Some(expected), "{named}");
    }

    // Again is nothing new, and there is no bundle yet.
    let before = bench.entries().await.len();
    let again = bench.post(&format!("{PATH}/quarantine"), json!({})).await;
    assert_eq!(again.body["item"]["quarantine"]["orderId"], case["orderId"]);
    assert_eq!(bench.entries().await.len(), before);
    let none = bench.get(&format!("{PATH}/forensics")).await;
    assert_eq!((none.status, code(&none)), (StatusCode::NOT_FOUND, "KOS-E0765"));
    assert_eq!(bench.get(&format!("{PATH}/bundles")).await.body["items"], json!([]));
}

#[tokio::test]
async fn bundles_of_earlier_quarantines_are_listed_and_fetched() {
    let bench = Bench::new().await;
    bench.add(member(1)).await;
    // The device is back: it has no case, and two files.
    let orders = [1_000, 2_000].map(|at| EntryId::from_parts(Timestamp::from_unix_ms(at), [3; 10]));
    for (order, bytes) in orders.into_iter().zip([&b"first"[..], b"second"]) {
        let sealed =
            kos_identity::enrolment::authority::Sealed { device: device_id(1), order, bytes: bytes.to_vec() };
        bench.shared().bundles.keep(&sealed).unwrap();
    }
    let listed = bench.get(&format!("{PATH}/bundles")).await;
    let items = listed.body["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[1]["bytes"], &items[1]["current"]), (2, &json!(6), &json!(false)));
    assert_eq!(items[0]["orderId"], orders[0].to_string());
    let found = async |path: &str| bench.get(&format!("{PATH}/{path}")).await.status;
    assert_eq!(found("forensics").await, StatusCode::OK);
    assert_eq!(found(&format!("bundles/{}", orders[0])).await, StatusCode::OK);
    for none in [fixtures::id(77).to_string(), "..%2f..%2fx".to_owned()] {
        assert_eq!(found(&format!("bundles/{none}")).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_device_of_sec_4_comes_back_by_two_operators_and_not_by_one_twice() {
    let bench = Bench::new().await;
    let mut device = member(1);
    device.assign_profile(SecurityProfile::Sec4).unwrap();
    bench.add(device).await;
    let (anna, otto) = (
        bench.operator("anna", OperatorRole::Operator).await,
        bench.operator("otto", OperatorRole::Admin).await,
    );
    bench.post(&format!("{PATH}/quarantine"), json!({})).await;
    let by_root = reinstate(&bench, &local()).await;
    assert_eq!((by_root.status, code(&by_root)), (StatusCode::FORBIDDEN, "KOS-E0764"), "{}", by_root.body);
    let first = reinstate(&bench, &anna).await;
    assert_eq!(first.body["item"]["state"], "quarantined", "{}", first.body);
    assert_eq!(first.body["item"]["quarantine"]["approvals"], 1);
    let twice = reinstate(&bench, &anna).await;
    assert_eq!((twice.status, code(&twice)), (StatusCode::CONFLICT, "KOS-E0763"), "{}", twice.body);
    for (action, body) in [("approve", json!({})), ("approve", json!({"profile": "SEC-4"}))] {
        let refused = bench.post(&format!("{PATH}/{action}"), body).await;
        assert_eq!(code(&refused), "KOS-E0213", "{}", refused.body);
    }
    let second = reinstate(&bench, &otto).await;
    assert_eq!(second.body["item"]["state"], "pending", "{}", second.body);
    let events = bench.events().await;
    let count = |event: &str| events.iter().filter(|found| *found == event).count();
    assert_eq!((count("reinstatement_approved"), count("device_reinstated")), (2, 1));
    // What is on its way back is not let in by the lobby either.
    let refused = bench.post(&format!("{PATH}/approve"), json!({})).await;
    assert_eq!(code(&refused), "KOS-E0213", "{}", refused.body);
}

#[tokio::test]
async fn who_was_removed_since_is_not_counted_and_leaves_no_mark_once_erased() {
    let bench = Bench::new().await;
    let mut device = member(1);
    device.assign_profile(SecurityProfile::Sec4).unwrap();
    bench.add(device).await;
    let anna = bench.operator("anna", OperatorRole::Operator).await;
    let otto = bench.operator("otto", OperatorRole::Operator).await;
    bench.post(&format!("{PATH}/quarantine"), json!({})).await;
    assert_eq!(reinstate(&bench, &anna).await.body["item"]["quarantine"]["approvals"], 1);
    let is_hers = async || {
        let record = bench.shared().store.device(&device_id(1)).await.unwrap().unwrap();
        record.case.unwrap().is_approved_by(&Actor::Operator("anna".parse().unwrap()))
    };
    let cases = |reply: &Reply| {
        let stores = reply.body["item"]["stores"].as_array().unwrap().clone();
        assert!(stores.iter().any(|store| store["store"] == "forensics"), "{}", reply.body);
        stores.into_iter().find(|store| store["store"] == "cases").unwrap()
    };
    let erase = json!({"person": "anna", "reason": "asked for it"});
    let exported = bench.post("/api/v1/people/export", json!({"person": "anna"})).await;
    assert_eq!(cases(&exported)["found"], 1, "{}", exported.body);
    let kept = bench.post("/api/v1/audit/erase", erase.clone()).await;
    assert!(cases(&kept)["left"].is_string() && is_hers().await, "{}", kept.body);

    bench.ask(local(), "DELETE", "/api/v1/operators/anna", &[], "{}").await;
    let erased = bench.post("/api/v1/audit/erase", erase).await;
    assert_eq!((&cases(&erased)["found"], &cases(&erased)["left"]), (&json!(1), &Value::Null));
    assert!(!is_hers().await);
    let second = reinstate(&bench, &otto).await;
    assert_eq!(second.body["item"]["state"], "quarantined", "{}", second.body);
    assert_eq!(second.body["item"]["quarantine"]["approvals"], 1);
    // Somebody else of that name is another person.
    let again = bench.operator("anna", OperatorRole::Operator).await;
    let third = reinstate(&bench, &again).await;
    assert_eq!(third.body["item"]["state"], "pending", "{}", third.body);
}

#[tokio::test]
async fn a_transaction_that_rests_on_an_operator_is_none_once_they_were_removed() {
    let bench = Bench::new().await;
    bench.operator("anna", OperatorRole::Operator).await;
    let id = bench.shared().store.active_operator("anna").await.unwrap().unwrap().id;
    let change = SystemChange::DeviceRestored { device: device_id(1) };
    let resting = || Transaction::own(NOW, vec![change.clone().into()], vec![SystemWrite::Stands(id)]);
    bench.shared().writer.commit(resting()).await.unwrap();
    bench.ask(local(), "DELETE", "/api/v1/operators/anna", &[], "{}").await;
    let refused = bench.shared().writer.commit(resting()).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}

#[tokio::test]
async fn after_a_restore_the_order_can_be_given_again_and_the_device_stays_out() {
    let bench = Bench::new().await;
    bench.add(member(1)).await;
    let missed = kos_identity::registry::Missed {
        became: Some((DeviceState::Quarantined, "strange".to_owned())),
        ..Default::default()
    };
    let restored = member(1).catch_up(NOW, &missed, [5; 32]);
    let mut transaction = Transaction::of(NOW, restored);
    transaction.changes.push(SystemChange::DeviceRestored { device: device_id(1) }.into());
    bench.shared().writer.commit(transaction).await.unwrap();
    let shown = bench.get(PATH).await;
    assert_eq!(shown.body["item"]["state"], "quarantined");
    assert!(shown.body["item"]["quarantine"]["orderId"].is_null(), "{}", shown.body);
    let ordered = bench.post(&format!("{PATH}/quarantine"), json!({})).await;
    assert!(ordered.body["item"]["quarantine"]["orderId"].is_string(), "{}", ordered.body);
    assert_eq!(ordered.body["item"]["state"], "quarantined");
}

#[tokio::test]
async fn a_guardian_is_named_with_a_key_of_age_or_none() {
    let bench = Bench::new().await;
    let way = json!({"syslog": {"address": "udp://127.0.0.1:9"}});
    let add = async |name: &str, key: &str| {
        bench.post("/api/v1/guardians", json!({"name": name, "way": way, "bundleKey": key})).await
    };
    for bad in ["", "age1", "AGE-SECRET-KEY-1QQQQ", "ssh-ed25519 AAAA"] {
        assert_eq!(code(&add("bad", bad).await), "KOS-E0766", "{bad}");
    }
    let good = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";
    assert_eq!(add("good", good).await.body["item"]["bundleKey"], good);
}
