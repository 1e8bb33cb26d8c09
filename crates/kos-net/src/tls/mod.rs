//! TLS 1.3 as kOS speaks it: who is let in, with which algorithms, and what both ends know afterwards.
//!
//! One port serves enrolment, KLP and the API. The client's ALPN decides which, and with it how the client is
//! verified; a client that offers none of ours is refused before any cryptography. [`acceptor`] is the server's side,
//! [`connector`] the client's.
//!
//! Invariants: no TLS below 1.3 (it is not compiled in); no resumption, tickets or early data, because they would
//! bring a peer back unverified; the hybrid key exchange X25519MLKEM768 comes first; one exporter label per purpose;
//! dates are judged by the clock that the program hands in, never by the system's.
//!
//! Errors: [`HandshakeError`] sorts them by whose move is next.
//!
//! Source: RFC 8446, RFC 7301 (ALPN), RFC 5705 and 9266 (exporters); `docs/spec/klp.md`, `docs/spec/enrolment.md`.

pub mod acceptor;
pub mod connector;
pub(crate) mod provider;
pub(crate) mod verifier;

use std::{fmt, io, time::Duration};

use kos_base::{Code, Secret, code};
use kos_policy::Refusal;
pub use kos_policy::Suite;
use rustls::{CipherSuite, ConnectionCommon, NamedGroup, SideData};

pub use self::{
    acceptor::{Accepted, ServerTls},
    connector::{ClientTls, Connected, Expectation},
    verifier::{ClockSource, PeerError, Trust},
};

/// How long a whole handshake may take. Stops half-open and slow clients.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is spoken inside TLS, as ALPN names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `kos-enrol/1`: any identity key or none, unverified.
    Enrolment,
    /// `klp/1`: our chain on both ends.
    Klp,
    /// `h2`: our chain on both ends.
    Http2,
    /// `http/1.1`: our chain on both ends; also the road to WebSocket.
    Http1,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Enrolment, Self::Klp, Self::Http2, Self::Http1];

    /// The bytes on the wire.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Enrolment => b"kos-enrol/1",
            Self::Klp => b"klp/1",
            Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }

    fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.alpn() == alpn)
    }
}

const fn suite_of(suite: CipherSuite) -> Option<Suite> {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Suite::Aes256Gcm),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Suite::ChaCha20Poly1305),
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Suite::Aes128Gcm),
        _ => None,
    }
}

/// A key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// X25519 with ML-KEM-768: safe against an attacker who records today and has a quantum computer later.
    X25519MlKem768,
    /// X25519 alone.
    X25519,
    /// ECDH on P-256.
    P256,
    /// ECDH on P-384.
    P384,
}

impl Group {
    /// The name that the IANA registry gives.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::X25519 => "x25519",
            Self::P256 => "secp256r1",
            Self::P384 => "secp384r1",
        }
    }

    pub(crate) const fn from_rustls(group: NamedGroup) -> Option<Self> {
        match group {
            NamedGroup::X25519MLKEM768 => Some(Self::X25519MlKem768),
            NamedGroup::X25519 => Some(Self::X25519),
            NamedGroup::secp256r1 => Some(Self::P256),
            NamedGroup::secp384r1 => Some(Self::P384),
            _ => None,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What exported keying material is for. Each has a label of its own, so that a proof made for one purpose is worth
/// nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exporter {
    /// Signed in the proofs of an enrolment.
    Enrolment,
    /// Signed in a renewal.
    Renewal,
    /// Key of the MACs on a KLP link.
    Klp,
    /// Key of the tokens of requests.
    Request,
}

impl Exporter {
    /// The label of RFC 8446, 7.5; the context is empty.
    pub const fn label(self) -> &'static [u8] {
        match self {
            Self::Enrolment => b"EXPORTER-kOS-enrolment-v1",
            Self::Renewal => b"EXPORTER-kOS-renewal-v1",
            Self::Klp => kos_klp::proof::link::EXPORTER_LABEL,
            Self::Request => kos_base::token::EXPORTER_LABEL,
        }
    }
}

/// What both ends of a finished handshake know.
#[derive(Debug)]
pub struct Facts {
    /// What is spoken.
    pub protocol: Protocol,
    /// How it is encrypted.
    pub suite: Suite,
    /// How the keys were agreed.
    pub group: Group,
    enrolment: Secret<32>,
    renewal: Secret<32>,
    klp: Secret<32>,
    request: Secret<32>,
}

impl Facts {
    /// 32 bytes that only the two ends of this connection know, for one purpose.
    pub const fn exporter(&self, purpose: Exporter) -> &Secret<32> {
        match purpose {
            Exporter::Enrolment => &self.enrolment,
            Exporter::Renewal => &self.renewal,
            Exporter::Klp => &self.klp,
            Exporter::Request => &self.request,
        }
    }

    fn of<D: SideData>(connection: &ConnectionCommon<D>) -> Result<Self, HandshakeError> {
        Self::from_parts(
            connection.alpn_protocol(),
            connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            connection.negotiated_key_exchange_group().map(|group| group.name()),
            |label, bytes| connection.export_keying_material(bytes, label, None).is_ok(),
        )
    }

    pub(crate) fn from_parts(
        alpn: Option<&[u8]>,
        suite: Option<CipherSuite>,
        group: Option<NamedGroup>,
        export: impl Fn(&[u8], &mut [u8; 32]) -> bool,
    ) -> Result<Self, HandshakeError> {
        let secret = |purpose: Exporter| {
            let mut bytes = zeroize::Zeroizing::new([0; 32]);
            match export(purpose.label(), &mut bytes) {
                true => Ok(Secret::new(*bytes)),
                false => Err(HandshakeError::Provider),
            }
        };
        Ok(Self {
            protocol: alpn.and_then(Protocol::from_alpn).ok_or(HandshakeError::Protocol)?,
            suite: suite.and_then(suite_of).ok_or(HandshakeError::Provider)?,
            group: group.and_then(Group::from_rustls).ok_or(HandshakeError::Provider)?,
            enrolment: secret(Exporter::Enrolment)?,
            renewal: secret(Exporter::Renewal)?,
            klp: secret(Exporter::Klp)?,
            request: secret(Exporter::Request)?,
        })
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client offers no protocol of ours.
    #[error("the client offers no protocol that is served here")]
    Protocol,
    /// The peer broke TLS, refused us, or went away.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The handshake was not finished in time.
    #[error("the TLS handshake took longer than {} seconds", HANDSHAKE_TIMEOUT.as_secs())]
    Slow,
    /// The peer is not who it must be. Not retried.
    #[error("the peer is not trusted")]
    Peer(#[source] PeerError),
    /// The security profile of the peer's certificate does not allow it to come in like this.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// Our own configuration or provider failed.
    #[error("the TLS provider failed")]
    Provider,
}

impl HandshakeError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Protocol | Self::Tls(_) | Self::Slow => code::klp::KLP_LINK,
            Self::Peer(error) => error.code(),
            Self::Policy(refusal) => refusal.code(),
            Self::Provider => code::config::INTERNAL,
        }
    }
}
