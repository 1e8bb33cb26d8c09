//! Answers to requests that came with an `Idempotency-Key`, so that a repeated request gets the same answer and is not
//! done twice. Written in the transaction of the change itself.

use kos_base::{Timestamp, digest::Sha256};

use super::{
    Store, StoreError, WriteHalf,
    row::{Cell, Kind, Table, hex, integer, text},
};

const ANSWERS: Table =
    Table { name: "answers", columns: &[Kind::Text, Kind::Integer, Kind::Bytes, Kind::Integer, Kind::Bytes] };

/// A SHA-256.
pub type Digest = Sha256;

/// An answer that may be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Digest of the caller and their key.
    pub request: Digest,
    /// When it was given.
    pub at: Timestamp,
    /// Digest of method, path and body: the same key with another request is a mistake.
    pub digest: Digest,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// How long an answer can be asked for again.
    pub const KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
}

impl Store {
    /// The answer that was given to this request.
    pub async fn answer(&self, request: &Digest) -> Result<Option<Answer>, StoreError> {
        let sql = "SELECT request, at, digest, status, body, mac FROM answers WHERE request = $1";
        let row = sqlx::query(sql).bind(hex(request)).fetch_optional(&self.reads).await?;
        let Some(row) = row else { return Ok(None) };
        let cells = self.sealer.read(&ANSWERS, &row)?;
        Ok(Some(Answer {
            request: *request,
            at: Timestamp::from_unix_ms(cells.integer(1)?),
            digest: cells.bytes(2)?.try_into().map_err(|_| cells.odd())?,
            status: u16::try_from(cells.integer(3)?).map_err(|_| cells.odd())?,
            body: cells.bytes(4)?.to_vec(),
        }))
    }
}

impl WriteHalf {
    /// Puts an answer in the place of the one that is kept for the same request, if one is.
    pub(crate) async fn replace_answer(&mut self, answer: &Answer) -> Result<(), StoreError> {
        let sql =
            "UPDATE answers SET at = $2, digest = $3, status = $4, body = $5, mac = $6 WHERE request = $1";
        self.sealer.write(&mut self.connection, sql, &ANSWERS, cells(answer)).await?;
        Ok(())
    }

    /// Keeps an answer and forgets those that are too old to be asked for.
    pub(crate) async fn put_answer(&mut self, answer: &Answer) -> Result<(), StoreError> {
        let oldest = i64::try_from(answer.at.minus(Answer::KEPT).unix_ms()).unwrap_or_default();
        sqlx::query("DELETE FROM answers WHERE at < $1").bind(oldest).execute(&mut self.connection).await?;
        let sql = "INSERT INTO answers (request, at, digest, status, body, mac) VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT DO NOTHING";
        match self.sealer.write(&mut self.connection, sql, &ANSWERS, cells(answer)).await? {
            1 => Ok(()),
            _ => Err(StoreError::conflict(ANSWERS.name, &hex(&answer.request))),
        }
    }
}

fn cells(answer: &Answer) -> Vec<Cell> {
    vec![
        text(&hex(&answer.request)),
        integer(answer.at.unix_ms()),
        Cell::Bytes(answer.digest.to_vec()),
        integer(u64::from(answer.status)),
        Cell::Bytes(answer.body.clone()),
    ]
}
