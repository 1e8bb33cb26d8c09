//! `kos-authority restore FILE`: the words around [`kos_authority::restore::put_back`].

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use kos_authority::restore::{self, RestoreError};
use kos_backup::{Opening, Passphrase};
use kos_base::code;

use super::{Failure, print};

/// Longest passphrase or key file, in bytes.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// `restore FILE`
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup, as `kosctl backup create` wrote it.
    file: PathBuf,
    /// The file with the passphrase; without it, the passphrase is asked for or read from stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "identity_file")]
    passphrase_file: Option<PathBuf>,
    /// The file of `age-keygen` with the key of a recipient.
    #[arg(long, value_name = "FILE")]
    identity_file: Option<PathBuf>,
}

impl Restore {
    pub(super) async fn run(self, data: &Path) -> Result<(), Failure> {
        let opening = match (&self.identity_file, &self.passphrase_file) {
            (Some(path), _) => Opening::identities(&read(path)?).map_err(|e| {
                Failure::new(code::config::FILE_DAMAGED, format!("`{}`: {e}", path.display()))
            })?,
            (None, Some(path)) => Opening::Passphrase(Passphrase::new(read(path)?)),
            (None, None) => Opening::Passphrase(Passphrase::new(ask()?)),
        };
        let restored = restore::put_back(data, &self.file, opening).await?;
        print(&format!(
            "{}, as it was at {}, with {} log entries; closed until `kosctl backup restore`\n",
            restored.authority, restored.backup_at, restored.backup_size
        ))
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let unreadable =
        |e: io::Error| Failure::new(code::config::FILE_UNREADABLE, format!("`{}`: {e}", path.display()));
    let mut text = String::new();
    fs::File::open(path)
        .map_err(unreadable)?
        .take(SECRET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

fn ask() -> Result<String, Failure> {
    let unreadable = |e: io::Error| Failure::new(code::config::FILE_UNREADABLE, format!("stdin: {e}"));
    if io::stdin().is_terminal() {
        return rpassword::prompt_password("passphrase: ").map_err(unreadable);
    }
    let mut text = String::new();
    io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}
