//! Log entries as the API shows them: what is sealed about people is opened with the keys that are still there.

use kos_api::{
    audit::AuditEntry,
    hex::{Digest, Signature},
    problem::Party,
};
use kos_audit::{Actor, Details, Entry, EventType, Personal, Place, SealedEntry, SubjectKey, Target};
use kos_base::EntryId;
use serde_json::{Map, Value};

use super::call::Who;
use crate::{
    authority::Shared,
    store::{EntryQuery, Store, StoreError, StoredEntry},
};

/// An entry without proof.
///
/// # Errors
/// When the store fails, or the row is not an entry that this log's key signed.
pub(super) async fn shown(shared: &Shared, row: &StoredEntry) -> Result<AuditEntry, StoreError> {
    opened(shared, row, &|_| true).await
}

/// The same in which only values of the subjects are opened that `admits` admits.
///
/// # Errors
/// As [`shown`].
pub(super) async fn opened(
    shared: &Shared,
    row: &StoredEntry,
    admits: &(dyn Fn(&str) -> bool + Sync),
) -> Result<AuditEntry, StoreError> {
    let mut shown = sealed(shared, row)?;
    let unsound = |_| StoreError::Damaged { table: "entries", row: row.position.to_string() };
    let leaf = SealedEntry::from_bytes(row.leaf.clone());
    let entry = leaf.unverified().map_err(unsound)?;
    let keys = Keys { store: &shared.store, admits };
    shown.actor = actor(&keys, &entry).await?;
    shown.target = target(&keys, &entry).await?;
    shown.details = details(&keys, entry.id, &entry.details).await?;
    Ok(shown)
}

/// An entry as this caller may see it: names and addresses are opened for administrators only.
///
/// # Errors
/// As [`shown`].
pub(super) async fn shown_to(
    who: &Who,
    shared: &Shared,
    row: &StoredEntry,
) -> Result<AuditEntry, StoreError> {
    if who.sees_names() { shown(shared, row).await } else { sealed(shared, row) }
}

/// The same in which nothing about people is opened.
///
/// # Errors
/// When the row is not an entry that this log's key signed.
pub(super) fn sealed(shared: &Shared, row: &StoredEntry) -> Result<AuditEntry, StoreError> {
    let unsound = |_| StoreError::Damaged { table: "entries", row: row.position.to_string() };
    let verified = SealedEntry::from_bytes(row.leaf.clone()).verify(shared.log.key()).map_err(unsound)?;
    let entry = verified.entry();
    let mut details = entry.details.members().clone();
    for (key, _) in entry.details.personal() {
        details.insert(key.to_owned(), Value::Null);
    }
    let target = entry.target.as_ref();
    Ok(AuditEntry {
        index: row.position,
        id: entry.id,
        timestamp: entry.timestamp,
        event_type: entry.event_type.to_string(),
        actor: Party {
            kind: Actor::kind(&entry.actor).to_owned(),
            id: entry.actor.plain_id().map(str::to_owned),
        },
        target: target.map(|target| Party { kind: Target::kind(target).to_owned(), id: target.plain_id() }),
        details,
        key_id: entry.key_id,
        signature: Signature::from_bytes(verified.signature().to_vec()),
        leaf_hash: Digest::from_bytes(*verified.leaf().leaf_hash().as_bytes()),
        merkle_proof: None,
    })
}

/// Who made a ticket, in words; nobody, when the entry that says so is archived.
pub(super) async fn ticket_maker(shared: &Shared, ticket: &str) -> Result<String, StoreError> {
    let event = Some(EventType::TicketCreated);
    let query = EntryQuery { event, target: Some(ticket.to_owned()), ..EntryQuery::default() };
    let first = shared.store.entries(&query, 1).await?;
    match first.first() {
        Some(row) => Ok(shown(shared, row).await?.actor.id.unwrap_or_default()),
        None => Ok(String::new()),
    }
}

/// The keys of people, those that may be used.
struct Keys<'a> {
    store: &'a Store,
    admits: &'a (dyn Fn(&str) -> bool + Sync),
}

async fn actor(keys: &Keys<'_>, entry: &Entry) -> Result<Party, StoreError> {
    let id = match (entry.actor.plain_id(), entry.actor.personal_id()) {
        (Some(id), _) => Some(id.to_owned()),
        (None, Some(sealed)) => open(keys, sealed, entry.id, Place::Actor).await?,
        (None, None) => None,
    };
    Ok(Party { kind: Actor::kind(&entry.actor).to_owned(), id })
}

async fn target(keys: &Keys<'_>, entry: &Entry) -> Result<Option<Party>, StoreError> {
    let Some(target) = &entry.target else { return Ok(None) };
    let id = match (target.plain_id(), target.personal_id()) {
        (Some(id), _) => Some(id),
        (None, Some(sealed)) => open(keys, sealed, entry.id, Place::Target).await?,
        (None, None) => None,
    };
    Ok(Some(Party { kind: Target::kind(target).to_owned(), id }))
}

async fn details(keys: &Keys<'_>, id: EntryId, details: &Details) -> Result<Map<String, Value>, StoreError> {
    let mut shown = details.members().clone();
    for (key, sealed) in details.personal() {
        let opened = open(keys, &sealed, id, Place::Detail(key)).await?;
        shown.insert(key.to_owned(), opened.map_or(Value::Null, Value::String));
    }
    Ok(shown)
}

/// The text, or nothing when the person's key was erased.
async fn open(
    keys: &Keys<'_>,
    sealed: &Personal,
    entry: EntryId,
    place: Place<'_>,
) -> Result<Option<String>, StoreError> {
    let subject = sealed.subject().to_string();
    if !(keys.admits)(&subject) {
        return Ok(None);
    }
    let subject = keys.store.subject(&subject).await?;
    Ok(subject.and_then(|subject| sealed.open(&SubjectKey::new(subject.secret), entry, place).ok()))
}
