//! Alerts while they are raised.

use core::{ops::ControlFlow, time::Duration};

use clap::Args;
use kos_api::{Document, alert::Alert, routes};
use kos_base::{code::Exit, text::printable};

use crate::{
    Client, Fault,
    output::write_out,
    server::Event,
    session::{Ending, Session},
};

/// How long it waits before it asks a server again that went away.
const PAUSE: Duration = Duration::from_secs(1);

/// `audit alerts tail`
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Begins after the alert whose entry stands at this index; without it, with what is raised from now on.
    #[arg(long, value_name = "INDEX")]
    after: Option<u64>,
    /// Ends after so many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Tail {
    pub(super) async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let mut last = self.after.map(|after| after.to_string());
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let after = last.clone();
            let take = |event: &Event| {
                show(session, client, &event.data)?;
                left -= 1;
                Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            let everything = serde_json::json!({});
            let (seen, ended) =
                client.events(&routes::ALERT_STREAM, &everything, after.as_deref(), take).await;
            // Also of a sign of life: it says from where on the server tells.
            last = seen.or(last);
            match ended {
                // A stream that never began, and has no place to go on from, would miss what comes meanwhile.
                Err(fault) if fault.code().exit() != Exit::Unreachable || last.is_none() => {
                    return Err(fault);
                }
                Err(fault) => session.terminal.note(&format!("{fault}; asking again")),
                Ok(()) if left == 0 => {}
                Ok(()) => session.terminal.note("the server ended the stream; asking again"),
            }
            if left > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(Ending::Done)
    }
}

fn show(session: &Session, client: &Client, data: &str) -> Result<(), Fault> {
    let alert = serde_json::from_str::<Document<Alert>>(data)
        .map_err(|error| Fault::Answer { server: client.server().to_string(), reason: error.to_string() })?;
    let alert = alert.item;
    if !session.printer.is_for_people() {
        return session.printer.row(&alert);
    }
    let Alert { alert_id, severity, rule, summary, count, at, .. } = alert;
    let severity = serde_json::to_value(severity).unwrap_or_default();
    let severity = severity.as_str().unwrap_or_default();
    let line = format!("{at}  {severity:<8}  {alert_id}  {rule} ({count}): {summary}");
    write_out(&format!("{}\n", printable(&line, 400)))
}
