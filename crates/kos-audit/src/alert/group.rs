//! What an engine remembers of entries that are taken together.
//!
//! Source: ALR-15 to ALR-17.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::rule::{Per, Rule};
use crate::Entry;

/// Most groups of one rule. Stops a flood from many addresses from filling the memory.
pub(super) const GROUPS_MAX: usize = 128;

/// Where entries are counted for which there is no group of their own.
pub(super) const SHARED: &str = "*";

/// An entry that fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hit {
    /// When, in milliseconds of the engine's own time.
    pub(super) at: u64,
    /// Where in the log.
    pub(super) index: u64,
    /// How much happened: an entry can stand for many refusals.
    pub(super) weight: u32,
}

/// Entries of one rule that are taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// Those that count, oldest first.
    pub(super) hits: VecDeque<Hit>,
    /// The last alert, when it was, and how much happened since.
    pub(super) last: Option<LastAlert>,
}

/// The last alert of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastAlert {
    pub(super) at: u64,
    pub(super) id: String,
    pub(super) since: u64,
    /// The first and the last entry since.
    #[serde(default)]
    pub(super) unseen: Option<(u64, u64)>,
}

/// The groups of one rule.
pub(super) type Groups = BTreeMap<String, Group>;

/// Which entries of a rule an entry is taken together with.
pub(super) fn key_of(per: Per, entry: &Entry) -> String {
    match per {
        Per::None => String::new(),
        Per::Target => match &entry.target {
            None => String::new(),
            Some(target) => {
                let id = target.plain_id().or_else(|| Some(target.personal_id()?.subject().to_string()));
                format!("{} {}", target.kind(), id.unwrap_or_default())
            }
        },
        Per::Actor => actor(entry),
    }
}

/// The actor; of what the authority records about strangers, their address.
fn actor(entry: &Entry) -> String {
    let own = entry.actor.personal_id().map(|id| id.subject());
    let stranger = || {
        let mut personal = entry.details.personal();
        personal.find(|(name, _)| *name == "networkAddress").map(|(_, id)| id.subject())
    };
    match (own.or_else(stranger), entry.actor.plain_id()) {
        (Some(subject), _) => format!("subject {subject}"),
        (None, id) => format!("{} {}", entry.actor.kind(), id.unwrap_or_default()),
    }
}

/// How much an entry stands for.
pub(super) fn weight_of(entry: &Entry) -> u32 {
    let count = entry.details.members().get("count").and_then(serde_json::Value::as_u64);
    count.map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

/// The group of `key`. Groups in which nothing counts any more make room; where there is none, entries are counted
/// together, so that they raise an alert too early rather than none.
pub(super) fn group_of<'a>(
    groups: &'a mut Groups,
    rule: &Rule,
    key: String,
    now: u64,
) -> (String, &'a mut Group) {
    if !groups.contains_key(&key) && groups.len() >= GROUPS_MAX {
        groups.retain(|_, group| !group.is_over(rule, now));
    }
    let has_room = groups.len() < GROUPS_MAX || groups.contains_key(&key);
    let key = if has_room { key } else { SHARED.to_owned() };
    (key.clone(), groups.entry(key).or_default())
}

impl Group {
    /// Forgets what does not count any more.
    pub(super) fn age(&mut self, rule: &Rule, now: u64) {
        while self.hits.front().is_some_and(|hit| now - hit.at > rule.window_ms()) {
            self.hits.pop_front();
        }
    }

    /// Whether an alert was raised so recently that there is no other.
    pub(super) fn is_quiet(&self, rule: &Rule, now: u64) -> bool {
        self.last.as_ref().is_some_and(|last| now - last.at < rule.quiet_ms())
    }

    fn is_over(&self, rule: &Rule, now: u64) -> bool {
        let last = self.hits.back();
        !self.is_quiet(rule, now) && last.is_none_or(|hit| now - hit.at > rule.window_ms())
    }
}
