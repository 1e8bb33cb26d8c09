//! The folder of a copy: a log in the C2SP layout, and beside it the key that it is judged by and what contradicted it.
//!
//! Invariants: `checkpoint` is written last, when everything that it covers is durable, and only forwards. Every file
//! appears whole, through a rename. One program writes at a time.
//!
//! Others may write the folder as well: no link in it is followed, neither for a folder nor for a file, and only plain files are
//! read.
//!
//! Errors: [`Fault`]. After a kill at any point the folder is a copy of the former checkpoint, with some files more.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use kos_audit::{LogKey, SignedCheckpoint, VerifiedCheckpoint, tree::Piece};
use kos_base::{code, digest::sha256};
use rustix::fs::{FlockOperation, flock, syncfs};

use super::super::{NOTE_BYTES_MAX, parse_key};
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
        let mut options = OpenOptions::new();
        let lock = files::plain(options.create(true).truncate(false).read(true).write(true));
        let lock = lock.open(&path).map_err(unwritable)?;
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
        parse_key(&path, &String::from_utf8_lossy(&bytes)).map(Some)
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
        there(&self.below(&piece.path())?, PIECE_BYTES_MAX)
    }

    /// Puts a piece in its place. It is durable after [`Copy::seal`].
    pub(super) fn put(&self, piece: Piece, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.below(&piece.path())?;
        let beside = path.with_added_extension("part");
        let clear = || match fs::remove_file(&beside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
        let written = fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| clear())
            .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&beside)?.write_all(bytes))
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
            drop(self.below(&format!("{}.p", piece.path())).map(fs::remove_dir_all));
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
        let inside = self.below(&format!("{EVIDENCE}/{name}/held"))?;
        let folder = inside.parent().unwrap_or(&inside).to_owned();
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

impl Copy {
    /// The place of a file, when every folder on the way there is one, and no link.
    fn below(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = self.folder.join(name);
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.folder);
        for folder in folders {
            match fs::symlink_metadata(folder) {
                Ok(there) if there.is_dir() => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => {
                    return Err(Fault::Malformed {
                        path: folder.to_owned(),
                        reason: "it is a link or a file, and a folder of the copy has to be there".to_owned(),
                        code: code::audit::LOG_MIRROR,
                    });
                }
                Err(source) => return Err(Fault::Unreadable { path: folder.to_owned(), source }),
            }
        }
        Ok(path)
    }
}

fn there(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Fault> {
    match files::read_plain(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Fault::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use kos_audit::tree::{Piece, Tile};

    use super::*;

    #[test]
    fn what_others_planted_in_a_copy_leads_nowhere() {
        let desk = tempfile::tempdir().unwrap();
        let (folder, precious) = (desk.path().join("copy"), desk.path().join("precious"));
        fs::create_dir_all(desk.path().join("own")).unwrap();
        fs::write(&precious, "precious").unwrap();
        let copy = Copy::open(&folder).unwrap();
        let piece = Piece::Tile(Tile::all(256).next().unwrap());
        let path = folder.join(piece.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&precious, path.with_added_extension("part")).unwrap();
        copy.put(piece, b"new").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert_eq!(copy.piece(piece).unwrap().as_deref(), Some(&b"new"[..]));
        // A link in the place of a file or a folder.
        fs::remove_file(&path).unwrap();
        symlink(&precious, &path).unwrap();
        assert!(copy.piece(piece).is_err());
        fs::remove_dir_all(folder.join("tile")).unwrap();
        symlink(desk.path().join("own"), folder.join("tile")).unwrap();
        assert!(copy.put(piece, b"new").is_err() && copy.piece(piece).is_err());
        assert_eq!(fs::read_dir(desk.path().join("own")).unwrap().count(), 0);
        // And a pipe keeps nobody waiting.
        let (cwd, rights) = (rustix::fs::CWD, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(cwd, folder.join(KEY), rustix::fs::FileType::Fifo, rights, 0).unwrap();
        assert!(copy.key().is_err());
        drop(copy);
        fs::remove_file(folder.join(LOCK)).unwrap();
        symlink(desk.path().join("made"), folder.join(LOCK)).unwrap();
        assert!(Copy::open(&folder).is_err() && !desk.path().join("made").exists());
    }
}
