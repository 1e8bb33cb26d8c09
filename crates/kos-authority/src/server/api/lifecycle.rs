//! What operators do to devices: each route is one or more operations of the registry on one record.
//!
//! The registry decides; nothing is decided here but how a request becomes operations. A plan is the same decision
//! whose commit is thrown away.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    lifecycle::{Approve, Because, Reinstate, Reject, Rename, Retag, SetChannel, SetProfile, SetRole},
    plan::{self, Plan},
    problem::Party,
    text::Reason,
};
use kos_base::{Capability, DeviceId, DeviceState, SecurityProfile, Timestamp, code};
use kos_identity::{
    registry::{Actor, AllowDev, Change as RegistryChange, Device, OperateError, Operation, Write},
    second,
};
use kos_voucher::{Fate, Subject};
use serde_json::Value;

use super::{
    answer::{Refusal, document, tagged},
    call::{Call, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    devices::short,
    view,
};
use crate::{
    authority::Shared,
    clock, quarantine,
    record::{Change, PapersChange, SystemChange, event_of},
    store::Operator,
    writer::{Receipt, SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

pub(super) async fn approve(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Approve>,
) -> Result<Response, Refusal> {
    operate(&shared, &device, &call, |record| {
        let Some(lobby) = &record.lobby else {
            return Err(Refusal::new(code::enrolment::STATE_FORBIDS).saying("the device does not wait"));
        };
        match (&lobby.comparison, &call.body.comparison_code) {
            (Some(shown), Some(typed)) if shown == typed => {}
            (None, None) => {}
            (Some(_), None) => {
                let why = "compare the six digits with those that the device shows, and send them along";
                return Err(Refusal::new(code::config::CONFIRM_NEEDED).saying(why));
            }
            (_, Some(_)) => {
                let why = "these are not the digits that belong to the device that waits here: compare again, and reject it if they still differ";
                return Err(Refusal::new(code::enrolment::CODE_MISMATCH).saying(why));
            }
        }
        let profile = call.body.profile.unwrap_or(SecurityProfile::Sec2);
        let mut steps = vec![Step::Operation(Operation::Approve { profile })];
        steps.extend(call.body.role.map(|role| {
            Step::Edit(Box::new(move |record: &mut Device| {
                let from = std::mem::replace(&mut record.role, role);
                (from != role)
                    .then(|| RegistryChange::RoleChanged { device: record.id.clone(), from, to: role }.into())
            }))
        }));
        steps.extend(call.body.group.clone().map(|group| {
            Step::Edit(Box::new(move |record: &mut Device| {
                let before = record.group.replace(group.clone());
                (before.as_ref() != Some(&group))
                    .then(|| SystemChange::DeviceGrouped { device: record.id.clone(), group }.into())
            }))
        }));
        steps.extend(call.body.name.clone().map(|name| Step::Operation(Operation::Rename { name })));
        Ok(steps)
    })
    .await
}

pub(super) async fn reject(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Reject>,
) -> Result<Response, Refusal> {
    let reason = because(call.body.reason.as_ref(), "rejected by an operator");
    let papers = void_with(&shared, &device, clock::now()).await?;
    operate(&shared, &device, &call, |_| {
        let mut steps = vec![Step::Operation(Operation::Reject { reason: reason.clone() })];
        steps.extend(papers.iter().cloned().map(|(change, write)| Step::Beside(change.into(), write)));
        if call.body.ban {
            steps.push(Step::Operation(Operation::Ban { reason: reason.clone() }));
        }
        Ok(steps)
    })
    .await
}

/// What becomes of vouchers that wait for a device which is turned away: they let it in no more, under no other name either.
async fn void_with(
    shared: &Shared,
    device: &str,
    now: Timestamp,
) -> Result<Vec<(PapersChange, Write)>, Refusal> {
    let Ok(id) = device.parse::<DeviceId>() else { return Ok(Vec::new()) };
    let Some(record) = shared.store.device(&id).await? else { return Ok(Vec::new()) };
    let ek = record.attested.as_ref().map(|attested| Subject::Endorsement(attested.ek));
    let mut papers = Vec::new();
    for subject in ek.into_iter().chain([Subject::Identity(record.identity_key.id())]) {
        let waiting = shared.store.vouchers_of(&subject.place()).await?;
        for kept in waiting.into_iter().filter(|kept| kept.subject == subject && kept.fate == Fate::Waiting) {
            let change = PapersChange::VoucherVoided { voucher: kept.id };
            let fate = Fate::Void { at: now, device: Some(id.clone()) };
            papers.push((change, Write::Voucher(Box::new(kept.becoming(fate)))));
        }
    }
    Ok(papers)
}

pub(super) async fn set_role(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Demanded<SetRole>>,
) -> Result<Response, Refusal> {
    let SetRole { role } = call.body.get()?.clone();
    operate(&shared, &device, &call, |_| Ok(vec![Step::Operation(Operation::SetRole { role })])).await
}

pub(super) async fn set_profile(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Demanded<SetProfile>>,
) -> Result<Response, Refusal> {
    let SetProfile { profile } = call.body.get()?.clone();
    let verifiers = shared.store.attestation_lists().await?.verifiers;
    operate(&shared, &device, &call, |record| {
        let raise = Operation::SetProfile { profile };
        // There would be no way back, and no certificate either.
        let is_alone = second::is_needed(profile) && verifiers.iter().all(|named| named.device == record.id);
        let may = || raise.clone().apply(clock::now(), Actor::Authority, record.clone()).is_ok();
        if is_alone && profile > record.profile() && may() {
            return Err(Refusal::new(code::second::SECOND_ABSENT).about("device", &record.id));
        }
        Ok(vec![Step::Operation(raise)])
    })
    .await
}

pub(super) async fn set_channel(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Demanded<SetChannel>>,
) -> Result<Response, Refusal> {
    let SetChannel { channel, allow_dev } = call.body.get()?.clone();
    let allow_dev = if allow_dev { AllowDev::Mark } else { AllowDev::Keep };
    operate(&shared, &device, &call, |_| {
        Ok(vec![Step::Operation(Operation::SetChannel { channel, allow_dev })])
    })
    .await
}

pub(super) async fn rename(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Demanded<Rename>>,
) -> Result<Response, Refusal> {
    let Rename { name } = call.body.get()?.clone();
    operate(&shared, &device, &call, |_| Ok(vec![Step::Operation(Operation::Rename { name: name.clone() })]))
        .await
}

pub(super) async fn tag(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Retag>,
) -> Result<Response, Refusal> {
    operate(&shared, &device, &call, |record| {
        let mut tags = record.tags.clone();
        tags.retain(|tag| !call.body.remove.iter().any(|gone| gone.as_ref() == tag.as_ref()));
        for added in &call.body.add {
            let bad = |_| Refusal::new(code::config::BAD_REQUEST).saying("a tag has a-z, 0-9, `-`, `_`, `.`");
            let added: Capability = added.as_ref().parse().map_err(bad)?;
            if !tags.contains(&added) {
                tags.push(added);
            }
        }
        if tags.len() > kos_api::text::Tag::COUNT_MAX {
            return Err(Refusal::new(code::config::BAD_REQUEST).saying("a device has at most 32 tags"));
        }
        tags.sort_unstable();
        Ok(vec![Step::Operation(Operation::Tag { tags })])
    })
    .await
}

pub(super) async fn suspend(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Because>,
) -> Result<Response, Refusal> {
    let reason = because(call.body.reason.as_ref(), "suspended by an operator");
    operate(&shared, &device, &call, |_| {
        Ok(vec![Step::Operation(Operation::Suspend { reason: reason.clone() })])
    })
    .await
}

pub(super) async fn reinstate(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Reinstate>,
) -> Result<Response, Refusal> {
    let reason = because(call.body.reason.as_ref(), "reinstated by an operator");
    let (approvers, operators) = quarantine::approvers(&shared).await?;
    operate(&shared, &device, &call, |record| {
        let mut steps = Vec::new();
        if let Some(wanted) = call.body.recoveries {
            let count = wanted.saturating_sub(record.recoveries_left);
            if count > 0 {
                steps.push(Step::Operation(Operation::RaiseRecoveries { count }));
            }
        }
        // A device that is in service may only need its recoveries raised.
        if call.body.recoveries.is_none()
            || matches!(record.state(), DeviceState::Suspended | DeviceState::Quarantined)
        {
            let (reason, approvers) = (reason.clone(), Box::new(approvers.clone()));
            steps.push(Step::Operation(Operation::Reinstate { reason, approvers }));
            // Who is counted must stand when it is committed, too.
            let counted = |one: &&Operator| {
                let actor = Actor::Operator(one.name.clone());
                actor == call.who.actor()
                    || record.case.as_ref().is_some_and(|case| case.is_approved_by(&actor))
            };
            let counted = operators.iter().filter(counted);
            steps.extend(counted.map(|one| Step::Check(SystemWrite::Stands(one.id))));
        }
        Ok(steps)
    })
    .await
}

pub(super) async fn regenerate(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Because>,
) -> Result<Response, Refusal> {
    operate(&shared, &device, &call, |_| Ok(vec![Step::Operation(Operation::Regenerate)])).await
}

/// A body that the route cannot do without.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Demanded<T>(Option<T>);

impl<T> Default for Demanded<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Demanded<T> {
    pub(super) fn get(&self) -> Result<&T, Refusal> {
        self.0.as_ref().ok_or_else(|| Refusal::new(code::config::BAD_REQUEST).saying("the body is missing"))
    }
}

/// Sets a field, and says what changed.
type Edit = Box<dyn FnOnce(&mut Device) -> Option<Change> + Send>;

/// One step of a change to a record.
pub(super) enum Step {
    /// The registry decides.
    Operation(Operation),
    /// A field that no rule concerns; nothing when it is so already.
    Edit(Edit),
    /// What becomes of something else with it.
    Beside(Change, Write),
    /// What must be so when it is committed.
    Check(SystemWrite),
}

/// What a request comes to.
pub(super) struct Decided {
    pub(super) before: Device,
    /// The record as it is to be, when anything changes.
    pub(super) after: Option<(Device, Transaction)>,
}

/// Carries out the steps that `plan` makes of the device, again from the start when somebody else was faster.
pub(super) async fn operate<T>(
    shared: &Arc<Shared>,
    id: &str,
    call: &Call<T>,
    steps: impl Fn(&Device) -> Result<Vec<Step>, Refusal>,
) -> Result<Response, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(shared, call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let decided =
            decide(shared, id, call, now, &steps).await.map_err(|refusal| refusal.under(call.id))?;
        if call.mode == Mode::Plan {
            return Ok(document(plan_of(shared, call, &decided, now)));
        }
        let Some((after, transaction)) = decided.after else {
            let shown = view::device(shared, &decided.before, now).await?;
            return Ok(tagged(shown, &view::tag(&decided.before)));
        };
        let (shares, record) = (Arc::clone(shared), after.clone());
        let render = move |receipt: Receipt| {
            view::device_with(&shares, &record, Some(receipt.first + receipt.entries.saturating_sub(1)), now)
        };
        match commit(shared, call, transaction, render).await? {
            Attempt::Done(_, mut response) => {
                if let Ok(value) = view::tag(&after).parse() {
                    response.headers_mut().insert(axum::http::header::ETAG, value);
                }
                return Ok(response);
            }
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("device", &short(id)).under(call.id))
}

/// Applies the steps to the record as the store holds it.
pub(super) async fn decide<T>(
    shared: &Shared,
    id: &str,
    call: &Call<T>,
    now: Timestamp,
    steps: &impl Fn(&Device) -> Result<Vec<Step>, Refusal>,
) -> Result<Decided, Refusal> {
    let unknown = || Refusal::new(code::enrolment::DEVICE_UNKNOWN).about("device", &short(id));
    let parsed: DeviceId = id.parse().map_err(|_| unknown())?;
    let before = shared.store.device(&parsed).await?.ok_or_else(unknown)?;
    if call.if_match.as_ref().is_some_and(|seen| seen != "*" && *seen != view::tag(&before)) {
        let refusal = Refusal::new(code::store::STORE_CONFLICT).saying("the device is another by now");
        return Err(refusal.with_status(412).about("device", &parsed));
    }
    let mut current = before.clone();
    let mut changes: Vec<Change> = Vec::new();
    let (mut writes, mut system) = (Vec::new(), Vec::new());
    for step in steps(&before)? {
        match step {
            Step::Check(check) => system.push(check),
            Step::Beside(change, write) => {
                changes.push(change);
                writes.push(write);
            }
            Step::Edit(edit) => changes.extend(edit(&mut current)),
            Step::Operation(operation) => match operation.apply(now, call.who.actor(), current.clone()) {
                Ok(done) => {
                    changes.extend(done.changes.into_iter().map(Change::from));
                    for write in done.writes {
                        match write {
                            Write::Device(device) => current = *device,
                            other => writes.push(other),
                        }
                    }
                    // Several steps make one new version.
                    current.version = before.version;
                }
                Err(OperateError::AlreadySo) => {}
                Err(error) => {
                    if let (Some(refusal), Mode::Do) = (error.refusal(), call.mode) {
                        shared.policy.count(&parsed, refusal);
                    }
                    let code = error.code().unwrap_or(code::enrolment::STATE_FORBIDS);
                    return Err(Refusal::new(code).saying(&error.to_string()).about("device", &parsed));
                }
            },
        }
    }
    if changes.is_empty() {
        return Ok(Decided { before, after: None });
    }
    let after = current.next_version();
    writes.insert(0, Write::Device(Box::new(after.clone())));
    let transaction = Transaction { at: now, actor: call.who.actor(), changes, writes, system, answer: None };
    Ok(Decided { before, after: Some((after, transaction)) })
}

/// What a change would do: the fields that would differ, and the entries that the log would get.
pub(super) fn plan_of<T>(shared: &Shared, call: &Call<T>, decided: &Decided, now: Timestamp) -> Plan {
    let mut plan = Plan {
        action: call.route.name.to_owned(),
        object: Some(Party::new("device", &decided.before.id)),
        changes: Vec::new(),
        effects: Vec::new(),
    };
    let Some((after, transaction)) = &decided.after else { return plan };
    let fields = |record: &Device| match serde_json::to_value(view::device_with(shared, record, None, now)) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(&decided.before), fields(after));
    for (field, to) in &after {
        let from = before.get(field).unwrap_or(&Value::Null);
        if from != to {
            plan.changes.push(plan::Change { field: field.clone(), from: text(from), to: text(to) });
        }
    }
    plan.effects =
        transaction.changes.iter().map(|change| format!("log: {}", event_of(change).event)).collect();
    plan
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

pub(super) fn because(reason: Option<&Reason>, otherwise: &str) -> String {
    reason.map_or_else(|| otherwise.to_owned(), ToString::to_string)
}
