//! What has to happen by itself: heartbeats are written; silence, misuse and the age of certificates are recorded; the
//! lobby is emptied.

use std::{sync::Arc, time::Duration};

use kos_base::Timestamp;
use kos_identity::registry::{Actor, Lobby, Write};

use super::{ageing::Ageing, steps::Steps};
use crate::{
    authority::Shared,
    bonds, clock, device_log, policy,
    reception::{MisuseBook, Tally},
    record::{Change, SystemChange},
    store::StoreError,
    writer::Transaction,
};

/// How often the table of heartbeats is looked at and written.
const ROUND: Duration = Duration::from_secs(2);
/// Rounds between two looks at the lobby.
const LOBBY_ROUNDS: u32 = 300;
/// Rounds between two looks at the pairings of devices that ended by themselves.
const BONDS_ROUNDS: u32 = 15;
/// Changes that are recorded in one transaction, so that a fleet that falls silent at once does not make a huge one.
const CHANGES_MAX: usize = 256;

/// Does it for ever.
pub(crate) async fn run(shared: Arc<Shared>, misuse: Arc<MisuseBook>) {
    let mut pause = tokio::time::interval(ROUND);
    let (mut ageing, mut steps) = (Ageing::default(), Steps::from(clock::now()));
    for round in 0u32.. {
        pause.tick().await;
        let now = clock::now();
        let stepped = steps.look(now).map(Change::from);
        let done = record(&shared, now, stepped.into_iter().collect()).await;
        let done = done.and(write_heartbeats(&shared).await);
        let done = done.and(record_silence(&shared, now).await);
        let done = done.and(record_misuse(&shared, &misuse, now).await);
        let done = done.and(record_misuse(&shared, &shared.refusals, now).await);
        let done = done.and(policy::record(&shared, now).await);
        let done = done.and(policy::manifest::refused::record(&shared, now).await);
        let done = done.and(device_log::anchor_due(&shared, now, false).await);
        let done = done.and(ageing.round(&shared, now).await);
        let done = match round % BONDS_ROUNDS {
            0 => done.and(bonds::end_stopped(&shared, now).await),
            _ => done,
        };
        let done = match round % LOBBY_ROUNDS {
            0 => done.and(empty_lobby(&shared, now).await),
            _ => done,
        };
        if let Err(error) = done {
            tracing::error!(%error, "upkeep failed and is tried again");
        }
    }
}

/// Writes the heartbeats that came since the last time.
pub(crate) async fn write_heartbeats(shared: &Shared) -> Result<(), StoreError> {
    let unwritten = shared.presence.take_unwritten();
    if unwritten.is_empty() { Ok(()) } else { shared.writer.keep_heartbeats(unwritten).await }
}

async fn record_silence(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let silent = shared.presence.take_silent(now);
    let offline = silent.into_iter().map(|(device, last_heartbeat_at)| {
        Change::from(SystemChange::DeviceOffline { device, last_heartbeat_at })
    });
    record(shared, now, offline.collect()).await
}

async fn record_misuse(shared: &Shared, misuse: &MisuseBook, now: Timestamp) -> Result<(), StoreError> {
    write_tallies(shared, misuse, now, misuse.turn_page(now)).await
}

/// Writes what was counted since the last time, when the program ends.
pub(crate) async fn close_books(
    shared: &Shared,
    misuse: &MisuseBook,
    now: Timestamp,
) -> Result<(), StoreError> {
    for book in [misuse, &shared.refusals] {
        write_tallies(shared, book, now, book.close()).await?;
    }
    policy::record(shared, now).await?;
    policy::manifest::refused::record(shared, now).await
}

async fn write_tallies(
    shared: &Shared,
    misuse: &MisuseBook,
    now: Timestamp,
    mut due: Vec<Tally>,
) -> Result<(), StoreError> {
    while !due.is_empty() {
        let rest = due.split_off(due.len().min(CHANGES_MAX));
        let changes = due.iter().map(Change::from).collect();
        if let Err(error) = shared.writer.commit(Transaction::own(now, changes, Vec::new())).await {
            due.extend(rest);
            misuse.put_back(due);
            return Err(error);
        }
        due = rest;
    }
    Ok(())
}

async fn record(shared: &Shared, now: Timestamp, mut changes: Vec<Change>) -> Result<(), StoreError> {
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(CHANGES_MAX));
        shared.writer.commit_or_count(Transaction::own(now, changes, Vec::new())).await?;
        changes = rest;
    }
    Ok(())
}

/// Forgets devices that nobody has let in for [`Lobby::WAIT`].
async fn empty_lobby(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    for device in shared.store.lobby().await? {
        let waited = device.lobby.as_ref().is_some_and(|l| now.since(l.since) > Lobby::WAIT);
        // Who has had a certificate is no stranger, and the records of what was issued need theirs. A ban is to last.
        if !waited || device.issues > 0 || device.banned {
            continue;
        }
        let change = SystemChange::DeviceForgotten { device: device.id.clone() };
        let forget = Write::ForgetDevice { id: device.id, version: device.version };
        let transaction = Transaction {
            at: now,
            actor: Actor::Authority,
            changes: vec![change.into()],
            writes: vec![forget],
            system: Vec::new(),
            answer: None,
        };
        match shared.writer.commit(transaction).await {
            // Somebody let it in at the last moment.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
