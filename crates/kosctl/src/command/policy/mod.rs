//! Security profiles and manifests: their rules, and which one decides for a device.

mod manifest;

use clap::{Args, Subcommand};
use kos_api::{
    List as Items,
    policy::{
        ModuleFinding, ModulePolicy, PolicyDecision, PolicyProfile, PolicyQuestion, SetModule as Wanted,
    },
    routes,
};
use kos_base::SecurityProfile;
use serde_json::json;

use super::device::find;
use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    output::{Column, Shown},
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// What to do with policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Lists the security profiles and what they demand, or the manifests.
    List(List),
    /// Shows the guardrails of a security profile, or the text of a manifest.
    Show(Show),
    /// Tells what a device may do at which door, and which rule decides.
    Explain(Explain),
    /// Judges the text of a manifest; exits 10 if it could not be put in force.
    Lint(manifest::File),
    /// Shows which policies a manifest would add, change and take away; exits 10 if any.
    Diff(manifest::File),
    /// Puts a manifest in force.
    Apply(manifest::Apply),
    /// Wants an enforcement module off, advisory or mandatory for a security profile.
    SetModule(SetModule),
    /// Compares decisions with those that a file expects; exits 10 if one differs.
    Test(manifest::Test),
}

/// `policy list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The manifests in force, in place of the profiles.
    #[arg(long)]
    manifests: bool,
    /// The enforcement modules, and how each is wanted for each profile.
    #[arg(long, conflicts_with_all = ["manifests", "versions"])]
    modules: bool,
    /// Every version of this manifest, the highest first.
    #[arg(long, value_name = "MANIFEST")]
    versions: Option<String>,
}

/// `policy show NAME`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A profile, SEC-0 to SEC-4 in any case, or the name of a manifest.
    name: String,
    /// This version of the manifest; the one in force when nothing is said.
    #[arg(long)]
    version: Option<u64>,
}

/// `policy explain DEVICE`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Id of the device, or at least 4 characters of its beginning.
    device: String,
    /// A door (tls, entry, certificate, kid, message, peer, api, config, agent, send) or a request such as message/command or send/LOG.
    #[arg(long)]
    door: Option<String>,
}

/// `policy set-module MODULE PROFILE STANCE`
#[derive(Debug, Args)]
pub(crate) struct SetModule {
    /// Which: `attestation`, `clock-sanity`, `disk-encryption`.
    module: String,
    /// For devices of which profile.
    profile: SecurityProfile,
    /// `off`, `advisory` or `mandatory`. A device that does not meet a mandatory module is kept to what the lobby may.
    stance: String,
    #[command(flatten)]
    change: ChangeFlags,
}

impl SetModule {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let danger = Danger::Moderate { yes: self.change.yes };
        let question = format!("want `{}` {} for {}", self.module, self.stance, self.profile);
        if session.consent(&question, danger, self.change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let request = Wanted { module: self.module, profile: self.profile, stance: self.stance };
        let how = self.change.change();
        session.outcome(&client.change::<ModulePolicy, _>(&routes::MODULE_SET, &[], &request, &how).await?)
    }
}

impl Policy {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        match self {
            Self::List(List { modules: true, .. }) => {
                let list: Items<ModulePolicy> = client.list(&routes::MODULE_LIST, &[], &json!({})).await?;
                session.printer.list(&list)?;
            }
            Self::SetModule(set) => return set.run(session, &client).await,
            Self::List(List { manifests, versions, .. }) if manifests || versions.is_some() => {
                return manifest::list(session, &client, versions).await;
            }
            Self::List(_) => {
                let list: Items<PolicyProfile> = client.list(&routes::POLICY_LIST, &[], &json!({})).await?;
                session.printer.list(&list)?;
            }
            Self::Show(Show { name, version }) => {
                match name.to_ascii_uppercase().parse::<SecurityProfile>() {
                    Ok(_) if version.is_some() => {
                        let fix = "leave --version out, or name a manifest";
                        return Err(Fault::usage("a profile has no versions", fix));
                    }
                    Ok(profile) => {
                        let shown: PolicyProfile =
                            client.show(&routes::POLICY_SHOW, &[profile.as_str()]).await?;
                        session.printer.item(&shown)?;
                    }
                    Err(_) => return manifest::show(session, &client, &name, version).await,
                }
            }
            Self::Lint(file) => return manifest::lint(session, &client, &file).await,
            Self::Diff(file) => return manifest::diff(session, &client, &file).await,
            Self::Apply(apply) => return apply.run(session, &client).await,
            Self::Test(test) => return test.run(session, &client).await,
            Self::Explain(explain) => {
                let device = find(&client, &explain.device).await?.device.device_id;
                let question = PolicyQuestion { door: explain.door };
                let list: Items<PolicyDecision> =
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

impl Shown for ModulePolicy {
    const NAME: &'static str = "module";
    const PLURAL: &'static str = "modules";
    const COLUMNS: &'static [Column<'static>] = &[
        column("module", "module"),
        column("profile", "profile"),
        column("wanted", "stance"),
        column("asks", "demand"),
        column("rests on", "basis"),
        column("version", "version").wide(),
    ];
}

impl Shown for ModuleFinding {
    const NAME: &'static str = "module";
    const PLURAL: &'static str = "modules";
    const COLUMNS: &'static [Column<'static>] = &[
        column("module", "module"),
        column("wanted", "stance"),
        column("verdict", "verdict"),
        column("rests on", "basis"),
        column("why", "why"),
        column("version", "version").wide(),
        column("device", "deviceId").wide(),
    ];
}

impl Shown for PolicyDecision {
    const NAME: &'static str = "request";
    const PLURAL: &'static str = "decisions";
    const COLUMNS: &'static [Column<'static>] = &[
        column("request", "request"),
        column("allowed", "allowed"),
        column("rule", "rule"),
        column("policy", "policy"),
        column("why", "why"),
        column("code", "code").wide(),
        column("profile", "profile").wide(),
        column("evidence", "evidenceTier").wide(),
    ];
}
