//! Alerts and their rules over the API.
//!
//! Source: `docs/spec/alerts.md` ALR-21, ALR-36 to ALR-38.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    alert::{
        Alert, AlertDelivery, AlertFilter, AlertRule, AlertRules, AlertState, ApplyRules, RuleOrigin,
        Severity,
    },
    hex::Digest,
    operator::OperatorRole,
    plan::{self, Plan},
    problem::Party,
};
use kos_audit::alert::{self as core, AlertId, BuiltIn, Condition, Per, Rule, RuleFile, RuleSet, Standing};
use kos_base::{code, text::printable};

use super::{
    answer::{Refusal, document, limit, page},
    call::{Asked, Call, Context, Mode, Who},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    entry,
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    alert::rules::{self, InForce, RulesFault},
    authority::Shared,
    clock,
    erasure::guardians_of,
    record::SystemChange,
    store::{AlertChoice, StoreError, StoredAlert},
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

/// Fewest characters of an alert's id by which it is found.
const PREFIX_CHARS_MIN: usize = 4;

pub(super) async fn list(
    State(shared): Shares,
    context: Context,
    Asked(filter): Asked<AlertFilter>,
) -> Result<Response, Refusal> {
    let wanted = limit(filter.limit)?;
    let before = filter.cursor.as_deref().map(str::parse).transpose();
    let before = before.map_err(|_| context.bad("the cursor is not one of this list"))?;
    let choice = if filter.open.unwrap_or(false) { AlertChoice::Open } else { AlertChoice::All };
    let found = shared.store.alerts(choice, before, wanted + 1).await?;
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let next = found.len().checked_sub(1).filter(|last| *last >= wanted).and_then(|_| {
        let last = found.get(wanted.checked_sub(1)?)?;
        Some(last.raised.to_string())
    });
    let mut items = Vec::with_capacity(found.len());
    for stored in found.iter().take(wanted) {
        items.push(shown(&context.who, &shared, stored).await?);
    }
    Ok(page(items, next))
}

pub(super) async fn show(
    State(shared): Shares,
    context: Context,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let stored = find(&shared, &id).await.map_err(|refusal| refusal.under(context.id))?;
    Ok(document(with_deliveries(&context.who, &shared, &stored).await?))
}

pub(super) async fn acknowledge(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    find(&shared, &id).await.map_err(|refusal| refusal.under(call.id))?;
    if !may_acknowledge(&shared, &call.who).await? {
        return Err(Refusal::new(code::audit::ALERT_NOT_GUARDIAN).under(call.id));
    }
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let stored = find(&shared, &id).await.map_err(|refusal| refusal.under(call.id))?;
        let is_seen = stored.fate.acknowledged.is_some();
        if call.mode == Mode::Plan {
            let effects = if is_seen { Vec::new() } else { vec!["log: alert_acknowledged".to_owned()] };
            let object = Some(Party::new("alert", &stored.alert.id));
            return Ok(document(Plan {
                action: call.route.name.to_owned(),
                object,
                changes: Vec::new(),
                effects,
            }));
        }
        if is_seen {
            return Ok(document(with_deliveries(&call.who, &shared, &stored).await?));
        }
        let now = clock::now();
        let mut told = with_deliveries(&call.who, &shared, &stored).await?;
        (told.state, told.acknowledged_at) = (AlertState::Acknowledged, Some(now));
        told.acknowledged_by = Some(party(&call.who));
        let (alert, rule) = (stored.alert.id.clone(), stored.alert.rule.clone());
        let transaction = Transaction {
            at: now,
            actor: call.who.actor(),
            changes: vec![SystemChange::AlertSeen { alert: alert.clone(), rule }.into()],
            writes: Vec::new(),
            system: vec![SystemWrite::AlertSeen(alert, now)],
            answer: None,
        };
        if let Attempt::Done(_, response) = commit(&shared, &call, transaction, move |_| told.clone()).await?
        {
            shared.alerts.tell();
            return Ok(response);
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("alert", &printable(&id, 40)).under(call.id))
}

/// ALR-36: an administrator, or an operator who is a guardian.
async fn may_acknowledge(shared: &Shared, who: &Who) -> Result<bool, StoreError> {
    let name = match who {
        Who::LocalAdmin(_) | Who::Operator(_, OperatorRole::Admin) => return Ok(true),
        Who::Operator(name, _) => name,
        Who::Nobody | Who::Device(_) => return Ok(false),
    };
    Ok(!guardians_of(&shared.store, name).await?.is_empty())
}

fn party(who: &Who) -> Party {
    let kind = match who {
        Who::Operator(..) => "operator",
        Who::LocalAdmin(_) => "local-user",
        Who::Device(_) => "device",
        Who::Nobody => "unknown",
    };
    Party::new(kind, &who.name())
}

async fn find(shared: &Shared, id: &str) -> Result<StoredAlert, Refusal> {
    let unknown = || Refusal::new(code::audit::ALERT_UNKNOWN).about("alert", &printable(id, 40));
    if let Ok(id) = id.parse::<AlertId>() {
        return shared.store.alert(&id).await?.ok_or_else(unknown);
    }
    let is_beginning = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if id.len() < PREFIX_CHARS_MIN || !is_beginning {
        return Err(unknown());
    }
    let mut found = shared.store.alerts_from(id).await?;
    match (found.pop(), found.pop()) {
        (None, _) => Err(unknown()),
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(unknown()
            .saying("more than one alert begins so")
            .fixed_by("type more characters of the id; kosctl audit alerts list")),
    }
}

/// An alert as a list has it. Names and addresses of people are opened for administrators only.
pub(super) async fn shown(who: &Who, shared: &Shared, stored: &StoredAlert) -> Result<Alert, StoreError> {
    let core::Alert { id, rule, severity, summary, group, count, unseen, first: _, last: _, entries, at } =
        stored.alert.clone();
    let acknowledged_by = match stored.fate.acknowledged {
        None => None,
        Some((_, index)) => match shared.store.entry(index).await? {
            Some(row) => Some(entry::shown_to(who, shared, &row).await?.actor),
            None => None,
        },
    };
    Ok(Alert {
        alert_id: id.to_string(),
        rule: rule.to_string(),
        severity: severity_of(severity),
        summary,
        about: match group {
            Some(group) => Some(about(who, shared, &group).await?),
            None => None,
        },
        count,
        unseen,
        since: stored.fate.since,
        entries,
        index: stored.raised,
        at,
        state: match stored.fate.acknowledged {
            Some(_) => AlertState::Acknowledged,
            None => AlertState::Raised,
        },
        acknowledged_at: stored.fate.acknowledged.map(|(at, _)| at),
        acknowledged_by,
        deliveries: Vec::new(),
    })
}

async fn with_deliveries(who: &Who, shared: &Shared, stored: &StoredAlert) -> Result<Alert, StoreError> {
    let deliveries =
        shared.store.deliveries(&stored.alert.id).await?.into_iter().map(|delivery| AlertDelivery {
            guardian: delivery.guardian.to_string(),
            delivered_at: delivery.course.delivered_at,
            attempts: delivery.course.attempts,
            trouble: delivery.course.trouble,
        });
    Ok(Alert { deliveries: deliveries.collect(), ..shown(who, shared, stored).await? })
}

/// Whose entries they are; a person is named to administrators, while the key is there.
async fn about(who: &Who, shared: &Shared, group: &str) -> Result<Party, StoreError> {
    let (kind, id) = group.split_once(' ').unwrap_or((group, ""));
    if kind != "subject" {
        let kind = if group == "*" { "many" } else { kind };
        return Ok(Party { kind: kind.to_owned(), id: Some(id.to_owned()).filter(|id| !id.is_empty()) });
    }
    let person = shared.store.subject(id).await?.map(|subject| subject.person);
    let named = person.as_deref().and_then(|person| person.split_once(' '));
    Ok(match named {
        Some((kind, id)) => Party { kind: kind.to_owned(), id: who.sees_names().then(|| id.to_owned()) },
        None => Party { kind: "erased".to_owned(), id: None },
    })
}

const fn severity_of(severity: core::Severity) -> Severity {
    match severity {
        core::Severity::Low => Severity::Low,
        core::Severity::Medium => Severity::Medium,
        core::Severity::High => Severity::High,
        core::Severity::Critical => Severity::Critical,
    }
}

pub(super) async fn rules(State(shared): Shares) -> Result<Response, Refusal> {
    let in_force = match rules::load(&shared).await {
        Ok(in_force) => (in_force, None),
        Err(RulesFault::Store(error)) => return Err(error.into()),
        Err(RulesFault::Refused { code, .. }) => {
            let (file, set) = (RuleFile::default(), RuleSet::built_in());
            (InForce { counter: 0, digest: None, file, set }, Some(code))
        }
    };
    Ok(document(view(&in_force.0, in_force.1.map(|code| code.to_string()))))
}

pub(super) async fn apply_rules(
    State(shared): Shares,
    call: Call<Demanded<ApplyRules>>,
) -> Result<Response, Refusal> {
    let invalid = |why: &str| {
        let refusal = Refusal::new(code::audit::ALERT_RULES_INVALID);
        refusal.saying(&printable(why, 300)).under(call.id)
    };
    let file = call.body.get()?.file.clone();
    let file: RuleFile = serde_json::from_value(file).map_err(|error| invalid(&error.to_string()))?;
    let set = RuleSet::of(&file).map_err(|error| {
        Refusal::new(error.code()).saying(&printable(&error.to_string(), 300)).under(call.id)
    })?;
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    if call.mode == Mode::Plan {
        let before =
            rules::load(&shared).await.map(|before| before.set).unwrap_or_else(|_| RuleSet::built_in());
        return Ok(document(Plan {
            action: call.route.name.to_owned(),
            object: None,
            changes: changes(&before, &set),
            effects: vec!["log: alert_rules_changed".to_owned()],
        }));
    }
    let _turn = shared.alerts.applying.lock().await;
    let prepared = rules::prepare(&shared, call.who.actor(), clock::now(), (file, set)).await;
    let (transaction, in_force) = match prepared {
        Ok(prepared) => prepared,
        Err(RulesFault::Store(error)) => return Err(Refusal::from(error).under(call.id)),
        Err(RulesFault::Refused { code, why }) => return Err(Refusal::new(code).saying(&why).under(call.id)),
    };
    match commit(&shared, &call, transaction, move |_| view(&in_force, None)).await? {
        Attempt::Done(_, response) => Ok(response),
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id)),
    }
}

/// What becomes of each rule.
fn changes(before: &RuleSet, after: &RuleSet) -> Vec<plan::Change> {
    let words = |set: &RuleSet, name: &str| {
        let found = set.rules().iter().find(|rule| rule.name.as_str() == name);
        found.map(|rule| format!("{}, {}, quiet {} s", rule.severity, when(rule), rule.quiet_seconds))
    };
    let names = before.rules().iter().chain(after.rules()).map(|rule| rule.name.as_str());
    let names: std::collections::BTreeSet<_> = names.collect();
    let each = names.into_iter().map(|name| (name, words(before, name), words(after, name)));
    each.filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| plan::Change { field: name.to_owned(), from, to })
        .collect()
}

fn view(in_force: &InForce, refused: Option<String>) -> AlertRules {
    let built_in = BuiltIn::all();
    let origin = |rule: &Rule| match built_in.iter().find(|known| known.rule.name == rule.name) {
        Some(known) if known.standing == Standing::Essential => RuleOrigin::Essential,
        Some(_) => RuleOrigin::BuiltIn,
        None => RuleOrigin::Own,
    };
    AlertRules {
        counter: in_force.counter,
        digest: in_force.digest.map(Digest::from_bytes),
        refused,
        rules: in_force
            .set
            .rules()
            .iter()
            .map(|rule| AlertRule {
                name: rule.name.to_string(),
                severity: severity_of(rule.severity),
                summary: rule.summary.clone(),
                when: when(rule),
                quiet_seconds: rule.quiet_in_force(),
                origin: origin(rule),
            })
            .collect(),
        removed: in_force.set.removed().iter().map(ToString::to_string).collect(),
        file: serde_json::to_value(&in_force.file).unwrap_or_default(),
    }
}

/// When a rule raises an alert, in words.
fn when(rule: &Rule) -> String {
    let what = match &rule.when {
        Condition::Each => "each".to_owned(),
        Condition::Count { times, window_seconds } => format!("{times} within {window_seconds} s"),
        Condition::Sequence { window_seconds, .. } => format!("one after another within {window_seconds} s"),
    };
    match rule.per {
        Per::None => what,
        Per::Actor => format!("{what}, for each actor"),
        Per::Target => format!("{what}, for each target"),
    }
}
