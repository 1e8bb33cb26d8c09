//! Witnesses: who cosigns the log, how many of them count, whose logs are cosigned here, and judging what they found.

mod judge;
mod serve;
mod shown;

use clap::{Args, Subcommand};
use kos_api::{
    List, routes,
    witness::{AddWitness, SetWitnessPolicy, Witness as Item, WitnessPolicy},
};

use super::super::device::find;
use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};
use judge::Judge;
use serve::Serve;

/// What to do with witnesses.
#[derive(Debug, Subcommand)]
pub(crate) enum Witness {
    /// Lists who cosigns the log, and how far each of them is.
    List,
    /// Has somebody cosign the log: a witness of tlog-witness by its address, or a device.
    Add(Add),
    /// Has somebody cosign the log no more.
    Remove(Remove),
    /// Asks for the cosignatures of so many witnesses; without a number, shows how many are asked for.
    Policy(Policy),
    /// Cosigns logs of others.
    #[command(subcommand)]
    Serve(Serve),
    /// Says whether two checkpoints prove that a log signed two trees; exits 10 if they do not.
    Judge(Judge),
}

/// `audit witness add URL VKEY`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What stands before `/add-checkpoint`: `https://witness.example/w1`.
    #[arg(required_unless_present = "device", requires = "verifier_key")]
    url: Option<String>,
    /// Its verifier key, from whoever runs it.
    verifier_key: Option<String>,
    /// A device of the fleet that has a link now.
    #[arg(long, conflicts_with_all = ["url", "verifier_key"])]
    device: Option<String>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `audit witness remove NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The name in its signature lines.
    name: String,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `audit witness policy K`
#[derive(Debug, Args)]
pub(crate) struct Policy {
    /// How many.
    threshold: Option<u64>,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Witness {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::List => {
                let client = session.client()?;
                let list: List<Item> =
                    client.list(&routes::WITNESS_LIST, &[], &serde_json::json!({})).await?;
                session.printer.list(&list)?;
                if list.items.is_empty() {
                    session.terminal.note("no witness: the log has local integrity only");
                }
                Ok(Ending::Done)
            }
            Self::Add(add) => add.run(session, &session.client()?).await,
            Self::Remove(remove) => remove.run(session, &session.client()?).await,
            Self::Policy(policy) => policy.run(session, &session.client()?).await,
            Self::Serve(serve) => serve.run(session, &session.client()?).await,
            Self::Judge(judge) => judge.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let device_id = match &self.device {
            Some(device) => Some(find(client, device).await?.device.device_id),
            None => None,
        };
        let body = AddWitness { url: self.url, verifier_key: self.verifier_key, device_id };
        let how = self.change.change();
        session.outcome(&client.change::<Item, _>(&routes::WITNESS_ADD, &[], &body, &how).await?)
    }
}

impl Remove {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let danger = Danger::Moderate { yes: self.change.yes };
        let question = format!("take the word of {} no more", self.name);
        let (route, values, nothing) = (&routes::WITNESS_REMOVE, [self.name.as_str()], serde_json::json!({}));
        let asked =
            session.consent_to(client, (route, &values, &nothing), (&question, danger), self.change.dry_run);
        if asked.await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        session.outcome(&client.change::<Item, _>(route, &values, &nothing, &self.change.change()).await?)
    }
}

impl Policy {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let Some(threshold) = self.threshold else {
            let policy: WitnessPolicy = client.show(&routes::WITNESS_POLICY, &[]).await?;
            return session.printer.item(&policy).map(|()| Ending::Done);
        };
        let (body, how) = (SetWitnessPolicy { threshold }, self.change.change());
        session
            .outcome(&client.change::<WitnessPolicy, _>(&routes::WITNESS_SET_POLICY, &[], &body, &how).await?)
    }
}
