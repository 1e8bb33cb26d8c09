//! The witness that this authority is for logs of others: `/witness/add-checkpoint` of tlog-witness, and the newest
//! checkpoint of each log, over plain http for everybody, since a checkpoint says by its signature whose it is.
//!
//! Invariants: it cosigns nothing until an operator has named a log with its key. One request at a time; the record is on
//! the disk before the key signs, as the outputs of the machine have it. The machine is locked while the disk is written,
//! by threads that may block alone; what others look at is [`View`], which shows what is durable.
//!
//! Errors: [`CosignerError`]: it does not cosign then, and says so to `doctor`.
//!
//! Source: C2SP tlog-witness; AUD-90 to AUD-97, AUD-103.

use std::{
    collections::BTreeMap,
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
    witness::{Answer, Judgement, Output, REQUEST_BYTES_MAX, Statement},
};
use kos_base::{AuthorityName, Code, Timestamp, code, key::SignatureForm, text::reason};
use kos_net::keys::SigningKey;
use kos_vault::Head;
use tokio::{sync::Semaphore, time::Instant};

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
    view: Mutex<View>,
    /// Requests that wait for the disk.
    waiting: Arc<Semaphore>,
}

#[derive(Debug)]
struct Open {
    witness: Witness,
    key: Arc<SigningKey>,
}

/// What can be seen of the witness without waiting for the disk.
#[derive(Debug, Default)]
struct View {
    /// Its key, once it has one.
    key: Option<(WitnessKey, Arc<SigningKey>)>,
    /// By origin.
    logs: BTreeMap<String, Shown>,
    /// Logs whose record cannot be read, and why.
    unsound: Vec<(String, String)>,
}

/// The newest durable statement about a log.
#[derive(Clone, Debug)]
struct Shown {
    statement: Statement,
    size: u64,
    at: Timestamp,
    /// Once it was signed.
    signature: Option<[u8; 64]>,
}

/// Most requests that wait for the disk. Stops strangers from taking all threads that may block.
const WAITING_MAX: usize = 16;

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
            Self::Memory(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) =>
            {
                code::audit::WITNESS_MEMORY
            }
            Self::Memory(_) => code::config::FILE_UNREADABLE,
            Self::Key(_) => code::config::INTERNAL,
        }
    }
}

impl Cosigner {
    /// The witness whose memory is in `folder`, with no log yet.
    pub(crate) fn new(folder: std::path::PathBuf, name: AuthorityName) -> Self {
        Self {
            memory: Memory::in_folder(folder),
            name,
            pace: Pace::default(),
            open: Mutex::new(None),
            view: Mutex::default(),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
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
        if let (Some(owner), Some(key)) = (owner, held)
            && self.named(&key)? == owner
        {
            *open = Some(self.opened(owner, key));
            return Ok(None);
        }
        // Who has lost its memory is another witness.
        self.begin(&mut open, keep, now).map(Some)
    }

    /// Begins as another witness, which has a key of its own and remembers nothing.
    fn begin(&self, open: &mut Option<Open>, keep: &Keep, now: Timestamp) -> Result<Head, CosignerError> {
        let (key, head) = keep.make_witness_key(now)?;
        let own = self.named(&key)?;
        self.memory.begin(&own)?;
        *open = Some(self.opened(own, key));
        Ok(head)
    }

    /// The witness with this key, of no log yet.
    fn opened(&self, own: WitnessKey, key: Arc<SigningKey>) -> Open {
        let mut view = self.view();
        view.key = Some((own.clone(), Arc::clone(&key)));
        view.logs.clear();
        Open { witness: Witness::new(own), key }
    }

    /// A key under the name of this witness.
    fn named(&self, key: &SigningKey) -> Result<WitnessKey, CosignerError> {
        let name = format!("{}/witness", self.name);
        WitnessKey::new(&name, key.public().clone()).map_err(|e| CosignerError::Key(e.to_string()))
    }

    /// Opens the witness for a log that is added: with a new key when something was signed of it that is not remembered
    /// any more. The others of `logs` are cosigned with the new key then. Blocks.
    ///
    /// # Errors
    /// When the vault does not open or the disk fails.
    pub(crate) fn open_for(
        &self,
        origin: &str,
        logs: &[WitnessedLog],
        keep: &Keep,
        now: Timestamp,
    ) -> Result<Option<Head>, CosignerError> {
        if !self.memory.has_lost(origin)? {
            return self.open(keep, now);
        }
        // Those that are lost besides stay refused, until they are added again themselves.
        let lost: Vec<_> =
            logs.iter().filter(|log| self.memory.has_lost(log.key.origin()).unwrap_or(true)).collect();
        let head = self.begin(&mut self.lock(), keep, now)?;
        self.watch_all(logs.iter().filter(|log| !lost.iter().any(|lost| lost.key == log.key)));
        Ok(Some(head))
    }

    fn watch_all<'a>(&self, logs: impl Iterator<Item = &'a WitnessedLog>) {
        for log in logs {
            if let Err(error) = self.watch(&log.key) {
                tracing::error!(origin = log.key.origin(), code = %error.code(), %error, "a log is not cosigned");
            }
        }
    }

    /// Cosigns this log from now on. The witness is open. Blocks.
    ///
    /// # Errors
    /// When what it remembers of the log cannot be read, or is of another key.
    pub(crate) fn watch(&self, key: &AnyLogKey) -> Result<(), CosignerError> {
        let mut open = self.lock();
        let Some(open) = open.as_mut() else { return Err(CosignerError::Key("not open".to_owned())) };
        let watched = self.memory.recall(key.origin()).and_then(|held| {
            open.witness.watch(key.clone(), held).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        });
        self.show(&open.witness, key.origin());
        let mut view = self.view();
        view.unsound.retain(|(origin, _)| origin != key.origin());
        if let Err(error) = &watched {
            view.unsound.push((key.origin().to_owned(), reason(error).to_string()));
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
        self.watch_all(logs.iter());
    }

    /// Cosigns this log no more. Blocks.
    pub(crate) fn unwatch(&self, origin: &str) {
        if let Some(open) = self.lock().as_mut() {
            open.witness.unwatch(origin);
            self.show(&open.witness, origin);
            self.view().unsound.retain(|(unsound, _)| unsound != origin);
        }
    }

    /// Shows what is durable of a log now.
    fn show(&self, witness: &Witness, origin: &str) {
        let shown = witness.held(origin).zip(witness.statement(origin)).map(|(held, statement)| Shown {
            statement,
            size: held.head().size,
            at: held.at(),
            signature: None,
        });
        let mut view = self.view();
        match shown {
            Some(shown) if view.logs.get(origin).is_some_and(|old| old.statement == shown.statement) => {}
            Some(shown) => drop(view.logs.insert(origin.to_owned(), shown)),
            None => drop(view.logs.remove(origin)),
        }
    }

    /// The key by which its cosignatures are known; nothing until it has a log.
    pub(crate) fn key(&self) -> Option<WitnessKey> {
        self.view().key.as_ref().map(|(key, _)| key.clone())
    }

    /// Size and time of the newest checkpoint of a log that it cosigned.
    pub(crate) fn held(&self, origin: &str) -> Option<(u64, Timestamp)> {
        self.view().logs.get(origin).map(|shown| (shown.size, shown.at))
    }

    /// What is wrong with it, and how many proofs of equivocation it keeps.
    pub(crate) fn trouble(&self, logs: usize) -> (Vec<String>, usize) {
        let trouble = {
            let view = self.view();
            let unsound = view.unsound.iter();
            let mut trouble: Vec<_> =
                unsound.map(|(origin, why)| format!("`{origin}` is not cosigned: {why}")).collect();
            if view.key.is_none() && logs > 0 {
                trouble.push("no log is cosigned: the witness has no key".to_owned());
            }
            trouble
        };
        (trouble, evidence::count(self.memory.folder()))
    }

    /// Answers a request, and keeps what it shows about the log. Blocks for a write to the disk.
    fn answer(&self, now: Timestamp, body: &[u8]) -> (Answer, Vec<(Conflict, Kept)>) {
        let mut open = self.lock();
        let Some(open) = open.as_mut() else { return (Answer::UnknownLog, Vec::new()) };
        let (mut answer, mut kept) = (Answer::Unavailable, Vec::new());
        let (mut origin, mut signed) = (None, None);
        open.witness.handle_request(now, body);
        while let Some(output) = open.witness.poll_output() {
            match output {
                Output::Persist(record) => {
                    origin = Some(record.origin().to_owned());
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
                    signed = self.signed_before(&message).or_else(|| sign(&open.key, &message));
                    match signed {
                        Some(signature) => open.witness.handle_signature(signature),
                        None => open.witness.handle_failure(),
                    }
                }
                Output::Send(given) => answer = given,
            }
        }
        if let Some(origin) = origin {
            self.show(&open.witness, &origin);
            if let Some(shown) = self.view().logs.get_mut(&origin) {
                shown.signature = signed.filter(|_| matches!(answer, Answer::Cosigned(_)));
            }
        }
        (answer, kept)
    }

    /// The signature that the newest statement about a log has already.
    fn signed_before(&self, message: &str) -> Option<[u8; 64]> {
        let view = self.view();
        view.logs.values().find(|shown| shown.statement.to_be_signed() == message)?.signature
    }

    /// The newest checkpoint of the log with this origin hash, cosigned. Signed once for all who ask.
    fn newest(&self, hash: &str, logs: &[WitnessedLog]) -> Option<String> {
        let origin = logs.iter().map(|log| log.key.origin()).find(|origin| name_of(origin) == hash)?;
        let (shown, key) = {
            let view = self.view();
            (view.logs.get(origin)?.clone(), Arc::clone(&view.key.as_ref()?.1))
        };
        let signature = match shown.signature {
            Some(signature) => signature,
            None => sign(&key, &shown.statement.to_be_signed())?,
        };
        if let Some(now) = self.view().logs.get_mut(origin).filter(|now| now.statement == shown.statement) {
            now.signature = Some(signature);
        }
        Some(shown.statement.finish(signature))
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine. Whoever has it may wait for the disk.
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sign(key: &SigningKey, message: &str) -> Option<[u8; 64]> {
    key.sign(SignatureForm::Fixed, message.as_bytes()).ok()?.try_into().ok()
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
    let Ok(permit) = Arc::clone(&shared.cosigner.waiting).try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let (shares, now) = (Arc::clone(&shared), clock::now());
    let answering = tokio::task::spawn_blocking(move || {
        let answered = shares.cosigner.answer(now, &body);
        // Held by the work and not by who waits for it, who may go away.
        drop(permit);
        answered
    });
    let answering = answering.await;
    let (answer, kept) = answering.unwrap_or((Answer::Unavailable, Vec::new()));
    for (conflict, kept) in kept {
        let Kept::New(evidence) = kept else { continue };
        let (origin, size) = (conflict.key().origin().to_owned(), conflict.heads().map(|head| head.size));
        if conflict.judge() != Judgement::Equivocation {
            tracing::warn!(origin, ?size, evidence, "a checkpoint came with a proof that does not hold");
            continue;
        }
        tracing::error!(origin, ?size, evidence, "a log signed two trees that contradict each other");
        record(&shared, &conflict, evidence).await;
    }
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, [(header::CONTENT_TYPE, answer.content_type())], answer.body()).into_response()
}

/// Records a proof. Until it is, the file says that it is not, and the next start does it.
async fn record(shared: &Shared, conflict: &Conflict, evidence: String) {
    let size = conflict.heads().map(|head| head.size).into_iter().next().unwrap_or_default();
    let origin = conflict.key().origin().to_owned();
    let change = SystemChange::EquivocationFound { origin, size, evidence: evidence.clone() };
    let change = Transaction::own(clock::now(), vec![change.into()], Vec::new());
    match shared.writer.commit(change).await {
        Ok(_) => evidence::recorded(shared.cosigner.memory.folder(), &evidence),
        // The evidence is kept all the same.
        Err(error) => tracing::error!(%error, "an equivocation is not in the log"),
    }
}

/// Records the proofs that were kept when the power went before their entry.
pub(super) async fn record_left(shared: &Shared) {
    for (evidence, conflict) in evidence::unrecorded(shared.cosigner.memory.folder()) {
        record(shared, &conflict, evidence).await;
    }
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
