//! Vouchers, grants of nodes that may vouch, and the makers that operators trust.
//!
//! Makers are few, and kept as one setting.
//!
//! Source: `docs/spec/voucher.md` VOU-10, VOU-25, VOU-31.

use data_encoding::BASE64;
use kos_base::{EntryId, EvidenceTier, GroupPath, Name, PublicKey, Role, SecurityProfile, Timestamp};
use kos_voucher::{Certificates, Kept, Maker, Sponsor, Terms, VoucherId};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use super::{
    Setting, Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, text},
};

const VOUCHERS: Table =
    Table { name: "vouchers", columns: &[Kind::Text, Kind::Integer, Kind::Text, Kind::Integer, Kind::Bytes] };
const GRANTS: Table =
    Table { name: "vouching_grants", columns: &[Kind::Text, Kind::Integer, Kind::Text, Kind::Bytes] };

/// Most vouchers for one device that are looked at: the newest.
const PER_DEVICE_MAX: u32 = 8;

/// A maker as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMaker {
    /// What operators call it.
    pub name: Name,
    /// Base64 of the SubjectPublicKeyInfo of the key that signs its vouchers.
    pub key: Option<String>,
    /// Base64 of the CAs of its factory certificates.
    pub roots: Vec<String>,
    /// Whether such a certificate is enough.
    pub certificates_admit: bool,
    /// The role of its devices.
    pub role: Option<Role>,
    /// Their group.
    pub group: Option<GroupPath>,
    /// Their highest profile.
    pub profile: SecurityProfile,
    /// The least evidence that they must show.
    pub evidence: EvidenceTier,
    /// When it was trusted.
    pub added_at: Timestamp,
}

impl StoredMaker {
    /// As the machines take it; nothing when a later version wrote it.
    pub fn maker(&self) -> Option<Maker> {
        let bytes = |text: &String| BASE64.decode(text.as_bytes()).ok();
        let key = match &self.key {
            Some(text) => Some(PublicKey::from_spki_der(&bytes(text)?).ok()?),
            None => None,
        };
        Some(Maker {
            name: self.name.clone(),
            key,
            roots: self.roots.iter().map(bytes).collect::<Option<_>>()?,
            certificates: if self.certificates_admit { Certificates::Admit } else { Certificates::Name },
            terms: Terms {
                role: self.role,
                group: self.group.clone(),
                profile: self.profile,
                evidence: self.evidence,
            },
        })
    }
}

impl Store {
    /// Makers whom operators trust.
    pub async fn makers(&self) -> Result<Vec<StoredMaker>, StoreError> {
        let held = self.setting(Setting::Makers).await?;
        let read = held.map(|text| serde_json::from_str(&text)).transpose();
        let read = read.map_err(|_| StoreError::Damaged { table: "settings", row: "makers".to_owned() })?;
        Ok(read.unwrap_or_default())
    }

    /// Vouchers under what a device shows, the newest first.
    pub async fn vouchers_of(&self, place: &str) -> Result<Vec<Kept>, StoreError> {
        let sql = "SELECT id, version, place, imported_at, body, mac FROM vouchers \
                   WHERE place = $1 ORDER BY imported_at DESC LIMIT $2";
        let query = sqlx::query(sql).bind(place.to_owned()).bind(i64::from(PER_DEVICE_MAX));
        query.fetch_all(&self.reads).await?.iter().map(|row| voucher(&self.sealer, row)).collect()
    }

    /// The voucher with this id.
    pub async fn voucher(&self, id: VoucherId) -> Result<Option<Kept>, StoreError> {
        let sql = "SELECT id, version, place, imported_at, body, mac FROM vouchers WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| voucher(&self.sealer, &row)).transpose()
    }

    /// At most `limit` vouchers after this id.
    pub async fn vouchers(&self, after: Option<VoucherId>, limit: u32) -> Result<Vec<Kept>, StoreError> {
        let sql = "SELECT id, version, place, imported_at, body, mac FROM vouchers \
                   WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| voucher(&self.sealer, row)).collect()
    }

    /// The grant with this id.
    pub async fn vouching_grant(&self, id: EntryId) -> Result<Option<Sponsor>, StoreError> {
        let sql = "SELECT id, version, device, body, mac FROM vouching_grants WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| grant(&self.sealer, &row)).transpose()
    }

    /// At most `limit` grants, the newest first: ids sort by time.
    pub async fn vouching_grants(&self, limit: u32) -> Result<Vec<Sponsor>, StoreError> {
        let sql = "SELECT id, version, device, body, mac FROM vouching_grants ORDER BY id DESC LIMIT $1";
        let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| grant(&self.sealer, row)).collect()
    }
}

impl WriteHalf {
    pub(super) async fn put_voucher(&mut self, kept: &Kept) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(VOUCHERS.name, &kept.id);
        let cells = vec![
            text(&kept.id),
            integer(kept.version),
            text(&kept.subject.place()),
            integer(kept.imported_at.unix_ms()),
            Cell::Bytes(kos_base::cbor::encode(kept)),
        ];
        let sql = if kept.version == 1 {
            "INSERT INTO vouchers (id, version, place, imported_at, body, mac) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
        } else {
            "UPDATE vouchers SET version = $2, place = $3, imported_at = $4, body = $5, mac = $6 \
             WHERE id = $1 AND version = $2 - 1"
        };
        match self.sealer.write(&mut self.connection, sql, &VOUCHERS, cells).await? {
            1 => Ok(()),
            _ => Err(conflict()),
        }
    }

    pub(super) async fn put_vouching_grant(&mut self, held: &Sponsor) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(GRANTS.name, &held.id);
        let cells = vec![
            text(&held.id),
            integer(held.version),
            text(&held.device),
            Cell::Bytes(kos_base::cbor::encode(held)),
        ];
        let sql = if held.version == 1 {
            "INSERT INTO vouching_grants (id, version, device, body, mac) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
        } else {
            "UPDATE vouching_grants SET version = $2, device = $3, body = $4, mac = $5 \
             WHERE id = $1 AND version = $2 - 1"
        };
        match self.sealer.write(&mut self.connection, sql, &GRANTS, cells).await? {
            1 => Ok(()),
            _ => Err(conflict()),
        }
    }
}

fn voucher(sealer: &Sealer, row: &SqliteRow) -> Result<Kept, StoreError> {
    sealer.read(&VOUCHERS, row)?.record(4)
}

fn grant(sealer: &Sealer, row: &SqliteRow) -> Result<Sponsor, StoreError> {
    sealer.read(&GRANTS, row)?.record(3)
}
