//! The audit log as rows: entries in their order, the tiles of the Merkle tree over them, and the signed head.
//!
//! What an entry or a tile means is `kos-audit`'s business and that of [`crate::log`].

use kos_audit::EventType;
use kos_base::{EntryId, Timestamp};
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, optional, text},
};

const ENTRIES: Table = Table {
    name: "entries",
    columns: &[
        Kind::Integer,
        Kind::Text,
        Kind::Integer,
        Kind::Text,
        Kind::Text,
        Kind::OptionalText,
        Kind::Bytes,
    ],
};
const TILES: Table = Table { name: "tiles", columns: &[Kind::Integer, Kind::Integer, Kind::Bytes] };
const LOG_STATE: Table = Table { name: "log_state", columns: &[Kind::Text, Kind::Integer, Kind::Text] };

/// Entries of one statement. A connection keeps a prepared statement for each number of them.
const ENTRIES_AT_ONCE: usize = 32;

/// The rows of `log_state`.
const HEAD: &str = "head";
const COSIGNED: &str = "cosigned";
const WITNESSED: &str = "witnessed";

/// An entry as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place, from 0.
    pub position: u64,
    /// Its id.
    pub id: EntryId,
    /// When it happened.
    pub at: Timestamp,
    /// The event type.
    pub event: String,
    /// The actor's id.
    pub actor: String,
    /// The target's id.
    pub target: Option<String>,
    /// The signed entry: what the leaf is a hash of.
    pub leaf: Vec<u8>,
}

/// One tile of the tree: up to 256 hashes of 32 bytes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// 0 for leaf hashes.
    pub level: u8,
    /// Its number on that level, from 0.
    pub number: u64,
    /// The hashes.
    pub hashes: Vec<u8>,
}

/// The signed head of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// How many entries it covers: all that there are.
    pub size: u64,
    /// The signed note.
    pub checkpoint: String,
}

/// Which entries a list holds. Everything given must fit.
#[derive(Clone, Debug, Default)]
pub struct EntryQuery {
    /// Only this event type.
    pub event: Option<EventType>,
    /// Only those of this actor.
    pub actor: Option<String>,
    /// Only those about this target.
    pub target: Option<String>,
    /// Only those at or after this moment.
    pub since: Option<Timestamp>,
    /// Only those before this moment.
    pub until: Option<Timestamp>,
    /// Only those from this place on.
    pub from: u64,
}

impl Store {
    /// The entry at this place; nothing when the log is not that long yet, or when it is archived.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] also when it is missing although the log is longer.
    pub async fn entry(&self, position: u64) -> Result<Option<StoredEntry>, StoreError> {
        let found = self.entries(&EntryQuery { from: position, ..EntryQuery::default() }, 1).await?;
        match found.into_iter().next() {
            Some(entry) if entry.position == position => Ok(Some(entry)),
            Some(_) if position < self.archived().await? => Ok(None),
            Some(_) => Err(StoreError::damaged(ENTRIES.name, position.to_string())),
            None => Ok(None),
        }
    }

    /// The place of the first entry from `from` on that is of this moment or later.
    pub(crate) async fn first_at(&self, from: u64, at: Timestamp) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT min(position) FROM entries WHERE position >= $1 AND at >= $2";
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let query = sqlx::query(sql).bind(number(from)).bind(number(at.unix_ms()));
        let found: Option<i64> = query.fetch_one(&self.reads).await?.try_get(0)?;
        Ok(found.and_then(|position| u64::try_from(position).ok()))
    }

    /// At most `limit` entries that fit, in the order of the log.
    pub async fn entries(&self, query: &EntryQuery, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT position, id, at, event, actor, target, leaf, mac FROM entries WHERE position >= ",
        );
        sql.push_bind(number(query.from));
        for (column, value) in [
            (" AND event = ", query.event.map(EventType::as_str)),
            (" AND actor = ", query.actor.as_deref()),
            (" AND target = ", query.target.as_deref()),
        ] {
            if let Some(value) = value {
                sql.push(column).push_bind(value.to_owned());
            }
        }
        if let Some(since) = query.since {
            sql.push(" AND at >= ").push_bind(number(since.unix_ms()));
        }
        if let Some(until) = query.until {
            sql.push(" AND at < ").push_bind(number(until.unix_ms()));
        }
        sql.push(" ORDER BY position LIMIT ").push_bind(i64::from(limit));
        let rows = sql.build().fetch_all(&self.reads).await?;
        rows.iter().map(|row| entry(&self.sealer, row)).collect()
    }

    /// At most `limit` entries of a type from the place `from` on, the newest first; and how many there are.
    pub(crate) async fn newest_of(
        &self,
        event: EventType,
        from: u64,
        limit: u32,
    ) -> Result<(Vec<StoredEntry>, u64), StoreError> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let sql = "SELECT position, id, at, event, actor, target, leaf, mac FROM entries \
                   WHERE event = $1 AND position >= $2 ORDER BY position DESC LIMIT $3";
        let query = sqlx::query(sql).bind(event.as_str()).bind(from).bind(i64::from(limit));
        let rows = query.fetch_all(&self.reads).await?;
        let sql = "SELECT count(*) FROM entries WHERE event = $1 AND position >= $2";
        let counting = sqlx::query(sql).bind(event.as_str()).bind(from);
        let count: i64 = counting.fetch_one(&self.reads).await?.try_get(0)?;
        let rows = rows.iter().map(|row| entry(&self.sealer, row)).collect::<Result<_, _>>()?;
        Ok((rows, u64::try_from(count).unwrap_or_default()))
    }

    /// At most `limit` entries before the place `before`, the newest first.
    pub(crate) async fn last_entries(&self, before: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let sql = "SELECT position, id, at, event, actor, target, leaf, mac FROM entries WHERE position < $1 \
                   ORDER BY position DESC LIMIT $2";
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(before).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| entry(&self.sealer, row)).collect()
    }

    /// The entries at these places, those that are there, from the oldest or from the newest.
    pub(crate) async fn entries_at(
        &self,
        positions: &[u64],
        newest_first: bool,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT position, id, at, event, actor, target, leaf, mac FROM entries WHERE position IN (",
        );
        let mut places = sql.separated(", ");
        for position in positions {
            places.push_bind(i64::try_from(*position).unwrap_or(i64::MAX));
        }
        sql.push(") ORDER BY position").push(if newest_first { " DESC" } else { "" });
        let rows = sql.build().persistent(false).fetch_all(&self.reads).await?;
        rows.iter().map(|row| entry(&self.sealer, row)).collect()
    }

    /// The place of the last entry about this target.
    pub async fn last_entry_about(&self, target: &str) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT max(position) FROM entries WHERE target = $1";
        let row = sqlx::query(sql).bind(target).fetch_one(&self.reads).await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.and_then(|position| u64::try_from(position).ok()))
    }

    /// One tile.
    pub async fn tile(&self, level: u8, number: u64) -> Result<Option<Tile>, StoreError> {
        let sql = "SELECT level, number, hashes, mac FROM tiles WHERE level = $1 AND number = $2";
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let query = sqlx::query(sql).bind(i64::from(level)).bind(number);
        query.fetch_optional(&self.reads).await?.map(|row| tile(&self.sealer, &row)).transpose()
    }

    /// At most `limit` tiles of a level from number `from` on, in order.
    pub async fn tiles(&self, level: u8, from: u64, limit: u32) -> Result<Vec<Tile>, StoreError> {
        let sql = "SELECT level, number, hashes, mac FROM tiles WHERE level = $1 AND number >= $2 \
                   ORDER BY number LIMIT $3";
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let query = sqlx::query(sql).bind(i64::from(level)).bind(from).bind(i64::from(limit));
        query.fetch_all(&self.reads).await?.iter().map(|row| tile(&self.sealer, row)).collect()
    }

    /// The signed head; nothing before the first entry.
    pub async fn log_state(&self) -> Result<Option<LogState>, StoreError> {
        self.log_row(HEAD).await
    }

    /// The newest head that anybody cosigned, with the cosignatures that it has so far.
    pub async fn cosigned_state(&self) -> Result<Option<LogState>, StoreError> {
        self.log_row(COSIGNED).await
    }

    /// The newest head that as many witnesses cosigned as are asked for.
    pub async fn witnessed_state(&self) -> Result<Option<LogState>, StoreError> {
        self.log_row(WITNESSED).await
    }

    async fn log_row(&self, name: &str) -> Result<Option<LogState>, StoreError> {
        let sql = "SELECT name, size, checkpoint, mac FROM log_state WHERE name = $1";
        let Some(row) = sqlx::query(sql).bind(name).fetch_optional(&self.reads).await? else {
            return Ok(None);
        };
        let cells = self.sealer.read(&LOG_STATE, &row)?;
        Ok(Some(LogState { size: cells.integer(1)?, checkpoint: cells.text(2)?.to_owned() }))
    }

    /// How many entries there are behind those that are archived, and one more than the place of the last.
    pub async fn count_entries(&self) -> Result<(u64, u64), StoreError> {
        let archived = i64::try_from(self.archived().await?).unwrap_or(i64::MAX);
        let sql = "SELECT count(*), coalesce(max(position) + 1, 0) FROM entries WHERE position >= $1";
        let row = sqlx::query(sql).bind(archived).fetch_one(&self.reads).await?;
        Ok((super::devices::count(&row, 0)?, super::devices::count(&row, 1)?))
    }
}

impl WriteHalf {
    /// Adds entries, many in one statement: each statement is a way to the thread of SQLite and back.
    pub(crate) async fn add_entries(&mut self, entries: &[StoredEntry]) -> Result<(), StoreError> {
        let sql = "INSERT INTO entries (position, id, at, event, actor, target, leaf, mac) ";
        for some in entries.chunks(ENTRIES_AT_ONCE) {
            let rows = some.iter().map(|entry| {
                vec![
                    integer(entry.position),
                    text(&entry.id),
                    integer(entry.at.unix_ms()),
                    text(&entry.event),
                    text(&entry.actor),
                    optional(entry.target.as_ref()),
                    Cell::Bytes(entry.leaf.clone()),
                ]
            });
            self.sealer.write_many(&mut self.connection, sql, &ENTRIES, rows).await?;
        }
        Ok(())
    }

    pub(crate) async fn put_tile(&mut self, tile: &Tile) -> Result<(), StoreError> {
        let sql = "INSERT INTO tiles (level, number, hashes, mac) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes, mac = excluded.mac";
        let cells =
            vec![integer(u64::from(tile.level)), integer(tile.number), Cell::Bytes(tile.hashes.clone())];
        self.sealer.write(&mut self.connection, sql, &TILES, cells).await?;
        Ok(())
    }

    pub(crate) async fn put_log_state(&mut self, state: &LogState) -> Result<(), StoreError> {
        self.put_log_row(HEAD, state).await
    }

    /// Keeps a head with the cosignatures that it has so far.
    pub(crate) async fn put_cosigned_state(&mut self, state: &LogState) -> Result<(), StoreError> {
        self.put_log_row(COSIGNED, state).await
    }

    /// Keeps a head that enough witnesses cosigned.
    pub(crate) async fn put_witnessed_state(&mut self, state: &LogState) -> Result<(), StoreError> {
        self.put_log_row(WITNESSED, state).await
    }

    async fn put_log_row(&mut self, name: &str, state: &LogState) -> Result<(), StoreError> {
        let sql = "INSERT INTO log_state (name, size, checkpoint, mac) VALUES ($1, $2, $3, $4) ON CONFLICT (name) \
                   DO UPDATE SET size = excluded.size, checkpoint = excluded.checkpoint, mac = excluded.mac";
        let cells = vec![text(name), integer(state.size), text(&state.checkpoint)];
        self.sealer.write(&mut self.connection, sql, &LOG_STATE, cells).await?;
        Ok(())
    }
}

fn entry(sealer: &Sealer, row: &SqliteRow) -> Result<StoredEntry, StoreError> {
    let cells = sealer.read(&ENTRIES, row)?;
    let target = cells.text(5).ok().map(ToOwned::to_owned);
    Ok(StoredEntry {
        position: cells.integer(0)?,
        id: cells.parsed(1)?,
        at: Timestamp::from_unix_ms(cells.integer(2)?),
        event: cells.text(3)?.to_owned(),
        actor: cells.text(4)?.to_owned(),
        target,
        leaf: cells.bytes(6)?.to_vec(),
    })
}

fn tile(sealer: &Sealer, row: &SqliteRow) -> Result<Tile, StoreError> {
    let cells = sealer.read(&TILES, row)?;
    Ok(Tile {
        level: u8::try_from(cells.integer(0)?).map_err(|_| cells.odd())?,
        number: cells.integer(1)?,
        hashes: cells.bytes(2)?.to_vec(),
    })
}
