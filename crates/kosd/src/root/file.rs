//! The files of a device: read whole, replaced whole, removed so that little is left.
//!
//! The writing itself is that of [`kos_keyring::file`]; here are its errors with their file, and folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kos_keyring::file::{self as whole, UNFINISHED, sync_folder};
pub use kos_keyring::file::{PRIVATE, PUBLIC};
use zeroize::Zeroizing;

use super::RootError;

/// Longest file that is read whole, in bytes: the longest revocation list.
const BYTES_MAX: u64 = 16 << 20;

/// Reads the file, or `None` when there is none. The buffer is wiped when it is dropped.
///
/// # Errors
/// When the system refuses, or the file is longer than any that kosd writes.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, RootError> {
    whole::read(path, BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => RootError::Damaged { path: path.into() },
        _ => RootError::unreadable(path, error),
    })
}

/// Puts `bytes` in the place of the file with the rights `mode`. When this returns, they are durable. The content
/// that was there before is overwritten, as far as the file system lets it.
///
/// # Errors
/// When the system refuses; the old file is still in place.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), RootError> {
    whole::replace(path, bytes, mode).map_err(|error| RootError::unwritable(path, error))
}

/// Overwrites the file, removes it, and makes that durable. A file that is not there is as good as removed.
///
/// # Errors
/// When the system refuses; the file may be overwritten and still there.
pub fn remove(path: &Path) -> Result<(), RootError> {
    whole::remove(path).map_err(|error| RootError::unwritable(path, error))
}

/// Removes every file in the folder, overwritten first, and leaves the folder. One that is not there is empty.
///
/// # Errors
/// At the first that cannot be removed, after all others are.
pub fn empty(folder: &Path) -> Result<(), RootError> {
    empty_except(folder, &[])
}

/// As [`empty`], but leaves the files with the names `kept`.
///
/// # Errors
/// As [`empty`].
pub fn empty_except(folder: &Path, kept: &[&str]) -> Result<(), RootError> {
    if !folder.is_dir() {
        return Ok(());
    }
    let mut first = Ok(());
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default();
        if kept.iter().any(|kept| name == *kept) {
            continue;
        }
        first = first.and(clear(&path));
    }
    sync_folder(folder).map_err(|error| RootError::unwritable(folder, error))?;
    first
}

/// Removes what is at a path, whatever it is: a folder with all that is in it, a link and not where it leads.
///
/// # Errors
/// When it cannot be removed.
pub fn clear(path: &Path) -> Result<(), RootError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => empty(path)
            .and_then(|()| fs::remove_dir(path).map_err(|error| RootError::unwritable(path, error))),
        Ok(meta) if !meta.is_file() => {
            fs::remove_file(path).map_err(|error| RootError::unwritable(path, error))
        }
        _ => remove(path),
    }
}

/// Removes what a power cut left unfinished in the folder.
///
/// # Errors
/// As [`remove`].
pub fn sweep(folder: &Path) -> Result<(), RootError> {
    for path in entries(folder)? {
        if path.to_str().is_some_and(|name| name.ends_with(UNFINISHED)) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, RootError> {
    let unreadable = |error| RootError::unreadable(folder, error);
    fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(unreadable))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_a_power_cut_left_unfinished_is_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        replace(&path, b"old", PRIVATE).unwrap();
        fs::write(folder.path().join("key.new"), b"half").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_emptied_without_following_links() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("key"));
        fs::write(&victim, b"precious").unwrap();
        symlink(&victim, &link).unwrap();
        empty_except(folder.path(), &["victim"]).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(!link.exists());
    }

    #[test]
    fn a_folder_is_emptied_of_everything_but_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "kept"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("crls")).unwrap();
        fs::write(folder.path().join("crls/1"), "1").unwrap();
        empty_except(folder.path(), &["kept"]).unwrap();
        assert_eq!(entries(folder.path()).unwrap(), [folder.path().join("kept")]);
        empty(&folder.path().join("missing")).unwrap();
    }

    #[test]
    fn a_file_longer_than_any_of_ours_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let file = File::create(&path).unwrap();
        file.set_len(BYTES_MAX + 1).unwrap();
        assert!(matches!(read(&path), Err(RootError::Damaged { .. })));
    }
}
