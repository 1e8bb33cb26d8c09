//! Backups of an authority: made, judged, and what opens one that was put back.

mod create;
mod restore;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kos_backup::{Opening, Passphrase};

use crate::{
    Fault, files,
    session::{Ending, Session},
    terminal::read_secret,
};

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Writes a backup of everything, keys included, sealed to a passphrase or to recipients.
    Create(create::Create),
    /// Judges a backup: whether it opens, is whole, and its log is sound. Needs no server.
    Verify(verify::Verify),
    /// Opens an authority that `kos-authority restore` has put back, and that is closed since.
    Restore(restore::Restore),
}

impl Backup {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::Verify(verify) => verify.run(session).await,
            Self::Restore(restore) => restore.run(session).await,
        }
    }
}

/// Longest key file, in bytes.
const IDENTITY_BYTES_MAX: u64 = 16 * 1024;

/// What opens a backup.
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The file with the passphrase; without it, the passphrase is asked for or read from stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "identity_file")]
    passphrase_file: Option<PathBuf>,
    /// The file of `age-keygen` with the key of a recipient.
    #[arg(long, value_name = "FILE")]
    identity_file: Option<PathBuf>,
}

impl Key {
    fn read(&self) -> Result<Opening, Fault> {
        let Some(path) = &self.identity_file else {
            let passphrase = read_secret("passphrase", self.passphrase_file.as_deref())?;
            return Ok(Opening::Passphrase(Passphrase::new(passphrase.to_string())));
        };
        let text = files::read(path, IDENTITY_BYTES_MAX)?;
        Opening::identities(&String::from_utf8_lossy(&text)).map_err(|e| malformed(path, e.to_string()))
    }
}

fn malformed(path: &Path, reason: String) -> Fault {
    Fault::Malformed { path: path.to_owned(), reason, code: kos_base::code::config::FILE_DAMAGED }
}
