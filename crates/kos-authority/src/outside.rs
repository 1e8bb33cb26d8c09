//! Folders that others may write as well: archives, and targets for copies of the log.
//!
//! Shape: names below an [`Outside`] are walked one folder at a time from the folder that was opened, so that what is planted
//! there, before or meanwhile, leads nowhere else. [`resolved`] and [`touches`] say where a folder really is, before one is opened.
//!
//! Invariants: no link below the folder is followed, neither for a folder nor for a file. Only plain files are read: a pipe or a
//! device keeps nobody waiting. A file is made new beside its place, whatever is there, and then renamed.
//!
//! What it does not do: keep somebody who may write there from destroying what is there.
//!
//! Source: `docs/spec/audit.md`, AUD-77, AUD-85; symlink(7), openat(2).

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, renameat, unlinkat};

/// Where the folders of a log are, below the folder of an authority and below a copy.
const PARTS: [&str; 6] = ["", "log", "log/tile", "log/tile/entries", "tile", "tile/entries"];

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where `path` really is, however much of it is not there yet.
///
/// # Errors
/// When a folder above it cannot be looked at, or a link leads nowhere.
pub(crate) fn resolved(path: &Path) -> io::Result<PathBuf> {
    let (mut there, mut missing) = (path, Vec::new());
    loop {
        match fs::canonicalize(there) {
            Ok(mut whole) => {
                whole.extend(missing.iter().rev());
                return Ok(whole);
            }
            // A link that leads nowhere today is there all the same.
            Err(e) if e.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(there).is_err() => {
                let (Some(name), Some(above)) = (there.file_name(), there.parent()) else { return Err(e) };
                missing.push(name);
                there = above;
            }
            Err(e) => return Err(e),
        }
    }
}

/// Whether a log in `folder` would share a folder with `own`, or one of the two lies in the other. Both are [`resolved`]; a
/// second name of a folder, by a mount, is seen by what is there.
pub(crate) fn touches(folder: &Path, own: &Path) -> bool {
    let own_folders: Vec<_> = PARTS.iter().filter_map(|part| identity(&own.join(part))).collect();
    let deepest = folder.join("tile/entries");
    let is_same = deepest.ancestors().filter_map(identity).any(|one| own_folders.contains(&one));
    is_same || folder.starts_with(own) || own.starts_with(folder)
}

/// What is at a path: its file system, and its number there.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|there| (there.dev(), there.ino()))
}

/// A folder that was opened, and what is below.
#[derive(Debug)]
pub(crate) struct Outside {
    root: File,
}

impl Outside {
    /// Opens a folder that is there, by the path that [`resolved`] gave.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(path, FOLDER, Mode::empty())?;
        Ok(Self { root: root.into() })
    }

    /// What a file of at most `bytes_max` bytes says; nothing when there is none.
    ///
    /// # Errors
    /// When it is no plain file, or reached through a link, or longer.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let (folder, file) = match self.walk(name, false) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        // Without NONBLOCK the opening of a pipe waits for somebody at its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = match openat(&folder, file, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
        }
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
        }
        Ok(Some(bytes))
    }

    /// The text of such a file.
    pub(crate) fn read_text(&self, name: &str, bytes_max: u64) -> io::Result<Option<String>> {
        let text = self.read(name, bytes_max)?.map(String::from_utf8).transpose();
        text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is no text"))
    }

    /// Puts `bytes` at a name, in place of what was there, through a rename. It is durable after [`Outside::sync`].
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.place(name, bytes, |_| Ok(())).map(drop)
    }

    /// The same, durably.
    pub(crate) fn put_durably(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Before the rename, so that a power cut leaves the old file or the new one.
        let folder = self.place(name, bytes, File::sync_all)?;
        Ok(rustix::fs::fsync(folder)?)
    }

    fn place(
        &self,
        name: &str,
        bytes: &[u8],
        settle: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<OwnedFd> {
        let (folder, place) = self.walk(name, true)?;
        let mut beside = place.to_owned();
        beside.push(".new");
        match unlinkat(&folder, &beside, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = openat(&folder, &beside, flags, Mode::from_raw_mode(0o644))?.into();
        file.write_all(bytes)?;
        settle(&file)?;
        renameat(&folder, &beside, &folder, place)?;
        Ok(folder)
    }

    /// Makes all that was put durable, with whatever else the file system holds.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    /// Makes each folder below durable, and the folder itself.
    pub(crate) fn sync_folders(&self) -> io::Result<()> {
        sync_below(self.root.as_fd())
    }

    /// Removes a folder with the files in it; one with folders in it stays.
    pub(crate) fn remove_folder(&self, name: &str) -> io::Result<()> {
        let (above, place) = self.walk(name, false)?;
        let folder = openat(&above, place, FOLDER, Mode::empty())?;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            if ![c".", c".."].contains(&entry.file_name()) {
                unlinkat(&folder, entry.file_name(), AtFlags::empty())?;
            }
        }
        Ok(unlinkat(&above, place, AtFlags::REMOVEDIR)?)
    }

    /// The folder that a name is in, and its last part.
    fn walk<'a>(&self, name: &'a str, make: bool) -> io::Result<(OwnedFd, &'a OsStr)> {
        let path = Path::new(name);
        let last = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut folder: OwnedFd = self.root.try_clone()?.into();
        for part in path.parent().into_iter().flat_map(Path::components) {
            let std::path::Component::Normal(part) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            folder = match openat(&folder, part, FOLDER, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) if make => {
                    match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(e) => return Err(e.into()),
                    }
                    openat(&folder, part, FOLDER, Mode::empty())?
                }
                opened => opened?,
            };
        }
        Ok((folder, last))
    }
}

fn sync_below(folder: BorrowedFd<'_>) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let may_be_folder = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if !may_be_folder || [c".", c".."].contains(&entry.file_name()) {
            continue;
        }
        match openat(folder, entry.file_name(), FOLDER, Mode::empty()) {
            Ok(below) => sync_below(below.as_fd())?,
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(rustix::fs::fsync(folder)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A file that is not to be touched, and a folder in which somebody planted things.
    fn planted() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let desk = tempfile::tempdir().unwrap();
        let (own, folder) = (desk.path().join("own"), desk.path().join("target"));
        fs::create_dir_all(own.join("inner")).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(own.join("store"), "precious").unwrap();
        fs::write(own.join("inner/7"), "precious").unwrap();
        (desk, own, folder)
    }

    #[test]
    fn what_is_planted_at_the_name_beside_is_replaced_and_not_followed() {
        let (_desk, own, folder) = planted();
        let outside = Outside::open(&folder).unwrap();
        for put in [Outside::put, Outside::put_durably] {
            symlink(own.join("store"), folder.join("checkpoint.new")).unwrap();
            put(&outside, "checkpoint", b"new").unwrap();
            assert_eq!(fs::read(own.join("store")).unwrap(), b"precious");
            assert_eq!(outside.read_text("checkpoint", 9).unwrap().as_deref(), Some("new"));
            assert!(fs::symlink_metadata(folder.join("checkpoint")).unwrap().is_file());
        }
        // A link at the place itself gives way to the file.
        fs::remove_file(folder.join("checkpoint")).unwrap();
        symlink(own.join("store"), folder.join("checkpoint")).unwrap();
        outside.put("checkpoint", b"newer").unwrap();
        assert_eq!(fs::read(own.join("store")).unwrap(), b"precious");
        assert_eq!(fs::read(folder.join("checkpoint")).unwrap(), b"newer");
    }

    #[test]
    fn no_folder_below_is_a_link() {
        let (_desk, own, folder) = planted();
        let outside = Outside::open(&folder).unwrap();
        symlink(&own, folder.join("tile")).unwrap();
        outside.put("tile/store", b"x").unwrap_err();
        outside.put("tile/inner/x", b"x").unwrap_err();
        outside.read("tile/store", 100).unwrap_err();
        outside.remove_folder("tile/inner").unwrap_err();
        outside.remove_folder("tile").unwrap_err();
        outside.put("../own/store", b"x").unwrap_err();
        outside.sync_folders().unwrap();
        assert_eq!(fs::read(own.join("store")).unwrap(), b"precious");
        assert_eq!(fs::read(own.join("inner/7")).unwrap(), b"precious");
        assert!(!own.join("inner/x").exists());
    }

    #[test]
    fn only_plain_files_are_read_and_a_pipe_keeps_nobody_waiting() {
        let (_desk, own, folder) = planted();
        let outside = Outside::open(&folder).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("vkey"),
            FileType::Fifo,
            Mode::from_raw_mode(0o666),
            0,
        )
        .unwrap();
        outside.read("vkey", 100).unwrap_err();
        symlink(own.join("store"), folder.join("link")).unwrap();
        outside.read("link", 100).unwrap_err();
        assert_eq!(outside.read("absent", 100).unwrap(), None);
        assert_eq!(outside.read("no/such", 100).unwrap(), None);
        // Nor does one at the name beside.
        fs::rename(folder.join("vkey"), folder.join("a.new")).unwrap();
        outside.put_durably("a", b"1").unwrap();
        outside.put("x/y/17", b"2").unwrap();
        assert_eq!(outside.read("a", 1).unwrap().as_deref(), Some(&b"1"[..]));
        outside.read("x/y/17", 0).unwrap_err();
        outside.remove_folder("x/y").unwrap();
        assert!(folder.join("x").exists() && !folder.join("x/y").exists());
    }

    #[test]
    fn a_folder_is_known_by_every_way_to_it() {
        let (desk, own, folder) = planted();
        let (own, base) = (fs::canonicalize(own).unwrap(), fs::canonicalize(desk.path()).unwrap());
        fs::create_dir_all(own.join("log/tile/entries")).unwrap();
        let link = base.join("link");
        symlink(own.join("log"), &link).unwrap();
        for way in [link.clone(), link.join("new/er"), own.join("a/b"), own.clone(), base.clone()] {
            assert!(touches(&resolved(&way).unwrap(), &own), "{}", way.display());
        }
        for way in [folder.clone(), base.join("new/er")] {
            assert!(!touches(&resolved(&way).unwrap(), &own), "{}", way.display());
        }
        // Parts of a folder that are those of the log, as a mount makes them.
        symlink(own.join("log/tile"), folder.join("tile")).unwrap();
        assert!(touches(&resolved(&folder).unwrap(), &own));
        symlink(base.join("nowhere"), base.join("dangling")).unwrap();
        resolved(&base.join("dangling/x")).unwrap_err();
    }
}
