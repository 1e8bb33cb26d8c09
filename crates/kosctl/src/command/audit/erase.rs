//! Erasing a person from the log.

use clap::Args;
use kos_api::{
    audit::{ErasePerson, Erasure},
    routes,
    text::Reason,
};

use crate::{
    Change, Fault, Outcome,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// `audit erase --person NAME`
#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The name of an operator, of a user of the authority's machine, or of who holds a share.
    #[arg(long, value_name = "NAME", required_unless_present = "address")]
    person: Option<String>,
    /// A network address; of IPv6, its network of 64 bits.
    #[arg(long, value_name = "IP", conflicts_with = "person")]
    address: Option<String>,
    /// Why; goes into the audit log and must not name them.
    #[arg(long)]
    reason: Reason,
    /// That you mean yourself.
    #[arg(long)]
    myself: bool,
    /// Shows what would change, changes nothing, and exits 10 if something would.
    #[arg(long)]
    dry_run: bool,
    /// The name or address, in place of typing it when asked.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

impl Erase {
    pub(in crate::command) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let name = self.person.as_ref().or(self.address.as_ref()).cloned().unwrap_or_default();
        let danger = Danger::Severe { name: &name, id: &name, confirmed: self.confirm.as_deref() };
        let what = format!("nobody will ever again read in the log that it was {name}");
        let body = ErasePerson {
            person: self.person,
            address: self.address,
            reason: self.reason,
            myself: self.myself.then_some(true),
        };
        let change = (&routes::AUDIT_ERASE, &[][..], &body);
        if session.consent_to(&client, change, (&what, danger), self.dry_run).await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let how = Change { dry_run: self.dry_run, if_match: None };
        let outcome = client.change::<Erasure, _>(&routes::AUDIT_ERASE, &[], &body, &how).await?;
        if let Outcome::Done(erasure) = &outcome {
            session.printer.item(erasure)?;
            if erasure.backups_found > 0 {
                session.terminal.note(&format!(
                    "{} backups from before hold the key still; whoever opens one can read the name. Destroy them, or let \
                     them go as new ones are made",
                    erasure.backups_found
                ));
            }
            return Ok(Ending::Done);
        }
        session.outcome(&outcome)
    }
}
