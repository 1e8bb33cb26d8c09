//! Attestation over the API: what was verified of a device, whose TPMs count, what good starts look like.
//!
//! Source: `docs/spec/attestation.md` ATT-17, ATT-20, ATT-21.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use data_encoding::HEXLOWER;
use kos_api::{
    attestation::{AddEk, AddGolden, Attestation, Golden, ListedEk as Item, Pcr},
    plan::Plan,
    problem::Party,
};
use kos_attest::{Pcrs, Values};
use kos_audit::EventType;
use kos_base::{Code, EvidenceTier, KeyId, Timestamp, code, text::printable};
use kos_identity::second::{EKS_MAX, GOLDEN_MAX};

use super::{
    answer::{Refusal, document, page},
    call::{Call, Context, Mode},
    change::{Attempt, commit, given_before},
    devices::{find, short},
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    authority::Shared,
    clock,
    record::SystemChange,
    store::{AttestationLists, ListedEk, Setting, StoreError, StoredGolden},
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

/// Longest note, in characters.
const NOTE_MAX: usize = 100;

pub(super) async fn show(
    State(shared): Shares,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let absent = || Refusal::new(code::attest::ATTEST_ABSENT).about("device", &record.id);
    let held = record.attested.as_ref().ok_or_else(absent)?;
    Ok(document(Attestation {
        device_id: record.id.clone(),
        evidence_tier: record.evidence,
        ek: held.ek,
        vouched_by: held.vouched_by.clone(),
        golden: held.golden.clone(),
        pcrs: pcrs(held.pcrs, held.values.clone()),
        reset_count: held.reset_count,
        restart_count: held.restart_count,
        verified_at: held.at,
    }))
}

pub(super) async fn eks(State(shared): Shares) -> Result<Response, Refusal> {
    Ok(page(shared.store.attestation_lists().await?.eks.iter().map(ek).collect(), None))
}

pub(super) async fn add_ek(State(shared): Shares, call: Call<Demanded<AddEk>>) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let AddEk { ek: id, note } = call.body.get()?.clone();
    let _turn = shared.attesting.turn.lock().await;
    let mut lists = shared.store.attestation_lists().await?;
    if lists.lists(id) {
        return Err(Refusal::new(code::lists::EK_LISTED).about("ek", &id).under(call.id));
    }
    if lists.eks.len() >= EKS_MAX {
        let why = "there are as many as there may be: name the roots of their makers";
        let refusal = Refusal::new(code::store::STORE_CONFLICT).saying(why);
        return Err(refusal.about("ek", &id).under(call.id));
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Party::new("ek", &id), "log: ek_allowed")));
    }
    let now = clock::now();
    let listed = ListedEk { ek: id, note: printable(&note, NOTE_MAX), added_at: now };
    let item = ek(&listed);
    let change = SystemChange::EkAllowed { ek: id, note: listed.note.clone() };
    lists.eks.push(listed);
    done(&shared, &call, now, change, &lists, item).await
}

pub(super) async fn remove_ek(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let key = id.parse::<KeyId>().ok();
    let named = Named { kind: "ek", id: &id, unknown: code::attest::ATTEST_UNKNOWN };
    take_out(&shared, &call, named, EventType::EkRemoved, |lists| {
        let at = lists.eks.iter().position(|listed| Some(listed.ek) == key)?;
        let listed = lists.eks.remove(at);
        Some((SystemChange::EkRemoved { ek: listed.ek }, ek(&listed)))
    })
    .await
}

pub(super) async fn golden_sets(State(shared): Shares) -> Result<Response, Refusal> {
    Ok(page(shared.store.attestation_lists().await?.golden.iter().map(golden).collect(), None))
}

pub(super) async fn add_golden(
    State(shared): Shares,
    call: Call<Demanded<AddGolden>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let AddGolden { name, device_id, verified_at } = call.body.get()?.clone();
    let record = shared.store.device(&device_id).await?;
    let absent = || Refusal::new(code::attest::ATTEST_ABSENT).about("device", &device_id).under(call.id);
    let held = record.and_then(|record| record.attested).ok_or_else(absent)?;
    if held.tier < EvidenceTier::EkActivated {
        let why =
            "nobody vouches for its TPM, which may be one made of software: list its endorsement key first";
        return Err(Refusal::new(code::policy::POLICY_EVIDENCE)
            .about("device", &device_id)
            .saying(why)
            .under(call.id));
    }
    if verified_at.is_some_and(|seen| seen != held.at) {
        let why = format!("it has shown another start meanwhile, at {}: look at that one", held.at);
        return Err(Refusal::new(code::store::STORE_CONFLICT)
            .about("device", &device_id)
            .saying(&why)
            .under(call.id));
    }
    let measured = Pcrs::from_bits(held.pcrs).and_then(|pcrs| Values::new(pcrs, held.values.clone()).ok());
    if !measured.is_some_and(|values| values.is_measured()) {
        return Err(Refusal::new(code::lists::GOLDEN_UNMEASURED).about("device", &device_id).under(call.id));
    }
    let _turn = shared.attesting.turn.lock().await;
    let mut lists = shared.store.attestation_lists().await?;
    let conflict = |code| Refusal::new(code).about("golden", &name).under(call.id);
    if lists.golden.iter().any(|set| set.name == name) {
        return Err(conflict(code::attest::ATTEST_GOLDEN_EXISTS));
    }
    if lists.golden.len() >= GOLDEN_MAX {
        return Err(
            conflict(code::store::STORE_CONFLICT).saying("there are as many as there may be: remove one")
        );
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(
            &call,
            Party::new("golden", &name),
            &format!("log: golden_added, {}", HEXLOWER.encode(&held.digest())),
        )));
    }
    let now = clock::now();
    let values = HEXLOWER.encode(&held.values);
    let set = StoredGolden {
        name: name.clone(),
        pcrs: held.pcrs,
        values,
        device: device_id.clone(),
        added_at: now,
    };
    let item = golden(&set);
    let change = SystemChange::GoldenAdded { name, device: device_id, pcr_digest: held.digest() };
    lists.golden.push(set);
    done(&shared, &call, now, change, &lists, item).await
}

pub(super) async fn remove_golden(
    State(shared): Shares,
    Path(name): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let named = Named { kind: "golden", id: &name, unknown: code::attest::ATTEST_UNKNOWN };
    take_out(&shared, &call, named, EventType::GoldenRemoved, |lists| {
        let at = lists.golden.iter().position(|set| set.name.as_ref() == name)?;
        let set = lists.golden.remove(at);
        Some((SystemChange::GoldenRemoved { name: set.name.clone() }, golden(&set)))
    })
    .await
}

/// What is to be taken out of the lists, and the code if it is not there.
pub(super) struct Named<'a> {
    pub(super) kind: &'static str,
    pub(super) id: &'a str,
    pub(super) unknown: Code,
}

/// Takes something out of the lists with its entry, or says what would be.
pub(super) async fn take_out<T>(
    shared: &Arc<Shared>,
    call: &Call<Nothing>,
    named: Named<'_>,
    event: EventType,
    take: impl FnOnce(&mut AttestationLists) -> Option<(SystemChange, T)>,
) -> Result<Response, Refusal>
where
    T: kos_api::envelope::Kind + serde::Serialize + Clone + Send + Sync + 'static,
{
    if let Some(response) = given_before(shared, call).await? {
        return Ok(response);
    }
    let _turn = shared.attesting.turn.lock().await;
    let mut lists = shared.store.attestation_lists().await?;
    let Named { kind, id, unknown } = named;
    let unknown = || Refusal::new(unknown).about(kind, &short(id)).under(call.id);
    let (change, item) = take(&mut lists).ok_or_else(unknown)?;
    if call.mode == Mode::Plan {
        return Ok(document(plan(call, Party::new(kind, &short(id)), &format!("log: {event}"))));
    }
    done(shared, call, clock::now(), change, &lists, item).await
}

/// Writes the lists with the entry that says so. Whoever calls has the turn.
pub(super) async fn done<B, T>(
    shared: &Arc<Shared>,
    call: &Call<B>,
    at: Timestamp,
    change: SystemChange,
    lists: &AttestationLists,
    item: T,
) -> Result<Response, Refusal>
where
    T: kos_api::envelope::Kind + serde::Serialize + Clone + Send + Sync + 'static,
{
    let text = serde_json::to_string(lists).map_err(|e| StoreError::Entry(e.to_string()))?;
    let system = vec![SystemWrite::Setting(Setting::Attestation, Some(text))];
    let (actor, changes) = (call.who.actor(), vec![change.into()]);
    let transaction = Transaction { at, actor, changes, writes: Vec::new(), system, answer: None };
    match commit(shared, call, transaction, move |_| item.clone()).await? {
        Attempt::Done(_, response) => Ok(response),
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id)),
    }
}

pub(super) fn plan<T>(call: &Call<T>, object: Party, effect: &str) -> Plan {
    let (action, effects) = (call.route.name.to_owned(), vec![effect.to_owned()]);
    Plan { action, object: Some(object), changes: Vec::new(), effects }
}

fn ek(listed: &ListedEk) -> Item {
    Item { ek: listed.ek, note: listed.note.clone(), added_at: listed.added_at }
}

fn golden(set: &StoredGolden) -> Golden {
    let values = HEXLOWER.decode(set.values.as_bytes()).unwrap_or_default();
    Golden {
        name: set.name.clone(),
        pcrs: pcrs(set.pcrs, values),
        device_id: set.device.clone(),
        added_at: set.added_at,
    }
}

fn pcrs(bits: u32, values: Vec<u8>) -> Vec<Pcr> {
    let values = Pcrs::from_bits(bits).and_then(|pcrs| Values::new(pcrs, values).ok());
    let pcr = |(number, value): (u32, &[u8])| Pcr { number, value: HEXLOWER.encode(value) };
    values.map(|values| values.each().map(pcr).collect()).unwrap_or_default()
}
