//! Sockets at paths of any length. The kernel takes 107 bytes; a name through an open folder is always shorter.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Longest path that the kernel takes, in bytes (`sun_path` without its zero).
const PATH_BYTES_MAX: usize = 107;

/// A short name of a socket, good for as long as this lives.
pub(super) struct Short {
    path: PathBuf,
    /// What the short name leads through.
    _folder: Option<File>,
}

impl Short {
    /// # Errors
    /// When the socket's folder cannot be opened.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = i32::try_from((OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC).bits());
        let folder = File::options().read(true).custom_flags(flags.unwrap_or(0)).open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
