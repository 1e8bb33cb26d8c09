//! Who cosigns this log, and whose logs are cosigned here.

use kos_audit::{AnyLogKey, WitnessKey};
use kos_base::{DeviceId, Timestamp};
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Kind, Sealer, Table, integer, optional, text},
};

const WITNESSES: Table = Table {
    name: "witnesses",
    columns: &[
        Kind::Text,
        Kind::Text,
        Kind::OptionalText,
        Kind::OptionalText,
        Kind::Integer,
        Kind::Text,
        Kind::Integer,
        Kind::Integer,
    ],
};
const WITNESSED_LOGS: Table =
    Table { name: "witnessed_logs", columns: &[Kind::Text, Kind::Text, Kind::Integer] };

/// Somebody who cosigns this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWitness {
    /// Its key; its name is that of the key.
    pub key: WitnessKey,
    /// Where it is asked.
    pub way: WitnessWay,
    /// When it was added.
    pub added_at: Timestamp,
    /// How it stands.
    pub state: WitnessState,
    /// How many entries the newest checkpoint has that it cosigned.
    pub size: u64,
    /// When it did so, by its own word; 1970 for never.
    pub cosigned_at: Timestamp,
}

/// How a witness is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessWay {
    /// By tlog-witness at this address.
    Url(String),
    /// Over the link of this device.
    Device(DeviceId),
}

/// How a witness stands to this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessState {
    /// It has cosigned nothing yet.
    Waiting,
    /// It cosigns.
    Cosigning,
    /// It does not answer.
    Lost,
    /// It holds another tree.
    Disagrees,
}

impl WitnessState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Cosigning, Self::Lost, Self::Disagrees];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Cosigning => "cosigning",
            Self::Lost => "lost",
            Self::Disagrees => "disagrees",
        }
    }
}

/// A log of somebody else that is cosigned here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessedLog {
    /// Its key; its origin is the name of the key.
    pub key: AnyLogKey,
    /// When it was added.
    pub added_at: Timestamp,
}

impl Store {
    /// Everybody who cosigns this log, by name.
    pub async fn witnesses(&self) -> Result<Vec<StoredWitness>, StoreError> {
        let sql = "SELECT name, verifier_key, url, device, added_at, state, size, cosigned_at, mac FROM witnesses \
                   ORDER BY name";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// The logs that are cosigned here, by origin.
    pub async fn witnessed_logs(&self) -> Result<Vec<WitnessedLog>, StoreError> {
        let sql = "SELECT origin, verifier_key, added_at, mac FROM witnessed_logs ORDER BY origin";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        let read = |row| {
            let cells = self.sealer.read(&WITNESSED_LOGS, row)?;
            Ok(WitnessedLog { key: cells.parsed(1)?, added_at: Timestamp::from_unix_ms(cells.integer(2)?) })
        };
        rows.iter().map(read).collect()
    }
}

impl WriteHalf {
    /// Adds a witness of this log.
    pub(crate) async fn add_witness(&mut self, witness: &StoredWitness) -> Result<(), StoreError> {
        let sql = "INSERT INTO witnesses (name, verifier_key, url, device, added_at, state, size, cosigned_at, mac) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
        self.expect_one(sql, witness).await
    }

    /// Keeps how a witness stands, if it still is one.
    pub(crate) async fn keep_witness(&mut self, witness: &StoredWitness) -> Result<(), StoreError> {
        let sql = "UPDATE witnesses SET url = $3, device = $4, added_at = $5, state = $6, size = $7, \
                   cosigned_at = $8, mac = $9 WHERE name = $1 AND verifier_key = $2";
        self.expect_one(sql, witness).await
    }

    async fn expect_one(&mut self, sql: &'static str, witness: &StoredWitness) -> Result<(), StoreError> {
        let (url, device) = match &witness.way {
            WitnessWay::Url(url) => (Some(url.clone()), None),
            WitnessWay::Device(device) => (None, Some(device.to_string())),
        };
        let cells = vec![
            text(witness.key.name()),
            text(&witness.key),
            optional(url),
            optional(device),
            integer(witness.added_at.unix_ms()),
            text(witness.state.as_str()),
            integer(witness.size),
            integer(witness.cosigned_at.unix_ms()),
        ];
        let written = self.sealer.write(&mut self.connection, sql, &WITNESSES, cells).await?;
        if written == 1 { Ok(()) } else { Err(StoreError::conflict(WITNESSES.name, witness.key.name())) }
    }

    /// Removes a witness of this log.
    pub(crate) async fn remove_witness(&mut self, name: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM witnesses WHERE name = $1";
        let removed = sqlx::query(sql).bind(name).execute(&mut self.connection).await?;
        if removed.rows_affected() == 1 { Ok(()) } else { Err(StoreError::conflict(WITNESSES.name, name)) }
    }

    /// Adds a log that is cosigned here.
    pub(crate) async fn add_witnessed_log(&mut self, log: &WitnessedLog) -> Result<(), StoreError> {
        let sql = "INSERT INTO witnessed_logs (origin, verifier_key, added_at, mac) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT DO NOTHING";
        let cells = vec![text(log.key.origin()), text(&log.key), integer(log.added_at.unix_ms())];
        let written = self.sealer.write(&mut self.connection, sql, &WITNESSED_LOGS, cells).await?;
        if written == 1 { Ok(()) } else { Err(StoreError::conflict(WITNESSED_LOGS.name, log.key.origin())) }
    }

    /// Removes a log that is cosigned here.
    pub(crate) async fn remove_witnessed_log(&mut self, origin: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM witnessed_logs WHERE origin = $1";
        let removed = sqlx::query(sql).bind(origin).execute(&mut self.connection).await?;
        if removed.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::conflict(WITNESSED_LOGS.name, origin))
        }
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<StoredWitness, StoreError> {
    let cells = sealer.read(&WITNESSES, row)?;
    let way = match cells.text(2) {
        Ok(url) => WitnessWay::Url(url.to_owned()),
        Err(_) => WitnessWay::Device(cells.parsed(3)?),
    };
    let word = cells.text(5)?;
    let state = WitnessState::ALL.into_iter().find(|state| state.as_str() == word);
    Ok(StoredWitness {
        key: cells.parsed(1)?,
        way,
        added_at: Timestamp::from_unix_ms(cells.integer(4)?),
        state: state.ok_or_else(|| cells.odd())?,
        size: cells.integer(6)?,
        cosigned_at: Timestamp::from_unix_ms(cells.integer(7)?),
    })
}
