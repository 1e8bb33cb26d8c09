//! Keys under which the log seals what it says about people. Erasing a key makes its values unreadable for ever.

use kos_base::Secret;
use sqlx::sqlite::SqliteRow;

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Sealer, Table, text},
};

const SUBJECTS: Table = Table { name: "subjects", columns: &[Kind::Text, Kind::Text, Kind::Bytes] };

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
