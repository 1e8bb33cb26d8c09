//! The machine of a witness: it remembers, durably first, how far each log was, and cosigns only what goes on from there.
//!
//! Shape: bytes of a request in ([`Witness::handle_request`]), outputs out ([`Witness::poll_output`]). The shell carries
//! them out in their order, each before the next, with one request at a time: [`Output::Persist`] is durable before
//! [`Output::Sign`], and that is answered by [`Witness::handle_signature`] before [`Output::Send`] comes. Where one
//! cannot be carried out, the shell says so ([`Witness::handle_failure`]), and the rest of them is gone.
//!
//! Invariants: of one log, the sizes of what was signed never fall, and each tree is the beginning of the next. So a
//! power cut between any two outputs does no harm: at worst the record is ahead of what anybody was given.
//!
//! What it does not do: undo a log that was put back to an earlier state. To a witness such a log is a false one, and
//! stays so for ever.
//!
//! Errors: none; what is wrong with a request is its answer. [`RecordError`] when what was durable cannot be read.
//!
//! Source: C2SP tlog-witness (add-checkpoint), tlog-cosignature; AUD-90 to AUD-97; simulated in `tests/sim`.

use core::fmt;
use std::collections::{BTreeMap, VecDeque};

use kos_base::{Code, Timestamp, code};

use super::{
    conflict::Conflict,
    request::{AddCheckpoint, AnyCheckpoint, NotOfLog},
};
use crate::{
    checkpoint::{cosignature_bytes, cosigned_message, decimal},
    key::{AnyLogKey, WitnessKey},
    note::{Note, NoteSignature},
    tree::{TreeHash, TreeHead, verify_consistency},
};

/// What a shell is to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make this durable in place of the record of its log. Nothing after it may happen before.
    Persist(Record),
    /// Keep this: the log's key signed two trees.
    Keep(Conflict),
    /// Have the witness's key sign these bytes.
    Sign(String),
    /// Answer the request.
    Send(Answer),
}

/// The answer to a request, as tlog-witness has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: the signature line.
    Cosigned(String),
    /// 400: no request, or an old size beyond that of the checkpoint.
    Malformed,
    /// 403: the log's key did not sign it.
    NotSigned,
    /// 404: no log that is witnessed here.
    UnknownLog,
    /// 409: the witness has cosigned a tree of this size.
    OtherSize(u64),
    /// 422: the proof does not lead from the tree that was cosigned to this one.
    NotConsistent,
    /// 503: it could not be made durable or signed; ask again.
    Unavailable,
}

impl Answer {
    /// The status of HTTP.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Cosigned(_) => 200,
            Self::Malformed => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::OtherSize(_) => 409,
            Self::NotConsistent => 422,
            Self::Unavailable => 503,
        }
    }

    /// The media type of the body.
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::OtherSize(_) => "text/x.tlog.size",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The body.
    pub fn body(&self) -> String {
        match self {
            Self::Cosigned(line) => line.clone(),
            Self::OtherSize(size) => format!("{size}\n"),
            Self::Malformed => "not a request to add a checkpoint\n".to_owned(),
            Self::NotSigned => "not signed by the key of the log\n".to_owned(),
            Self::UnknownLog => "no log that is witnessed here\n".to_owned(),
            Self::NotConsistent => "not consistent with the tree that was cosigned\n".to_owned(),
            Self::Unavailable => "not now\n".to_owned(),
        }
    }
}

/// What a witness remembers of one log: the newest checkpoint that it cosigned, with the log's signature, and when.
///
/// Its text is `kos witness record v1`, the log's verifier key, the seconds of the cosignature, an empty line and the note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    key: AnyLogKey,
    checkpoint: AnyCheckpoint,
    at: u64,
}

/// The text is not a record. A witness without its memory is no witness: do not cosign that log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not what a witness remembers of a log")]
pub struct RecordError;

impl RecordError {
    /// Its code.
    pub const fn code(self) -> Code {
        code::audit::WITNESS_MEMORY
    }
}

/// How long a checkpoint that comes again gets the cosignature that it got, which costs no write, in seconds. Anybody
/// can send again what the log sent, as often as they like.
const REPEATED_S: u64 = 60;

const RECORD: &str = "kos witness record v1";

impl Record {
    /// The log.
    pub fn origin(&self) -> &str {
        self.key.origin()
    }

    /// Size and root of the tree that was cosigned last.
    pub const fn head(&self) -> &TreeHead {
        &self.checkpoint.head
    }

    /// When it was cosigned.
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_unix_s(self.at)
    }

    /// The checkpoint, with the log's signature.
    pub fn checkpoint(&self) -> String {
        self.checkpoint.note.to_string()
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// When the text is another, or the log's key did not sign what is in it.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let (head, note) = text.split_once("\n\n").ok_or(RecordError)?;
        let mut lines = head.split('\n');
        let known = lines.next() == Some(RECORD);
        let key: AnyLogKey = lines.next().and_then(|key| key.parse().ok()).ok_or(RecordError)?;
        let at = lines.next().and_then(decimal).filter(|at| *at > 0).ok_or(RecordError)?;
        let note = Note::parse(note).map_err(|_| RecordError)?;
        let checkpoint = AnyCheckpoint::verify(&note, &key).map_err(|_| RecordError)?;
        let record = Self { key, checkpoint, at };
        if known && record.to_string() == text { Ok(record) } else { Err(RecordError) }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, checkpoint, at } = self;
        write!(f, "{RECORD}\n{key}\n{at}\n\n{}", checkpoint.note)
    }
}

/// A statement that was made durable: signed again, it gives the same bytes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    note: Note,
    witness: WitnessKey,
    at: u64,
}

impl Statement {
    /// What the witness's key signs.
    pub fn to_be_signed(&self) -> String {
        cosigned_message(self.note.unverified_text(), self.at)
    }

    /// The signature line.
    pub fn line(&self, signature: [u8; 64]) -> String {
        let bytes = cosignature_bytes(self.at, signature);
        NoteSignature::of(self.witness.note(), bytes).to_string()
    }

    /// The checkpoint with the log's signature and the cosignature.
    pub fn finish(&self, signature: [u8; 64]) -> String {
        format!("{}{}", self.note, self.line(signature))
    }
}

#[derive(Clone, Debug)]
struct Watched {
    key: AnyLogKey,
    held: Option<Record>,
}

/// Who cosigns.
#[derive(Debug)]
pub struct Witness {
    key: WitnessKey,
    logs: BTreeMap<String, Watched>,
    outputs: VecDeque<Output>,
    /// What waits for its signature, and what was held before it.
    under_way: Option<(Statement, String, Option<Record>)>,
}

impl Witness {
    /// A witness that cosigns no log yet.
    pub const fn new(key: WitnessKey) -> Self {
        Self { key, logs: BTreeMap::new(), outputs: VecDeque::new(), under_way: None }
    }

    /// Its key.
    pub const fn key(&self) -> &WitnessKey {
        &self.key
    }

    /// Cosigns the log of `key` from now on. `held` is what was made durable for it; nothing only when nothing ever was.
    ///
    /// # Errors
    /// When what is held is of another key: a new key is a new log, and has another origin.
    pub fn watch(&mut self, key: AnyLogKey, held: Option<Record>) -> Result<(), RecordError> {
        if held.as_ref().is_some_and(|held| held.key != key) {
            return Err(RecordError);
        }
        self.logs.insert(key.origin().to_owned(), Watched { key, held });
        Ok(())
    }

    /// Cosigns this log no more. What was made durable has to stay, for the day on which it does again.
    pub fn unwatch(&mut self, origin: &str) {
        self.logs.remove(origin);
    }

    /// What is remembered of a log.
    pub fn held(&self, origin: &str) -> Option<&Record> {
        self.logs.get(origin)?.held.as_ref()
    }

    /// The newest statement about a log, to be signed again for whoever asks for it.
    pub fn statement(&self, origin: &str) -> Option<Statement> {
        let held = self.held(origin)?;
        let note = held.checkpoint.note.clone();
        Some(Statement { note, witness: self.key.clone(), at: held.at })
    }

    /// Takes a request in. The outputs of the one before have been carried out.
    pub fn handle_request(&mut self, now: Timestamp, bytes: &[u8]) {
        if self.under_way.is_some() || !self.outputs.is_empty() {
            self.handle_failure();
            return;
        }
        let decided = AddCheckpoint::parse(bytes).map_err(|_| Answer::Malformed);
        if let Err(answer) = decided.and_then(|request| self.consider(now, &request)) {
            self.outputs.push_back(Output::Send(answer));
        }
    }

    fn consider(&mut self, now: Timestamp, request: &AddCheckpoint) -> Result<(), Answer> {
        let origin = request.origin();
        let Watched { key, held } = self.logs.get_mut(origin).ok_or(Answer::UnknownLog)?;
        let offered = AnyCheckpoint::verify(&request.note, key).map_err(|why| match why {
            NotOfLog::Signature => Answer::NotSigned,
            NotOfLog::Form => Answer::Malformed,
        })?;
        let none = TreeHead { size: 0, root: TreeHash::EMPTY };
        let then = held.as_ref().map_or(none, |held| held.checkpoint.head);
        let conflict = held.as_ref().map(|held| Conflict::of(key, &held.checkpoint, &offered));
        // Whatever the request says besides: two roots of one size contradict each other.
        if let Some(conflict) = conflict.clone().filter(|_| is_other_root(&then, &offered.head)) {
            self.outputs.push_back(Output::Keep(conflict));
        }
        if request.old > offered.head.size {
            return Err(Answer::Malformed);
        }
        if request.old != then.size {
            return Err(Answer::OtherSize(then.size));
        }
        let empty = offered.head.size > 0 || offered.head.root == TreeHash::EMPTY;
        if !empty || verify_consistency(&request.proof, &then, &offered.head).is_err() {
            if let Some(conflict) = conflict.filter(|_| offered.head.size > then.size) {
                self.outputs.push_back(Output::Keep(conflict));
            }
            return Err(Answer::NotConsistent);
        }
        let at = now.unix_s().max(1);
        let before = held.clone();
        let repeated = held
            .as_ref()
            .filter(|held| held.checkpoint.note == offered.note && at.saturating_sub(held.at) < REPEATED_S);
        if let Some(Record { checkpoint, at, .. }) = repeated {
            let statement = Statement { note: checkpoint.note.clone(), witness: self.key.clone(), at: *at };
            self.outputs.push_back(Output::Sign(statement.to_be_signed()));
            self.under_way = Some((statement, origin.to_owned(), before));
            return Ok(());
        }
        let record = Record { key: key.clone(), checkpoint: offered, at };
        let statement =
            Statement { note: record.checkpoint.note.clone(), witness: self.key.clone(), at: record.at };
        *held = Some(record.clone());
        self.outputs.push_back(Output::Persist(record));
        self.outputs.push_back(Output::Sign(statement.to_be_signed()));
        self.under_way = Some((statement, origin.to_owned(), before));
        Ok(())
    }

    /// The signature that [`Output::Sign`] asked for.
    pub fn handle_signature(&mut self, signature: [u8; 64]) {
        if let Some((statement, ..)) = self.under_way.take() {
            let answer = Answer::Cosigned(statement.line(signature));
            self.outputs.push_back(Output::Send(answer));
        }
    }

    /// An output could not be carried out. What was to follow it is gone; whether the record reached the disk is not
    /// known, so the asker is told to ask again and the witness goes on from what it held.
    pub fn handle_failure(&mut self) {
        self.outputs.clear();
        if let Some((_, origin, before)) = self.under_way.take()
            && let Some(watched) = self.logs.get_mut(&origin)
        {
            watched.held = before;
        }
        self.outputs.push_back(Output::Send(Answer::Unavailable));
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// Whether the two are of one size, and differ.
pub(super) fn is_other_root(one: &TreeHead, other: &TreeHead) -> bool {
    one.size == other.size && one.root != other.root
}
