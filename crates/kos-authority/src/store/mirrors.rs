//! Where the authority writes copies of its log.

use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    alerts::{json, parse},
    row::{Kind, Sealer, Table, text},
};
use crate::mirror::Mirror;

const MIRRORS: Table = Table { name: "mirrors", columns: &[Kind::Text, Kind::Text] };

impl Store {
    /// All of them, by name; there are few.
    pub async fn mirrors(&self) -> Result<Vec<Mirror>, StoreError> {
        let sql = "SELECT name, body, mac FROM mirrors ORDER BY name";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }
}

impl WriteHalf {
    /// Adds a target.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this name.
    pub(crate) async fn add_mirror(&mut self, mirror: &Mirror) -> Result<(), StoreError> {
        let sql = "INSERT INTO mirrors (name, body, mac) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let cells = vec![text(&mirror.name), text(&json(mirror)?)];
        match self.sealer.write(&mut self.connection, sql, &MIRRORS, cells).await? {
            1 => Ok(()),
            _ => Err(StoreError::conflict(MIRRORS.name, &mirror.name)),
        }
    }

    /// Removes a target.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is none of this name.
    pub(crate) async fn remove_mirror(&mut self, name: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM mirrors WHERE name = $1";
        let gone = sqlx::query(sql).bind(name).execute(&mut self.connection).await?;
        if gone.rows_affected() == 1 { Ok(()) } else { Err(StoreError::conflict(MIRRORS.name, name)) }
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Mirror, StoreError> {
    parse(&sealer.read(&MIRRORS, row)?, 1)
}
