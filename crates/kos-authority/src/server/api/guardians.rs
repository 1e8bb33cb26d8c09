//! Guardians over the API: named, listed, tried, removed.
//!
//! Source: `docs/spec/alerts.md` ALR-28 to ALR-34.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use data_encoding::BASE64;
use kos_api::{
    alert::{AddGuardian, AlertStatus, Guardian as Item, GuardianTest, GuardianWay},
    plan::Plan,
    problem::Party,
};
use kos_audit::alert::AlertId;
use kos_backup::Recipient;
use kos_base::{code, text::printable};
use kos_identity::registry::Device;
use kos_net::entropy;

use super::{
    answer::{Refusal, document, page},
    call::{Body, Call, Context, Mode},
    change::{Attempt, commit},
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    alert::{Guardian, GuardianName, Notice, SyslogForm, Way, sink},
    authority::Shared,
    clock,
    record::SystemChange,
    store::StoreError,
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

/// Most guardians: each has a worker, and each alert a row for each.
const GUARDIANS_MAX: usize = 32;
/// How long a guardian may take to take a test.
const TEST_TIME_MAX: Duration = Duration::from_secs(30);

pub(super) async fn list(State(shared): Shares, context: Context) -> Result<Response, Refusal> {
    let mut items = Vec::new();
    for guardian in shared.store.guardians().await? {
        let mut item = view(&shared, &guardian).await?;
        if !context.who.sees_names() {
            item.address = guardian.way.place();
            // What went wrong there may repeat the address.
            item.trouble = item.trouble.map(|_| "it could not be told".to_owned());
        }
        items.push(item);
    }
    Ok(page(items, None))
}

/// Every guardian and how it is told.
pub(super) async fn all(shared: &Shared) -> Result<Vec<Item>, StoreError> {
    let mut items = Vec::new();
    for guardian in shared.store.guardians().await?.into_iter().filter(|guardian| guardian.leaving.is_none())
    {
        items.push(view(shared, &guardian).await?);
    }
    Ok(items)
}

/// How alerts stand.
pub(super) async fn status(shared: &Shared) -> Result<AlertStatus, StoreError> {
    let guardians = shared.store.guardians().await?;
    let mut undelivered: u64 = 0;
    for guardian in &guardians {
        undelivered = undelivered.saturating_add(shared.store.count_waiting(&guardian.name).await?);
    }
    Ok(AlertStatus {
        guardians: u64::try_from(guardians.iter().filter(|guardian| guardian.leaving.is_none()).count())
            .unwrap_or(u64::MAX),
        open: shared.store.count_open_alerts().await?,
        undelivered,
    })
}

pub(super) async fn view(shared: &Shared, guardian: &Guardian) -> Result<Item, StoreError> {
    let last = shared.store.last_delivered(&guardian.name).await?;
    let mut courses = shared.store.set_aside(&guardian.name, 1).await?;
    courses.extend(shared.store.waiting(&guardian.name, 1).await?);
    let failing = courses.into_iter().map(|delivery| delivery.course).find(|course| course.trouble.is_some());
    Ok(Item {
        name: guardian.name.to_string(),
        kind: guardian.way.kind(),
        address: guardian.way.address(),
        added_at: guardian.added_at,
        waiting: shared.store.count_waiting(&guardian.name).await?,
        last_delivered_at: last.and_then(|delivery| delivery.course.delivered_at),
        failing_since: failing.as_ref().and_then(|course| course.since),
        trouble: failing.and_then(|course| course.trouble),
        secret: None,
        bundle_key: guardian.bundle_key.clone(),
    })
}

pub(super) async fn add(
    State(shared): Shares,
    call: Call<Demanded<AddGuardian>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    let invalid = |why: &str| {
        let refusal = Refusal::new(code::audit::GUARDIAN_INVALID);
        refusal.saying(&printable(why, 300)).under(call.id)
    };
    let name: GuardianName = wanted.name.parse().map_err(|error| invalid(&format!("{error}")))?;
    if wanted.bundle_key.as_ref().is_some_and(|key| key.parse::<Recipient>().is_err()) {
        return Err(Refusal::new(code::quarantine::BUNDLE_KEY).under(call.id));
    }
    let way = way(&shared, wanted).await.map_err(|refusal| refusal.under(call.id))?;
    let now = clock::now();
    let mut held = Vec::new();
    for guardian in shared.store.guardians().await? {
        if !shared.store.is_gone(&guardian, now).await? {
            held.push(guardian);
        }
    }
    let taken = || Refusal::new(code::audit::GUARDIAN_EXISTS).about("guardian", &name).under(call.id);
    if let Some(same) = held.iter().find(|guardian| guardian.name == name) {
        let refusal = taken();
        return Err(match same.leaving {
            None => refusal,
            Some(_) => {
                refusal.saying("it was removed, and is told so for up to 12 hours; then its name is free")
            }
        });
    }
    let staying = held.iter().filter(|guardian| guardian.leaving.is_none()).count();
    if staying >= GUARDIANS_MAX || held.len() >= 2 * GUARDIANS_MAX {
        let why = format!("there are {GUARDIANS_MAX} guardians already");
        return Err(Refusal::new(code::audit::LIST_FULL).saying(&why).under(call.id));
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, &name, "log: guardian_added")));
    }
    let guardian = Guardian {
        name: name.clone(),
        added_at: now,
        way,
        leaving: None,
        bundle_key: wanted.bundle_key.clone(),
    };
    let mut shown = view(&shared, &guardian).await?;
    shown.secret = secret(&shared, &guardian)?;
    let change = SystemChange::GuardianAdded(Box::new(guardian.clone()));
    let transaction = Transaction {
        at: now,
        actor: call.who.actor(),
        changes: vec![change.into()],
        writes: Vec::new(),
        system: vec![SystemWrite::Guardian(Box::new(guardian))],
        answer: None,
    };
    match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
        Attempt::Done(_, response) => {
            shared.alerts.tell();
            Ok(response)
        }
        Attempt::Conflict => Err(taken()),
    }
}

/// What is kept of how a guardian is told.
async fn way(shared: &Shared, wanted: &AddGuardian) -> Result<Way, Refusal> {
    let invalid = |why: &dyn std::fmt::Display| {
        Refusal::new(code::audit::GUARDIAN_INVALID).saying(&printable(&why.to_string(), 300))
    };
    let syslog = async |address: &String, ca: &Option<String>, form| {
        let place = sink::syslog_address(address).map_err(|error| invalid(&error))?;
        if let Some(place) = place {
            place.check().await.map_err(|error| invalid(&error))?;
        }
        ca.as_deref().map_or(Ok(()), sink::check_ca).map_err(|error| invalid(&error))?;
        Ok(Way::Syslog { address: address.clone(), ca: ca.clone(), form })
    };
    match &wanted.way {
        GuardianWay::Person { operator } => {
            let known = shared.store.active_operator(operator.as_ref()).await?;
            let known = known.ok_or_else(|| invalid(&"there is no operator of this name"))?;
            Ok(Way::Person { operator: known.name })
        }
        GuardianWay::Webhook { url, ca } => {
            let place = sink::webhook_address(url).map_err(|error| invalid(&error))?;
            place.check().await.map_err(|error| invalid(&error))?;
            ca.as_deref().map_or(Ok(()), sink::check_ca).map_err(|error| invalid(&error))?;
            let salt = entropy::array().map_err(|e| Refusal::new(e.code()))?;
            Ok(Way::Webhook { url: url.clone(), ca: ca.clone(), salt })
        }
        GuardianWay::Syslog { address, ca } => syslog(address, ca, SyslogForm::Structured).await,
        GuardianWay::Cef { address, ca } => syslog(address, ca, SyslogForm::Cef).await,
        GuardianWay::Mail { relay, ca, from, to } => {
            let place = sink::mail_address(relay, from, to).map_err(|error| invalid(&error))?;
            place.check().await.map_err(|error| invalid(&error))?;
            ca.as_deref().map_or(Ok(()), sink::check_ca).map_err(|error| invalid(&error))?;
            Ok(Way::Mail { relay: relay.clone(), ca: ca.clone(), from: from.clone(), to: to.clone() })
        }
        GuardianWay::Device { device } => {
            let known = shared.store.device(device).await?.filter(Device::is_admitted);
            let known = known.ok_or_else(|| invalid(&"there is no such device in service"))?;
            Ok(Way::Device { device: known.id })
        }
    }
}

/// The secret by which a receiver knows us, in the form that Standard Webhooks gives it.
fn secret(shared: &Shared, guardian: &Guardian) -> Result<Option<String>, Refusal> {
    let Way::Webhook { salt, .. } = &guardian.way else { return Ok(None) };
    let secret = sink::webhook_secret(&shared.keys.store, &guardian.name, *salt);
    let secret = secret.map_err(|_| Refusal::new(code::config::INTERNAL))?;
    Ok(Some(format!("whsec_{}", BASE64.encode(secret.expose()))))
}

pub(super) async fn remove(
    State(shared): Shares,
    Path(name): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let guardian = find(&shared, &name).await.map_err(|refusal| refusal.under(call.id))?;
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, &guardian.name, "log: guardian_removed")));
    }
    let shown = view(&shared, &guardian).await?;
    let transaction = Transaction {
        at: clock::now(),
        actor: call.who.actor(),
        changes: vec![SystemChange::GuardianRemoved(Box::new(guardian.clone())).into()],
        writes: Vec::new(),
        system: vec![SystemWrite::NoGuardian(guardian.name)],
        answer: None,
    };
    match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
        Attempt::Done(_, response) => {
            shared.alerts.tell();
            Ok(response)
        }
        Attempt::Conflict => Err(unknown(&name).under(call.id)),
    }
}

pub(super) async fn test(
    State(shared): Shares,
    Path(name): Path<String>,
    call: Body<Nothing>,
) -> Result<Response, Refusal> {
    let guardian = find(&shared, &name).await.map_err(|refusal| refusal.under(call.id))?;
    let random: [u8; 8] = entropy::array().map_err(|e| Refusal::new(e.code()))?;
    let test = "test".parse().map_err(|_| Refusal::new(code::config::INTERNAL))?;
    let id = AlertId::of(&test, u64::from_be_bytes(random), 0);
    let notice = Notice::test(&shared.name, id.clone(), clock::now());
    let sent = tokio::time::timeout(TEST_TIME_MAX, sink::send(&shared, &guardian, &notice)).await;
    let trouble = match sent {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(printable(&error.to_string(), 200)),
        Err(_) => Some("no answer in time".to_owned()),
    };
    Ok(document(GuardianTest {
        guardian: guardian.name.to_string(),
        ok: trouble.is_none(),
        trouble,
        alert_id: id.to_string(),
    }))
}

fn unknown(name: &str) -> Refusal {
    let refusal = Refusal::new(code::config::NOT_FOUND).about("guardian", &printable(name, 48));
    refusal.fixed_by("kosctl guardian list")
}

async fn find(shared: &Shared, name: &str) -> Result<Guardian, Refusal> {
    let parsed: GuardianName = name.parse().map_err(|_| unknown(name))?;
    let found = shared.store.guardian(&parsed).await?;
    found.filter(|guardian| guardian.leaving.is_none()).ok_or_else(|| unknown(name))
}

fn plan<T>(call: &Call<T>, name: &GuardianName, effect: &str) -> Plan {
    Plan {
        action: call.route.name.to_owned(),
        object: Some(Party::new("guardian", name)),
        changes: Vec::new(),
        effects: vec![effect.to_owned()],
    }
}
