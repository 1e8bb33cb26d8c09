//! The log as files that anybody can copy: C2SP tlog-tiles below `DATA/authority/log`.
//!
//! Everything here can be made again from the store; nothing is read back but the checkpoint, which others may have
//! seen. Files are written before the checkpoint that covers them, each through a rename, so that a reader never
//! finds a checkpoint whose tiles are missing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use kos_audit::tree::{Bundle, Piece};

use super::{piece::piece, tail::differs};
use crate::{
    files,
    store::{Store, StoreError},
};

/// The folder of the published log.
#[derive(Clone, Debug)]
pub struct LogFiles {
    folder: PathBuf,
    /// Held while a file is written: a publishing that was cancelled still ends its last one, and the next must not meet
    /// it at the name beside the file.
    writing: Arc<Mutex<()>>,
    /// Held while the log is published, so that its checkpoint never goes back.
    publishing: Arc<tokio::sync::Mutex<()>>,
}

const CHECKPOINT: &str = "checkpoint";
/// The newest one that enough witnesses cosigned, beside the newest.
const WITNESSED: &str = "checkpoint.witnessed";

/// Longest checkpoint that is written or read back, in bytes: the lines of all witnesses take half of it.
pub(crate) const CHECKPOINT_BYTES_MAX: u64 = 16 * 1024;

impl LogFiles {
    /// The log in `folder`, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, writing: Arc::default(), publishing: Arc::default() })
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The checkpoint that was published last.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn checkpoint(&self) -> io::Result<Option<String>> {
        files::read_text(&self.folder.join(CHECKPOINT), CHECKPOINT_BYTES_MAX)
    }

    /// The same for a start. One that is too long or no text is an empty one, which [`Tail::load`](super::Tail::load)
    /// passes over for that of the store.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub(crate) fn published(&self) -> io::Result<Option<String>> {
        match self.checkpoint() {
            Err(e) if matches!(e.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidData) => {
                Ok(Some(String::new()))
            }
            read => read,
        }
    }

    /// A file of the log by its C2SP path; nothing when there is none. Only paths that the format has are looked at.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if ![CHECKPOINT, WITNESSED].contains(&path) && Piece::parse(path).is_none() {
            return Ok(None);
        }
        match fs::read(self.folder.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes what the log has grown by since `from` entries, then the checkpoint. Returns how many it covers.
    ///
    /// # Errors
    /// When the store or the disk fails. Doing it again from the same `from` mends everything.
    pub async fn publish(&self, store: &Store, from: u64) -> Result<u64, StoreError> {
        let _alone = self.publishing.lock().await;
        let Some(state) = store.log_state().await? else { return Ok(0) };
        let archived = store.archived().await?;
        let is_archived =
            |piece: &Piece| matches!(piece, Piece::Bundle(bundle) if bundle.first_leaf() < archived);
        for grown in Piece::grown(from, state.size).filter(|piece| !is_archived(piece)) {
            let bytes = piece(store, grown).await?;
            let bytes = bytes.ok_or_else(|| differs(format!("`{}` is not whole", grown.path())))?;
            self.write(grown.path(), bytes).await?;
            self.drop_partial(grown);
        }
        // Cosigned or not, it is the same checkpoint: only lines come below it.
        let cosigned = store.cosigned_state().await?.map(|cosigned| cosigned.checkpoint);
        let newest = cosigned.filter(|cosigned| cosigned.starts_with(&state.checkpoint));
        self.write(CHECKPOINT.to_owned(), newest.unwrap_or(state.checkpoint).into_bytes()).await?;
        if let Some(witnessed) = store.witnessed_state().await?.filter(|held| held.size <= state.size) {
            self.write(WITNESSED.to_owned(), witnessed.checkpoint.into_bytes()).await?;
        }
        Ok(state.size)
    }

    /// Publishes what the files do not have yet.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub(crate) async fn publish_rest(&self, store: &Store) -> Result<(), StoreError> {
        let published = self.checkpoint().ok().flatten();
        // The size is the second line of a checkpoint; without one, everything is written again.
        let from = published.and_then(|note| note.lines().nth(1)?.parse().ok()).unwrap_or(0);
        self.publish(store, from).await.map(drop)
    }

    /// Takes the files away of bundles whose entries the store says are archived. Whoever reads the log afterwards finds a
    /// checkpoint that covers the entry which says so: until it is published, no file goes.
    ///
    /// # Errors
    /// When the store or the disk fails, or one cannot be removed.
    pub(crate) async fn drop_archived(&self, store: &Store) -> Result<(), StoreError> {
        let (folder, size) = (self.folder.clone(), store.archived().await?);
        let looking = tokio::task::spawn_blocking(move || {
            let paths = Bundle::all(size).map(|bundle| folder.join(Piece::Bundle(bundle).path()));
            paths.filter(|path| path.symlink_metadata().is_ok()).collect::<Vec<_>>()
        });
        let there = looking.await.map_err(|e| StoreError::Failed(e.to_string()))?;
        if there.is_empty() {
            return Ok(());
        }
        self.publish_rest(store).await?;
        let dropping = tokio::task::spawn_blocking(move || {
            for path in there {
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(StoreError::from_io(&path, &e));
                    }
                    _ => {}
                }
            }
            Ok(())
        });
        dropping.await.map_err(|e| StoreError::Failed(e.to_string()))?
    }

    async fn write(&self, path: String, bytes: Vec<u8>) -> Result<(), StoreError> {
        let path = self.folder.join(path);
        let (at, writing) = (path.clone(), Arc::clone(&self.writing));
        let write = move || {
            let _alone = writing.lock().unwrap_or_else(PoisonError::into_inner);
            // At a start most files are there already, and writing is what costs.
            if fs::read(&path).is_ok_and(|there| there == bytes) {
                return Ok(());
            }
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            files::replace(&path, &bytes, files::Mode::Readable)
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|e| StoreError::Failed(e.to_string()))?.map_err(|e| StoreError::from_io(&at, &e))
    }

    /// Removes the narrower forms of a piece that is full now; the format lets them go.
    fn drop_partial(&self, piece: Piece) {
        if piece == piece.full() {
            // They are only in the way: whether they could be removed changes nothing.
            drop(fs::remove_dir_all(self.folder.join(format!("{}.p", piece.path()))));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_twice_at_once_is_whole_and_neither_writer_fails() {
        let folder = tempfile::tempdir().unwrap();
        let files = LogFiles::new(folder.path().to_owned()).unwrap();
        let mut writers = JoinSet::new();
        for n in 0..64_u8 {
            let files = files.clone();
            writers
                .spawn(async move { files.write(CHECKPOINT.to_owned(), vec![b'a' + n % 26; 4_096]).await });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap().unwrap();
        }
        let whole = files.checkpoint().unwrap().unwrap();
        assert!(whole.len() == 4_096 && whole.bytes().all(|byte| Some(byte) == whole.bytes().next()));
    }
}
