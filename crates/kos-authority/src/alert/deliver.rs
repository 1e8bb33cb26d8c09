//! Brings alerts to guardians: a worker each, so that one that is away keeps no other waiting.
//!
//! A worker takes the oldest alert that waits and tries until the guardian has it. What it does is in the store before the
//! next begins, so it goes on where it was after any end; the guardian may then get an alert twice. An alert that the
//! guardian refuses for good several times is set aside, so that it silences nobody: newer ones go first, and it is tried
//! again now and then.
//!
//! Source: ALR-24 to ALR-27, ALR-45.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kos_base::{Timestamp, code::audit::GUARDIAN_UNREACHABLE};
use kos_net::entropy;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Guardian, GuardianName, Notice, Way,
    sink::{self, SinkError},
};
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
/// Refusals for good after which an alert is set aside. Stops one that a guardian never takes from keeping all others.
const REFUSALS_MAX: u32 = 5;
/// Alerts that were set aside among which the next try is chosen.
const ASIDE_LOOKED_AT: u32 = 64;
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
    let mut aside_at = Instant::now();
    loop {
        changes.borrow_and_update();
        let queue = if Instant::now() < aside_at { Queue::Waiting } else { Queue::All };
        match next(&shared, &guardian, queue).await {
            Ok(Step::Idle) => {
                if queue == Queue::All {
                    aside_at = Instant::now() + PAUSE_MAX;
                }
                if matches!(timeout_at(aside_at, changes.changed()).await, Ok(Err(_))) {
                    return;
                }
            }
            Ok(Step::Delivered) => failures = 0,
            // Nothing is wrong with the next one.
            Ok(Step::SetAside) => (failures, aside_at) = (0, Instant::now() + PAUSE_MAX),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Delivered,
    Failed,
    SetAside,
}

/// From where the next is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// Those that wait for their turn.
    Waiting,
    /// When none does, those that were set aside.
    All,
}

/// Tries the oldest delivery that waits; where there is none, the one set aside that was tried least.
async fn next(shared: &Arc<Shared>, guardian: &Guardian, queue: Queue) -> Result<Step, StoreError> {
    let mut chosen = shared.store.waiting(&guardian.name, 1).await?.pop();
    if chosen.is_none() && queue == Queue::All {
        let aside = shared.store.set_aside(&guardian.name, ASIDE_LOOKED_AT).await?;
        chosen = aside.into_iter().min_by_key(|delivery| delivery.course.attempts);
    }
    let Some(mut delivery) = chosen else { return Ok(Step::Idle) };
    let Some(stored) = shared.store.alert(&delivery.alert).await? else {
        return Err(StoreError::Damaged { table: "deliveries", row: delivery.alert.to_string() });
    };
    let notice = Notice::of(&shared.name, &stored);
    let sent = timeout(TAKE_TIME_MAX, sink::send(shared, guardian, &notice)).await;
    let now = clock::now();
    let is_refused = matches!(sent, Ok(Err(SinkError::Refused(_))));
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
    if is_refused {
        course.refusals = course.refusals.saturating_add(1);
        course.aside |= course.refusals >= REFUSALS_MAX;
    }
    if !course.reported && (course.aside || now.since(since) >= patience) {
        report(shared, guardian, since, now).await?;
        course.reported = true;
    }
    let step = if course.aside { Step::SetAside } else { Step::Failed };
    shared.writer.note(AlertNote::Delivery(delivery)).await?;
    Ok(step)
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
    let longest = crate::pause::after(failures, PAUSE, PAUSE_MAX);
    let random = entropy::array().map_or(0, u32::from_be_bytes);
    let share = f64::from(random) / f64::from(u32::MAX);
    longest.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use kos_audit::alert::{Alert, AlertId, Severity};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        fixtures::{self, NOW},
        store::EngineState,
        writer::SystemWrite,
    };

    /// A webhook that refuses the alert with this id, as long as it is told to.
    async fn receiver(refused: AlertId) -> (String, Arc<std::sync::Mutex<bool>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let refuses = Arc::new(std::sync::Mutex::new(true));
        let told = Arc::clone(&refuses);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut said = Vec::new();
                while !said.ends_with(b"}}") && stream.read_buf(&mut said).await.unwrap() > 0 {}
                let is_it = String::from_utf8_lossy(&said).contains(refused.as_str());
                let status = if is_it && *told.lock().unwrap() { "422 No" } else { "204 Yes" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        (url, refuses)
    }

    #[tokio::test]
    async fn an_alert_that_is_always_refused_is_set_aside_and_newer_ones_arrive() {
        let (_folder, authority) = fixtures::attic().await;
        let shared = authority.shared();
        let rule = "clone".parse().unwrap();
        let poison = AlertId::of(&rule, 1, 1);
        let (url, refuses) = receiver(poison.clone()).await;
        let way = Way::Webhook { url, ca: None, salt: [1; 16] };
        let guardian = Guardian { name: "pager".parse().unwrap(), added_at: NOW, leaving: None, way };
        let change = SystemChange::GuardianAdded(Box::new(guardian.clone()));
        let write = SystemWrite::Guardian(Box::new(guardian.clone()));
        shared.writer.commit(Transaction::own(NOW, vec![change.into()], vec![write])).await.unwrap();
        for n in 1..=2 {
            let alert = Alert {
                id: AlertId::of(&rule, n, n),
                rule: rule.clone(),
                severity: Severity::Critical,
                summary: "test".to_owned(),
                group: None,
                count: 1,
                unseen: 0,
                first: n,
                last: n,
                entries: vec![n],
                at: NOW,
            };
            let change = SystemChange::AlertRaised(Box::new(alert.clone()));
            let state = EngineState { next: n + 1, bytes: Vec::new() };
            let write = SystemWrite::Alerts(vec![alert], state);
            shared.writer.commit(Transaction::own(NOW, vec![change.into()], vec![write])).await.unwrap();
        }
        for _ in 1..REFUSALS_MAX {
            assert_eq!(next(shared, &guardian, Queue::All).await.unwrap(), Step::Failed);
        }
        assert_eq!(next(shared, &guardian, Queue::All).await.unwrap(), Step::SetAside);
        let course = shared.store.set_aside(&guardian.name, 1).await.unwrap().pop().unwrap().course;
        assert!(course.reported && course.trouble.unwrap().contains("422"));
        // The newer one is not kept by it, and it is still counted.
        assert_eq!(next(shared, &guardian, Queue::Waiting).await.unwrap(), Step::Delivered);
        assert_eq!(next(shared, &guardian, Queue::Waiting).await.unwrap(), Step::Idle);
        assert_eq!(shared.store.count_waiting(&guardian.name).await.unwrap(), 1);
        // Nothing is given up: it is tried again, and arrives once it may.
        assert_eq!(next(shared, &guardian, Queue::All).await.unwrap(), Step::SetAside);
        *refuses.lock().unwrap() = false;
        assert_eq!(next(shared, &guardian, Queue::All).await.unwrap(), Step::Delivered);
        assert_eq!(shared.store.count_waiting(&guardian.name).await.unwrap(), 0);
        assert_eq!(next(shared, &guardian, Queue::All).await.unwrap(), Step::Idle);
    }

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
