//! Rows with a MAC: what is read is what was written, or it is an error with a name.
//!
//! SQLite has no page checksums. So each row carries an HMAC-SHA-256 over the table's name and every other column, under
//! the key in the entry `store` of the machine's vault. A row that was changed on disk, moved to another table or put under another key does
//! not verify, and no answer is made from it. What a MAC cannot see is a row that is gone: the check of the
//! database's structure at the start sees that (`schema`).
//!
//! Shape: MAC input = each part preceded by its length as a big-endian u64; parts are `kos store row v1`, the table,
//! and per column one byte for its kind followed by its content (text, bytes, or an integer as 8 bytes).

use std::fmt;

use aws_lc_rs::hmac;
use kos_base::Secret;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::StoreError;

const DOMAIN: &[u8] = b"kos store row v1";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    OptionalText,
    Integer,
    Bytes,
}

/// A table: its name and its columns in order, without the last one, `mac`. The first column names a row to people.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Kind],
}

/// The content of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Text(String),
    Absent,
    Integer(i64),
    Bytes(Vec<u8>),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Absent => Ok(()),
            Self::Integer(number) => number.fmt(f),
            Self::Bytes(bytes) => f.write_str(&data_encoding::HEXLOWER.encode(bytes)),
        }
    }
}

/// The key that rows are sealed with.
#[derive(Clone)]
pub(crate) struct Sealer {
    key: hmac::Key,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    pub(crate) fn new(key: &Secret<32>) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()) }
    }

    fn input(table: &Table, cells: &[Cell]) -> Vec<u8> {
        let mut input = Vec::with_capacity(512);
        let mut part = |kind: &[u8], content: &[u8]| {
            let bytes = u64::try_from(kind.len() + content.len()).unwrap_or(u64::MAX);
            input.extend_from_slice(&bytes.to_be_bytes());
            input.extend_from_slice(kind);
            input.extend_from_slice(content);
        };
        part(&[], DOMAIN);
        part(&[], table.name.as_bytes());
        for cell in cells {
            match cell {
                Cell::Text(text) => part(b"t", text.as_bytes()),
                Cell::Absent => part(b"n", &[]),
                Cell::Integer(number) => part(b"i", &number.to_be_bytes()),
                Cell::Bytes(bytes) => part(b"b", bytes),
            }
        }
        input
    }

    /// Runs `sql`, a statement whose parameters are the table's columns in order and then the MAC. Returns how many
    /// rows it wrote.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        sql: &'static str,
        table: &Table,
        cells: Vec<Cell>,
    ) -> Result<u64, StoreError> {
        debug_assert_eq!(cells.len(), table.columns.len(), "{}", table.name);
        let mac = hmac::sign(&self.key, &Self::input(table, &cells));
        let mut query = sqlx::query(sql);
        for cell in cells {
            query = match cell {
                Cell::Text(text) => query.bind(text),
                Cell::Absent => query.bind(None::<String>),
                Cell::Integer(number) => query.bind(number),
                Cell::Bytes(bytes) => query.bind(bytes),
            };
        }
        Ok(query.bind(mac.as_ref().to_vec()).execute(connection).await?.rows_affected())
    }

    /// Adds many rows with one statement, of which `sql` is the part before `VALUES`.
    pub(super) async fn write_many(
        &self,
        connection: &mut SqliteConnection,
        sql: &'static str,
        table: &Table,
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Result<u64, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(sql);
        query.push_values(rows, |mut row, cells| {
            debug_assert_eq!(cells.len(), table.columns.len(), "{}", table.name);
            let mac = hmac::sign(&self.key, &Self::input(table, &cells));
            for cell in cells {
                match cell {
                    Cell::Text(text) => row.push_bind(text),
                    Cell::Absent => row.push_bind(None::<String>),
                    Cell::Integer(number) => row.push_bind(number),
                    Cell::Bytes(bytes) => row.push_bind(bytes),
                };
            }
            row.push_bind(mac.as_ref().to_vec());
        });
        Ok(query.build().execute(connection).await?.rows_affected())
    }

    /// Checks a row that has the table's columns in order and then the MAC.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not exactly what was written.
    pub(super) fn read(&self, table: &Table, row: &SqliteRow) -> Result<Cells, StoreError> {
        let damaged = |cells: &[Cell]| {
            StoreError::damaged(table.name, cells.first().map(ToString::to_string).unwrap_or_default())
        };
        let mut cells = Vec::with_capacity(table.columns.len());
        for (at, kind) in table.columns.iter().enumerate() {
            let cell = match kind {
                Kind::Text => row.try_get::<String, _>(at).map(Cell::Text),
                Kind::OptionalText => {
                    row.try_get::<Option<String>, _>(at).map(|text| text.map_or(Cell::Absent, Cell::Text))
                }
                Kind::Integer => row.try_get::<i64, _>(at).map(Cell::Integer),
                Kind::Bytes => row.try_get::<Vec<u8>, _>(at).map(Cell::Bytes),
            };
            cells.push(cell.map_err(|_| damaged(&cells))?);
        }
        let mac: Vec<u8> = row.try_get(table.columns.len()).map_err(|_| damaged(&cells))?;
        hmac::verify(&self.key, &Self::input(table, &cells), &mac).map_err(|_| damaged(&cells))?;
        Ok(Cells { table: table.name, cells })
    }
}

/// The columns of a row whose MAC was right.
#[derive(Debug)]
pub(super) struct Cells {
    table: &'static str,
    cells: Vec<Cell>,
}

impl Cells {
    pub(super) fn text(&self, at: usize) -> Result<&str, StoreError> {
        match self.cells.get(at) {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(self.odd()),
        }
    }

    pub(super) fn integer(&self, at: usize) -> Result<u64, StoreError> {
        match self.cells.get(at) {
            Some(Cell::Integer(number)) => u64::try_from(*number).map_err(|_| self.odd()),
            _ => Err(self.odd()),
        }
    }

    pub(super) fn bytes(&self, at: usize) -> Result<&[u8], StoreError> {
        match self.cells.get(at) {
            Some(Cell::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.odd()),
        }
    }

    /// Column `at` as a value that has a text form.
    pub(super) fn parsed<T: std::str::FromStr>(&self, at: usize) -> Result<T, StoreError> {
        self.text(at)?.parse().map_err(|_| self.odd())
    }

    /// Column `at` as a record in deterministic CBOR.
    pub(super) fn record<T>(&self, at: usize) -> Result<T, StoreError>
    where
        T: for<'b> minicbor::Decode<'b, ()> + minicbor::Encode<()>,
    {
        kos_base::cbor::decode(self.bytes(at)?, RECORD_BYTES_MAX).map_err(|_| self.odd())
    }

    /// The MAC is right and the content is not what this version writes.
    pub(super) fn odd(&self) -> StoreError {
        StoreError::damaged(self.table, self.cells.first().map(ToString::to_string).unwrap_or_default())
    }
}

/// Longest record, in bytes: far above any real one, so that a damaged length cannot fill the memory.
const RECORD_BYTES_MAX: usize = 256 * 1024;

/// A number as SQL holds it. Nothing that we count comes near the limit.
pub(super) fn integer(number: u64) -> Cell {
    Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A value in its text form.
pub(super) fn text(value: &(impl ToString + ?Sized)) -> Cell {
    Cell::Text(value.to_string())
}

/// A value in its text form, or nothing.
pub(super) fn optional(value: Option<impl ToString>) -> Cell {
    value.map_or(Cell::Absent, |value| text(&value))
}

/// Bytes as they are written in columns that are looked up.
pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_share_a_mac_input() {
        const A: Table = Table { name: "a", columns: &[Kind::Text, Kind::Text] };
        const B: Table = Table { name: "b", columns: &[Kind::Text, Kind::Text] };
        let rows: [(&Table, Vec<Cell>); 6] = [
            (&A, vec![text("ab"), text("c")]),
            (&A, vec![text("a"), text("bc")]),
            (&B, vec![text("a"), text("bc")]),
            (&A, vec![text("a"), Cell::Bytes(b"bc".to_vec())]),
            (&A, vec![text("a"), Cell::Absent]),
            (&A, vec![text("a"), text("")]),
        ];
        let inputs: std::collections::HashSet<_> = rows.iter().map(|(t, c)| Sealer::input(t, c)).collect();
        assert_eq!(inputs.len(), rows.len());
    }
}
