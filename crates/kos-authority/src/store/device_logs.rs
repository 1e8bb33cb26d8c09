//! How far the logs of devices were verified and copied when the authority's own log last said so (DLG-31).

use kos_base::{DeviceId, Timestamp};
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, text},
};

const DEVICE_LOGS: Table = Table {
    name: "device_logs",
    columns: &[Kind::Text, Kind::Integer, Kind::Bytes, Kind::Integer, Kind::Text, Kind::Integer],
};

/// What the authority holds on to of one log of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAnchor {
    /// Whose log.
    pub device: DeviceId,
    /// Which of its logs, from 1.
    pub number: u64,
    /// The Ed25519 key that it is signed by, as the device's link brought it.
    pub key: [u8; 32],
    /// How many entries.
    pub size: u64,
    /// The device's checkpoint over them: later ones must extend it.
    pub checkpoint: String,
    /// When the key came.
    pub bound_at: Timestamp,
}

impl Store {
    /// The anchor of the newest log of a device.
    pub async fn log_anchor(&self, device: &DeviceId) -> Result<Option<LogAnchor>, StoreError> {
        let sql = "SELECT device, number, key, size, checkpoint, bound_at, mac FROM device_logs \
                   WHERE device = $1 ORDER BY number DESC LIMIT 1";
        let row = sqlx::query(sql).bind(device.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// The anchor of one log of a device, by its number.
    pub async fn log_anchor_of(
        &self,
        device: &DeviceId,
        number: u64,
    ) -> Result<Option<LogAnchor>, StoreError> {
        let sql = "SELECT device, number, key, size, checkpoint, bound_at, mac FROM device_logs \
                   WHERE device = $1 AND number = $2";
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let row = sqlx::query(sql).bind(device.to_string()).bind(number).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }
}

impl WriteHalf {
    /// Keeps an anchor. It takes the place of an earlier one of the same log.
    pub(crate) async fn put_log_anchor(&mut self, anchor: &LogAnchor) -> Result<(), StoreError> {
        let sql = "INSERT INTO device_logs (device, number, key, size, checkpoint, bound_at, mac) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (device, number) DO UPDATE SET \
                   size = excluded.size, checkpoint = excluded.checkpoint, mac = excluded.mac";
        let cells = vec![
            text(&anchor.device),
            integer(anchor.number),
            Cell::Bytes(anchor.key.to_vec()),
            integer(anchor.size),
            text(&anchor.checkpoint),
            integer(anchor.bound_at.unix_ms()),
        ];
        self.sealer.write(&mut self.connection, sql, &DEVICE_LOGS, cells).await?;
        Ok(())
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<LogAnchor, StoreError> {
    let cells = sealer.read(&DEVICE_LOGS, row)?;
    Ok(LogAnchor {
        device: cells.parsed(0)?,
        number: cells.integer(1)?,
        key: cells.bytes(2)?.try_into().map_err(|_| cells.odd())?,
        size: cells.integer(3)?,
        checkpoint: cells.text(4)?.to_owned(),
        bound_at: Timestamp::from_unix_ms(cells.integer(5)?),
    })
}
