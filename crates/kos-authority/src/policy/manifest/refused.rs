//! What manifests, grants, enforcement modules and own keys refused to devices, counted and recorded: one entry a device and policy at once, and one a minute for
//! what comes after it (as in decision 0005).
//!
//! Limits: [`REFUSED_MAX`], [`OF_A_DEVICE_MAX`]. Nothing that a device chooses, such as the recipient, makes an entry of its own. What was counted stays until it is in the log.
//!
//! Source: `docs/spec/manifest.md` MAN-19.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{Code, DeviceId, Timestamp, code};
use kos_manifest::Outcome;

use crate::{
    authority::Shared,
    record::{Change, SystemChange},
    store::StoreError,
    writer::Transaction,
};

/// Kinds of refusals that are counted at a time. Stops a fleet that turns hostile at once from filling the memory; what
/// comes on top is refused all the same.
const REFUSED_MAX: usize = 4_096;
/// Kinds of refusals of one device that are counted apart, for each thing that refuses. Stops one device from using up what is
/// there for all: its others are counted together.
const OF_A_DEVICE_MAX: usize = 16;
/// Least time between two entries of the same device and kind, after the first.
const EVERY: Duration = Duration::from_secs(60);

/// Which device, what refused, and the kind; nothing for those beyond [`OF_A_DEVICE_MAX`].
type Key = (DeviceId, &'static str, String);

const MANIFEST: By = ("manifest", code::manifest::MANIFEST_REFUSES);

#[derive(Clone, Debug)]
struct Counted {
    by: By,
    /// The last one.
    request: String,
    outcome: Outcome,
    count: u64,
    /// When the last entry about it was written.
    told: Option<Timestamp>,
}

impl Counted {
    fn new(by: By, request: &str, outcome: Outcome) -> Self {
        Self { by, request: request.to_owned(), outcome, count: 1, told: None }
    }
}

/// What refused, and with which code.
type By = (&'static str, Code);

/// What was refused and is not recorded yet.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<BTreeMap<Key, Counted>>);

impl Refused {
    /// Counts a refusal of `request` by the manifests. What one policy refuses to one device is of one kind.
    pub(crate) fn count(&self, device: &DeviceId, request: &str, outcome: Outcome) {
        let kind =
            outcome.policy.as_ref().map_or_else(|| "no policy".to_owned(), |name| format!("policy {name}"));
        self.add((device.clone(), MANIFEST.0, kind), Counted::new(MANIFEST, request, outcome));
    }

    /// The same of an enforcement module.
    pub(crate) fn count_module(&self, device: &DeviceId, request: &str, why: &str) {
        let outcome = Outcome { allowed: false, policy: None, why: why.to_owned() };
        let by = ("module", code::pairing::MODULE_UNMET);
        self.add((device.clone(), by.0, request.to_owned()), Counted::new(by, request, outcome));
    }

    /// The same of a grant.
    pub(crate) fn count_grant(&self, device: &DeviceId, request: &str, code: Code, why: &str) {
        let outcome = Outcome { allowed: false, policy: None, why: why.to_owned() };
        let by = ("grant", code);
        self.add((device.clone(), by.0, format!("{request} {code}")), Counted::new(by, request, outcome));
    }

    /// Counts a link whose end did not show the device's own key (OWN-7).
    pub(crate) fn count_own_key(&self, device: &DeviceId) {
        let code = code::token::OWN_KEY;
        let outcome = Outcome { allowed: false, policy: None, why: code.title().to_owned() };
        let by = ("own-key", code);
        self.add((device.clone(), by.0, String::new()), Counted::new(by, "enter", outcome));
    }

    fn add(&self, mut key: Key, new: Counted) {
        let mut all = self.all();
        if !all.contains_key(&key) {
            let own = all.range((key.0.clone(), key.1, String::new())..);
            let own = own.take_while(|((device, by, _), _)| (device, by) == (&key.0, &key.1)).count();
            if own >= OF_A_DEVICE_MAX {
                key.2.clear();
            }
        }
        if all.len() >= REFUSED_MAX && !all.contains_key(&key) {
            return tracing::warn!(device = %key.0, request = new.request, "refused, and too much was refused to record it");
        }
        match all.entry(key) {
            Entry::Vacant(place) => {
                place.insert(new);
            }
            Entry::Occupied(mut held) => {
                let Counted { count, told, .. } = *held.get();
                held.insert(Counted { count: count.saturating_add(new.count), told, ..new });
            }
        }
    }

    /// What is to be recorded now; of what was quiet for a while nothing is remembered.
    fn due(&self, now: Timestamp) -> Vec<(Key, Counted)> {
        let mut all = self.all();
        let mut due = Vec::new();
        for (key, counted) in all.iter_mut() {
            if counted.count > 0 && counted.told.is_none_or(|at| now.since(at) >= EVERY) {
                due.push((key.clone(), counted.clone()));
                counted.count = 0;
                counted.told = Some(now);
            }
        }
        all.retain(|_, counted| counted.count > 0 || counted.told.is_some_and(|at| now.since(at) < EVERY));
        due
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is due.
///
/// # Errors
/// When the store refuses. It is tried again with the next round.
pub(crate) async fn record(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let due = shared.manifests.refused.due(now);
    if due.is_empty() {
        return Ok(());
    }
    let change =
        |((device, ..), Counted { by: (rule, code), request, outcome, count, .. }): &(Key, Counted)| {
            Change::from(SystemChange::ManifestRefused {
                device: device.clone(),
                rule,
                request: request.clone(),
                policy: outcome.policy.clone(),
                code: *code,
                why: outcome.why.clone(),
                count: *count,
            })
        };
    let changes = due.iter().map(change).collect();
    let written = shared.writer.commit(Transaction::own(now, changes, Vec::new())).await;
    if written.is_err() {
        let back = &shared.manifests.refused;
        due.into_iter().for_each(|(key, counted)| back.add(key, counted));
    }
    written.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_first_refusal_is_told_at_once_and_the_others_by_the_minute() {
        let refused = Refused::default();
        let outcome = Outcome { allowed: false, policy: None, why: "so".to_owned() };
        let (device, begun) = (fixtures::device_id(1), Timestamp::from_unix_s(1_000));
        let counts = |now| refused.due(now).into_iter().map(|(_, one)| one.count).collect::<Vec<_>>();
        for _ in 0..3 {
            refused.count(&device, "send/LOG", outcome.clone());
        }
        assert_eq!(counts(begun), [3]);
        refused.count(&device, "send/LOG", outcome.clone());
        assert!(counts(begun.plus(EVERY / 2)).is_empty());
        refused.count(&fixtures::device_id(2), "send/LOG", outcome);
        assert_eq!(counts(begun.plus(EVERY / 2)), [1], "another device");
        assert_eq!(counts(begun.plus(EVERY)), [1]);
        assert!(counts(begun.plus(EVERY * 3)).is_empty());
        assert!(refused.all().is_empty(), "and nothing stays");
    }

    #[test]
    fn a_device_that_asks_about_ever_new_recipients_leaves_room_for_all_others() {
        let refused = Refused::default();
        let by = |policy: Option<String>| Outcome { allowed: false, policy, why: "so".to_owned() };
        let (loud, quiet) = (fixtures::device_id(1), fixtures::device_id(2));
        for n in 0..REFUSED_MAX + 1 {
            refused.count(&loud, &format!("send/kdev-{n:0>16}"), by(None));
            refused.count(&loud, &format!("send/kdev-{n:0>16}"), by(Some(format!("many/only-{n}"))));
            refused.count_grant(&loud, &format!("agent/{n}"), code::manifest::MANIFEST_REFUSES, "so");
        }
        assert_eq!(refused.all().len(), 2 * (OF_A_DEVICE_MAX + 1));
        refused.count(&quiet, "send/LOG", by(None));
        let due = refused.due(Timestamp::from_unix_s(1_000));
        assert!(due.iter().any(|((device, ..), one)| *device == quiet && one.request == "send/LOG"));
        let counted: u64 = due.iter().map(|(_, one)| one.count).sum();
        let all = 3 * u64::try_from(REFUSED_MAX + 1).unwrap();
        assert_eq!(counted, all + 1, "and nothing is lost");
        assert_eq!(
            due.iter().map(|(_, one)| one.count).max(),
            Some(all / 3),
            "what no policy permits is one kind"
        );
    }
}
