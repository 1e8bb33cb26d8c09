//! Pairings of devices, and what agents are granted.

use kos_base::{DeviceId, EntryId, Timestamp};
use kos_policy::{
    grant::{Grant, Usage},
    pairing::{GRANTS_MAX, Lifted, PAIRS_MAX, PairState, Pairing, Partner},
};
use minicbor::{Decode, Encode, bytes::ByteVec};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, text},
};

const PAIRINGS: Table =
    Table { name: "pairings", columns: &[Kind::Text, Kind::Text, Kind::Integer, Kind::Bytes] };
const GRANTS: Table = Table { name: "grants", columns: &[Kind::Text, Kind::Text, Kind::Bytes] };

/// What is kept of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StoredGrant {
    /// What it says.
    #[n(1)]
    pub grant: Grant,
    /// The same, signed.
    #[n(2)]
    pub signed: ByteVec,
    /// What was made of it.
    #[n(3)]
    pub usage: Usage,
    /// What a person says of it for now.
    #[n(4)]
    pub word: Option<PersonsWord>,
}

/// What a person says of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PersonsWord {
    /// What, and until when.
    #[n(1)]
    pub lifted: Lifted,
    /// Why.
    #[n(2)]
    pub reason: String,
    /// When it was said.
    #[n(3)]
    pub at: Timestamp,
}

impl Store {
    /// Everything that a device is paired with, was, or might be; one a partner.
    pub async fn pairings(&self, device: &DeviceId) -> Result<Vec<Pairing>, StoreError> {
        let sql =
            "SELECT device, partner, number, body, mac FROM pairings WHERE device = $1 ORDER BY partner";
        let rows = sqlx::query(sql).bind(device.to_string()).fetch_all(&self.reads).await?;
        rows.iter().map(|row| pairing(&self.sealer, row)).collect()
    }

    /// The same of everybody with whom this partner is paired, was, or might be.
    pub async fn pairings_with(&self, partner: &Partner) -> Result<Vec<Pairing>, StoreError> {
        let sql =
            "SELECT device, partner, number, body, mac FROM pairings WHERE partner = $1 ORDER BY device";
        let rows = sqlx::query(sql).bind(partner.to_string()).fetch_all(&self.reads).await?;
        rows.iter().map(|row| pairing(&self.sealer, row)).collect()
    }

    /// Devices that are paired, or might be, by what was recorded: there may be ended ones among them.
    pub async fn devices_with_pairings(&self) -> Result<Vec<DeviceId>, StoreError> {
        let sql = "SELECT DISTINCT device FROM pairings ORDER BY device";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        let read = |row: &SqliteRow| {
            let text: String = row.try_get(0)?;
            text.parse().map_err(|_| StoreError::damaged(PAIRINGS.name, &text))
        };
        rows.iter().map(read).collect()
    }

    /// The newest pairing of the two.
    pub async fn pairing(&self, device: &DeviceId, partner: &Partner) -> Result<Option<Pairing>, StoreError> {
        let sql =
            "SELECT device, partner, number, body, mac FROM pairings WHERE device = $1 AND partner = $2";
        let query = sqlx::query(sql).bind(device.to_string()).bind(partner.to_string());
        query.fetch_optional(&self.reads).await?.map(|row| pairing(&self.sealer, &row)).transpose()
    }

    /// What agents may ask of a device, by id.
    pub async fn grants(&self, device: &DeviceId) -> Result<Vec<StoredGrant>, StoreError> {
        let sql = "SELECT id, device, body, mac FROM grants WHERE device = $1 ORDER BY id";
        let rows = sqlx::query(sql).bind(device.to_string()).fetch_all(&self.reads).await?;
        rows.iter().map(|row| grant(&self.sealer, row)).collect()
    }

    /// The grants of all devices by id, after this one.
    pub async fn all_grants(
        &self,
        after: Option<EntryId>,
        limit: u32,
    ) -> Result<Vec<StoredGrant>, StoreError> {
        let sql = "SELECT id, device, body, mac FROM grants WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| grant(&self.sealer, row)).collect()
    }

    /// The grant with this id.
    pub async fn grant(&self, id: EntryId) -> Result<Option<StoredGrant>, StoreError> {
        let sql = "SELECT id, device, body, mac FROM grants WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| grant(&self.sealer, &row)).transpose()
    }
}

impl WriteHalf {
    /// Puts a pairing in place of the one with the number `before`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another one is there, [`StoreError::BondsFull`] when the device has as many.
    pub(crate) async fn put_pairing(
        &mut self,
        now: Timestamp,
        new: &Pairing,
        before: Option<u64>,
    ) -> Result<(), StoreError> {
        let sql =
            "SELECT device, partner, number, body, mac FROM pairings WHERE device = $1 AND partner = $2";
        let query = sqlx::query(sql).bind(new.device.to_string()).bind(new.partner.to_string());
        let held = query.fetch_optional(&mut self.connection).await?;
        let held = held.map(|row| pairing(&self.sealer, &row)).transpose()?;
        let goes_on = held.as_ref().is_some_and(|held| held.state(now) != PairState::Ended);
        if !goes_on && new.state(now) != PairState::Ended {
            self.check_pairings(&new.device, now).await?;
        }
        let held = held.map(|held| held.number);
        if held != before || before.is_some_and(|before| new.number <= before) {
            return Err(StoreError::conflict(PAIRINGS.name, &new.device));
        }
        let sql = "INSERT INTO pairings (device, partner, number, body, mac) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (device, partner) DO UPDATE SET number = excluded.number, body = excluded.body, \
                   mac = excluded.mac";
        let body = Cell::Bytes(kos_base::cbor::encode(new));
        let cells = vec![text(&new.device), text(&new.partner), integer(new.number), body];
        self.sealer.write(&mut self.connection, sql, &PAIRINGS, cells).await.map(drop)
    }

    /// Whether a device may have one more pairing. Asked within the transaction that makes it: two that came at once were both
    /// told by the reading half that there is room, and a device takes none of its bonds when there are too many.
    async fn check_pairings(&mut self, device: &DeviceId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "SELECT device, partner, number, body, mac FROM pairings WHERE device = $1";
        let rows = sqlx::query(sql).bind(device.to_string()).fetch_all(&mut self.connection).await?;
        let mut live = 0;
        for row in &rows {
            live += usize::from(pairing(&self.sealer, row)?.state(now) != PairState::Ended);
        }
        if live < PAIRS_MAX { Ok(()) } else { Err(StoreError::BondsFull) }
    }

    /// Puts a grant in place of what is kept of it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when something else is kept: another use was faster, say. [`StoreError::BondsFull`] when the
    /// device has as many.
    pub(crate) async fn put_grant(
        &mut self,
        new: &StoredGrant,
        before: Option<&StoredGrant>,
    ) -> Result<(), StoreError> {
        let id = new.grant.id;
        let sql = "SELECT id, device, body, mac FROM grants WHERE id = $1";
        let held = sqlx::query(sql).bind(id.to_string()).fetch_optional(&mut self.connection).await?;
        let held = held.map(|row| grant(&self.sealer, &row)).transpose()?;
        if held.as_ref() != before {
            return Err(StoreError::conflict(GRANTS.name, &id));
        }
        if held.is_none() {
            let sql = "SELECT count(*) FROM grants WHERE device = $1";
            let query = sqlx::query(sql).bind(new.grant.device.to_string());
            let count: i64 = query.fetch_one(&mut self.connection).await?.try_get(0)?;
            if usize::try_from(count).map_or(true, |count| count >= GRANTS_MAX) {
                return Err(StoreError::BondsFull);
            }
        }
        let sql = "INSERT INTO grants (id, device, body, mac) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (id) DO UPDATE SET body = excluded.body, mac = excluded.mac";
        let cells = vec![text(&id), text(&new.grant.device), Cell::Bytes(kos_base::cbor::encode(new))];
        self.sealer.write(&mut self.connection, sql, &GRANTS, cells).await.map(drop)
    }

    /// Removes a grant.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not there.
    pub(crate) async fn remove_grant(&mut self, id: EntryId) -> Result<(), StoreError> {
        let sql = "DELETE FROM grants WHERE id = $1";
        let gone = sqlx::query(sql).bind(id.to_string()).execute(&mut self.connection).await?;
        if gone.rows_affected() == 1 { Ok(()) } else { Err(StoreError::conflict(GRANTS.name, &id)) }
    }
}

fn pairing(sealer: &Sealer, row: &SqliteRow) -> Result<Pairing, StoreError> {
    let cells = sealer.read(&PAIRINGS, row)?;
    let pairing: Pairing = cells.record(3)?;
    let fits = cells.parsed::<DeviceId>(0)? == pairing.device
        && cells.parsed::<Partner>(1)? == pairing.partner
        && cells.integer(2)? == pairing.number;
    if fits { Ok(pairing) } else { Err(cells.odd()) }
}

fn grant(sealer: &Sealer, row: &SqliteRow) -> Result<StoredGrant, StoreError> {
    let cells = sealer.read(&GRANTS, row)?;
    let stored: StoredGrant = cells.record(2)?;
    let fits =
        cells.parsed::<EntryId>(0)? == stored.grant.id && cells.parsed::<DeviceId>(1)? == stored.grant.device;
    if fits { Ok(stored) } else { Err(cells.odd()) }
}
