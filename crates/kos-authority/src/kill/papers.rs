//! The entry, the last checkpoint, and the notice that carries both (KILL-26 to KILL-29).

use std::path::Path;

use kos_base::key::SignatureForm;
use kos_identity::registry::Actor;
use kos_net::keys::SigningKey;
use kos_vault::kill::{Firing, Notice, NoticeSubject, ProgramFate, Recorded};

use crate::{
    authority::{Home, StartError, log_signer},
    clock,
    files::{self, Mode},
    log::LogFiles,
    record::SystemChange,
    store::{self, Store, StoreError},
    writer::{Receipt, Transaction, Writer},
};

/// The last transaction of this log.
pub(super) fn last(actor: Actor, fate: ProgramFate) -> Transaction {
    let change = SystemChange::KillFired { delete_program: fate == ProgramFate::Delete };
    Transaction { actor, ..Transaction::own(clock::now(), vec![change.into()], Vec::new()) }
}

/// Publishes what the files do not have yet.
pub(super) async fn publish(files: &LogFiles, store: &Store) -> Result<(), StoreError> {
    let published = files.checkpoint().ok().flatten();
    // The size is the second line of a checkpoint; without one, everything is written again.
    let from = published.and_then(|note| note.lines().nth(1)?.parse().ok()).unwrap_or(0);
    files.publish(store, from).await.map(drop)
}

/// Signs the notice, and puts it in its place.
pub(super) fn sign(home: &Home, orders: &SigningKey, files: &LogFiles, firing: &Firing) -> bool {
    let notice = Notice {
        subject: NoticeSubject::Authority,
        name: firing.subject.name.clone(),
        authority: None,
        at: firing.at,
        key: orders.public().clone(),
        program_deleted: firing.program == ProgramFate::Delete,
        entry: firing.entry,
        checkpoint: files.checkpoint().ok().flatten(),
    };
    let unsigned = notice.unsigned();
    let signed = orders.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
    let signed = signed.map(|signature| unsigned.finish(signature)).map_err(|error| error.to_string());
    let written = signed.and_then(|notice| {
        files::replace(&home.death_notice(), &notice, Mode::Readable).map_err(|error| error.to_string())
    });
    match written {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(error, "there is no death notice");
            false
        }
    }
}

/// Records a firing that a power cut came upon before its entry.
pub(super) async fn record_again(home: &Home, credentials: Option<&Path>, fate: ProgramFate) -> Recorded {
    match append(home, credentials, fate).await {
        Ok(receipt) => Recorded::Entry(receipt.first),
        Err(error) => {
            tracing::error!(%error, "the log does not take the end");
            Recorded::Failed
        }
    }
}

async fn append(home: &Home, credentials: Option<&Path>, fate: ProgramFate) -> Result<Receipt, StartError> {
    let (keys, _) = home.keep_at_the_end(credentials).open(clock::now())?;
    let name = keys.root_certificate.authority();
    let name = name.ok_or_else(|| StartError::Internal("the root names no authority".to_owned()))?;
    let (store, half) = store::open(&home.store(), &keys.store).await?;
    let files = LogFiles::new(home.log()).map_err(|e| StartError::file(&home.log(), &e))?;
    let published = files.checkpoint().map_err(|e| StartError::file(&home.log(), &e))?;
    let log = log_signer(&name, &keys, clock::now())?;
    let (writer, writing) = Writer::start(half, &store, name, log, published.as_deref(), |_| {}).await?;
    let receipt = writer.commit_last(last(Actor::Authority, fate)).await;
    let done = publish(&files, &store).await;
    store.close().await;
    writing.finished().await?;
    let receipt = receipt?;
    done?;
    Ok(receipt)
}

/// Makes the notice that a power cut came before.
pub(super) fn sign_again(home: &Home, credentials: Option<&Path>, firing: &Firing) -> bool {
    match (home.keep_at_the_end(credentials).open(clock::now()), LogFiles::new(home.log())) {
        (Ok((keys, _)), Ok(files)) => sign(home, &keys.orders, &files, firing),
        (keys, _) => {
            tracing::error!(error = ?keys.err().map(|e| e.to_string()), "there is no death notice");
            false
        }
    }
}
