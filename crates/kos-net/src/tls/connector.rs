//! The client's side of TLS: what it shows, whom it expects, and what it may negotiate.

use std::{fmt, net::IpAddr, sync::Arc};

use kos_base::{KeyId, SecurityProfile};
use kos_identity::{
    certificate::PeerIdentity,
    chain::{Usage, VerifiedPeer},
};
use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    pki_types::{DnsName, ServerName},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ClockSource, Facts, HANDSHAKE_TIMEOUT, HandshakeError, Protocol, Trust, provider,
    verifier::{Admitted, Demand, PeerVerifier},
};
use crate::endpoints::Host;

/// Whom a client expects at the other end.
#[derive(Clone, Debug)]
pub enum Expectation {
    /// This peer, certified under these roots.
    Peer {
        /// The roots, and what was taken back.
        trust: Trust,
        /// Exactly this identity.
        identity: PeerIdentity,
    },
    /// An authority whose root has one of these keys, as a ticket, QR code or voucher tells.
    Pins(Vec<KeyId>),
    /// Whatever authority answers. Nothing that it says may be used before a person has compared the code on both
    /// ends.
    Unconfirmed,
}

/// How a client connects. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    /// Tells the time to the verifier.
    pub clock: ClockSource,
    /// What the client shows; none: it stays anonymous, which only enrolment allows.
    pub certified: Option<Arc<CertifiedKey>>,
    /// Whom it expects.
    pub expectation: Expectation,
    /// The client's own security profile: weaker suites are not even offered.
    pub profile: SecurityProfile,
}

/// A connection to the server that was expected.
#[derive(Debug)]
pub struct Connected<IO> {
    /// The connection.
    pub stream: TlsStream<IO>,
    /// What both ends know.
    pub facts: Facts,
    /// Who the server is. Under [`Expectation::Unconfirmed`] only what it claims.
    pub peer: Arc<VerifiedPeer>,
}

impl ClientTls {
    /// Handshakes with `host` over `io`, within [`HANDSHAKE_TIMEOUT`]. A server verifies the client only after this
    /// has returned; its refusal shows at the first read.
    ///
    /// # Errors
    /// When the server is not who is expected ([`HandshakeError::Peer`]: do not retry), or TLS fails.
    pub async fn connect<IO>(
        &self,
        io: IO,
        host: &Host,
        protocol: Protocol,
    ) -> Result<Connected<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, verifier) = self.configure(protocol)?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(server_name(host)?, io);
        let finished = timeout(HANDSHAKE_TIMEOUT, connecting).await.map_err(|_| HandshakeError::Slow)?;
        let admitted = verifier.take_verdict().transpose().map_err(HandshakeError::Peer)?;
        let stream = finished.map_err(HandshakeError::Tls)?;
        let facts = Facts::of(stream.get_ref().1)?;
        match admitted {
            Some(Admitted::Peer(peer)) => Ok(Connected { stream, facts, peer }),
            None | Some(Admitted::Key(_)) => Err(HandshakeError::Provider),
        }
    }

    /// The configuration of one handshake, and the verifier that will hold its verdict.
    pub(crate) fn configure(
        &self,
        protocol: Protocol,
    ) -> Result<(ClientConfig, Arc<PeerVerifier>), HandshakeError> {
        let demand = match self.expectation.clone() {
            Expectation::Peer { trust, identity } => Demand::Chain { trust, identity: Some(identity) },
            Expectation::Pins(pins) => Demand::Pins(pins),
            Expectation::Unconfirmed => Demand::AnyAuthority,
        };
        let verifier = PeerVerifier::new(Usage::Server, &self.clock, demand);
        let builder = provider::client_builder(self.profile).map_err(|_| HandshakeError::Provider)?;
        let builder =
            builder.dangerous().with_custom_certificate_verifier(Arc::<PeerVerifier>::clone(&verifier));
        let mut config = match &self.certified {
            Some(certified) => builder.with_client_cert_resolver(Arc::new(Shown(Arc::clone(certified)))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        config.resumption = Resumption::disabled();
        Ok((config, verifier))
    }
}

/// What stands in the ClientHello; who the server is, its certificate says.
pub(crate) fn server_name(host: &Host) -> Result<ServerName<'static>, HandshakeError> {
    match host {
        Host::Address(address) => Ok(ServerName::IpAddress(IpAddr::into(*address))),
        Host::Name(name) => {
            DnsName::try_from(name.clone()).map(ServerName::DnsName).map_err(|_| HandshakeError::Provider)
        }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("expectation", &self.expectation).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
