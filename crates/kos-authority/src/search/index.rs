//! The index as a file of its own beside the store: SQLite, without MACs, never the truth.
//!
//! Shape: `found` has a row an entry with what is looked up in it, `mentions` one for every device and subject that an
//! entry speaks of, `blocks` the first and the last moment of each 256 entries, since clocks are set back and moments
//! do not rise with positions. `state` says which entries are in it, and the leaf hash of the last.
//!
//! Invariants: every column stands in an index as well, so that SQLite's own check finds a flipped bit. Rows and
//! `state` change in one transaction.
//!
//! Errors: [`IndexError`]; whatever it is, the file is made anew from the entries.
//!
//! What it does not do: find what somebody hides who may write the file. What it shows is compared with the entry.

use std::{fs, io, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use kos_audit::EventType;
use sqlx::{
    ConnectOptions as _, Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::words::{Order, Query, Words};

const SCHEMA: &str = include_str!("schema.sql");
/// As the schema sets it, raised whenever [`Words`] or the tables change: an index of another version is made anew.
const VERSION: i64 = 1;
/// Entries of one block.
const BLOCK: u64 = 256;
/// Rows of one statement; SQLite takes 32 766 values.
const ROWS_MAX: usize = 200;
/// Connections that read.
const READERS_MAX: u32 = 2;
/// Room for pages of the writer, as SQLite has it: 32 MiB. Entries of many devices are spread over the whole index.
const CACHE: &str = "-32768";
/// How long a reader waits for a writer.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Why the file cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] sqlx::Error),
    /// The disk does.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl IndexError {
    /// Whether the file itself is at fault, and not the moment.
    pub(super) fn is_damage(&self) -> bool {
        use sqlx::Error as E;
        match self {
            Self::Damaged(_) => true,
            Self::Io(_) => false,
            Self::Sqlite(E::Database(error)) => {
                let code =
                    error.code().and_then(|code| code.parse::<i32>().ok()).map_or(0, |code| code & 0xff);
                !TRANSIENT.contains(&code)
            }
            Self::Sqlite(error) => {
                !matches!(error, E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Io(_))
            }
        }
    }
}

/// Primary result codes of SQLite that say nothing about what is in the file: busy, locked, no memory, interrupted, full.
const TRANSIENT: [i32; 5] = [5, 6, 7, 9, 13];

/// Which entries are in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first; those before it are archived.
    pub(super) first: u64,
    /// One more than the last.
    pub(super) size: u64,
    /// The leaf hash of the last.
    pub(super) leaf: [u8; 32],
}

/// An entry on its way into the index.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) position: u64,
    pub(super) words: Words,
    pub(super) leaf: [u8; 32],
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Index {
    connection: SqliteConnection,
    pub(super) extent: Extent,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_MAX)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .disable_statement_logging()
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Index {
    /// Makes an empty one for entries from `first` on, in place of what is there.
    pub(super) async fn make(path: &Path, first: u64) -> Result<Self, IndexError> {
        for ending in ["", "-wal", "-shm", "-journal"] {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            match fs::remove_file(&name) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        fs::OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        let mut connection = Self::connect(path).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        let extent = Extent { first, size: first, leaf: [0; 32] };
        put_state(&mut connection, &extent).await?;
        Ok(Self { connection, extent })
    }

    /// Opens the one that is there and examines all of it. Nothing when there is none.
    ///
    /// *Cost*: reads every page; about a second for a million entries.
    pub(super) async fn open(path: &Path) -> Result<Option<Self>, IndexError> {
        if !path.exists() {
            return Ok(None);
        }
        let odd = |what: &str| IndexError::Damaged(what.to_owned());
        let mut connection = Self::connect(path).await?;
        let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut connection).await?.try_get(0)?;
        if version != VERSION {
            return Err(odd("of another version"));
        }
        let verdict: String =
            sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?.try_get(0)?;
        if verdict != "ok" {
            return Err(IndexError::Damaged(kos_base::text::printable(&verdict, 100)));
        }
        let mut fresh = SqliteConnectOptions::new().in_memory(true).connect().await?;
        sqlx::raw_sql(SCHEMA).execute(&mut fresh).await?;
        if schema_text(&mut connection).await? != schema_text(&mut fresh).await? {
            return Err(odd("with other tables"));
        }
        fresh.close().await?;
        let row = sqlx::query("SELECT first, size, leaf FROM state WHERE name = 'head'");
        let row = row.fetch_optional(&mut connection).await?.ok_or_else(|| odd("without its head"))?;
        let at = |n: usize| -> Result<u64, IndexError> {
            u64::try_from(row.try_get::<i64, _>(n)?).map_err(|_| odd("with an odd head"))
        };
        let leaf: Vec<u8> = row.try_get(2)?;
        let leaf = leaf.try_into().map_err(|_| odd("with an odd head"))?;
        let extent = Extent { first: at(0)?, size: at(1)?, leaf };
        let sql = "SELECT count(*), coalesce(min(position), $1), coalesce(max(position) + 1, $2) FROM found";
        let row = sqlx::query(sql).bind(number(extent.first)).bind(number(extent.size));
        let row = row.fetch_one(&mut connection).await?;
        let counted: [i64; 3] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
        let rows = extent.size.saturating_sub(extent.first);
        if counted != [number(rows), number(extent.first), number(extent.size)] {
            return Err(odd("with rows that are missing"));
        }
        Ok(Some(Self { connection, extent }))
    }

    async fn connect(path: &Path) -> Result<SqliteConnection, IndexError> {
        // Nothing here must survive a power cut whole; it must not be half there either.
        let options = options(path)
            .pragma("cache_size", CACHE)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        Ok(options.connect().await?)
    }

    /// Connections that read it.
    pub(super) async fn readers(path: &Path) -> Result<SqlitePool, IndexError> {
        let pool =
            SqlitePoolOptions::new().max_connections(READERS_MAX).idle_timeout(None).max_lifetime(None);
        Ok(pool.connect_with(options(path).read_only(true)).await?)
    }

    /// Takes the next entries.
    pub(super) async fn append(&mut self, rows: &[Row]) -> Result<(), IndexError> {
        let Some(last) = rows.last() else { return Ok(()) };
        let extent = Extent { first: self.extent.first, size: last.position + 1, leaf: last.leaf };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        match write(&mut self.connection, rows, &extent).await {
            Ok(()) => {
                sqlx::query("COMMIT").execute(&mut self.connection).await?;
                self.extent = extent;
                Ok(())
            }
            Err(error) => {
                drop(sqlx::query("ROLLBACK").execute(&mut self.connection).await);
                Err(error)
            }
        }
    }

    /// Moves everything into the one file and closes it.
    pub(super) async fn close(mut self) -> Result<(), IndexError> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await?;
        Ok(self.connection.close().await?)
    }

    /// Forgets the entries before `first`, which are archived.
    pub(super) async fn forget_before(&mut self, first: u64) -> Result<(), IndexError> {
        if first <= self.extent.first {
            return Ok(());
        }
        let extent = Extent { first: first.min(self.extent.size), ..self.extent };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        let forgetting = async {
            for sql in [
                "DELETE FROM found WHERE position < $1",
                "DELETE FROM mentions WHERE position < $1",
                "DELETE FROM blocks WHERE (block + 1) * 256 <= $1",
            ] {
                sqlx::query(sql).bind(number(extent.first)).execute(&mut self.connection).await?;
            }
            put_state(&mut self.connection, &extent).await
        };
        let done = forgetting.await;
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        sqlx::query(end).execute(&mut self.connection).await?;
        done?;
        self.extent = extent;
        Ok(())
    }
}

async fn schema_text(connection: &mut SqliteConnection) -> Result<Vec<String>, IndexError> {
    let sql = "SELECT name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn put_state(connection: &mut SqliteConnection, extent: &Extent) -> Result<(), IndexError> {
    sqlx::query("INSERT OR REPLACE INTO state (name, first, size, leaf) VALUES ('head', $1, $2, $3)")
        .bind(number(extent.first))
        .bind(number(extent.size))
        .bind(extent.leaf.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write(connection: &mut SqliteConnection, rows: &[Row], extent: &Extent) -> Result<(), IndexError> {
    for part in rows.chunks(ROWS_MAX) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO found (position, at, event, actor, target) ");
        sql.push_values(part, |mut values, row| {
            values.push_bind(number(row.position)).push_bind(number(row.words.at.unix_ms()));
            values.push_bind(row.words.event.as_str()).push_bind(row.words.actor.as_str());
            values.push_bind(row.words.target.as_deref());
        });
        sql.build().execute(&mut *connection).await?;
    }
    let mentions: Vec<_> = rows
        .iter()
        .flat_map(|row| row.words.mentions.iter().map(|id| (id.as_str(), row.position, row.words.event)))
        .collect();
    for part in mentions.chunks(ROWS_MAX) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO mentions (id, position, event) ");
        sql.push_values(part, |mut values, (id, position, event)| {
            values.push_bind(*id).push_bind(number(*position)).push_bind(event.as_str());
        });
        sql.build().execute(&mut *connection).await?;
    }
    for block in rows.chunk_by(|a, b| a.position / BLOCK == b.position / BLOCK) {
        let at = || block.iter().map(|row| row.words.at.unix_ms());
        let number_of = block.first().map_or(0, |row| row.position / BLOCK);
        let sql = "INSERT INTO blocks (block, first_at, last_at) VALUES ($1, $2, $3) ON CONFLICT (block) DO UPDATE \
                   SET first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)";
        sqlx::query(sql)
            .bind(number(number_of))
            .bind(number(at().min().unwrap_or(0)))
            .bind(number(at().max().unwrap_or(0)))
            .execute(&mut *connection)
            .await?;
    }
    put_state(connection, extent).await
}

/// The places of at most `limit` entries that fit, beyond `after` in the order that is asked for.
pub(super) async fn find(
    reads: &SqlitePool,
    query: &Query,
    order: Order,
    after: Option<u64>,
    limit: u32,
) -> Result<Vec<u64>, IndexError> {
    let (mut from, mut to) = bounds(reads, query).await?;
    match (order, after) {
        (Order::Oldest, Some(after)) => from = from.max(after.saturating_add(1)),
        (Order::Newest, Some(after)) => to = to.min(after),
        (_, None) => {}
    }
    // One question for each way in which the ids can fit: each is a walk along an index, already in order.
    let every = |asked: &Option<Vec<String>>| match asked {
        None => vec![None],
        Some(ids) => ids.iter().cloned().map(Some).collect(),
    };
    let mut found = Vec::new();
    for actor in every(&query.actor) {
        for target in every(&query.target) {
            for person in every(&query.person) {
                let way = Way { event: query.event, actor: &actor, target: &target, person: &person };
                found.extend(walk(reads, query, &way, order, (from, to), limit).await?);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    if order == Order::Newest {
        found.reverse();
    }
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// Between which places entries of the time that is asked for can stand.
async fn bounds(reads: &SqlitePool, query: &Query) -> Result<(u64, u64), IndexError> {
    let place = |found: Option<i64>| found.and_then(|block| u64::try_from(block).ok());
    let mut range = (0, u64::MAX);
    if let Some(since) = query.since {
        let sql = "SELECT min(block) FROM blocks WHERE last_at >= $1";
        let row = sqlx::query(sql).bind(number(since.unix_ms())).fetch_one(reads).await?;
        range.0 = place(row.try_get(0)?).map_or(u64::MAX, |block| block * BLOCK);
    }
    if let Some(until) = query.until {
        let sql = "SELECT max(block) FROM blocks WHERE first_at < $1";
        let row = sqlx::query(sql).bind(number(until.unix_ms())).fetch_one(reads).await?;
        range.1 = place(row.try_get(0)?).map_or(0, |block| (block + 1) * BLOCK);
    }
    Ok(range)
}

/// One way to fit.
struct Way<'a> {
    event: Option<EventType>,
    actor: &'a Option<String>,
    target: &'a Option<String>,
    person: &'a Option<String>,
}

async fn walk(
    reads: &SqlitePool,
    query: &Query,
    way: &Way<'_>,
    order: Order,
    (from, to): (u64, u64),
    limit: u32,
) -> Result<Vec<u64>, IndexError> {
    let event = way.event.is_some();
    // The planner knows nothing of the data, so the index that is walked along is named: the rarest first.
    let mut ids = [query.device.as_ref(), way.person.as_ref()].into_iter().flatten();
    let mut sql = QueryBuilder::<Sqlite>::new("");
    let (first, second) = (ids.next(), ids.next());
    let position = if let Some(id) = first {
        sql.push("SELECT m.position FROM mentions m ");
        sql.push(if event { "INDEXED BY mentions_by_event " } else { "NOT INDEXED " });
        sql.push("CROSS JOIN found f ON f.position = m.position WHERE m.id = ").push_bind(id.clone());
        if let Some(event) = way.event {
            sql.push(" AND m.event = ").push_bind(event.as_str());
        }
        "m.position"
    } else {
        sql.push("SELECT f.position FROM found f ");
        sql.push(match (way.target.is_some(), way.actor.is_some(), event) {
            (true, _, true) => "INDEXED BY found_by_target_event",
            (true, _, false) => "INDEXED BY found_by_target",
            (false, true, true) => "INDEXED BY found_by_actor_event",
            (false, true, false) => "INDEXED BY found_by_actor",
            (false, false, true) => "INDEXED BY found_by_event",
            (false, false, false) => "NOT INDEXED",
        });
        sql.push(" WHERE 1");
        "f.position"
    };
    if let Some(id) = second {
        sql.push(" AND EXISTS (SELECT 1 FROM mentions o WHERE o.position = ").push(position);
        sql.push(" AND o.id = ").push_bind(id.clone()).push(")");
    }
    sql.push(" AND ").push(position).push(" >= ").push_bind(number(from));
    sql.push(" AND ").push(position).push(" < ").push_bind(number(to));
    if let Some(event) = way.event {
        sql.push(" AND f.event = ").push_bind(event.as_str());
    }
    if let Some(actor) = way.actor {
        sql.push(" AND f.actor = ").push_bind(actor.clone());
    }
    if let Some(target) = way.target {
        sql.push(" AND f.target = ").push_bind(target.clone());
    }
    if let Some(since) = query.since {
        sql.push(" AND +f.at >= ").push_bind(number(since.unix_ms()));
    }
    if let Some(until) = query.until {
        sql.push(" AND +f.at < ").push_bind(number(until.unix_ms()));
    }
    sql.push(" ORDER BY ").push(position).push(if order == Order::Newest { " DESC" } else { "" });
    sql.push(" LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(reads).await?;
    rows.iter()
        .map(|row| {
            let position: i64 = row.try_get(0)?;
            u64::try_from(position).map_err(|_| IndexError::Damaged("with an odd place".to_owned()))
        })
        .collect()
}
