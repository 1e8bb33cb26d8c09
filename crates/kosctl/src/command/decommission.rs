//! The end of a device: ordered through its authority, or on the device itself.

use clap::Args;
use kos_api::{
    lifecycle::{Decommission as Item, DecommissionOrder},
    local::DeviceStatus,
    routes,
    text::Reason,
};
use kos_base::DeviceState;

use super::{device::find, follow};
use crate::{
    Change, Client, Fault,
    arguments::{SevereFlags, WaitFlags},
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// `decommission [--device D]`; without a device, that of the local socket.
#[derive(Debug, Args)]
pub(crate) struct Decommission {
    /// Id of the device, or at least 4 characters of its beginning. Leave it out when --server is the socket of the
    /// device itself.
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    order: Order,
}

/// How to end it.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// Why; goes into the audit log.
    #[arg(long)]
    reason: Option<Reason>,
    /// Lets its hardware come back only through a person, who is shown an alert.
    #[arg(long)]
    ban: bool,
    #[command(flatten)]
    severe: SevereFlags,
    #[command(flatten)]
    wait: WaitFlags,
}

impl Decommission {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match &self.device {
            Some(device) => self.order.run(session, device).await,
            None => self.order.run_here(session).await,
        }
    }
}

impl Order {
    /// Through the authority.
    pub(crate) async fn run(&self, session: &Session, device: &str) -> Result<Ending, Fault> {
        let client = session.client()?;
        let found = find(&client, device).await?;
        let id = found.device.device_id.as_ref();
        if self.ask(session, found.called(), id)? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let how = Change { dry_run: self.severe.dry_run, if_match: found.tag.clone() };
        let outcome = client.change(&routes::DEVICE_DECOMMISSION, &[id], &self.body(), &how).await?;
        follow::print_outcome(session, outcome, &self.wait, "the device's confirmation", async || {
            let item: Item = client.show(&routes::DEVICE_DECOMMISSION_SHOW, &[id]).await?;
            Ok((item.state == DeviceState::Decommissioned).then_some(item))
        })
        .await
    }

    /// On the device.
    async fn run_here(&self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let status = local_status(&client).await?;
        let id = status.device_id.as_ref().map_or("this device", AsRef::as_ref);
        let name = status.name.as_ref().map_or(id, AsRef::as_ref);
        if self.ask(session, name, id)? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let how = Change { dry_run: self.severe.dry_run, if_match: None };
        session
            .outcome(&client.change::<Item, _>(&routes::LOCAL_DECOMMISSION, &[], &self.body(), &how).await?)
    }

    fn ask(&self, session: &Session, name: &str, id: &str) -> Result<Consent, Fault> {
        let danger = Danger::Severe { name, id, confirmed: self.severe.confirm.as_deref() };
        let what = format!("{name} ({id}) will be revoked and wiped");
        session.consent(&what, danger, self.severe.dry_run.into())
    }

    fn body(&self) -> DecommissionOrder {
        DecommissionOrder { reason: self.reason.clone(), ban: self.ban }
    }
}

/// What the device at the other end of the socket says; whoever meant one of an authority's devices is told so.
pub(super) async fn local_status(client: &Client) -> Result<DeviceStatus, Fault> {
    let document = client.show_any(&routes::LOCAL_STATUS).await?;
    let document: Result<kos_api::Document<DeviceStatus>, _> = serde_json::from_value(document);
    document.map(|d| d.item).map_err(|_| {
        Fault::usage("which device? The server is not the socket of one", "name it with --device DEVICE")
    })
}
