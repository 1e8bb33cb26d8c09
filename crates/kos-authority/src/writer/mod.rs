//! The one task that writes: it takes requests from a channel, and commits many of them in one transaction.
//!
//! Shape: a request is a [`Transaction`]: what happened, and the records as they are to be. Requests that wait
//! together form a group, with a savepoint each, so that one that meets a conflict leaves the others alone. In the same
//! transaction the log grows by one signed entry per change, and by a checkpoint over all of them. Then COMMIT, which is
//! when it is on the disk, and only then the answers.
//!
//! Invariants: nothing is acknowledged that is not on the disk. There is no change without an entry. After a failure
//! the writer is as it was before the group, and the next group may succeed. On a full disk critical events go on as long as
//! the reserve lasts, and ordinary ones are refused (`space`). A disk that does not keep what was written ends the writer.
//!
//! Errors: [`StoreError`] to the requester whose fault it is; to all of the group when the disk fails.

mod group;
mod request;
mod scribe;
mod scrub;
mod space;

use std::{fmt, time::Duration};

use kos_audit::{
    VerifiedEntry,
    alert::{Alert, AlertId},
};
use kos_base::{AuthorityName, EntryId, KeyId, Timestamp};
use kos_identity::registry::{self, Actor, Revocation, Write};
use kos_policy::pairing::Pairing;
use kos_vault::{Environment, Head};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use self::{
    request::{LastAnswer, Request, Waiting, WhenFull},
    scribe::Scribe,
    space::Space,
};
use crate::{
    alert::{Guardian, GuardianName},
    clock,
    log::{LogSigner, Tail},
    mirror::Mirror,
    record::Change,
    store::{
        AlertNote, Anchor, Answer, Archive, CodeMark, EngineState, Heartbeat, LogAnchor, LogState, Operator,
        Setting, Store, StoreError, StoredCrl, StoredGrant, StoredManifest, StoredWitness, WitnessedLog,
        WriteHalf,
    },
};

/// Requests that may wait for the writer; more would only wait longer, so callers wait instead.
const QUEUE_MAX: usize = 1_024;
/// Requests in one transaction; bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 256;
/// How often a full disk is looked at when nobody asks for anything.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Everything that one transaction does, all or nothing.
#[derive(Debug)]
pub struct Transaction {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What happened, in order; one entry each. Never empty.
    pub changes: Vec<Change>,
    /// Records of the registry as they are to be.
    pub writes: Vec<Write>,
    /// Records of the authority itself.
    pub system: Vec<SystemWrite>,
    /// What a repeated request is to get, made from the receipt.
    pub answer: Option<KeptAnswer>,
}

/// Makes the answer that is kept for a repeated request, once the receipt is known.
pub struct KeptAnswer(Box<MakeAnswer>);

/// Made anew whenever the transaction is tried again.
type MakeAnswer = dyn Fn(Receipt) -> Result<Answer, StoreError> + Send + Sync;

impl KeptAnswer {
    /// Keeps what `make` makes.
    pub fn new(make: impl Fn(Receipt) -> Result<Answer, StoreError> + Send + Sync + 'static) -> Self {
        Self(Box::new(make))
    }
}

impl fmt::Debug for KeptAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptAnswer(..)")
    }
}

impl Transaction {
    /// What a machine or an operation of the registry wants committed.
    pub fn of(at: Timestamp, commit: registry::Commit) -> Self {
        let registry::Commit { actor, changes, writes } = commit;
        let changes = changes.into_iter().map(Change::Registry).collect();
        Self { at, actor, changes, writes, system: Vec::new(), answer: None }
    }

    /// Something that the authority does by itself.
    pub fn own(at: Timestamp, changes: Vec<Change>, system: Vec<SystemWrite>) -> Self {
        Self { at, actor: Actor::Authority, changes, writes: Vec::new(), system, answer: None }
    }
}

/// A record of the authority itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemWrite {
    /// The newest revocation list of a CA; its number must be higher than the one before.
    Crl(StoredCrl),
    /// An operator.
    Operator(Box<Operator>),
    /// Writes nothing: the transaction rests on this operator, and is a conflict once they were removed.
    Stands(EntryId),
    /// Entries are in an archive; their rows go later.
    Archive(Box<Archive>),
    /// Destroys the key of the subject with this id.
    EraseSubject(String),
    /// Writes the tables anew in which a name stood that was taken out.
    WriteAnew,
    /// A setting; nothing takes it away.
    Setting(Setting, Option<String>),
    /// Revokes a certificate that is no device's.
    Revoke(Revocation),
    /// A certificate of the authority's TLS port, kept for ever.
    #[expect(missing_docs, reason = "the fields are named after the columns")]
    OwnCertificate { issuer: KeyId, serial: Vec<u8>, der: Vec<u8> },
    /// What is known of a vault outside of its file, in place of the head that is kept; nothing for a new one.
    #[expect(missing_docs, reason = "the fields are named after what they are")]
    Vault { anchor: Box<Anchor>, instead_of: Option<Head> },
    /// The last one-time code of a vault that counted.
    CodeMark(CodeMark),
    /// A vault asks for no codes any more.
    NoCodeMark(Environment),
    /// Somebody cosigns this log.
    AddWitness(Box<StoredWitness>),
    /// How somebody stands who cosigns it.
    Witness(Box<StoredWitness>),
    /// Somebody of this name does no more.
    NoWitness(String),
    /// A log of somebody else is cosigned here.
    AddWitnessedLog(Box<WitnessedLog>),
    /// The log of this origin is no more.
    NoWitnessedLog(String),
    /// How far the log of a device is verified and copied.
    LogAnchor(Box<LogAnchor>),
    /// Alerts, one for each of the first changes of the transaction, and what the rules remember after them.
    Alerts(Vec<Alert>, EngineState),
    /// Somebody has seen an alert, at this moment; the first change of the transaction says so.
    AlertSeen(AlertId, Timestamp),
    /// Somebody is told of alerts.
    Guardian(Box<Guardian>),
    /// A guardian is told no more.
    NoGuardian(GuardianName),
    /// A guardian is no more, with everything that waits for it.
    GuardianGone(GuardianName),
    /// Copies of the log are written there.
    Mirror(Box<Mirror>),
    /// Copies are written there no more.
    NoMirror(String),
    /// A version of a manifest, and its signed text.
    Manifest(Box<StoredManifest>, Vec<u8>),
    /// A pairing, in place of the one of the two with this number; nothing for two that never were.
    Pairing(Box<Pairing>, Option<u64>),
    /// A grant, in place of what was kept of it; nothing for a new one.
    Grant(Box<StoredGrant>, Option<Box<StoredGrant>>),
    /// A grant is no more.
    NoGrant(EntryId),
}

/// A transaction that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Index in the log of the first change's entry.
    pub first: u64,
    /// How many entries there are.
    pub entries: u64,
}

/// What the writer tells everybody after each group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many entries the log has.
    pub log_size: u64,
    /// How many it had when the last critical one was in, as far as this run knows.
    pub critical_size: u64,
}

/// What witnesses have said about this log. It is no change of anything that an entry could be about.
#[derive(Clone, Debug, Default)]
pub struct Cosigned {
    /// How those stand who answered.
    pub witnesses: Vec<StoredWitness>,
    /// A head with the cosignatures that it has so far.
    pub cosigned: Option<LogState>,
    /// A head that enough of them cosigned.
    pub witnessed: Option<LogState>,
}

/// The way to the writer. Cheap to clone; the writer ends when the last one is gone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Request>,
    progress: watch::Receiver<Progress>,
    failed: watch::Receiver<bool>,
}

/// The writer at work.
#[derive(Debug)]
pub struct Writing(JoinHandle<Result<(), StoreError>>);

impl Writing {
    /// Waits until the writer has committed everything and closed the store.
    ///
    /// # Errors
    /// When the store could not be closed in order; what was acknowledged is on the disk all the same.
    pub async fn finished(self) -> Result<(), StoreError> {
        self.0.await.map_err(|e| StoreError::Failed(e.to_string()))?
    }
}

impl Writer {
    /// Starts the writer. `on_commit` hears of everything that is committed, before any answer.
    ///
    /// # Errors
    /// [`StoreError::LogDiffers`] when the log is not the one that was signed; nothing is written then.
    pub async fn start<F>(
        mut half: WriteHalf,
        store: &Store,
        authority: AuthorityName,
        signer: LogSigner,
        published: Option<&str>,
        on_commit: F,
    ) -> Result<(Self, Writing), StoreError>
    where
        F: FnMut(&Committed<'_>) + Send + 'static,
    {
        let tail = Tail::load(store, signer.key(), published).await?;
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let (report, progress) = watch::channel(Progress { log_size: tail.size(), critical_size: 0 });
        let scribe = Scribe::new(signer, authority, tail);
        half.demand_entries().await?;
        let space = Space::open(&half.reserve());
        let (fail, failed) = watch::channel(false);
        let work = Work { half, scribe, space, report, fail, on_commit };
        let writing = tokio::spawn(work.run(requests));
        Ok((Self { queue, progress, failed }, Writing(writing)))
    }

    /// Ends when the disk does not keep what is written, and this program must not go on.
    pub(crate) async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // It ended in order.
            std::future::pending::<()>().await;
        }
    }

    /// Commits, and returns once it is on the disk and in the log.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a record is not the successor of the one in the store: read it again and repeat.
    /// Anything else means that the store cannot write now; nothing was changed.
    pub async fn commit(&self, transaction: Transaction) -> Result<Receipt, StoreError> {
        self.ask(|reply| Request::Commit(transaction, reply)).await
    }

    /// The same for what nobody asked for and nobody tries again. On a full disk it is counted as lost, which is recorded later
    /// (AUD-113), and is no error.
    ///
    /// # Errors
    /// As with [`Writer::commit`], but for a full disk.
    pub(crate) async fn commit_or_count(&self, transaction: Transaction) -> Result<(), StoreError> {
        match self.ask(|reply| Request::CommitOrCount(transaction, reply)).await {
            Ok(_) | Err(StoreError::Full) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same as [`Writer::commit`], and ends the writer and closes its store, whatever came of it: nothing is ever committed after it.
    ///
    /// # Errors
    /// As with [`Writer::commit`].
    pub(crate) async fn commit_last(&self, transaction: Transaction) -> Result<Receipt, StoreError> {
        self.ask(|reply| Request::Last(Box::new(transaction), reply)).await
    }

    /// Stores measured values, which are no changes and have no entries.
    ///
    /// # Errors
    /// When the store cannot write now.
    pub async fn keep_heartbeats(&self, heartbeats: Vec<Heartbeat>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Measured(heartbeats, reply)).await
    }

    /// Stores what witnesses have said. A witness that was removed meanwhile is left out.
    ///
    /// # Errors
    /// When the store cannot write now; nothing was changed.
    pub(crate) async fn keep_cosigned(&self, cosigned: Cosigned) -> Result<(), StoreError> {
        self.ask(|reply| Request::Cosigned(Box::new(cosigned), reply)).await
    }

    /// Appends entries that this log's key signed before, in their order, as they are: the log goes on from a newer copy of
    /// itself.
    ///
    /// # Errors
    /// When the first of them is not the next entry of the log, or the store cannot write now; nothing was changed.
    pub(crate) async fn adopt(&self, entries: Vec<VerifiedEntry>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Adopt(entries, reply)).await
    }

    /// Replaces an answer that was kept with a change, by one in which more is known.
    ///
    /// # Errors
    /// When the store cannot write now; the former answer is kept.
    pub async fn replace_answer(&self, answer: Answer) -> Result<(), StoreError> {
        self.ask(|reply| Request::Answered(answer, reply)).await
    }

    /// Takes some rows of archived entries away, which is no change and has no entry. Whether there are more.
    ///
    /// # Errors
    /// When the store cannot write now.
    pub(crate) async fn sweep(&self) -> Result<bool, StoreError> {
        self.ask(Request::Sweep).await
    }

    /// Notes how alerts and their deliveries go, which is no change and has no entry.
    ///
    /// # Errors
    /// When the store cannot write now.
    pub(crate) async fn note(&self, note: AlertNote) -> Result<(), StoreError> {
        self.ask(|reply| Request::Noted(note, reply)).await
    }

    /// Tells how far the log is, and changes whenever it grows.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Failed("the writer has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        self.queue.send(request(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// What a group has made durable.
#[derive(Debug)]
pub struct Committed<'a> {
    /// Every transaction of the group, in order.
    pub transactions: &'a [Transaction],
}

struct Work<F> {
    half: WriteHalf,
    scribe: Scribe,
    space: Space,
    report: watch::Sender<Progress>,
    fail: watch::Sender<bool>,
    on_commit: F,
}

impl<F: FnMut(&Committed<'_>)> Work<F> {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), StoreError> {
        let mut waiting = Vec::with_capacity(GROUP_MAX);
        loop {
            let more = requests.recv_many(&mut waiting, GROUP_MAX);
            if self.space.is_low() || self.space.losses().is_some() {
                match tokio::time::timeout(LOOK_PAUSE, more).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(_) => _ = self.space.recover(),
                }
                self.record_losses().await?;
            } else if more.await == 0 {
                break;
            }
            if let Some((reply, receipt)) = self.answer(&mut waiting).await? {
                let closed = self.half.close().await;
                // Not before nothing of the store is open any more. Whoever went away has had it done all the same.
                drop(reply.send(receipt));
                return closed;
            }
            let moved = self.half.move_when_due().await;
            self.judge(moved)?;
        }
        self.half.close().await
    }

    /// Does what was asked for together. What is still to be answered, when it was the last.
    async fn answer(&mut self, waiting: &mut Vec<Request>) -> Result<Option<LastAnswer>, StoreError> {
        let (mut commits, mut answers) = (Vec::with_capacity(waiting.len()), Vec::new());
        let (mut last, mut scrubs) = (None, Vec::new());
        for request in waiting.drain(..) {
            match request {
                // What came after the last one is not heard: whoever asks is told that the writer has stopped.
                _ if last.is_some() => {}
                Request::Commit(transaction, reply) => {
                    commits.push(Waiting { transaction, reply, when_full: WhenFull::Refuse });
                }
                Request::CommitOrCount(transaction, reply) => {
                    commits.push(Waiting { transaction, reply, when_full: WhenFull::Count });
                }
                Request::Last(transaction, reply) => last = Some((*transaction, reply)),
                Request::Answered(answer, reply) => answers.push((answer, reply)),
                Request::Scrub(reply) => scrubs.push(reply),
                Request::Sweep(reply) => {
                    let swept = self.half.sweep().await;
                    self.judge(swept.clone().map(drop))?;
                    // Whoever no longer waits has lost nothing: the next start goes on.
                    drop(reply.send(swept));
                }
                Request::Measured(heartbeats, reply) => {
                    // They are written again and again: they must not use up what is kept for others.
                    let kept = if self.is_full() {
                        Err(StoreError::Full)
                    } else {
                        group::keep_heartbeats(&mut self.half, &heartbeats).await
                    };
                    self.judge(kept.clone())?;
                    // Whoever no longer waits has lost nothing: these are measurements.
                    drop(reply.send(kept));
                }
                Request::Cosigned(cosigned, reply) => {
                    let kept = if self.is_full() {
                        Err(StoreError::Full)
                    } else {
                        group::keep_cosigned(&mut self.half, &cosigned).await
                    };
                    self.judge(kept.clone())?;
                    // As above: the collector asks the witnesses again.
                    drop(reply.send(kept));
                }
                Request::Noted(note, reply) => {
                    let noted = if self.is_full() {
                        Err(StoreError::Full)
                    } else {
                        group::note(&mut self.half, &note).await
                    };
                    self.judge(noted.clone())?;
                    // As above: whoever does not hear it notes it again.
                    drop(reply.send(noted));
                }
                Request::Adopt(entries, reply) => {
                    let before = self.scribe.tail();
                    let adopted = group::adopt(&mut self.half, &mut self.scribe, entries).await;
                    if adopted.is_err() {
                        self.half.roll_back().await;
                        self.scribe.return_to(before);
                    }
                    self.judge(adopted.clone())?;
                    // As above: whoever asks again begins where the log is.
                    drop(reply.send(adopted));
                }
            }
        }
        self.commit_group(commits).await?;
        if let Some((transaction, reply)) = last {
            let (own, receipt) = oneshot::channel();
            self.commit_group(vec![Waiting { transaction, reply: own, when_full: WhenFull::Refuse }]).await?;
            let receipt = receipt.await.map_err(|_| StoreError::Failed("the writer has stopped".to_owned()));
            return Ok(Some((reply, receipt.and_then(|receipt| receipt))));
        }
        if !scrubs.is_empty() {
            let scrubbed = self.half.empty_side_file().await;
            self.judge(scrubbed.clone())?;
            for reply in scrubs {
                // As above: it is done for whoever asked, also when they went away.
                drop(reply.send(scrubbed.clone()));
            }
        }
        for (answer, reply) in answers {
            // As above: the one that was kept before is still kept.
            let replaced = self.half.replace_answer(&answer).await;
            self.judge(replaced.clone())?;
            drop(reply.send(replaced));
        }
        Ok(None)
    }

    /// Whether only what is critical is written now.
    fn is_full(&mut self) -> bool {
        self.space.is_low() && !self.space.recover()
    }

    /// Ends the writer when the disk does not keep what was written.
    fn judge(&self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        match done {
            Err(error @ StoreError::Unsynced(_)) => {
                tracing::error!(%error, "nothing more is written");
                self.fail.send_replace(true);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Records what was lost, once there is room.
    async fn record_losses(&mut self) -> Result<(), StoreError> {
        let Some(change) = self.space.losses().filter(|_| !self.space.is_low()) else { return Ok(()) };
        let transaction = Transaction::own(clock::now(), vec![change.into()], Vec::new());
        let (reply, receipt) = oneshot::channel();
        self.commit_group(vec![Waiting { transaction, reply, when_full: WhenFull::Refuse }]).await?;
        if let Ok(Ok(_)) = receipt.await {
            self.space.forget_losses();
        }
        Ok(())
    }

    /// Answers what the full disk has no room for; what may use the reserve is left.
    fn turn_away(&mut self, group: Vec<Waiting>) -> Vec<Waiting> {
        let mut critical = Vec::new();
        for waiting in group {
            if space::is_critical(&waiting.transaction) {
                critical.push(waiting);
                continue;
            }
            if waiting.when_full == WhenFull::Count {
                self.space.lose(&waiting.transaction);
            }
            drop(waiting.reply.send(Err(StoreError::Full)));
        }
        critical
    }

    async fn commit_group(&mut self, mut group: Vec<Waiting>) -> Result<(), StoreError> {
        if self.is_full() {
            group = self.turn_away(group);
        }
        loop {
            if group.is_empty() {
                return Ok(());
            }
            let (transactions, replies): (Vec<_>, Vec<_>) =
                group.into_iter().map(|one| (one.transaction, (one.reply, one.when_full))).unzip();
            let before = self.scribe.tail();
            match group::commit(&mut self.half, &mut self.scribe, &transactions).await {
                Ok(results) => {
                    let done = transactions.into_iter().zip(&results);
                    let committed: Vec<_> =
                        done.filter(|(_, result)| result.is_ok()).map(|(one, _)| one).collect();
                    if !committed.is_empty() {
                        (self.on_commit)(&Committed { transactions: &committed });
                        self.report.send_replace(self.scribe.progress());
                    }
                    for ((reply, _), result) in replies.into_iter().zip(results) {
                        // A requester that went away is not asked whether it minds.
                        drop(reply.send(result));
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.half.roll_back().await;
                    self.scribe.return_to(before);
                    let rejoined = transactions.into_iter().zip(replies);
                    group = rejoined
                        .map(|(transaction, (reply, when_full))| Waiting { transaction, reply, when_full })
                        .collect();
                    if error == StoreError::Full {
                        self.space.found_full();
                        group = self.turn_away(group);
                        if !group.is_empty() && self.space.release() {
                            continue;
                        }
                    }
                    tracing::error!(%error, "nothing of this group was written");
                    for waiting in group {
                        drop(waiting.reply.send(Err(error.clone())));
                    }
                    return self.judge(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
