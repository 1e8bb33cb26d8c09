//! Which entries of the log are meant.

use clap::Args;
use kos_api::audit::AuditFilter;
use kos_base::Timestamp;

use super::super::device::find;
use crate::{Client, Fault};

/// What entries must fit. Everything given must.
#[derive(Clone, Debug, Args)]
pub(crate) struct Filter {
    /// Only events of this type, such as `device_enrolled`.
    #[arg(long = "event", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only what this actor did: an id, or the name of a person whose key was not erased.
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only what happened to this target, likewise.
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// Only what speaks of this device: as actor, as target or in the details.
    #[arg(long)]
    device: Option<String>,
    /// Only what speaks of this person or network address, wherever it does.
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Only at or after this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl Filter {
    /// As the server is asked. A device is found by the beginning of its id.
    pub(super) async fn asked(self, client: &Client) -> Result<AuditFilter, Fault> {
        let device = match self.device {
            Some(device) => Some(find(client, &device).await?.device.device_id.to_string()),
            None => None,
        };
        Ok(AuditFilter {
            event_type: self.event_type,
            actor: self.actor,
            target: self.target,
            device,
            person: self.person,
            since: self.since,
            until: self.until,
            ..AuditFilter::default()
        })
    }
}
