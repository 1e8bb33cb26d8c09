//! The tables, their versions, and the look at the file before anything is read from it.
//!
//! A migration is SQL that leads from one version to the next. They are never edited once released, only added. The
//! text of the schema in the file must be the one that they make: a flipped bit in it changes what a query means.
//!
//! The dialect is what SQLite and PostgreSQL share: TEXT, BIGINT, bytes, `ON CONFLICT .. RETURNING`, `$1`.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::StoreError;

/// Migrations in order; the first leads from an empty file to version 1.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
];

/// The newest version that this program knows.
pub(super) const VERSION: i64 = 5;

/// Brings the file to the newest version, in one transaction.
///
/// # Errors
/// [`StoreError::Newer`] when a later program wrote it; nothing is changed then.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    debug_assert_eq!(i64::try_from(MIGRATIONS.len()), Ok(VERSION));
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let done = bring_up(connection).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(&mut *connection).await?;
    done
}

async fn bring_up(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let made: i64 = sqlx::query("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let found: i64 = match made {
        0 => 0,
        _ => sqlx::query("SELECT max(version) FROM schema_version")
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)
            .map_err(|_| StoreError::damaged("schema_version", "version"))?,
    };
    if found > VERSION {
        return Err(StoreError::Newer { found, known: VERSION });
    }
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        sqlx::raw_sql(*sql).execute(&mut *connection).await?;
        sqlx::query("DELETE FROM schema_version").execute(&mut *connection).await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Checks the structure of the whole file: every page, every index against its table, and the text of the schema.
///
/// # Errors
/// [`StoreError::Damaged`] with what was found first.
///
/// *Cost*: reads every page once; about 0.1 s for 100 MB in the cache.
pub(super) async fn inspect(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // `quick_check` does not compare indexes with their tables, and a damaged index hides a row without a word.
    let verdict = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await?;
    let verdict: String = verdict.try_get(0)?;
    if verdict != "ok" {
        return Err(StoreError::damaged("file", verdict));
    }
    let found = schema_text(connection).await?;
    let mut fresh = SqliteConnectOptions::new().in_memory(true).connect().await?;
    migrate(&mut fresh).await?;
    let wanted = schema_text(&mut fresh).await?;
    fresh.close().await?;
    if found != wanted {
        return Err(StoreError::damaged("sqlite_schema", "the text of the schema"));
    }
    Ok(())
}

async fn schema_text(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0).map_err(|_| StoreError::damaged("sqlite_schema", ""))).collect()
}

/// Marks the file as ours, so that `file` and other tools can name it.
pub(super) const APPLICATION_ID: i64 = 0x6b4f_5331;

/// What every connection sets.
pub(super) fn pragmas(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options.foreign_keys(true).pragma("trusted_schema", "OFF").pragma("cell_size_check", "ON")
}
