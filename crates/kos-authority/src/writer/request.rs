//! What is asked of the writer, and who waits for it.

use kos_audit::VerifiedEntry;
use tokio::sync::oneshot;

use super::{Cosigned, Receipt, Transaction};
use crate::store::{AlertNote, Answer, Heartbeat, StoreError};

/// Whoever waits to hear what became of a transaction.
pub(super) type Reply = oneshot::Sender<Result<Receipt, StoreError>>;

pub(super) enum Request {
    Commit(Transaction, Reply),
    /// Nobody asked for it: on a full disk it is counted instead.
    CommitOrCount(Transaction, Reply),
    /// Nothing is committed after it.
    Last(Box<Transaction>, Reply),
    Measured(Vec<Heartbeat>, oneshot::Sender<Result<(), StoreError>>),
    Cosigned(Box<Cosigned>, oneshot::Sender<Result<(), StoreError>>),
    Adopt(Vec<VerifiedEntry>, oneshot::Sender<Result<(), StoreError>>),
    Answered(Answer, oneshot::Sender<Result<(), StoreError>>),
    Scrub(oneshot::Sender<Result<(), StoreError>>),
    Sweep(oneshot::Sender<Result<bool, StoreError>>),
    Noted(AlertNote, oneshot::Sender<Result<(), StoreError>>),
}

/// A transaction, whoever waits for it, and what is to become of it on a full disk.
pub(super) struct Waiting {
    pub(super) transaction: Transaction,
    pub(super) reply: Reply,
    pub(super) when_full: WhenFull,
}

/// What is answered when everything is closed.
pub(super) type LastAnswer = (Reply, Result<Receipt, StoreError>);

/// What becomes of something ordinary on a full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    Refuse,
    Count,
}
