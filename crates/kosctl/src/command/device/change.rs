//! Devices: what an operator decides about them.

use clap::Args;
use kos_api::{
    device::Device,
    lifecycle,
    routes::{self, Route},
    text::{Reason, Tag},
};
use kos_base::{Channel, DeviceState, GroupPath, Name, Role, SecurityProfile};
use serde::Serialize;

use super::{super::follow, Found, Named, find};
use crate::{
    Change, Client, Fault, Outcome,
    arguments::{ChangeFlags, WaitFlags},
    session::{Ending, Session},
    terminal::{Answers, Consent, Danger},
};

/// `device approve`
#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    named: Named,
    /// The six digits that the device shows.
    #[arg(long, value_name = "DIGITS")]
    code: Option<String>,
    /// The device was given the pin of its authority: it shows no digits, and there is nothing to compare.
    #[arg(long, conflicts_with = "code")]
    pinned: bool,
    /// Its role, if not the one that it asks for.
    #[arg(long)]
    role: Option<Role>,
    /// Its security profile.
    #[arg(long)]
    profile: Option<SecurityProfile>,
    /// Its group.
    #[arg(long)]
    group: Option<GroupPath>,
    /// Its name.
    #[arg(long)]
    name: Option<Name>,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    wait: WaitFlags,
}

/// `device reject`
#[derive(Debug, Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    named: Named,
    /// Why; goes into the audit log.
    #[arg(long)]
    reason: Option<Reason>,
    /// Never lets its key come back, and its hardware only through a person, who is shown an alert.
    #[arg(long)]
    ban: bool,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device set-role`
#[derive(Debug, Args)]
pub(crate) struct SetRole {
    #[command(flatten)]
    named: Named,
    /// The role: gateway, sensor, companion, compute, actuator or relay.
    role: Role,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device set-profile`
#[derive(Debug, Args)]
pub(crate) struct SetProfile {
    #[command(flatten)]
    named: Named,
    /// The profile, SEC-1 to SEC-4. It never goes down, and never above what the device has proven.
    profile: SecurityProfile,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device set-channel`, behind device and channel
#[derive(Debug, Args)]
pub(crate) struct ToChannel {
    /// Marks the device for channel dev first.
    #[arg(long)]
    allow_dev: bool,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device rename`
#[derive(Debug, Args)]
pub(crate) struct Rename {
    #[command(flatten)]
    named: Named,
    /// The name.
    name: Name,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device tag`
#[derive(Debug, Args)]
pub(crate) struct Retag {
    #[command(flatten)]
    named: Named,
    /// Tags to put on.
    #[arg(value_name = "TAG", required_unless_present = "remove")]
    add: Vec<Tag>,
    /// A tag to take away; can be repeated.
    #[arg(long, value_name = "TAG")]
    remove: Vec<Tag>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device suspend`, `device quarantine`, `device rotate-key`
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    named: Named,
    /// Why; goes into the audit log.
    #[arg(long)]
    reason: Option<Reason>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device reinstate`
#[derive(Debug, Args)]
pub(crate) struct Reinstate {
    #[command(flatten)]
    named: Named,
    /// Why; goes into the audit log.
    #[arg(long)]
    reason: Option<Reason>,
    /// How often it may come back from now on after its certificate has run out.
    #[arg(long, value_name = "N")]
    recoveries: Option<u32>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device regen-cert`, behind the device
#[derive(Debug, Args)]
pub(crate) struct Regen {
    /// Why; goes into the audit log.
    #[arg(long)]
    reason: Option<Reason>,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    wait: WaitFlags,
}

impl Approve {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let found = find(&client, &self.named.device).await?;
        let code = found.device.lobby.as_ref().and_then(|lobby| lobby.comparison_code.as_ref());
        let question = match code {
            Some(_) if self.pinned => format!("approve {}, which was given the pin", found.called()),
            Some(code) => format!("does {} show the code {code}", found.called()),
            None => format!("approve {}", found.called()),
        };
        let nobody = session.terminal.answers == Answers::Nobody || self.change.yes;
        if code.is_some() && self.code.is_none() && !self.pinned && nobody && !self.change.dry_run {
            let fix = "repeat with --code and the six digits that the device shows, read from the device; one that was given the pin shows none: then with --pinned";
            return Err(Fault::usage("a device that came without a ticket is compared first", fix));
        }
        let yes = self.change.yes || self.code.is_some();
        if session.consent(&question, Danger::Moderate { yes }, self.change.dry_run.into())?
            == Consent::Withheld
        {
            return Ok(Ending::Withheld);
        }
        let body = lifecycle::Approve {
            // Without --code a person has just said that the device shows this one, or that it knows the authority by its pin.
            comparison_code: self.code.or_else(|| code.cloned()),
            role: self.role,
            profile: self.profile,
            group: self.group,
            name: self.name,
        };
        let outcome = seen(&client, &routes::DEVICE_APPROVE, &found, &body, &self.change).await?;
        let ending = session.outcome(&outcome)?;
        if let (Outcome::Done(device), Some(limit)) = (&outcome, self.wait.limit(session.timeout)) {
            let id = device.device_id.as_ref();
            follow::until(session, "the first heartbeat", limit, async || {
                let device: Device = client.show(&routes::DEVICE_SHOW, &[id]).await?;
                Ok(device.last_heartbeat_at)
            })
            .await?;
        }
        Ok(ending)
    }
}

impl Reject {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let found = find(&client, &self.named.device).await?;
        let danger = Danger::Moderate { yes: self.change.yes };
        let question = format!("reject {}", found.called());
        if session.consent(&question, danger, self.change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let body = lifecycle::Reject { reason: self.reason, ban: self.ban };
        session.outcome(&seen(&client, &routes::DEVICE_REJECT, &found, &body, &self.change).await?)
    }
}

impl SetRole {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let body = lifecycle::SetRole { role: self.role };
        mild(session, &routes::DEVICE_SET_ROLE, &self.named.device, &body, &self.change).await
    }
}

impl SetProfile {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let body = lifecycle::SetProfile { profile: self.profile };
        mild(session, &routes::DEVICE_SET_PROFILE, &self.named.device, &body, &self.change).await
    }
}

impl ToChannel {
    pub(super) async fn run(
        self,
        session: &Session,
        device: &str,
        channel: Channel,
    ) -> Result<Ending, Fault> {
        let body = lifecycle::SetChannel { channel, allow_dev: self.allow_dev };
        mild(session, &routes::DEVICE_SET_CHANNEL, device, &body, &self.change).await
    }
}

impl Rename {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let body = lifecycle::Rename { name: self.name };
        mild(session, &routes::DEVICE_RENAME, &self.named.device, &body, &self.change).await
    }
}

impl Retag {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let body = lifecycle::Retag { add: self.add, remove: self.remove };
        mild(session, &routes::DEVICE_TAG, &self.named.device, &body, &self.change).await
    }
}

impl Stop {
    pub(super) async fn run(self, session: &Session, route: &Route) -> Result<Ending, Fault> {
        let client = session.client()?;
        let found = find(&client, &self.named.device).await?;
        let danger = Danger::Moderate { yes: self.change.yes };
        let verb = route.name.trim_start_matches("device-");
        let question = format!("{verb} {}", found.called());
        if session.consent(&question, danger, self.change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let body = lifecycle::Because { reason: self.reason };
        session.outcome(&seen(&client, route, &found, &body, &self.change).await?)
    }
}

impl Stop {
    /// The same for what stops nothing.
    pub(super) async fn run_unasked(self, session: &Session, route: &Route) -> Result<Ending, Fault> {
        let body = lifecycle::Because { reason: self.reason };
        mild(session, route, &self.named.device, &body, &self.change).await
    }
}

impl Reinstate {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let found = find(&client, &self.named.device).await?;
        let body = lifecycle::Reinstate { reason: self.reason, recoveries: self.recoveries };
        if found.device.state != DeviceState::Quarantined {
            let (id, how) = (found.device.device_id.as_ref(), self.change.change());
            let outcome: Outcome<Device> =
                client.change(&routes::DEVICE_REINSTATE, &[id], &body, &how).await?;
            return session.outcome(&outcome);
        }
        let question = format!("approve that {} comes back from quarantine", found.called());
        let danger = Danger::Moderate { yes: self.change.yes };
        if session.consent(&question, danger, self.change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        session.outcome(&seen(&client, &routes::DEVICE_REINSTATE, &found, &body, &self.change).await?)
    }
}

impl Regen {
    pub(super) async fn run(self, session: &Session, device: &str) -> Result<Ending, Fault> {
        let client = session.client()?;
        let found = find(&client, device).await?;
        let body = lifecycle::Because { reason: self.reason };
        let how = self.change.change();
        let id = found.device.device_id.as_ref();
        let outcome = client.change(&routes::DEVICE_REGEN_CERT, &[id], &body, &how).await?;
        follow::print_outcome(session, outcome, &self.wait, "the new certificate", async || {
            let device: Device = client.show(&routes::DEVICE_SHOW, &[id]).await?;
            let is_new = device.cert_serial.is_some() && device.cert_serial != found.device.cert_serial;
            Ok(is_new.then_some(device))
        })
        .await
    }
}

/// A change that nobody need be asked about.
async fn mild<B: Serialize>(
    session: &Session,
    route: &Route,
    device: &str,
    body: &B,
    flags: &ChangeFlags,
) -> Result<Ending, Fault> {
    let client = session.client()?;
    let found = find(&client, device).await?;
    let id = found.device.device_id.as_ref();
    let outcome: Outcome<Device> = client.change(route, &[id], body, &flags.change()).await?;
    session.outcome(&outcome)
}

/// A change of the very version of the device that the person has seen.
async fn seen<B: Serialize>(
    client: &Client,
    route: &Route,
    found: &Found,
    body: &B,
    flags: &ChangeFlags,
) -> Result<Outcome<Device>, Fault> {
    let how = Change { dry_run: flags.dry_run, if_match: found.tag.clone() };
    client.change(route, &[found.device.device_id.as_ref()], body, &how).await
}
