//! Writing files so that a power cut leaves the old one or the new one, and removing them so that little is left.
//!
//! What it does not do: promise that overwriting reaches the old blocks. Flash and copy-on-write file systems keep copies
//! of their own; that is why a key is destroyed before what it protects.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, OFlags};
use zeroize::Zeroizing;

/// Rights of a file that only its owner reads.
pub const PRIVATE: u32 = 0o600;
/// Rights of a file that everybody reads.
pub const PUBLIC: u32 = 0o644;
/// What a file that is not in place yet ends with.
pub const UNFINISHED: &str = ".new";

/// Reads a file of at most `bytes_max` bytes, or `None` when there is none. The buffer is wiped when it is dropped.
///
/// # Errors
/// When the system refuses; [`io::ErrorKind::FileTooLarge`] when it is longer.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    whole(file, bytes_max).map(Some)
}

fn whole(file: File, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = file.metadata()?.len();
    if length > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // One byte more than the file has, so that the buffer never grows and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Reads a file that holds a secret, or `None` when there is none: only one that nobody but its owner may read or write, and
/// that belongs to us or to root.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::PermissionDenied`] when others have rights on it.
pub fn read_secret(path: &Path, bytes_max: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let owner_is_right = [0, rustix::process::geteuid().as_raw()].contains(&meta.uid());
    if !meta.is_file() || !owner_is_right || meta.mode() & 0o077 != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    whole(file, bytes_max).map(Some)
}

/// Puts `bytes` in the place of the file with the rights `mode`. When this returns, they are durable. The content
/// that was there before is overwritten, as far as the file system lets it.
///
/// # Errors
/// When the system refuses. The old file is still in place, or, if its folder could not be synchronised, the new one is and
/// may be lost with the power.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = unfinished_name(path);
    remove(&unfinished)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::CLOEXEC))
        .open(&unfinished)?;
    // The umask of whoever started us must not decide who can read the file.
    let rights = file.set_permissions(fs::Permissions::from_mode(mode));
    let written = rights.and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_data());
    let old = open_old(path)?;
    let placed = written.and_then(|()| fs::rename(&unfinished, path)).and_then(|()| sync_parent(path));
    if let Err(error) = placed {
        // The first error is the one to tell; what cannot be removed now is removed by the next write.
        drop(remove(&unfinished));
        return Err(error);
    }
    if let Some(mut old) = old {
        // The new file is in place and durable: that no room was left for zeros changes nothing of that.
        drop(overwrite(&mut old));
    }
    Ok(())
}

/// Overwrites the file, removes it, and makes that durable. A file that is not there is as good as removed.
///
/// # Errors
/// When the system refuses; the file may be overwritten and still there.
pub fn remove(path: &Path) -> io::Result<()> {
    let Some(mut file) = open_old(path)? else { return Ok(()) };
    overwrite(&mut file)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_parent(path),
    }
}

/// Makes renames in a folder durable.
///
/// # Errors
/// When the system refuses.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
    let length = file.metadata()?.len();
    if length > 0 {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(&*file, hole, 0, length);
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const MAX: u64 = 1 << 20;

    #[test]
    fn a_file_is_replaced_whole_with_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert!(read(&path, MAX).unwrap().is_none());
        for content in [b"first".as_slice(), b"second and longer", b""] {
            replace(&path, content, PRIVATE).unwrap();
            assert_eq!(read(&path, MAX).unwrap().unwrap().as_slice(), content);
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
    fn what_a_power_cut_left_unfinished_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(unfinished_name(&path), b"half").unwrap();
        replace(&path, b"new", PRIVATE).unwrap();
        assert_eq!(read(&path, MAX).unwrap().unwrap().as_slice(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_never_followed_to_what_it_points_at() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("key"));
        fs::write(&victim, b"precious").unwrap();
        symlink(&victim, &link).unwrap();
        assert!(remove(&link).is_err());
        assert!(replace(&link, b"x", PRIVATE).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_longer_than_its_limit_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        File::create(&path).unwrap().set_len(MAX + 1).unwrap();
        assert_eq!(read(&path, MAX).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
