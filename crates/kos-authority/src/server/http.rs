//! One HTTP connection, with a limit on everything that a stranger can stretch.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, http::Extensions, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join, split},
    sync::Notify,
    time::timeout,
};
use tower::ServiceExt as _;

use super::{Stopping, stopped};

/// How long the head of a request may take, and how long a connection may wait for the next one. Stops slow clients.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 64;
/// Most requests of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 32;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4), in bytes.
const PREFACE_BYTES: usize = 24;

/// Which version a connection speaks, as its ALPN said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Answers the requests of one connection until it ends, goes idle, or the program stops. What is `known` of the
/// connection is put into every request's extensions. A request may take the connection over from HTTP/1.1.
pub(super) async fn serve_connection<IO>(
    stream: IO,
    version: Version,
    router: Router,
    known: Extensions,
    mut stopping: Stopping,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let line = Line { stopping: Some(stopping.clone()), cut: Arc::default() };
    let cut = Arc::clone(&line.cut);
    let answer = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().extend(known.clone());
        request.extensions_mut().insert(line.clone());
        answer(router.clone(), request)
    });
    // A peer that breaks off or breaks the protocol ends its own connection; that is all that follows.
    match version {
        Version::Http1 => {
            let io = TokioIo::new(stream);
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
            let mut connection = std::pin::pin!(builder.serve_connection(io, answer).with_upgrades());
            tokio::select! {
                _ = connection.as_mut() => return,
                () = cut.notified() => return,
                () = stopped(&mut stopping) => connection.as_mut().graceful_shutdown(),
            }
            tokio::select! {
                _ = connection => {}
                () = cut.notified() => {}
            }
        }
        Version::Http2 => {
            // From the preface on hyper asks whether the peer is there; before it, nobody would.
            let (mut read, write) = split(stream);
            let mut preface = [0; PREFACE_BYTES];
            let begins = timeout(HEAD_TIMEOUT, read.read_exact(&mut preface));
            tokio::select! {
                begun = begins => if !matches!(begun, Ok(Ok(_))) { return },
                () = stopped(&mut stopping) => return,
            }
            let io = TokioIo::new(join(io::Cursor::new(preface).chain(read), write));
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
            builder.max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
            builder.keep_alive_interval(HEAD_TIMEOUT).keep_alive_timeout(HEAD_TIMEOUT);
            let mut connection = std::pin::pin!(builder.serve_connection(io, answer));
            tokio::select! {
                _ = connection.as_mut() => return,
                () = cut.notified() => return,
                () = stopped(&mut stopping) => connection.as_mut().graceful_shutdown(),
            }
            tokio::select! {
                _ = connection => {}
                () = cut.notified() => {}
            }
        }
    }
}

/// What an answer that goes on and on needs to know of its connection, and may do to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    stopping: Option<Stopping>,
    cut: Arc<Notify>,
}

impl Line {
    /// Ends when the program is to end.
    pub(crate) async fn stopped(&mut self) {
        match &mut self.stopping {
            Some(stopping) => stopped(stopping).await,
            None => std::future::pending().await,
        }
    }

    /// Ends the connection, whatever is under way on it.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }
}

async fn answer(router: Router, request: Request) -> Result<Response, Infallible> {
    router.oneshot(request).await
}
