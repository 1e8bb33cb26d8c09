//! The server's side of the one TLS port.
//!
//! Shape: the ClientHello is read first; its ALPN chooses one of three doors. Each door has its own verifier and its
//! own list of protocols, so that no client can enter through one and speak the protocol of another.
//!
//! Certificate, roots and revocation lists can be exchanged at any time; handshakes that begin afterwards use the new
//! ones.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use kos_base::{EvidenceTier, PublicKey, SecurityProfile};
use kos_identity::chain::{Usage, VerifiedPeer};
use kos_policy::{Credential, Entrance, Request, Standing, decide};
use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    ClockSource, Facts, HANDSHAKE_TIMEOUT, HandshakeError, Protocol, Trust, provider,
    verifier::{Admitted, Demand, PeerVerifier},
};

/// A TLS record with the fatal alert `no_application_protocol` (RFC 7301 3.2), for clients whom no configuration fits.
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

/// What a client wants and how it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Klp,
    Http,
    Enrolment,
}

impl Door {
    const fn protocols(self) -> &'static [Protocol] {
        match self {
            Self::Klp => &[Protocol::Klp],
            Self::Http => &[Protocol::Http2, Protocol::Http1],
            Self::Enrolment => &[Protocol::Enrolment],
        }
    }

    /// The door for what a client offers; where it offers several, the strictest.
    fn choose(hello: &ClientHello<'_>) -> Option<Self> {
        let offered: Vec<Protocol> = hello.alpn()?.filter_map(Protocol::from_alpn).collect();
        let wanted = |door: &Self| door.protocols().iter().any(|protocol| offered.contains(protocol));
        [Self::Klp, Self::Http, Self::Enrolment].into_iter().find(wanted)
    }
}

/// A client that has finished its handshake.
#[derive(Debug)]
pub enum Accepted<IO> {
    /// Wants to enrol. Whoever it says it is, nobody has verified.
    Enrolment {
        /// The connection.
        stream: TlsStream<IO>,
        /// What both ends know.
        facts: Facts,
        /// The key that the client holds, if it showed one.
        key: Option<PublicKey>,
    },
    /// Speaks KLP.
    Klp {
        /// The connection.
        stream: TlsStream<IO>,
        /// What both ends know.
        facts: Facts,
        /// Who it is.
        peer: Arc<VerifiedPeer>,
    },
    /// Speaks HTTP; [`Facts::protocol`] says which version.
    Http {
        /// The connection.
        stream: TlsStream<IO>,
        /// What both ends know.
        facts: Facts,
        /// Who it is.
        peer: Arc<VerifiedPeer>,
    },
}

/// The server's certificate and whom it trusts. Shared by every connection.
pub struct ServerTls {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    clock: ClockSource,
    certified: RwLock<Arc<CertifiedKey>>,
    trust: RwLock<Trust>,
}

impl ServerTls {
    /// A server that shows `certified`: own certificate, issuing CA, and the root for those who only know its pin.
    ///
    /// # Errors
    /// When the provider lacks what TLS 1.3 needs, which no build of kOS does.
    pub fn new(
        clock: ClockSource,
        certified: Arc<CertifiedKey>,
        trust: Trust,
    ) -> Result<Arc<Self>, HandshakeError> {
        Ok(Arc::new(Self {
            builder: provider::server_builder().map_err(|_| HandshakeError::Provider)?,
            clock,
            certified: RwLock::new(certified),
            trust: RwLock::new(trust),
        }))
    }

    /// Shows another certificate from the next handshake on.
    pub fn set_certificate(&self, certified: Arc<CertifiedKey>) {
        *self.certified.write().unwrap_or_else(PoisonError::into_inner) = certified;
    }

    /// Judges by other roots and lists from the next handshake on. Links that are open are not touched; ask
    /// [`VerifiedPeer::check_revocation`] of each.
    pub fn set_trust(&self, trust: Trust) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
    }

    /// Whom it trusts now.
    pub fn trust(&self) -> Trust {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Handshakes with one client, within [`HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    /// When the client is not let in. It has been told so by an alert; close the connection.
    pub async fn accept<IO>(&self, io: IO) -> Result<Accepted<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        // Boxed, so that the memory of a handshake does not stay with the connection.
        timeout(HANDSHAKE_TIMEOUT, Box::pin(self.handshake(io))).await.map_err(|_| HandshakeError::Slow)?
    }

    async fn handshake<IO>(&self, io: IO) -> Result<Accepted<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut begun =
            LazyConfigAcceptor::new(Acceptor::default(), io).await.map_err(HandshakeError::Tls)?;
        let Some(door) = Door::choose(&begun.client_hello()) else {
            // The refusal stands whether or not the client hears it.
            let _ = begun.io.write_all(&NO_APPLICATION_PROTOCOL).await;
            return Err(HandshakeError::Protocol);
        };
        let (config, verifier) = self.configure(door);
        let finished = begun.into_stream(Arc::new(config)).await;
        let admitted = verifier.take_verdict().transpose().map_err(HandshakeError::Peer)?;
        let stream = finished.map_err(HandshakeError::Tls)?;
        let facts = Facts::of(stream.get_ref().1)?;
        match (door, admitted) {
            (Door::Enrolment, None) => Ok(Accepted::Enrolment { stream, facts, key: None }),
            (Door::Enrolment, Some(Admitted::Key(key))) => {
                Ok(Accepted::Enrolment { stream, facts, key: Some(key) })
            }
            (Door::Klp, Some(Admitted::Peer(peer))) => {
                check_policy(Entrance::Link, &facts, &peer)?;
                Ok(Accepted::Klp { stream, facts, peer })
            }
            (Door::Http, Some(Admitted::Peer(peer))) => {
                check_policy(Entrance::Api, &facts, &peer)?;
                Ok(Accepted::Http { stream, facts, peer })
            }
            (Door::Enrolment, Some(Admitted::Peer(_))) | (_, None | Some(Admitted::Key(_))) => {
                Err(HandshakeError::Provider)
            }
        }
    }

    /// The configuration of one handshake, and the verifier that will hold its verdict.
    pub(crate) fn configure(&self, door: Door) -> (ServerConfig, Arc<PeerVerifier>) {
        let demand = match door {
            Door::Enrolment => Demand::AnyKey,
            Door::Klp | Door::Http => Demand::Chain { trust: self.trust(), identity: None },
        };
        let verifier = PeerVerifier::new(Usage::Client, &self.clock, demand);
        let certified = Arc::clone(&self.certified.read().unwrap_or_else(PoisonError::into_inner));
        let builder = self.builder.clone().with_client_cert_verifier(Arc::<PeerVerifier>::clone(&verifier));
        let mut config = builder.with_cert_resolver(Arc::new(Shown(certified)));
        config.alpn_protocols = door.protocols().iter().map(|protocol| protocol.alpn().to_vec()).collect();
        config.ignore_client_order = true;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        (config, verifier)
    }
}

/// Cuts a peer whose connection is weaker than its security profile demands, or whose certificate says more than it has
/// proven (POLS-15). Operators and authorities have no profile in their certificates and are held to what a ticket gives.
pub(crate) fn check_policy(
    entrance: Entrance,
    facts: &Facts,
    peer: &VerifiedPeer,
) -> Result<(), HandshakeError> {
    let standing = match peer.facts() {
        Some(said) => {
            let standing = Standing::certified(said.profile, said.evidence);
            // Whether the record says as much is for whoever has the record.
            let shown = Credential::Certificate { record: said.profile };
            decide(standing, Request::Enter(entrance, shown)).check()?;
            standing
        }
        None => Standing::certified(SecurityProfile::Sec2, EvidenceTier::KeyOnDevice),
    };
    Ok(decide(standing, Request::Connect(facts.suite)).check()?)
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
