//! The keys of a vault: made, opened, wiped, replaced.

use std::path::PathBuf;

use clap::Args;
use data_encoding::BASE64;
use kos_api::{
    routes,
    text::SecretText,
    vault::{CreateVault, RotateVault, UnlockVault, Vault as Item},
};

use super::{CodeFlag, PassphraseFlag, Place, change, nothing, passkey::PageFlag};
use crate::{
    Fault,
    arguments::ChangeFlags,
    session::{Ending, Session},
    terminal::{Consent, Danger, choose_secret},
};

/// `vault unlock`
#[derive(Debug, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    place: Place,
    /// Makes the vault, whose passphrase is asked for twice: 12 characters or more.
    #[arg(long)]
    create: bool,
    /// Opens it by a passkey in place of its passphrase: serves a page on this machine, on which a browser asks for it.
    #[arg(long, conflicts_with_all = ["create", "passphrase_file"])]
    passkey: bool,
    #[command(flatten)]
    page: PageFlag,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    code: CodeFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `vault lock`
#[derive(Debug, Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `vault rotate`
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    code: CodeFlag,
    /// Asks for a new passphrase as well.
    #[arg(long)]
    new: bool,
    /// The file with the new passphrase, in one line.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Unlock {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let (client, values) = (session.client()?, [self.place.name()]);
        if self.create {
            let file = self.passphrase.passphrase_file.as_deref();
            let passphrase = choose_secret("passphrase", file, session.terminal.answers)?;
            let body = CreateVault { passphrase: SecretText::new(passphrase.to_string()) };
            return change::<Item, _>(session, &client, &routes::VAULT_CREATE, &values, &body, &self.change)
                .await;
        }
        let (passphrase, passkey) = match (self.passkey, self.change.dry_run) {
            (false, _) => (Some(self.passphrase.read()?), None),
            // A plan tries nothing, so nobody is asked.
            (true, true) => (None, Some(SecretText::new(BASE64.encode(&[1; 32])))),
            (true, false) => (None, Some(self.page.use_one(session, &client, values[0], "Open").await?)),
        };
        let code = self.code.read(session, &client, values[0], &self.change).await?;
        let body = UnlockVault { passphrase, passkey, code };
        change::<Item, _>(session, &client, &routes::VAULT_UNLOCK, &values, &body, &self.change).await
    }
}

impl Lock {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let (client, values) = (session.client()?, [self.place.name()]);
        change::<Item, _>(session, &client, &routes::VAULT_LOCK, &values, &nothing(), &self.change).await
    }
}

impl Rotate {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let (client, values) = (session.client()?, [self.place.name()]);
        let question = format!(
            "give {} new keys; only offline keys and the passphrase open it then, no passkeys",
            values[0]
        );
        let danger = Danger::Moderate { yes: self.change.yes };
        if session.consent(&question, danger, self.change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let passphrase = self.passphrase.read()?;
        let file = self.new_passphrase_file.as_deref();
        let new_passphrase = if self.new || file.is_some() {
            let chosen = choose_secret("new passphrase", file, session.terminal.answers)?;
            Some(SecretText::new(chosen.to_string()))
        } else {
            None
        };
        let code = self.code.read(session, &client, values[0], &self.change).await?;
        let body = RotateVault { passphrase, new_passphrase, code };
        change::<Item, _>(session, &client, &routes::VAULT_ROTATE, &values, &body, &self.change).await
    }
}
