//! Writing files so that a power cut leaves the old one or the new one, and removing them so that little is left.
//!
//! What it does not do: promise that overwriting reaches the old blocks. Flash and copy-on-write file systems keep
//! copies of their own; that is why a key is destroyed before what it protects.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, OFlags};
use zeroize::Zeroizing;

use super::RootError;

/// Longest file that is read whole, in bytes: the longest revocation list.
const BYTES_MAX: u64 = 16 << 20;
/// Rights of a file that only its owner reads.
pub const PRIVATE: u32 = 0o600;
/// Rights of a file that everybody reads.
pub const PUBLIC: u32 = 0o644;
/// What a file that is not in place yet ends with.
const UNFINISHED: &str = ".new";

/// Reads the file, or `None` when there is none. The buffer is wiped when it is dropped.
///
/// # Errors
/// When the system refuses, or the file is longer than any that kosd writes.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, RootError> {
    let unreadable = |error| RootError::unreadable(path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let length = file.metadata().map_err(unreadable)?.len();
    if length > BYTES_MAX {
        return Err(RootError::Damaged { path: path.into() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

/// Puts `bytes` in the place of the file with the rights `mode`. When this returns, they are durable. The content
/// that was there before is overwritten, as far as the file system lets it.
///
/// # Errors
/// When the system refuses; the old file is still in place.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), RootError> {
    let unwritable = |error| RootError::unwritable(path, error);
    let unfinished = unfinished_name(path);
    remove(&unfinished)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::CLOEXEC))
        .open(&unfinished)
        .map_err(unwritable)?;
    // The umask of whoever started us must not decide who can read the certificate.
    let rights = file.set_permissions(fs::Permissions::from_mode(mode));
    let written = rights.and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_data());
    let old = open_old(path).map_err(unwritable)?;
    let placed = written.and_then(|()| fs::rename(&unfinished, path)).and_then(|()| sync_parent(path));
    if let Err(error) = placed {
        // The first error is the one to tell; what cannot be removed now is removed by the next write.
        drop(remove(&unfinished));
        return Err(unwritable(error));
    }
    match old {
        Some(mut old) => overwrite(&mut old).map_err(unwritable),
        None => Ok(()),
    }
}

/// Overwrites the file, removes it, and makes that durable. A file that is not there is as good as removed.
///
/// # Errors
/// When the system refuses; the file may be overwritten and still there.
pub fn remove(path: &Path) -> Result<(), RootError> {
    let unwritable = |error| RootError::unwritable(path, error);
    let Some(mut file) = open_old(path).map_err(unwritable)? else { return Ok(()) };
    overwrite(&mut file).map_err(unwritable)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(error)),
        _ => sync_parent(path).map_err(unwritable),
    }
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
        let removed = match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => empty(&path)
                .and_then(|()| fs::remove_dir(&path).map_err(|error| RootError::unwritable(&path, error))),
            Ok(meta) if meta.is_file() => remove(&path),
            _ => fs::remove_file(&path).map_err(|error| RootError::unwritable(&path, error)),
        };
        first = first.and(removed);
    }
    sync(folder).map_err(|error| RootError::unwritable(folder, error))?;
    first
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

fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

fn open_old(path: &Path) -> io::Result<Option<File>> {
    let flags = flags(OFlags::NOFOLLOW | OFlags::CLOEXEC);
    match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn overwrite(file: &mut File) -> io::Result<()> {
    let mut left = file.metadata()?.len();
    file.rewind()?;
    while left > 0 {
        let zeros = &[0u8; 4096];
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..count).unwrap_or(zeros))?;
        left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    }
    file.sync_data()?;
    // Gives the blocks back, which trims them where the file system does; elsewhere the zeros are all that can be done.
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let length = file.metadata()?.len();
    if length > 0 {
        let _ = rustix::fs::fallocate(&*file, hole, 0, length);
    }
    Ok(())
}

pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert!(read(&path).unwrap().is_none());
        for content in [b"first".as_slice(), b"second and longer", b""] {
            replace(&path, content, PRIVATE).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().as_slice(), content);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn old_content_is_overwritten_when_it_is_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, twin) = (folder.path().join("key"), folder.path().join("twin"));
        for act in
            [|path: &Path| replace(path, b"new", PRIVATE).unwrap(), |path: &Path| remove(path).unwrap()]
        {
            fs::write(&path, [7u8; 5000]).unwrap();
            // A second name of the same file shows what became of its blocks.
            fs::hard_link(&path, &twin).unwrap();
            act(&path);
            assert_eq!(fs::read(&twin).unwrap(), [0u8; 5000]);
            fs::remove_file(&twin).unwrap();
        }
        assert!(!path.exists());
        remove(&path).unwrap();
    }

    #[test]
    fn what_a_power_cut_left_unfinished_is_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        replace(&path, b"old", PRIVATE).unwrap();
        fs::write(unfinished_name(&path), b"half").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(unfinished_name(&path), b"half").unwrap();
        replace(&path, b"new", PRIVATE).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"new");
    }

    #[test]
    fn a_link_is_never_followed_to_what_it_points_at() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("key"));
        fs::write(&victim, b"precious").unwrap();
        symlink(&victim, &link).unwrap();
        assert!(remove(&link).is_err());
        assert!(replace(&link, b"x", PRIVATE).is_err());
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
