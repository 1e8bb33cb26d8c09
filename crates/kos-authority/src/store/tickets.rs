//! Enrolment tickets.

use kos_base::{DeviceId, EntryId};
use kos_identity::registry::Ticket;
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, text},
};

const TICKETS: Table = Table { name: "tickets", columns: &[Kind::Text, Kind::Integer, Kind::Bytes] };
const BODY: usize = 2;

/// Who came in with which ticket; the number is that of the use, from 1.
const ADMISSIONS: Table = Table { name: "admissions", columns: &[Kind::Text, Kind::Text, Kind::Integer] };

impl Store {
    /// The ticket with this id.
    pub async fn ticket(&self, id: EntryId) -> Result<Option<Ticket>, StoreError> {
        let sql = "SELECT id, version, body, mac FROM tickets WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// At most `limit` tickets that are older than `before`, newest first: ids sort by time.
    pub async fn tickets(&self, before: Option<EntryId>, limit: u32) -> Result<Vec<Ticket>, StoreError> {
        let sql = "SELECT id, version, body, mac FROM tickets WHERE id < $1 ORDER BY id DESC LIMIT $2";
        // `g` comes after every hexadecimal digit.
        let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
        let rows = sqlx::query(sql).bind(before).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// At most `limit` devices that came in with this ticket, in order.
    pub async fn admitted_by(&self, id: EntryId, limit: u32) -> Result<Vec<DeviceId>, StoreError> {
        let sql =
            "SELECT ticket, device, number, mac FROM admissions WHERE ticket = $1 ORDER BY number LIMIT $2";
        let rows =
            sqlx::query(sql).bind(id.to_string()).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| self.sealer.read(&ADMISSIONS, row)?.parsed(1)).collect()
    }
}

impl WriteHalf {
    pub(super) async fn put_ticket(&mut self, ticket: &Ticket) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(TICKETS.name, &ticket.id);
        let cells =
            vec![text(&ticket.id), integer(ticket.version), Cell::Bytes(kos_base::cbor::encode(ticket))];
        if ticket.version == 1 {
            let sql =
                "INSERT INTO tickets (id, version, body, mac) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            let written = self.sealer.write(&mut self.connection, sql, &TICKETS, cells).await?;
            return if written == 1 { Ok(()) } else { Err(conflict()) };
        }
        let sql = "SELECT id, version, body, mac FROM tickets WHERE id = $1";
        let row = sqlx::query(sql).bind(ticket.id.to_string()).fetch_optional(&mut self.connection).await?;
        let held = read(&self.sealer, &row.ok_or_else(conflict)?)?;
        if held.version.checked_add(1) != Some(ticket.version) {
            return Err(conflict());
        }
        let sql = "UPDATE tickets SET version = $2, body = $3, mac = $4 WHERE id = $1";
        self.sealer.write(&mut self.connection, sql, &TICKETS, cells).await?;
        match &ticket.last_device {
            Some(device) if ticket.uses > held.uses => {
                let sql = "INSERT INTO admissions (ticket, device, number, mac) VALUES ($1, $2, $3, $4)";
                let cells = vec![text(&ticket.id), text(device), integer(u64::from(ticket.uses))];
                self.sealer.write(&mut self.connection, sql, &ADMISSIONS, cells).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Ticket, StoreError> {
    sealer.read(&TICKETS, row)?.record(BODY)
}
