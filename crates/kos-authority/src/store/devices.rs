//! Devices, and the table of facts by which they are found: keys, hardware addresses, serials.

use std::collections::BTreeSet;

use kos_base::{Channel, DeviceId, DeviceState, GroupPath, KeyId, Mac, Role};
use kos_identity::{
    enrolment::authority::Lookalike,
    registry::{Device, Lobby},
};
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, optional, text},
};

const DEVICES: Table = Table {
    name: "devices",
    columns: &[
        Kind::Text,
        Kind::Integer,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::OptionalText,
        Kind::Text,
        Kind::OptionalText,
        Kind::Bytes,
    ],
};
const STATE: usize = 3;
const BODY: usize = 8;

/// Most lookalikes that are looked up: one more than a record names. Stops a popular serial from making every
/// enrolment read the whole registry.
const LOOKALIKES_MAX: usize = Lobby::LOOKALIKES_MAX + 1;

/// `mac 00:11:..`, `serial ..`, `key ..`, and the device that shows it; the first two again behind `banned` when it was
/// banned.
const FACTS: Table = Table { name: "facts", columns: &[Kind::Text, Kind::Text] };

const LOBBY_COUNT: &str =
    "SELECT count(*), coalesce(sum(lobby_source = $1), 0) FROM devices WHERE lobby_source IS NOT NULL";

/// Which devices a list holds. Everything given must fit.
#[derive(Clone, Debug, Default)]
pub struct DeviceQuery {
    /// Only those whose recorded state is one of these.
    pub states: Vec<DeviceState>,
    /// Only those of this role.
    pub role: Option<Role>,
    /// Only those in this group or below it.
    pub group: Option<GroupPath>,
    /// Only those on this channel.
    pub channel: Option<Channel>,
    /// Only those whose id comes after this one.
    pub after: Option<DeviceId>,
}

/// How many devices wait in the lobby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LobbyCount {
    /// In all.
    pub total: u64,
    /// From the source that was asked about.
    pub from_source: u64,
}

impl Store {
    /// The device with this id.
    pub async fn device(&self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        let sql = "SELECT id, version, identity_key, state, role, group_path, channel, lobby_source, \
                   body, mac FROM devices WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// The device whose identity key, operational key or unconfirmed operational key this is.
    pub async fn device_by_key(&self, key: KeyId) -> Result<Option<Device>, StoreError> {
        match self.devices_showing(&format!("key {key}")).await?.first() {
            Some(id) => self.device(id).await,
            None => Ok(None),
        }
    }

    async fn devices_showing(&self, fact: &str) -> Result<Vec<DeviceId>, StoreError> {
        let sql = "SELECT fact, device, mac FROM facts WHERE fact = $1 ORDER BY device";
        let rows = sqlx::query(sql).bind(fact).fetch_all(&self.reads).await?;
        rows.iter().map(|row| self.sealer.read(&FACTS, row)?.parsed(1)).collect()
    }

    /// At most `limit` devices whose id starts with `prefix`, in order. One more than one means that it is ambiguous.
    pub async fn devices_with_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<DeviceId>, StoreError> {
        let typed = prefix.to_ascii_lowercase();
        let typed = typed.strip_prefix("kdev-").unwrap_or(&typed);
        if typed.len() < PREFIX_CHARS_MIN || !typed.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v')) {
            return Ok(Vec::new());
        }
        let sql = "SELECT id FROM devices WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(format!("kdev-{typed}"))
            .bind(format!("kdev-{typed}w"))
            .bind(i64::from(limit))
            .fetch_all(&self.reads)
            .await?;
        rows.iter().map(|row| parsed(row, "devices")).collect()
    }

    /// At most `limit` devices that fit, by id.
    pub async fn devices(&self, query: &DeviceQuery, limit: u32) -> Result<Vec<Device>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT id, version, identity_key, state, role, group_path, channel, lobby_source, \
             body, mac FROM devices WHERE id > ",
        );
        sql.push_bind(query.after.as_ref().map(ToString::to_string).unwrap_or_default());
        if !query.states.is_empty() {
            let mut states = sql.push(" AND state IN (").separated(", ");
            for state in &query.states {
                states.push_bind(state.as_str());
            }
            states.push_unseparated(")");
        }
        if let Some(role) = query.role {
            sql.push(" AND role = ").push_bind(role.as_str());
        }
        if let Some(channel) = query.channel {
            sql.push(" AND channel = ").push_bind(channel.as_str());
        }
        if let Some(group) = &query.group {
            // `0` is the character after `/`: everything below the group, and nothing beside it.
            sql.push(" AND (group_path = ").push_bind(group.to_string());
            sql.push(" OR (group_path >= ").push_bind(format!("{group}/"));
            sql.push(" AND group_path < ").push_bind(format!("{group}0")).push("))");
        }
        sql.push(" ORDER BY id LIMIT ").push_bind(i64::from(limit));
        let rows = sql.build().fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// How many devices are recorded in each state.
    pub async fn count_devices(&self) -> Result<Vec<(DeviceState, u64)>, StoreError> {
        let sql = "SELECT state, count(*) FROM devices GROUP BY state";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        rows.iter().map(|row| Ok((parsed(row, "devices")?, count(row, 1)?))).collect()
    }

    /// Devices that show one of these hardware addresses or serials, or this endorsement key, those that were banned first, then by id; at most
    /// `LOOKALIKES_MAX`.
    ///
    /// Left out is who has the identity key `own`, and who was never let in: a stranger may claim any hardware.
    pub async fn lookalikes(
        &self,
        macs: &[Mac],
        serials: &[String],
        ek: Option<KeyId>,
        own: Option<KeyId>,
    ) -> Result<Vec<Lookalike>, StoreError> {
        let own = own.map(|key| key.to_string()).unwrap_or_default();
        let (mut banned, mut others) = (BTreeSet::new(), BTreeSet::new());
        for fact in hardware(macs, serials, ek) {
            banned.extend(self.others_showing(&banned_fact(&fact), &own).await?);
            others.extend(self.others_showing(&fact, &own).await?);
        }
        let mut found = Vec::new();
        for device in self.with_tpm(ek, &own).await? {
            let (state, is_banned) = (device.state(), banned.remove(&device.id));
            others.remove(&device.id);
            found.push(Lookalike { id: device.id, state, banned: is_banned, has_tpm: true });
        }
        let rest = others.difference(&banned).map(|id| (id, false));
        let all = banned.iter().map(|id| (id, true)).chain(rest);
        for (id, banned) in all.take(LOOKALIKES_MAX) {
            let state = self.device_state(id).await?;
            found.push(Lookalike { id: id.clone(), state, banned, has_tpm: false });
        }
        Ok(found)
    }

    /// Those that have proven to have this endorsement key and were ever given a certificate, or were turned away.
    async fn with_tpm(&self, ek: Option<KeyId>, own: &str) -> Result<Vec<Device>, StoreError> {
        let Some(ek) = ek else { return Ok(Vec::new()) };
        let limit = i64::try_from(LOOKALIKES_MAX).unwrap_or(i64::MAX);
        let rows =
            sqlx::query(WITH_TPM).bind(ek_fact(ek)).bind(own).bind(limit).fetch_all(&self.reads).await?;
        let all = rows.iter().map(|row| read(&self.sealer, row));
        let counts = |device: &Device| device.issues > 0 || device.state() == DeviceState::Decommissioned;
        all.filter(|device| device.as_ref().map_or(true, counts)).collect()
    }

    async fn others_showing(&self, fact: &str, own: &str) -> Result<Vec<DeviceId>, StoreError> {
        let sql = "SELECT fact, device, mac FROM facts WHERE fact = $1 AND NOT EXISTS ( \
                   SELECT 1 FROM devices WHERE id = facts.device AND (identity_key = $2 \
                   OR (state = $3 AND lobby_source IS NOT NULL))) ORDER BY device LIMIT $4";
        let limit = i64::try_from(LOOKALIKES_MAX).unwrap_or(i64::MAX);
        let query = sqlx::query(sql).bind(fact).bind(own).bind(DeviceState::Pending.as_str()).bind(limit);
        let rows = query.fetch_all(&self.reads).await?;
        rows.iter().map(|row| self.sealer.read(&FACTS, row)?.parsed(1)).collect()
    }

    /// The state of a device that a fact names. The row is verified, and the record in it not decoded.
    async fn device_state(&self, id: &DeviceId) -> Result<DeviceState, StoreError> {
        let sql = "SELECT id, version, identity_key, state, role, group_path, channel, lobby_source, \
                   body, mac FROM devices WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.reads).await?;
        let row = row.ok_or_else(|| StoreError::damaged(FACTS.name, id.to_string()))?;
        self.sealer.read(&DEVICES, &row)?.parsed(STATE)
    }

    /// How many devices wait in the lobby, in all and from `source`.
    pub async fn lobby_count(&self, source: &str) -> Result<LobbyCount, StoreError> {
        let row = sqlx::query(LOBBY_COUNT).bind(source).fetch_one(&self.reads).await?;
        Ok(LobbyCount { total: count(&row, 0)?, from_source: count(&row, 1)? })
    }

    /// Every device that waits in the lobby.
    pub async fn lobby(&self) -> Result<Vec<Device>, StoreError> {
        let sql = "SELECT id, version, identity_key, state, role, group_path, channel, lobby_source, \
                   body, mac FROM devices WHERE lobby_source IS NOT NULL ORDER BY id LIMIT $1";
        let limit = i64::try_from(Lobby::COUNT_MAX).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(limit).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }
}

/// Devices with a fact, other than the one with an identity key.
const WITH_TPM: &str = "SELECT id, version, identity_key, state, role, group_path, channel, lobby_source, body, mac \
                        FROM devices WHERE id IN (SELECT device FROM facts WHERE fact = $1) \
                        AND identity_key <> $2 ORDER BY id LIMIT $3";

/// Least characters of a typed device id, as in `DeviceId::has_prefix`.
const PREFIX_CHARS_MIN: usize = 4;

impl WriteHalf {
    pub(super) async fn put_device(&mut self, device: &Device) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(DEVICES.name, &device.id);
        let wanted = facts(device);
        if device.version == 1 {
            self.check_lobby(device).await?;
            let sql = "INSERT INTO devices (id, version, identity_key, state, role, group_path, channel, \
                       lobby_source, body, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                       ON CONFLICT DO NOTHING";
            let written = self.sealer.write(&mut self.connection, sql, &DEVICES, cells(device)).await?;
            if written != 1 {
                return Err(conflict());
            }
            return self.add_facts(&device.id, wanted.iter()).await;
        }
        let held = self.held_device(&device.id).await?.ok_or_else(conflict)?;
        if held.version.checked_add(1) != Some(device.version) {
            return Err(conflict());
        }
        if held.lobby.is_none() {
            self.check_lobby(device).await?;
        }
        if let Some(ek) = tpm(device).filter(|ek| tpm(&held) != Some(*ek)) {
            self.check_tpm(device, ek).await?;
        }
        let sql = "UPDATE devices SET version = $2, identity_key = $3, state = $4, role = $5, group_path = $6, \
                   channel = $7, lobby_source = $8, body = $9, mac = $10 WHERE id = $1";
        self.sealer.write(&mut self.connection, sql, &DEVICES, cells(device)).await?;
        let before = facts(&held);
        self.drop_facts(&device.id, before.difference(&wanted)).await?;
        self.add_facts(&device.id, wanted.difference(&before)).await
    }

    pub(super) async fn forget_device(&mut self, id: &DeviceId, version: u64) -> Result<(), StoreError> {
        let held = self.held_device(id).await?;
        if held.as_ref().is_none_or(|held| held.version != version) {
            return Err(StoreError::conflict(DEVICES.name, &id));
        }
        sqlx::query("DELETE FROM devices WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut self.connection)
            .await?;
        let facts = held.as_ref().map(facts).unwrap_or_default();
        self.drop_facts(id, facts.iter()).await
    }

    /// Whether there is room for a device that enters the lobby. Asked within the transaction that lets it in: many
    /// that come at once were all told by the reading half that there is room.
    async fn check_lobby(&mut self, device: &Device) -> Result<(), StoreError> {
        let Some(lobby) = &device.lobby else { return Ok(()) };
        let row = sqlx::query(LOBBY_COUNT).bind(&lobby.source).fetch_one(&mut self.connection).await?;
        let is_full = count(&row, 0)? >= Lobby::COUNT_MAX || count(&row, 1)? >= Lobby::PER_SOURCE_MAX;
        if is_full { Err(StoreError::LobbyFull) } else { Ok(()) }
    }

    /// Whether nobody else has a certificate by this TPM. Asked within the transaction that gives one: two that came at
    /// once were both told by the reading half that there is nobody (ATT-24).
    async fn check_tpm(&mut self, device: &Device, ek: KeyId) -> Result<(), StoreError> {
        let own = device.identity_key.id().to_string();
        let limit = i64::try_from(LOOKALIKES_MAX).unwrap_or(i64::MAX);
        let query = sqlx::query(WITH_TPM).bind(ek_fact(ek)).bind(own).bind(limit);
        for row in query.fetch_all(&mut self.connection).await? {
            if tpm(&read(&self.sealer, &row)?) == Some(ek) {
                return Err(StoreError::conflict(DEVICES.name, &device.id));
            }
        }
        Ok(())
    }

    async fn held_device(&mut self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        let sql = "SELECT id, version, identity_key, state, role, group_path, channel, lobby_source, \
                   body, mac FROM devices WHERE id = $1";
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&mut self.connection).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    async fn add_facts(
        &mut self,
        device: &DeviceId,
        facts: impl Iterator<Item = &String>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO facts (fact, device, mac) VALUES ($1, $2, $3)";
        for fact in facts {
            self.sealer.write(&mut self.connection, sql, &FACTS, vec![text(fact), text(device)]).await?;
        }
        Ok(())
    }

    async fn drop_facts(
        &mut self,
        device: &DeviceId,
        facts: impl Iterator<Item = &String>,
    ) -> Result<(), StoreError> {
        for fact in facts {
            sqlx::query("DELETE FROM facts WHERE fact = $1 AND device = $2")
                .bind(fact.clone())
                .bind(device.to_string())
                .execute(&mut self.connection)
                .await?;
        }
        Ok(())
    }
}

/// Everything by which this device is found.
fn facts(device: &Device) -> BTreeSet<String> {
    let service = device.credential.as_ref().map(|held| held.key.id());
    let unconfirmed = device.pending.as_ref().map(|issued| issued.credential.key.id());
    let keys = [Some(device.identity_key.id()), service, unconfirmed];
    let keys = keys.into_iter().flatten().map(|key| format!("key {key}"));
    let hardware: Vec<_> =
        hardware(&device.macs, &device.serials, device.attested.as_ref().map(|held| held.ek)).collect();
    let banned: Vec<_> = hardware.iter().filter(|_| device.banned).map(|fact| banned_fact(fact)).collect();
    keys.chain(hardware).chain(banned).collect()
}

/// By which a device that was banned is found among however many that show the same.
fn banned_fact(fact: &str) -> String {
    format!("banned {fact}")
}

/// What two devices may not have in common: universally administered addresses, serials, and the endorsement key of a TPM.
fn hardware(macs: &[Mac], serials: &[String], ek: Option<KeyId>) -> impl Iterator<Item = String> {
    let macs = macs.iter().filter(|mac| mac.is_universal()).map(|mac| format!("mac {mac}"));
    macs.chain(serials.iter().map(|serial| format!("serial {serial}"))).chain(ek.map(ek_fact))
}

fn ek_fact(ek: KeyId) -> String {
    format!("ek {ek}")
}

/// The endorsement key by which a device holds a certificate.
fn tpm(device: &Device) -> Option<KeyId> {
    let holds = device.state() != DeviceState::Decommissioned && device.credentials().next().is_some();
    device.attested.as_ref().filter(|_| holds).map(|held| held.ek)
}

fn cells(device: &Device) -> Vec<Cell> {
    vec![
        text(&device.id),
        integer(device.version),
        text(&device.identity_key.id()),
        text(&device.state()),
        text(&device.role),
        optional(device.group.as_ref()),
        text(&device.channel),
        optional(device.lobby.as_ref().map(|lobby| &lobby.source)),
        Cell::Bytes(kos_base::cbor::encode(device)),
    ]
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Device, StoreError> {
    sealer.read(&DEVICES, row)?.record(BODY)
}

pub(super) fn parsed<T: std::str::FromStr>(row: &SqliteRow, table: &'static str) -> Result<T, StoreError> {
    let value: String = row.try_get(0)?;
    value.parse().map_err(|_| StoreError::damaged(table, value))
}

pub(super) fn count(row: &SqliteRow, at: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<i64, _>(at)?).unwrap_or_default())
}
