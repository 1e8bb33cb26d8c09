//! Who is told of alerts.

use kos_base::Timestamp;
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    alerts::{json, parse},
    row::{Kind, Sealer, Table, text},
};
use crate::alert::{Guardian, GuardianName, Leaving};

const GUARDIANS: Table = Table { name: "guardians", columns: &[Kind::Text, Kind::Text] };

impl Store {
    /// Whether this guardian was removed, and need not be told anything any more. Its row goes with the next change of
    /// guardians.
    pub async fn is_gone(&self, guardian: &Guardian, now: Timestamp) -> Result<bool, StoreError> {
        let Some(leaving) = guardian.leaving else { return Ok(false) };
        let is_passed = || async {
            let state = self.engine_state().await?;
            Ok::<_, StoreError>(state.is_some_and(|state| state.next > leaving.entry))
        };
        Ok(guardian.is_late(now) || (self.count_waiting(&guardian.name).await? == 0 && is_passed().await?))
    }

    /// All of them, by name, also those that are leaving; there are few.
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
        self.sweep_guardians(guardian.added_at).await?;
        let sql = "INSERT INTO guardians (name, body, mac) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let cells = vec![text(&guardian.name), text(&json(guardian)?)];
        match self.sealer.write(&mut self.connection, sql, &GUARDIANS, cells).await? {
            1 => Ok(()),
            _ => Err(StoreError::conflict(GUARDIANS.name, &guardian.name)),
        }
    }

    /// Removes a guardian; the entry will stand at `entry`. One that alerts are brought to is leaving, until it has what
    /// waits for it and the alert about its removal (ALR-28).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is none of this name.
    pub(crate) async fn remove_guardian(
        &mut self,
        name: &GuardianName,
        at: Timestamp,
        entry: u64,
    ) -> Result<(), StoreError> {
        self.sweep_guardians(at).await?;
        let held = self.held_guardians().await?.into_iter().find(|guardian| guardian.name == *name);
        let Some(mut guardian) = held.filter(|guardian| guardian.leaving.is_none()) else {
            return Err(StoreError::conflict(GUARDIANS.name, name));
        };
        if !guardian.is_told() {
            return self.drop_guardian(name).await;
        }
        guardian.leaving = Some(Leaving { at, entry });
        let sql = "UPDATE guardians SET body = $2, mac = $3 WHERE name = $1";
        let cells = vec![text(name), text(&json(&guardian)?)];
        self.sealer.write(&mut self.connection, sql, &GUARDIANS, cells).await?;
        Ok(())
    }

    /// Drops those that left.
    async fn sweep_guardians(&mut self, now: Timestamp) -> Result<(), StoreError> {
        for guardian in self.held_guardians().await? {
            let Some(leaving) = guardian.leaving else { continue };
            let is_done = self.has_passed(leaving.entry).await? && !self.is_waiting(&guardian.name).await?;
            if is_done || guardian.is_late(now) {
                self.drop_guardian(&guardian.name).await?;
            }
        }
        Ok(())
    }

    /// Drops one with everything that waits for it.
    pub(crate) async fn drop_guardian(&mut self, name: &GuardianName) -> Result<(), StoreError> {
        let sql = "DELETE FROM guardians WHERE name = $1";
        sqlx::query(sql).bind(name.as_ref()).execute(&mut self.connection).await?;
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
