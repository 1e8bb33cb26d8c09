//! Opening a link: one carrier after the other, until one works.
//!
//! The order is the configuration's (`network.fallback`), by default QUIC, TLS, WebSocket. Each rung has a time of its
//! own, so that a network that swallows UDP costs seconds. A rung that finds an untrusted server does not end the
//! climb, since somebody may be able to forge one carrier only; whoever is at the top was verified like at the bottom.

use std::{fmt, sync::Arc, time::Duration};

use kos_base::{Code, code};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::{About, Carrier, Link, quic::Sockets, websocket};
use crate::{
    dialler::{DialError, Dialler, Target},
    tls::{ClientTls, Connected, HandshakeError, Protocol},
};

/// How long one rung may take, names and all.
const RUNG_TIMEOUT: Duration = Duration::from_secs(10);

/// How long QUIC may take when there are rungs below it: longer than a handshake over a satellite, shorter than
/// anybody's patience with a network that swallows UDP.
const QUIC_TIMEOUT: Duration = Duration::from_secs(4);

/// Why one carrier gave no link.
#[derive(Debug, thiserror::Error)]
pub enum RungError {
    /// The address is forbidden, unknown or does not answer.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Something answers, and the handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The server does not switch to WebSocket.
    #[error("the server did not switch to WebSocket")]
    Upgrade(#[source] Box<tungstenite::Error>),
    /// It took too long.
    #[error("no link in time")]
    Slow,
}

impl RungError {
    fn code(&self) -> Code {
        match self {
            Self::Dial(error) => error.code(),
            Self::Handshake(error @ HandshakeError::Peer(_)) => error.code(),
            Self::Handshake(_) | Self::Upgrade(_) | Self::Slow => code::config::UNREACHABLE,
        }
    }
}

/// No carrier gave a link.
#[derive(Debug)]
pub struct LadderError {
    /// What was tried, in order, and why it failed.
    pub rungs: Vec<(Carrier, RungError)>,
}

impl LadderError {
    /// The stable code: that the address is forbidden or the server not trusted, where any rung found that.
    pub fn code(&self) -> Code {
        let codes = || self.rungs.iter().map(|(_, error)| error.code());
        codes().find(|code| *code != code::config::UNREACHABLE).unwrap_or(code::config::UNREACHABLE)
    }
}

impl fmt::Display for LadderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no carrier gave a link")?;
        for (carrier, error) in &self.rungs {
            write!(f, "; {carrier}: {error}")?;
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                write!(f, ": {cause}")?;
                source = cause.source();
            }
        }
        Ok(())
    }
}

impl std::error::Error for LadderError {}

/// Opens links. One for each program: its UDP socket is shared by all its links.
#[derive(Debug, Default)]
pub struct Connector {
    dialler: Dialler,
    sockets: Sockets,
}

impl Connector {
    /// A connector that goes only where `dialler` lets it.
    pub fn new(dialler: Dialler) -> Self {
        Self { dialler, sockets: Sockets::default() }
    }

    /// The door that it goes through.
    pub const fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// Climbs `ladder` until a carrier gives a link to `target`.
    ///
    /// # Errors
    /// With every rung's reason. A server that refuses the client's certificate shows only at the first
    /// [`super::LinkReceiver::recv`].
    pub async fn dial(
        &self,
        ladder: &[Carrier],
        target: &Target,
        tls: &ClientTls,
    ) -> Result<Link, LadderError> {
        let mut rungs = Vec::new();
        for (at, carrier) in ladder.iter().copied().enumerate() {
            let last = at + 1 == ladder.len();
            let patience = if carrier == Carrier::Quic && !last { QUIC_TIMEOUT } else { RUNG_TIMEOUT };
            let climbed = timeout(patience, self.climb(carrier, target, tls)).await;
            match climbed.unwrap_or(Err(RungError::Slow)) {
                Ok(link) => return Ok(link),
                Err(error @ RungError::Dial(DialError::Forbidden(_))) => {
                    rungs.push((carrier, error));
                    break;
                }
                Err(error) => rungs.push((carrier, error)),
            }
        }
        Err(LadderError { rungs })
    }

    async fn climb(&self, carrier: Carrier, target: &Target, tls: &ClientTls) -> Result<Link, RungError> {
        match carrier {
            Carrier::Quic => self.quic(target, tls).await,
            Carrier::Tls => {
                let (Connected { stream, facts, peer }, remote) =
                    self.tls(target, tls, Protocol::Klp).await?;
                Ok(Link::over_tls(stream, remote, peer, Arc::new(facts)))
            }
            Carrier::WebSocket => {
                let (Connected { stream, facts, peer }, remote) =
                    self.tls(target, tls, Protocol::Http1).await?;
                let socket = websocket::ask(Box::new(stream), &target.endpoint).await;
                let socket = socket.map_err(|error| RungError::Upgrade(Box::new(error)))?;
                let facts = Arc::new(facts);
                Ok(websocket::link(socket, About { carrier: Carrier::WebSocket, remote, peer, facts }))
            }
        }
    }

    async fn quic(&self, target: &Target, tls: &ClientTls) -> Result<Link, RungError> {
        let mut failed = RungError::Slow;
        for remote in self.dialler.resolve(target).await? {
            match self.sockets.dial(remote, &target.endpoint, tls).await {
                Ok(link) => return Ok(link),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }

    async fn tls(
        &self,
        target: &Target,
        tls: &ClientTls,
        protocol: Protocol,
    ) -> Result<(Connected<tokio::net::TcpStream>, std::net::SocketAddr), RungError> {
        let stream = self.dialler.connect(target).await?;
        let remote = stream.peer_addr().map_err(HandshakeError::Tls)?;
        Ok((tls.connect(stream, &target.endpoint.host, protocol).await?, remote))
    }
}
