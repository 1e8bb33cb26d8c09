//! A ticket for one device, and the way from there to its first heartbeat.

use clap::Args;
use kos_api::{
    device::Device,
    routes,
    ticket::{Ticket, TicketState},
};
use kos_base::{Name, Role};

use super::{
    follow,
    ticket::{Drawing, Terms, show},
};
use crate::{
    Client, Fault, Outcome,
    arguments::{ChangeFlags, WaitFlags},
    session::{Ending, Session},
};

/// `enroll --device NAME --role ROLE`
#[derive(Debug, Args)]
pub(crate) struct Enroll {
    /// What the device will be called.
    #[arg(long, value_name = "NAME")]
    device: Name,
    /// What the device is for: gateway, sensor, companion, compute, actuator or relay.
    #[arg(long)]
    role: Role,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    wait: WaitFlags,
}

impl Enroll {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let request = self.terms.request(self.role, Some(self.device), 1);
        let how = self.change.change();
        let ticket: Ticket = match client.change(&routes::TICKET_CREATE, &[], &request, &how).await? {
            Outcome::Done(ticket) => ticket,
            Outcome::Planned(plan) => return session.plan(&plan),
        };
        show(session, &ticket, Drawing::Drawn)?;
        if let Some(limit) = self.wait.limit(session.timeout) {
            let id = ticket.ticket_id.to_string();
            let device = follow::until(session, "the device's first heartbeat", limit, async || {
                arrived(&client, &id).await
            })
            .await?;
            let name = device.name.as_ref().map_or_else(|| device.device_id.as_ref(), AsRef::as_ref);
            session
                .terminal
                .note(&format!("{name} is {} ({}, {})", device.state, device.device_id, device.profile));
        }
        Ok(Ending::Done)
    }
}

/// The device that came with the ticket, once it has sent a heartbeat.
async fn arrived(client: &Client, ticket: &str) -> Result<Option<Device>, Fault> {
    let ticket: Ticket = client.show(&routes::TICKET_SHOW, &[ticket]).await?;
    match (ticket.devices.first(), ticket.state) {
        (Some(id), _) => {
            let device: Device = client.show(&routes::DEVICE_SHOW, &[id.as_ref()]).await?;
            Ok(device.last_heartbeat_at.is_some().then_some(device))
        }
        (None, TicketState::Expired | TicketState::Revoked) => Err(Fault::Missing {
            kind: "device came with ticket",
            name: ticket.ticket_id.to_string(),
            fix: "kosctl enroll --device NAME --role ROLE --wait",
        }),
        (None, TicketState::Open | TicketState::Spent) => Ok(None),
    }
}
