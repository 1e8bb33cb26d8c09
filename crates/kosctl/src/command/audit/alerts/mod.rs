//! Alerts: what a rule found in the log, and who has seen it.

mod rules;
mod tail;

use clap::{Args, Subcommand};
use kos_api::{
    alert::{Alert, AlertFilter, GuardianTest},
    routes,
};

use self::{rules::Rules, tail::Tail};
use crate::{
    Fault,
    arguments::ChangeFlags,
    command::follow,
    session::{Ending, Session},
};

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// Lists alerts, newest first.
    List(List),
    /// Shows an alert, and how far the guardians have been told.
    Show(Show),
    /// Says that you have seen an alert. Administrators may, and operators who are guardians.
    Ack(Ack),
    /// Shows alerts while they are raised, until Ctrl-C.
    Tail(Tail),
    /// Sends a guardian a notice that is marked as a test; exits 10 if it does not take it.
    Test(Test),
    /// The rules that raise alerts.
    #[command(subcommand)]
    Rules(Rules),
}

/// `audit alerts list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those that nobody has seen.
    #[arg(long)]
    open: bool,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// `audit alerts show ID`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id.
    id: String,
}

/// `audit alerts ack ID`
#[derive(Debug, Args)]
pub(crate) struct Ack {
    /// Its id.
    id: String,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `audit alerts test GUARDIAN`
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The guardian's name.
    guardian: String,
}

impl Alerts {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let nothing = serde_json::json!({});
        match self {
            Self::List(List { open, limit }) => {
                let filter = AlertFilter { open: Some(open), limit: None, cursor: None };
                let route = &routes::ALERT_LIST;
                follow::print_list::<Alert, _>(session, &client, route, &[], filter, limit).await
            }
            Self::Show(Show { id }) => {
                let alert: Alert = client.show(&routes::ALERT_SHOW, &[&id]).await?;
                session.printer.item(&alert).map(|()| Ending::Done)
            }
            Self::Ack(Ack { id, change }) => {
                let how = change.change();
                let route = &routes::ALERT_ACK;
                session.outcome(&client.change::<Alert, _>(route, &[&id], &nothing, &how).await?)
            }
            Self::Test(Test { guardian }) => {
                let route = &routes::GUARDIAN_TEST;
                let said: GuardianTest = client.ask(route, &[&guardian], &nothing, &nothing).await?;
                session.printer.item(&said)?;
                Ok(Ending::judged(said.ok))
            }
            Self::Tail(tail) => tail.run(session, &client).await,
            Self::Rules(rules) => rules.run(session, &client).await,
        }
    }
}
