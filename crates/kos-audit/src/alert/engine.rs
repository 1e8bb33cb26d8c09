//! Takes the entries of a log one by one and gives the alerts.
//!
//! Shape: [`Engine::observe`] with every entry in the order of the log; an entry that was taken before is passed over. The
//! state has a form on the disk ([`Engine::state`]) with the rules that it belongs to. The shell keeps it together with the
//! alerts, so that after any end the engine goes on where both were.
//!
//! Time is the engine's own (ALR-16): it goes on by as much as the timestamp of an entry is later than that of the entry
//! before. A clock that is set back makes it stand still for one entry, and never run backwards.
//!
//! Invariants: what happens depends on state and entries alone. Windows hold what is not older than they are long, to the
//! millisecond. In its quiet a group raises nothing and forgets nothing that counts afterwards: how much came meanwhile
//! is told by the next alert, and by [`Engine::take_repeats`].
//!
//! Source: ALR-14 to ALR-19.

use core::{fmt, str::FromStr};
use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use kos_base::{Timestamp, digest::sha256_parts};
use serde::{Deserialize, Serialize};

use super::{
    group::{Group, Groups, Hit, LastAlert, SHARED, group_of, key_of, weight_of},
    pattern::{Pattern, is_of_alerts},
    rule::{Condition, Rule, RuleName, Severity},
    set::{RuleFile, RuleSet},
};
use crate::{Entry, EventType, Label};

/// Most entries that an alert names; it counts all of them.
const NAMED_MAX: usize = 32;

/// The id of an alert: 16 bytes of a hash over rule, first and last entry, in lower-case hex (ALR-14).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(String);

/// Something that a guardian has to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// Its id: the same entries give the same.
    pub id: AlertId,
    /// The rule.
    pub rule: RuleName,
    /// How much hangs on it.
    pub severity: Severity,
    /// What it means.
    pub summary: String,
    /// Whose entries these are: a kind and an id; nothing when they are everybody's.
    pub group: Option<String>,
    /// How much happened.
    pub count: u64,
    /// How much of the same happened in the quiet before, of which nobody was told.
    pub unseen: u64,
    /// The first entry.
    pub first: u64,
    /// The last, which raised it.
    pub last: u64,
    /// The entries, the newest 32 of them.
    pub entries: Vec<u64>,
    /// When the last one happened.
    pub at: Timestamp,
}

/// A state that cannot be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the state of an engine of this version")]
pub struct EngineError;

/// Everything that an engine knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The rules that were in force, as somebody wrote them.
    file: RuleFile,
    /// Milliseconds of its own time.
    now: u64,
    /// The timestamp of the last entry.
    last: Option<Timestamp>,
    /// The index of the entry that comes next.
    next: u64,
    groups: BTreeMap<RuleName, Groups>,
}

/// The rules at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    rules: RuleSet,
    state: State,
    repeats: BTreeMap<AlertId, u64>,
}

impl Engine {
    /// One that has seen nothing, and begins at `next`, with the built-in rules.
    pub fn new(next: u64) -> Self {
        let state = State { next, ..State::default() };
        Self { rules: RuleSet::built_in(), state, repeats: BTreeMap::new() }
    }

    /// One that goes on from a state.
    ///
    /// # Errors
    /// When it is none of this version. Begin anew, some time before the end of the log.
    pub fn resume(state: &[u8]) -> Result<Self, EngineError> {
        let state: State = serde_json::from_slice(state).map_err(|_| EngineError)?;
        let rules = RuleSet::of(&state.file).map_err(|_| EngineError)?;
        Ok(Self { rules, state, repeats: BTreeMap::new() })
    }

    /// What [`Engine::resume`] takes.
    pub fn state(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state).unwrap_or_default()
    }

    /// The index of the entry that it takes next.
    pub const fn next(&self) -> u64 {
        self.state.next
    }

    /// The rules that are in force.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Puts other rules in force. What is remembered for a rule that goes on is kept, also under other numbers. What came
    /// in the quiet of one that goes, and nobody was told of, is one last alert.
    pub fn replace(&mut self, file: RuleFile, rules: RuleSet) -> Vec<Alert> {
        let before = core::mem::replace(&mut self.rules, rules);
        self.state.file = file;
        let mut last = Vec::new();
        for (name, mut groups) in core::mem::take(&mut self.state.groups) {
            let Some(old) = before.rules().iter().find(|rule| rule.name == name) else { continue };
            match self.rules.rules().iter().find(|rule| rule.name == name) {
                Some(new) if new.per == old.per => {
                    if !new.counts_as(old) {
                        groups.values_mut().for_each(|group| group.hits.clear());
                    }
                    self.state.groups.insert(name, groups);
                }
                _ => last.extend(untold(old, &groups, self.state.last.unwrap_or_default())),
            }
        }
        last
    }

    /// Takes the next entry.
    pub fn observe(&mut self, entry: &Entry) -> Vec<Alert> {
        let index = entry.sequence.index();
        if index < self.state.next {
            return Vec::new();
        }
        self.pass(index, entry.timestamp);
        if is_of_alerts(entry.event_type) {
            return Vec::new();
        }
        let now = self.state.now;
        let mut alerts = Vec::new();
        for rule in self.rules.rules() {
            let begins = rule.matches.iter().any(|pattern| pattern.fits(entry));
            let ends = match &rule.when {
                Condition::Sequence { then, .. } => then.iter().any(|pattern| pattern.fits(entry)),
                Condition::Each | Condition::Count { .. } => false,
            };
            if !begins && !ends {
                continue;
            }
            let groups = self.state.groups.entry(rule.name.clone()).or_default();
            let (key, group) = group_of(groups, rule, key_of(rule.per, entry), now);
            let hit = Hit { at: now, index, weight: weight_of(entry) };
            let (raised, repeated) = step(rule, group, hit, Fit { begins, ends });
            self.repeats.extend(repeated);
            alerts.extend(raised.map(|raised| raised.into_alert(rule, key, entry)));
        }
        alerts
    }

    /// Whether any rule is about entries with this event. Others need not be read: [`Engine::pass`].
    pub fn wants(&self, event: EventType) -> bool {
        let wants = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.events.contains(&event));
        let is_about = |rule: &Rule| match &rule.when {
            Condition::Sequence { then, .. } => wants(&rule.matches) || wants(then),
            Condition::Each | Condition::Count { .. } => wants(&rule.matches),
        };
        event == EventType::AlertRulesChanged || self.rules.rules().iter().any(is_about)
    }

    /// Takes an entry that no rule is about: only time goes on.
    pub fn pass(&mut self, index: u64, at: Timestamp) {
        if index < self.state.next {
            return;
        }
        let before = self.state.last.replace(at).unwrap_or(at);
        // Zero when the clock was set back.
        let elapsed = at.unix_ms().saturating_sub(before.unix_ms());
        self.state.now = self.state.now.saturating_add(elapsed);
        self.state.next = index + 1;
    }

    /// An entry that nobody can read: no rule looks at it, and no time passes.
    pub fn skip(&mut self, index: u64) {
        self.state.next = self.state.next.max(index.saturating_add(1));
    }

    /// How much happened in all, for alerts after which more of the same came since this was asked last.
    pub fn take_repeats(&mut self) -> Vec<(AlertId, u64)> {
        core::mem::take(&mut self.repeats).into_iter().collect()
    }
}

/// How an entry fits a rule.
#[derive(Clone, Copy)]
struct Fit {
    begins: bool,
    ends: bool,
}

/// An alert before it has words.
struct Raised {
    id: AlertId,
    hits: Vec<Hit>,
    unseen: u64,
}

/// One entry for one group: what is raised, and how often the last alert repeated itself by now.
fn step(rule: &Rule, group: &mut Group, hit: Hit, fit: Fit) -> (Option<Raised>, Option<(AlertId, u64)>) {
    group.age(rule, hit.at);
    if group.is_quiet(rule, hit.at) {
        let counts = !matches!(rule.when, Condition::Sequence { .. }) || fit.ends;
        let repeated = group.last.as_mut().filter(|_| counts).map(|last| {
            last.since = last.since.saturating_add(u64::from(hit.weight));
            last.unseen = Some((last.unseen.map_or(hit.index, |(first, _)| first), hit.index));
            (AlertId(last.id.clone()), last.since)
        });
        return (None, repeated);
    }
    let hits = match &rule.when {
        Condition::Each => vec![hit],
        Condition::Count { times, .. } => {
            group.hits.push_back(hit);
            if total(group.hits.iter()) < u64::from(*times) {
                return (None, None);
            }
            core::mem::take(&mut group.hits).into()
        }
        Condition::Sequence { .. } => match group.hits.pop_back() {
            Some(first) if fit.ends => vec![first, hit],
            first => {
                // The newest beginning counts: it is the last to be forgotten.
                group.hits.extend(if fit.begins { Some(hit) } else { first });
                return (None, None);
            }
        },
    };
    let first = hits.first().map_or(hit.index, |first| first.index);
    let id = AlertId::of(&rule.name, first, hit.index);
    let unseen = group.last.take().map_or(0, |last| last.since);
    group.last = Some(LastAlert { at: hit.at, id: id.0.clone(), since: 0, unseen: None });
    (Some(Raised { id, hits, unseen }), None)
}

/// What came in the quiet of a rule that goes: one alert, however many groups it had.
fn untold(rule: &Rule, groups: &Groups, at: Timestamp) -> Option<Alert> {
    let quiet = groups.iter().filter_map(|(key, group)| {
        let last = group.last.as_ref()?;
        Some((key, last.since, last.unseen?))
    });
    let quiet: Vec<_> = quiet.collect();
    let first = quiet.iter().map(|(.., (first, _))| *first).min()?;
    let last = quiet.iter().map(|(.., (_, last))| *last).max()?;
    let group = if let [(key, ..)] = quiet[..] { key.clone() } else { SHARED.to_owned() };
    Some(Alert {
        id: AlertId::of(&rule.name, first, last),
        rule: rule.name.clone(),
        severity: rule.severity,
        summary: rule.summary.clone(),
        group: Some(group).filter(|group| !group.is_empty()),
        count: quiet.iter().fold(0, |sum, (_, since, _)| sum.saturating_add(*since)),
        unseen: 0,
        first,
        last,
        entries: if first == last { vec![last] } else { vec![first, last] },
        at,
    })
}

fn total<'a>(hits: impl Iterator<Item = &'a Hit>) -> u64 {
    hits.map(|hit| u64::from(hit.weight)).sum()
}

impl Raised {
    fn into_alert(self, rule: &Rule, key: String, entry: &Entry) -> Alert {
        let Self { id, hits, unseen } = self;
        let last = entry.sequence.index();
        let indices: Vec<u64> = hits.iter().map(|hit| hit.index).collect();
        Alert {
            id,
            rule: rule.name.clone(),
            severity: rule.severity,
            summary: rule.summary.clone(),
            group: Some(key).filter(|key| !key.is_empty()),
            count: total(hits.iter()),
            unseen,
            first: indices.first().copied().unwrap_or(last),
            last,
            entries: indices.iter().skip(indices.len().saturating_sub(NAMED_MAX)).copied().collect(),
            at: entry.timestamp,
        }
    }
}

impl AlertId {
    /// The id of what `rule` raises over entries from `first` to `last`.
    pub fn of(rule: &RuleName, first: u64, last: u64) -> Self {
        let parts: [&[u8]; 3] = [rule.as_str().as_bytes(), &first.to_be_bytes(), &last.to_be_bytes()];
        let hash = sha256_parts("kos alert v1", parts);
        Self(HEXLOWER.encode(hash.first_chunk::<16>().unwrap_or(&[0; 16])))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not the id of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an alert: 32 characters of lower-case hex")]
pub struct ParseAlertIdError;

impl FromStr for AlertId {
    type Err = ParseAlertIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let is_hex = s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if s.len() == 32 && is_hex { Ok(Self(s.to_owned())) } else { Err(ParseAlertIdError) }
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&AlertId> for Label {
    #[expect(clippy::expect_used, reason = "hex is a label")]
    fn from(id: &AlertId) -> Self {
        id.0.parse().expect("a label")
    }
}
