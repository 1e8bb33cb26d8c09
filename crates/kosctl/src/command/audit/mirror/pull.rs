//! Pulling: the source's checkpoint is judged against the one that the copy holds, then whatever is new is fetched from the
//! top of the tree down, each file judged by the one above it, and last the copy's checkpoint moves.
//!
//! Source: `docs/spec/audit.md` AUD-74 to AUD-76.

use core::time::Duration;
use std::path::PathBuf;

use clap::Args;
use kos_api::{Kind, hex::Digest};
use kos_audit::{
    LogKey, SignedCheckpoint, VerifiedCheckpoint,
    mirror::{self, Conflict, Standing},
    tree::{Piece, PieceError, Walk},
};
use kos_base::{
    Code, Timestamp,
    code::{self, Exit},
    text::printable,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        log_key,
        source::{Place, Source},
        verify::found,
    },
    folder::Copy,
};
use crate::{
    Fault,
    arguments::Span,
    output::{Column, Form, Shown},
    session::{Ending, Session},
    terminal::Progress,
};

/// `audit mirror pull`
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The folder of the copy; it is made when it is missing.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// What is copied: `server`, the address below which somebody serves the log's files, or a folder with them.
    #[arg(long, value_name = "SOURCE", default_value = "server")]
    from: String,
    /// The file with the key of the log. The copy remembers it; without it, the server's word is taken for it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The file with the CAs of an https source, in PEM; without it, those that this system trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The archive that the oldest entries are in, when the source has only their hashes; may stand there several times.
    #[arg(long, value_name = "DIR")]
    archive: Vec<PathBuf>,
    /// Goes on: looks again after each pause.
    #[arg(long)]
    follow: bool,
    /// The pause: `500ms`, `30s`, `5m`.
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "follow")]
    every: Span,
}

/// A copy of the log after it was brought up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditMirror {
    folder: String,
    source: String,
    origin: String,
    size: u64,
    added: u64,
    root_hash: Digest,
    checkpoint_time: Timestamp,
    files_fetched: u64,
    bytes_fetched: u64,
}

impl Kind for AuditMirror {
    const KIND: &'static str = "AuditMirror";
}

impl Shown for AuditMirror {
    const NAME: &'static str = "folder";
    const PLURAL: &'static str = "copies";
    const COLUMNS: &'static [Column<'static>] = &[
        Column::of("copy", "folder"),
        Column::of("of", "source"),
        Column::of("log", "origin"),
        Column::of("entries", "size"),
        Column::of("new", "added"),
        Column::of("root", "rootHash"),
        Column::of("signed", "checkpointTime").looks(Form::Moment),
    ];
}

impl Pull {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let place = Place::parse(&self.from, self.ca.as_deref(), session)?;
        let copy = Copy::open(&self.to)?;
        let key = self.key(session, &place, &copy).await?;
        Source::check_archives(&self.archive, &key)?;
        loop {
            match self.once(session, &place.source(), &copy, &key).await {
                Ok(done) => {
                    if !self.follow || done.added > 0 {
                        session.printer.item(&done)?;
                    }
                }
                // A source that is away for a moment has not said no.
                Err(fault) if self.follow && fault.code().exit() == Exit::Unreachable => {
                    session.terminal.note(&fault.to_string());
                }
                Err(fault) => return Err(fault),
            }
            if !self.follow {
                return Ok(Ending::Done);
            }
            tokio::time::sleep(self.every.0.max(PAUSE_MIN)).await;
        }
    }

    /// The key that the copy was begun with; for a new one, that of the file, or of the server.
    async fn key(&self, session: &Session, place: &Place, copy: &Copy) -> Result<LogKey, Fault> {
        let said = match &self.key {
            Some(path) => Some(log_key(session, Some(path), None).await?),
            None => None,
        };
        match (copy.key()?, said) {
            (Some(own), Some(said)) if own != said => Err(Fault::usage(
                format!("{} is the copy of another log", self.to.display()),
                "name another folder, or leave --key out",
            )),
            (Some(own), _) => Ok(own),
            (None, Some(said)) => copy.keep_key(&said).map(|()| said),
            (None, None) => {
                let asked = log_key(session, None, place.client().map(|client| (client, None))).await?;
                copy.keep_key(&asked).map(|()| asked)
            }
        }
    }

    async fn once(
        &self,
        session: &Session,
        source: &Source<'_>,
        copy: &Copy,
        key: &LogKey,
    ) -> Result<AuditMirror, Fault> {
        let held = copy.held(key)?;
        let (held, archives) = (held.as_ref(), self.archive.as_slice());
        let pull = Pulling { source, archives, copy, key, held, files: 0, bytes: 0 };
        pull.run(session, &self.to.display().to_string()).await
    }
}

/// Shortest pause between two looks: a source is not to be asked without end.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// One pull.
struct Pulling<'a> {
    source: &'a Source<'a>,
    archives: &'a [PathBuf],
    copy: &'a Copy,
    key: &'a LogKey,
    held: Option<&'a VerifiedCheckpoint>,
    files: u64,
    bytes: u64,
}

impl Pulling<'_> {
    async fn run(mut self, session: &Session, folder: &str) -> Result<AuditMirror, Fault> {
        let text = self.source.checkpoint().await?;
        let signed = SignedCheckpoint::parse(&text)
            .map_err(|e| self.refused(code::audit::LOG_CHECKPOINT, &e.to_string()))?;
        let offered = signed.verify(self.key, &[]).map_err(|e| self.refused(e.code(), &e.to_string()))?;
        let from = self.held.map_or(0, |held| held.head().size);
        match mirror::judge(self.held, &offered) {
            Ok(Standing::Same) => {}
            Ok(Standing::Ahead(walk)) => {
                self.fetch(session, *walk, &offered).await?;
                self.copy.seal(&offered)?;
                self.copy.drop_partial(from, offered.head().size);
            }
            Err(conflict) => return Err(self.contradicted(conflict, &offered)?),
        }
        let stated = offered.checkpoint();
        Ok(AuditMirror {
            folder: printable(folder, 4096),
            source: printable(&self.source.to_string(), 4096),
            origin: stated.origin.to_string(),
            size: stated.head.size,
            added: stated.head.size - from,
            root_hash: Digest::from_bytes(*stated.head.root.as_bytes()),
            checkpoint_time: stated.time,
            files_fetched: self.files,
            bytes_fetched: self.bytes,
        })
    }

    /// Brings every file that is new. What an earlier pull has left is taken if it is right.
    async fn fetch(
        &mut self,
        session: &Session,
        mut walk: Walk,
        offered: &VerifiedCheckpoint,
    ) -> Result<(), Fault> {
        let mut progress = Progress::new(&session.terminal);
        while let Some(piece) = walk.next() {
            progress.at(&format!("fetching {}", piece.path()));
            if !walk.gathers()
                && let Some(bytes) = self.copy.piece(piece)?
                && walk.take(bytes).is_ok()
            {
                continue;
            }
            let Some(bytes) = found(self.source, self.archives, piece).await? else {
                let what = match piece {
                    Piece::Bundle(_) => {
                        "; if these entries are archived, name the folder that they are in with --archive DIR"
                    }
                    Piece::Tile(_) => "",
                };
                let why = format!("`{}` is missing{what}", piece.path());
                return Err(self.refused(code::audit::LOG_SOURCE_CUT, &why));
            };
            self.files += 1;
            self.bytes += u64::try_from(bytes.len()).unwrap_or_default();
            match walk.take(bytes) {
                Ok(known) => {
                    for (piece, bytes) in known {
                        self.copy.put(piece, &bytes)?;
                    }
                }
                Err(why) => {
                    return Err(match mirror::conflict(&why) {
                        Some(conflict) => self.contradicted(conflict, offered)?,
                        None => self.refused(altered(&why), &why.to_string()),
                    });
                }
            }
        }
        Ok(())
    }

    fn refused(&self, code: Code, reason: &str) -> Fault {
        Fault::Untrusted { server: self.source.to_string(), reason: reason.to_owned(), code }
    }

    /// Keeps both checkpoints, and says so.
    fn contradicted(&self, conflict: Conflict, offered: &VerifiedCheckpoint) -> Result<Fault, Fault> {
        let kept = self.copy.keep_evidence(self.held, offered)?;
        let kept =
            kept.map_or("no more is kept".to_owned(), |kept| format!("both are kept in {}", kept.display()));
        Ok(self.refused(conflict.code(), &format!("{conflict}; {kept}")))
    }
}

/// Whether a piece that is not in the tree is another one, or not whole.
const fn altered(why: &PieceError) -> Code {
    match why {
        PieceError::Length(_) | PieceError::Leaves { .. } => code::audit::LOG_SOURCE_CUT,
        PieceError::Leaf { .. } | PieceError::Hashes { .. } | PieceError::Root | PieceError::Held { .. } => {
            code::audit::LOG_SOURCE_ALTERED
        }
    }
}
