//! Being the witness of logs of others.

use clap::{Args, Subcommand};
use kos_api::{
    List, routes,
    witness::{AddWitnessedLog, WitnessedLog},
};

use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// What to do with logs of others.
#[derive(Debug, Subcommand)]
pub(crate) enum Serve {
    /// Cosigns a log: serves `/witness/add-checkpoint` for it, beside `/pki`.
    Add(Add),
    /// Lists the logs that are cosigned here, with the key by which the cosignatures are known.
    List,
    /// Cosigns a log no more.
    Remove(Remove),
}

/// `audit witness serve add VKEY`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The verifier key of the log, from whoever keeps it.
    verifier_key: String,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `audit witness serve remove ORIGIN`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// What the log is called.
    origin: String,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Serve {
    pub(super) async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        match self {
            Self::Add(Add { verifier_key, change }) => {
                let (route, body) = (&routes::WITNESSED_ADD, AddWitnessedLog { verifier_key });
                session.outcome(&client.change::<WitnessedLog, _>(route, &[], &body, &change.change()).await?)
            }
            Self::List => {
                let list: List<WitnessedLog> =
                    client.list(&routes::WITNESSED_LIST, &[], &serde_json::json!({})).await?;
                session.printer.list(&list)?;
                if list.items.is_empty() {
                    session.terminal.note("no log of others is cosigned here");
                }
                Ok(Ending::Done)
            }
            Self::Remove(Remove { origin, change }) => {
                let danger = Danger::Moderate { yes: change.yes };
                let question = format!("cosign {origin} no more");
                let (route, values, nothing) =
                    (&routes::WITNESSED_REMOVE, [origin.as_str()], serde_json::json!({}));
                let asked = session.consent_to(
                    client,
                    (route, &values, &nothing),
                    (&question, danger),
                    change.dry_run,
                );
                if asked.await? == Consent::Withheld {
                    return Ok(Ending::Withheld);
                }
                let how = change.change();
                session.outcome(&client.change::<WitnessedLog, _>(route, &values, &nothing, &how).await?)
            }
        }
    }
}
