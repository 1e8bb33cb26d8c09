//! What an entry can be found by, and what somebody asks for.

use std::collections::BTreeSet;

use kos_audit::{Actor, Entry, EventType, Personal, Target};
use kos_base::{DeviceId, Timestamp};
use serde_json::Value;

/// The words of one entry. All of it stands in the entry, so an index can always be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// When it happened.
    pub(crate) at: Timestamp,
    /// What.
    pub(crate) event: EventType,
    /// Who did it: an id in the clear, or that of a subject.
    pub(crate) actor: String,
    /// To what, likewise.
    pub(crate) target: Option<String>,
    /// Every device and every subject that it speaks of, wherever it does (AUD-80).
    pub(crate) mentions: BTreeSet<String>,
}

impl Words {
    /// The words of `entry`.
    pub(crate) fn of(entry: &Entry) -> Self {
        let (actor, target) = (actor_id(&entry.actor), entry.target.as_ref().map(target_id));
        let mut mentions = BTreeSet::new();
        if let Actor::Device(device) = &entry.actor {
            mentions.insert(device.to_string());
        }
        if let Some(Target::Device(device)) = &entry.target {
            mentions.insert(device.to_string());
        }
        let sealed = [entry.actor.personal_id(), entry.target.as_ref().and_then(Target::personal_id)];
        mentions.extend(sealed.into_iter().flatten().map(subject_of));
        mentions.extend(entry.details.personal().map(|(_, sealed)| subject_of(&sealed)));
        entry.details.members().values().for_each(|value| add_devices(value, &mut mentions));
        Self { at: entry.timestamp, event: entry.event_type, actor, target, mentions }
    }
}

/// The id of an actor, or that of the subject that it is sealed under.
pub(crate) fn actor_id(actor: &Actor) -> String {
    actor.personal_id().map(subject_of).or_else(|| actor.plain_id().map(str::to_owned)).unwrap_or_default()
}

/// The id of a target, likewise.
pub(crate) fn target_id(target: &Target) -> String {
    target.personal_id().map(subject_of).or_else(|| target.plain_id()).unwrap_or_default()
}

fn subject_of(sealed: &Personal) -> String {
    sealed.subject().to_string()
}

/// Adds the texts that are the id of a device, at every level. Entries bound both the levels and the number.
pub(super) fn add_devices(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.parse::<DeviceId>().is_ok() => {
            found.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| add_devices(value, found)),
        Value::Object(members) => members.values().for_each(|value| add_devices(value, found)),
        _ => {}
    }
}

/// Which end of the log comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// The oldest.
    #[default]
    Oldest,
    /// The newest.
    Newest,
}

/// Which entries are asked for. Everything given must fit; of a list of ids, one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// What happened.
    pub(crate) event: Option<EventType>,
    /// Who did it.
    pub(crate) actor: Option<Vec<String>>,
    /// To what.
    pub(crate) target: Option<Vec<String>>,
    /// A device that the entry speaks of.
    pub(crate) device: Option<String>,
    /// A subject that it speaks of; of an empty list there is none.
    pub(crate) person: Option<Vec<String>>,
    /// At or after this moment.
    pub(crate) since: Option<Timestamp>,
    /// Before this moment.
    pub(crate) until: Option<Timestamp>,
}

impl Query {
    /// Whether every entry fits.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry with these words fits. This is what the index must agree with.
    pub(crate) fn admits(&self, words: &Words) -> bool {
        let one_of = |asked: &Option<Vec<String>>, id: Option<&String>| {
            asked.as_ref().is_none_or(|asked| id.is_some_and(|id| asked.contains(id)))
        };
        self.event.is_none_or(|event| event == words.event)
            && one_of(&self.actor, Some(&words.actor))
            && one_of(&self.target, words.target.as_ref())
            && self.device.as_ref().is_none_or(|device| words.mentions.contains(device))
            && self.person.as_ref().is_none_or(|ids| ids.iter().any(|id| words.mentions.contains(id)))
            && self.since.is_none_or(|since| words.at >= since)
            && self.until.is_none_or(|until| words.at < until)
    }
}
