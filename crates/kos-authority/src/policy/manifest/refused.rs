//! What manifests, grants and enforcement modules refused to devices, counted and recorded: one entry a device and policy at once, and one a minute for
//! what comes after it (as in decision 0005).
//!
//! Limits: [`REFUSED_MAX`]. What was counted stays until it is in the log.
//!
//! Source: `docs/spec/manifest.md` MAN-19.

use std::{
    collections::BTreeMap,
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

/// Devices and requests that are counted at a time. Stops a fleet that turns hostile at once from filling the memory; what
/// comes on top is refused all the same.
const REFUSED_MAX: usize = 4_096;
/// Least time between two entries of the same device and request, after the first.
const EVERY: Duration = Duration::from_secs(60);

type Key = (DeviceId, String);

const MANIFEST: By = ("manifest", code::manifest::MANIFEST_REFUSES);

#[derive(Clone, Debug)]
struct Counted {
    by: By,
    outcome: Outcome,
    count: u64,
    /// When the last entry about it was written.
    told: Option<Timestamp>,
}

/// What refused, and with which code.
type By = (&'static str, Code);

/// What was refused and is not recorded yet.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<BTreeMap<Key, Counted>>);

impl Refused {
    /// Counts a refusal of `request`.
    pub(crate) fn count(&self, device: &DeviceId, request: &str, outcome: Outcome) {
        self.add((device.clone(), request.to_owned()), MANIFEST, outcome, 1);
    }

    /// The same of an enforcement module.
    pub(crate) fn count_module(&self, device: &DeviceId, request: &str, why: &str) {
        let outcome = Outcome { allowed: false, policy: None, why: why.to_owned() };
        let by = ("module", code::pairing::MODULE_UNMET);
        self.add((device.clone(), request.to_owned()), by, outcome, 1);
    }

    /// The same of a grant.
    pub(crate) fn count_grant(&self, device: &DeviceId, request: &str, code: Code, why: &str) {
        let outcome = Outcome { allowed: false, policy: None, why: why.to_owned() };
        self.add((device.clone(), format!("{request} {code}")), ("grant", code), outcome, 1);
    }

    fn add(&self, key: Key, by: By, outcome: Outcome, count: u64) {
        let mut all = self.all();
        if all.len() >= REFUSED_MAX && !all.contains_key(&key) {
            return tracing::warn!(device = %key.0, request = key.1, "refused, and too much was refused to record it");
        }
        let counted =
            all.entry(key).or_insert_with(|| Counted { by, outcome: outcome.clone(), count: 0, told: None });
        counted.outcome = outcome;
        counted.count = counted.count.saturating_add(count);
    }

    /// What is to be recorded now; of what was quiet for a while nothing is remembered.
    fn due(&self, now: Timestamp) -> Vec<(Key, By, Outcome, u64)> {
        let mut all = self.all();
        let mut due = Vec::new();
        for (key, counted) in all.iter_mut() {
            if counted.count > 0 && counted.told.is_none_or(|at| now.since(at) >= EVERY) {
                let count = std::mem::take(&mut counted.count);
                due.push((key.clone(), counted.by, counted.outcome.clone(), count));
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
    let change = |((device, request), (rule, code), outcome, count): &(Key, By, Outcome, u64)| {
        let request = request.split(' ').next().unwrap_or_default();
        Change::from(SystemChange::ManifestRefused {
            device: device.clone(),
            rule,
            request: request.to_owned(),
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
        due.into_iter().for_each(|(key, by, outcome, count)| back.add(key, by, outcome, count));
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
        let counts = |now| refused.due(now).into_iter().map(|(_, _, _, count)| count).collect::<Vec<_>>();
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
}
