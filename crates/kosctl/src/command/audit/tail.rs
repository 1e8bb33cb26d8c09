//! The end of the log, and what is added to it from now on.

use core::{ops::ControlFlow, time::Duration};

use clap::Args;
use kos_api::{
    Document, List,
    audit::{AuditEntry, AuditFilter, AuditFollow, AuditOrder, Checkpoint},
    routes,
};
use kos_base::code::Exit;

use super::{super::follow::note_archived, filter::Filter};
use crate::{
    Client, Fault,
    server::Event,
    session::{Ending, Session},
};

/// Most entries that a server gives at once.
const LINES_MAX: u32 = 500;
/// The first pause before a stream that broke is asked for again, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// `audit tail`
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How many of the last entries that fit, 0 to 500.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=500))]
    lines: u32,
    /// Goes on with every new entry that fits until Ctrl-C; also over restarts of the authority.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Tail {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let filter = self.filter.asked(&client).await?;
        // Before the entries: what comes between the two is among them, or follows.
        let head: Checkpoint = client.show(&routes::AUDIT_CHECKPOINT, &[]).await?;
        let (mut last, mut archived) = (Vec::new(), None);
        if self.lines > 0 {
            let limit = Some(self.lines.min(LINES_MAX));
            let newest = AuditFilter { order: Some(AuditOrder::Newest), limit, ..filter.clone() };
            let page: List<AuditEntry> = client.list(&routes::AUDIT_LIST, &[], &newest).await?;
            archived = page.archived;
            last.extend(page.items.into_iter().rev());
        }
        let from = last.last().map_or(head.size, |entry| head.size.max(entry.index + 1));
        let mut widths = Vec::new();
        session.printer.lines(&last, &mut widths)?;
        if let Some(archived) =
            archived.filter(|_| last.len() < usize::try_from(self.lines).unwrap_or(usize::MAX))
        {
            note_archived(session, &archived);
        }
        if !self.follow {
            return Ok(Ending::Done);
        }
        let AuditFilter { event_type, actor, target, device, person, .. } = filter;
        let asked = AuditFollow { event_type, actor, target, device, person, from: Some(from) };
        tokio::select! {
            ended = follow(session, &client, asked, &mut widths) => ended,
            // Whoever follows has seen enough: that is how it ends.
            pressed = tokio::signal::ctrl_c() => match pressed {
                Ok(()) => Ok(Ending::Done),
                Err(_) => Err(Fault::Internal("the system tells of no signals".to_owned())),
            },
        }
    }
}

async fn follow(
    session: &Session,
    client: &Client,
    mut asked: AuditFollow,
    widths: &mut Vec<usize>,
) -> Result<Ending, Fault> {
    let mut pause = PAUSE;
    loop {
        let mut heard = false;
        let take = |event: &Event| {
            heard = true;
            if event.name != "entry" {
                return Ok(ControlFlow::Continue(()));
            }
            let read: Document<AuditEntry> = serde_json::from_str(&event.data)
                .map_err(|e| Fault::Answer { server: client.server().to_string(), reason: e.to_string() })?;
            session.printer.lines(&[read.item], widths).map(ControlFlow::Continue)
        };
        let (last, ended) = client.events(&routes::AUDIT_TAIL, &asked, None, take).await;
        if let Some(next) = last.and_then(|last| last.parse::<u64>().ok()).map(|last| last + 1) {
            asked.from = Some(next);
        }
        if heard {
            pause = PAUSE;
        }
        match ended {
            Err(fault) if fault.code().exit() != Exit::Unreachable => return Err(fault),
            // The authority ended it in order, or is away.
            Ok(()) | Err(_) => session.terminal.note("the stream broke off; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
