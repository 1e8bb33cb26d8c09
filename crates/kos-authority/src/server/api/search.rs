//! From what somebody asks of the log to what the index is asked: names of people become their subjects.

use kos_api::audit::{AuditFilter, AuditOrder};
use kos_audit::EventType;
use kos_base::{code, text::printable};

use super::{answer::Refusal, call::Context};
use crate::{
    authority::Shared,
    record::Person,
    search::{Order, Query, SearchError},
    store::{Store, StoreError},
};

/// Longest name or id that is looked for, in bytes; nothing in the log is longer.
const WORD_BYTES_MAX: usize = 1_024;
/// Shortest part of the name of an event by which others are like it, in characters.
const LIKE_CHARS_MIN: usize = 4;

impl From<SearchError> for Refusal {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Store(error) => error.into(),
            SearchError::Making | SearchError::Busy => Self::new(error.code()),
        }
    }
}

/// What the index is asked for.
///
/// # Errors
/// When something in the filter is not what belongs there.
pub(super) async fn query(
    shared: &Shared,
    context: &Context,
    filter: &AuditFilter,
) -> Result<Query, Refusal> {
    let sees_names = context.who.sees_names();
    if filter.person.is_some() && !sees_names {
        return Err(Refusal::new(code::audit::PERSON_HIDDEN).under(context.id));
    }
    let event = filter.event_type.as_deref().map(|typed| event(context, typed)).transpose()?;
    let words = [&filter.actor, &filter.target, &filter.device, &filter.person];
    for word in words.into_iter().flatten() {
        if word.len() > WORD_BYTES_MAX {
            return Err(context.bad("a name or id of more than 1024 bytes"));
        }
    }
    let device = filter.device.as_ref().map(|typed| typed.parse::<kos_base::DeviceId>()).transpose();
    let device = device.map_err(|_| {
        let typed = printable(filter.device.as_deref().unwrap_or_default(), 40);
        context.bad(&format!("`{typed}` is not the whole id of a device"))
    })?;
    let person = match &filter.person {
        Some(name) => Some(subjects(&shared.store, name).await?),
        None => None,
    };
    Ok(Query {
        event,
        actor: ids(&shared.store, filter.actor.as_deref(), sees_names).await?,
        target: ids(&shared.store, filter.target.as_deref(), sees_names).await?,
        device: device.map(|device| device.to_string()),
        person,
        since: filter.since,
        until: filter.until,
    })
}

/// Which end comes first.
pub(super) fn order(filter: &AuditFilter) -> Order {
    match filter.order.unwrap_or_default() {
        AuditOrder::Oldest => Order::Oldest,
        AuditOrder::Newest => Order::Newest,
    }
}

/// The event type that somebody typed; those with like names, when there is none of this.
fn event(context: &Context, typed: &str) -> Result<EventType, Refusal> {
    typed.parse::<EventType>().map_err(|error| {
        let parts = || typed.split(['_', '-']).filter(|part| part.len() >= LIKE_CHARS_MIN);
        let words = || EventType::ALL.iter().map(|event| event.as_str());
        let mut alike: Vec<_> = words().filter(|word| parts().all(|part| word.contains(part))).collect();
        if alike.is_empty() || parts().next().is_none() {
            alike = words().filter(|word| parts().any(|part| word.contains(part))).collect();
        }
        let fix = match alike.as_slice() {
            [] => "docs/spec/audit.md lists the event types under AUD-8".to_owned(),
            alike => format!("one of: {}", alike.join(", ")),
        };
        context.bad(&error.to_string()).fixed_by(&fix)
    })
}

/// What may stand in an entry for what somebody typed: the id itself, or a subject of that name. Names are looked up for those
/// who see them: that something is found would tie a name to what else stands there.
async fn ids(
    store: &Store,
    typed: Option<&str>,
    sees_names: bool,
) -> Result<Option<Vec<String>>, StoreError> {
    let Some(typed) = typed else { return Ok(None) };
    let mut found = if sees_names { subjects(store, typed).await? } else { Vec::new() };
    found.push(typed.to_owned());
    Ok(Some(found))
}

/// The subjects of everybody who is called so and whose key is there.
pub(super) async fn subjects(store: &Store, name: &str) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for person in Person::called(name) {
        found.extend(store.subject_of(&person.subject()).await?.map(|subject| subject.id));
    }
    Ok(found)
}
