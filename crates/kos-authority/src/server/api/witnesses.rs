//! Witnesses of the log, their policy, and the logs of others that are cosigned here, over the API.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    plan::{Change as Difference, Plan},
    problem::Party,
    witness::{
        AddWitness, AddWitnessedLog, SetWitnessPolicy, Witness, WitnessPolicy, WitnessStanding,
        WitnessState as Shown, WitnessedLog,
    },
};
use kos_audit::{
    AnyLogKey, WitnessKey,
    witness::{WITNESS_NAME_BYTES_MAX, WITNESSES_MAX},
};
use kos_base::{Timestamp, code};

use super::{
    answer::{Refusal, document, page},
    call::{Call, Mode},
    change::{Attempt, commit, given_before},
    devices::short,
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    authority::{Shared, sealed},
    clock,
    keys::Kept,
    record::SystemChange,
    store::{Setting, StoredWitness, WitnessState, WitnessWay, WitnessedLog as Record},
    witness::{Standing, WitnessUrl, ask_device},
    writer::{SystemWrite, Transaction},
};

/// Most logs that are cosigned here. Stops one authority from being made the witness of the world unawares.
const LOGS_MAX: usize = 256;

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let witnesses = shared.store.witnesses().await?;
    Ok(page(witnesses.iter().map(|witness| shown(&shared, witness)).collect(), None))
}

pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<AddWitness>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let (key, way) = wanted(&shared, call.body.get()?).await.map_err(|refusal| refusal.under(call.id))?;
    if !key.may_cosign() {
        let why = format!("the name of a witness is ASCII and has at most {WITNESS_NAME_BYTES_MAX} bytes");
        return Err(Refusal::new(code::audit::WITNESS_KEY).saying(&why).under(call.id));
    }
    let name = key.name().to_owned();
    let taken = || Refusal::new(code::audit::WITNESS_EXISTS).about("witness", &name).under(call.id);
    let held = shared.store.witnesses().await?;
    if held.iter().any(|one| one.key.name() == name) {
        return Err(taken());
    }
    if let Some(same) = held.iter().find(|one| one.key.public() == key.public()) {
        return Err(taken().saying(&format!("{} has this key, and a key counts once", same.key.name())));
    }
    if held.len() >= WITNESSES_MAX {
        let why = format!("{WITNESSES_MAX} witnesses");
        return Err(Refusal::new(code::audit::LIST_FULL).saying(&why).under(call.id));
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Some(Party::new("witness", &name)), &["log: witness_added"])));
    }
    let now = clock::now();
    let (url, device) = match &way {
        WitnessWay::Url(url) => (Some(url.clone()), None),
        WitnessWay::Device(device) => (None, Some(device.clone())),
    };
    let change =
        SystemChange::WitnessAdded { witness: name.clone(), verifier_key: key.to_string(), url, device };
    let record = StoredWitness {
        key,
        way,
        added_at: now,
        state: WitnessState::Waiting,
        size: 0,
        cosigned_at: Timestamp::default(),
    };
    let item = shown(&shared, &record);
    let write = SystemWrite::AddWitness(Box::new(record));
    let transaction = own(&call, now, change, vec![write]);
    match commit(&shared, &call, transaction, move |_| item.clone()).await? {
        Attempt::Done(_, response) => {
            shared.witnessing.changed.notify_one();
            Ok(response)
        }
        Attempt::Conflict => Err(taken()),
    }
}

/// Who is meant, and how it is asked.
async fn wanted(shared: &Shared, asked: &AddWitness) -> Result<(WitnessKey, WitnessWay), Refusal> {
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why);
    match asked {
        AddWitness { url: Some(url), verifier_key: Some(key), device_id: None } => {
            let key: WitnessKey = key.parse().map_err(|e: kos_audit::VerifierKeyError| {
                Refusal::new(code::audit::WITNESS_KEY).saying(&e.to_string())
            })?;
            let url: WitnessUrl = url.parse().map_err(|e: crate::witness::ParseUrlError| {
                Refusal::new(code::audit::WITNESS_URL).saying(&e.to_string())
            })?;
            Ok((key, WitnessWay::Url(url.to_string())))
        }
        AddWitness { url: None, verifier_key: None, device_id: Some(device) } => {
            let answer = ask_device(shared, device, Vec::new()).await;
            let answer = answer.map_err(|e| {
                Refusal::new(e.code()).saying(&format!("device {device}: {e}")).about("device", device)
            })?;
            let key = answer.key.parse::<WitnessKey>().ok();
            let own = format!("{}/{device}", shared.name);
            let key = key.filter(|key| key.name() == own).ok_or_else(|| {
                Refusal::new(code::audit::WITNESS_UNREACHABLE).saying("it has no key of its own name")
            })?;
            Ok((key, WitnessWay::Device(device.clone())))
        }
        _ => Err(bad("a witness is an address with a verifier key, or a device")),
    }
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let unknown =
        || Refusal::new(code::audit::WITNESS_UNKNOWN).about("witness", &short(&name)).under(call.id);
    let held = shared.store.witnesses().await?;
    let held = held.into_iter().find(|one| one.key.name() == name).ok_or_else(unknown)?;
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Some(Party::new("witness", &name)), &["log: witness_removed"])));
    }
    let change = SystemChange::WitnessRemoved { witness: name.clone(), verifier_key: held.key.to_string() };
    let item = shown(&shared, &held);
    let transaction = own(&call, clock::now(), change, vec![SystemWrite::NoWitness(name.clone())]);
    match commit(&shared, &call, transaction, move |_| item.clone()).await? {
        Attempt::Done(_, response) => {
            shared.witnessing.trouble(&name, None);
            shared.witnessing.changed.notify_one();
            Ok(response)
        }
        Attempt::Conflict => Err(unknown()),
    }
}

pub(super) async fn policy(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let standing = Standing::of(&shared.store, &shared.log).await?;
    Ok(document(WitnessPolicy { threshold: standing.threshold, witnesses: count(standing.witnesses.len()) }))
}

pub(super) async fn set_policy(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<SetWitnessPolicy>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let threshold = call.body.get()?.threshold;
    let standing = Standing::of(&shared.store, &shared.log).await?;
    let witnesses = count(standing.witnesses.len());
    if threshold == 0 || threshold > witnesses {
        let why = format!("{threshold} of {witnesses} witnesses");
        return Err(Refusal::new(code::audit::WITNESS_POLICY).saying(&why).under(call.id));
    }
    if call.mode == Mode::Plan {
        let difference = Difference {
            field: "threshold".to_owned(),
            from: Some(standing.threshold.to_string()),
            to: Some(threshold.to_string()),
        };
        let plan = plan(&call, None, &["log: witness_policy_changed"]);
        return Ok(document(Plan { changes: vec![difference], ..plan }));
    }
    let change = SystemChange::WitnessPolicyChanged { threshold, before: Some(standing.threshold) };
    let write = SystemWrite::Setting(Setting::WitnessThreshold, Some(threshold.to_string()));
    let transaction = own(&call, clock::now(), change, vec![write]);
    match commit(&shared, &call, transaction, move |_| WitnessPolicy { threshold, witnesses }).await? {
        Attempt::Done(_, response) => {
            shared.witnessing.changed.notify_one();
            Ok(response)
        }
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id)),
    }
}

pub(super) async fn logs(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let records = shared.store.witnessed_logs().await?;
    Ok(page(records.iter().map(|record| log(&shared, record)).collect(), None))
}

pub(super) async fn add_log(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<AddWitnessedLog>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let asked: Result<AnyLogKey, _> = call.body.get()?.verifier_key.parse();
    let key = asked.map_err(|e: kos_audit::VerifierKeyError| {
        Refusal::new(e.code()).saying(&format!("the key of the log: {e}")).under(call.id)
    })?;
    let refusal = |code| Refusal::new(code).about("log", &key.origin()).under(call.id);
    let held = shared.store.witnessed_logs().await?;
    if held.iter().any(|log| log.key.origin() == key.origin()) {
        return Err(refusal(code::audit::WITNESSED_EXISTS));
    }
    if key.public() == shared.log.key().public() {
        return Err(refusal(code::audit::WITNESS_OF_ITSELF));
    }
    if held.len() >= LOGS_MAX {
        return Err(refusal(code::audit::LIST_FULL).saying(&format!("{LOGS_MAX} logs")));
    }
    if call.mode == Mode::Plan {
        let effects = ["log: log_witnessed_for", "serves /witness/add-checkpoint for this log"];
        return Ok(document(plan(&call, Some(Party::new("log", &key.origin())), &effects)));
    }
    let now = clock::now();
    let (shares, origin) = (Arc::clone(&shared), key.origin().to_owned());
    let opening = move || shares.cosigner.open_for(&origin, &held, &shares.keep, now);
    let opened = tokio::task::spawn_blocking(opening).await;
    let refuse = |e: crate::witness::CosignerError| {
        tracing::error!(error = %e, "the witness cannot be opened");
        Refusal::new(e.code()).under(call.id)
    };
    let head = opened.map_err(|_| Refusal::new(code::config::INTERNAL).under(call.id))?.map_err(refuse)?;
    let record = Record { key: key.clone(), added_at: now };
    let change = SystemChange::LogWitnessedFor {
        origin: key.origin().to_owned(),
        verifier_key: key.to_string(),
        added: true,
    };
    let mut writes = vec![SystemWrite::AddWitnessedLog(Box::new(record.clone()))];
    // The vault of the keys has one more.
    let kept = head.map(|head| Kept { head, ..shared.kept.clone() });
    writes.extend(kept.as_ref().map(sealed::setting));
    let transaction = own(&call, now, change, writes);
    let shares = Arc::clone(&shared);
    match commit(&shared, &call, transaction, move |_| log(&shares, &record)).await? {
        Attempt::Done(_, response) => {
            let watching = tokio::task::spawn_blocking(move || shared.cosigner.watch(&key)).await;
            watching.map_err(|_| Refusal::new(code::config::INTERNAL).under(call.id))?.map_err(refuse)?;
            Ok(response)
        }
        Attempt::Conflict => Err(refusal(code::audit::WITNESSED_EXISTS)),
    }
}

pub(super) async fn remove_log(
    State(shared): State<Arc<Shared>>,
    Path(origin): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let unknown =
        || Refusal::new(code::audit::WITNESS_LOG_UNKNOWN).about("log", &short(&origin)).under(call.id);
    let held = shared.store.witnessed_logs().await?;
    let held = held.into_iter().find(|log| log.key.origin() == origin).ok_or_else(unknown)?;
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Some(Party::new("log", &origin)), &["log: log_witnessed_for"])));
    }
    let item = log(&shared, &held);
    let change = SystemChange::LogWitnessedFor {
        origin: origin.clone(),
        verifier_key: held.key.to_string(),
        added: false,
    };
    let transaction = own(&call, clock::now(), change, vec![SystemWrite::NoWitnessedLog(origin.clone())]);
    match commit(&shared, &call, transaction, move |_| item.clone()).await? {
        Attempt::Done(_, response) => {
            let leaving = tokio::task::spawn_blocking(move || shared.cosigner.unwatch(&origin)).await;
            leaving.map_err(|_| Refusal::new(code::config::INTERNAL).under(call.id))?;
            Ok(response)
        }
        Attempt::Conflict => Err(unknown()),
    }
}

/// How the log stands with its witnesses, for people and programs.
pub(super) fn standing(of: &Standing, size: u64, now: Timestamp) -> WitnessStanding {
    let (threshold, witnesses) = (of.threshold, of.witnesses.len());
    let (lost, disagreeing) = (of.standing(WitnessState::Lost), of.standing(WitnessState::Disagrees));
    let summary = match (witnesses, of.witnessed) {
        (0, _) => "no witness: local integrity only".to_owned(),
        (_, None) => format!("{threshold} of {witnesses} witnesses asked for, no checkpoint has so many"),
        (_, Some((covered, at))) => {
            let age = now.since(at).as_secs();
            format!("{threshold} of {witnesses} witnesses, {covered} of {size} entries, {age} s ago")
        }
    };
    let summary = if disagreeing.is_empty() {
        summary
    } else {
        format!("ANOTHER TREE of this log is held by {}; {summary}", disagreeing.join(", "))
    };
    WitnessStanding {
        witnesses: count(witnesses),
        threshold,
        witnessed_size: of.witnessed.map(|(size, _)| size),
        witnessed_at: of.witnessed.map(|(_, at)| at),
        lost,
        disagreeing,
        summary,
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

fn own<T>(call: &Call<T>, at: Timestamp, change: SystemChange, system: Vec<SystemWrite>) -> Transaction {
    let (actor, changes) = (call.who.actor(), vec![change.into()]);
    Transaction { at, actor, changes, writes: Vec::new(), system, answer: None }
}

fn plan<T>(call: &Call<T>, object: Option<Party>, effects: &[&str]) -> Plan {
    let effects = effects.iter().map(|effect| (*effect).to_owned()).collect();
    Plan { action: call.route.name.to_owned(), object, changes: Vec::new(), effects }
}

fn shown(shared: &Shared, witness: &StoredWitness) -> Witness {
    let has_cosigned = witness.cosigned_at > Timestamp::default();
    let (url, device_id) = match &witness.way {
        WitnessWay::Url(url) => (Some(url.clone()), None),
        WitnessWay::Device(device) => (None, Some(device.clone())),
    };
    Witness {
        name: witness.key.name().to_owned(),
        verifier_key: witness.key.to_string(),
        url,
        device_id,
        state: match witness.state {
            WitnessState::Waiting => Shown::Waiting,
            WitnessState::Cosigning => Shown::Cosigning,
            WitnessState::Lost => Shown::Lost,
            WitnessState::Disagrees => Shown::Disagrees,
        },
        size: has_cosigned.then_some(witness.size),
        cosigned_at: has_cosigned.then_some(witness.cosigned_at),
        trouble: shared.witnessing.trouble_of(witness.key.name()),
        added_at: witness.added_at,
    }
}

fn log(shared: &Shared, record: &Record) -> WitnessedLog {
    let held = shared.cosigner.held(record.key.origin());
    WitnessedLog {
        origin: record.key.origin().to_owned(),
        verifier_key: record.key.to_string(),
        witness_key: shared.cosigner.key().map(|key| key.to_string()),
        size: held.map(|(size, _)| size),
        cosigned_at: held.map(|(_, at)| at),
        added_at: record.added_at,
    }
}
