//! What a vault must hold after a kill, by what was acknowledged and by what the log says.
//!
//! The log is replayed over what was known before. What comes out must be what the vault holds, name by name, but for one
//! change that was in its file and not yet in the log, of which `vault_repaired` tells. Every answer must be in the log, and
//! everything in the log must have been asked for.

use std::collections::{BTreeMap, BTreeSet};

/// Something that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Put { name: String, value: String },
    Remove { name: String },
    Rotate { passphrase: String },
    Get { name: String },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The number of the version that was put.
    Version(u64),
    /// The value that was given.
    Value(String),
    Done,
}

/// A wish and its answer, if there was one before the kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) wish: Wish,
    pub(super) answer: Option<Answer>,
    /// Whether the authority said that it could not be done.
    pub(super) failed: bool,
}

impl Attempt {
    pub(super) const fn new(wish: Wish) -> Self {
        Self { wish, answer: None, failed: false }
    }
}

/// An entry of the log about a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) name: Option<String>,
    pub(super) version: Option<u64>,
    pub(super) generation: Option<u64>,
}

/// A vault as it is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) generation: u64,
    /// Of the file itself.
    pub(super) file_generation: u64,
    /// The newest version of each name.
    pub(super) versions: BTreeMap<String, u64>,
    pub(super) passphrase: String,
}

/// What is known of one vault.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) generation: u64,
    pub(super) versions: BTreeMap<String, u64>,
    pub(super) passphrase: String,
    /// What each version of each name holds. More than one value where nobody heard which of two clients was first.
    values: BTreeMap<(String, u64), BTreeSet<String>>,
    /// Secrets that were given in answers, of which no entry was seen yet.
    pub(super) given: usize,
}

/// What a look after a kill has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is lost, in words.
    pub(super) lost: Vec<String>,
    /// Changes that were acknowledged.
    pub(super) acknowledged: usize,
    /// Changes that are there although nobody heard of them.
    pub(super) unheard: usize,
    /// Whether the file was one ahead.
    pub(super) repaired: bool,
}

impl Ledger {
    /// Of a vault that was just made.
    pub(super) fn new(generation: u64, passphrase: &str) -> Self {
        Self { generation, passphrase: passphrase.to_owned(), ..Self::default() }
    }

    /// Compares, and goes on from what was found.
    pub(super) fn judge(&mut self, attempts: &[Attempt], events: &[Event], found: &Found) -> Verdict {
        let mut lost = self.count(events, found);
        let replay = self.replay(attempts, events, &mut lost);
        self.compare(&replay, found, &mut lost);
        self.generation = found.generation;
        self.versions.clone_from(&found.versions);
        self.passphrase.clone_from(&found.passphrase);
        self.given = 0;
        let is_kept =
            |name: &String, version: &u64| found.versions.get(name).is_some_and(|newest| version <= newest);
        self.values.retain(|(name, version), _| is_kept(name, version));
        let Replay { acknowledged, unheard, repairs, .. } = replay;
        Verdict { lost, acknowledged, unheard: unheard + repairs, repaired: repairs > 0 }
    }

    /// Every generation has one entry, and the last is that of the vault and of its file.
    fn count(&self, events: &[Event], found: &Found) -> Vec<String> {
        let mut lost = Vec::new();
        let mut generation = self.generation;
        for event in events {
            if event.generation.is_some() && event.kind != "vault_exported" {
                generation += 1;
                if event.generation != Some(generation) {
                    lost.push(format!("the log has {event:?} where generation {generation} belongs"));
                }
            }
            if matches!(event.kind.as_str(), "vault_refused" | "vault_created" | "vault_imported") {
                lost.push(format!("the log has {event:?}"));
            }
        }
        if found.generation != generation || found.file_generation != generation {
            let (vault, file) = (found.generation, found.file_generation);
            lost.push(format!(
                "the log ends with generation {generation}, the vault has {vault}, its file {file}"
            ));
        }
        lost
    }

    /// What follows from the log. What was answered is in it, and what is in it was asked for.
    fn replay(&mut self, attempts: &[Attempt], events: &[Event], lost: &mut Vec<String>) -> Replay {
        let mut replay = Replay {
            versions: self.versions.clone(),
            passphrase: self.passphrase.clone(),
            left: attempts.to_vec(),
            ..Replay::default()
        };
        for event in events {
            let name = event.name.clone().unwrap_or_default();
            let version = event.version.unwrap_or_default();
            let attempt = match event.kind.as_str() {
                "vault_entry_put" => {
                    let before = replay.versions.insert(name.clone(), version).unwrap_or_default();
                    if version != before + 1 {
                        lost.push(format!("version {version} of {name} follows {before}"));
                    }
                    let is_put = |wish: &Wish| matches!(wish, Wish::Put { name: n, .. } if *n == name);
                    let attempt = replay.take(is_put, &Answer::Version(version));
                    let values = match &attempt {
                        Some(Attempt { wish: Wish::Put { value, .. }, answer: Some(_), .. }) => {
                            BTreeSet::from([value.clone()])
                        }
                        _ => candidates(attempts, &name),
                    };
                    self.values.insert((name, version), values);
                    attempt
                }
                "vault_entry_removed" => {
                    if replay.versions.remove(&name) != Some(version) {
                        lost.push(format!("version {version} of {name} was removed and not there"));
                    }
                    let wanted = Wish::Remove { name };
                    replay.take(|wish| *wish == wanted, &Answer::Done)
                }
                "vault_rotated" => {
                    let attempt = replay.take(|wish| matches!(wish, Wish::Rotate { .. }), &Answer::Done);
                    if let Some(Attempt { wish: Wish::Rotate { passphrase }, .. }) = &attempt {
                        replay.passphrase.clone_from(passphrase);
                    }
                    attempt
                }
                // What the loop itself has read comes first.
                "vault_access" if self.given > 0 => {
                    self.given -= 1;
                    continue;
                }
                "vault_access" => {
                    let wanted = Wish::Get { name: name.clone() };
                    let attempt = replay.take_get(&wanted);
                    if let Some(Attempt { answer: Some(Answer::Value(value)), .. }) = &attempt
                        && !self.holds(&name, version, value)
                    {
                        lost.push(format!("version {version} of {name} was given as `{value}`"));
                    }
                    if attempt.is_none() {
                        lost.push(format!("the log has {event:?} that nobody asked for"));
                    }
                    continue;
                }
                "vault_repaired" => {
                    replay.repairs += 1;
                    continue;
                }
                _ => continue,
            };
            match attempt {
                Some(Attempt { answer: Some(_), .. }) => replay.acknowledged += 1,
                Some(_) => replay.unheard += 1,
                None => lost.push(format!("the log has {event:?} that nobody asked for")),
            }
        }
        for attempt in replay.left.iter().filter(|attempt| attempt.answer.is_some()) {
            lost.push(format!("{attempt:?} was acknowledged and is not in the log"));
        }
        if self.given > 0 {
            lost.push(format!("{} secrets were given and are not in the log", self.given));
        }
        replay
    }

    /// The vault holds what the log says, but for one change of which nobody heard.
    fn compare(&mut self, replay: &Replay, found: &Found, lost: &mut Vec<String>) {
        let names: BTreeSet<&String> = replay.versions.keys().chain(found.versions.keys()).collect();
        let mut changed = 0;
        for name in names {
            let (logged, held) = (replay.versions.get(name).copied(), found.versions.get(name).copied());
            if logged == held {
                continue;
            }
            changed += 1;
            let wished = |fits: &dyn Fn(&Wish) -> bool| replay.left.iter().any(|left| fits(&left.wish));
            let was_put = held == Some(logged.unwrap_or_default() + 1)
                && wished(&|wish| matches!(wish, Wish::Put { name: n, .. } if n == name));
            let was_removed = held.is_none() && wished(&|wish| *wish == Wish::Remove { name: name.clone() });
            if let (true, Some(version)) = (was_put, held) {
                self.values.insert((name.clone(), version), candidates(&replay.left, name));
            }
            if !(was_put || was_removed) {
                lost.push(format!("{name}: the log says version {logged:?}, the vault has {held:?}"));
            }
        }
        if found.passphrase != replay.passphrase {
            changed += 1;
            let wanted = Wish::Rotate { passphrase: found.passphrase.clone() };
            if !replay.left.iter().any(|left| left.wish == wanted) {
                lost.push("it opens with a passphrase that nobody gave it".to_owned());
            }
        }
        if changed > 1 || changed != replay.repairs {
            lost.push(format!("{changed} changes without an entry of their own, {} repairs", replay.repairs));
        }
    }

    /// Whether a version holds what it should. What is seen once must stay so.
    pub(super) fn holds(&mut self, name: &str, version: u64, value: &str) -> bool {
        let Some(values) = self.values.get_mut(&(name.to_owned(), version)) else { return false };
        let holds = values.contains(value);
        if holds {
            *values = BTreeSet::from([value.to_owned()]);
        }
        holds
    }
}

/// What follows from the log.
#[derive(Debug, Default)]
struct Replay {
    versions: BTreeMap<String, u64>,
    passphrase: String,
    /// What was asked for and is not in the log.
    left: Vec<Attempt>,
    acknowledged: usize,
    unheard: usize,
    repairs: usize,
}

impl Replay {
    /// The attempt that an entry tells of: the one with this answer, or one without any.
    fn take(&mut self, fits: impl Fn(&Wish) -> bool, answer: &Answer) -> Option<Attempt> {
        let heard = |a: &Attempt| fits(&a.wish) && a.answer.as_ref() == Some(answer);
        let unheard = |a: &Attempt| fits(&a.wish) && a.answer.is_none();
        let at = self.left.iter().position(heard).or_else(|| self.left.iter().position(unheard))?;
        Some(self.left.remove(at))
    }

    /// The same for a secret that was given.
    fn take_get(&mut self, wanted: &Wish) -> Option<Attempt> {
        let heard = self.left.iter().position(|a| a.wish == *wanted && a.answer.is_some());
        let at = heard.or_else(|| self.left.iter().position(|a| a.wish == *wanted))?;
        Some(self.left.remove(at))
    }
}

/// The values that were to be put under a name and of which nobody heard.
fn candidates(attempts: &[Attempt], name: &str) -> BTreeSet<String> {
    let values = attempts.iter().filter_map(|attempt| match &attempt.wish {
        Wish::Put { name: n, value } if n == name && attempt.answer.is_none() => Some(value.clone()),
        _ => None,
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str, value: &str, answer: Option<u64>) -> Attempt {
        let wish = Wish::Put { name: name.to_owned(), value: value.to_owned() };
        Attempt { answer: answer.map(Answer::Version), ..Attempt::new(wish) }
    }

    fn event(kind: &str, name: Option<&str>, version: Option<u64>, generation: Option<u64>) -> Event {
        Event { kind: kind.to_owned(), name: name.map(str::to_owned), version, generation }
    }

    fn found(generation: u64, versions: &[(&str, u64)]) -> Found {
        let versions = versions.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        Found { generation, file_generation: generation, versions, passphrase: "old".to_owned() }
    }

    fn ledger() -> Ledger {
        Ledger::new(1, "old")
    }

    fn lost(attempts: &[Attempt], events: &[Event], found: &Found) -> Vec<String> {
        ledger().judge(attempts, events, found).lost
    }

    #[test]
    fn what_was_answered_recorded_and_is_there_is_not_lost() {
        let attempts = [put("a", "1", Some(1)), put("a", "2", None)];
        let events = [event("vault_entry_put", Some("a"), Some(1), Some(2))];
        let mut ledger = ledger();
        let verdict = ledger.judge(&attempts, &events, &found(2, &[("a", 1)]));
        assert_eq!((verdict.acknowledged, verdict.unheard, verdict.lost), (1, 0, Vec::new()));
        assert!(ledger.holds("a", 1, "1") && !ledger.holds("a", 1, "2") && !ledger.holds("a", 2, "2"));
    }

    #[test]
    fn one_change_that_nobody_heard_of_may_be_there_with_its_repair_and_no_second() {
        let attempts = [put("a", "1", None), put("b", "2", None)];
        let repaired = [event("vault_repaired", None, None, Some(2))];
        let mut ledger = ledger();
        let verdict = ledger.judge(&attempts, &repaired, &found(2, &[("a", 1)]));
        assert_eq!((verdict.unheard, verdict.repaired, verdict.lost), (1, true, Vec::new()));
        assert!(ledger.holds("a", 1, "1"));
        assert_ne!(lost(&attempts, &repaired, &found(2, &[("a", 1), ("b", 1)])), [""; 0]);
        assert_ne!(lost(&attempts, &[], &found(1, &[("a", 1)])), [""; 0]);
        assert_ne!(lost(&attempts, &repaired, &found(2, &[])), [""; 0]);
    }

    #[test]
    fn an_answer_without_entry_or_change_is_lost() {
        let attempts = [put("a", "1", Some(1))];
        assert_ne!(lost(&attempts, &[], &found(1, &[])), [""; 0]);
        assert_ne!(lost(&attempts, &[], &found(2, &[("a", 1)])), [""; 0]);
        let entry = [event("vault_entry_put", Some("a"), Some(1), Some(2))];
        assert_ne!(lost(&attempts, &entry, &found(2, &[])), [""; 0]);
        assert_ne!(lost(&attempts, &entry, &found(2, &[("a", 2)])), [""; 0]);
        assert_ne!(lost(&attempts, &entry, &Found { file_generation: 1, ..found(2, &[("a", 1)]) }), [""; 0]);
    }

    #[test]
    fn an_entry_that_nobody_asked_for_or_in_a_wrong_place_is_a_loss() {
        let entry = |generation| event("vault_entry_put", Some("a"), Some(1), Some(generation));
        assert_ne!(lost(&[], &[entry(2)], &found(2, &[("a", 1)])), [""; 0]);
        assert_ne!(lost(&[put("a", "1", Some(1))], &[entry(3)], &found(2, &[("a", 1)])), [""; 0]);
        let refused = [entry(2), event("vault_refused", None, None, None)];
        assert_ne!(lost(&[put("a", "1", Some(1))], &refused, &found(2, &[("a", 1)])), [""; 0]);
        let access = [event("vault_access", Some("a"), Some(1), None)];
        assert_ne!(lost(&[], &access, &found(1, &[])), [""; 0]);
        let wish = Wish::Get { name: "a".to_owned() };
        let get = Attempt { answer: Some(Answer::Value("1".to_owned())), ..Attempt::new(wish) };
        assert_ne!(lost(&[get], &[], &found(1, &[])), [""; 0]);
    }

    #[test]
    fn a_rotation_is_known_by_the_passphrase_that_opens() {
        let wish = Wish::Rotate { passphrase: "new".to_owned() };
        let rotate = |answer| Attempt { answer, ..Attempt::new(wish.clone()) };
        let entry = [event("vault_rotated", None, None, Some(2))];
        let new = Found { passphrase: "new".to_owned(), ..found(2, &[]) };
        assert_eq!(lost(&[rotate(Some(Answer::Done))], &entry, &new), [""; 0]);
        assert_ne!(lost(&[rotate(Some(Answer::Done))], &entry, &found(2, &[])), [""; 0]);
        let repaired = [event("vault_repaired", None, None, Some(2))];
        assert_eq!(lost(&[rotate(None)], &repaired, &new), [""; 0]);
        assert_ne!(lost(&[rotate(None)], &[], &Found { generation: 1, file_generation: 1, ..new }), [""; 0]);
    }
}
