//! Guardians: who is told of alerts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kos_api::{
    List,
    alert::{AddGuardian, Guardian as Item, GuardianWay},
    routes,
    text::OperatorName,
};
use kos_base::code;

use super::device::find;
use crate::{
    Client, Fault, Outcome,
    arguments::ChangeFlags,
    files,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest CA file that is read, in bytes.
const CA_BYTES_MAX: u64 = 48 * 1024;

/// What to do with guardians.
#[derive(Debug, Subcommand)]
pub(crate) enum Guardian {
    /// Has somebody told of alerts.
    Add(Box<Add>),
    /// Lists guardians, and whether each could be told.
    List,
    /// Has a guardian told no more; what waits for it is forgotten.
    Remove(Remove),
}

/// `guardian add NAME`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What it is called: 1 to 48 of a-z, 0-9, `.`, `_`, `-`.
    name: String,
    #[command(flatten)]
    way: Way,
    /// PEM of the CAs by which the receiver is judged; those of the authority's system when not given.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["operator", "device"])]
    ca: Option<PathBuf>,
    /// The mailbox that mail comes from.
    #[arg(long, value_name = "ADDRESS", requires = "mail")]
    from: Option<String>,
    /// A mailbox that mail goes to; up to eight times.
    #[arg(long, value_name = "ADDRESS", requires = "mail")]
    to: Vec<String>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// How it is told; one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Way {
    /// A person: this operator looks, and may acknowledge.
    #[arg(long, value_name = "NAME")]
    operator: Option<OperatorName>,
    /// A service: a signed POST to `https://HOST[:PORT]/PATH`; `http` to the authority's own machine only.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// A device of the fleet, by its id or at least 4 characters of its beginning: a message over its link, which it writes
    /// into its own log.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// A collector of syslog: `unix:///PATH`, `udp://HOST[:PORT]`, `tcp://..` or `tls://..`.
    #[arg(long, value_name = "URL")]
    syslog: Option<String>,
    /// The same in the Common Event Format.
    #[arg(long, value_name = "URL")]
    cef: Option<String>,
    /// A relay for mail: `smtps://HOST[:PORT]`; `smtp` to the authority's own machine only.
    #[arg(long, value_name = "URL", requires_all = ["from", "to"])]
    mail: Option<String>,
}

/// `guardian remove NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Which.
    name: String,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Guardian {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        match self {
            Self::Add(add) => add.run(session, &client).await,
            Self::List => {
                let list: List<Item> =
                    client.list(&routes::GUARDIAN_LIST, &[], &serde_json::json!({})).await?;
                session.printer.list(&list)?;
                if list.items.is_empty() {
                    session.terminal.note("no guardians: nobody is told of alerts (kosctl guardian add)");
                }
                Ok(Ending::Done)
            }
            Self::Remove(remove) => remove.run(session, &client).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let ca = self.ca.as_deref().map(|path| {
            String::from_utf8(files::read(path, CA_BYTES_MAX)?).map_err(|_| Fault::Malformed {
                path: path.to_owned(),
                reason: "not PEM".to_owned(),
                code: code::audit::GUARDIAN_INVALID,
            })
        });
        let ca = ca.transpose()?;
        let Self { name, way, ca: _, from, to, change } = self;
        let Way { operator, webhook, device, syslog, cef, mail } = way;
        let from = from.unwrap_or_default();
        let device = match device {
            Some(typed) => Some(find(client, &typed).await?.device.device_id),
            None => None,
        };
        let ways = [
            operator.map(|operator| GuardianWay::Person { operator }),
            webhook.map(|url| GuardianWay::Webhook { url, ca: ca.clone() }),
            device.map(|device| GuardianWay::Device { device }),
            syslog.map(|address| GuardianWay::Syslog { address, ca: ca.clone() }),
            cef.map(|address| GuardianWay::Cef { address, ca: ca.clone() }),
            mail.map(|relay| GuardianWay::Mail { relay, ca, from, to }),
        ];
        // clap demands one of them.
        let way = ways.into_iter().flatten().next();
        let way = way.ok_or_else(|| Fault::usage("how is it told?", "kosctl guardian add --help"))?;
        let request = AddGuardian { name, way };
        let how = change.change();
        let outcome = client.change::<Item, _>(&routes::GUARDIAN_ADD, &[], &request, &how).await?;
        let ending = session.outcome(&outcome)?;
        if let (Outcome::Done(Item { secret: Some(secret), .. }), true) =
            (&outcome, session.printer.is_for_people())
        {
            crate::output::write_out(&format!("\nsecret {secret}\n"))?;
            session.terminal.note("give this secret to the receiver; it is not shown again");
        }
        Ok(ending)
    }
}

impl Remove {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let danger = Danger::Moderate { yes: self.change.yes };
        let question = format!("tell {} of alerts no more", self.name);
        let (route, values, nothing) =
            (&routes::GUARDIAN_REMOVE, [self.name.as_str()], serde_json::json!({}));
        let asked =
            session.consent_to(client, (route, &values, &nothing), (&question, danger), self.change.dry_run);
        if asked.await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        session.outcome(&client.change::<Item, _>(route, &values, &nothing, &self.change.change()).await?)
    }
}
