//! Which entries of the log went into an archive. Their rows go after the row here, a few at a time.

use kos_base::Timestamp;
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, text},
};

const ARCHIVES: Table = Table {
    name: "archives",
    columns: &[Kind::Integer, Kind::Integer, Kind::Text, Kind::Bytes, Kind::Bytes, Kind::Integer],
};

/// Rows that one sweep takes away: a transaction that others do not wait long for.
const SWEPT_MAX: i64 = 2_048;

/// A row of entries that is in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The first.
    pub first: u64,
    /// One more than the last: how many entries are archived by then.
    pub size: u64,
    /// The folder that they were written into.
    pub folder: String,
    /// Root of the tree over them alone.
    pub root: [u8; 32],
    /// SHA-256 of their bundles, one after the other.
    pub digest: [u8; 32],
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// How many entries are archived: the place of the first that is not.
    pub async fn archived(&self) -> Result<u64, StoreError> {
        Ok(self.newest_archive().await?.map_or(0, |archive| archive.size))
    }

    /// The archive of the newest entries that are in one.
    pub async fn newest_archive(&self) -> Result<Option<Archive>, StoreError> {
        let sql =
            "SELECT first, size, folder, root, digest, at, mac FROM archives ORDER BY first DESC LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// The archive that the entry at this place is in.
    pub async fn archive_of(&self, position: u64) -> Result<Option<Archive>, StoreError> {
        let sql = "SELECT first, size, folder, root, digest, at, mac FROM archives \
                   WHERE first <= $1 AND size > $1 ORDER BY first DESC LIMIT 1";
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let row = sqlx::query(sql).bind(position).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }
}

impl WriteHalf {
    /// Notes that entries are in an archive, behind those that are.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when others were archived meanwhile.
    pub(crate) async fn add_archive(&mut self, archive: &Archive) -> Result<(), StoreError> {
        let sql =
            "SELECT first, size, folder, root, digest, at, mac FROM archives ORDER BY first DESC LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&mut self.connection).await?;
        let held = row.map(|row| read(&self.sealer, &row)).transpose()?.map_or(0, |held| held.size);
        if archive.first != held || archive.size <= archive.first {
            return Err(StoreError::conflict(ARCHIVES.name, &archive.first));
        }
        let sql = "INSERT INTO archives (first, size, folder, root, digest, at, mac) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let cells = vec![
            integer(archive.first),
            integer(archive.size),
            text(&archive.folder),
            Cell::Bytes(archive.root.to_vec()),
            Cell::Bytes(archive.digest.to_vec()),
            integer(archive.at.unix_ms()),
        ];
        self.sealer.write(&mut self.connection, sql, &ARCHIVES, cells).await?;
        Ok(())
    }

    /// Takes some rows away whose entries are archived, in a transaction of its own. Those stay that the authority itself
    /// looks up: what they say is still true. Whether there are more.
    pub(crate) async fn sweep(&mut self) -> Result<bool, StoreError> {
        let sql = "DELETE FROM entries WHERE position IN (SELECT position FROM entries WHERE position < \
                   (SELECT coalesce(max(size), 0) FROM archives) AND event NOT IN ('alert_rules_changed', \
                   'backup_created', 'ticket_created', 'decommission_ordered', 'device_decommissioned') \
                   ORDER BY position LIMIT $1)";
        let swept = sqlx::query(sql).bind(SWEPT_MAX).execute(&mut self.connection).await?.rows_affected();
        Ok(swept > 0)
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Archive, StoreError> {
    let cells = sealer.read(&ARCHIVES, row)?;
    let hash = |at: usize| <[u8; 32]>::try_from(cells.bytes(at)?).map_err(|_| cells.odd());
    Ok(Archive {
        first: cells.integer(0)?,
        size: cells.integer(1)?,
        folder: cells.text(2)?.to_owned(),
        root: hash(3)?,
        digest: hash(4)?,
        at: Timestamp::from_unix_ms(cells.integer(5)?),
    })
}
