//! Vaults: a keyring of secrets an environment, opened by people.
//!
//! A secret comes from a prompt, stdin or a file and goes into a pipe or a file; a terminal gets one only after a yes.

mod authoriser;
mod entry;
mod file;
mod handing;
mod key;
mod offline;
mod passkey;
mod recover;
mod share;
mod status;
mod using;

use core::{fmt, str::FromStr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use kos_api::{
    List,
    routes::{self, Route},
    text::SecretText,
    vault::{RemoveFromVault, Vault as VaultItem, VaultSlot},
};
use kos_base::text::printable;
use serde::Serialize;

use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    output::Shown,
    session::{Ending, Session},
    terminal::{Answers, Consent, Danger, read_secret},
};

/// What to do with vaults.
#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Shows a vault and no secret of it, or all vaults.
    Status(status::Status),
    /// Opens a vault by its passphrase or a passkey, until it locks itself.
    Unlock(key::Unlock),
    /// Wipes the keys of a vault from the memory of the authority.
    Lock(key::Lock),
    /// Puts a secret, as a new version if there is one of this name.
    Put(entry::Put),
    /// Gives a secret away, which is recorded: into a pipe or a file, to a terminal after a yes.
    Get(entry::Get),
    /// Uses a secret without showing it, which is recorded.
    #[command(subcommand)]
    Use(using::Use),
    /// Lists the secrets of a vault by name, without them.
    List(entry::List),
    /// Lists the versions of a secret, newest first.
    History(entry::History),
    /// Removes a secret with all its versions.
    Rm(entry::Remove),
    /// Gives a vault a new master key, opened by a passphrase and nothing else.
    Rotate(key::Rotate),
    /// Writes the sealed file of a vault.
    Export(file::Export),
    /// Makes a vault of a file, where there is none.
    Import(file::Import),
    /// Splits a new recovery key into shares, and writes a sheet for each holder.
    Share(share::Share),
    /// Opens a vault by its shares, an offline key or a passkey, and gives it new keys and a new passphrase.
    Recover(recover::Recover),
    /// Proves that shares recover a vault, and changes nothing of it.
    Rehearse(recover::Rehearse),
    /// Keys in files that people keep, for the day when everything else is lost.
    #[command(subcommand)]
    OfflineKey(offline::Offline),
    /// Passkeys of browsers, phones and security keys that open a vault.
    #[command(subcommand)]
    Passkey(passkey::Passkey),
    /// What a vault asks for beside a passphrase.
    #[command(subcommand)]
    Authoriser(authoriser::Authoriser),
}

impl Vault {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Status(status) => status.run(session).await,
            Self::Unlock(unlock) => unlock.run(session).await,
            Self::Lock(lock) => lock.run(session).await,
            Self::Put(put) => put.run(session).await,
            Self::Get(get) => get.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::History(history) => history.run(session).await,
            Self::Rm(remove) => remove.run(session).await,
            Self::Rotate(rotate) => rotate.run(session).await,
            Self::Export(export) => export.run(session).await,
            Self::Import(import) => import.run(session).await,
            Self::Share(share) => share.run(session).await,
            Self::Recover(recover) => recover.run(session).await,
            Self::Rehearse(rehearse) => rehearse.run(session).await,
            Self::Use(using) => using.run(session).await,
            Self::OfflineKey(offline) => offline.run(session).await,
            Self::Passkey(passkey) => passkey.run(session).await,
            Self::Authoriser(authoriser) => authoriser.run(session).await,
        }
    }
}

/// Which vault.
#[derive(Debug, Args)]
struct Place {
    /// The environment of the vault.
    #[arg(long, value_name = "NAME", default_value = "default")]
    env: Environment,
}

/// Name of an environment: 1 to 32 of `a-z 0-9 -`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Environment(String);

/// What opens the vault.
#[derive(Debug, Args)]
struct PassphraseFlag {
    /// The file with the passphrase, in one line; without it, it is asked for or read from stdin.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The one-time code, where a vault asks for one.
#[derive(Debug, Args)]
struct CodeFlag {
    /// The file with the one-time code, `-` for stdin; without it, it is asked for where the vault wants one.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
}

/// What is told to whatever takes something away from a vault that opens it, or that it asks for.
#[derive(Debug, Args)]
struct Removal {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    code: CodeFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

/// The text is no name of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BadEnvironment;

impl Place {
    fn name(&self) -> &str {
        &self.env.0
    }
}

impl PassphraseFlag {
    fn read(&self) -> Result<SecretText, Fault> {
        let passphrase = read_secret("passphrase", self.passphrase_file.as_deref())?;
        Ok(SecretText::new(passphrase.to_string()))
    }
}

impl Removal {
    /// Takes it away after a yes. Nobody is asked about a slot that is not there: `slot` says which of them are meant.
    async fn run(
        &self,
        session: &Session,
        route: &Route,
        (slot, question): (Option<Slot<'_>>, &str),
    ) -> Result<Ending, Fault> {
        let (client, environment) = (session.client()?, self.place.name());
        let danger = Danger::Moderate { yes: self.change.yes };
        if let Some(Slot { kind, name, list, is_meant }) = slot.filter(|_| danger.is_asked()) {
            let vault: VaultItem = client.show(&routes::VAULT_SHOW, &[environment]).await?;
            if !vault.slots.iter().any(|slot| slot.name == name && is_meant(slot)) {
                return Err(Fault::Missing { kind, name: printable(name, 80), fix: list });
            }
        }
        if session.consent(question, danger, self.change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let body = RemoveFromVault {
            passphrase: self.passphrase.read()?,
            code: self.code.read(session, &client, environment, &self.change).await?,
        };
        let values: Vec<&str> = [environment].into_iter().chain(slot.map(|slot| slot.name)).collect();
        let ending = change::<VaultItem, _>(session, &client, route, &values, &body, &self.change).await?;
        if slot.is_some() {
            session
                .terminal
                .note("it goes on opening older copies of the vault: rotate as well if it is in wrong hands");
        }
        Ok(ending)
    }
}

/// One of those slots of a vault that can be taken away.
#[derive(Clone, Copy)]
struct Slot<'a> {
    kind: &'static str,
    name: &'a str,
    /// How to see what there is.
    list: &'static str,
    is_meant: fn(&VaultSlot) -> bool,
}

impl CodeFlag {
    /// The code, if the vault asks for one; a dry run needs none.
    async fn read(
        &self,
        session: &Session,
        client: &Client,
        environment: &str,
        flags: &ChangeFlags,
    ) -> Result<Option<SecretText>, Fault> {
        if flags.dry_run {
            return Ok(None);
        }
        self.read_for(session, client, environment).await
    }

    async fn read_for(
        &self,
        session: &Session,
        client: &Client,
        environment: &str,
    ) -> Result<Option<SecretText>, Fault> {
        if let Some(path) = &self.code_file {
            return Ok(Some(typed_code(&read_secret("one-time code", Some(path))?)));
        }
        let vault: VaultItem = client.show(&routes::VAULT_SHOW, &[environment]).await?;
        match (vault.authoriser, session.terminal.answers) {
            (None, _) => Ok(None),
            (Some(_), Answers::Person) => Ok(Some(typed_code(&read_secret("one-time code", None)?))),
            (Some(_), Answers::Nobody) => {
                let message = "the vault asks for a one-time code as well, and nobody is there to type it";
                Err(Fault::usage(message, "give it with --code-file FILE"))
            }
        }
    }
}

/// A code without the blanks that devices show in it.
fn typed_code(text: &str) -> SecretText {
    SecretText::new(text.chars().filter(|c| !c.is_whitespace()).collect())
}

impl FromStr for Environment {
    type Err = BadEnvironment;

    fn from_str(s: &str) -> Result<Self, BadEnvironment> {
        let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let begins = s.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if begins && s.len() <= 32 && s.bytes().all(fits) {
            Ok(Self(s.to_owned()))
        } else {
            Err(BadEnvironment)
        }
    }
}

impl fmt::Display for BadEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 1 to 32 of `a-z 0-9 -`, beginning with a letter")
    }
}

impl core::error::Error for BadEnvironment {}

/// Makes a change and prints what it did or would do.
async fn change<T: Shown, B: Serialize>(
    session: &Session,
    client: &Client,
    route: &Route,
    values: &[&str],
    body: &B,
    flags: &ChangeFlags,
) -> Result<Ending, Fault> {
    session.outcome(&client.change::<T, B>(route, values, body, &flags.change()).await?)
}

/// Prints a list that has one page.
async fn print_all<T: Shown>(session: &Session, route: &Route, values: &[&str]) -> Result<Ending, Fault> {
    let list: List<T> = session.client()?.list(route, values, &nothing()).await?;
    session.printer.list(&list)?;
    if list.items.is_empty() {
        session.terminal.note(&format!("no {}", T::PLURAL));
    }
    Ok(Ending::Done)
}

/// A body or a query that says nothing.
fn nothing() -> serde_json::Value {
    serde_json::json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_a_short_plain_name() {
        for good in ["default", "a", "prod-2", &"a".repeat(32)] {
            assert!(good.parse::<Environment>().is_ok(), "{good}");
        }
        for bad in ["", "2a", "-a", "Prod", "a_b", "a/b", "a.b", &"a".repeat(33)] {
            assert!(bad.parse::<Environment>().is_err(), "{bad}");
        }
    }
}
