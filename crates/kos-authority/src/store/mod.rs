//! What the authority keeps: an SQLite file whose every row carries a MAC.
//!
//! Two halves. [`Store`] reads, from a small pool of read-only connections. [`WriteHalf`] is the one connection that
//! writes; the writer task owns it. Nothing else opens the file.
//!
//! Records are values of [`kos_identity::registry`] in deterministic CBOR, beside the columns that are looked up.
//! No rule stands here: the store refuses a record that does not succeed the one it holds, and knows nothing else.
//!
//! Invariants: what was acknowledged is on the disk (`synchronous=FULL`, write-ahead log); what is read is what was
//! written, or the answer is [`StoreError::Damaged`] (row MACs, and a look at the whole structure at the start).
//!
//! What it does not defend against: somebody who may write the file and read the entry `store` of the vault of the machine, or who puts an older
//! copy of the whole file back. The audit log's checkpoints, kept elsewhere, show the latter.

#[cfg(test)]
mod alert_tests;
mod alerts;
mod answers;
mod archives;
mod attestation;
mod bonds;
mod certificates;
mod coverage;
mod device_logs;
mod devices;
mod fault;
mod guardians;
mod heartbeats;
mod journal;
mod lock;
mod manifests;
mod mirrors;
mod operators;
mod row;
mod schema;
mod settings;
mod subjects;
mod tickets;
mod vaults;
mod vouchers;
mod witnesses;

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use kos_base::Secret;
use kos_identity::registry::Write;
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use self::coverage::Coverage;
pub use self::{
    alerts::{AlertChoice, AlertNote, Course, Delivery, EngineState, Fate, StoredAlert},
    answers::{Answer, Digest},
    archives::Archive,
    attestation::{AttestationLists, ListedEk, StoredGolden, StoredVerifier},
    bonds::{PersonsWord, StoredGrant},
    certificates::{StoredCertificate, StoredCrl},
    device_logs::LogAnchor,
    devices::{DeviceQuery, LobbyCount},
    fault::StoreError,
    heartbeats::Heartbeat,
    journal::{EntryQuery, LogState, StoredEntry, Tile},
    manifests::{ManifestChoice, StoredManifest},
    operators::Operator,
    settings::Setting,
    subjects::Subject,
    vaults::{Anchor, CodeMark, Sharing},
    vouchers::StoredMaker,
    witnesses::{StoredWitness, WitnessState, WitnessWay, WitnessedLog},
};
pub(crate) use self::{lock::StoreLock, row::Sealer};

/// The reading half. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    reads: SqlitePool,
    sealer: Sealer,
}

/// The writing half: one connection, and methods that write one record each. Transactions are the owner's business.
#[derive(Debug)]
pub struct WriteHalf {
    connection: SqliteConnection,
    sealer: Sealer,
    path: PathBuf,
    coverage: Coverage,
    /// Rows that were changed since the write-ahead log was moved into the file.
    unmoved: u64,
}

/// Connections that read. Reads are short; more would only share the same disk.
const READERS_MAX: u32 = 4;

/// Statements that a connection keeps prepared: more than there are in this module.
const STATEMENTS_MAX: usize = 256;

/// Changed rows after which the write-ahead log is moved into the file; some megabytes.
const UNMOVED_MAX: u64 = 2_000;

/// How long a reader waits for a checkpoint of the write-ahead log to end.
const BUSY_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Opens the store in `path`, making or migrating it when needed. The caller holds the `StoreLock`.
///
/// # Errors
/// [`StoreError::Damaged`] when the file is not sound, [`StoreError::Newer`] when a later program wrote it,
/// [`StoreError::Open`] when it cannot be opened at all.
///
/// *Cost*: reads the whole file once.
pub async fn open(path: &Path, key: &Secret<32>) -> Result<(Store, WriteHalf), StoreError> {
    let sealer = Sealer::new(key);
    let failed =
        |e: std::io::Error| StoreError::Open { path: path.display().to_string(), detail: e.to_string() };
    // Made here so that nobody else can read it from the first byte on; SQLite gives its side files the same mode.
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;

    let options = schema::pragmas(SqliteConnectOptions::new())
        .filename(path)
        .busy_timeout(BUSY_MAX)
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging();
    let writing = options
        .clone()
        // A subject's key that was erased must be gone from the file as well.
        .pragma("secure_delete", "ON")
        // What is copied while one is erased must not go through a file.
        .pragma("temp_store", "MEMORY")
        // SQLite would move it by itself, and keep to itself that the disk failed: see [`WriteHalf::move_when_due`].
        .pragma("wal_autocheckpoint", "0")
        .pragma("application_id", schema::APPLICATION_ID.to_string())
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = writing.connect().await.map_err(|e| opening(path, e))?;
    schema::migrate(&mut connection).await?;
    schema::inspect(&mut connection).await?;
    // A run that was killed may have left pages here from before something was erased.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    let reads = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.read_only(true))
        .await
        .map_err(|e| opening(path, e))?;
    let half = WriteHalf {
        connection,
        sealer: sealer.clone(),
        path: path.to_owned(),
        coverage: Coverage::default(),
        unmoved: 0,
    };
    Ok((Store { reads, sealer }, half))
}

/// Damage that shows while opening keeps its name; everything else is named after the path.
fn opening(path: &Path, error: sqlx::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Failed(detail) => StoreError::Open { path: path.display().to_string(), detail },
        named => named,
    }
}

impl Store {
    /// Writes the store of this moment into a new file at `path`, without keeping anybody from writing.
    ///
    /// # Errors
    /// When there is a file, or the disk fails.
    pub(crate) async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        // Made here so that nobody else can read it from the first byte on.
        let made = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
        made.map_err(|e| StoreError::from_io(path, &e))?;
        let name = path.to_str().ok_or_else(|| StoreError::Failed("a path that is not UTF-8".to_owned()))?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(&self.reads).await?;
        Ok(())
    }

    /// Lets go of the reading connections.
    pub async fn close(&self) {
        self.reads.close().await;
    }
}

impl WriteHalf {
    /// Starts a transaction that nobody else can start meanwhile.
    pub(crate) async fn begin(&mut self) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE").await
    }

    /// From here on, nothing is committed that has no entry of the log (AUD-110).
    pub(crate) async fn demand_entries(&mut self) -> Result<(), StoreError> {
        self.coverage = Coverage::watch(&mut self.connection).await?;
        Ok(())
    }

    /// Where the reserve for a full disk is.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.path.with_extension("reserve")
    }

    /// Makes everything since [`Self::begin`] durable.
    ///
    /// # Errors
    /// [`StoreError::Unrecorded`] when it changes something and has no entry.
    pub(crate) async fn commit(&mut self) -> Result<(), StoreError> {
        match self.execute("COMMIT").await {
            Err(StoreError::Unrecorded { table }) => {
                Err(StoreError::Unrecorded { table: self.coverage.take_refused().unwrap_or(table) })
            }
            done => done,
        }
    }

    /// Moves the write-ahead log into the file once enough was changed, as far as readers let it.
    ///
    /// # Errors
    /// When the disk fails. What is in the log alone may not be overwritten then: write nothing more.
    pub(crate) async fn move_when_due(&mut self) -> Result<(), StoreError> {
        self.unmoved = self.unmoved.saturating_add(self.coverage.take_total());
        if self.unmoved < UNMOVED_MAX {
            return Ok(());
        }
        self.unmoved = 0;
        self.execute("PRAGMA wal_checkpoint(PASSIVE)").await
    }

    /// Forgets everything since [`Self::begin`]. After some failures SQLite has done so by itself.
    pub(crate) async fn roll_back(&mut self) {
        drop(self.execute("ROLLBACK").await);
    }

    /// Marks the place to which [`Self::undo_request`] leads back.
    pub(crate) async fn begin_request(&mut self) -> Result<(), StoreError> {
        self.coverage.mark();
        self.execute("SAVEPOINT request").await
    }

    /// Keeps what the request wrote, as part of the transaction, and marks the place again for the next one.
    pub(crate) async fn keep_request(&mut self) -> Result<(), StoreError> {
        self.coverage.mark();
        self.execute("RELEASE request; SAVEPOINT request").await
    }

    /// Forgets what the request wrote, and nothing of the others; the mark stays for the next one.
    pub(crate) async fn undo_request(&mut self) -> Result<(), StoreError> {
        self.coverage.undo();
        self.execute("ROLLBACK TO request").await
    }

    /// Writes one record of the registry, if it succeeds the one that is there.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it does not, [`StoreError::LobbyFull`] when it would wait where there is no room.
    pub(crate) async fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Device(device) => self.put_device(device).await,
            Write::ForgetDevice { id, version } => self.forget_device(id, *version).await,
            Write::Ticket(ticket) => self.put_ticket(ticket).await,
            Write::Voucher(kept) => self.put_voucher(kept).await,
            Write::Sponsor(held) => self.put_vouching_grant(held).await,
            Write::Certificate { serial, issuer, device, issue, der } => {
                self.add_certificate(*issuer, serial, Some(device), *issue, der).await
            }
            Write::Revoke(revocation) => self.put_revocation(revocation).await,
            Write::Release { issuer, serial } => self.release(*issuer, serial).await,
        }
    }

    /// Moves everything into the one file and leaves nothing in the write-ahead log: what was overwritten in the one may
    /// stand in the other. Waits for nobody, since every commit would wait as well.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when readers keep it from being emptied now.
    pub(crate) async fn empty_side_file(&mut self) -> Result<(), StoreError> {
        self.execute("PRAGMA busy_timeout = 0").await?;
        let tried = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut self.connection).await;
        // As long as BUSY_MAX.
        self.execute("PRAGMA busy_timeout = 5000").await?;
        if tried?.try_get::<i64, _>(0)? == 0 { Ok(()) } else { Err(StoreError::Busy) }
    }

    /// Moves everything into the one file and closes it.
    pub(crate) async fn close(mut self) -> Result<(), StoreError> {
        // SQLite does so by itself only when no other connection is left, and readers take their time to go.
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        Ok(self.connection.close().await?)
    }

    /// Leaves the file no room to grow, as a full disk does.
    #[cfg(test)]
    pub(crate) async fn limit_size_to_present(&mut self) {
        self.execute("PRAGMA max_page_count = 1").await.unwrap();
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::query(sql).execute(&mut self.connection).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
