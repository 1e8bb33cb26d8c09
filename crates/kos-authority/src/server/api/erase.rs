//! Erasing a person: the key goes under which the log speaks of them, and their name out of the records that have no more use
//! for it. The answer lists every store.
//!
//! Invariants: the entry that records it names the subject, which is a hash of the key, and not the person. Once the
//! caller has the answer, no file of the store holds the key. Nobody erases themselves unless they say so.
//!
//! What it does not do: reach backups that were made before. It lists them.
//!
//! Source: `docs/spec/audit.md`, AUD-83 and AUD-84.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use kos_api::{
    audit::{ErasePerson, ErasedSubject, Erasure, OlderBackup},
    plan::Plan,
};
use kos_base::code;
use kos_identity::registry::Actor;

use super::{
    answer::{Refusal, document},
    call::{Call, Mode, RequestId},
    change::{ATTEMPTS_MAX, Attempt, commit, to_the_end},
    lifecycle::Demanded,
    person::{Deed, Held, backups, held, operator, people, subjects},
};
use crate::{
    alert::{Guardian, Way},
    authority::Shared,
    clock,
    erasure::{dismissal, guardians_of, nameless},
    quarantine::forget_approvers,
    record::{Person, SystemChange},
    search::Query,
    store::{StoreError, Subject},
    writer::{SystemWrite, Transaction},
};

pub(super) async fn erase(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<ErasePerson>>,
) -> Result<Response, Refusal> {
    // What goes out of the tables goes out of the write-ahead log as well, whoever waits for the answer.
    to_the_end(carry_out(shared, call)).await
}

async fn carry_out(shared: Arc<Shared>, call: Call<Demanded<ErasePerson>>) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    let (people, name) = people(wanted.person.as_deref(), wanted.address.as_deref(), call.id)?;
    if wanted.reason.as_ref().to_lowercase().contains(&name.to_lowercase()) {
        return Err(Refusal::new(code::audit::REASON_NAMES).under(call.id));
    }
    for _ in 0..ATTEMPTS_MAX {
        let mut found = subjects(&shared, &people).await?;
        if found.is_empty() {
            if call.mode == Mode::Do {
                // An earlier attempt may have ended before it came to this.
                scrub(&shared, call.id).await?;
            }
            let refusal = Refusal::new(code::audit::PERSON_UNKNOWN).under(call.id);
            let held =
                held(&shared, &people, &found, &name).await.map_err(|refusal| refusal.under(call.id))?;
            return Err(match held.vaults.first() {
                Some(vault) => refusal.saying(&format!(
                    "the vault {vault} lists it as holder of a share: share the vault again without it"
                )),
                None => refusal,
            });
        }
        let caller = Person::behind(&call.who.actor()).map(|person| person.subject());
        let is_own = found.iter().any(|(_, subject)| Some(&subject.person) == caller.as_ref());
        if is_own && !wanted.myself.unwrap_or(false) {
            return Err(Refusal::new(code::audit::ERASES_ONESELF).under(call.id));
        }
        let backups = backups(&shared, &found).await.map_err(|refusal| refusal.under(call.id))?;
        let held = held(&shared, &people, &found, &name).await.map_err(|refusal| refusal.under(call.id))?;
        if call.mode == Mode::Plan {
            let mut effects = effects(&shared, &found, &name, &held, &backups).await?;
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
        let (mut system, mut in_service) = (Vec::new(), false);
        if let Some(operator) = operator(&people) {
            system = nameless(&shared.store, operator).await?;
            in_service = shared.store.active_operator(operator.as_ref()).await?.is_some();
        }
        let approvers = people.iter().filter_map(Person::actor);
        // An approval of who goes on to be an operator goes on to count.
        let approvers = approvers.filter(|actor| !in_service || !matches!(actor, Actor::Operator(_)));
        let writes = forget_approvers(&shared.store, &approvers.collect::<Vec<_>>()).await?;
        system.extend(found.iter().map(|(_, subject)| SystemWrite::EraseSubject(subject.id.clone())));
        system.push(SystemWrite::WriteAnew);
        let transaction = Transaction {
            at,
            actor: call.who.actor(),
            changes: changes.collect(),
            writes,
            system,
            answer: None,
        };
        let (listed, total) = backups;
        let stores = held.stores(Deed::Erased, total);
        let render = move |receipt: crate::writer::Receipt| Erasure {
            erased: erased.clone(),
            erased_at: at,
            audit_index: receipt.first,
            backups: listed.clone(),
            backups_found: total,
            stores: stores.clone(),
        };
        match commit(&shared, &call, transaction, render).await? {
            Attempt::Done(_, response) => {
                scrub(&shared, call.id).await?;
                return Ok(response);
            }
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id))
}

/// Takes what was erased out of the write-ahead log.
async fn scrub(shared: &Shared, id: RequestId) -> Result<(), Refusal> {
    shared.writer.scrub().await.map_err(|error| {
        tracing::error!(%error, "the write-ahead log could not be emptied");
        Refusal::new(code::audit::ERASURE_TRACES).under(id)
    })
}

/// What would happen, in sentences.
async fn effects(
    shared: &Shared,
    found: &[(Person, Subject)],
    name: &str,
    held: &Held,
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
    for vault in &held.vaults {
        effects
            .push(format!("the vault {vault} lists the name as holder of a share until it is shared again"));
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
