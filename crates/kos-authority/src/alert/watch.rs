//! Looks through the log as it grows, and raises alerts.
//!
//! What the rules remember is written with every alert, and otherwise now and then; after any end the log is looked through
//! from there, with the same result. Where it is lost, the last day of the log is looked through anew: an alert that has
//! its entry already is not raised again. An entry that cannot be read is passed over, and that is recorded.
//!
//! Source: ALR-20 to ALR-23.

use std::{sync::Arc, time::Duration};

use kos_audit::{
    EventType, SealedEntry,
    alert::{Alert, Engine, RuleFile, RuleSet},
};
use kos_base::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::rules::{self, InForce, RulesFault};
use crate::{
    authority::Shared,
    clock,
    record::{Change, SystemChange},
    store::{AlertNote, EngineState, EntryQuery, StoreError, StoredEntry},
    writer::{SystemWrite, Transaction},
};

/// Entries that are read together.
const READ_MAX: u32 = 256;
/// Entries after which what the rules remember is written although no alert was raised.
const KEPT_EVERY: u64 = 1_024;
/// The same for a log that grows slowly.
const KEPT_AFTER: Duration = Duration::from_secs(10);
/// How much of the log is looked through where nothing is remembered; no window is longer.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How long it waits after the store failed. The log goes on meanwhile, and is looked through afterwards.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the program ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut progress = shared.writer.progress();
    let mut watch = loop {
        match Watch::begin(&shared).await {
            Ok(watch) => break watch,
            Err(error) => tracing::error!(%error, "alerts cannot be raised yet"),
        }
        sleep(PAUSE).await;
    };
    let mut due = interval(KEPT_AFTER);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        progress.borrow_and_update();
        if let Err(error) = watch.catch_up().await {
            tracing::error!(%error, "alerts cannot be raised now");
            sleep(PAUSE).await;
            continue;
        }
        tokio::select! {
            grew = progress.changed() => if grew.is_err() { return },
            // Also where the log never rests.
            _ = due.tick() => {
                watch.keep().await;
                if let Err(error) = let_go(&shared).await {
                    tracing::warn!(%error, "guardians that left are not let go");
                }
            }
        }
    }
}

struct Watch<'a> {
    shared: &'a Arc<Shared>,
    engine: Engine,
    /// Alerts that have no entry yet, and the state after them.
    pending: Option<(Vec<Alert>, EngineState)>,
    /// Whether the rules are others by now.
    rules_due: bool,
    /// How far what is remembered was written.
    kept: u64,
}

impl<'a> Watch<'a> {
    async fn begin(shared: &'a Arc<Shared>) -> Result<Self, StoreError> {
        let kept = match shared.store.engine_state().await {
            Ok(state) => state,
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let resumed = kept.and_then(|state| Engine::resume(&state.bytes).ok());
        let is_resumed = resumed.is_some();
        let engine = match resumed {
            Some(engine) => engine,
            None => Engine::new(first_of_last_day(shared).await?),
        };
        let kept = engine.next();
        let mut watch = Self { shared, engine, pending: None, rules_due: true, kept };
        if !is_resumed {
            // Nobody knows any more what was in force.
            watch.take_rules().await?;
        }
        watch.settle().await?;
        Ok(watch)
    }

    /// Puts the newest rules in force, or the built-in ones when those are refused.
    async fn take_rules(&mut self) -> Result<(), StoreError> {
        let alerts = &self.shared.alerts;
        match rules::load(self.shared).await {
            Ok(InForce { file, set, .. }) => {
                alerts.set_refused(None);
                if *self.engine.rules() != set {
                    self.replace(file, set);
                }
            }
            Err(RulesFault::Store(error)) => return Err(error),
            Err(RulesFault::Refused { code, why }) => {
                tracing::error!(%code, why, "the rules of alerts are refused, the built-in ones are in force");
                self.replace(RuleFile::default(), RuleSet::built_in());
                if alerts.refused() != Some(code) {
                    rules::record_refusal(self.shared, clock::now(), code).await?;
                    alerts.set_refused(Some(code));
                }
            }
        }
        Ok(())
    }

    /// Puts rules in force. What the ones before did not tell yet is raised next.
    fn replace(&mut self, file: RuleFile, set: RuleSet) {
        let last = self.engine.replace(file, set);
        if !last.is_empty() {
            self.pending = Some((last, self.state()));
        }
    }

    /// Takes every entry that there is.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            self.settle().await?;
            let from = self.engine.next();
            let query = EntryQuery { from, ..EntryQuery::default() };
            let rows = match self.shared.store.entries(&query, READ_MAX).await {
                // One of them: those before it are taken one by one, and it is passed over.
                Err(StoreError::Damaged { .. }) => match self.shared.store.entries(&query, 1).await {
                    Err(StoreError::Damaged { .. }) => {
                        self.pass_over(from).await?;
                        continue;
                    }
                    read => read?,
                },
                read => read?,
            };
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                self.take(row).await?;
            }
            if self.engine.next() - self.kept >= KEPT_EVERY {
                self.keep().await;
            }
        }
    }

    async fn take(&mut self, row: StoredEntry) -> Result<(), StoreError> {
        let event: Option<EventType> = row.event.parse().ok();
        let is_wanted = event.is_some_and(|event| self.engine.wants(event));
        if !is_wanted {
            self.engine.pass(row.position, row.at);
            return Ok(());
        }
        let Ok(verified) = SealedEntry::from_bytes(row.leaf).verify(self.shared.log.key()) else {
            return self.pass_over(row.position).await;
        };
        let alerts = self.engine.observe(verified.entry());
        if !alerts.is_empty() {
            self.pending = Some((alerts, self.state()));
        }
        self.rules_due |= event == Some(EventType::AlertRulesChanged);
        self.settle().await
    }

    /// Nobody knows what the entry says. That is told, and those after it are looked at.
    async fn pass_over(&mut self, index: u64) -> Result<(), StoreError> {
        tracing::error!(index, "an entry of the log cannot be read, and no rule looks at it");
        let told = vec![SystemChange::LogUnreadable { index }.into()];
        self.shared.writer.commit(Transaction::own(clock::now(), told, Vec::new())).await?;
        self.engine.skip(index);
        // So that the next start does not tell it again.
        self.keep().await;
        Ok(())
    }

    /// What the rules that were in force found, then the new ones.
    async fn settle(&mut self) -> Result<(), StoreError> {
        self.raise().await?;
        if self.rules_due {
            // Not before the entry that put them in force: until then those count that the engine knows (ALR-21). That entry
            // makes them due again.
            if rules::are_due(self.shared, self.engine.next()).await? {
                self.take_rules().await?;
            }
            self.rules_due = false;
            self.raise().await?;
        }
        Ok(())
    }

    /// Writes the entries of alerts that have none yet. They are kept until that succeeded.
    async fn raise(&mut self) -> Result<(), StoreError> {
        let Some((alerts, state)) = self.pending.clone() else { return Ok(()) };
        let store = &self.shared.store;
        let mut fresh = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let query = EntryQuery {
                event: Some(EventType::AlertRaised),
                target: Some(alert.id.to_string()),
                ..EntryQuery::default()
            };
            match store.entries(&query, 1).await?.pop() {
                None => fresh.push(alert),
                // The log has it, from a run whose store is lost.
                Some(entry) if store.alert(&alert.id).await?.is_none() => {
                    self.shared.writer.note(AlertNote::Known(Box::new(alert), entry.position)).await?;
                }
                Some(_) => {}
            }
        }
        if fresh.is_empty() {
            self.shared.writer.note(AlertNote::Seen(state.clone(), Vec::new())).await?;
        } else {
            let told: Vec<_> = fresh.iter().map(|alert| (alert.rule.to_string(), alert.count)).collect();
            let changes: Vec<Change> =
                fresh.iter().map(|alert| SystemChange::AlertRaised(Box::new(alert.clone())).into()).collect();
            let writes = vec![SystemWrite::Alerts(fresh, state.clone())];
            self.shared.writer.commit(Transaction::own(clock::now(), changes, writes)).await?;
            for (rule, count) in told {
                tracing::warn!(rule, count, "alert");
            }
        }
        self.kept = state.next;
        self.pending = None;
        self.shared.alerts.tell();
        Ok(())
    }

    fn state(&self) -> EngineState {
        EngineState { next: self.engine.next(), bytes: self.engine.state() }
    }

    /// Writes what the rules remember. What fails is written later.
    async fn keep(&mut self) {
        let repeats = self.engine.take_repeats();
        if self.engine.next() == self.kept && repeats.is_empty() {
            return;
        }
        let state = self.state();
        match self.shared.writer.note(AlertNote::Seen(state, repeats)).await {
            Ok(()) => self.kept = self.engine.next(),
            Err(error) => tracing::warn!(%error, "what the rules of alerts remember is not written"),
        }
    }
}

/// Forgets what waits for guardians that left long ago.
async fn let_go(shared: &Shared) -> Result<(), StoreError> {
    let now = clock::now();
    for guardian in shared.store.guardians().await?.into_iter().filter(|guardian| guardian.is_late(now)) {
        if shared.store.count_waiting(&guardian.name).await? > 0 {
            tracing::warn!(guardian = %guardian.name, "a guardian that was removed could not be told so");
            shared.writer.note(AlertNote::Late(guardian.name)).await?;
        }
    }
    Ok(())
}

/// Where the last day of the log begins.
async fn first_of_last_day(shared: &Shared) -> Result<u64, StoreError> {
    let (_, size) = shared.store.count_entries().await?;
    let Some(last) = size.checked_sub(1) else { return Ok(0) };
    let newest = shared.store.entry(last).await?.map_or(Timestamp::default(), |entry| entry.at);
    let (begins, step) = (newest.minus(REMEMBERED), 1_000);
    let mut first = size;
    while first > 0 {
        let place = first.saturating_sub(step);
        let is_older = shared.store.entry(place).await?.is_none_or(|entry| entry.at < begins);
        first = place;
        if is_older {
            break;
        }
    }
    Ok(first)
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
