//! Writing the oldest entries into an archive: a folder in the C2SP layout, with all tiles and the checkpoint of the moment.
//!
//! Shape: every bundle is read from the store and compared with the hashes of the tree, written, read back and compared
//! again. Files appear whole and are durable, folders included, before this returns; what becomes of the entries in the
//! store is decided after it.
//!
//! Invariants: a file that is there and says something else is never replaced, so that two logs never mix and a second
//! archive beside the first adds to it. No file of the published log counts as one of the archive, by whatever name: it goes
//! once the entries are archived.
//!
//! Source: `docs/spec/audit.md`, AUD-85 to AUD-87; C2SP tlog-tiles.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use kos_audit::{
    Frontier, SignedCheckpoint, TreeHash,
    tree::{Bundle, HASH_BYTES, Piece, TILE_WIDTH, Tile, leaf_hash},
};
use kos_base::text::reason;

use super::{piece::piece, publish::CHECKPOINT_BYTES_MAX};
use crate::{
    files,
    outside::{Outside, identity},
    store::{Store, StoreError},
};

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The folder cannot be written.
    #[error("`{path}`: {}", reason(.source))]
    Io {
        /// What.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is something else already, or what was written is not there.
    #[error("`{0}` holds something else")]
    Other(String),
    /// It is the published log's own.
    #[error("`{0}` is a file of the log itself, which goes once it is archived")]
    Own(String),
    /// The store failed, or its entries are not those of the tree.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Root of the tree over these entries alone.
    pub(crate) root: TreeHash,
    /// SHA-256 of their bundles, one after the other.
    pub(crate) digest: [u8; 32],
}

/// Writes the entries from `first` on, up to `size`, both at the edge of a bundle. `published` is where the log's files are.
///
/// *Cost*: reads each entry, writes it and reads it again; two syncs a bundle.
pub(crate) async fn write(
    store: &Store,
    (folder, published): (&Path, &Path),
    first: u64,
    size: u64,
) -> Result<Written, ArchiveError> {
    let width = u64::from(TILE_WIDTH);
    let differs = |why: String| ArchiveError::Store(StoreError::LogDiffers(why));
    let state = store.log_state().await?.ok_or_else(|| differs("there is no signed state".to_owned()))?;
    let whole = folder.to_owned();
    let opened = blocking(folder, move || {
        make_durable(&whole, &mut files::sync_folder)?;
        Outside::open(&whole)
    });
    let keeper = Keeper {
        folder: folder.to_owned(),
        published: published.to_owned(),
        outside: Arc::new(opened.await?),
    };
    keeper.check_owner(state.checkpoint.clone()).await?;
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut frontier = Frontier::empty();
    for bundle in Bundle::grown(first, size).take_while(|bundle| bundle.first_leaf() + width <= size) {
        let path = Piece::Bundle(bundle).path();
        let not_there = || differs(format!("`{path}` is not whole"));
        let bytes = piece(store, Piece::Bundle(bundle)).await?.ok_or_else(not_there)?;
        let hashes = piece(store, Piece::Tile(bundle.tile())).await?.ok_or_else(not_there)?;
        for hash in checked(&bytes, &hashes).ok_or_else(|| differs(format!("`{path}` is not in the tree")))? {
            frontier.append(hash).map_err(|e| differs(e.to_string()))?;
        }
        digest.update(&bytes);
        keeper.keep(path, bytes).await?;
    }
    for tile in Tile::all(state.size) {
        let path = Piece::Tile(tile).path();
        let bytes = piece(store, Piece::Tile(tile)).await?;
        let bytes = bytes.ok_or_else(|| differs(format!("`{path}` is not whole")))?;
        keeper.keep(path, bytes).await?;
    }
    let (whole, checkpoint) = (folder.to_owned(), state.checkpoint.into_bytes());
    blocking(folder, move || {
        keeper.outside.put_durably(CHECKPOINT, &checkpoint)?;
        keeper.outside.sync_folders()?;
        whole.parent().map_or(Ok(()), files::sync_folder)
    })
    .await?;
    let digest = digest.finish();
    let digest = digest.as_ref().try_into().map_err(|_| differs("a digest of another length".to_owned()))?;
    Ok(Written { root: frontier.root(), digest })
}

const CHECKPOINT: &str = "checkpoint";

/// The hashes of the leaves in a bundle, if they are those of its tile.
fn checked(bundle: &[u8], tile: &[u8]) -> Option<Vec<TreeHash>> {
    let (stored, rest) = tile.as_chunks::<HASH_BYTES>();
    let leaves: Option<Vec<TreeHash>> = Bundle::leaves(bundle).map(|leaf| leaf.ok().map(leaf_hash)).collect();
    let leaves = leaves.filter(|leaves| leaves.len() == stored.len() && rest.is_empty())?;
    let is_same = leaves.iter().zip(stored).all(|(leaf, stored)| leaf.as_bytes() == stored);
    is_same.then_some(leaves)
}

/// Whoever puts files into the archive.
struct Keeper {
    folder: PathBuf,
    published: PathBuf,
    outside: Arc<Outside>,
}

impl Keeper {
    /// Refuses a folder with the checkpoint of another log.
    async fn check_owner(&self, checkpoint: String) -> Result<(), ArchiveError> {
        let (path, outside) = (self.folder.join(CHECKPOINT), Arc::clone(&self.outside));
        let held = blocking(&path, move || outside.read_text(CHECKPOINT, CHECKPOINT_BYTES_MAX)).await?;
        let origin = |text: &str| {
            SignedCheckpoint::parse(text).ok().and_then(|_| text.lines().next().map(str::to_owned))
        };
        match held {
            Some(held) if origin(&held) != origin(&checkpoint) => {
                Err(ArchiveError::Other(path.display().to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Writes a file that is not there yet, and reads it back.
    async fn keep(&self, name: String, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        let path = self.folder.join(&name);
        let (shown, place, published) =
            (path.display().to_string(), path.clone(), self.published.join(&name));
        let outside = Arc::clone(&self.outside);
        let kept = blocking(&path, move || {
            let longest = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let is_whole = |there: Option<Vec<u8>>| there.map(|there| there == bytes);
            let held = match outside.read(&name, longest) {
                Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Some(false),
                held => is_whole(held?),
            };
            if held.is_none() {
                outside.put_durably(&name, &bytes)?;
            }
            let is_whole =
                held.map_or_else(|| outside.read(&name, longest).map(is_whole), |held| Ok(Some(held)));
            let is_own = identity(&place).is_some_and(|there| Some(there) == identity(&published));
            Ok((is_whole? == Some(true), is_own))
        });
        match kept.await? {
            (true, false) => Ok(()),
            (_, true) => Err(ArchiveError::Own(shown)),
            (false, _) => Err(ArchiveError::Other(shown)),
        }
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ArchiveError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| StoreError::Failed(e.to_string()))?;
    done.map_err(|source| ArchiveError::Io { path: path.display().to_string(), source })
}

/// Makes a folder and those above it that are missing, each durable in the one above before anything is put into it.
fn make_durable(folder: &Path, sync: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_durable(above, sync)?;
    }
    match fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    sync(folder)?;
    folder.parent().map_or(Ok(()), sync)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_new_folder_is_durable_in_the_one_above() {
        let there = tempfile::tempdir().unwrap();
        let [one, two] = ["a", "a/b"].map(|name| there.path().join(name));
        let mut synced = Vec::new();
        let mut note = |folder: &Path| {
            synced.push(folder.to_owned());
            Ok(())
        };
        make_durable(&two, &mut note).unwrap();
        make_durable(&two, &mut note).unwrap();
        assert!(two.is_dir());
        assert_eq!(synced, [one.clone(), there.path().to_owned(), two, one]);
    }
}
