//! Backups of the authority. What is in one only the authority reads; here it is a file.

use std::{fs::File, path::PathBuf};

use aws_lc_rs::digest;
use clap::{Args, Subcommand};
use data_encoding::BASE64URL_NOPAD;
use kos_api::{
    Kind,
    backup::{BackupVerdict, CreateBackup, PASSPHRASE_HEADER},
    hex::Digest,
    routes,
    text::SecretText,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    Fault,
    arguments::PassphraseFlags,
    files::{Draft, Readers},
    output::{Column, Form, Shown},
    session::{Ending, Session},
    terminal::read_secret,
};

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Writes a backup of the authority into a file.
    Create(Create),
    /// Asks the authority whether it could be restored from a backup.
    Verify(Verify),
}

/// `backup create FILE`
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Where the backup is written.
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

/// `backup verify FILE`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Where the backup is.
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

/// A backup that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    path: String,
    size_bytes: u64,
    sha256: Digest,
}

impl Kind for Written {
    const KIND: &'static str = "Backup";
}

impl Shown for Written {
    const NAME: &'static str = "path";
    const PLURAL: &'static str = "backups";
    const COLUMNS: &'static [Column<'static>] = &[
        Column::of("file", "path"),
        Column::of("size", "sizeBytes").looks(Form::Bytes),
        Column::of("sha256", "sha256"),
    ];
}

impl Backup {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::Verify(verify) => verify.run(session).await,
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let passphrase = read_secret("passphrase", self.passphrase.passphrase_file.as_deref())?;
        let request = CreateBackup { passphrase: SecretText::new(passphrase.to_string()) };
        let mut draft = Draft::start(&self.file, Readers::Owner)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let client = session.client()?;
        let size_bytes = client
            .download(&routes::BACKUP_CREATE, &request, |bytes| {
                hash.update(bytes);
                draft.write(bytes)
            })
            .await?;
        draft.finish()?;
        let sha256 = hash.finish().as_ref().try_into().map(Digest::from_bytes);
        let written = Written {
            path: self.file.display().to_string(),
            size_bytes,
            sha256: sha256.map_err(|_| Fault::Internal("a digest of another length".to_owned()))?,
        };
        session.printer.row(&written).map(|()| Ending::Done)
    }
}

impl Verify {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let opened = File::open(&self.file);
        let file = opened.map_err(|source| Fault::Unreadable { path: self.file.clone(), source })?;
        let passphrase = read_secret("passphrase", self.passphrase.passphrase_file.as_deref())?;
        let header = Zeroizing::new(BASE64URL_NOPAD.encode(passphrase.as_bytes()));
        let client = session.client()?;
        let verdict: BackupVerdict =
            client.upload(&routes::BACKUP_VERIFY, file, (PASSPHRASE_HEADER, &header)).await?;
        session.printer.item(&verdict)?;
        Ok(Ending::judged(verdict.ok))
    }
}
