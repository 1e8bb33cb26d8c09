//! WebSocket over TLS: one binary message is one frame.
//!
//! The client asks for `wss://host/klp/v1` inside TLS with ALPN `http/1.1`; the server's HTTP side checks the request
//! and hands the upgraded connection over. Text is refused; pings are answered below.
//!
//! Source: RFC 6455; `docs/spec/klp.md`.

use std::time::Duration;

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        handshake::derive_accept_key,
        http::Uri,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{About, FRAME_BYTES_MAX, LINK_IDLE, Link, LinkError, LinkReceiver, LinkSender};
use crate::{endpoints::Endpoint, frame::FrameError};

/// The path that a WebSocket client asks for.
pub const WEBSOCKET_PATH: &str = "/klp/v1";

/// Bytes read at once; what an idle link costs.
const READ_BYTES: usize = 1_024;

/// A connection that the two halves share.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Socket = WebSocketStream<Box<dyn Wire>>;
pub(super) type SendHalf = SplitSink<Socket, Message>;

/// The value of `Sec-WebSocket-Accept` for a request's `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * FRAME_BYTES_MAX)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
}

pub(super) async fn serve(io: Box<dyn Wire>) -> Socket {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await
}

/// Asks the server at the other end of `io` to switch to WebSocket.
pub(super) async fn ask(io: Box<dyn Wire>, endpoint: &Endpoint) -> Result<Socket, Error> {
    let uri: Uri = format!("wss://{endpoint}{WEBSOCKET_PATH}").parse().map_err(Error::from)?;
    let request = uri.into_client_request()?;
    Ok(client_async_with_config(request, io, Some(config())).await?.0)
}

pub(super) fn link(socket: Socket, about: About) -> Link {
    let (sink, stream) = socket.split();
    Link {
        about,
        sender: LinkSender::new(super::SendHalf::WebSocket(sink)),
        receiver: LinkReceiver(super::ReceiveHalf::WebSocket(ReceiveHalf { stream, waiting_since: None })),
    }
}

fn failed(error: Error) -> LinkError {
    match error {
        Error::Io(error) => FrameError::Io(error).into(),
        other => LinkError::WebSocket(Box::new(other)),
    }
}

pub(super) async fn queue(half: &mut SendHalf, body: &[u8], deadline: Duration) -> Result<(), LinkError> {
    match body.len() {
        0 => return Err(FrameError::Empty.into()),
        bytes if bytes > FRAME_BYTES_MAX => return Err(FrameError::TooLong { bytes }.into()),
        _ => {}
    }
    within(deadline, half.feed(Message::binary(body.to_vec()))).await
}

pub(super) async fn flush(half: &mut SendHalf, deadline: Duration) -> Result<(), LinkError> {
    within(deadline, half.flush()).await
}

pub(super) async fn close(half: &mut SendHalf, deadline: Duration) -> Result<(), LinkError> {
    within(deadline, half.close()).await
}

async fn within(
    deadline: Duration,
    sending: impl Future<Output = Result<(), Error>>,
) -> Result<(), LinkError> {
    timeout(deadline, sending).await.map_err(|_| FrameError::Slow)?.map_err(failed)
}

pub(super) struct ReceiveHalf {
    stream: SplitStream<Socket>,
    waiting_since: Option<Instant>,
}

impl ReceiveHalf {
    pub(super) async fn recv(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        loop {
            // Pings do not count: something on the way may send them for a peer that is gone.
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let message = timeout_at(since + LINK_IDLE, self.stream.next()).await;
            match message.map_err(|_| FrameError::Silent)?.transpose().map_err(failed)? {
                Some(Message::Binary(body)) if body.is_empty() => return Err(FrameError::Empty.into()),
                Some(Message::Binary(body)) => {
                    self.waiting_since = None;
                    return Ok(Some(body.to_vec()));
                }
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                Some(Message::Close(_)) | None => return Ok(None),
                Some(Message::Text(_) | Message::Frame(_)) => return Err(LinkError::NotBinary),
            }
        }
    }
}
