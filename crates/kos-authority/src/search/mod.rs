//! Finding entries by time, actor, target, device and type, in a log of any length.
//!
//! Shape: `words` says what an entry can be found by, `index` keeps it in a file beside the store, and the keeper, one
//! task, follows the log. Whoever asks waits until the index has every entry that was committed before. What is found
//! is read from the store and compared with what was asked.
//!
//! Invariants: the index is never the truth. One that is missing, damaged, of another version or of another log is
//! noticed at the start, or when it shows an entry that does not fit, and is made anew from the entries, which is
//! recorded (`index_rebuilt`). It holds ids and hashes of people's keys, and no names.
//!
//! Errors: [`SearchError`].
//!
//! Source: `docs/spec/audit.md`, AUD-80 and AUD-81.

mod index;
mod words;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kos_audit::SealedEntry;
use kos_base::{Code, code};
use sqlx::SqlitePool;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::index::{Index, IndexError, Row};
pub(crate) use self::words::{Order, Query, Words, actor_id, target_id};
use crate::{
    clock,
    record::SystemChange,
    store::{EntryQuery, Store, StoreError, StoredEntry},
    writer::{Transaction, Writer},
};

/// Entries that are taken into the index at a time.
const BATCH: u32 = 1_024;
/// Places that are counted at a time.
const COUNTED: u32 = 50_000;
/// How long whoever asks waits for the index.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the keeper may take to end. What it does not write now is written at the next start.
const GRACE: Duration = Duration::from_secs(2);
/// Pause before an index that could not be written is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    /// The index is being made; it takes as long as the log is.
    #[error("the search index is being made")]
    Making,
    /// Too many ask at once, or the program ends.
    #[error("the search index has no time")]
    Busy,
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SearchError {
    /// Its code.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Making => code::audit::SEARCH_MAKING,
            Self::Busy => code::config::OVERLOADED,
            Self::Store(error) => error.code(),
        }
    }
}

/// How far the index is: nothing while it is being made.
#[derive(Clone, Debug, Default)]
struct Ready {
    size: u64,
    reads: Option<SqlitePool>,
}

/// The way to the index.
#[derive(Debug)]
pub(crate) struct Search {
    ready: watch::Receiver<Ready>,
    doubt: Arc<Notify>,
    stop: watch::Sender<bool>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Search {
    fn drop(&mut self) {
        if let Some(keeper) = self.take_keeper() {
            keeper.abort();
        }
    }
}

impl Search {
    /// Starts the keeper of the index at `path`. `is_new` says that the log began just now, so that an index that is not
    /// there yet is nothing to tell of.
    pub(crate) fn start(path: PathBuf, store: Store, writer: Writer, is_new: bool) -> Self {
        let (tell, ready) = watch::channel(Ready::default());
        let doubt = Arc::new(Notify::new());
        let (stop, stopping) = watch::channel(false);
        let keeper = Keeper { path, store, writer, tell, doubt: Arc::clone(&doubt), stopping, is_new };
        Self { ready, doubt, stop, keeper: Mutex::new(Some(tokio::spawn(keeper.run()))) }
    }

    /// Ends the keeper and closes the file.
    pub(crate) async fn close(&self) {
        let reads = self.ready.borrow().reads.clone();
        if let Some(reads) = reads {
            reads.close().await;
        }
        self.stop.send_replace(true);
        if let Some(mut keeper) = self.take_keeper()
            && timeout(GRACE, &mut keeper).await.is_err()
        {
            keeper.abort();
            // It was told to end: how it did says nothing.
            drop(keeper.await);
        }
    }

    fn take_keeper(&self) -> Option<JoinHandle<()>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// At most `limit` entries that fit, beyond `after` in the order that is asked for; all that were committed by now
    /// are looked at.
    pub(crate) async fn find(
        &self,
        store: &Store,
        query: &Query,
        order: Order,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, SearchError> {
        if query.is_everything() {
            return Ok(match order {
                Order::Oldest => {
                    // Some rows stay when their entries are archived; they are not listed.
                    let from = after.map_or(0, |after| after.saturating_add(1)).max(store.archived().await?);
                    store.entries(&EntryQuery { from, ..EntryQuery::default() }, limit).await?
                }
                Order::Newest => {
                    let mut rows = store.last_entries(after.unwrap_or(u64::MAX), limit).await?;
                    let archived = store.archived().await?;
                    rows.retain(|row| row.position >= archived);
                    rows
                }
            });
        }
        let reads = self.reads(store).await?;
        let positions = match index::find(&reads, query, order, after, limit).await {
            Ok(positions) => positions,
            Err(error) => return Err(self.failed(&reads, &error)),
        };
        let rows = store.entries_at(&positions, order == Order::Newest).await?;
        let fits = rows.iter().all(|row| words_of(row).is_ok_and(|words| query.admits(&words)));
        if rows.len() != positions.len() && positions.iter().min() < Some(&store.archived().await?) {
            // They were archived meanwhile.
            return Err(SearchError::Busy);
        }
        if rows.len() != positions.len() || !fits {
            return Err(self.doubted("it shows an entry that does not fit"));
        }
        Ok(rows)
    }

    /// How many entries before `size` fit.
    pub(crate) async fn count(&self, store: &Store, query: &Query, size: u64) -> Result<u64, SearchError> {
        if query.is_everything() {
            return Ok(size.saturating_sub(store.archived().await?));
        }
        let reads = self.reads(store).await?;
        let (mut counted, mut after) = (0, None);
        loop {
            let found = index::find(&reads, query, Order::Oldest, after, COUNTED).await;
            let found = found.map_err(|error| self.failed(&reads, &error))?;
            counted += found.iter().filter(|place| **place < size).count();
            after = found.last().copied();
            if found.len() < usize::try_from(COUNTED).unwrap_or(usize::MAX) || after >= Some(size) {
                return Ok(u64::try_from(counted).unwrap_or(u64::MAX));
            }
        }
    }

    /// Connections to an index that has every entry that was committed by now.
    async fn reads(&self, store: &Store) -> Result<SqlitePool, SearchError> {
        let size = store.log_state().await?.map_or(0, |state| state.size);
        let mut ready = self.ready.clone();
        let waiting = ready.wait_for(|ready| ready.reads.is_some() && ready.size >= size);
        match timeout(PATIENCE, waiting).await {
            Ok(Ok(ready)) => ready.reads.clone().ok_or(SearchError::Making),
            _ => Err(SearchError::Making),
        }
    }

    /// What an answer that did not come says of the index. Only damage does: whoever asks much, or while it is closed, must
    /// not have it made anew.
    fn failed(&self, reads: &SqlitePool, error: &IndexError) -> SearchError {
        if reads.is_closed() {
            return SearchError::Making;
        }
        if !error.is_damage() {
            tracing::warn!(%error, "the search index gave no answer");
            return SearchError::Busy;
        }
        self.doubted(&error.to_string())
    }

    fn doubted(&self, why: &str) -> SearchError {
        tracing::warn!(why, "the search index is made anew");
        self.doubt.notify_one();
        SearchError::Making
    }
}

/// The words of a row of the log.
fn words_of(row: &StoredEntry) -> Result<Words, StoreError> {
    let leaf = SealedEntry::from_bytes(row.leaf.clone());
    // Nobody is shown anything on this word alone: the row carries a MAC, and what is shown is verified.
    let entry = leaf.unverified();
    let unsound = |_| StoreError::Damaged { table: "entries", row: row.position.to_string() };
    Ok(Words::of(&entry.map_err(unsound)?))
}

/// The one that follows the log.
struct Keeper {
    path: PathBuf,
    store: Store,
    writer: Writer,
    tell: watch::Sender<Ready>,
    doubt: Arc<Notify>,
    stopping: watch::Receiver<bool>,
    is_new: bool,
}

/// Why the keeper could not go on.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Keeper {
    async fn run(mut self) {
        // What was wrong with the index before; whoever doubted it has told why.
        let mut doubted = None;
        loop {
            let is_again = doubted.is_some();
            match self.follow(doubted.take()).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the search index cannot be used");
                    if matches!(error, Fault::Index(_)) {
                        doubted = Some("damaged");
                    }
                }
            }
            self.forget().await;
            if is_again || doubted.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    async fn forget(&self) {
        let Ready { reads, .. } = self.tell.send_replace(Ready::default());
        if let Some(reads) = reads {
            reads.close().await;
        }
    }

    /// Opens or makes the index and follows the log until it is told to end, or its writer is gone.
    async fn follow(&mut self, doubted: Option<&'static str>) -> Result<(), Fault> {
        let mut progress = self.writer.progress();
        let (mut index, mut rebuilt) = self.open(doubted).await?;
        // What was doubted is the index of before.
        drop(timeout(Duration::ZERO, self.doubt.notified()).await);
        let mut reads = None;
        loop {
            let size = progress.borrow_and_update().log_size;
            index.forget_before(self.store.archived().await?).await?;
            while index.extent.size < size && !*self.stopping.borrow() {
                self.take(&mut index).await?;
            }
            if *self.stopping.borrow() {
                return Ok(index.close().await?);
            }
            if let Some(reason) = rebuilt.take() {
                let entries = index.extent.size - index.extent.first;
                let change = SystemChange::IndexRebuilt { reason, entries };
                self.writer.commit(Transaction::own(clock::now(), vec![change.into()], Vec::new())).await?;
                continue;
            }
            let readers = match &reads {
                Some(reads) => SqlitePool::clone(reads),
                None => reads.insert(Index::readers(&self.path).await?).clone(),
            };
            self.tell.send_replace(Ready { size: index.extent.size, reads: Some(readers) });
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return Ok(()) },
                _ = self.stopping.changed() => {}
                () = self.doubt.notified() => {
                    return Err(IndexError::Damaged("it does not agree with the log".to_owned()).into());
                }
            }
        }
    }

    /// The index, and what was wrong with the one that was there.
    async fn open(&mut self, doubted: Option<&'static str>) -> Result<(Index, Option<&'static str>), Fault> {
        let first = self.store.archived().await?;
        let wrong = match doubted {
            Some(reason) => reason,
            None => match Index::open(&self.path).await {
                Ok(Some(index)) if self.is_of_this_log(&index).await? => return Ok((index, None)),
                Ok(Some(_)) => "of another log",
                Ok(None) => "missing",
                Err(error) => {
                    tracing::warn!(%error, "the search index is made anew");
                    "damaged"
                }
            },
        };
        let is_nothing_to_tell = wrong == "missing" && std::mem::take(&mut self.is_new);
        Ok((Index::make(&self.path, first).await?, (!is_nothing_to_tell).then_some(wrong)))
    }

    /// Whether it ends with an entry of this log, or is empty.
    async fn is_of_this_log(&self, index: &Index) -> Result<bool, StoreError> {
        let extent = index.extent;
        if extent.size == extent.first {
            return Ok(extent.first <= self.store.archived().await?);
        }
        let last = self.store.entries_at(&[extent.size - 1], false).await?;
        Ok(last.first().is_some_and(|row| leaf_hash(row) == extent.leaf))
    }

    /// Takes the next entries in.
    async fn take(&self, index: &mut Index) -> Result<(), Fault> {
        let query = EntryQuery { from: index.extent.size, ..EntryQuery::default() };
        let entries = self.store.entries(&query, BATCH).await?;
        // Reading thousands of entries keeps others waiting.
        let reading = tokio::task::spawn_blocking(move || {
            let row = |entry: &StoredEntry| {
                Ok(Row { position: entry.position, words: words_of(entry)?, leaf: leaf_hash(entry) })
            };
            entries.iter().map(row).collect::<Result<Vec<_>, StoreError>>()
        });
        let rows = reading.await.map_err(|e| StoreError::Failed(e.to_string()))??;
        if rows.first().is_none_or(|row| row.position != index.extent.size) {
            return Err(StoreError::Damaged { table: "entries", row: index.extent.size.to_string() }.into());
        }
        Ok(index.append(&rows).await?)
    }
}

fn leaf_hash(row: &StoredEntry) -> [u8; 32] {
    *kos_audit::tree::leaf_hash(&row.leaf).as_bytes()
}

#[cfg(test)]
mod tests;
