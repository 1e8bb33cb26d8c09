//! The administrator's socket: HTTP/1.1 on `DATA/authority/run/authority.sock`, for this machine only.
//!
//! Who connects is known from the kernel. The server's own user, root and the members of group `kos` are admin; nobody
//! else gets an answer, even if the file's mode should let them in.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::Path,
};

use axum::{Router, http::Extensions};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use super::{
    Stopping,
    api::Origin,
    http::{Version, serve_connection},
    stopped,
};
use crate::authority::{Home, StartError};

/// Most connections at a time; one administrator needs a few.
const CONNECTIONS_MAX: usize = 128;

/// Whose members are admin.
const GROUP: &str = "kos";

/// The socket, listening. The file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: std::path::PathBuf,
}

impl Socket {
    /// Makes the socket, in place of one that an interrupted run left. Paths of any length work: the address that the
    /// kernel gets goes through the open folder.
    pub(crate) fn bind(home: &Home) -> Result<Self, StartError> {
        let path = home.socket();
        let failed = |e: io::Error| StartError::file(&path, &e);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let folder = File::open(home.run()).map_err(failed)?;
        let name = path.file_name().unwrap_or_default();
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        let listener = UnixListener::bind(&short).map_err(failed)?;
        if let Some(group) = group_id(GROUP) {
            // Without the right to give it to the group, its members get root's answer: they cannot open it.
            drop(std::os::unix::fs::chown(&path, None, Some(group)));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(Self { listener, path })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that stays behind is removed by the next start.
        drop(fs::remove_file(&self.path));
    }
}

/// Accepts until the program stops.
pub(crate) async fn serve(socket: Socket, router: Router, stopping: Stopping) {
    let mut connections = JoinSet::new();
    let mut stop = stopping.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(handle(stream, router.clone(), stopping.clone()));
                }
                // Closed at once: the caller sees that nobody answers and tries again.
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the administrator's socket");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            },
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn handle(stream: UnixStream, router: Router, stopping: Stopping) {
    let Ok(peer) = stream.peer_cred() else { return };
    let user = user_name(peer.uid());
    let own = rustix::process::geteuid().as_raw();
    let is_member = || {
        group_id(GROUP).is_some_and(|group| group == peer.gid())
            || user.as_deref().is_some_and(|user| group_members(GROUP).iter().any(|member| member == user))
    };
    let shown = user.clone().unwrap_or_else(|| peer.uid().to_string());
    let origin = if peer.uid() == 0 || peer.uid() == own || is_member() {
        Origin::LocalAdmin(shown)
    } else {
        tracing::warn!(user = shown, "somebody who is not an administrator of this machine asks");
        Origin::LocalStranger
    };
    let mut known = Extensions::new();
    known.insert(origin);
    serve_connection(stream, Version::Http1, router, known, stopping).await;
}

/// The name of a user; local accounts only.
fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users.find_map(|fields| match fields.as_slice() {
        [name, _, id, ..] if id.parse() == Ok(uid) => Some((*name).to_owned()),
        _ => None,
    })
}

fn group_id(name: &str) -> Option<u32> {
    group(name).and_then(|(id, _)| id)
}

fn group_members(name: &str) -> Vec<String> {
    group(name).map(|(_, members)| members).unwrap_or_default()
}

fn group(name: &str) -> Option<(Option<u32>, Vec<String>)> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let mut groups = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    groups.find_map(|fields| match fields.as_slice() {
        [found, _, id, members] if *found == name => {
            Some((id.parse().ok(), members.split(',').map(str::to_owned).collect()))
        }
        _ => None,
    })
}
