//! Alerts as server-sent events, for whoever looks on while they are raised.
//!
//! Shape: an event has `id`, the index of the alert's entry in the log; `event: alert`; and `data`, the alert as the API
//! shows it, in one line. A comment comes every 15 s. `Last-Event-ID` names the last one that was seen; without it the
//! stream begins with what is raised from now on.
//!
//! What is sent is read from the store, not from a queue: a stream that is cut is gone on with at the next one, and loses
//! nothing. A reader that does not keep up for 30 s is cut. There are at most 16 streams.
//!
//! Source: ALR-40; WHATWG HTML, server-sent events.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use kos_api::Document;
use kos_base::code;
use tokio::{sync::mpsc, time::timeout};

use super::{alerts, answer::Refusal, call::Context};
use crate::{authority::Shared, store::StoreError};

/// Events that wait for a reader.
const EVENTS_MAX: usize = 16;
/// How long a reader may not read.
const READ_TIME_MAX: Duration = Duration::from_secs(30);
/// How long nothing is sent; a comment shows that the stream lives, and finds readers that are gone.
const QUIET: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    context: Context,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let permit = Arc::clone(&shared.alerts.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Refusal::new(code::audit::ALERT_STREAMS).under(context.id))?;
    let last = headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|id| id.parse().ok()));
    let last: Option<u64> = match last {
        Some(None) => return Err(context.bad("Last-Event-ID is not the id of an event of this stream")),
        Some(last) => last,
        None => shared.store.alerts(crate::store::AlertChoice::All, None, 1).await?.pop().map(|a| a.raised),
    };
    let (events, received) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        let mut ending = shared.alerts.ending();
        tokio::select! {
            _ = ending.wait_for(|ended| *ended) => {}
            () = events.closed() => {}
            sent = send(&shared, last, &events) => {
                if let Err(error) = sent {
                    tracing::warn!(%error, "a stream of alerts is cut");
                }
            }
        }
    });
    let body = stream::unfold(received, |mut received| async {
        let piece: Bytes = received.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), received))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Why a stream ends.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its reader does not keep up")]
    Slow,
}

async fn send(shared: &Shared, mut last: Option<u64>, events: &mpsc::Sender<Bytes>) -> Result<(), Cut> {
    let mut changes = shared.alerts.changes();
    // The reader knows at once that it is connected.
    pass(events, ":\n\n".to_owned()).await?;
    loop {
        changes.borrow_and_update();
        let limit = u32::try_from(EVENTS_MAX).unwrap_or(u32::MAX);
        let found = shared.store.alerts_after(last, limit).await?;
        for stored in &found {
            let shown = alerts::shown(shared, stored).await?;
            let data = serde_json::to_string(&Document::new(shown)).unwrap_or_default();
            pass(events, format!("id: {}\nevent: alert\ndata: {data}\n\n", stored.raised)).await?;
            last = Some(stored.raised);
        }
        if !found.is_empty() {
            continue;
        }
        match timeout(QUIET, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => pass(events, ":\n\n".to_owned()).await?,
        }
    }
}

async fn pass(events: &mpsc::Sender<Bytes>, text: String) -> Result<(), Cut> {
    match timeout(READ_TIME_MAX, events.send(Bytes::from(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Cut::Slow),
    }
}
