//! Backups over the local socket.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use kos_api::{
    backup::{CreateBackup, OpenRestored},
    plan::Plan,
};
use kos_backup::{Passphrase, Recipient, Sealing};
use kos_base::code;
use tokio::sync::Semaphore;

use super::{
    answer::{Refusal, document},
    call::{Call, Mode},
};
use crate::{
    authority::Shared,
    backup::{Chunks, Pipe, Snapshot},
    clock,
    record::SystemChange,
    writer::Transaction,
};

/// One backup at a time: each writes the store once more.
static PACKING: Semaphore = Semaphore::const_new(1);

/// Most recipients of one backup.
const RECIPIENTS_MAX: usize = 16;

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    call: Call<CreateBackup>,
) -> Result<Response, Refusal> {
    let (sealing, sealed_to) = sealing(&call)?;
    if call.mode == Mode::Plan {
        let effects = vec![format!("log: backup_created, sealed to {sealed_to}")];
        let action = call.route.name.to_owned();
        return Ok(document(Plan { action, object: None, changes: Vec::new(), effects }));
    }
    let turn = PACKING.try_acquire().map_err(|_| {
        Refusal::new(code::config::OVERLOADED).saying("another backup is being made").under(call.id)
    })?;
    let at = clock::now();
    let change = SystemChange::BackupCreated { sealed_to };
    let transaction =
        Transaction { actor: call.who.actor(), ..Transaction::own(at, vec![change.into()], Vec::new()) };
    let failed = |error| Refusal::from(error).under(call.id);
    shared.writer.commit(transaction).await.map_err(failed)?;
    let snapshot =
        Snapshot::take(&shared.home, (&shared.store, &shared.vaults), &shared.keys, shared.log.key(), at)
            .await;
    let snapshot = snapshot.map_err(failed)?;

    let (pipe, chunks) = Pipe::new();
    let breaking = pipe.breaking();
    tokio::task::spawn_blocking(move || {
        let packed = snapshot.pack(pipe, sealing, &shared.name, shared.log.key());
        let ended = packed.map_err(io::Error::other).and_then(|mut pipe| pipe.flush());
        if let Err(error) = ended {
            tracing::error!(%error, "a backup was not finished");
            breaking(error);
        }
        drop(snapshot);
        drop(turn);
    });
    let pieces = stream::unfold(chunks, |mut chunks: Chunks| async move {
        chunks.recv().await.map(|piece| (piece, chunks))
    });
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// To whom, and what the log says of it.
fn sealing(call: &Call<CreateBackup>) -> Result<(Sealing, &'static str), Refusal> {
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id);
    let CreateBackup { passphrase, recipients } = &call.body;
    match passphrase {
        Some(_) if !recipients.is_empty() => Err(bad("either a passphrase or recipients, not both")),
        Some(passphrase) if passphrase.expose().chars().count() < Passphrase::CHARS_MIN => {
            Err(bad("the passphrase has fewer than 12 characters"))
        }
        Some(passphrase) => {
            let passphrase = Passphrase::new(passphrase.expose().to_owned());
            Ok((Sealing::Passphrase(passphrase), "a passphrase"))
        }
        None if recipients.is_empty() => {
            Err(bad("a passphrase or a recipient is needed: backups are never in the clear"))
        }
        None if recipients.len() > RECIPIENTS_MAX => Err(bad("at most 16 recipients")),
        None => {
            let parsed: Result<Vec<Recipient>, _> = recipients.iter().map(|one| one.parse()).collect();
            let parsed =
                parsed.map_err(|e: kos_backup::ParseKeyError| bad(&format!("a recipient is {e}")))?;
            Ok((Sealing::Recipients(parsed), "recipients"))
        }
    }
}

/// Whoever serves has been opened.
pub(super) async fn open(call: Call<OpenRestored>) -> Refusal {
    Refusal::new(code::store::RESTORE_NOT_DUE).under(call.id)
}
