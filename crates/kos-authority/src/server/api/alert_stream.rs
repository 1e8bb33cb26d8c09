//! Alerts as a stream, for whoever looks on while they are raised.
//!
//! Shape: an event has `id`, the index of the alert's entry in the log; `event: alert`; and `data`, the alert as the API
//! shows it. `Last-Event-ID` names the last one that was seen; without it the stream begins with what is raised from now on.
//!
//! What is sent is read from the store, not from a queue: a stream that is cut is gone on with at the next one, and loses
//! nothing.
//!
//! Source: ALR-40.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use kos_api::Document;
use kos_base::code;
use tokio::time::sleep;

use super::{
    alerts,
    answer::Refusal,
    call::Who,
    stream::{BEAT, Ended, Outlet, Seat},
};
use crate::{
    authority::Shared,
    store::{AlertChoice, StoreError},
};

/// Alerts that are read at a time.
const PAGE: u32 = 16;

pub(super) async fn stream(State(shared): State<Arc<Shared>>, seat: Seat) -> Result<Response, Refusal> {
    let id = seat.context.id;
    let last = match seat.last()? {
        Some(last) => Some(last),
        None => shared.store.alerts(AlertChoice::All, None, 1).await?.pop().map(|alert| alert.raised),
    };
    let who = seat.context.who.clone();
    let served = seat.serve(&Arc::clone(&shared), |outlet| produce(shared, who, last, outlet));
    served.map_err(|_| Refusal::new(code::audit::ALERT_STREAMS).under(id))
}

async fn produce(shared: Arc<Shared>, who: Who, mut last: Option<u64>, outlet: Outlet) -> Result<(), Ended> {
    let failed = |error: StoreError| {
        tracing::warn!(%error, "a stream of alerts is cut");
        Ended
    };
    let mut changes = shared.alerts.changes();
    // The reader knows at once that it is connected.
    outlet.beat(last).await?;
    loop {
        changes.borrow_and_update();
        outlet.check().await?;
        let found = shared.store.alerts_after(last, PAGE).await.map_err(failed)?;
        for stored in &found {
            let shown = alerts::shown(&who, &shared, stored).await.map_err(failed)?;
            let json = serde_json::to_vec(&Document::new(shown)).map_err(|_| Ended)?;
            outlet.event("alert", stored.raised, &json).await?;
            last = Some(stored.raised);
        }
        if !found.is_empty() {
            continue;
        }
        tokio::select! {
            changed = changes.changed() => changed.map_err(|_| Ended)?,
            () = sleep(BEAT) => outlet.beat(last).await?,
            () = outlet.left() => return Err(Ended),
        }
    }
}
