//! ROOT: the folders and files of one device, who may read them, and who has them now.
//!
//! Shape, below ROOT (`/` on a device): `etc/kos` for what people and other programs read, `etc/kos/secrets` (0700, files
//! 0600) for everything that nobody else may read, `var/lib/kos/device` (0700) for state, `run/kos` for the socket.
//!
//! Invariants: one process at a time, held by a lock on the state folder itself, so that no lock file remains when the
//! device has been decommissioned. A file is replaced whole or not at all, and is durable when a write returns.
//!
//! Errors: [`RootError`], always with the file. A damaged file is never repaired silently and never trusted.

pub mod file;
mod frame;

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use kos_base::{Code, code, text::reason};
use kos_keyring::{Anchor, Place};

pub use self::frame::{Kind, open, seal};
use crate::config::Config;

/// Rights of a folder that only its owner enters.
const PRIVATE_FOLDER: u32 = 0o700;
/// Rights of a folder that everybody may look into.
const PUBLIC_FOLDER: u32 = 0o755;

/// What can go wrong with the files of a device.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The system refuses to read it.
    #[error("{} cannot be read: {}", path.display(), reason(source))]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refuses to write it. What was there before is still there.
    #[error("{} cannot be written: {}", path.display(), reason(source))]
    Unwritable {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its bytes are not those that were written.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// Another daemon has this ROOT.
    #[error("another kosd runs on {}", root.display())]
    Locked {
        /// Which ROOT.
        root: PathBuf,
    },
}

impl RootError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => code::config::FILE_UNREADABLE,
            Self::Unwritable { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                code::store::STORE_FULL
            }
            Self::Unwritable { .. } => code::config::FILE_UNWRITABLE,
            Self::Damaged { .. } => code::config::FILE_DAMAGED,
            Self::Locked { .. } => code::config::LOCKED,
        }
    }

    pub(crate) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable { path: path.into(), source }
    }

    pub(crate) fn unwritable(path: &Path, source: io::Error) -> Self {
        Self::Unwritable { path: path.into(), source }
    }
}

/// Where the files of one device are.
#[derive(Clone, Debug)]
pub struct Root {
    folder: PathBuf,
    secrets: PathBuf,
    certificate: PathBuf,
}

impl Root {
    /// The configuration file of the device whose ROOT is `folder`.
    pub fn config_file(folder: &Path) -> PathBuf {
        folder.join("etc/kos/config.yaml")
    }

    /// The files of the device whose ROOT is `folder`, where `config` puts them.
    pub fn new(folder: &Path, config: &Config) -> Self {
        Self {
            folder: folder.to_owned(),
            secrets: config.vault.below(folder),
            certificate: config.cert_path.below(folder),
        }
    }

    /// ROOT itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of keys and tokens.
    pub fn secrets(&self) -> &Path {
        &self.secrets
    }

    /// The vault of the device's keys, which opens as `config` says. `credentials` is the folder of systemd's credentials
    /// for this program, where there are any.
    pub fn keyring(&self, config: &Config, credentials: Option<PathBuf>) -> Place {
        Place {
            vault: self.secrets.join("machine.json"),
            anchor: Anchor::at(self.state().join("machine.anchor")),
            key_file: match &config.key_file {
                Some(path) => path.below(&self.folder),
                None => self.secrets.join("machine.key"),
            },
            credentials,
            opener: config.opener,
        }
    }

    /// The certificate, for other programs to read.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The signed list of what the image holds.
    pub fn image_manifest(&self) -> PathBuf {
        self.folder.join("etc/kos/image.manifest")
    }

    /// The key that signs it, as PEM.
    pub fn image_signer(&self) -> PathBuf {
        self.folder.join("etc/kos/image.pub")
    }

    /// The folder of the device's state.
    pub fn state(&self) -> PathBuf {
        self.folder.join("var/lib/kos/device")
    }

    /// The local socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/kos/kosd.sock")
    }

    /// Makes the folders that are missing and closes those that must be private.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn prepare(&self) -> Result<(), RootError> {
        let parent = |path: &Path| path.parent().map(Path::to_path_buf);
        for folder in [parent(&self.certificate), parent(&self.secrets), parent(&self.socket())] {
            make_folder(&folder.unwrap_or_default(), PUBLIC_FOLDER)?;
        }
        for folder in [self.secrets.clone(), self.state()] {
            make_folder(&folder, PRIVATE_FOLDER)?;
            let closed = fs::set_permissions(&folder, Permissions::from_mode(PRIVATE_FOLDER));
            closed.map_err(|error| RootError::unwritable(&folder, error))?;
        }
        Ok(())
    }

    /// Takes this ROOT for as long as the answer lives. Dropping it, or the end of the process, gives it back.
    ///
    /// # Errors
    /// [`RootError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<Lock, RootError> {
        let state = self.state();
        let folder = File::open(&state).map_err(|error| RootError::unreadable(&state, error))?;
        match rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _folder: folder }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(RootError::Locked { root: self.folder.clone() }),
            Err(error) => Err(RootError::unreadable(&state, error.into())),
        }
    }
}

/// The right to use a ROOT.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), RootError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.map_err(|error| RootError::unwritable(folder, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(folder: &Path) -> Root {
        Root::new(folder, &Config::parse("config.yaml", b"").unwrap().config)
    }

    #[test]
    fn folders_with_secrets_are_closed_even_if_somebody_opened_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path());
        root.prepare().unwrap();
        fs::set_permissions(root.secrets(), Permissions::from_mode(0o777)).unwrap();
        root.prepare().unwrap();
        for private in [root.secrets().to_owned(), root.state()] {
            assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_root_has_one_daemon_at_a_time_and_keeps_no_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path());
        root.prepare().unwrap();
        let lock = root.lock().unwrap();
        let refused = root.lock().unwrap_err();
        assert_eq!(refused.code().exit().code(), 6, "{refused}");
        drop(lock);
        drop(root.lock().unwrap());
        assert_eq!(fs::read_dir(root.state()).unwrap().count(), 0);
    }

    #[test]
    fn paths_follow_the_configuration() {
        let text = b"identity: {cert_path: /opt/id.cert}\nsecrets: {vault: /opt/secrets}\n";
        let config = Config::parse("config.yaml", text).unwrap().config;
        let root = Root::new(Path::new("/r"), &config);
        assert_eq!(root.certificate(), Path::new("/r/opt/id.cert"));
        assert_eq!(root.secrets(), Path::new("/r/opt/secrets"));
    }
}
