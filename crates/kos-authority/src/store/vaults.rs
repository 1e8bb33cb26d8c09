//! What is known of each vault outside of its file, so that an old file is found (KVS-4).

use kos_api::vault::VaultSharing;
use kos_base::Timestamp;
use kos_vault::{Environment, Head};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, integer, optional, text},
};

const VAULTS: Table = Table {
    name: "vaults",
    columns: &[Kind::Text, Kind::Text, Kind::Integer, Kind::Bytes, Kind::Integer, Kind::OptionalText],
};

const CODE_MARKS: Table = Table { name: "vault_codes", columns: &[Kind::Text, Kind::Integer, Kind::Integer] };

/// That a vault asks for one-time codes, and the last that counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeMark {
    /// Which vault.
    pub environment: Environment,
    /// Since when it asks.
    pub added_at: Timestamp,
    /// The step of time of the last code; no code of it or of an earlier one counts.
    pub step: u64,
}

/// Which file of a vault is the newest, and who holds its shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Which keyring it is.
    pub environment: Environment,
    /// The file that counts.
    pub head: Head,
    /// When that file was written.
    pub modified_at: Timestamp,
    /// Its shares, if it has any.
    pub sharing: Option<Sharing>,
}

/// What is known of the shares of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// Names the sharing; the next one has another.
    pub identifier: [u8; 2],
    /// What anybody may know.
    pub public: VaultSharing,
}

impl Store {
    /// The anchor of this environment's vault.
    pub async fn anchor(&self, environment: &Environment) -> Result<Option<Anchor>, StoreError> {
        let sql = "SELECT environment, vault, generation, root, modified_at, sharing, mac FROM vaults \
                   WHERE environment = $1";
        let row = sqlx::query(sql).bind(environment.as_str()).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// What is known of the one-time codes of this environment's vault.
    pub async fn code_mark(&self, environment: &Environment) -> Result<Option<CodeMark>, StoreError> {
        let sql = "SELECT environment, added_at, step, mac FROM vault_codes WHERE environment = $1";
        let row = sqlx::query(sql).bind(environment.as_str()).fetch_optional(&self.reads).await?;
        let Some(row) = row else { return Ok(None) };
        let cells = self.sealer.read(&CODE_MARKS, &row)?;
        Ok(Some(CodeMark {
            environment: cells.parsed(0)?,
            added_at: Timestamp::from_unix_ms(cells.integer(1)?),
            step: cells.integer(2)?,
        }))
    }

    /// At most `limit` anchors, by environment.
    pub async fn anchors(&self, limit: u32) -> Result<Vec<Anchor>, StoreError> {
        let sql = "SELECT environment, vault, generation, root, modified_at, sharing, mac FROM vaults \
                   ORDER BY environment LIMIT $1";
        let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&self.reads).await?;
        rows.iter().map(|row| read(&self.sealer, row)).collect()
    }
}

impl WriteHalf {
    /// Keeps which code counted last.
    pub(crate) async fn put_code_mark(&mut self, mark: &CodeMark) -> Result<(), StoreError> {
        let sql = "INSERT INTO vault_codes (environment, added_at, step, mac) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (environment) DO UPDATE SET added_at = excluded.added_at, step = excluded.step, \
                   mac = excluded.mac";
        let cells = vec![text(&mark.environment), integer(mark.added_at.unix_ms()), integer(mark.step)];
        self.sealer.write(&mut self.connection, sql, &CODE_MARKS, cells).await?;
        Ok(())
    }

    /// Forgets the codes of a vault that asks for none any more.
    pub(crate) async fn remove_code_mark(&mut self, environment: &Environment) -> Result<(), StoreError> {
        let sql = "DELETE FROM vault_codes WHERE environment = $1";
        sqlx::query(sql).bind(environment.as_str()).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Keeps an anchor, if the one that is there has this head.
    pub(crate) async fn put_anchor(
        &mut self,
        anchor: &Anchor,
        instead_of: Option<&Head>,
    ) -> Result<(), StoreError> {
        let conflict = || StoreError::conflict(VAULTS.name, &anchor.environment);
        let sharing = anchor.sharing.as_ref().map(serde_json::to_string).transpose();
        let sharing = sharing.map_err(|e| StoreError::Failed(e.to_string()))?;
        let cells = vec![
            text(&anchor.environment),
            text(&anchor.head.vault),
            integer(anchor.head.generation),
            Cell::Bytes(anchor.head.root.to_vec()),
            integer(anchor.modified_at.unix_ms()),
            optional(sharing),
        ];
        let Some(before) = instead_of else {
            let sql = "INSERT INTO vaults (environment, vault, generation, root, modified_at, sharing, mac) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
            let written = self.sealer.write(&mut self.connection, sql, &VAULTS, cells).await?;
            return if written == 1 { Ok(()) } else { Err(conflict()) };
        };
        let sql = "SELECT environment, vault, generation, root, modified_at, sharing, mac FROM vaults \
                   WHERE environment = $1";
        let query = sqlx::query(sql).bind(anchor.environment.as_str());
        let row = query.fetch_optional(&mut self.connection).await?.ok_or_else(conflict)?;
        if read(&self.sealer, &row)?.head != *before {
            return Err(conflict());
        }
        let sql = "UPDATE vaults SET vault = $2, generation = $3, root = $4, modified_at = $5, sharing = $6, mac = $7 \
                   WHERE environment = $1";
        self.sealer.write(&mut self.connection, sql, &VAULTS, cells).await?;
        Ok(())
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Anchor, StoreError> {
    let cells = sealer.read(&VAULTS, row)?;
    let sharing = cells.text(5).ok().map(serde_json::from_str).transpose().map_err(|_| cells.odd())?;
    Ok(Anchor {
        environment: cells.parsed(0)?,
        head: Head {
            vault: cells.parsed(1)?,
            generation: cells.integer(2)?,
            root: cells.bytes(3)?.try_into().map_err(|_| cells.odd())?,
        },
        modified_at: Timestamp::from_unix_ms(cells.integer(4)?),
        sharing,
    })
}
