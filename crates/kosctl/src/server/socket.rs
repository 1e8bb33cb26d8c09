//! A connection to a local socket, after a look at whose socket it is.
//!
//! The socket is opened as a path first, judged by what was opened, and then connected to through `/proc/self/fd`: so
//! nobody can exchange it between the look and the connection, and its path may be longer than the 107 bytes that the
//! address of a socket has room for.

use std::{os::fd::AsRawFd as _, path::Path};

use rustix::fs::{FileType, Mode, OFlags};
use tokio::net::UnixStream;

use kos_base::text::reason;

use crate::Fault;

/// Connects to `path` if root or the caller owns it.
pub(super) async fn connect(path: &Path) -> Result<UnixStream, Fault> {
    let unreachable = |reason: &str| Fault::Unreachable {
        server: format!("unix:{}", path.display()),
        reason: reason.to_owned(),
    };
    let refused = |error: std::io::Error| unreachable(reason(&error));
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| refused(e.into()))?;
    let found = rustix::fs::fstat(&opened).map_err(|e| refused(e.into()))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(unreachable("this is not a socket"));
    }
    let root = rustix::process::Uid::ROOT.as_raw();
    if ![root, rustix::process::geteuid().as_raw()].contains(&found.st_uid) {
        return Err(Fault::SocketOwner { path: path.to_owned(), owner: found.st_uid });
    }
    UnixStream::connect(format!("/proc/self/fd/{}", opened.as_raw_fd())).await.map_err(refused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, chown};

    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_far_down_a_tree_is_reached() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let folder = std::fs::File::open(&deep).unwrap();
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/a.sock", folder.as_raw_fd())).unwrap();
        let path = deep.join("a.sock");
        assert!(path.as_os_str().len() > 107);
        let (connected, accepted) = tokio::join!(connect(&path), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }

    #[tokio::test]
    async fn what_is_not_there_or_no_socket_or_somebody_elses_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.sock");
        let says = |fault: Fault| fault.to_string().split(": ").last().unwrap_or_default().to_owned();
        assert_eq!(says(connect(&path).await.unwrap_err()), "there is nothing of this name");
        std::fs::write(&path, "").unwrap();
        assert_eq!(says(connect(&path).await.unwrap_err()), "this is not a socket");
        std::fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(says(connect(&path).await.unwrap_err()), "nobody listens there");
        // Only root can give a file away; anybody else cannot make the situation.
        if std::fs::metadata(&path).unwrap().uid() == 0 {
            chown(&path, Some(65534), None).unwrap();
            assert!(matches!(connect(&path).await, Err(Fault::SocketOwner { owner: 65534, .. })));
        }
    }
}
