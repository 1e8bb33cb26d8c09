//! Security profiles: their guardrails, and which rule decides for a device.

use clap::{Args, Subcommand};
use kos_api::{
    List,
    policy::{PolicyDecision, PolicyProfile, PolicyQuestion},
    routes,
};
use kos_base::SecurityProfile;
use serde_json::json;

use super::device::find;
use crate::{
    Fault,
    output::{Column, Shown},
    session::{Ending, Session},
};

/// What to do with policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Lists the security profiles and what they demand.
    List,
    /// Shows the guardrails of a security profile.
    Show(Show),
    /// Tells what a device may do at which door, and which rule decides.
    Explain(Explain),
}

/// `policy show PROFILE`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The profile, SEC-0 to SEC-4.
    profile: SecurityProfile,
}

/// `policy explain DEVICE`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Id of the device, or at least 4 characters of its beginning.
    device: String,
    /// A door (tls, entry, certificate, kid, message, peer, api, config) or a request such as message/command.
    #[arg(long)]
    door: Option<String>,
}

impl Policy {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        match self {
            Self::List => {
                let list: List<PolicyProfile> = client.list(&routes::POLICY_LIST, &[], &json!({})).await?;
                session.printer.list(&list)?;
            }
            Self::Show(show) => {
                let shown: PolicyProfile =
                    client.show(&routes::POLICY_SHOW, &[show.profile.as_str()]).await?;
                session.printer.item(&shown)?;
            }
            Self::Explain(explain) => {
                let device = find(&client, &explain.device).await?.device.device_id;
                let question = PolicyQuestion { door: explain.door };
                let list: List<PolicyDecision> =
                    client.list(&routes::DEVICE_POLICY, &[device.as_ref()], &question).await?;
                session.printer.list(&list)?;
            }
        }
        Ok(Ending::Done)
    }
}

/// Shorter to read in the tables below.
const fn column(title: &'static str, path: &'static str) -> Column<'static> {
    Column::of(title, path)
}

impl Shown for PolicyProfile {
    const NAME: &'static str = "profile";
    const PLURAL: &'static str = "profiles";
    const COLUMNS: &'static [Column<'static>] = &[
        column("profile", "profile"),
        column("for", "purpose"),
        column("shows", "authentication"),
        column("evidence", "evidenceNeeded"),
        column("scope", "scope"),
        column("updates", "updates"),
        column("boot", "boot").wide(),
        column("peers", "peers").wide(),
        column("messages", "messages").wide(),
        column("suites", "cipherSuites").wide(),
        column("days", "certificateDays").wide(),
        column("recoveries", "recoveries").wide(),
    ];
}

impl Shown for PolicyDecision {
    const NAME: &'static str = "request";
    const PLURAL: &'static str = "decisions";
    const COLUMNS: &'static [Column<'static>] = &[
        column("request", "request"),
        column("allowed", "allowed"),
        column("rule", "rule"),
        column("why", "why"),
        column("code", "code").wide(),
        column("profile", "profile").wide(),
        column("evidence", "evidenceTier").wide(),
    ];
}
