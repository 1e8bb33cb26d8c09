//! Which entries a rule is about.
//!
//! Source: ALR-4, ALR-5.

use std::collections::BTreeMap;

use kos_base::text::printable;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Entry, EventType};

/// Most event types, kinds of party and details of one pattern; bounds the work for each entry.
const PARTS_MAX: usize = 16;

/// Longest text that a detail is compared with, in bytes.
const TEXT_BYTES_MAX: usize = 200;

/// The kinds of actors and of targets, as entries write them.
const ACTORS: [&str; 5] = ["authority", "device", "local-user", "operator", "unknown"];
const TARGETS: [&str; 11] = [
    "alert",
    "authority",
    "backup",
    "certificate",
    "device",
    "guardian",
    "issuer",
    "operator",
    "rule",
    "ticket",
    "vault",
];

/// Entries that fit: one of the events and, where they are given, one of the kinds of actor, one of the kinds of target,
/// and every detail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pattern {
    /// Kinds of actors, any when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// Details that the entry has with exactly this value: text, whole number, true or false.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
    /// Event types; at least one.
    pub events: Vec<EventType>,
    /// Kinds of targets, any when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// A pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It names no event.
    #[error("a pattern names at least one event")]
    NoEvent,
    /// It would make alerts raise alerts.
    #[error("`{0}` is caused by alerts and raises none")]
    Loop(EventType),
    /// It has too many parts.
    #[error("a pattern has at most {PARTS_MAX} events, kinds and details each")]
    TooMany,
    /// A word that is not a kind of actor or target.
    #[error("`{0}` is not a kind of actor or target")]
    Kind(String),
    /// A detail is compared with something that has parts, or is too long.
    #[error(
        "the detail `{0}` is compared with a text of at most {TEXT_BYTES_MAX} bytes, a whole number, true or false"
    )]
    Detail(String),
}

impl Pattern {
    /// Entries with one of these events.
    pub fn of(events: &[EventType]) -> Self {
        Self { events: events.to_vec(), ..Self::default() }
    }

    /// The same, with this detail.
    #[must_use]
    pub fn with(mut self, detail: &str, value: impl Into<Value>) -> Self {
        self.details.insert(detail.to_owned(), value.into());
        self
    }

    /// Whether the entry fits.
    pub fn fits(&self, entry: &Entry) -> bool {
        let is_among = |kinds: &[String], kind: Option<&str>| {
            kinds.is_empty() || kind.is_some_and(|kind| kinds.iter().any(|wanted| wanted == kind))
        };
        let details = entry.details.members();
        self.events.contains(&entry.event_type)
            && is_among(&self.actors, Some(entry.actor.kind()))
            && is_among(&self.targets, entry.target.as_ref().map(crate::Target::kind))
            && self.details.iter().all(|(name, value)| details.get(name) == Some(value))
    }

    pub(super) fn check(&self) -> Result<(), PatternError> {
        if self.events.is_empty() {
            return Err(PatternError::NoEvent);
        }
        let parts = [self.events.len(), self.actors.len(), self.targets.len(), self.details.len()];
        if parts.into_iter().any(|parts| parts > PARTS_MAX) {
            return Err(PatternError::TooMany);
        }
        if let Some(event) = self.events.iter().find(|event| is_of_alerts(**event)) {
            return Err(PatternError::Loop(*event));
        }
        for (kinds, known) in [(&self.actors, ACTORS.as_slice()), (&self.targets, TARGETS.as_slice())] {
            if let Some(kind) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
                return Err(PatternError::Kind(printable(kind, 40)));
            }
        }
        let odd = self.details.iter().find(|(name, value)| !is_plain(name, value));
        odd.map_or(Ok(()), |(name, _)| Err(PatternError::Detail(printable(name, 40))))
    }
}

fn is_plain(name: &str, value: &Value) -> bool {
    let value = match value {
        Value::Bool(_) => true,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::String(text) => text.len() <= TEXT_BYTES_MAX,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    value && name.len() <= 64
}

/// What alerts themselves cause (ALR-5).
pub(super) const fn is_of_alerts(event: EventType) -> bool {
    matches!(event, EventType::AlertRaised | EventType::AlertAcknowledged | EventType::AlertUndelivered)
}
