//! Certificates that were issued, which of them are revoked, and the newest revocation list of each CA.

use kos_base::{DeviceId, KeyId, Timestamp};
use kos_identity::registry::{Revocation, RevocationReason};
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, hex, integer, text},
};

const CERTIFICATES: Table = Table {
    name: "certificates",
    columns: &[Kind::Text, Kind::Text, Kind::Text, Kind::Integer, Kind::Bytes],
};
const REVOCATIONS: Table = Table { name: "revocations", columns: &[Kind::Text, Kind::Text, Kind::Bytes] };
const CRLS: Table = Table { name: "crls", columns: &[Kind::Text, Kind::Integer, Kind::Integer, Kind::Bytes] };

/// What stands for a device in the rows of the authority's own certificates. No id of a device reads so.
const OWN: &str = "authority";

/// A certificate that was issued to a device, or to the authority itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// Key id of the CA that signed it.
    pub issuer: KeyId,
    /// Whose it is; nobody's when it is the authority's own.
    pub device: Option<DeviceId>,
    /// Its number among the device's; 0 when it is the authority's own.
    pub issue: u32,
    /// The certificate.
    pub der: Vec<u8>,
}

/// The newest revocation list of a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCrl {
    /// Key id of the CA that signed it.
    pub issuer: KeyId,
    /// Its number, higher than that of every list before.
    pub number: u64,
    /// When the next one is due.
    pub next_update: Timestamp,
    /// The list.
    pub der: Vec<u8>,
}

impl Store {
    /// The certificate with this issuer and serial.
    pub async fn certificate(
        &self,
        issuer: KeyId,
        serial: &[u8],
    ) -> Result<Option<StoredCertificate>, StoreError> {
        let sql = "SELECT issuer, serial, device, issue, der, mac FROM certificates WHERE issuer = $1 AND serial = $2";
        let row =
            sqlx::query(sql).bind(issuer.to_string()).bind(hex(serial)).fetch_optional(&self.reads).await?;
        row.map(|row| certificate(&self.sealer, &row)).transpose()
    }

    /// The certificate with this number among the device's.
    pub async fn certificate_of(
        &self,
        device: &DeviceId,
        issue: u32,
    ) -> Result<Option<StoredCertificate>, StoreError> {
        let sql = "SELECT issuer, serial, device, issue, der, mac FROM certificates WHERE device = $1 AND issue = $2";
        let row = sqlx::query(sql)
            .bind(device.to_string())
            .bind(i64::from(issue))
            .fetch_optional(&self.reads)
            .await?;
        row.map(|row| certificate(&self.sealer, &row)).transpose()
    }

    /// Everything that is revoked.
    pub async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let sql = "SELECT issuer, serial, body, mac FROM revocations ORDER BY issuer, serial";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        rows.iter().map(|row| revocation(&self.sealer, row)).collect()
    }

    /// The newest revocation list of this CA.
    pub async fn crl(&self, issuer: KeyId) -> Result<Option<StoredCrl>, StoreError> {
        let sql = "SELECT issuer, number, next_update, der, mac FROM crls WHERE issuer = $1";
        let row = sqlx::query(sql).bind(issuer.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| crl(&self.sealer, &row)).transpose()
    }
}

impl WriteHalf {
    /// Without a device it is one of the authority's own.
    pub(crate) async fn add_certificate(
        &mut self,
        issuer: KeyId,
        serial: &[u8],
        device: Option<&DeviceId>,
        issue: u32,
        der: &[u8],
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO certificates (issuer, serial, device, issue, der, mac) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let cells = vec![
            text(&issuer),
            text(&hex(serial)),
            device.map_or_else(|| text(&OWN), text),
            integer(u64::from(issue)),
            Cell::Bytes(der.to_vec()),
        ];
        match self.sealer.write(&mut self.connection, sql, &CERTIFICATES, cells).await? {
            1 => Ok(()),
            _ => Err(StoreError::conflict(CERTIFICATES.name, &hex(serial))),
        }
    }

    /// Adds or replaces an entry: a hold may become final, and nothing final becomes a hold.
    pub(crate) async fn put_revocation(&mut self, revocation: &Revocation) -> Result<(), StoreError> {
        let held = self.held_revocation(revocation.issuer, &revocation.serial).await?;
        let is_final = held.is_some_and(|held| held.reason != RevocationReason::Hold);
        if is_final && revocation.reason == RevocationReason::Hold {
            return Err(StoreError::conflict(REVOCATIONS.name, &hex(&revocation.serial)));
        }
        let sql = "INSERT INTO revocations (issuer, serial, body, mac) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (issuer, serial) DO UPDATE SET body = excluded.body, mac = excluded.mac";
        let cells = vec![
            text(&revocation.issuer),
            text(&hex(&revocation.serial)),
            Cell::Bytes(kos_base::cbor::encode(revocation)),
        ];
        self.sealer.write(&mut self.connection, sql, &REVOCATIONS, cells).await?;
        Ok(())
    }

    /// Takes a hold back.
    pub(super) async fn release(&mut self, issuer: KeyId, serial: &[u8]) -> Result<(), StoreError> {
        let held = self.held_revocation(issuer, serial).await?;
        if held.is_none_or(|held| held.reason != RevocationReason::Hold) {
            return Err(StoreError::conflict(REVOCATIONS.name, &hex(serial)));
        }
        sqlx::query("DELETE FROM revocations WHERE issuer = $1 AND serial = $2")
            .bind(issuer.to_string())
            .bind(hex(serial))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn held_revocation(
        &mut self,
        issuer: KeyId,
        serial: &[u8],
    ) -> Result<Option<Revocation>, StoreError> {
        let sql = "SELECT issuer, serial, body, mac FROM revocations WHERE issuer = $1 AND serial = $2";
        let query = sqlx::query(sql).bind(issuer.to_string()).bind(hex(serial));
        let row = query.fetch_optional(&mut self.connection).await?;
        row.map(|row| revocation(&self.sealer, &row)).transpose()
    }

    /// Replaces the newest list of a CA by one with a higher number.
    pub(crate) async fn put_crl(&mut self, list: &StoredCrl) -> Result<(), StoreError> {
        let sql = "SELECT issuer, number, next_update, der, mac FROM crls WHERE issuer = $1";
        let query = sqlx::query(sql).bind(list.issuer.to_string());
        let row = query.fetch_optional(&mut self.connection).await?;
        let held = row.map(|row| crl(&self.sealer, &row)).transpose()?;
        if held.is_some_and(|held| held.number >= list.number) {
            return Err(StoreError::conflict(CRLS.name, &list.issuer));
        }
        let sql = "INSERT INTO crls (issuer, number, next_update, der, mac) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (issuer) DO UPDATE SET number = excluded.number, \
                   next_update = excluded.next_update, der = excluded.der, mac = excluded.mac";
        let cells = vec![
            text(&list.issuer),
            integer(list.number),
            integer(list.next_update.unix_ms()),
            Cell::Bytes(list.der.clone()),
        ];
        self.sealer.write(&mut self.connection, sql, &CRLS, cells).await?;
        Ok(())
    }
}

fn certificate(sealer: &Sealer, row: &SqliteRow) -> Result<StoredCertificate, StoreError> {
    let cells = sealer.read(&CERTIFICATES, row)?;
    Ok(StoredCertificate {
        issuer: cells.parsed(0)?,
        device: if cells.text(2)? == OWN { None } else { Some(cells.parsed(2)?) },
        issue: u32::try_from(cells.integer(3)?).map_err(|_| cells.odd())?,
        der: cells.bytes(4)?.to_vec(),
    })
}

fn revocation(sealer: &Sealer, row: &SqliteRow) -> Result<Revocation, StoreError> {
    sealer.read(&REVOCATIONS, row)?.record(2)
}

fn crl(sealer: &Sealer, row: &SqliteRow) -> Result<StoredCrl, StoreError> {
    let cells = sealer.read(&CRLS, row)?;
    Ok(StoredCrl {
        issuer: cells.parsed(0)?,
        number: cells.integer(1)?,
        next_update: Timestamp::from_unix_ms(cells.integer(2)?),
        der: cells.bytes(3)?.to_vec(),
    })
}
