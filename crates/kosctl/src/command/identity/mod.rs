//! Identities of devices: looking at them, and judging them without the authority.

mod verify;

use clap::{Args, Subcommand};
use kos_api::{chain::IdentityChain, routes};

use super::{decommission::local_status, device::find};
use crate::{
    Fault,
    output::write_out,
    session::{Ending, Session},
};
use verify::Verify;

/// What to do with identities.
#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// Shows the certificates and the kID of a device.
    Show(Show),
    /// Shows the identity of a device and checks it; exits 10 if a check says no.
    Chain(Of),
    /// Judges an identity that is in a file; needs no server; exits 10 if a check says no.
    Verify(Verify),
}

/// Whose identity.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// Id of the device, or at least 4 characters of its beginning. Leave it out when --server is the socket of the
    /// device itself.
    #[arg(long)]
    device: Option<String>,
}

/// `identity show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    of: Of,
    /// Prints the certificates as PEM, the device's first, without the root.
    #[arg(long, conflicts_with = "kid")]
    pem: bool,
    /// Prints the kID, as base64url.
    #[arg(long)]
    kid: bool,
}

impl Identity {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Show(show) => show.run(session).await,
            Self::Chain(of) => {
                let chain = of.fetch(session).await?;
                session.printer.item(&chain)?;
                Ok(Ending::judged(chain.valid))
            }
            Self::Verify(verify) => verify.run(session),
        }
    }
}

impl Of {
    async fn fetch(&self, session: &Session) -> Result<IdentityChain, Fault> {
        let client = session.client()?;
        match &self.device {
            Some(device) => {
                let found = find(&client, device).await?;
                client.show(&routes::DEVICE_CHAIN, &[found.device.device_id.as_ref()]).await
            }
            None => {
                local_status(&client).await?;
                client.show(&routes::LOCAL_IDENTITY, &[]).await
            }
        }
    }
}

impl Show {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let chain = self.of.fetch(session).await?;
        if self.pem {
            let own = chain.certificates.len().saturating_sub(1);
            let pem: String = chain.certificates.iter().take(own).map(|c| c.pem.as_str()).collect();
            write_out(&pem)?;
        } else if self.kid {
            let missing = Fault::Missing {
                kind: "kID of",
                name: chain.device_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                fix: "wait for the device's next heartbeat",
            };
            write_out(&format!("{}\n", chain.kid.ok_or(missing)?.cwt))?;
        } else {
            session.printer.item(&chain)?;
        }
        Ok(Ending::Done)
    }
}
