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
use kos_base::{Name, code};
use kos_net::accept::source_of;

use super::{
    answer::{Refusal, document},
    call::{Call, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit},
    lifecycle::Demanded,
};
use crate::{
    alert::{Guardian, Way},
    authority::Shared,
    clock,
    erasure::{dismissal, guardians_of, nameless},
    record::{Person, SystemChange},
    search::{Order, Query},
    store::{StoreError, Subject},
    writer::{SystemWrite, Transaction},
};

/// Backups that an answer lists.
const BACKUPS_MAX: u32 = 100;
/// Vaults that are looked at for holders of shares.
const VAULTS_MAX: u32 = 1_000;

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
        let mut found = subjects(&shared, &people).await?;
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
            let mut effects = effects(&shared, &found, &name, &backups).await?;
            effects.extend(told(&shared, &people).await?);
            let action = call.route.name.to_owned();
            return Ok(document(Plan { action, object: None, changes: Vec::new(), effects }));
        }
        if dismiss(&shared, &call, &people).await? {
            found = subjects(&shared, &people).await?;
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
        if let Some(operator) = operator(&people) {
            system.extend(nameless(&shared.store, operator).await?);
        }
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

/// The backups that hold one of these keys, the newest first, and how many there are: all since the log first spoke of it, or
/// all, when the entries that may have done so first are archived.
async fn backups(shared: &Shared, found: &[(Person, Subject)]) -> Result<(Vec<OlderBackup>, u64), Refusal> {
    let ids = found.iter().map(|(_, subject)| subject.id.clone()).collect();
    let about = Query { person: Some(ids), ..Query::default() };
    let first = shared.search.find(&shared.store, &about, Order::Oldest, None, 1).await?;
    // The entry that a person made the first backup with speaks of them itself.
    let from = match shared.store.archived().await? {
        0 => first.first().map_or(0, |row| row.position),
        _ => 0,
    };
    let (newest, total) = shared.store.newest_of(EventType::BackupCreated, from, BACKUPS_MAX).await?;
    Ok((newest.iter().map(|row| OlderBackup { index: row.position, created_at: row.at }).collect(), total))
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
        let entries = shared.search.count(&shared.store, &about, u64::MAX).await?;
        let kind = person.kind();
        effects.push(format!("{entries} entries speak of this {kind} and name nobody from then on"));
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

/// Who of them is an operator.
fn operator(people: &[Person]) -> Option<&Name> {
    people.iter().find_map(|person| match person {
        Person::Operator(name) => Some(name),
        _ => None,
    })
}

/// What becomes of guardians, in sentences. Whose a mail address is, only the reader can say.
async fn told(shared: &Shared, people: &[Person]) -> Result<Vec<String>, StoreError> {
    let Some(name) = operator(people) else { return Ok(Vec::new()) };
    let own = guardians_of(&shared.store, name).await?;
    let own = own.into_iter().map(|guardian| format!("log: guardian_removed, {}", guardian.name));
    let mail = |guardian: Guardian| match &guardian.way {
        Way::Mail { from, to, .. } => Some(format!(
            "the guardian {} sends mail from {from} to {}: if an address is theirs, remove it yourself",
            guardian.name,
            to.join(", ")
        )),
        _ => None,
    };
    Ok(own.chain(shared.store.guardians().await?.into_iter().filter_map(mail)).collect())
}

/// Removes the guardians that they are, before the key is gone: the entry that says so names them under it. Whether there were
/// any.
async fn dismiss<T>(shared: &Shared, call: &Call<T>, people: &[Person]) -> Result<bool, StoreError> {
    let Some(name) = operator(people) else { return Ok(false) };
    let guardians = guardians_of(&shared.store, name).await?;
    if guardians.is_empty() {
        return Ok(false);
    }
    let (changes, system) = dismissal(guardians);
    let transaction =
        Transaction { actor: call.who.actor(), ..Transaction::own(clock::now(), changes, system) };
    match shared.writer.commit(transaction).await {
        // Somebody else removed one of them.
        Ok(_) | Err(StoreError::Conflict { .. }) => {}
        Err(error) => return Err(error),
    }
    shared.alerts.tell();
    Ok(true)
}
