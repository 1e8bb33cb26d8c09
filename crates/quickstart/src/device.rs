//! The device of a first look: it gets a ticket from the API if it has no certificate yet, and is then like any other.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use kosctl::{
    Change, Client, Outcome, Server,
    api::{
        local::DeviceStatus,
        routes,
        ticket::{CreateTicket, Ticket},
    },
};
use kosd::{
    TicketText,
    life::{Device, News, NewsReceiver, Options},
};
use tokio::time::{Instant, sleep};

use crate::fault::Fault;

/// How long the first heartbeat may take. It takes about a second.
const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Boots the device in `root`. It enrols with a ticket that the API makes for it, unless it has enrolled before.
pub(crate) async fn boot(root: &Path, api: &Client, tls: u16) -> Result<(Device, NewsReceiver), Fault> {
    let ticket = if kosd::life::is_enrolled(root)? { None } else { Some(ticket(api).await?) };
    // The ports may be others than at the last start.
    let authority = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, tls))];
    Ok(Device::boot(root, Options { ticket, authority, ..Options::default() })?)
}

async fn ticket(api: &Client) -> Result<TicketText, Fault> {
    let request = CreateTicket::for_role(kosctl::Role::Compute);
    let made: Outcome<Ticket> = api.change(&routes::TICKET_CREATE, &[], &request, &Change::default()).await?;
    let text = match made {
        Outcome::Done(ticket) => ticket.text,
        Outcome::Planned(_) => None,
    };
    let text = text.and_then(|text| TicketText::parse(text.expose()).ok());
    text.ok_or(Fault::Stopped("the making of a ticket"))
}

/// Waits until the authority has acknowledged a heartbeat of this run, and returns the device's id.
pub(crate) async fn first_heartbeat(root: &Path, news: &mut NewsReceiver) -> Result<String, Fault> {
    let local = Client::new(Server::Unix(root.join("run/kos/kosd.sock")), None);
    let started = Instant::now();
    let mut last = String::new();
    while started.elapsed() < HEARTBEAT_DEADLINE {
        while let Ok(said) = news.try_recv() {
            last = match said {
                News::Refused(code) | News::Untrusted(code) | News::Setback(code) => {
                    format!(": {code}, {}", code.title())
                }
                News::Unreachable => ": the authority does not answer".to_owned(),
                _ => continue,
            };
        }
        let status: Result<DeviceStatus, _> = local.show(&routes::LOCAL_STATUS, &[]).await;
        if let Ok(DeviceStatus { device_id: Some(id), last_heartbeat_at: Some(_), .. }) = status {
            return Ok(id.to_string());
        }
        sleep(LOOK_EVERY).await;
    }
    Err(Fault::Silent { seconds: HEARTBEAT_DEADLINE.as_secs(), why: last })
}
