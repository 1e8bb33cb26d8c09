//! Files, written so that a crash leaves the old one or the new one.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use kos_base::text::printable;
use rustix::fs::OFlags;

use crate::Fault;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner: it holds a secret, or says something about people or devices.
    Owner,
    /// Whoever the owner's umask lets.
    Everybody,
}

impl Readers {
    const fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o666,
        }
    }
}

/// A file that appears under its name only when it is complete.
pub(crate) struct Draft {
    file: File,
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Starts a file that will be called `path`.
    pub(crate) fn start(path: &Path, readers: Readers) -> Result<Self, Fault> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let draft = path.with_file_name(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(readers.file_mode()).open(&draft);
        let file = opened.map_err(|source| Fault::Unwritable { path: path.to_owned(), source })?;
        Ok(Self { file, draft, path: path.to_owned() })
    }

    /// Adds bytes at its end.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all(bytes).map_err(|source| Fault::Unwritable { path: self.path.clone(), source })
    }

    /// Makes it durable under its name, in place of what was there.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.draft, &self.path))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|source| Fault::Unwritable { path: self.path.clone(), source })
    }
}

impl Drop for Draft {
    /// What was not finished leaves nothing behind; after [`Draft::finish`] there is nothing under this name.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.draft);
    }
}

/// Writes a whole file. Something that is no file, such as a device or a link, is not replaced by one.
pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), Fault> {
    if path == Path::new("-") {
        return Err(Fault::usage("`-` is no file", "leave the flag out for stdout, or write ./-"));
    }
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        let message = format!("{} is there and is no file", path.display());
        return Err(Fault::usage(message, "name a file that is not there yet"));
    }
    let mut draft = Draft::start(path, readers)?;
    draft.write(bytes)?;
    draft.finish()
}

/// Refuses a place where something is already: an older backup may be the only one that is good.
pub(crate) fn keep(path: &Path) -> Result<(), Fault> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Fault::Unreadable { path: path.to_owned(), source }),
        Ok(_) => {
            let message = format!("{} is there already", printable(&path.display().to_string(), 200));
            Err(Fault::usage(message, "name a file that is not there yet, or say --force"))
        }
    }
}

/// Makes a folder, and those above it.
pub(crate) fn create_folder(path: &Path, readers: Readers) -> Result<(), Fault> {
    let mode = match readers {
        Readers::Owner => 0o700,
        Readers::Everybody => 0o777,
    };
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| Fault::Unwritable { path: path.to_owned(), source })
}

/// Reads a whole file of at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Fault> {
    let file = File::open(path).map_err(|source| Fault::Unreadable { path: path.to_owned(), source })?;
    whole(file, path, bytes_max)
}

/// The same in a folder that others may write as well: a link is not followed, and a pipe or a device not waited for.
pub(crate) fn read_plain(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Fault> {
    let unreadable = |source| Fault::Unreadable { path: path.to_owned(), source };
    let file = plain(OpenOptions::new().read(true)).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(ErrorKind::InvalidInput.into()));
    }
    whole(file, path, bytes_max)
}

/// Opens what is at a path itself: no link leads elsewhere, and no pipe keeps us waiting.
pub(crate) fn plain(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
}

fn whole(file: File, path: &Path, bytes_max: u64) -> Result<Vec<u8>, Fault> {
    use std::io::Read as _;
    let unreadable = |source| Fault::Unreadable { path: path.to_owned(), source };
    // Room for all of it at once: it may be a secret, and what grows leaves copies behind.
    let there = file.metadata().map_err(unreadable)?.len().min(bytes_max);
    let mut bytes = Vec::with_capacity(usize::try_from(there).unwrap_or_default().saturating_add(1));
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(Fault::Malformed {
            path: path.to_owned(),
            reason: format!("longer than {bytes_max} bytes"),
            code: kos_base::code::config::TOO_LARGE,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_appears_whole_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut draft = Draft::start(&path, Readers::Owner).unwrap();
        draft.write(b"half").unwrap();
        assert!(!path.exists());
        drop(draft);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write(&path, b"whole", Readers::Owner).unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(read(&path, 4), Err(Fault::Malformed { .. })));
    }
}
