//! Alerts, how far each guardian has been told, and how far the log was looked through.
//!
//! Shape: bodies are JSON of the types here. A delivery is a row for each alert and guardian; `done` is 1 once the guardian
//! has taken it, and 2 while it is set aside.
//!
//! Invariants: an alert is written once, with its entry and with what the rules remember after it (ALR-20). What becomes of
//! deliveries is no change of the fleet and has no entry.
//!
//! Source: `docs/spec/alerts.md` ALR-20 to ALR-27.

use kos_audit::alert::{Alert, AlertId, RuleName};
use kos_base::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Cells, Kind, Sealer, Table, integer, text},
};
use crate::alert::GuardianName;

const ALERTS: Table =
    Table { name: "alerts", columns: &[Kind::Text, Kind::Integer, Kind::Integer, Kind::Text] };
const DELIVERIES: Table = Table {
    name: "deliveries",
    columns: &[Kind::Text, Kind::Text, Kind::Integer, Kind::Integer, Kind::Text],
};
const STATE: Table = Table { name: "alert_state", columns: &[Kind::Text, Kind::Integer, Kind::Bytes] };

const READ_STATE: &str = "SELECT name, next, body, mac FROM alert_state WHERE name = $1";

/// The one row of `alert_state`.
const ENGINE: &str = "engine";

/// Most alerts that are kept once their guardians have them. It bounds the list, never the telling: a flood that nobody
/// acknowledges must not silence what comes after it (ALR-23).
const ALERTS_MAX: u64 = if cfg!(test) { 60 } else { 10_000 };
/// Most that are kept at all, where guardians are away.
const WAITING_MAX: u64 = 2 * ALERTS_MAX;
/// Most alerts of one rule that nobody has seen. A rule that is flooded must not push out those of the others.
const OPEN_OF_RULE_MAX: u64 = ALERTS_MAX / 10;

/// An alert and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAlert {
    /// Where its entry stands in the log.
    pub raised: u64,
    /// What was found.
    pub alert: Alert,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fate {
    /// How much more of the same happened while it was quiet.
    pub since: u64,
    /// When somebody said that they had seen it, and where that stands in the log.
    pub acknowledged: Option<(Timestamp, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    alert: Alert,
    fate: Fate,
}

/// What the rules remember, and the entry that comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// The index of that entry.
    pub next: u64,
    /// What they remember.
    pub bytes: Vec<u8>,
}

/// An alert on its way to a guardian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which alert.
    pub alert: AlertId,
    /// To whom.
    pub guardian: GuardianName,
    /// Where the entry of the alert stands in the log.
    pub raised: u64,
    /// How it went so far.
    pub course: Course,
}

/// How a delivery went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried first.
    pub since: Option<Timestamp>,
    /// When the guardian had it.
    pub delivered_at: Option<Timestamp>,
    /// Why the last try failed.
    pub trouble: Option<String>,
    /// Whether the log says that this guardian cannot be told for long.
    pub reported: bool,
    /// How often the guardian refused it for good.
    #[serde(default)]
    pub refusals: u32,
    /// Whether newer ones go before it.
    #[serde(default)]
    pub aside: bool,
}

/// Something about alerts that is no change of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertNote {
    /// How far the rules are, and how much more of the same there was.
    Seen(EngineState, Vec<(AlertId, u64)>),
    /// How a delivery goes.
    Delivery(Delivery),
    /// A guardian that left without taking everything in time.
    Late(GuardianName),
    /// An alert whose entry the log has at this place, and the store has not: it came back with a newer log.
    Known(Box<Alert>, u64),
}

impl Store {
    /// The alert with this id.
    pub async fn alert(&self, id: &AlertId) -> Result<Option<StoredAlert>, StoreError> {
        let sql = "SELECT id, raised, open, body, mac FROM alerts WHERE id = $1";
        let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// At most two alerts whose ids begin so; `beginning` is hex in small letters.
    pub async fn alerts_from(&self, beginning: &str) -> Result<Vec<StoredAlert>, StoreError> {
        // What follows `f` among letters of an id.
        let sql = "SELECT id, raised, open, body, mac FROM alerts WHERE id >= $1 AND id < $2 LIMIT 2";
        let beyond = format!("{beginning}g");
        let rows = sqlx::query(sql).bind(beginning).bind(beyond).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// At most `limit` alerts whose entries stand before `before`, newest first; only those that nobody has seen, if so
    /// asked.
    pub async fn alerts(
        &self,
        open: AlertChoice,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredAlert>, StoreError> {
        let sql = match open {
            AlertChoice::All => {
                "SELECT id, raised, open, body, mac FROM alerts WHERE raised < $1 ORDER BY raised DESC LIMIT $2"
            }
            AlertChoice::Open => {
                "SELECT id, raised, open, body, mac FROM alerts WHERE open = 1 AND raised < $1 ORDER BY raised DESC LIMIT $2"
            }
        };
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(before).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// At most `limit` alerts whose entries stand after `after`, in the order of the log; all of them when there is none.
    pub async fn alerts_after(&self, after: Option<u64>, limit: u32) -> Result<Vec<StoredAlert>, StoreError> {
        let sql = "SELECT id, raised, open, body, mac FROM alerts WHERE raised > $1 ORDER BY raised LIMIT $2";
        let after = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// How many alerts nobody has seen.
    pub async fn count_open_alerts(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM alerts WHERE open = 1").fetch_one(&self.reads).await?;
        super::devices::count(&row, 0)
    }

    /// What the rules remember.
    pub async fn engine_state(&self) -> Result<Option<EngineState>, StoreError> {
        let row = sqlx::query(READ_STATE).bind(ENGINE).fetch_optional(&self.reads).await?;
        let Some(row) = row else { return Ok(None) };
        let cells = self.sealer.read(&STATE, &row)?;
        Ok(Some(EngineState { next: cells.integer(1)?, bytes: cells.bytes(2)?.to_vec() }))
    }

    /// At most `limit` deliveries to this guardian that wait, oldest first.
    pub async fn waiting(&self, guardian: &GuardianName, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let sql = "SELECT alert, guardian, raised, done, body, mac FROM deliveries \
                   WHERE guardian = $1 AND done = 0 ORDER BY raised LIMIT $2";
        let query = sqlx::query(sql).bind(guardian.as_ref()).bind(i64::from(limit));
        query.fetch_all(&self.reads).await?.iter().map(|row| read_delivery(&self.sealer, row)).collect()
    }

    /// At most `limit` deliveries to this guardian that were set aside, oldest first.
    pub async fn set_aside(&self, guardian: &GuardianName, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let sql = "SELECT alert, guardian, raised, done, body, mac FROM deliveries \
                   WHERE guardian = $1 AND done = 2 ORDER BY raised LIMIT $2";
        let query = sqlx::query(sql).bind(guardian.as_ref()).bind(i64::from(limit));
        query.fetch_all(&self.reads).await?.iter().map(|row| read_delivery(&self.sealer, row)).collect()
    }

    /// The deliveries of this alert.
    pub async fn deliveries(&self, alert: &AlertId) -> Result<Vec<Delivery>, StoreError> {
        let sql = "SELECT alert, guardian, raised, done, body, mac FROM deliveries WHERE alert = $1 ORDER BY guardian";
        let rows = sqlx::query(sql).bind(alert.as_str()).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read_delivery(&self.sealer, row)).collect()
    }

    /// How many alerts this guardian has not taken, those that were set aside among them.
    pub async fn count_waiting(&self, guardian: &GuardianName) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM deliveries WHERE guardian = $1 AND done <> 1";
        let row = sqlx::query(sql).bind(guardian.as_ref()).fetch_one(&self.reads).await?;
        super::devices::count(&row, 0)
    }

    /// The last delivery to this guardian that came through.
    pub async fn last_delivered(&self, guardian: &GuardianName) -> Result<Option<Delivery>, StoreError> {
        let sql = "SELECT alert, guardian, raised, done, body, mac FROM deliveries \
                   WHERE guardian = $1 AND done = 1 ORDER BY raised DESC LIMIT 1";
        let row = sqlx::query(sql).bind(guardian.as_ref()).fetch_optional(&self.reads).await?;
        row.map(|row| read_delivery(&self.sealer, &row)).transpose()
    }

    /// The places of at most `limit` entries `alert_rules_changed` before `before`, newest first.
    pub async fn rule_changes(&self, before: u64, limit: u32) -> Result<Vec<u64>, StoreError> {
        let sql = "SELECT position FROM entries WHERE event = 'alert_rules_changed' AND position < $1 \
                   ORDER BY position DESC LIMIT $2";
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(before).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))).collect()
    }
}

/// Which alerts a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertChoice {
    /// All that are kept.
    All,
    /// Those that nobody has seen.
    Open,
}

impl WriteHalf {
    /// Writes an alert whose entry will stand at `raised`, and has every guardian told.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was raised before.
    pub(crate) async fn add_alert(&mut self, alert: &Alert, raised: u64) -> Result<(), StoreError> {
        self.make_room_for(&alert.rule).await?;
        let sql = "INSERT INTO alerts (id, raised, open, body, mac) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
        let cells = cells_of(&StoredAlert { raised, alert: alert.clone(), fate: Fate::default() })?;
        if self.sealer.write(&mut self.connection, sql, &ALERTS, cells).await? != 1 {
            return Err(StoreError::conflict(ALERTS.name, &alert.id));
        }
        for guardian in
            self.held_guardians().await?.into_iter().filter(|guardian| guardian.hears_of(alert.last))
        {
            let (alert, guardian) = (alert.id.clone(), guardian.name);
            self.put_delivery(&Delivery { alert, guardian, raised, course: Course::default() }).await?;
        }
        Ok(())
    }

    /// Makes room for another alert of this rule. Those go first that somebody has seen, then the least severe, then the
    /// oldest; while there are not too many by far, none that a guardian waits for.
    async fn make_room_for(&mut self, rule: &RuleName) -> Result<(), StoreError> {
        const DELIVERED: &str = "NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = id AND done = 0)";
        // As the body is written. The quotes of a text in it have a backslash before them.
        const FIRST_TO_GO: &str = "ORDER BY open, CASE WHEN body LIKE '%\"severity\":\"low\"%' THEN 0 \
             WHEN body LIKE '%\"severity\":\"medium\"%' THEN 1 WHEN body LIKE '%\"severity\":\"high\"%' THEN 2 \
             ELSE 3 END, raised LIMIT 1";
        const OF_RULE: &str = "open = 1 AND body LIKE $1";
        let of_rule = format!("%\"rule\":\"{rule}\"%");
        let sql = format!("SELECT count(*) FROM alerts WHERE {OF_RULE}");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&of_rule);
        let open = super::devices::count(&query.fetch_one(&mut self.connection).await?, 0)?;
        let all = sqlx::query("SELECT count(*) FROM alerts").fetch_one(&mut self.connection).await?;
        let all = super::devices::count(&all, 0)?;
        let which = match (all, open) {
            (WAITING_MAX.., _) => "raised < $1".to_owned(),
            (_, OPEN_OF_RULE_MAX..) => format!("{OF_RULE} AND {DELIVERED}"),
            (ALERTS_MAX.., _) => format!("raised < $1 AND {DELIVERED}"),
            _ => return Ok(()),
        };
        let sql = format!("SELECT id FROM alerts WHERE {which} {FIRST_TO_GO}");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql));
        let query = if which.starts_with(OF_RULE) { query.bind(&of_rule) } else { query.bind(i64::MAX) };
        let Some(row) = query.fetch_optional(&mut self.connection).await? else { return Ok(()) };
        let id: String = row.try_get(0)?;
        tracing::warn!(alert = id, "an alert makes room for another, and is in the log only");
        for sql in ["DELETE FROM alerts WHERE id = $1", "DELETE FROM deliveries WHERE alert = $1"] {
            sqlx::query(sql).bind(&id).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Notes that somebody has seen an alert; the entry will stand at `index`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody had.
    pub(crate) async fn acknowledge_alert(
        &mut self,
        id: &AlertId,
        at: Timestamp,
        index: u64,
    ) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(ALERTS.name, id);
        let mut stored = self.held_alert(id).await?.ok_or_else(conflict)?;
        if stored.fate.acknowledged.replace((at, index)).is_some() {
            return Err(conflict());
        }
        self.replace_alert(&stored).await
    }

    /// Notes what is no change of the fleet.
    pub(crate) async fn note_alerts(&mut self, note: &AlertNote) -> Result<(), StoreError> {
        match note {
            AlertNote::Delivery(delivery) => self.put_delivery(delivery).await,
            AlertNote::Late(guardian) => self.forget_deliveries(guardian).await,
            AlertNote::Known(alert, raised) => self.add_alert(alert, *raised).await,
            AlertNote::Seen(state, repeats) => {
                self.put_engine_state(state).await?;
                for (id, since) in repeats {
                    if let Some(mut stored) = self.held_alert(id).await? {
                        stored.fate.since = *since;
                        self.replace_alert(&stored).await?;
                    }
                }
                Ok(())
            }
        }
    }

    pub(crate) async fn put_engine_state(&mut self, state: &EngineState) -> Result<(), StoreError> {
        let sql = "INSERT INTO alert_state (name, next, body, mac) VALUES ($1, $2, $3, $4) ON CONFLICT (name) \
                   DO UPDATE SET next = excluded.next, body = excluded.body, mac = excluded.mac";
        let cells = vec![text(ENGINE), integer(state.next), Cell::Bytes(state.bytes.clone())];
        self.sealer.write(&mut self.connection, sql, &STATE, cells).await?;
        Ok(())
    }

    /// Whether the rules have looked at this entry, and what they found is written.
    pub(super) async fn has_passed(&mut self, entry: u64) -> Result<bool, StoreError> {
        let row = sqlx::query(READ_STATE).bind(ENGINE).fetch_optional(&mut self.connection).await?;
        let Some(row) = row else { return Ok(false) };
        match self.sealer.read(&STATE, &row) {
            Ok(cells) => Ok(cells.integer(1)? > entry),
            Err(StoreError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether an alert waits for this guardian.
    pub(super) async fn is_waiting(&mut self, guardian: &GuardianName) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM deliveries WHERE guardian = $1 AND done = 0";
        let row = sqlx::query(sql).bind(guardian.as_ref()).fetch_one(&mut self.connection).await?;
        Ok(super::devices::count(&row, 0)? > 0)
    }

    /// Forgets what waits for a guardian who is told no more.
    pub(crate) async fn forget_deliveries(&mut self, guardian: &GuardianName) -> Result<(), StoreError> {
        let sql = "DELETE FROM deliveries WHERE guardian = $1";
        sqlx::query(sql).bind(guardian.as_ref()).execute(&mut self.connection).await?;
        Ok(())
    }

    async fn put_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        // A note about a guardian who was removed meanwhile is about nothing.
        let sql = "INSERT INTO deliveries (alert, guardian, raised, done, body, mac) \
                   SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (SELECT 1 FROM guardians WHERE name = $2) \
                   ON CONFLICT (alert, guardian) DO UPDATE SET done = excluded.done, body = excluded.body, mac = excluded.mac";
        let cells = vec![
            text(&delivery.alert),
            text(&delivery.guardian),
            integer(delivery.raised),
            integer(match delivery.course {
                Course { delivered_at: Some(_), .. } => 1,
                Course { aside: true, .. } => 2,
                Course { .. } => 0,
            }),
            text(&json(&delivery.course)?),
        ];
        self.sealer.write(&mut self.connection, sql, &DELIVERIES, cells).await?;
        Ok(())
    }

    async fn held_alert(&mut self, id: &AlertId) -> Result<Option<StoredAlert>, StoreError> {
        let sql = "SELECT id, raised, open, body, mac FROM alerts WHERE id = $1";
        let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&mut self.connection).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    async fn replace_alert(&mut self, stored: &StoredAlert) -> Result<(), StoreError> {
        let sql = "UPDATE alerts SET raised = $2, open = $3, body = $4, mac = $5 WHERE id = $1";
        let cells = cells_of(stored)?;
        self.sealer.write(&mut self.connection, sql, &ALERTS, cells).await?;
        Ok(())
    }
}

fn cells_of(stored: &StoredAlert) -> Result<Vec<Cell>, StoreError> {
    let body = Body { alert: stored.alert.clone(), fate: stored.fate.clone() };
    let open = u64::from(stored.fate.acknowledged.is_none());
    Ok(vec![text(&stored.alert.id), integer(stored.raised), integer(open), text(&json(&body)?)])
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<StoredAlert, StoreError> {
    let cells = sealer.read(&ALERTS, row)?;
    let Body { alert, fate } = parse(&cells, 3)?;
    Ok(StoredAlert { raised: cells.integer(1)?, alert, fate })
}

fn read_delivery(sealer: &Sealer, row: &SqliteRow) -> Result<Delivery, StoreError> {
    let cells = sealer.read(&DELIVERIES, row)?;
    Ok(Delivery {
        alert: cells.parsed(0)?,
        guardian: cells.parsed(1)?,
        raised: cells.integer(2)?,
        course: parse(&cells, 4)?,
    })
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Failed(e.to_string()))
}

pub(super) fn parse<T: DeserializeOwned>(cells: &Cells, at: usize) -> Result<T, StoreError> {
    serde_json::from_str(cells.text(at)?).map_err(|_| cells.odd())
}
