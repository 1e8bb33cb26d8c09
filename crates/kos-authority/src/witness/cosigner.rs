//! The witness that this authority is for logs of others: `/witness/add-checkpoint` of tlog-witness, and the newest
//! checkpoint of each log, over plain http for everybody, since a checkpoint says by its signature whose it is.
//!
//! Invariants: it cosigns nothing until an operator has named a log with its key. One request at a time; the record is on
//! the disk before the key signs, as the outputs of the machine have it.
//!
//! Errors: [`CosignerError`]: it does not cosign then, and says so to `doctor`.
//!
//! Source: C2SP tlog-witness; AUD-90 to AUD-97, AUD-103.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Extension, Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use kos_audit::{
    AnyLogKey, Conflict, Witness, WitnessKey,
    witness::{Answer, Judgement, Output, REQUEST_BYTES_MAX},
};
use kos_base::{AuthorityName, Code, Timestamp, code, key::SignatureForm, text::reason};
use kos_net::keys::SigningKey;
use kos_vault::Head;
use tokio::time::Instant;

use super::{
    evidence::{self, Kept},
    memory::{Memory, name_of},
    pace::Pace,
};
use crate::{
    authority::Shared,
    clock,
    keys::{Keep, KeysError},
    record::SystemChange,
    store::WitnessedLog,
    writer::Transaction,
};

/// The witness. Without logs it has no key either.
#[derive(Debug)]
pub(crate) struct Cosigner {
    memory: Memory,
    name: AuthorityName,
    pace: Pace,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    witness: Witness,
    key: Arc<SigningKey>,
    /// Logs whose record cannot be read, and why.
    unsound: Vec<(String, String)>,
}

/// Why there is no witness here, or not for a log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CosignerError {
    /// Its key cannot be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What it remembers cannot be read or written.
    #[error("what the witness remembers: {}", reason(.0))]
    Memory(#[from] io::Error),
    /// Its name or key cannot be used.
    #[error("the key of the witness: {0}")]
    Key(String),
}

impl CosignerError {
    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Keys(error) => error.code(),
            Self::Memory(error) if error.kind() == io::ErrorKind::InvalidData => code::audit::WITNESS_MEMORY,
            Self::Memory(_) => code::config::FILE_UNREADABLE,
            Self::Key(_) => code::config::INTERNAL,
        }
    }
}

impl Cosigner {
    /// The witness whose memory is in `folder`, with no log yet.
    pub(crate) fn new(folder: std::path::PathBuf, name: AuthorityName) -> Self {
        Self { memory: Memory::in_folder(folder), name, pace: Pace::default(), open: Mutex::new(None) }
    }

    /// Takes its key out of the vault, or makes one where it has no memory. Blocks. The head of the vault, when a key was
    /// made.
    ///
    /// # Errors
    /// When the vault does not open or the disk fails.
    pub(crate) fn open(&self, keep: &Keep, now: Timestamp) -> Result<Option<Head>, CosignerError> {
        let mut open = self.lock();
        if open.is_some() {
            return Ok(None);
        }
        let owner = self.memory.owner()?;
        let held = match &owner {
            Some(_) => keep.witness_key(now)?,
            None => None,
        };
        let key_of = |key: &SigningKey| {
            let name = format!("{}/witness", self.name);
            WitnessKey::new(&name, key.public().clone()).map_err(|e| CosignerError::Key(e.to_string()))
        };
        if let (Some(owner), Some(key)) = (owner, held)
            && key_of(&key)? == owner
        {
            *open = Some(Open { witness: Witness::new(owner), key, unsound: Vec::new() });
            return Ok(None);
        }
        // Who has lost its memory is another witness.
        let (key, head) = keep.make_witness_key(now)?;
        let own = key_of(&key)?;
        self.memory.begin(&own)?;
        *open = Some(Open { witness: Witness::new(own), key, unsound: Vec::new() });
        Ok(Some(head))
    }

    /// Cosigns this log from now on. The witness is open.
    ///
    /// # Errors
    /// When what it remembers of the log cannot be read, or is of another key.
    pub(crate) fn watch(&self, key: &AnyLogKey) -> Result<(), CosignerError> {
        let mut open = self.lock();
        let Some(open) = open.as_mut() else { return Err(CosignerError::Key("not open".to_owned())) };
        let watched = self.memory.recall(key.origin()).and_then(|held| {
            open.witness.watch(key.clone(), held).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        });
        open.unsound.retain(|(origin, _)| origin != key.origin());
        if let Err(error) = &watched {
            open.unsound.push((key.origin().to_owned(), reason(error).to_string()));
        }
        Ok(watched?)
    }

    /// Opens the witness at the start, for the logs that it has.
    pub(crate) fn resume(&self, keep: &Keep, logs: &[WitnessedLog], now: Timestamp) {
        if logs.is_empty() {
            return;
        }
        if let Err(error) = self.open(keep, now) {
            tracing::error!(code = %error.code(), %error, "no log of others is cosigned");
            return;
        }
        for log in logs {
            if let Err(error) = self.watch(&log.key) {
                tracing::error!(origin = log.key.origin(), code = %error.code(), %error, "a log is not cosigned");
            }
        }
    }

    /// Cosigns this log no more.
    pub(crate) fn unwatch(&self, origin: &str) {
        if let Some(open) = self.lock().as_mut() {
            open.witness.unwatch(origin);
            open.unsound.retain(|(unsound, _)| unsound != origin);
        }
    }

    /// The key by which its cosignatures are known; nothing until it has a log.
    pub(crate) fn key(&self) -> Option<WitnessKey> {
        self.lock().as_ref().map(|open| open.witness.key().clone())
    }

    /// Size and time of the newest checkpoint of a log that it cosigned.
    pub(crate) fn held(&self, origin: &str) -> Option<(u64, Timestamp)> {
        self.lock().as_ref()?.witness.held(origin).map(|held| (held.head().size, held.at()))
    }

    /// What is wrong with it, and how many proofs of equivocation it keeps.
    pub(crate) fn trouble(&self, logs: usize) -> (Vec<String>, usize) {
        let open = self.lock();
        let trouble = match open.as_ref() {
            Some(open) => open
                .unsound
                .iter()
                .map(|(origin, why)| format!("`{origin}` is not cosigned: {why}"))
                .collect(),
            None if logs > 0 => vec!["no log is cosigned: the witness has no key".to_owned()],
            None => Vec::new(),
        };
        (trouble, evidence::count(self.memory.folder()))
    }

    /// Answers a request, and keeps what it shows about the log. Blocks for a write to the disk.
    fn answer(&self, now: Timestamp, body: &[u8]) -> (Answer, Vec<(Conflict, Kept)>) {
        let mut open = self.lock();
        let Some(open) = open.as_mut() else { return (Answer::UnknownLog, Vec::new()) };
        let (mut answer, mut kept) = (Answer::Unavailable, Vec::new());
        open.witness.handle_request(now, body);
        while let Some(output) = open.witness.poll_output() {
            match output {
                Output::Persist(record) => {
                    if let Err(error) = self.memory.keep(&record) {
                        tracing::error!(origin = record.origin(), %error, "a record of the witness cannot be kept");
                        open.witness.handle_failure();
                    }
                }
                Output::Keep(conflict) => match evidence::keep(self.memory.folder(), &conflict) {
                    Ok(found) => kept.push((conflict, found)),
                    Err(error) => tracing::error!(%error, %conflict, "evidence cannot be kept"),
                },
                Output::Sign(message) => {
                    let signed = open.key.sign(SignatureForm::Fixed, message.as_bytes());
                    match signed.ok().and_then(|signature| signature.try_into().ok()) {
                        Some(signature) => open.witness.handle_signature(signature),
                        None => open.witness.handle_failure(),
                    }
                }
                Output::Send(given) => answer = given,
            }
        }
        (answer, kept)
    }

    /// The newest checkpoint of the log with this origin hash, cosigned.
    fn newest(&self, hash: &str, logs: &[WitnessedLog]) -> Option<String> {
        let origin = logs.iter().map(|log| log.key.origin()).find(|origin| name_of(origin) == hash)?;
        let open = self.lock();
        let open = open.as_ref()?;
        let statement = open.witness.statement(origin)?;
        let signature = open.key.sign(SignatureForm::Fixed, statement.to_be_signed().as_bytes()).ok()?;
        Some(statement.finish(signature.try_into().ok()?))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source(pub(crate) IpAddr);

/// The paths of the witness.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/witness/add-checkpoint", post(add_checkpoint))
        .route("/witness/{hash}/checkpoint", get(newest))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(shared)
}

async fn add_checkpoint(
    State(shared): State<Arc<Shared>>,
    Extension(Source(source)): Extension<Source>,
    body: Bytes,
) -> Response {
    if !shared.cosigner.pace.admits(source, Instant::now()) {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let (shares, now) = (Arc::clone(&shared), clock::now());
    let answering = tokio::task::spawn_blocking(move || shares.cosigner.answer(now, &body)).await;
    let (answer, kept) = answering.unwrap_or((Answer::Unavailable, Vec::new()));
    for (conflict, kept) in kept {
        let Kept::New(evidence) = kept else { continue };
        let (origin, size) = (conflict.key().origin().to_owned(), conflict.heads().map(|head| head.size));
        if conflict.judge() != Judgement::Equivocation {
            tracing::warn!(origin, ?size, evidence, "a checkpoint came with a proof that does not hold");
            continue;
        }
        tracing::error!(origin, ?size, evidence, "a log signed two trees that contradict each other");
        let size = size.first().copied().unwrap_or_default();
        let change = SystemChange::EquivocationFound { origin, size, evidence };
        let recorded = shared.writer.commit(Transaction::own(now, vec![change.into()], Vec::new())).await;
        if let Err(error) = recorded {
            // The evidence is kept all the same.
            tracing::error!(%error, "an equivocation is not in the log");
        }
    }
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, [(header::CONTENT_TYPE, answer.content_type())], answer.body()).into_response()
}

async fn newest(
    State(shared): State<Arc<Shared>>,
    Extension(Source(source)): Extension<Source>,
    Path(hash): Path<String>,
) -> Response {
    if !shared.cosigner.pace.admits(source, Instant::now()) {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let Ok(logs) = shared.store.witnessed_logs().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match shared.cosigner.newest(&hash, &logs) {
        Some(note) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
