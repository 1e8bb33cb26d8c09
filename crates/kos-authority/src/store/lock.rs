//! One process per store: an advisory lock on a file beside it, held until the process ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::StoreError;

/// The held lock. Dropping it lets another process in.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes the lock on `store.lock` in `folder`.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be made.
    pub(crate) fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("store.lock");
        let open = |detail: std::io::Error| StoreError::Open {
            path: path.display().to_string(),
            detail: detail.to_string(),
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(open)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.display().to_string() }),
            Err(TryLockError::Error(e)) => Err(open(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = StoreLock::take(folder.path()).unwrap();
        assert!(matches!(StoreLock::take(folder.path()), Err(StoreError::Locked { .. })));
        drop(first);
        assert!(StoreLock::take(folder.path()).is_ok());
    }
}
