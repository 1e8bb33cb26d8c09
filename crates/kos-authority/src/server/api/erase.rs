//! Erasing a person: the key goes under which the log speaks of them, and their name out of the records that have no more use
//! for it.
//!
//! Invariants: the entry that records it names the subject, which is a hash of the key, and not the person. Once the
//! caller has the answer, no file of the store holds the key. Nobody erases themselves unless they say so.
//!
//! What it does not do: reach backups that were made before. It lists them.
//!
//! Source: `docs/spec/audit.md`, AUD-83 and AUD-84.

use std::{net::IpAddr, sync::Arc};

use axum::{extract::State, response::Response};
use kos_api::{
    audit::{ErasePerson, ErasedSubject, Erasure, OlderBackup},
    plan::Plan,
};
use kos_audit::EventType;
use kos_base::{code, text::printable};
use kos_net::accept::source_of;

use super::{
    answer::{Refusal, document},
    call::{Call, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit},
    lifecycle::Demanded,
};
use crate::{
    authority::Shared,
    clock,
    record::{Person, SystemChange},
    search::{Order, Query},
    store::{Operator, StoreError, Subject},
    writer::{SystemWrite, Transaction},
};

/// Backups that an answer lists.
const BACKUPS_MAX: u32 = 100;
/// Entries that are counted for a plan; beyond that there are `at least` so many.
const COUNTED_MAX: u32 = 10_000;
/// What an operator is called whose name was erased.
const NAMELESS: &str = "erased";
/// Vaults that are looked at for holders of shares.
const VAULTS_MAX: u32 = 1_000;
/// Records that are read at a time.
const PAGE: u32 = 200;

pub(super) async fn erase(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<ErasePerson>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    let (people, name) = people(&call, wanted)?;
    if wanted.reason.as_ref().to_lowercase().contains(&name.to_lowercase()) {
        return Err(Refusal::new(code::audit::REASON_NAMES).under(call.id));
    }
    for _ in 0..ATTEMPTS_MAX {
        let found = subjects(&shared, &people).await?;
        if found.is_empty() {
            return Err(Refusal::new(code::audit::PERSON_UNKNOWN).under(call.id));
        }
        let caller = Person::behind(&call.who.actor()).map(|person| person.subject());
        let is_own = found.iter().any(|(_, subject)| Some(&subject.person) == caller.as_ref());
        if is_own && !wanted.myself.unwrap_or(false) {
            return Err(Refusal::new(code::audit::ERASES_ONESELF).under(call.id));
        }
        let backups = backups(&shared, &found).await.map_err(|refusal| refusal.under(call.id))?;
        if call.mode == Mode::Plan {
            let effects = effects(&shared, &found, &name, &backups).await?;
            let action = call.route.name.to_owned();
            return Ok(document(Plan { action, object: None, changes: Vec::new(), effects }));
        }
        let at = clock::now();
        let erased: Vec<_> = found
            .iter()
            .map(|(person, subject)| ErasedSubject {
                subject: subject.id.clone(),
                kind: person.kind().to_owned(),
            })
            .collect();
        let changes = erased.iter().map(|one| {
            let (subject, kind, reason) = (one.subject.clone(), one.kind.clone(), wanted.reason.to_string());
            SystemChange::SubjectErased { subject, kind, reason, own: is_own }.into()
        });
        let mut system: Vec<_> =
            found.iter().map(|(_, subject)| SystemWrite::EraseSubject(subject.id.clone())).collect();
        system.extend(nameless(&shared, &people).await?);
        let transaction = Transaction {
            at,
            actor: call.who.actor(),
            changes: changes.collect(),
            writes: Vec::new(),
            system,
            answer: None,
        };
        let (listed, total) = backups;
        let render = move |receipt: crate::writer::Receipt| Erasure {
            erased: erased.clone(),
            erased_at: at,
            audit_index: receipt.first,
            backups: listed.clone(),
            backups_found: total,
        };
        match commit(&shared, &call, transaction, render).await? {
            Attempt::Done(_, response) => {
                let gone = shared.writer.scrub().await;
                gone.map_err(|error| {
                    tracing::error!(%error, "the write-ahead log could not be emptied");
                    Refusal::new(code::audit::ERASURE_TRACES).under(call.id)
                })?;
                return Ok(response);
            }
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id))
}

/// Whom the request means, and the name that it says.
fn people(
    call: &Call<Demanded<ErasePerson>>,
    wanted: &ErasePerson,
) -> Result<(Vec<Person>, String), Refusal> {
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id);
    match (&wanted.person, &wanted.address) {
        (Some(name), None) if !name.is_empty() => Ok((Person::named(name), name.clone())),
        (None, Some(address)) => {
            let address: IpAddr = address.parse().map_err(|_| bad("this is not a network address"))?;
            let source = source_of(address).to_string();
            Ok((vec![Person::Address(source.clone())], source))
        }
        _ => Err(bad("either a person or an address")),
    }
}

async fn subjects(shared: &Shared, people: &[Person]) -> Result<Vec<(Person, Subject)>, StoreError> {
    let mut found = Vec::new();
    for person in people {
        if let Some(subject) = shared.store.subject_of(&person.subject()).await? {
            found.push((person.clone(), subject));
        }
    }
    Ok(found)
}

/// The backups that hold one of these keys, the newest first, and how many there are: all since the log first spoke of it.
async fn backups(shared: &Shared, found: &[(Person, Subject)]) -> Result<(Vec<OlderBackup>, u64), Refusal> {
    let ids = found.iter().map(|(_, subject)| subject.id.clone()).collect();
    let about = Query { person: Some(ids), ..Query::default() };
    let first = shared.search.find(&shared.store, &about, Order::Oldest, None, 1).await?;
    let after = first.first().map_or(0, |row| row.position);
    let made = Query { event: Some(EventType::BackupCreated), ..Query::default() };
    // The entry that a person made the first backup with speaks of them itself.
    let after = after.checked_sub(1);
    let rows = shared.search.find(&shared.store, &made, Order::Oldest, after, COUNTED_MAX).await?;
    let total = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let newest = rows.iter().rev().take(usize::try_from(BACKUPS_MAX).unwrap_or(usize::MAX));
    Ok((newest.map(|row| OlderBackup { index: row.position, created_at: row.at }).collect(), total))
}

/// What would happen, in sentences.
async fn effects(
    shared: &Shared,
    found: &[(Person, Subject)],
    name: &str,
    (backups, total): &(Vec<OlderBackup>, u64),
) -> Result<Vec<String>, Refusal> {
    let mut effects = Vec::new();
    for (person, subject) in found {
        let about = Query { person: Some(vec![subject.id.clone()]), ..Query::default() };
        let rows = shared.search.find(&shared.store, &about, Order::Oldest, None, COUNTED_MAX).await?;
        let least =
            if rows.len() == usize::try_from(COUNTED_MAX).unwrap_or(usize::MAX) { "at least " } else { "" };
        let (kind, entries) = (person.kind(), rows.len());
        effects.push(format!("{least}{entries} entries speak of this {kind} and name nobody from then on"));
        effects.push(format!("log: subject_erased, {}", subject.id));
    }
    if shared.store.active_operator(name).await?.is_some() {
        effects.push(
            "this is the name of an operator in service, whose record keeps it until it is removed"
                .to_owned(),
        );
    }
    for anchor in shared.store.anchors(VAULTS_MAX).await? {
        if anchor.sharing.is_some_and(|sharing| sharing.public.holders.iter().any(|holder| holder == name)) {
            let vault = anchor.environment;
            effects.push(format!(
                "the vault {vault} lists the name as holder of a share until it is shared again"
            ));
        }
    }
    let newest = backups.first().map(|newest| format!(", the newest of {}", newest.created_at));
    effects.push(match total {
        0 => "no backup that the log knows of holds the key".to_owned(),
        total => format!(
            "{total} backups hold the key still{}: destroy them, or make new ones and let these go",
            newest.unwrap_or_default()
        ),
    });
    Ok(effects)
}

/// Takes the name out of the records of operators who were removed.
async fn nameless(shared: &Shared, people: &[Person]) -> Result<Vec<SystemWrite>, StoreError> {
    let named = people.iter().find_map(|person| match person {
        Person::Operator(name) => Some(name),
        _ => None,
    });
    let Some(name) = named else { return Ok(Vec::new()) };
    let (mut writes, mut after) = (Vec::new(), None);
    let mut removed: Vec<Operator> = Vec::new();
    loop {
        let page = shared.store.operators(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        removed.extend(page.into_iter().filter(|operator| operator.removed && operator.name == *name));
    }
    if removed.is_empty() {
        return Ok(writes);
    }
    for mut revocation in shared.store.revocations().await? {
        let is_theirs = |one: &Operator| one.issuer == revocation.issuer && one.serial == revocation.serial;
        if removed.iter().any(is_theirs) {
            revocation.subject = format!("operator {NAMELESS}");
            writes.push(SystemWrite::Revoke(revocation));
        }
    }
    for operator in removed {
        let odd = |_| StoreError::Failed(printable(NAMELESS, 20));
        let (name, version) = (NAMELESS.parse().map_err(odd)?, operator.version + 1);
        writes.push(SystemWrite::Operator(Box::new(Operator { name, version, ..operator })));
    }
    Ok(writes)
}
