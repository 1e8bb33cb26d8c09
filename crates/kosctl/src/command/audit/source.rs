//! Where the files of a log come from: a folder, the server, or an address on the web.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use kos_api::routes;
use kos_audit::{LogKey, SignedCheckpoint, tree::Piece};
use kos_base::{
    code::{self, Exit},
    text::printable,
};

use super::NOTE_BYTES_MAX;
use crate::{
    Client, Fault, files,
    server::{Address, Web},
    session::Session,
};

/// Longest file of a log, in bytes: a bundle of 256 leaves of 64 KiB.
const FILE_BYTES_MAX: usize = 256 * 65_538;

/// The files of a log.
pub(crate) enum Source<'a> {
    Folder(&'a Path),
    Server(&'a Client),
    Web(&'a Web),
    /// The log that a device has delivered to the server.
    DeviceLog(&'a Client, &'a str),
}

/// A source, with what it needs to be one.
pub(super) enum Place {
    Folder(PathBuf),
    Server(Box<Client>),
    Web(Box<Web>),
}

impl Place {
    /// What `text` names: `server`, an address, or a folder. The certificate of an https server leads to `roots`.
    pub(super) fn parse(text: &str, roots: Option<&Path>, session: &Session) -> Result<Self, Fault> {
        if text == "server" {
            return Ok(Self::Server(Box::new(session.client()?)));
        }
        if Address::is_meant(text) {
            let web = Web::new(text.parse()?, roots, session.timeout)?;
            return Ok(Self::Web(Box::new(web)));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let message = format!("nothing is read by {}://", printable(scheme, 40));
            return Err(Fault::usage(
                message,
                "name `server`, http:// or https:// with an address, or a folder",
            ));
        }
        Ok(Self::Folder(text.into()))
    }

    pub(super) fn source(&self) -> Source<'_> {
        match self {
            Self::Folder(folder) => Source::Folder(folder),
            Self::Server(client) => Source::Server(client),
            Self::Web(web) => Source::Web(web),
        }
    }

    /// The server, when it is one.
    pub(super) fn client(&self) -> Option<&Client> {
        if let Self::Server(client) = self { Some(client) } else { None }
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Server(client) => write!(f, "{}", client.server()),
            Self::Web(web) => write!(f, "{}", web.address()),
            Self::DeviceLog(client, device) => write!(f, "the log of {device} at {}", client.server()),
        }
    }
}

impl Source<'_> {
    /// The checkpoint. Where there is none there is no log.
    pub(super) async fn checkpoint(&self) -> Result<String, Fault> {
        let missing = |server: String| Fault::Answer { server, reason: "it has no checkpoint".to_owned() };
        match (self.read("checkpoint").await?, self) {
            (Some(bytes), _) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            (None, Self::Folder(folder)) => {
                let there = if folder.is_dir() {
                    "the folder has no file `checkpoint`"
                } else {
                    "there is no such folder"
                };
                Err(Fault::Malformed {
                    path: (*folder).to_owned(),
                    reason: there.to_owned(),
                    code: code::audit::NO_LOG_THERE,
                })
            }
            (None, Self::Server(_) | Self::Web(_) | Self::DeviceLog(..)) => Err(missing(self.to_string())),
        }
    }

    /// Refuses what is no archive of this log: a folder that has none of its checkpoints would be passed over in silence.
    pub(super) fn check_archives(archives: &[PathBuf], key: &LogKey) -> Result<(), Fault> {
        for archive in archives {
            let malformed = |reason: &str| Fault::Malformed {
                path: archive.clone(),
                reason: reason.to_owned(),
                code: code::audit::NO_ARCHIVE_THERE,
            };
            let text = match files::read(&archive.join("checkpoint"), NOTE_BYTES_MAX) {
                Ok(text) => text,
                Err(Fault::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Err(malformed("the folder has no file `checkpoint`"));
                }
                Err(fault) => return Err(fault),
            };
            let signed = SignedCheckpoint::parse(&String::from_utf8_lossy(&text)).ok();
            if signed.and_then(|signed| signed.verify(key, &[]).ok()).is_none() {
                return Err(malformed("its checkpoint is not one of this log"));
            }
        }
        Ok(())
    }

    /// The newest checkpoint that the log gives out as witnessed.
    pub(super) async fn witnessed(&self) -> Result<Option<String>, Fault> {
        let read = self.read("checkpoint.witnessed").await?;
        Ok(read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The bytes of a piece; of the full one that has replaced it, its part. A part that is not whole is given as it is.
    pub(super) async fn piece(&self, piece: Piece) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(bytes) = self.read(&piece.path()).await? {
            return Ok(Some(bytes));
        }
        let full = piece.full();
        if full == piece {
            return Ok(None);
        }
        let full = self.read(&full.path()).await?;
        Ok(full.map(|bytes| piece.beginning(&bytes).map(<[u8]>::to_vec).unwrap_or(bytes)))
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
            Self::Web(web) => return web.read(path, FILE_BYTES_MAX).await,
        };
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Fault::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(Fault::Answered(problem)) if problem.exit_code == Exit::NotFound.code() => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
