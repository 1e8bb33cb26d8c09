//! How the server is, whichever of the two it is.

use kos_api::{Document, Kind as _, authority::Status, local::DeviceStatus, routes};
use serde_json::Value;

use crate::{
    Client, Fault,
    session::{Ending, Session},
};

/// An authority or a device, by what it says of itself.
pub(super) enum Peer {
    Authority(Box<Status>),
    Device(Box<DeviceStatus>),
}

pub(crate) async fn run(session: &Session) -> Result<Ending, Fault> {
    match ask(&session.client()?).await? {
        Peer::Authority(status) => session.printer.item(&*status)?,
        Peer::Device(status) => session.printer.item(&*status)?,
    }
    Ok(Ending::Done)
}

/// Asks the server who and how it is.
pub(super) async fn ask(client: &Client) -> Result<Peer, Fault> {
    let document = client.show_any(&routes::STATUS).await?;
    let is_device = document.get("kind").and_then(Value::as_str) == Some(DeviceStatus::KIND);
    let nonsense =
        |e: serde_json::Error| Fault::Answer { server: client.server().to_string(), reason: e.to_string() };
    if is_device {
        let document: Document<DeviceStatus> = serde_json::from_value(document).map_err(nonsense)?;
        return Ok(Peer::Device(Box::new(document.item)));
    }
    let document: Document<Status> = serde_json::from_value(document).map_err(nonsense)?;
    Ok(Peer::Authority(Box::new(document.item)))
}
