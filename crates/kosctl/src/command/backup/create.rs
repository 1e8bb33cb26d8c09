//! Writing a backup: it streams from the authority into a file that appears when it is whole.

use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};
use clap::Args;
use kos_api::{
    backup::{CreateBackup, SealedFile as Item},
    routes,
    text::SecretText,
};
use kos_base::text::printable;

use crate::{
    Change, Fault, Outcome,
    files::{self, Draft, Readers},
    session::{Ending, Session},
    terminal::choose_secret,
};

/// `backup create`
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Where the backup is written; a file that is there is kept.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replaces a file that is there.
    #[arg(long)]
    force: bool,
    /// A public key of `age-keygen`, who can open it; may stand there several times.
    #[arg(long = "recipient", value_name = "age1..", conflicts_with = "passphrase_file")]
    recipients: Vec<String>,
    /// The file with the passphrase; without it and without recipients, it is asked for or read from stdin.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A vault that is left out, since nobody has its newest file any more; may stand there several times.
    #[arg(long = "without-vault", value_name = "NAME")]
    without_vaults: Vec<String>,
    /// Shows what would change, changes nothing, and exits 10 if something would.
    #[arg(long)]
    dry_run: bool,
}

impl Create {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        if !self.force {
            files::keep(&self.out)?;
        }
        let client = session.client()?;
        let passphrase = if self.recipients.is_empty() {
            let file = self.passphrase_file.as_deref();
            let passphrase = choose_secret("passphrase", file, session.terminal.answers)?;
            Some(SecretText::new(passphrase.to_string()))
        } else {
            None
        };
        let body =
            CreateBackup { passphrase, recipients: self.recipients, without_vaults: self.without_vaults };
        let route = &routes::BACKUP_CREATE;
        if self.dry_run {
            let how = Change { dry_run: true, if_match: None };
            let outcome: Outcome<Item> = client.change(route, &[], &body, &how).await?;
            return session.outcome(&outcome);
        }
        let mut draft = Draft::start(&self.out, Readers::Owner)?;
        let (mut digest, mut bytes) = (Context::new(&SHA256), 0);
        client
            .download(route, &body, |piece| {
                digest.update(piece);
                bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                draft.write(piece)
            })
            .await?;
        draft.finish()?;
        let sha256 = data_encoding::HEXLOWER.encode(digest.finish().as_ref());
        let file = printable(&self.out.display().to_string(), 4096);
        session.printer.row(&Item { file, bytes, sha256 }).map(|()| Ending::Done)
    }
}
