//! Brings alerts to guardians: a worker each, so that one that is away keeps no other waiting.
//!
//! A worker takes the oldest alert that waits and tries until the guardian has it. What it does is in the store before the
//! next begins, so it goes on where it was after any end; the guardian may then get an alert twice.
//!
//! Source: ALR-24 to ALR-27.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kos_base::{Timestamp, code::audit::GUARDIAN_UNREACHABLE};
use kos_net::entropy;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{Guardian, GuardianName, Notice, Way, sink};
use crate::{
    authority::Shared,
    clock,
    record::SystemChange,
    store::{AlertNote, StoreError},
    writer::Transaction,
};

/// How long a guardian may take to take an alert.
const TAKE_TIME_MAX: Duration = Duration::from_secs(30);
/// The first pause after a guardian could not be told, and the longest. Each is twice the one before.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long it waits after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Longest reason that is kept, in characters.
const TROUBLE_CHARS_MAX: usize = 200;

/// Runs until the program ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut changes = shared.alerts.changes();
    let mut workers = JoinSet::new();
    let mut at_work: HashMap<GuardianName, (Guardian, AbortHandle)> = HashMap::new();
    loop {
        changes.borrow_and_update();
        match shared.store.guardians().await {
            Ok(guardians) => {
                at_work.retain(|_, (guardian, worker)| {
                    let stays = guardians.contains(guardian);
                    if !stays {
                        worker.abort();
                    }
                    stays
                });
                let device = |guardian: &Guardian| match &guardian.way {
                    Way::Device { device } => Some(device.clone()),
                    _ => None,
                };
                shared.alerts.set_devices(guardians.iter().filter_map(device).collect());
                for guardian in guardians.into_iter().filter(Guardian::is_told) {
                    at_work.entry(guardian.name.clone()).or_insert_with(|| {
                        let worker = workers.spawn(serve(Arc::clone(&shared), guardian.clone()));
                        (guardian, worker)
                    });
                }
            }
            Err(error) => {
                tracing::error!(%error, "guardians cannot be read");
                sleep(STORE_PAUSE).await;
                continue;
            }
        }
        while workers.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tells one guardian, for ever.
async fn serve(shared: Arc<Shared>, guardian: Guardian) {
    let mut changes = shared.alerts.changes();
    let mut failures = 0;
    loop {
        changes.borrow_and_update();
        match next(&shared, &guardian).await {
            Ok(Step::Idle) => {
                if changes.changed().await.is_err() {
                    return;
                }
            }
            Ok(Step::Delivered) => failures = 0,
            Ok(Step::Failed) => {
                failures += 1;
                match guardian.way {
                    // Whether it has a link is seen at once, and told when it has one.
                    Way::Device { .. } => drop(timeout(pause(failures), changes.changed()).await),
                    _ => sleep(pause(failures)).await,
                }
            }
            Err(error) => {
                tracing::error!(%error, guardian = %guardian.name, "the state of deliveries cannot be read or written");
                sleep(STORE_PAUSE).await;
            }
        }
    }
}

enum Step {
    Idle,
    Delivered,
    Failed,
}

/// Tries the oldest delivery that waits.
async fn next(shared: &Arc<Shared>, guardian: &Guardian) -> Result<Step, StoreError> {
    let Some(mut delivery) = shared.store.waiting(&guardian.name, 1).await?.pop() else {
        return Ok(Step::Idle);
    };
    let Some(stored) = shared.store.alert(&delivery.alert).await? else {
        return Err(StoreError::Damaged { table: "deliveries", row: delivery.alert.to_string() });
    };
    let notice = Notice::of(&shared.name, &stored);
    let sent = timeout(TAKE_TIME_MAX, sink::send(shared, guardian, &notice)).await;
    let now = clock::now();
    let trouble = match sent {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer in time".to_owned()),
    };
    let course = &mut delivery.course;
    course.attempts = course.attempts.saturating_add(1);
    let since = *course.since.get_or_insert(now);
    let Some(trouble) = trouble else {
        (course.delivered_at, course.trouble) = (Some(now), None);
        shared.writer.note(AlertNote::Delivery(delivery)).await?;
        return Ok(Step::Delivered);
    };
    let (name, alert) = (&guardian.name, &stored.alert.id);
    tracing::warn!(code = %GUARDIAN_UNREACHABLE, guardian = %name, %alert, trouble, "a guardian could not be told");
    course.trouble = Some(kos_base::text::printable(&trouble, TROUBLE_CHARS_MAX));
    let patience = shared.settings.alert_undelivered();
    if !course.reported && now.since(since) >= patience {
        report(shared, guardian, since, now).await?;
        course.reported = true;
    }
    shared.writer.note(AlertNote::Delivery(delivery)).await?;
    Ok(Step::Failed)
}

/// Records that a guardian cannot be told for long.
async fn report(
    shared: &Shared,
    guardian: &Guardian,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let waiting = shared.store.count_waiting(&guardian.name).await?;
    let change = SystemChange::AlertUndelivered { guardian: Box::new(guardian.clone()), waiting, since };
    shared.writer.commit(Transaction::own(now, vec![change.into()], Vec::new())).await.map(drop)
}

/// How long to wait after so many failures in a row: between half and all of a time that doubles, so that guardians that
/// failed together are not tried together.
fn pause(failures: u32) -> Duration {
    let longest = PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let random = entropy::array().map_or(0, u32::from_be_bytes);
    let share = f64::from(random) / f64::from(u32::MAX);
    longest.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_no_two_guardians_keep_step() {
        for (failures, longest) in [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (1_000, 300)] {
            let longest = Duration::from_secs(longest);
            let pauses: Vec<_> = (0..16).map(|_| pause(failures)).collect();
            assert!(
                pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)),
                "{failures}: {pauses:?}"
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
        }
    }
}
