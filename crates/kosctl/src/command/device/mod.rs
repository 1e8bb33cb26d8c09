//! Devices: looking at them.

mod change;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kos_api::{
    audit::{AuditEntry, AuditFilter},
    device::{Device as Item, DeviceFilter, ForensicBundle},
    policy::ModuleFinding,
    routes,
    text::Tag,
};
use kos_base::{Channel, DeviceState, EntryId, GroupPath, Role, SecurityProfile};
use kos_identity::quarantine::BUNDLE_BYTES_MAX;

use super::{
    attest::Ask,
    decommission::Order,
    follow,
    pairing::{self, Confirm, Pair, Unpair},
};
use crate::{
    Client, Fault,
    files::{self, Readers},
    session::{Ending, Session},
};
use change::{Approve, Regen, Reinstate, Reject, Rename, Retag, SetProfile, SetRole, Stop, ToChannel};

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Lists devices.
    List(List),
    /// Shows a device.
    Show(Named),
    /// Lists what happened to a device, from the audit log.
    Events(Events),
    /// Lets a device out of the lobby, after its code was compared.
    Approve(Approve),
    /// Sends a device out of the lobby.
    Reject(Reject),
    /// Gives a device another role, from its next certificate on.
    SetRole(SetRole),
    /// Gives a device a higher security profile, from its next certificate on.
    SetProfile(SetProfile),
    /// Moves a device to another firmware channel.
    SetChannel(ToChannelOf),
    /// Calls a device something else.
    Rename(Rename),
    /// Puts tags on a device, and takes others away.
    Tag(Retag),
    /// Stops a device until it is reinstated.
    Suspend(Stop),
    /// Holds a device as compromised; it returns only with a fresh proof and a person's word.
    Quarantine(Stop),
    /// Writes the bundle that a device in quarantine sealed for guardians into a file, which age opens.
    Forensics(Forensics),
    /// Puts a device back into service; from quarantine it is the approval of one person.
    Reinstate(Reinstate),
    /// Has a device make new keys and get a new certificate.
    RegenCert(RegenOf),
    /// Gives a device of SEC-1 a new key of its own; the one before counts until it has shown the new one.
    RotateKey(Stop),
    /// Asks a device for a fresh proof of its TPM, keys and start, and judges it against the one before.
    Attest(Ask),
    /// Proposes to pair a device with a user or an agent; both sides have to confirm it.
    Pair(Pair),
    /// Confirms that a device is paired with whoever is signed in here.
    ConfirmPairing(Confirm),
    /// Ends a pairing, with the grants under it.
    Unpair(Unpair),
    /// Lists with whom a device is paired, was, or might be.
    Pairings(Named),
    /// Shows what enforcement modules make of a device.
    Modules(Named),
    /// Ends a device for good.
    Decommission(DecommissionOf),
}

/// Which device.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Id of the device, or at least 4 characters of its beginning.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
}

/// Which devices.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those in this state.
    #[arg(long)]
    state: Option<DeviceState>,
    /// Only those of this role.
    #[arg(long)]
    role: Option<Role>,
    /// Only those of this security profile.
    #[arg(long)]
    profile: Option<SecurityProfile>,
    /// Only those of this channel.
    #[arg(long)]
    channel: Option<Channel>,
    /// Only those of this group, and the groups below it.
    #[arg(long)]
    group: Option<GroupPath>,
    /// Only those with this tag.
    #[arg(long)]
    tag: Option<Tag>,
    /// Only those that are online.
    #[arg(long, conflicts_with = "offline")]
    online: bool,
    /// Only those that are not online.
    #[arg(long)]
    offline: bool,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// What happened to which device.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    named: Named,
    /// Only events of this type.
    #[arg(long = "event", value_name = "TYPE")]
    event_type: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// `device forensics D --out FILE`, `device forensics D --list`
#[derive(Debug, Args)]
pub(crate) struct Forensics {
    #[command(flatten)]
    named: Named,
    /// The file that it is written to; `age -d -i KEYFILE FILE` opens it.
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// The bundle of this order, in place of the newest.
    #[arg(long, value_name = "ORDER")]
    order: Option<EntryId>,
    /// Lists the bundles of all quarantines of the device.
    #[arg(long, conflicts_with_all = ["out", "order"])]
    list: bool,
}

/// `set-channel --device D --channel C`
#[derive(Debug, Args)]
pub(crate) struct SetChannel {
    /// Id of the device, or at least 4 characters of its beginning.
    #[arg(long)]
    device: String,
    /// The channel: stable, beta or dev.
    #[arg(long)]
    channel: Channel,
    #[command(flatten)]
    to: ToChannel,
}

/// `device set-channel D C`
#[derive(Debug, Args)]
pub(crate) struct ToChannelOf {
    #[command(flatten)]
    named: Named,
    /// The channel: stable, beta or dev.
    channel: Channel,
    #[command(flatten)]
    to: ToChannel,
}

/// `regen-cert --device D`
#[derive(Debug, Args)]
pub(crate) struct RegenCert {
    /// Id of the device, or at least 4 characters of its beginning.
    #[arg(long)]
    device: String,
    #[command(flatten)]
    regen: Regen,
}

/// `device regen-cert D`
#[derive(Debug, Args)]
pub(crate) struct RegenOf {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    regen: Regen,
}

/// `device decommission D`
#[derive(Debug, Args)]
pub(crate) struct DecommissionOf {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    order: Order,
}

impl Device {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Show(named) => {
                let found = find(&session.client()?, &named.device).await?;
                session.printer.item(&found.device).map(|()| Ending::Done)
            }
            Self::Events(events) => events.run(session).await,
            Self::Approve(approve) => approve.run(session).await,
            Self::Reject(reject) => reject.run(session).await,
            Self::SetRole(set) => set.run(session).await,
            Self::SetProfile(set) => set.run(session).await,
            Self::SetChannel(set) => set.to.run(session, &set.named.device, set.channel).await,
            Self::Rename(rename) => rename.run(session).await,
            Self::Tag(retag) => retag.run(session).await,
            Self::Suspend(stop) => stop.run(session, &routes::DEVICE_SUSPEND).await,
            Self::Quarantine(stop) => stop.run(session, &routes::DEVICE_QUARANTINE).await,
            Self::Forensics(forensics) => forensics.run(session).await,
            Self::Reinstate(reinstate) => reinstate.run(session).await,
            Self::RegenCert(regen) => regen.regen.run(session, &regen.named.device).await,
            Self::RotateKey(rotate) => rotate.run_unasked(session, &routes::DEVICE_ROTATE_KEY).await,
            Self::Attest(ask) => ask.run(session).await,
            Self::Pair(pair) => pair.run(session).await,
            Self::ConfirmPairing(confirm) => confirm.run(session).await,
            Self::Unpair(unpair) => unpair.run(session).await,
            Self::Modules(named) => {
                let client = session.client()?;
                let id = find(&client, &named.device).await?.device.device_id;
                let nothing = serde_json::json!({});
                let route = &routes::DEVICE_MODULES;
                let list: kos_api::List<ModuleFinding> = client.list(route, &[id.as_ref()], &nothing).await?;
                session.printer.list(&list).map(|()| Ending::Done)
            }
            Self::Pairings(named) => pairing::list(session, &named).await,
            Self::Decommission(end) => end.order.run(session, &end.named.device).await,
        }
    }
}

impl List {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let online = match (self.online, self.offline) {
            (false, false) => None,
            (online, _) => Some(online),
        };
        let filter = DeviceFilter {
            state: self.state,
            role: self.role,
            profile: self.profile,
            channel: self.channel,
            group: self.group,
            tag: self.tag,
            online,
            limit: None,
            cursor: None,
        };
        let client = session.client()?;
        follow::print_list::<Item, _>(session, &client, &routes::DEVICE_LIST, &[], filter, self.limit).await
    }
}

impl Events {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let device = find(&client, &self.named.device).await?.device.device_id;
        let filter = AuditFilter { event_type: self.event_type, ..AuditFilter::default() };
        let values = [device.as_ref()];
        let route = &routes::DEVICE_EVENTS;
        follow::print_list::<AuditEntry, _>(session, &client, route, &values, filter, self.limit).await
    }
}

impl Forensics {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let found = find(&client, &self.named.device).await?;
        let id = found.device.device_id.as_ref();
        let Some(out) = self.out else {
            let nothing = serde_json::json!({});
            let list: kos_api::List<ForensicBundle> =
                client.list(&routes::DEVICE_BUNDLES, &[id], &nothing).await?;
            return session.printer.list(&list).map(|()| Ending::Done);
        };
        let sealed = match self.order.map(|order| order.to_string()) {
            Some(order) => client.read(&routes::DEVICE_BUNDLE, &[id, &order], BUNDLE_BYTES_MAX).await?,
            None => client.read(&routes::DEVICE_FORENSICS, &[id], BUNDLE_BYTES_MAX).await?,
        };
        files::write(&out, &sealed, Readers::Owner)?;
        session.terminal.note(&format!("{} bytes in {}", sealed.len(), out.display()));
        Ok(Ending::Done)
    }
}

impl SetChannel {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        self.to.run(session, &self.device, self.channel).await
    }
}

impl RegenCert {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        self.regen.run(session, &self.device).await
    }
}

/// A device, and the version of it that was seen.
pub(crate) struct Found {
    pub(crate) device: Item,
    pub(crate) tag: Option<String>,
}

impl Found {
    /// What people call it: its name, else its id.
    pub(crate) fn called(&self) -> &str {
        self.device.name.as_ref().map_or_else(|| self.device.device_id.as_ref(), AsRef::as_ref)
    }
}

/// The device of this id, or with an id that begins so. An ambiguous beginning is the server's to refuse.
pub(crate) async fn find(client: &Client, typed: &str) -> Result<Found, Fault> {
    let typed = typed.to_ascii_lowercase();
    let (device, tag) = client.show_version(&routes::DEVICE_SHOW, &[&typed]).await?;
    Ok(Found { device, tag })
}
