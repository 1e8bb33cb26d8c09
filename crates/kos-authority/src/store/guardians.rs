//! Who is told of alerts.

use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    alerts::{json, parse},
    row::{Kind, Sealer, Table, text},
};
use crate::alert::{Guardian, GuardianName};

const GUARDIANS: Table = Table { name: "guardians", columns: &[Kind::Text, Kind::Text] };

impl Store {
    /// All of them, by name; there are few.
    pub async fn guardians(&self) -> Result<Vec<Guardian>, StoreError> {
        let sql = "SELECT name, body, mac FROM guardians ORDER BY name";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// The guardian of this name.
    pub async fn guardian(&self, name: &GuardianName) -> Result<Option<Guardian>, StoreError> {
        let sql = "SELECT name, body, mac FROM guardians WHERE name = $1";
        let row = sqlx::query(sql).bind(name.as_ref()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }
}

impl WriteHalf {
    /// Adds a guardian.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this name.
    pub(crate) async fn add_guardian(&mut self, guardian: &Guardian) -> Result<(), StoreError> {
        let sql = "INSERT INTO guardians (name, body, mac) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let cells = vec![text(&guardian.name), text(&json(guardian)?)];
        match self.sealer.write(&mut self.connection, sql, &GUARDIANS, cells).await? {
            1 => Ok(()),
            _ => Err(StoreError::conflict(GUARDIANS.name, &guardian.name)),
        }
    }

    /// Removes a guardian, and what waits for it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is none of this name.
    pub(crate) async fn remove_guardian(&mut self, name: &GuardianName) -> Result<(), StoreError> {
        let sql = "DELETE FROM guardians WHERE name = $1";
        let gone = sqlx::query(sql).bind(name.as_ref()).execute(&mut self.connection).await?;
        if gone.rows_affected() != 1 {
            return Err(StoreError::conflict(GUARDIANS.name, name));
        }
        self.forget_deliveries(name).await
    }

    /// All of them.
    pub(crate) async fn held_guardians(&mut self) -> Result<Vec<Guardian>, StoreError> {
        let sql = "SELECT name, body, mac FROM guardians ORDER BY name";
        let rows = sqlx::query(sql).fetch_all(&mut self.connection).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Guardian, StoreError> {
    parse(&sealer.read(&GUARDIANS, row)?, 1)
}
