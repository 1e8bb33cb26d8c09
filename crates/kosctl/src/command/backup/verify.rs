//! Judging a backup without a server and without putting it anywhere: its seal, its files, its log.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use kos_api::backup::BackupVerdict;
use kos_audit::LogKey;
use kos_backup::{BackupError, Manifest, Member, Opening, unpack};
use kos_base::text::printable;

use super::{Key, malformed};
use crate::{
    Fault,
    command::audit::{By, Source, judge},
    session::{Ending, Session},
};

/// `backup verify FILE`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    key: Key,
}

impl Verify {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let opening = self.key.read()?;
        // Only the log is unpacked, which is no secret; keys and store pass by.
        let folder =
            tempfile::tempdir().map_err(|source| unwritable(Path::new("a temporary folder"), source))?;
        let mut verdict = BackupVerdict {
            ok: false,
            file: printable(&self.file.display().to_string(), 4096),
            authority: None,
            created_at: None,
            program: None,
            log_size: None,
            entries_checked: 0,
            failures: Vec::new(),
        };
        match read(&self.file, &opening, folder.path())? {
            Ok(manifest) => judge_log(&mut verdict, manifest, folder.path()).await?,
            Err(failure) => verdict.failures.push(failure),
        }
        verdict.ok = verdict.failures.is_empty();
        session.printer.item(&verdict)?;
        Ok(Ending::judged(verdict.ok))
    }
}

/// What is in it, or what is wrong with it. A key that does not open it is no verdict on the backup.
fn read(path: &Path, opening: &Opening, folder: &Path) -> Result<Result<Manifest, String>, Fault> {
    let file = File::open(path).map_err(|source| Fault::Unreadable { path: path.to_owned(), source })?;
    let take = |name: &Member, content: &mut dyn io::Read| {
        if name.is_private() {
            return Ok(());
        }
        let path = folder.join(name.as_str());
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        io::copy(content, &mut File::create(&path)?).map(drop)
    };
    match unpack(io::BufReader::new(file), opening, take) {
        Ok(manifest) => Ok(Ok(manifest)),
        Err(BackupError::Io(source)) => Err(unwritable(folder, source)),
        Err(error @ BackupError::Damaged(_)) => Ok(Err(error.to_string())),
        Err(error) => {
            Err(Fault::Malformed { path: path.to_owned(), reason: error.to_string(), code: error.code() })
        }
    }
}

async fn judge_log(verdict: &mut BackupVerdict, manifest: Manifest, folder: &Path) -> Result<(), Fault> {
    let key: LogKey = manifest.log_key.parse().map_err(|e: kos_audit::key::VerifierKeyError| {
        malformed(Path::new(&verdict.file), printable(&e.to_string(), 200))
    })?;
    let keys = match manifest.version {
        1 => ["keys/root.key", "keys/store.key"],
        _ => ["keys/machine.json", "keys/machine.key"],
    };
    for needed in ["store.db", "keys/SHA256SUMS", "log/checkpoint"].into_iter().chain(keys) {
        if !manifest.files.iter().any(|file| file.name.as_str() == needed) {
            verdict.failures.push(format!("`{needed}` is missing"));
        }
    }
    if verdict.failures.is_empty() {
        let (log, _) = judge(&Source::Folder(&folder.join("log")), &key, &By::nothing()).await?;
        verdict.entries_checked = log.entries_checked;
        if log.head.size != manifest.log_size {
            verdict.failures.push("the log has another size than the manifest says".to_owned());
        }
        verdict.failures.extend(log.failures.into_iter().map(|failure| failure.detail));
    }
    verdict.authority = Some(manifest.authority);
    verdict.created_at = Some(manifest.created_at);
    verdict.program = Some(printable(&manifest.program, 40));
    verdict.log_size = Some(manifest.log_size);
    Ok(())
}

fn unwritable(path: &Path, source: io::Error) -> Fault {
    Fault::Unwritable { path: path.to_owned(), source }
}
