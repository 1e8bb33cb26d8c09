//! Who is let in: the verifier that rustls asks during a handshake.
//!
//! One verifier serves one handshake and keeps its verdict, so that the peer is judged once and the typed reason of a
//! refusal is not lost in a TLS alert.
//!
//! What it does not do: judge by names of DNS or by the system's clock.
//!
//! Source: `docs/spec/identity.md` (chains), `docs/spec/enrolment.md` (pins).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kos_base::{Code, KeyAlgorithm, KeyId, PublicKey, code, key::SignatureForm};
use kos_identity::{
    certificate::{CertificateError, PeerIdentity, presented_key},
    chain::{self, Anchors, ChainError, Clock, Usage, VerifiedPeer},
    crl::RevocationView,
};
use rustls::{
    CertificateError as TlsReason, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

/// Tells what is known about the time, once for each handshake.
pub type ClockSource = Arc<dyn Fn() -> Clock + Send + Sync>;

/// Which roots are trusted and what was taken back. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The roots.
    pub anchors: Arc<Anchors>,
    /// The newest revocation lists that are held.
    pub revocation: Arc<RevocationView>,
}

/// Why a peer is not who it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// None of the certificates that the server presents has the key that was pinned.
    #[error("the server's root key is not the pinned one")]
    Pin,
    /// Its certificates do not lead to a trusted root, or were taken back, or name somebody else.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It shows a key that kOS does not use.
    #[error("the identity key cannot be read")]
    Key(#[from] CertificateError),
}

impl PeerError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Pin => code::enrolment::PIN_MISMATCH,
            Self::Chain(error) => error.code(),
            Self::Key(error) => error.code(),
        }
    }
}

/// What a peer has to show.
#[derive(Clone, Debug)]
pub(crate) enum Demand {
    /// A chain to a trusted root that names this peer, or any if none is given.
    Chain { trust: Trust, identity: Option<PeerIdentity> },
    /// An authority's chain to a root with one of these keys.
    Pins(Vec<KeyId>),
    /// An authority's chain to whatever root it presents, until a person has compared the code.
    AnyAuthority,
    /// Possession of a key, and nothing else.
    AnyKey,
}

/// Whom a verifier let in.
#[derive(Clone, Debug)]
pub(crate) enum Admitted {
    /// By its chain.
    Peer(Arc<VerifiedPeer>),
    /// By its key alone: unverified.
    Key(PublicKey),
}

/// Judges one peer in one handshake.
pub(crate) struct PeerVerifier {
    usage: Usage,
    clock: Clock,
    demand: Demand,
    verdict: Mutex<Option<Result<Admitted, PeerError>>>,
}

impl PeerVerifier {
    pub(crate) fn new(usage: Usage, clock: &ClockSource, demand: Demand) -> Arc<Self> {
        Arc::new(Self { usage, clock: clock(), demand, verdict: Mutex::default() })
    }

    /// The verdict, once the peer has presented something.
    pub(crate) fn take_verdict(&self) -> Option<Result<Admitted, PeerError>> {
        self.verdict().take()
    }

    fn verdict(&self) -> MutexGuard<'_, Option<Result<Admitted, PeerError>>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        let presented: Vec<&[u8]> = std::iter::once(own).chain(others).map(AsRef::as_ref).collect();
        let verdict = self.admit(own, &presented);
        let answer = verdict.as_ref().map(drop).map_err(|error| Error::InvalidCertificate(reason(error)));
        *self.verdict() = Some(verdict);
        answer
    }

    fn admit(&self, own: &[u8], presented: &[&[u8]]) -> Result<Admitted, PeerError> {
        let keys = || presented.iter().skip(1).filter_map(|der| presented_key(der).ok()).map(|key| key.id());
        let verify = |anchors: &Anchors, revocation: &RevocationView| {
            chain::verify(self.clock, self.usage, presented, anchors, revocation)
        };
        let peer = match &self.demand {
            Demand::AnyKey => return Ok(Admitted::Key(presented_key(own)?)),
            Demand::Chain { trust, identity } => {
                let peer = verify(&trust.anchors, &trust.revocation)?;
                identity.as_ref().map_or(Ok(()), |wanted| peer.expect(wanted))?;
                peer
            }
            Demand::Pins(pins) => {
                if !keys().any(|key| pins.contains(&key)) {
                    return Err(PeerError::Pin);
                }
                expect_some_authority(verify(&Anchors::pins(pins.clone()), &RevocationView::default())?)?
            }
            Demand::AnyAuthority => {
                expect_some_authority(verify(&Anchors::pins(keys().collect()), &RevocationView::default())?)?
            }
        };
        Ok(Admitted::Peer(Arc::new(peer)))
    }
}

fn expect_some_authority(peer: VerifiedPeer) -> Result<VerifiedPeer, ChainError> {
    match peer.identity() {
        PeerIdentity::Authority { .. } => Ok(peer),
        found => {
            Err(ChainError::SomebodyElse { found: Box::new(found.clone()), wanted: "an authority".into() })
        }
    }
}

/// What the peer may learn about its refusal: the TLS alert that fits.
fn reason(error: &PeerError) -> TlsReason {
    match error {
        PeerError::Pin | PeerError::Chain(ChainError::Path(_) | ChainError::IssuerClass) => {
            TlsReason::UnknownIssuer
        }
        PeerError::Key(_) | PeerError::Chain(ChainError::Count(_) | ChainError::Malformed(_)) => {
            TlsReason::BadEncoding
        }
        PeerError::Chain(ChainError::Expired { .. }) => TlsReason::Expired,
        PeerError::Chain(ChainError::NotYetValid { .. }) => TlsReason::NotValidYet,
        PeerError::Chain(ChainError::Revoked { .. } | ChainError::Suspended { .. }) => TlsReason::Revoked,
        PeerError::Chain(ChainError::Purpose(_)) => TlsReason::InvalidPurpose,
        PeerError::Chain(ChainError::Identity(_) | ChainError::SomebodyElse { .. }) => {
            TlsReason::ApplicationVerificationFailure
        }
    }
}

/// The one TLS signature scheme of each key algorithm.
pub(crate) const fn scheme(algorithm: KeyAlgorithm) -> SignatureScheme {
    match algorithm {
        KeyAlgorithm::Ed25519 => SignatureScheme::ED25519,
        KeyAlgorithm::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        KeyAlgorithm::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
    }
}

const SCHEMES: [SignatureScheme; 3] =
    [scheme(KeyAlgorithm::Ed25519), scheme(KeyAlgorithm::P256), scheme(KeyAlgorithm::P384)];

/// Proof of possession: the peer's key signed this handshake.
fn verify_possession(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = presented_key(certificate).map_err(|_| Error::InvalidCertificate(TlsReason::BadEncoding))?;
    if signed.scheme != scheme(key.algorithm()) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    key.verify(SignatureForm::Der, message, signed.signature())
        .map(|()| HandshakeSignatureValid::assertion())
        .map_err(|_| Error::InvalidCertificate(TlsReason::BadSignature))
}

/// TLS 1.2 is not compiled in; whoever gets here is misled.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_possession(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        !matches!(self.demand, Demand::AnyKey)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_possession(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier").field("usage", &self.usage).finish_non_exhaustive()
    }
}
