//! Keys under which the log seals what it says about people. Erasing a key makes its values unreadable for ever.

use kos_base::Secret;
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, text},
};

/// The statements for one table.
macro_rules! anew {
    ($table:literal) => {
        [
            concat!("DROP TABLE IF EXISTS temp.aside_", $table),
            concat!("CREATE TEMP TABLE aside_", $table, " AS SELECT * FROM main.", $table),
            concat!("DELETE FROM main.", $table),
            concat!("INSERT INTO main.", $table, " SELECT * FROM temp.aside_", $table),
        ]
    };
}

const SUBJECTS: Table = Table { name: "subjects", columns: &[Kind::Text, Kind::Text, Kind::Bytes] };

/// How the tables are written anew that name people.
const NAMING: [[&str; 4]; 4] =
    [anew!("operators"), anew!("revocations"), anew!("guardians"), anew!("vaults")];

/// Somebody about whom the log speaks, and the key that seals it.
#[derive(Debug)]
pub struct Subject {
    /// The id under which the log speaks of them: a hash of the key.
    pub id: String,
    /// Who it is, such as `operator anna`.
    pub person: String,
    /// The key.
    pub secret: Secret<32>,
}

impl Store {
    /// Whose values carry this id; nothing when the key was erased.
    pub async fn subject(&self, id: &str) -> Result<Option<Subject>, StoreError> {
        let sql = "SELECT subject, person, secret, mac FROM subjects WHERE subject = $1";
        let row = sqlx::query(sql).bind(id).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// The key of this person, if the log ever spoke of them.
    pub async fn subject_of(&self, person: &str) -> Result<Option<Subject>, StoreError> {
        let sql = "SELECT subject, person, secret, mac FROM subjects WHERE person = $1";
        let row = sqlx::query(sql).bind(person).fetch_optional(&self.reads).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }
}

impl WriteHalf {
    pub(crate) async fn subject_of(&mut self, person: &str) -> Result<Option<Subject>, StoreError> {
        let sql = "SELECT subject, person, secret, mac FROM subjects WHERE person = $1";
        let row = sqlx::query(sql).bind(person).fetch_optional(&mut self.connection).await?;
        row.map(|row| read(&self.sealer, &row)).transpose()
    }

    /// Destroys the key of a subject, and where it stood. SQLite wipes what it deletes, but pages that were split or joined
    /// may hold copies of rows in the room between; so the whole table is written anew, and the pages that it had are
    /// wiped as wholes.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is none.
    ///
    /// *Cost*: writes every other subject again.
    pub(crate) async fn erase_subject(&mut self, id: &str) -> Result<(), StoreError> {
        let held = sqlx::query("SELECT count(*) FROM subjects WHERE subject = $1").bind(id);
        let held: i64 = held.fetch_one(&mut self.connection).await?.try_get(0)?;
        if held == 0 {
            return Err(StoreError::conflict(SUBJECTS.name, id));
        }
        self.execute("DROP TABLE IF EXISTS temp.others").await?;
        self.execute("CREATE TEMP TABLE others AS SELECT subject, person, secret, mac FROM main.subjects")
            .await?;
        sqlx::query("DELETE FROM temp.others WHERE subject = $1")
            .bind(id)
            .execute(&mut self.connection)
            .await?;
        self.execute("DELETE FROM main.subjects").await?;
        self.execute(
            "INSERT INTO main.subjects (subject, person, secret, mac) \
             SELECT subject, person, secret, mac FROM temp.others",
        )
        .await?;
        self.execute("DROP TABLE temp.others").await
    }

    /// Writes the tables anew in which names of people stand, for the same reason: a name that was taken out of a row may
    /// stand in the room between rows.
    ///
    /// *Cost*: writes every row of them again.
    pub(crate) async fn write_anew(&mut self) -> Result<(), StoreError> {
        for [forget, put_aside, delete, bring_back] in NAMING {
            self.execute(forget).await?;
            self.execute(put_aside).await?;
            self.execute(delete).await?;
            self.execute(bring_back).await?;
            self.execute(forget).await?;
        }
        Ok(())
    }

    pub(crate) async fn add_subject(&mut self, subject: &Subject) -> Result<(), StoreError> {
        let sql = "INSERT INTO subjects (subject, person, secret, mac) VALUES ($1, $2, $3, $4)";
        let secret = Cell::Bytes(subject.secret.expose().to_vec());
        let cells = vec![text(&subject.id), text(&subject.person), secret];
        self.sealer.write(&mut self.connection, sql, &SUBJECTS, cells).await?;
        Ok(())
    }
}

fn read(sealer: &Sealer, row: &SqliteRow) -> Result<Subject, StoreError> {
    let cells = sealer.read(&SUBJECTS, row)?;
    let secret = cells.bytes(2)?.try_into().map(Secret::new).map_err(|_| cells.odd())?;
    Ok(Subject { id: cells.text(0)?.to_owned(), person: cells.text(1)?.to_owned(), secret })
}
