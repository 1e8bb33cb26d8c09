//! Long answers: server-sent events, which go on until the reader leaves, does not read, may not any more, or the program
//! ends; and files that are sent as they are made.
//!
//! Shape: a handler takes a [`Seat`], and gives it a task that writes events into an [`Outlet`]. Few events wait between
//! the two; a reader that does not take them for [`SLOW`] loses its connection. The `id` of an event is where its reader
//! goes on after a break.
//!
//! Invariants: one caller and all together have a limited number of streams; each holds a bounded number of events; a
//! caller whose certificate was revoked gets nothing more.
//!
//! Source: WHATWG HTML, 9.2.6 (the form of the stream).

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::FromRequestParts,
    http::{header, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use kos_api::routes::{Caller, Media, Object};
use kos_base::code;
use tokio::sync::mpsc;

use super::{
    answer::Refusal,
    call::{Context, Origin, Who},
};
use crate::{authority::Shared, server::http::Line};

/// Streams at a time. Stops callers from holding connections and memory without end.
const STREAMS_MAX: usize = 32;
/// Streams of one caller at a time, so that one cannot take them all.
const STREAMS_PER_CALLER_MAX: usize = 8;
/// Events on the way to one reader.
const WAITING_MAX: usize = 16;
/// How long an event may wait for its reader.
const SLOW: Duration = Duration::from_secs(30);
/// After how long without an event the reader gets a sign of life.
pub(super) const BEAT: Duration = Duration::from_secs(15);

/// Header by which a reader says what it got last.
const LAST_EVENT_ID: &str = "last-event-id";

/// How many streams there are, by caller.
#[derive(Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, usize>>>);

/// The place of one stream; it is free again when this is dropped.
#[derive(Debug)]
struct Place {
    streams: Arc<Mutex<HashMap<String, usize>>>,
    caller: String,
}

impl Streams {
    fn enter(&self, caller: String) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&caller).copied().unwrap_or_default();
        if own >= STREAMS_PER_CALLER_MAX || taken.values().sum::<usize>() >= STREAMS_MAX {
            return None;
        }
        taken.insert(caller.clone(), own + 1);
        drop(taken);
        Some(Place { streams: Arc::clone(&self.0), caller })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

/// Who wants to listen, and how.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) context: Context,
    origin: Origin,
    line: Line,
    last: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Seat {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let context = Context::from_request_parts(parts, state).await?;
        let last = parts.headers.get(LAST_EVENT_ID).map(|value| value.to_str().map(str::to_owned));
        let last = last.transpose().map_err(|_| context.bad("the Last-Event-ID is not ASCII"))?;
        Ok(Self {
            context,
            origin: parts.extensions.get::<Origin>().cloned().unwrap_or(Origin::Nobody),
            line: parts.extensions.get::<Line>().cloned().unwrap_or_default(),
            last: last.filter(|last| !last.is_empty()),
        })
    }
}

impl Seat {
    /// The number of the last event that the reader got.
    ///
    /// # Errors
    /// When the header is no number.
    pub(super) fn last(&self) -> Result<Option<u64>, Refusal> {
        let read = self.last.as_deref().map(str::parse::<u64>).transpose();
        read.map_err(|_| self.context.bad("the Last-Event-ID is not one of this stream"))
    }

    /// Answers with the events that `produce` writes, until it ends.
    ///
    /// # Errors
    /// When there are too many streams.
    pub(super) fn serve<F>(
        self,
        shared: &Arc<Shared>,
        produce: impl FnOnce(Outlet) -> F,
    ) -> Result<Response, Refusal>
    where
        F: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        self.answer(shared, Media::Events.as_str(), Form::Endless, produce)
    }

    /// Answers with the bytes of type `kind` that `produce` writes. Should it not get to its end, the connection breaks, so that
    /// nobody takes a part for the whole.
    ///
    /// # Errors
    /// When there are too many streams.
    pub(super) fn send<F>(
        self,
        shared: &Arc<Shared>,
        kind: &'static str,
        produce: impl FnOnce(Outlet) -> F,
    ) -> Result<Response, Refusal>
    where
        F: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        self.answer(shared, kind, Form::Whole, produce)
    }

    fn answer<F>(
        self,
        shared: &Arc<Shared>,
        kind: &'static str,
        form: Form,
        produce: impl FnOnce(Outlet) -> F,
    ) -> Result<Response, Refusal>
    where
        F: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        let place = shared.streams.enter(self.context.who.label()).ok_or_else(|| {
            Refusal::new(code::config::OVERLOADED).saying("too many streams").under(self.context.id)
        })?;
        let (to, from) = mpsc::channel(WAITING_MAX);
        let Self { context, origin, line, .. } = self;
        let outlet =
            Outlet { shared: Arc::clone(shared), context, origin, line: line.clone(), to: to.clone() };
        let producing = produce(outlet);
        tokio::spawn(async move {
            let _place = place;
            let mut line = line;
            let ended = tokio::select! {
                ended = producing => ended,
                () = line.stopped() => Err(Ended),
            };
            if ended.is_err() && form == Form::Whole {
                // A reader that left hears nothing, and one that does not read has been cut off.
                drop(to.try_send(Err(io::ErrorKind::ConnectionAborted.into())));
                line.cut();
            }
        });
        let pieces = stream::unfold(from, |mut from: mpsc::Receiver<io::Result<Bytes>>| async move {
            from.recv().await.map(|piece| (piece, from))
        });
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        Ok((headers, Body::from_stream(pieces)).into_response())
    }
}

/// Whether an answer has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// It goes on until somebody has enough.
    Endless,
    /// It is worth nothing without its end.
    Whole,
}

/// The stream is at its end: the reader has left, or is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended;

/// Where events go.
#[derive(Debug)]
pub(super) struct Outlet {
    shared: Arc<Shared>,
    context: Context,
    origin: Origin,
    line: Line,
    to: mpsc::Sender<io::Result<Bytes>>,
}

impl Outlet {
    /// Sends an event. `json` has no line breaks, as `serde_json` writes it.
    pub(super) async fn event(&self, name: &str, id: u64, json: &[u8]) -> Result<(), Ended> {
        let head = format!("id: {id}\nevent: {name}\ndata: ");
        self.send([head.as_bytes(), json, b"\n\n"].concat()).await
    }

    /// Sends a sign of life, and up to where the reader has everything; a reader shows nothing of it.
    pub(super) async fn beat(&self, last: Option<u64>) -> Result<(), Ended> {
        let id = last.map(|id| format!("id: {id}\n")).unwrap_or_default();
        self.send(format!(": beat\n{id}\n").into_bytes()).await
    }

    /// Sends bytes as they are; of none, nothing.
    pub(super) async fn raw(&self, piece: Vec<u8>) -> Result<(), Ended> {
        if piece.is_empty() { Ok(()) } else { self.send(piece).await }
    }

    /// Whether the caller may still listen, by what is known now.
    pub(super) async fn check(&self) -> Result<(), Ended> {
        let who = Who::of(&self.shared, self.origin.clone()).await.map_err(|_| Ended)?;
        let caller = match who {
            Who::Nobody => Caller::Anonymous,
            Who::LocalAdmin(_) => Caller::LocalAdmin,
            Who::Operator(_, role) => Caller::Operator(role),
            Who::Device(_) => Caller::Device(Object::Other),
        };
        if self.context.route.admits(caller) { Ok(()) } else { Err(Ended) }
    }

    /// Ends when the reader has left.
    pub(super) async fn left(&self) {
        self.to.closed().await;
    }

    async fn send(&self, piece: Vec<u8>) -> Result<(), Ended> {
        match self.to.send_timeout(Ok(Bytes::from(piece)), SLOW).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Ended),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                tracing::info!(request = %self.context.id.0, "a reader of a stream does not read and is cut off");
                self.line.cut();
                Err(Ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_and_all_together_have_so_many_streams_and_no_more() {
        let streams = Streams::default();
        let own: Vec<_> =
            (0..STREAMS_PER_CALLER_MAX).map(|_| streams.enter("a".to_owned()).unwrap()).collect();
        assert!(streams.enter("a".to_owned()).is_none());
        let others: Vec<_> =
            (own.len()..STREAMS_MAX).map(|n| streams.enter(format!("caller {}", n % 5)).unwrap()).collect();
        assert!(streams.enter("somebody".to_owned()).is_none());
        drop(own);
        assert!(streams.enter("a".to_owned()).is_some());
        drop(others);
        assert!(streams.0.lock().unwrap().is_empty());
    }
}
