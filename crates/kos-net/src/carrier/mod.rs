//! KLP links: frames between two authenticated peers, over whatever carries them.
//!
//! [`Link`] is the same on every carrier: it sends and receives frames of 1 to [`FRAME_BYTES_MAX`] bytes in order, knows
//! who the peer is, and holds a secret that only the two ends know. [`ladder`] dials one carrier after the other.
//!
//! Invariants: both ends were verified by their chains before a link exists; the exporter is the same function on
//! every carrier; a link costs a few kilobytes while nothing flows.
//!
//! What is not here: what frames say, and when a link is opened again. Why a carrier is a variant and not a trait:
//! `docs/decisions/0010-carriers-are-a-closed-enum.md`.
//!
//! Source: `docs/spec/klp.md` KLP-70.

pub mod ladder;
pub mod quic;
mod websocket;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use kos_base::{Code, Secret, code};
use kos_identity::chain::VerifiedPeer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

pub use self::{
    ladder::{Connector, LadderError},
    websocket::{WEBSOCKET_PATH, accept_key},
};
use crate::{
    frame::{self, FRAME_BYTES_MAX, FrameError, FrameReader, Patience},
    tls::{Exporter, Facts},
};

/// How long a link lives without hearing anything; heartbeats come every 60 s.
pub const LINK_IDLE: Duration = Duration::from_secs(200);

/// From the first byte of a frame until its last, and for the peer to take one of ours. Stops slow peers.
const FRAME_DEADLINE: Duration = Duration::from_secs(10);

const PATIENCE: Patience = Patience { silence: LINK_IDLE, body: FRAME_DEADLINE };

/// Frames that were queued are written once they are this many bytes.
const QUEUE_BYTES: usize = 16_384;

/// What carries a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// QUIC over UDP: the native one.
    Quic,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TLS, for networks that let nothing else through.
    WebSocket,
}

impl Carrier {
    /// The order in which they are tried unless the configuration says otherwise.
    pub const LADDER: [Self; 3] = [Self::Quic, Self::Tls, Self::WebSocket];

    /// The word that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What both ends know about a link.
#[derive(Clone, Debug)]
pub struct About {
    /// What carries it.
    pub carrier: Carrier,
    /// Where the peer is.
    pub remote: SocketAddr,
    /// Who the peer is.
    pub peer: Arc<VerifiedPeer>,
    /// What the handshake negotiated.
    pub facts: Arc<Facts>,
}

impl About {
    /// The secret of this link, for its MACs.
    pub fn exporter(&self) -> &Secret<32> {
        self.facts.exporter(Exporter::Klp)
    }
}

/// A link to one peer. Its parts can be owned by different tasks; when both halves are dropped, the link is cut.
#[derive(Debug)]
pub struct Link {
    /// What both ends know.
    pub about: About,
    /// Sends frames.
    pub sender: LinkSender,
    /// Receives frames.
    pub receiver: LinkReceiver,
}

/// Why a link failed. Both halves are of no further use.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer broke the form, was too slow, or is gone.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer sent something other than a binary message.
    #[error("the peer sent something that is not a binary message")]
    NotBinary,
    /// An earlier send was cancelled half-way, so that nothing more can be sent.
    #[error("an earlier frame was not sent to its end")]
    Torn,
    /// The WebSocket below failed.
    #[error("the WebSocket failed")]
    WebSocket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// The QUIC connection below ended.
    #[error("the QUIC connection ended")]
    Quic(#[from] quinn::ConnectionError),
}

impl LinkError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Frame(error) => error.code(),
            Self::NotBinary => code::klp::KLP_MALFORMED,
            Self::Torn | Self::WebSocket(_) | Self::Quic(_) => code::klp::KLP_LINK,
        }
    }
}

impl Link {
    /// A link over a TLS connection on which both ends agreed to speak KLP.
    pub fn over_tls<IO>(stream: IO, remote: SocketAddr, peer: Arc<VerifiedPeer>, facts: Arc<Facts>) -> Self
    where
        IO: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let about = About { carrier: Carrier::Tls, remote, peer, facts };
        Self {
            about,
            sender: LinkSender::new(SendHalf::Stream(Box::new(write))),
            receiver: LinkReceiver(ReceiveHalf::Stream(FrameReader::new(Box::new(read), PATIENCE))),
        }
    }

    /// A link over a WebSocket that was upgraded from a request to [`WEBSOCKET_PATH`] on a connection of a verified peer.
    pub async fn over_websocket<IO>(
        io: IO,
        remote: SocketAddr,
        peer: Arc<VerifiedPeer>,
        facts: Arc<Facts>,
    ) -> Self
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let socket = websocket::serve(Box::new(io)).await;
        websocket::link(socket, About { carrier: Carrier::WebSocket, remote, peer, facts })
    }
}

/// The half of a link that sends. Let every send run to its end: one that is cancelled half-way ends the link.
pub struct LinkSender {
    half: SendHalf,
    queued: Vec<u8>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    BetweenFrames,
    Writing,
}

enum SendHalf {
    Stream(Box<dyn AsyncWrite + Send + Unpin>),
    Quic(quinn::SendStream),
    WebSocket(websocket::SendHalf),
}

impl LinkSender {
    const fn new(half: SendHalf) -> Self {
        Self { half, queued: Vec::new(), progress: Progress::BetweenFrames }
    }

    /// Sends one frame, and whatever was queued before it.
    ///
    /// # Errors
    /// When the frame has no legal length (the link is still good), the peer does not take it within ten seconds, or
    /// the link failed.
    pub async fn send(&mut self, body: &[u8]) -> Result<(), LinkError> {
        self.queue(body).await?;
        self.flush().await
    }

    /// Takes a frame to be sent with the next [`LinkSender::flush`], or earlier when many are waiting.
    ///
    /// # Errors
    /// As [`LinkSender::send`].
    pub async fn queue(&mut self, body: &[u8]) -> Result<(), LinkError> {
        match &mut self.half {
            SendHalf::WebSocket(half) => websocket::queue(half, body, FRAME_DEADLINE).await,
            SendHalf::Stream(_) | SendHalf::Quic(_) => {
                frame::append(&mut self.queued, body)?;
                match self.queued.len() >= QUEUE_BYTES {
                    true => self.flush().await,
                    false => Ok(()),
                }
            }
        }
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// As [`LinkSender::send`].
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        // An idle link keeps no buffer.
        let queued = std::mem::take(&mut self.queued);
        if queued.is_empty()
            && !matches!(self.half, SendHalf::WebSocket(_))
            && self.progress == Progress::BetweenFrames
        {
            return Ok(());
        }
        if std::mem::replace(&mut self.progress, Progress::Writing) == Progress::Writing {
            return Err(LinkError::Torn);
        }
        match &mut self.half {
            SendHalf::Stream(stream) => frame::write_bytes(stream, &queued, FRAME_DEADLINE).await?,
            SendHalf::Quic(stream) => frame::write_bytes(stream, &queued, FRAME_DEADLINE).await?,
            SendHalf::WebSocket(half) => websocket::flush(half, FRAME_DEADLINE).await?,
        }
        self.progress = Progress::BetweenFrames;
        Ok(())
    }

    /// Sends what was queued and tells the peer that nothing more will come.
    ///
    /// # Errors
    /// As [`LinkSender::send`]; the peer may not have received the last frames.
    pub async fn close(mut self) -> Result<(), LinkError> {
        self.flush().await?;
        let closed = match &mut self.half {
            SendHalf::Stream(stream) => tokio::time::timeout(FRAME_DEADLINE, stream.shutdown()).await,
            SendHalf::Quic(stream) => tokio::time::timeout(FRAME_DEADLINE, quic::finish(stream)).await,
            SendHalf::WebSocket(half) => return websocket::close(half, FRAME_DEADLINE).await,
        };
        Ok(closed.map_err(|_| FrameError::Slow)?.map_err(FrameError::Io)?)
    }
}

impl fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSender").field("queued", &self.queued.len()).finish_non_exhaustive()
    }
}

/// The half of a link that receives.
pub struct LinkReceiver(ReceiveHalf);

enum ReceiveHalf {
    Stream(FrameReader<Box<dyn AsyncRead + Send + Unpin>>),
    Quic(quic::ReceiveHalf),
    WebSocket(websocket::ReceiveHalf),
}

impl LinkReceiver {
    /// The next frame, or `None` when the peer has said that nothing more will come. May be cancelled and called again
    /// without losing a byte or extending [`LINK_IDLE`].
    ///
    /// # Errors
    /// When the peer breaks the form, is silent or too slow, or the link failed. Drop both halves.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        match &mut self.0 {
            ReceiveHalf::Stream(frames) => Ok(frames.read().await?),
            ReceiveHalf::Quic(half) => half.recv().await,
            ReceiveHalf::WebSocket(half) => half.recv().await,
        }
    }
}

impl fmt::Debug for LinkReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkReceiver(..)")
    }
}
