//! QUIC: the native carrier.
//!
//! Shape of a link: one unidirectional stream each way, opened by whoever sends on it, with frames as on TCP. No
//! datagrams, no early data, no resumption, no keep-alive; the heartbeat is that.
//!
//! Limits against strangers: handshakes count as waiting in the [`Gate`]; while many wait, an address must first show
//! with a retry token that packets reach it; what a peer may make us buffer is bounded per stream and connection.
//!
//! Source: RFC 9000, RFC 9001; `docs/spec/klp.md` KLP-71; `docs/decisions/0011-one-ordered-stream-in-each-direction.md`.

mod session;

use std::{
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use kos_policy::Entrance;
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, IdleTimeout, Incoming, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig, ValidationTokenConfig, VarInt,
};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustls::quic::Suite;
use tokio::{task::JoinSet, time::timeout};

use self::session::{Client, Outcome, Server};
use super::{About, Carrier, LINK_IDLE, Link, LinkError, LinkReceiver, LinkSender, PATIENCE};
use crate::{
    accept::{Gate, Permit},
    endpoints::Endpoint as Address,
    frame::FrameReader,
    tls::{
        ClientTls, Facts, HANDSHAKE_TIMEOUT, HandshakeError, Protocol, ServerTls,
        acceptor::{Door, check_policy},
        connector::server_name,
        provider::quic_initial_suite,
        verifier::{Admitted, PeerVerifier},
    },
};

/// While this many handshakes wait, unproven addresses are sent away with a retry token before any work is done.
const RETRY_ABOVE: usize = 64;

/// Handshakes that may wait to be looked at, and the bytes of each that are kept meanwhile. A ClientHello with a hybrid
/// key share takes two packets.
const INCOMING_MAX: usize = 1_024;
const INCOMING_BYTES: u64 = 4_096;

/// Largest payload of a UDP datagram before the path has shown that it takes more, in bytes.
const INITIAL_MTU_BYTES: u16 = 1_200;

/// What a peer may make us buffer, in bytes: a few frames.
const WINDOW_BYTES: u32 = 4 * 65_536;

/// What the kernel may hold for a socket, in bytes, as far as `net.core.rmem_max` allows. One socket carries all links:
/// what thousands of devices send at once is lost in the customary 208 KiB, and the lost packets cost more than the rest.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Bytes of a handshake that may arrive out of order.
const CRYPTO_BYTES: usize = 8_192;

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(LINK_IDLE).ok();
    transport
        .max_idle_timeout(idle)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES))
        .send_window(u64::from(WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .crypto_buffer_size(CRYPTO_BYTES)
        .initial_mtu(INITIAL_MTU_BYTES)
        .allow_spin(false)
        // Offloading keeps a send buffer of ten packets for ever, which is a third of an idle link.
        .enable_segmentation_offload(false);
    Arc::new(transport)
}

fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.supported_versions(vec![session::VERSION]);
    config
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    // The kernel gives less where its limit is lower; that is slower, and no reason not to serve.
    let _ = set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    Ok(socket)
}

/// A server's UDP socket.
pub struct Listener {
    endpoint: Endpoint,
    tls: Arc<ServerTls>,
    /// What every connection's configuration starts from.
    base: ServerConfig,
    initial: Suite,
}

impl Listener {
    /// Binds to `address`.
    ///
    /// # Errors
    /// When the port is taken or may not be bound.
    pub fn bind(address: SocketAddr, tls: Arc<ServerTls>) -> io::Result<Self> {
        let initial = quic_initial_suite().ok_or(io::ErrorKind::Unsupported)?;
        let (config, _) = tls.configure(Door::Klp);
        let mut base = ServerConfig::with_crypto(Arc::new(Server { config: Arc::new(config), initial }));
        let mut validation = ValidationTokenConfig::default();
        validation.sent(0);
        base.transport_config(transport())
            .validation_token_config(validation)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(INCOMING_BYTES * 1_024);
        let socket = bind(address)?;
        let endpoint = Endpoint::new(endpoint_config(), Some(base.clone()), socket, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint, tls, base, initial })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Accepts for ever and runs `handle` for each address that knocked, with its link or the reason why there is none.
    /// Dropping the future ends all of them.
    ///
    /// `handle` calls [`Permit::establish`] before it uses a link, and keeps the permit as long as the link.
    pub async fn serve<F, H>(self, gate: Arc<Gate>, handle: F)
    where
        F: Fn(SocketAddr, Result<Link, HandshakeError>, Permit) -> H + Clone + Send + 'static,
        H: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => {
                    let Some(incoming) = incoming else { return };
                    if !incoming.remote_address_validated() && gate.occupancy().waiting >= RETRY_ABOVE {
                        // It fails only for an address that was validated.
                        let _ = incoming.retry();
                        continue;
                    }
                    let remote = incoming.remote_address();
                    let (permit, eviction) = gate.admit(remote.ip());
                    let handshake = self.begin(incoming);
                    let handle = handle.clone();
                    // Boxed, so that neither the handshake's memory stays nor the select holds it twice.
                    let handling = Box::pin(async move {
                        let link = Box::pin(handshake.finish()).await;
                        Box::pin(handle(remote, link, permit)).await;
                    });
                    connections.spawn(async move {
                        tokio::select! {
                            () = eviction.wait() => {}
                            () = handling => {}
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn begin(&self, incoming: Incoming) -> Handshake {
        let (config, verifier) = self.tls.configure(Door::Klp);
        let mut server = self.base.clone();
        server.crypto = Arc::new(Server { config: Arc::new(config), initial: self.initial });
        Handshake { incoming, server: Arc::new(server), verifier }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
    }
}

struct Handshake {
    incoming: Incoming,
    server: Arc<ServerConfig>,
    verifier: Arc<PeerVerifier>,
}

impl Handshake {
    async fn finish(self) -> Result<Link, HandshakeError> {
        let connecting = self.incoming.accept_with(self.server).map_err(failed)?;
        let connected = timeout(HANDSHAKE_TIMEOUT, connecting).await.map_err(|_| HandshakeError::Slow)?;
        let link = link(connected, &self.verifier).await?;
        check_policy(Entrance::Link, &link.about.facts, &link.about.peer)?;
        Ok(link)
    }
}

/// A client's UDP sockets, shared by all its links and opened at the first one. Those for links within this machine
/// cannot be reached from another.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    v4: tokio::sync::OnceCell<Endpoint>,
    v6: tokio::sync::OnceCell<Endpoint>,
    v4_loopback: tokio::sync::OnceCell<Endpoint>,
    v6_loopback: tokio::sync::OnceCell<Endpoint>,
}

impl Sockets {
    async fn towards(&self, remote: SocketAddr) -> io::Result<&Endpoint> {
        let (cell, own): (_, SocketAddr) = match (remote, remote.ip().is_loopback()) {
            (SocketAddr::V4(_), false) => (&self.v4, (Ipv4Addr::UNSPECIFIED, 0).into()),
            (SocketAddr::V6(_), false) => (&self.v6, (Ipv6Addr::UNSPECIFIED, 0).into()),
            (SocketAddr::V4(_), true) => (&self.v4_loopback, (Ipv4Addr::LOCALHOST, 0).into()),
            (SocketAddr::V6(_), true) => (&self.v6_loopback, (Ipv6Addr::LOCALHOST, 0).into()),
        };
        cell.get_or_try_init(|| async {
            let socket = bind(own)?;
            Endpoint::new(endpoint_config(), None, socket, Arc::new(TokioRuntime))
        })
        .await
    }

    /// Opens a link to `remote`, which is one of the addresses of `address`.
    pub(super) async fn dial(
        &self,
        remote: SocketAddr,
        address: &Address,
        tls: &ClientTls,
    ) -> Result<Link, HandshakeError> {
        let initial = quic_initial_suite().ok_or(HandshakeError::Provider)?;
        let (config, verifier) = tls.configure(Protocol::Klp)?;
        let server = server_name(&address.host)?;
        let mut config = ClientConfig::new(Arc::new(Client { config: Arc::new(config), initial, server }));
        config.transport_config(transport());
        let endpoint = self.towards(remote).await.map_err(HandshakeError::Tls)?;
        // quinn wants a name of its own; ours is in the TLS configuration.
        let connecting = endpoint
            .connect_with(config, remote, "kos")
            .map_err(|error| HandshakeError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let connected = timeout(HANDSHAKE_TIMEOUT, connecting).await.map_err(|_| HandshakeError::Slow)?;
        link(connected, &verifier).await
    }
}

fn failed(error: quinn::ConnectionError) -> HandshakeError {
    HandshakeError::Tls(error.into())
}

async fn link(
    connected: Result<quinn::Connection, quinn::ConnectionError>,
    verifier: &PeerVerifier,
) -> Result<Link, HandshakeError> {
    let admitted = verifier.take_verdict().transpose().map_err(HandshakeError::Peer)?;
    let connection = connected.map_err(failed)?;
    let Some(Admitted::Peer(peer)) = admitted else { return Err(HandshakeError::Provider) };
    let outcome = connection.handshake_data().and_then(|data| data.downcast::<Outcome>().ok());
    let facts: Facts = *outcome.ok_or(HandshakeError::Provider)?.map(Box::new)?;
    let remote = connection.remote_address();
    let stream = timeout(Duration::from_secs(5), connection.open_uni());
    let stream = stream.await.map_err(|_| HandshakeError::Slow)?.map_err(failed)?;
    Ok(Link {
        about: About { carrier: Carrier::Quic, remote, peer, facts: Arc::new(facts) },
        sender: LinkSender::new(super::SendHalf::Quic(stream)),
        receiver: LinkReceiver(super::ReceiveHalf::Quic(ReceiveHalf::Unopened(connection))),
    })
}

/// The peer opens its stream with its first frame.
#[derive(Debug)]
pub(super) enum ReceiveHalf {
    Unopened(quinn::Connection),
    Open(FrameReader<RecvStream>),
}

impl ReceiveHalf {
    pub(super) async fn recv(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        loop {
            match self {
                Self::Unopened(connection) => {
                    let stream = connection.accept_uni().await?;
                    *self = Self::Open(FrameReader::new(stream, PATIENCE));
                }
                Self::Open(frames) => return Ok(frames.read().await?),
            }
        }
    }
}

/// Says that nothing more will come, and waits until the peer has everything.
pub(super) async fn finish(stream: &mut SendStream) -> io::Result<()> {
    stream.finish().map_err(io::Error::from)?;
    stream.stopped().await.map(drop).map_err(io::Error::from)
}
