//! Manifests: every version that was ever put in force. The highest version of each name is in force.

use kos_base::Timestamp;
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    Setting, Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, text},
};

const MANIFESTS: Table = Table {
    name: "manifests",
    columns: &[Kind::Text, Kind::Integer, Kind::Integer, Kind::Integer, Kind::Integer, Kind::Text],
};
const TEXTS: Table = Table { name: "manifest_texts", columns: &[Kind::Text, Kind::Bytes] };

/// A version of a manifest, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its name.
    pub name: String,
    /// Its version, which its author gave it.
    pub version: u64,
    /// Its number among everything that was applied.
    pub counter: u64,
    /// When it was.
    pub applied_at: Timestamp,
    /// How many policies it has.
    pub policies: u64,
    /// What names its signed text, in hexadecimal.
    pub digest: String,
}

/// Which versions a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestChoice<'a> {
    /// Those in force: the highest of each name.
    InForce,
    /// All of this name.
    Named(&'a str),
}

impl Store {
    /// At most `limit` versions, by name and version, the highest first.
    pub async fn manifests(
        &self,
        choice: ManifestChoice<'_>,
        limit: u32,
    ) -> Result<Vec<StoredManifest>, StoreError> {
        let query = match choice {
            ManifestChoice::InForce => sqlx::query(
                "SELECT name, version, counter, applied_at, policies, digest, mac FROM manifests AS one \
                 WHERE version = (SELECT max(version) FROM manifests AS other WHERE other.name = one.name) \
                 ORDER BY name LIMIT $1",
            ),
            ManifestChoice::Named(name) => sqlx::query(
                "SELECT name, version, counter, applied_at, policies, digest, mac FROM manifests \
                 WHERE name = $2 ORDER BY version DESC LIMIT $1",
            )
            .bind(i64::from(limit))
            .bind(name.to_owned()),
        };
        let query = if choice == ManifestChoice::InForce { query.bind(i64::from(limit)) } else { query };
        let rows = query.fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }

    /// The highest number that was given, to what is kept or to what is in force since a restore (RST-9); 0 when nothing was
    /// ever applied.
    pub async fn manifest_counter(&self) -> Result<u64, StoreError> {
        let floor = self.setting(Setting::ManifestFloor).await?;
        let floor = floor.map(|floor| floor.parse::<u64>()).transpose();
        let floor = floor.map_err(|_| StoreError::damaged("settings", "manifest_floor"))?;
        let row = sqlx::query("SELECT max(counter) FROM manifests").fetch_one(&self.reads).await?;
        let found: Option<i64> = row.try_get(0)?;
        let given = found.and_then(|counter| u64::try_from(counter).ok());
        Ok(given.max(floor).unwrap_or_default())
    }

    /// A signed text.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] also when it is not there.
    pub async fn manifest_text(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        let sql = "SELECT digest, signed, mac FROM manifest_texts WHERE digest = $1";
        let row = sqlx::query(sql).bind(digest.to_owned()).fetch_optional(&self.reads).await?;
        let row = row.ok_or_else(|| StoreError::damaged(TEXTS.name, digest))?;
        Ok(self.sealer.read(&TEXTS, &row)?.bytes(1)?.to_vec())
    }
}

impl WriteHalf {
    /// Adds a version with its signed text.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is this version or a higher one, or its number does not rise.
    pub(crate) async fn add_manifest(
        &mut self,
        manifest: &StoredManifest,
        signed: &[u8],
    ) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(MANIFESTS.name, &manifest.name);
        let sql = "SELECT max(CASE WHEN name = $1 THEN version END), max(counter) FROM manifests";
        let held = sqlx::query(sql).bind(manifest.name.clone()).fetch_one(&mut self.connection).await?;
        let is_below = |held: Option<i64>, new: u64| {
            held.is_none_or(|held| i64::try_from(new).is_ok_and(|new| held < new))
        };
        if !is_below(held.try_get(0)?, manifest.version) || !is_below(held.try_get(1)?, manifest.counter) {
            return Err(conflict());
        }
        let sql = "INSERT INTO manifests (name, version, counter, applied_at, policies, digest, mac) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        let cells = vec![
            text(&manifest.name),
            integer(manifest.version),
            integer(manifest.counter),
            integer(manifest.applied_at.unix_ms()),
            integer(manifest.policies),
            text(&manifest.digest),
        ];
        if self.sealer.write(&mut self.connection, sql, &MANIFESTS, cells).await? != 1 {
            return Err(conflict());
        }
        let sql =
            "INSERT INTO manifest_texts (digest, signed, mac) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let cells = vec![text(&manifest.digest), Cell::Bytes(signed.to_vec())];
        match self.sealer.write(&mut self.connection, sql, &TEXTS, cells).await? {
            1 => Ok(()),
            _ => Err(conflict()),
        }
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<StoredManifest, StoreError> {
    let cells = sealer.read(&MANIFESTS, row)?;
    Ok(StoredManifest {
        name: cells.text(0)?.to_owned(),
        version: cells.integer(1)?,
        counter: cells.integer(2)?,
        applied_at: Timestamp::from_unix_ms(cells.integer(3)?),
        policies: cells.integer(4)?,
        digest: cells.text(5)?.to_owned(),
    })
}
