//! What manifests refused to devices, counted and recorded: one entry a device and policy at once, and one a minute for
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

use kos_base::{DeviceId, Timestamp};
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

#[derive(Clone, Debug)]
struct Counted {
    outcome: Outcome,
    count: u64,
    /// When the last entry about it was written.
    told: Option<Timestamp>,
}

/// What was refused and is not recorded yet.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<BTreeMap<Key, Counted>>);

impl Refused {
    /// Counts a refusal of `request`.
    pub(crate) fn count(&self, device: &DeviceId, request: &str, outcome: Outcome) {
        self.add((device.clone(), request.to_owned()), outcome, 1);
    }

    fn add(&self, key: Key, outcome: Outcome, count: u64) {
        let mut all = self.all();
        if all.len() >= REFUSED_MAX && !all.contains_key(&key) {
            return tracing::warn!(device = %key.0, request = key.1, "refused, and too much was refused to record it");
        }
        let counted =
            all.entry(key).or_insert_with(|| Counted { outcome: outcome.clone(), count: 0, told: None });
        counted.outcome = outcome;
        counted.count = counted.count.saturating_add(count);
    }

    /// What is to be recorded now; of what was quiet for a while nothing is remembered.
    fn due(&self, now: Timestamp) -> Vec<(Key, Outcome, u64)> {
        let mut all = self.all();
        let mut due = Vec::new();
        for (key, counted) in all.iter_mut() {
            if counted.count > 0 && counted.told.is_none_or(|at| now.since(at) >= EVERY) {
                due.push((key.clone(), counted.outcome.clone(), std::mem::take(&mut counted.count)));
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
    let change = |((device, request), outcome, count): &(Key, Outcome, u64)| {
        Change::from(SystemChange::ManifestRefused {
            device: device.clone(),
            request: request.clone(),
            policy: outcome.policy.clone(),
            why: outcome.why.clone(),
            count: *count,
        })
    };
    let changes = due.iter().map(change).collect();
    let written = shared.writer.commit(Transaction::own(now, changes, Vec::new())).await;
    if written.is_err() {
        due.into_iter().for_each(|(key, outcome, count)| shared.manifests.refused.add(key, outcome, count));
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
        let counts = |now| refused.due(now).into_iter().map(|(_, _, count)| count).collect::<Vec<_>>();
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
