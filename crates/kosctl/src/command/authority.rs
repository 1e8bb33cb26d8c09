//! The authority itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kos_api::{
    List,
    authority::{Authority as Item, Crl, SetListen},
    routes,
};

use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    files::{self, Readers},
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest revocation list that is fetched, in bytes.
const CRL_BYTES_MAX: usize = kos_identity::crl::VerifiedCrl::BYTES_MAX;

/// What to do with the authority.
#[derive(Debug, Subcommand)]
pub(crate) enum Authority {
    /// Shows who the authority is: its root, its keys, where it listens.
    Show,
    /// Has the authority listen on another address.
    Listen(Listen),
    /// Lists the revocation lists, or fetches one.
    Crl(CrlOf),
}

/// `authority listen ADDR`
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// The address of a network interface, or 0.0.0.0 or :: for all; 127.0.0.1 for this machine only.
    #[arg(value_name = "ADDR")]
    address: String,
    /// The host name or address by which devices reach it.
    #[arg(long, value_name = "NAME")]
    advertise: Option<String>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `authority crl`
#[derive(Debug, Args)]
pub(crate) struct CrlOf {
    /// The CA whose list is fetched, by at least 8 characters of its key id.
    #[arg(long, value_name = "KEYID", requires = "out")]
    issuer: Option<String>,
    /// Where the list is written, as DER.
    #[arg(long, value_name = "FILE", requires = "issuer")]
    out: Option<PathBuf>,
}

impl Authority {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        match self {
            Self::Show => {
                let item: Item = client.show(&routes::AUTHORITY_SHOW, &[]).await?;
                session.printer.item(&item).map(|()| Ending::Done)
            }
            Self::Listen(listen) => listen.run(session, &client).await,
            Self::Crl(crl) => crl.run(session, &client).await,
        }
    }
}

impl Listen {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let danger = Danger::Moderate { yes: self.change.yes };
        let question = format!("listen on {}", self.address);
        if session.consent(&question, danger, self.change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let body = SetListen { address: self.address, advertise: self.advertise };
        let how = self.change.change();
        session.outcome(&client.change::<Item, _>(&routes::AUTHORITY_LISTEN, &[], &body, &how).await?)
    }
}

impl CrlOf {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let lists: List<Crl> = client.list(&routes::CRL_LIST, &[], &serde_json::json!({})).await?;
        let (Some(typed), Some(out)) = (self.issuer, self.out) else {
            return session.printer.list(&lists).map(|()| Ending::Done);
        };
        let mut fitting = lists.items.iter().filter(|crl| {
            typed.len() >= 8 && crl.issuer_key_id.to_string().starts_with(&typed.to_ascii_lowercase())
        });
        let (Some(crl), None) = (fitting.next(), fitting.next()) else {
            return Err(Fault::Missing {
                kind: "one CA with a key id of",
                name: typed,
                fix: "kosctl authority crl",
            });
        };
        let der = client.read(&routes::CRL_READ, &[&crl.issuer_key_id.to_string()], CRL_BYTES_MAX).await?;
        files::write(&out, &der, Readers::Everybody)?;
        session.printer.row(crl).map(|()| Ending::Done)
    }
}
