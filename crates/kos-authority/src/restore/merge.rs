//! A newer copy of the log: checked as a whole, then read from where the backup ends.
//!
//! The copy may come from anywhere, so it counts only if every leaf is signed by the log's key, the tree leads to a
//! checkpoint that this key signed, and the log of the backup is its beginning. Reading it twice costs time and no
//! memory.

use std::path::Path;

use kos_audit::{
    LeafReading, LogCheck, LogKey, NotChecked, SealedEntry, VerifiedEntry,
    tree::{Bundle, HASH_BYTES, Tile},
};

use kos_base::Timestamp;

use super::RestoreError;
use crate::log::LogFiles;

/// A copy that is sound and continues the log of the backup.
pub(super) struct Copy {
    files: LogFiles,
    size: u64,
    until: Option<Timestamp>,
}

impl Copy {
    /// Checks the log in `folder` against the checkpoint of the backup, and against another one that somebody held.
    ///
    /// # Errors
    /// [`RestoreError::Log`] with what is wrong first.
    ///
    /// *Cost*: blocks; one signature an entry.
    pub(super) fn check(
        folder: &Path,
        key: &LogKey,
        (own, backup_size): (&str, u64),
        held: Option<&str>,
    ) -> Result<Self, RestoreError> {
        let refused = |why: String| RestoreError::Log { folder: folder.display().to_string(), why };
        if !folder.join("checkpoint").is_file() {
            return Err(refused("there is no file `checkpoint` in it".to_owned()));
        }
        let files = LogFiles::new(folder.to_owned()).map_err(|e| refused(e.to_string()))?;
        let read = |path: &str| files.read(path).map_err(|e| refused(format!("`{path}`: {e}")));
        let text = read("checkpoint")?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let (mut size, mut until, mut archived) = (0, None, 0);
        // Each check takes one older checkpoint that the log must extend.
        for older in [Some(own), held].into_iter().flatten() {
            let mut check = LogCheck::new(key, &[], &text, Some(older));
            size = check.size();
            for bundle in Bundle::all(size) {
                let stored = check.tile(bundle.tile(), tile(&files, bundle.tile()).as_deref());
                let leaves = leaves_of(&files, bundle);
                if leaves.is_empty() && bundle == bundle.full() {
                    check.archived(&stored);
                    continue;
                }
                for (at, leaf) in Bundle::leaves(&leaves).enumerate() {
                    let reading = leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, key));
                    check.leaf(reading, stored.get(at).copied());
                }
            }
            for upper in Tile::all(size).filter(|tile| tile.level() > 0) {
                check.tile(upper, tile(&files, upper).as_deref());
            }
            let verdict = check.finish();
            until = verdict.checkpoint_time;
            archived = verdict.not_checked.iter().fold(0, |archived, left| match left {
                NotChecked::Archived(range) => range.end.max(archived),
                NotChecked::Entries(_) | NotChecked::OtherTiles => archived,
            });
            if let Some(failure) = verdict.failures.first() {
                let at = failure.index.map(|index| format!("entry {index}, ")).unwrap_or_default();
                return Err(refused(format!("{at}{:?}: {}", failure.kind, failure.detail).to_lowercase()));
            }
        }
        // What the backup has need not be read again; what it has not cannot be taken over from hashes.
        if archived > backup_size {
            let last = archived - 1;
            return Err(refused(format!(
                "entries up to index {last} are archived: copy the folder `tile/entries` of the archive into it"
            )));
        }
        Ok(Self { files, size, until })
    }

    /// When its checkpoint was signed.
    pub(super) const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// How many entries it has.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Its entries from `from` on, a row of at most 256 at a time.
    pub(super) fn rows(
        &self,
        from: u64,
        key: &LogKey,
    ) -> impl Iterator<Item = Result<Vec<VerifiedEntry>, RestoreError>> {
        Bundle::grown(from, self.size).map(move |bundle| {
            let bytes = leaves_of(&self.files, bundle);
            let first = bundle.first_leaf();
            let wanted =
                (first..).zip(Bundle::leaves(&bytes)).filter(|(at, _)| (from..self.size).contains(at));
            wanted
                .map(|(at, leaf)| {
                    let changed = |why: String| RestoreError::Log { folder: format!("entry {at}"), why };
                    let leaf = leaf.map_err(|_| changed("torn since it was checked".to_owned()))?;
                    SealedEntry::from_bytes(leaf.to_vec()).verify(key).map_err(|e| changed(e.to_string()))
                })
                .collect()
        })
    }
}

/// The bytes of a tile; of the full one that has replaced it, its part.
fn tile(files: &LogFiles, tile: Tile) -> Option<Vec<u8>> {
    let read = |path: String| files.read(&path).ok().flatten();
    read(tile.path()).or_else(|| {
        let mut full = read(tile.full().path())?;
        full.truncate(usize::from(tile.width()) * HASH_BYTES);
        Some(full)
    })
}

/// The bytes of a row of leaves, which may hold more of them than are asked for.
fn leaves_of(files: &LogFiles, bundle: Bundle) -> Vec<u8> {
    let read = |path: String| files.read(&path).ok().flatten();
    read(bundle.path()).or_else(|| read(bundle.full().path())).unwrap_or_default()
}
