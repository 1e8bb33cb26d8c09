//! Secrets that are used where they are: what comes back is a signature, a MAC or a code.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use kos_api::{
    Kind, routes,
    routes::Route,
    text::SecretText,
    vault::{UseVaultEntry, VaultCode, VaultMac, VaultSignature},
};
use serde::Serialize;

use super::{
    Place,
    entry::{VALUE_BYTES_MAX, admit_name},
    nothing,
};
use crate::{
    Fault,
    output::{Shown, write_out},
    session::{Ending, Session},
    terminal::read_value,
};

/// What to do with a secret that stays.
#[derive(Debug, Subcommand)]
pub(crate) enum Use {
    /// Signs a message with a private_key; prints base64.
    Sign(OnMessage),
    /// Makes the HMAC-SHA-256 of a message; prints hex.
    Hmac(OnMessage),
    /// Prints the one-time code of a totp_seed.
    Totp(OnNothing),
}

/// `vault use sign NAME`, `vault use hmac NAME`
#[derive(Debug, Args)]
pub(crate) struct OnMessage {
    /// What the secret is called.
    name: String,
    #[command(flatten)]
    place: Place,
    /// The file with the message, `-` for stdin, which it is read from without a file as well. It is taken byte for byte.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// `vault use totp NAME`
#[derive(Debug, Args)]
pub(crate) struct OnNothing {
    /// What the seed is called.
    name: String,
    #[command(flatten)]
    place: Place,
}

impl Use {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Sign(on) => {
                let made: VaultSignature = on.ask(session, &routes::VAULT_SIGN).await?;
                print(session, &made, &made.signature)
            }
            Self::Hmac(on) => {
                let made: VaultMac = on.ask(session, &routes::VAULT_HMAC).await?;
                print(session, &made, &made.mac)
            }
            Self::Totp(OnNothing { name, place }) => {
                admit_name(&name)?;
                let (route, values) = (&routes::VAULT_TOTP, [place.name(), name.as_str()]);
                let made: VaultCode = session.client()?.ask(route, &values, &nothing(), &nothing()).await?;
                print(session, &made, made.code.expose())
            }
        }
    }
}

impl OnMessage {
    async fn ask<T: Kind>(&self, session: &Session, route: &Route) -> Result<T, Fault> {
        admit_name(&self.name)?;
        let client = session.client()?;
        let message = read_value("message", self.file.as_deref(), VALUE_BYTES_MAX)?;
        let body = UseVaultEntry { message: SecretText::new(BASE64.encode(&message)) };
        client.ask(route, &[self.place.name(), &self.name], &nothing(), &body).await
    }
}

/// What a program behind a pipe wants is the value alone; whoever names a format gets all of it.
fn print<T: Shown + Serialize>(session: &Session, made: &T, value: &str) -> Result<Ending, Fault> {
    if session.printer.is_for_people() {
        write_out(&format!("{value}\n"))?;
    } else {
        session.printer.item(made)?;
    }
    Ok(Ending::Done)
}
