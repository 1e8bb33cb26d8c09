//! Agents: what they may ask of devices, and what they hand in.

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use kos_api::{
    pairing::{
        AgentAnswer, CreateGrant, Grant as Item, GrantFilter, NarrowGrant, OverrideGrant, Pairing,
        SignedByAgent,
    },
    routes,
    text::Reason,
};
use kos_base::Timestamp;

use super::{
    device::{Named, find},
    follow,
};
use crate::{
    Change, Fault, Outcome,
    arguments::{ChangeFlags, Span},
    clock, files,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest file of something signed, in bytes.
const SIGNED_BYTES_MAX: u64 = 4_096;

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Lets an agent ask something of a device that it is paired with.
    Grant(Box<Make>),
    /// Lists what agents may ask of devices.
    Grants(List),
    /// Shows a grant, and whether a call would be let through now, and why.
    Show(Which),
    /// Lets an agent ask less. A grant never gets wider.
    Narrow(Box<Narrow>),
    /// Takes a grant back.
    Revoke(Revoke),
    /// Lifts or stops a grant for a time, which is recorded with the reason; or takes that back.
    Override(Override),
    /// Hands in what an agent signed about a pairing. Needs no rights: the signature counts.
    HandIn(HandIn),
    /// Hands in a call that an agent signed, and shows what the device answers. Needs no rights: the signature counts.
    Call(HandIn),
}

/// `agent grant D --agent A --capability C --scope P --for TIME`
#[derive(Debug, Args)]
pub(crate) struct Make {
    #[command(flatten)]
    named: Named,
    /// Who may ask: `kai:ID`.
    #[arg(long, value_name = "ID")]
    agent: String,
    /// For what: `device.status`, `device.log`, `device.regen-cert`.
    #[arg(long, value_name = "CAPABILITY")]
    capability: String,
    /// About what: a resource, or its beginning and `*`. Up to 8 times.
    #[arg(long, value_name = "PATTERN", required = true)]
    scope: Vec<String>,
    /// For how long: at most 366 days.
    #[arg(long = "for", value_name = "TIME")]
    time: Span,
    /// How often; as often as one likes when not given.
    #[arg(long, value_name = "N")]
    uses: Option<u64>,
    /// Only while this holds, as `profile >= 2`, `role == sensor`. Up to 8 times.
    #[arg(long, value_name = "CONDITION")]
    condition: Vec<String>,
    /// How far the agent is trusted; as far as by its pairing when not given.
    #[arg(long, value_name = "LEVEL")]
    trust: Option<String>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `agent grants [D]`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this device.
    device: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Which grant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its id.
    grant: String,
}

/// `agent narrow GRANT`
#[derive(Debug, Args)]
pub(crate) struct Narrow {
    #[command(flatten)]
    which: Which,
    /// About what, in place of what it has.
    #[arg(long, value_name = "PATTERN")]
    scope: Vec<String>,
    /// For how long from now.
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,
    /// How often, those that were made included.
    #[arg(long, value_name = "N")]
    uses: Option<u64>,
    /// All conditions that it is to have, those that it has included.
    #[arg(long, value_name = "CONDITION")]
    condition: Vec<String>,
    /// How far the agent is trusted.
    #[arg(long, value_name = "LEVEL")]
    trust: Option<String>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `agent revoke GRANT`
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `agent override GRANT --allow --for TIME --reason WHY`
#[derive(Debug, Args)]
pub(crate) struct Override {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    word: Verdict,
    /// For how long: at most a day.
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,
    /// Why; it goes into the log.
    #[arg(long, value_name = "WHY")]
    reason: Reason,
    #[command(flatten)]
    change: ChangeFlags,
}

/// One of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Verdict {
    /// Its end, its uses and its conditions do not count.
    #[arg(long, requires = "time")]
    allow: bool,
    /// It allows nothing.
    #[arg(long, requires = "time")]
    deny: bool,
    /// What was said before does not count any more.
    #[arg(long, conflicts_with = "time")]
    clear: bool,
}

/// `agent hand-in FILE`
#[derive(Debug, Args)]
pub(crate) struct HandIn {
    /// File with the COSE_Sign1.
    file: PathBuf,
}

impl HandIn {
    fn read(&self) -> Result<SignedByAgent, Fault> {
        Ok(SignedByAgent { signed: BASE64.encode(&files::read(&self.file, SIGNED_BYTES_MAX)?) })
    }
}

impl Agent {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let nothing = serde_json::json!({});
        let at_once = Change { dry_run: false, if_match: None };
        match self {
            Self::Grant(make) => make.run(session).await,
            Self::Grants(list) => list.run(session).await,
            Self::Narrow(narrow) => narrow.run(session).await,
            Self::Override(word) => word.run(session).await,
            Self::Show(which) => {
                let item = session.client()?.show::<Item>(&routes::GRANT_SHOW, &[&which.grant]).await?;
                session.printer.item(&item).map(|()| Ending::Done)
            }
            Self::Revoke(Revoke { which, change }) => {
                let client = session.client()?;
                let (route, values) = (&routes::GRANT_REVOKE, [which.grant.as_str()]);
                let (question, danger) =
                    (format!("take the grant {} back", which.grant), Danger::Moderate { yes: change.yes });
                let plan = (route, &values[..], &nothing);
                let asked = session.consent_to(&client, plan, (&question, danger), change.dry_run);
                if asked.await? == Consent::Withheld {
                    return Ok(Ending::Withheld);
                }
                session.outcome(&client.change::<Item, _>(route, &values, &nothing, &change.change()).await?)
            }
            Self::HandIn(file) => {
                let (client, body) = (session.client()?, file.read()?);
                let done =
                    client.change::<Pairing, _>(&routes::AGENT_STATEMENT, &[], &body, &at_once).await?;
                session.outcome(&done)
            }
            Self::Call(file) => {
                let (client, body) = (session.client()?, file.read()?);
                match client.change::<AgentAnswer, _>(&routes::AGENT_CALL, &[], &body, &at_once).await? {
                    Outcome::Done(answer) => session.printer.item(&answer).map(|()| Ending::Done),
                    Outcome::Planned(plan) => session.plan(&plan),
                }
            }
        }
    }
}

fn from_now(time: &Span) -> Timestamp {
    clock::now().plus(time.0)
}

impl Make {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let device_id = find(&client, &self.named.device).await?.device.device_id;
        let request = CreateGrant {
            device_id,
            agent_id: self.agent,
            capability: self.capability,
            scope: self.scope,
            expiry: from_now(&self.time),
            uses: self.uses,
            conditions: self.condition,
            resource_access: None,
            trust_level: self.trust,
        };
        let how = self.change.change();
        session.outcome(&client.change::<Item, _>(&routes::GRANT_CREATE, &[], &request, &how).await?)
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let device = match &self.device {
            Some(typed) => Some(find(&client, typed).await?.device.device_id),
            None => None,
        };
        let filter = GrantFilter { device, limit: None, cursor: None };
        follow::print_list::<Item, _>(session, &client, &routes::GRANT_LIST, &[], filter, self.limit).await
    }
}

impl Narrow {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let given = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
        let request = NarrowGrant {
            scope: given(self.scope),
            expiry: self.time.as_ref().map(from_now),
            uses: self.uses,
            conditions: given(self.condition),
            trust_level: self.trust,
        };
        let (client, how) = (session.client()?, self.change.change());
        let values = [self.which.grant.as_str()];
        session.outcome(&client.change::<Item, _>(&routes::GRANT_NARROW, &values, &request, &how).await?)
    }
}

impl Override {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let verdict = match (self.word.allow, self.word.deny) {
            (true, _) => Some("allow".to_owned()),
            (false, true) => Some("deny".to_owned()),
            (false, false) => None,
        };
        let seconds = self.time.map(|time| time.0.max(Duration::from_secs(1)).as_secs());
        let request = OverrideGrant { verdict, seconds, reason: self.reason };
        let (client, how) = (session.client()?, self.change.change());
        let values = [self.which.grant.as_str()];
        session.outcome(&client.change::<Item, _>(&routes::GRANT_OVERRIDE, &values, &request, &how).await?)
    }
}
