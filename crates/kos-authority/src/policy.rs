//! What security profiles refuse, counted and recorded: one entry a device and rule at once, and one a minute for what
//! comes after it.
//!
//! Limits: [`REFUSED_MAX`]. What was counted stays until it is in the log.
//!
//! Source: `docs/spec/policy.md` POLS-12, POLS-14.

pub(crate) mod manifest;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{DeviceId, Timestamp};
use kos_identity::chain::VerifiedPeer;
use kos_policy::{Refusal, Standing};

use crate::{
    authority::Shared,
    record::{Change, SystemChange},
    store::StoreError,
    writer::Transaction,
};

/// Devices and rules that are counted at a time. Stops a fleet that turns hostile at once from filling the memory; what
/// comes on top is refused all the same.
const REFUSED_MAX: usize = 4_096;
/// Least time between two entries of the same device and rule, after the first.
const EVERY: Duration = Duration::from_secs(60);

/// What the certificate of a device says of it; nothing for operators and authorities.
pub(crate) fn standing_of(peer: &VerifiedPeer) -> Option<Standing> {
    peer.facts().map(|facts| Standing::certified(facts.profile, facts.evidence))
}

/// What was refused and is not recorded yet.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<BTreeMap<(DeviceId, &'static str), Counted>>);

#[derive(Debug)]
struct Counted {
    refusal: Refusal,
    count: u64,
    /// When the last entry about it was written.
    told: Option<Timestamp>,
}

/// Refusals of one device by one rule, to be recorded.
type Tally = ((DeviceId, &'static str), Refusal, u64);

impl Refused {
    /// Counts a refusal.
    pub(crate) fn count(&self, device: &DeviceId, refusal: Refusal) {
        self.add(((device.clone(), refusal.rule().as_str()), refusal, 1));
    }

    fn add(&self, (key, refusal, count): Tally) {
        let mut counts = self.counts();
        if counts.len() >= REFUSED_MAX && !counts.contains_key(&key) {
            tracing::warn!(device = %key.0, rule = key.1, %refusal, "refused, and too much was refused to record it");
            return;
        }
        let counted = counts.entry(key).or_insert(Counted { refusal, count: 0, told: None });
        counted.refusal = refusal;
        counted.count = counted.count.saturating_add(count);
    }

    /// What is to be recorded now; of what was quiet for a while nothing is remembered.
    fn due(&self, now: Timestamp) -> Vec<Tally> {
        let mut counts = self.counts();
        let mut due = Vec::new();
        for (key, counted) in counts.iter_mut() {
            if counted.count > 0 && counted.told.is_none_or(|at| now.since(at) >= EVERY) {
                due.push((key.clone(), counted.refusal, std::mem::take(&mut counted.count)));
                counted.told = Some(now);
            }
        }
        counts.retain(|_, counted| counted.count > 0 || counted.told.is_some_and(|at| now.since(at) < EVERY));
        due
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<(DeviceId, &'static str), Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is due.
///
/// # Errors
/// When the store refuses. It is tried again with the next round.
pub(crate) async fn record(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let due = shared.policy.due(now);
    if due.is_empty() {
        return Ok(());
    }
    let change = |((device, _), refusal, count): &Tally| {
        Change::from(SystemChange::PolicyRefused { device: device.clone(), refusal: *refusal, count: *count })
    };
    let changes = due.iter().map(change).collect();
    let written = shared.writer.commit(Transaction::own(now, changes, Vec::new())).await;
    if written.is_err() {
        due.into_iter().for_each(|tally| shared.policy.add(tally));
    }
    written.map(drop)
}

#[cfg(test)]
mod tests {
    use kos_base::{EvidenceTier, SecurityProfile};
    use kos_policy::{Errand, Request, decide};

    use super::*;
    use crate::fixtures;

    #[test]
    fn the_first_refusal_is_told_at_once_and_the_others_by_the_minute() {
        let refused = Refused::default();
        let lobby = Standing::certified(SecurityProfile::Sec0, EvidenceTier::None);
        let refusal = decide(lobby, Request::Message(Errand::Command)).check().unwrap_err();
        let (device, begun) = (fixtures::device_id(1), Timestamp::from_unix_s(1_000));
        let counts = |now| refused.due(now).into_iter().map(|(_, _, count)| count).collect::<Vec<_>>();
        refused.count(&device, refusal);
        assert_eq!(counts(begun), [1]);
        for _ in 0..1_000 {
            refused.count(&device, refusal);
        }
        assert!(counts(begun.plus(EVERY / 2)).is_empty());
        refused.count(&fixtures::device_id(2), refusal);
        assert_eq!(counts(begun.plus(EVERY / 2)), [1], "another device");
        assert_eq!(counts(begun.plus(EVERY)), [1_000]);
        assert!(counts(begun.plus(EVERY * 3)).is_empty());
        assert!(refused.counts().is_empty(), "and nothing stays");
    }
}
