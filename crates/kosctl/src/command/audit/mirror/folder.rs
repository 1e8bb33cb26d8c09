//! The folder of a copy: a log in the C2SP layout, and beside it the key that it is judged by and what contradicted it.
//!
//! Invariants: `checkpoint` is written last, when everything that it covers is durable, and only forwards. Every file
//! appears whole, through a rename. One program writes at a time.
//!
//! Errors: [`Fault`]. After a kill at any point the folder is a copy of the former checkpoint, with some files more.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use kos_audit::{LogKey, SignedCheckpoint, VerifiedCheckpoint, tree::Piece};
use kos_base::{code, digest::sha256, text::printable};
use rustix::fs::{FlockOperation, flock, syncfs};

use super::super::NOTE_BYTES_MAX;
use crate::{
    Fault,
    files::{self, Readers},
};

const CHECKPOINT: &str = "checkpoint";
const KEY: &str = "vkey";
const LOCK: &str = ".lock";
const EVIDENCE: &str = "evidence";

/// Contradictions that are kept. Stops a source that signs ever new ones from filling the disk.
const EVIDENCE_MAX: usize = 100;

/// Longest file of a piece that is read back, in bytes: a bundle of 256 leaves of 64 KiB.
const PIECE_BYTES_MAX: u64 = 256 * 65_538;

/// A copy that nobody else writes now.
pub(super) struct Copy {
    folder: PathBuf,
    /// Held as long as this is.
    _lock: File,
}

impl Copy {
    /// The copy in `folder`, which is made when it is missing.
    pub(super) fn open(folder: &Path) -> Result<Self, Fault> {
        files::create_folder(folder, Readers::Everybody)?;
        let path = folder.join(LOCK);
        let unwritable = |source: io::Error| Fault::Unwritable { path: path.clone(), source };
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(unwritable)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                rustix::io::Errno::WOULDBLOCK => Fault::Malformed {
                    path: folder.to_owned(),
                    reason: "another program writes it".to_owned(),
                    code: code::audit::LOG_MIRROR_BUSY,
                },
                other => unwritable(other.into()),
            });
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// The key that this copy has been judged by since it was begun.
    pub(super) fn key(&self) -> Result<Option<LogKey>, Fault> {
        let path = self.folder.join(KEY);
        let Some(bytes) = there(&path, NOTE_BYTES_MAX)? else { return Ok(None) };
        let read = String::from_utf8_lossy(&bytes).trim().parse();
        read.map(Some).map_err(|e: kos_audit::key::VerifierKeyError| Fault::Malformed {
            path,
            reason: printable(&e.to_string(), 200),
            code: e.code(),
        })
    }

    /// Begins the copy of the log of `key`.
    pub(super) fn keep_key(&self, key: &LogKey) -> Result<(), Fault> {
        files::write(&self.folder.join(KEY), format!("{key}\n").as_bytes(), Readers::Everybody)
    }

    /// The checkpoint up to which it is whole; nothing in a new one.
    pub(super) fn held(&self, key: &LogKey) -> Result<Option<VerifiedCheckpoint>, Fault> {
        let path = self.folder.join(CHECKPOINT);
        let Some(bytes) = there(&path, NOTE_BYTES_MAX)? else { return Ok(None) };
        let damaged =
            |reason: String| Fault::Malformed { path: path.clone(), reason, code: code::audit::LOG_MIRROR };
        let signed = SignedCheckpoint::parse(&String::from_utf8_lossy(&bytes));
        let signed = signed.map_err(|e| damaged(e.to_string()))?;
        signed.verify(key, &[]).map(Some).map_err(|e| damaged(e.to_string()))
    }

    /// The bytes of a piece, if it has some. Whether they are right is for the walk to say.
    pub(super) fn piece(&self, piece: Piece) -> Result<Option<Vec<u8>>, Fault> {
        there(&self.folder.join(piece.path()), PIECE_BYTES_MAX)
    }

    /// Puts a piece in its place. It is durable after [`Copy::seal`].
    pub(super) fn put(&self, piece: Piece, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.folder.join(piece.path());
        let beside = path.with_added_extension("part");
        let written = fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| File::create(&beside)?.write_all(bytes))
            .and_then(|()| fs::rename(&beside, &path));
        written.map_err(|source| Fault::Unwritable { path, source })
    }

    /// Makes all pieces durable, and then moves the checkpoint.
    pub(super) fn seal(&self, checkpoint: &VerifiedCheckpoint) -> Result<(), Fault> {
        let synced = File::open(&self.folder).and_then(|folder| Ok(syncfs(&folder)?));
        synced.map_err(|source| Fault::Unwritable { path: self.folder.clone(), source })?;
        let text = checkpoint.signed().to_string();
        files::write(&self.folder.join(CHECKPOINT), text.as_bytes(), Readers::Everybody)
    }

    /// Removes the narrower forms of pieces that are full since the copy had `from` entries; the format lets them go.
    pub(super) fn drop_partial(&self, from: u64, to: u64) {
        for piece in Piece::grown(from, to).filter(|piece| *piece == piece.full()) {
            // They are only in the way.
            drop(fs::remove_dir_all(self.folder.join(format!("{}.p", piece.path()))));
        }
    }

    /// Keeps two checkpoints that contradict each other, under a name that is the same each time. Where that is, if it
    /// was kept.
    pub(super) fn keep_evidence(
        &self,
        held: Option<&VerifiedCheckpoint>,
        offered: &VerifiedCheckpoint,
    ) -> Result<Option<PathBuf>, Fault> {
        let texts = [held.map(|held| held.signed().to_string()), Some(offered.signed().to_string())];
        let both: String = texts.iter().flatten().map(String::as_str).collect();
        let name = data_encoding::HEXLOWER.encode(sha256(both.as_bytes()).get(..8).unwrap_or_default());
        let folder = self.folder.join(EVIDENCE).join(name);
        if !folder.exists() {
            let kept = fs::read_dir(self.folder.join(EVIDENCE)).map_or(0, Iterator::count);
            if kept >= EVIDENCE_MAX {
                return Ok(None);
            }
        }
        files::create_folder(&folder, Readers::Everybody)?;
        for (name, text) in ["held", "offered"].into_iter().zip(texts) {
            if let Some(text) = text {
                files::write(&folder.join(name), text.as_bytes(), Readers::Everybody)?;
            }
        }
        Ok(Some(folder))
    }
}

fn there(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Fault> {
    match files::read(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Fault::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}
