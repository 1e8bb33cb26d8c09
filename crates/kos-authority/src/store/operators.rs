//! People and programs that may use the API over the network.

use kos_api::operator::OperatorRole;
use kos_base::{EntryId, KeyId, Name, Timestamp};
use minicbor::{Decode, Encode};
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, hex, integer, optional, text},
};

const OPERATORS: Table = Table {
    name: "operators",
    columns: &[Kind::Text, Kind::Integer, Kind::Text, Kind::Text, Kind::OptionalText, Kind::Bytes],
};
const BODY: usize = 5;

/// An operator and the certificate by which they are known.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Operator {
    /// Names it.
    #[n(0)]
    pub id: EntryId,
    /// Successor of the version in the store; 1 for a new one.
    #[n(1)]
    pub version: u64,
    /// Who it is.
    #[n(2)]
    pub name: Name,
    /// What they may do.
    #[n(3)]
    #[cbor(with = "role")]
    pub role: OperatorRole,
    /// The key of the certificate.
    #[n(4)]
    pub key: KeyId,
    /// Key id of the CA that signed it.
    #[n(5)]
    pub issuer: KeyId,
    /// Serial of the certificate.
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    pub serial: Vec<u8>,
    /// When the certificate ends.
    #[n(7)]
    pub not_after: Timestamp,
    /// When it was made.
    #[n(8)]
    pub created_at: Timestamp,
    /// Taken back.
    #[n(9)]
    pub removed: bool,
}

/// CBOR: 0 viewer, 1 operator, 2 admin.
mod role {
    use kos_api::operator::OperatorRole;
    use minicbor::{Decoder, Encoder, decode::Error, encode::Write};

    pub(super) fn encode<C, W: Write>(
        role: &OperatorRole,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let number = match role {
            OperatorRole::Viewer => 0,
            OperatorRole::Operator => 1,
            OperatorRole::Admin => 2,
        };
        e.u8(number)?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<OperatorRole, Error> {
        match d.u8()? {
            0 => Ok(OperatorRole::Viewer),
            1 => Ok(OperatorRole::Operator),
            2 => Ok(OperatorRole::Admin),
            _ => Err(Error::message("no such operator role")),
        }
    }
}

impl Store {
    /// The operator with this id.
    pub async fn operator(&self, id: EntryId) -> Result<Option<Operator>, StoreError> {
        let sql = "SELECT id, version, key, serial, active_name, body, mac FROM operators WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// The operator whose certificate is for this key.
    pub async fn operator_by_key(&self, key: KeyId) -> Result<Option<Operator>, StoreError> {
        let sql = "SELECT id, version, key, serial, active_name, body, mac FROM operators WHERE key = $1";
        let row = sqlx::query(sql).bind(key.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// The operator of this name who was not removed.
    pub async fn active_operator(&self, name: &str) -> Result<Option<Operator>, StoreError> {
        let sql =
            "SELECT id, version, key, serial, active_name, body, mac FROM operators WHERE active_name = $1";
        let row = sqlx::query(sql).bind(name).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// The operator whose certificate has this serial number.
    pub async fn operator_by_serial(
        &self,
        issuer: KeyId,
        serial: &[u8],
    ) -> Result<Option<Operator>, StoreError> {
        let sql = "SELECT id, version, key, serial, active_name, body, mac FROM operators WHERE serial = $1";
        let row = sqlx::query(sql).bind(hex(serial)).fetch_optional(&self.reads).await?;
        let found = row.map(|row| read(&self.sealer, &row)).transpose()?;
        Ok(found.filter(|operator| operator.issuer == issuer))
    }

    /// At most `limit` operators whose id comes after `after`, by id.
    pub async fn operators(&self, after: Option<EntryId>, limit: u32) -> Result<Vec<Operator>, StoreError> {
        let sql = "SELECT id, version, key, serial, active_name, body, mac FROM operators WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }
}

impl WriteHalf {
    /// That this operator was not removed. Asked within the transaction that rests on it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when they were.
    pub(crate) async fn check_stands(&mut self, id: EntryId) -> Result<(), StoreError> {
        let sql = "SELECT id, version, key, serial, active_name, body, mac FROM operators WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&mut self.connection).await?;
        let held = row.map(|row| read(&self.sealer, &row)).transpose()?;
        match held.is_some_and(|operator| !operator.removed) {
            true => Ok(()),
            false => Err(StoreError::conflict(OPERATORS.name, &id)),
        }
    }

    pub(crate) async fn put_operator(&mut self, operator: &Operator) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(OPERATORS.name, &operator.id);
        let cells = vec![
            text(&operator.id),
            integer(operator.version),
            text(&operator.key),
            text(&hex(&operator.serial)),
            optional(Some(&operator.name).filter(|_| !operator.removed)),
            Cell::Bytes(kos_base::cbor::encode(operator)),
        ];
        if operator.version == 1 {
            let sql = "INSERT INTO operators (id, version, key, serial, active_name, body, mac) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                       ON CONFLICT DO NOTHING";
            let written = self.sealer.write(&mut self.connection, sql, &OPERATORS, cells).await?;
            return if written == 1 { Ok(()) } else { Err(conflict()) };
        }
        let sql = "SELECT id, version, key, serial, active_name, body, mac FROM operators WHERE id = $1";
        let query = sqlx::query(sql).bind(operator.id.to_string());
        let row = query.fetch_optional(&mut self.connection).await?.ok_or_else(conflict)?;
        if read(&self.sealer, &row)?.version.checked_add(1) != Some(operator.version) {
            return Err(conflict());
        }
        let sql = "UPDATE operators SET version = $2, key = $3, serial = $4, active_name = $5, body = $6, mac = $7 \
                   WHERE id = $1";
        self.sealer.write(&mut self.connection, sql, &OPERATORS, cells).await?;
        Ok(())
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Operator, StoreError> {
    sealer.read(&OPERATORS, row)?.record(BODY)
}
