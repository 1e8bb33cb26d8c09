//! The entry, the last checkpoint, and the notice that carries both (KILL-26 to KILL-29).

use std::{path::Path, sync::Arc, thread};

use kos_base::key::SignatureForm;
use kos_identity::registry::Actor;
use kos_net::keys::SigningKey;
use kos_vault::kill::{Firing, Notice, NoticeSubject, ProgramFate, Recorded};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    authority::{Home, StartError, log_signer},
    clock,
    files::{self, Mode},
    keys::Keys,
    log::LogFiles,
    record::SystemChange,
    store,
    writer::{Receipt, Transaction, Writer},
};

/// The last transaction of this log.
pub(super) fn last(actor: Actor, fate: ProgramFate) -> Transaction {
    let change = SystemChange::KillFired { delete_program: fate == ProgramFate::Delete };
    Transaction { actor, ..Transaction::own(clock::now(), vec![change.into()], Vec::new()) }
}

/// What `work` makes in a thread of its own, unless that takes too long: hardware may never answer, and the thread is left to
/// itself then.
pub(super) async fn in_time<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    // Nobody may listen any more.
    thread::Builder::new().spawn(move || drop(tell.send(work()))).ok()?;
    timeout_at(deadline, told).await.ok()?.ok()
}

/// Signs the notice, and puts it in its place. A signer that was given up writes nothing later.
pub(super) async fn sign(
    home: &Home,
    orders: &Arc<SigningKey>,
    files: &LogFiles,
    firing: &Firing,
    deadline: Instant,
) -> bool {
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
    let orders = Arc::clone(orders);
    let signing = in_time(deadline, move || {
        let unsigned = notice.unsigned();
        let signed = orders.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
        signed.map(|signature| unsigned.finish(signature)).map_err(|error| error.to_string())
    });
    let signed = signing.await.unwrap_or_else(|| Err("the key does not answer".to_owned()));
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

/// The keys for what a power cut came before, as they are: nothing that is to go is written anew.
pub(super) async fn keys(home: &Home, credentials: Option<&Path>, deadline: Instant) -> Option<Arc<Keys>> {
    let (home, credentials) = (home.clone(), credentials.map(Path::to_owned));
    let read = in_time(deadline, move || {
        let read = home.keep_at_the_end(credentials.as_deref()).read(clock::now());
        read.map_err(|error| error.to_string())
    });
    match read.await.unwrap_or_else(|| Err("what opens them does not answer".to_owned())) {
        Ok(keys) => Some(Arc::new(keys)),
        Err(error) => {
            tracing::error!(error, "nothing can be signed");
            None
        }
    }
}

/// Records a firing that a power cut came upon before its entry.
pub(super) async fn record_again(home: &Home, keys: &Keys, fate: ProgramFate) -> Recorded {
    match append(home, keys, fate).await {
        Ok(receipt) => Recorded::Entry(receipt.first),
        Err(error) => {
            tracing::error!(%error, "the log does not take the end");
            Recorded::Failed
        }
    }
}

async fn append(home: &Home, keys: &Keys, fate: ProgramFate) -> Result<Receipt, StartError> {
    let name = keys.root_certificate.authority();
    let name = name.ok_or_else(|| StartError::Internal("the root names no authority".to_owned()))?;
    let (store, half) = store::open(&home.store(), &keys.store).await?;
    let files = LogFiles::new(home.log()).map_err(|e| StartError::file(&home.log(), &e))?;
    let published = files.published().map_err(|e| StartError::file(&home.log(), &e))?;
    let log = log_signer(&name, keys, clock::now())?;
    let (writer, writing) = Writer::start(half, &store, name, log, published.as_deref(), |_| {}).await?;
    let receipt = writer.commit_last(last(Actor::Authority, fate)).await;
    let done = files.publish_rest(&store).await;
    store.close().await;
    writing.finished().await?;
    let receipt = receipt?;
    done?;
    Ok(receipt)
}

/// Makes the notice that a power cut came before.
pub(super) async fn sign_again(home: &Home, keys: &Keys, firing: &Firing, deadline: Instant) -> bool {
    match LogFiles::new(home.log()) {
        Ok(files) => sign(home, &keys.orders, &files, firing, deadline).await,
        Err(error) => {
            tracing::error!(%error, "there is no death notice");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_never_answers_is_not_waited_for() {
        let (_never, told) = std::sync::mpsc::channel::<()>();
        let deadline = Instant::now() + Duration::from_secs(5);
        assert_eq!(in_time(deadline, move || told.recv().is_ok()).await, None);
        assert_eq!(Instant::now(), deadline);
    }
}
