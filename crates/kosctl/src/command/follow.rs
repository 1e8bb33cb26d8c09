//! Lists of many pages, and things that take a while.

use core::time::Duration;
use std::time::Instant;

use kos_api::{
    List,
    alert::AlertFilter,
    audit::{AuditFilter, LeftOut},
    device::DeviceFilter,
    pairing::GrantFilter,
    routes::Route,
    ticket::TicketFilter,
};
use kos_base::{code::Exit, text::printable};
use serde::Serialize;

use crate::{
    Client, Fault, Outcome,
    arguments::WaitFlags,
    output::{Format, Shown},
    session::{Ending, Session},
    terminal::Progress,
};

/// Most items that a server gives at once.
const PAGE_ITEMS: u32 = 500;

/// The first pause between two looks, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A query that can ask for the next page.
pub(super) trait Paged: Serialize {
    fn page(&mut self, limit: u32, cursor: Option<String>);
}

macro_rules! paged {
    ($($query:ty),+) => {$(
        impl Paged for $query {
            fn page(&mut self, limit: u32, cursor: Option<String>) {
                self.limit = Some(limit);
                self.cursor = cursor;
            }
        }
    )+};
}
paged!(DeviceFilter, TicketFilter, AuditFilter, AlertFilter, GrantFilter);

/// Prints a list to its end, or its first `limit` items. What needs no other item is printed as it comes.
pub(super) async fn print_list<T: Shown, Q: Paged>(
    session: &Session,
    client: &Client,
    route: &Route,
    values: &[&str],
    mut query: Q,
    limit: Option<u32>,
) -> Result<Ending, Fault> {
    let streams =
        matches!(session.printer.format, Format::Jsonl | Format::Name) && session.printer.sort.is_none();
    let mut left = limit.unwrap_or(u32::MAX);
    let mut all = List::complete(Vec::new());
    let mut any = false;
    loop {
        let from = all.next.take();
        query.page(left.min(PAGE_ITEMS), from.clone());
        let page: List<T> = client.list(route, values, &query).await?;
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        any |= !page.items.is_empty();
        all.next.clone_from(&page.next);
        all.archived = page.archived.clone().or(all.archived);
        // A page without items may have others behind it: a server looks at so many for one page. One that leads to itself is
        // the end.
        let is_last = page.next.is_none() || page.next == from || left == 0;
        if streams {
            session.printer.list(&page)?;
        } else {
            all.items.extend(page.items);
        }
        if is_last {
            break;
        }
    }
    if !streams {
        session.printer.list(&all)?;
    }
    if !any {
        note_none::<T>(session);
    }
    if let Some(archived) = &all.archived {
        note_archived(session, archived);
    }
    if all.next.is_some() && session.printer.is_for_people() {
        session.terminal.note("there are more; leave out --limit to see all");
    }
    Ok(Ending::Done)
}

/// Prints a list that came at once.
pub(super) fn print_whole<T: Shown>(session: &Session, list: &List<T>) -> Result<Ending, Fault> {
    session.printer.list(list)?;
    if list.items.is_empty() {
        note_none::<T>(session);
    }
    Ok(Ending::Done)
}

fn note_none<T: Shown>(session: &Session) {
    session.terminal.note(&format!("no {}", T::PLURAL));
}

/// Says which entries of a log were not looked at.
pub(super) fn note_archived(session: &Session, archived: &LeftOut) {
    let folder = printable(&archived.folder, 1_000);
    let last = archived.size.saturating_sub(1);
    session.terminal.note(&format!("entries 0 to {last} are in the archive {folder} and were not looked at"));
}

/// Waits for what a change leads to, when asked to, and prints the item as it is then. When that does not come in time,
/// the item is printed as it was: the change is made, and its answer may be all that its caller gets.
pub(super) async fn print_outcome<T: Shown>(
    session: &Session,
    mut outcome: Outcome<T>,
    wait: &WaitFlags,
    what: &str,
    look: impl AsyncFnMut() -> Result<Option<T>, Fault>,
) -> Result<Ending, Fault> {
    let mut waited = Ok(());
    if let (Outcome::Done(item), Some(limit)) = (&mut outcome, wait.limit(session.timeout)) {
        waited = until(session, what, limit, look).await.map(|seen| *item = seen);
    }
    let ending = session.outcome(&outcome)?;
    waited.map(|()| ending)
}

/// Looks until there is something to see. A server that is away for a moment has not said no.
pub(super) async fn until<T>(
    session: &Session,
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Fault>,
) -> Result<T, Fault> {
    let started = Instant::now();
    let mut progress = Progress::new(&session.terminal);
    let mut pause = PAUSE;
    loop {
        match look().await {
            Ok(Some(seen)) => return Ok(seen),
            Err(fault) if fault.code().exit() != Exit::Unreachable => return Err(fault),
            Ok(None) | Err(_) => {}
        }
        if started.elapsed() + pause > limit {
            return Err(Fault::NotInTime { what: what.to_owned(), after: limit });
        }
        progress.at(&format!("waiting: {what}"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
