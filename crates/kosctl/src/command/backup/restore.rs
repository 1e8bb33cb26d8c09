//! Opening a restored authority, by a newer copy of its log or by giving up what came after the backup.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use kos_api::{
    backup::{OpenRestored, Restored},
    routes,
};

use crate::{
    Change, Client, Fault, Outcome,
    command::{audit::NOTE_BYTES_MAX, follow},
    files,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// How long the authority may take from being opened to its first answer.
const SERVES_WITHIN: Duration = Duration::from_secs(60);

/// `backup restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The newest copy of the log that there is: a folder on this machine that the authority can read.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The newest checkpoint that anybody has seen; the copy must hold it.
    #[arg(long, value_name = "CHECKPOINT", requires = "log")]
    against: Option<PathBuf>,
    /// There is no such copy: every device waits before a person, every operator, ticket and voucher is void.
    #[arg(long, conflicts_with = "log")]
    declare_loss: bool,
    /// Shows what would change, changes nothing, and exits 10 if something would.
    #[arg(long)]
    dry_run: bool,
    /// The name of the authority, in place of typing it when asked.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

impl Restore {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        if self.log.is_none() && !self.declare_loss {
            let fix = "--log DIR with the newest copy of the log, or --declare-loss if nothing newer is left";
            return Err(Fault::usage("nothing says what opens it", fix));
        }
        let client = session.client()?;
        let body = self.body()?;
        let planned = ask(&client, &body, true).await?;
        let Outcome::Planned(plan) = &planned else { return session.outcome(&planned) };
        if self.dry_run {
            return session.plan(plan);
        }
        let name = plan.object.as_ref().and_then(|object| object.id.clone()).unwrap_or_default();
        let what = plan.effects.first().cloned().unwrap_or_default();
        let danger = Danger::Severe { name: &name, id: &name, confirmed: self.confirm.as_deref() };
        if session.consent(&what, danger, false.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let opened = ask(&client, &body, false).await?;
        // It begins to serve now; whoever comes next finds it.
        let serves = async || Ok(client.show_any(&routes::STATUS).await.ok().map(drop));
        let waited = follow::until(session, "the authority to serve", SERVES_WITHIN, serves).await;
        // What was done is said also when the wait is in vain: it cannot be asked for again.
        let ending = session.outcome(&opened)?;
        waited.map(|()| ending)
    }

    fn body(&self) -> Result<OpenRestored, Fault> {
        let log = match &self.log {
            Some(path) => {
                let whole = fs::canonicalize(path)
                    .map_err(|source| Fault::Unreadable { path: path.clone(), source })?;
                Some(whole.to_string_lossy().into_owned())
            }
            None => None,
        };
        let against = match &self.against {
            Some(path) => Some(String::from_utf8_lossy(&files::read(path, NOTE_BYTES_MAX)?).into_owned()),
            None => None,
        };
        Ok(OpenRestored { log, against, declare_loss: self.declare_loss })
    }
}

async fn ask(client: &Client, body: &OpenRestored, dry_run: bool) -> Result<Outcome<Restored>, Fault> {
    client.change(&routes::RESTORE_OPEN, &[], body, &Change { dry_run, if_match: None }).await
}
