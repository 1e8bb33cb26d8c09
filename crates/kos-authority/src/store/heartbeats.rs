//! The last heartbeat of each device. Measured values, not facts that the authority decides: no entry in the log.

use kos_base::{DeviceId, Timestamp};

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Table, integer, text},
};

const HEARTBEATS: Table = Table { name: "heartbeats", columns: &[Kind::Text, Kind::Integer, Kind::Bytes] };

/// What a device said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which device.
    pub device: DeviceId,
    /// When it was received.
    pub at: Timestamp,
    /// The body of the message, as it came.
    pub body: Vec<u8>,
}

impl Store {
    /// The last heartbeat of every device.
    pub async fn heartbeats(&self) -> Result<Vec<Heartbeat>, StoreError> {
        let sql = "SELECT device, at, body, mac FROM heartbeats ORDER BY device";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        let read = |row| {
            let cells = self.sealer.read(&HEARTBEATS, row)?;
            let at = Timestamp::from_unix_ms(cells.integer(1)?);
            Ok(Heartbeat { device: cells.parsed(0)?, at, body: cells.bytes(2)?.to_vec() })
        };
        rows.iter().map(read).collect()
    }
}

impl WriteHalf {
    pub(crate) async fn put_heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let sql = "INSERT INTO heartbeats (device, at, body, mac) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (device) DO UPDATE SET at = excluded.at, body = excluded.body, mac = excluded.mac";
        let cells = vec![
            text(&heartbeat.device),
            integer(heartbeat.at.unix_ms()),
            Cell::Bytes(heartbeat.body.clone()),
        ];
        self.sealer.write(&mut self.connection, sql, &HEARTBEATS, cells).await?;
        Ok(())
    }
}
