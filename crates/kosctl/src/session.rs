//! What a command works with: where the server is, how results are written, whom to ask.

use core::time::Duration;

use kos_api::{plan::Plan, routes::Route};
use serde::Serialize;

use crate::{
    Change, Client, Fault, Outcome,
    context::Contexts,
    output::{Printer, Shown},
    server::{Places, find},
    terminal::{Consent, Danger, Talk, Terminal, say},
};

/// Everything around one command.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) printer: Printer,
    pub(crate) terminal: Terminal,
    pub(crate) contexts: Contexts,
    pub(crate) places: Places,
    /// How long an answer is waited for, if something was said.
    pub(crate) timeout: Option<Duration>,
}

/// How a command ended that did what it was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Done, or so already.
    Done,
    /// A person said no when asked.
    Withheld,
    /// As far as it went, it is done; others have to go on.
    Partly,
    /// A person ended it with Ctrl-C.
    Interrupted,
    /// A check says no; or something would change, in a dry run.
    CheckFailed,
}

impl Ending {
    /// The answer of a judge.
    pub(crate) const fn judged(ok: bool) -> Self {
        if ok { Self::Done } else { Self::CheckFailed }
    }

    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Withheld => 1,
            Self::Partly => 9,
            Self::Interrupted => 130,
            Self::CheckFailed => 10,
        }
    }
}

impl Session {
    /// A client of the server that is meant.
    pub(crate) fn client(&self) -> Result<Client, Fault> {
        self.client_at(&self.places)
    }

    /// A client of the server that is meant by `places`.
    pub(crate) fn client_at(&self, places: &Places) -> Result<Client, Fault> {
        let (server, credentials) = find(places, &self.contexts)?;
        let mut client = Client::new(server, credentials);
        if let Some(timeout) = self.timeout {
            client = client.with_timeout(timeout);
        }
        if self.terminal.talk < Talk::Verbose {
            return Ok(client);
        }
        say(&format!("server {}", client.server()));
        Ok(client.observed_by(|x| {
            let id = x.request_id.unwrap_or("-");
            say(&format!("{} {} {} {id}", x.method, x.path, x.status));
        }))
    }

    /// Prints what a change did or would do.
    pub(crate) fn outcome<T: Shown>(&self, outcome: &Outcome<T>) -> Result<Ending, Fault> {
        match outcome {
            Outcome::Done(item) => self.printer.row(item).map(|()| Ending::Done),
            Outcome::Planned(plan) => self.plan(plan),
        }
    }

    /// Prints what a change would do.
    pub(crate) fn plan(&self, plan: &Plan) -> Result<Ending, Fault> {
        self.printer.item(plan)?;
        Ok(Ending::judged(plan.changes.is_empty() && plan.effects.is_empty()))
    }

    /// Asks whether to go on with a change that was planned first: nobody is asked about what is not there.
    pub(crate) async fn consent_to<B: Serialize>(
        &self,
        client: &Client,
        (route, values, body): (&Route, &[&str], &B),
        (what, danger): (&str, Danger<'_>),
        dry_run: bool,
    ) -> Result<Consent, Fault> {
        if !dry_run && danger.is_asked() {
            let how = Change { dry_run: true, if_match: None };
            let _: Outcome<Plan> = client.change(route, values, body, &how).await?;
        }
        self.consent(what, danger, dry_run.into())
    }

    /// Asks whether to go on; a dry run needs nobody's consent.
    pub(crate) fn consent(&self, what: &str, danger: Danger<'_>, dry_run: DryRun) -> Result<Consent, Fault> {
        if dry_run == DryRun::Yes {
            return Ok(Consent::Given);
        }
        let consent = self.terminal.consent(what, danger)?;
        if consent == Consent::Withheld {
            self.terminal.note("nothing was changed");
        }
        Ok(consent)
    }
}

/// Whether a change is only planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DryRun {
    /// It is.
    Yes,
    /// It is made.
    No,
}

impl From<bool> for DryRun {
    fn from(flag: bool) -> Self {
        if flag { Self::Yes } else { Self::No }
    }
}
