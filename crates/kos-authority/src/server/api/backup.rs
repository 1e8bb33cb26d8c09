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
use kos_base::{approved, code, text::printable};
use kos_vault::Environment;

use super::{
    answer::{Refusal, document},
    call::{Call, Mode, RequestId},
};
use crate::{
    authority::Shared,
    backup::{Chunks, Pipe, Snapshot},
    clock,
    record::SystemChange,
    vault::{VaultFault, admit_copies},
    writer::Transaction,
};

/// Most recipients of one backup.
const RECIPIENTS_MAX: usize = 16;

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    call: Call<CreateBackup>,
) -> Result<Response, Refusal> {
    // Before anything is written, recorded or sent: the file itself could only break off.
    approved::Mode::BUILT
        .admit(approved::Algorithm::Age)
        .map_err(|e| Refusal::new(e.code()).saying(&e.to_string()).under(call.id))?;
    let (sealing, sealed_to) = sealing(&call)?;
    let without = without(&shared, &call).await?;
    let at = clock::now();
    admit_copies(&shared, &without, call.mode == Mode::Plan, at)
        .await
        .map_err(|fault| refusal(fault, call.id))?;
    if call.mode == Mode::Plan {
        let mut effects = vec![format!("log: backup_created, sealed to {sealed_to}")];
        effects.extend(without.iter().map(|environment| format!("the vault {environment} is left out")));
        let action = call.route.name.to_owned();
        return Ok(document(Plan { action, object: None, changes: Vec::new(), effects }));
    }
    // One at a time: each writes the store once more.
    let turn = Arc::clone(&shared.packing).try_acquire_owned().map_err(|_| {
        Refusal::new(code::config::OVERLOADED).saying("another backup is being made").under(call.id)
    })?;
    let change = SystemChange::BackupCreated { sealed_to, without: without.clone() };
    let transaction =
        Transaction { actor: call.who.actor(), ..Transaction::own(at, vec![change.into()], Vec::new()) };
    shared.writer.commit(transaction).await.map_err(|error| Refusal::from(error).under(call.id))?;
    let parts = (&shared.store, &shared.vaults, without.as_slice());
    let snapshot = Snapshot::take(&shared.home, parts, &shared.keys, shared.log.key(), at).await;
    let snapshot = snapshot.map_err(|fault| refusal(fault.into(), call.id))?;

    let (pipe, chunks) = Pipe::new();
    let breaking = pipe.breaking();
    tokio::task::spawn_blocking(move || {
        let packed = snapshot.pack(pipe, sealing, &shared.name, shared.log.key());
        // Before whoever reads it sees the end, and may ask for the next one.
        drop(snapshot);
        drop(turn);
        let ended = packed.map_err(io::Error::other).and_then(|mut pipe| pipe.flush());
        if let Err(error) = ended {
            tracing::error!(%error, "a backup was not finished");
            breaking(error);
        }
    });
    let pieces = stream::unfold(chunks, |mut chunks: Chunks| async move {
        chunks.recv().await.map(|piece| (piece, chunks))
    });
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// The vaults that are given up for this backup, each of which is there.
async fn without(shared: &Shared, call: &Call<CreateBackup>) -> Result<Vec<Environment>, Refusal> {
    let mut found = Vec::new();
    for typed in &call.body.without_vaults {
        let environment: Option<Environment> = typed.parse().ok();
        let anchor = match &environment {
            Some(environment) => shared.store.anchor(environment).await.map_err(Refusal::from)?,
            None => None,
        };
        let unknown =
            || Refusal::new(code::vault::VAULT_UNKNOWN).about("vault", &printable(typed, 64)).under(call.id);
        found.push(anchor.ok_or_else(unknown)?.environment);
    }
    Ok(found)
}

/// A vault whose file is not what it should be is named, and how to go on without it.
fn refusal(fault: VaultFault, id: RequestId) -> Refusal {
    match fault {
        VaultFault::Store(error) => Refusal::from(error).under(id),
        VaultFault::Spoilt(spoilt) => {
            let why =
                "put its newest good file back, or leave it out: kosctl backup create --without-vault NAME";
            Refusal::new(spoilt.code).about("vault", &spoilt.environment).saying(why).under(id)
        }
        fault => {
            tracing::error!(error = %fault, "the vaults could not be looked at for a backup");
            Refusal::new(fault.code()).under(id)
        }
    }
}

/// To whom, and what the log says of it.
fn sealing(call: &Call<CreateBackup>) -> Result<(Sealing, &'static str), Refusal> {
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id);
    let CreateBackup { passphrase, recipients, .. } = &call.body;
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
