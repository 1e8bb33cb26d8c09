//! `kos-authority restore FILE`: the words around [`kos_authority::restore::put_back`].

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use kos_authority::restore::{self, PutBack, RestoreError};
use kos_backup::{Opening, Passphrase};
use kos_base::{
    code,
    text::{only_line, reason},
};

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
            (None, Some(path)) => {
                let name = format!("`{}`", path.display());
                Opening::Passphrase(Passphrase::new(line(&name, &read(path)?)?))
            }
            (None, None) => Opening::Passphrase(Passphrase::new(ask()?)),
        };
        let PutBack { restoration: restored, wants } = restore::put_back(data, &self.file, opening).await?;
        if let Some(wants) = wants {
            // A closed stderr changes nothing.
            let _ = writeln!(io::stderr(), "{wants}");
        }
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
    let name = format!("`{}`", path.display());
    secret(&name, fs::File::open(path).map_err(|e| unreadable(&name, &e))?)
}

fn ask() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        let typed = rpassword::prompt_password("passphrase: ").map_err(|e| unreadable("stdin", &e))?;
        return Ok(typed);
    }
    line("stdin", &secret("stdin", io::stdin())?)
}

/// The passphrase of a text, as `kosctl backup create` takes it too.
fn line(name: &str, text: &str) -> Result<String, Failure> {
    only_line(text).map(str::to_owned).ok_or_else(|| {
        let why = format!("{name}: a passphrase is one line, and here are more");
        Failure::new(code::config::USAGE, why)
    })
}

/// All that `from` has.
fn secret(name: &str, from: impl io::Read) -> Result<String, Failure> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| unreadable(name, &e))?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > SECRET_BYTES_MAX) {
        let long = io::Error::new(io::ErrorKind::FileTooLarge, "longer than any passphrase or key file");
        return Err(unreadable(name, &long));
    }
    Ok(text)
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::new(code::config::FILE_UNREADABLE, format!("{name}: {}", reason(error)))
}
