//! Where the files of a log come from: a folder, or the server.

use std::{
    io,
    path::{Path, PathBuf},
};

use kos_api::routes;
use kos_audit::tree::{Bundle, HASH_BYTES, Tile};
use kos_base::code::Exit;

use crate::{Client, Fault, files};

/// Longest file of a log, in bytes: a bundle of 256 leaves of 64 KiB.
const FILE_BYTES_MAX: usize = 256 * 65_538;

/// The files of a log.
pub(crate) enum Source<'a> {
    Folder(&'a Path),
    Server(&'a Client),
    /// The log that a device has delivered to the server.
    DeviceLog(&'a Client, &'a str),
}

impl Source<'_> {
    /// The checkpoint. A folder without one is no log.
    pub(super) async fn checkpoint(&self) -> Result<String, Fault> {
        match (self.read("checkpoint").await?, self) {
            (Some(bytes), _) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            (None, Self::Folder(folder)) => Err(Fault::Unreadable {
                path: folder.join("checkpoint"),
                source: io::ErrorKind::NotFound.into(),
            }),
            (None, Self::Server(client) | Self::DeviceLog(client, _)) => Err(Fault::Answer {
                server: client.server().to_string(),
                reason: "it has no checkpoint".to_owned(),
            }),
        }
    }

    /// The bytes of a tile; of the full one that has replaced it, its part.
    pub(super) async fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(bytes) = self.read(&tile.path()).await? {
            return Ok(Some(bytes));
        }
        let mut full = self.read(&tile.full().path()).await?;
        if let Some(bytes) = &mut full {
            bytes.truncate(usize::from(tile.width()) * HASH_BYTES);
        }
        Ok(full)
    }

    /// The bytes of a row of leaves, which may hold more of them than are asked for.
    pub(super) async fn bundle(&self, bundle: Bundle) -> Result<Option<Vec<u8>>, Fault> {
        match self.read(&bundle.path()).await? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.read(&bundle.full().path()).await,
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        let read = match self {
            Self::Folder(folder) => {
                let path: PathBuf = folder.join(path);
                files::read(&path, u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX))
            }
            Self::Server(client) => {
                client.read(&routes::AUDIT_LOG, &[path], FILE_BYTES_MAX).await.map(|bytes| bytes.to_vec())
            }
            Self::DeviceLog(client, device) => {
                let values = [*device, path];
                client
                    .read(&routes::DEVICE_LOG_FILE, &values, FILE_BYTES_MAX)
                    .await
                    .map(|bytes| bytes.to_vec())
            }
        };
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Fault::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(Fault::Answered(problem)) if problem.exit_code == Exit::NotFound.code() => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
