//! The log as a stream: every entry that fits, once, as soon as a checkpoint covers it.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use kos_api::{
    Document,
    audit::{AuditFilter, AuditFollow},
};
use tokio::time::sleep;

use super::{
    answer::Refusal,
    call::{Asked, Who},
    entry, search,
    stream::{BEAT, Ended, Outlet, Seat},
};
use crate::{
    authority::Shared,
    search::{Order, Query, SearchError},
};

/// Entries that are read at a time.
const PAGE: u32 = 64;

/// Follows the log from where the reader was, or from now.
pub(super) async fn follow(
    State(shared): State<Arc<Shared>>,
    seat: Seat,
    Asked(asked): Asked<AuditFollow>,
) -> Result<Response, Refusal> {
    let AuditFollow { event_type, actor, target, device, person, from } = asked;
    let filter = AuditFilter { event_type, actor, target, device, person, ..AuditFilter::default() };
    let query = search::query(&shared, &seat.context, &filter).await?;
    let from = seat.last()?.map(|last| last.saturating_add(1)).or(from);
    let size = shared.writer.progress().borrow().log_size;
    // Nobody has got what is not there yet; a reader of an authority that was put back says so.
    let from = from.unwrap_or(size).min(size);
    let who = seat.context.who.clone();
    seat.serve(&shared.clone(), |outlet| produce(shared, who, query, from, outlet))
}

async fn produce(
    shared: Arc<Shared>,
    who: Who,
    query: Query,
    from: u64,
    outlet: Outlet,
) -> Result<(), Ended> {
    let mut progress = shared.writer.progress();
    let mut next = from;
    outlet.beat(next.checked_sub(1)).await?;
    loop {
        let size = progress.borrow_and_update().log_size;
        outlet.check().await?;
        let found = shared.search.find(&shared.store, &query, Order::Oldest, next.checked_sub(1), PAGE).await;
        match found {
            Ok(rows) => {
                for row in &rows {
                    let shown = entry::shown_to(&who, &shared, row).await.map_err(|_| Ended)?;
                    let json = serde_json::to_vec(&Document::new(shown)).map_err(|_| Ended)?;
                    outlet.event("entry", row.position, &json).await?;
                    next = row.position + 1;
                }
                if rows.len() == usize::try_from(PAGE).unwrap_or(usize::MAX) {
                    continue;
                }
                // What was passed over does not fit.
                next = next.max(size);
            }
            Err(SearchError::Making | SearchError::Busy) => {
                // The search has waited as long as it does; nothing is lost meanwhile.
                outlet.beat(next.checked_sub(1)).await?;
                continue;
            }
            Err(SearchError::Store(error)) => {
                tracing::error!(%error, "the log cannot be followed");
                return Err(Ended);
            }
        }
        tokio::select! {
            changed = progress.changed() => changed.map_err(|_| Ended)?,
            () = sleep(BEAT) => outlet.beat(next.checked_sub(1)).await?,
            () = outlet.left() => return Err(Ended),
        }
    }
}
