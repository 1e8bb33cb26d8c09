//! Secrets of a vault, by name.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::{Args, builder::PossibleValuesParser};
use data_encoding::BASE64;
use kos_api::{
    routes,
    text::SecretText,
    vault::{PutVaultEntry, ReadVaultEntry, VaultEntry, VaultSecret, VaultVersion, VaultVersionQuery},
};
use kos_base::text::is_safe;
use kos_vault::{EntryName, SecretType};
use zeroize::Zeroizing;

use super::{CodeFlag, Place, change, nothing, print_all};
use crate::{
    Client, Fault,
    arguments::{ChangeFlags, Span},
    clock,
    files::{self, Readers},
    output::write_bytes,
    session::{DryRun, Ending, Session},
    terminal::{Consent, Danger, read_value},
};

/// Longest secret or message, in bytes, as a vault has it.
pub(super) const VALUE_BYTES_MAX: u64 = 65_536;

/// `vault put NAME`
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// What it is called: 1 to 128 bytes of visible characters.
    name: String,
    #[command(flatten)]
    place: Place,
    /// What it is; without it, what it was before, or opaque.
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(SecretType::ALL.map(SecretType::as_str)))]
    kind: Option<String>,
    /// After how long it is not given any more.
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,
    /// The file that has it, `-` for stdin; without it, it is asked for or read from stdin. Only what is typed ends before
    /// the end of the line.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `vault get NAME`
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// What it is called.
    name: String,
    #[command(flatten)]
    place: Place,
    /// An older version of it.
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// The file into which it goes, which only you can read.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    code: CodeFlag,
    /// Shows it on a terminal without asking.
    #[arg(short, long)]
    yes: bool,
}

/// `vault list`
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
}

/// `vault history NAME`
#[derive(Debug, Args)]
pub(crate) struct History {
    /// What it is called.
    name: String,
    #[command(flatten)]
    place: Place,
}

/// `vault rm NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// What it is called.
    name: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    change: ChangeFlags,
}

/// The bytes of a private key that is written as PEM, as most tools write it; the vault has DER.
fn out_of_pem(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let body = str::from_utf8(text).ok()?.trim().strip_prefix("-----BEGIN PRIVATE KEY-----")?;
    let body = body.strip_suffix("-----END PRIVATE KEY-----")?;
    let joined: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    BASE64.decode(joined.as_bytes()).ok().map(Zeroizing::new)
}

impl Put {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        admit_name(&self.name)?;
        let client = session.client()?;
        let value = read_value("secret", self.file.as_deref(), VALUE_BYTES_MAX)?;
        if value.is_empty() {
            return Err(Fault::usage("there is no secret", "give it on stdin or with --file FILE"));
        }
        let value = match self.kind.as_deref() {
            Some("private_key") => out_of_pem(&value).unwrap_or(value),
            _ => value,
        };
        let body = PutVaultEntry {
            kind: self.kind,
            value: SecretText::new(BASE64.encode(&value)),
            expires_at: self.expires.map(|span| clock::now().plus(span.0)),
        };
        let (route, values) = (&routes::VAULT_PUT, [self.place.name(), &self.name]);
        change::<VaultEntry, _>(session, &client, route, &values, &body, &self.change).await
    }
}

impl Get {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        admit_name(&self.name)?;
        let client = session.client()?;
        let is_seen = self.out.is_none() && io::stdout().is_terminal();
        let question = format!("show {} on this terminal", self.name);
        let danger = Danger::Moderate { yes: self.yes };
        if is_seen && session.consent(&question, danger, DryRun::No)? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let (route, values) = (&routes::VAULT_READ, [self.place.name(), &self.name]);
        let query = VaultVersionQuery { version: self.version };
        let body = ReadVaultEntry { code: self.code.read_for(session, &client, values[0]).await? };
        let secret: VaultSecret = client.ask(route, &values, &query, &body).await?;
        if self.out.is_none() && !session.printer.is_for_people() {
            return session.printer.item(&secret).map(|()| Ending::Done);
        }
        let value = decode(&client, &secret)?;
        match &self.out {
            Some(path) => files::write(path, &value, Readers::Owner)?,
            None if is_seen => show(&value)?,
            None => write_bytes(&value)?,
        }
        Ok(Ending::Done)
    }
}

/// A name that no secret can have is none of a path either.
pub(super) fn admit_name(name: &str) -> Result<(), Fault> {
    name.parse::<EntryName>().map(drop).map_err(Fault::Name)
}

fn decode(client: &Client, secret: &VaultSecret) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let value = BASE64.decode(secret.value.expose().as_bytes());
    value.map(Zeroizing::new).map_err(|_| Fault::Answer {
        server: client.server().to_string(),
        reason: "the value of a secret that is not base64".to_owned(),
    })
}

/// A secret with another look than it has would be copied wrong, and one that commands the terminal is worse.
fn show(value: &[u8]) -> Result<(), Fault> {
    let text = core::str::from_utf8(value).ok().filter(|text| text.chars().all(|c| is_safe(c) || c == '\n'));
    let Some(text) = text else {
        return Err(Fault::usage("this secret is not plain text", "write it into a file with --out FILE"));
    };
    write_bytes(text.as_bytes())?;
    if text.ends_with('\n') { Ok(()) } else { write_bytes(b"\n") }
}

impl List {
    pub(super) async fn run(&self, session: &Session) -> Result<Ending, Fault> {
        print_all::<VaultEntry>(session, &routes::VAULT_ENTRIES, &[self.place.name()]).await
    }
}

impl History {
    pub(super) async fn run(&self, session: &Session) -> Result<Ending, Fault> {
        admit_name(&self.name)?;
        let values = [self.place.name(), self.name.as_str()];
        print_all::<VaultVersion>(session, &routes::VAULT_HISTORY, &values).await
    }
}

impl Remove {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        admit_name(&self.name)?;
        let client = session.client()?;
        let question = format!("remove {} with all its versions", self.name);
        let danger = Danger::Moderate { yes: self.change.yes };
        let (route, values) = (&routes::VAULT_REMOVE, [self.place.name(), self.name.as_str()]);
        let body = nothing();
        let asked =
            session.consent_to(&client, (route, &values, &body), (&question, danger), self.change.dry_run);
        if asked.await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        change::<VaultEntry, _>(session, &client, route, &values, &nothing(), &self.change).await
    }
}
