//! TLS towards an authority: we show an operator certificate, and believe only the authority under our root.
//!
//! The server's certificate is judged by [`kos_identity::chain`], by its SPIFFE id and not by a DNS name: whichever
//! address leads to the authority, only the authority of the pinned root can answer there.

use std::{io, sync::Arc};

use kos_base::Timestamp;
use kos_identity::{
    certificate::{Certificate, PeerIdentity},
    chain::{self, Anchors, ChainError, Clock, Usage},
    crl::RevocationView,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What lets an operator in: the root that vouches for the server, and a certificate with its key.
pub struct Credentials {
    root: Certificate,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Reads the PEM of the root, of the operator's certificate with its issuing CA, and of the key.
    ///
    /// # Errors
    /// In one sentence, which of them is not what it should be.
    pub fn from_pem(root: &[u8], certificates: &[u8], key: &[u8]) -> Result<Self, &'static str> {
        let root =
            CertificateDer::from_pem_slice(root).map_err(|_| "the root is not PEM of a certificate")?;
        let root = Certificate::parse(&root).map_err(|_| "the root cannot be read")?;
        Anchors::roots(vec![root.clone()]).map_err(|_| "the root does not sign itself")?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| "the certificate is not PEM")?;
        let own = certificates.first().ok_or("there is no certificate")?;
        Certificate::parse(own).map_err(|_| "the certificate cannot be read")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is not PEM of a private key")?;
        Ok(Self { root, certificates, key })
    }

    fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anchors = Anchors::roots(vec![self.root.clone()]).map_err(|e| refusal(&e))?;
        let judge = Judge { anchors, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_client_auth_cert(self.certificates.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

/// The TLS session with the server at the other end of `tcp`.
pub(super) async fn connect(
    credentials: &Credentials,
    host: &str,
    tcp: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let config = credentials.config().map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| io::ErrorKind::InvalidInput)?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

#[derive(Debug)]
struct Judge {
    anchors: Anchors,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented: Vec<_> = core::iter::once(end_entity).chain(intermediates).collect();
        let clock = Clock::Trusted(Timestamp::from_unix_s(now.as_secs()));
        let view = RevocationView::default();
        let peer =
            chain::verify(clock, Usage::Server, &presented, &self.anchors, &view).map_err(|e| refusal(&e))?;
        match peer.identity() {
            PeerIdentity::Authority { .. } => Ok(ServerCertVerified::assertion()),
            PeerIdentity::Device { .. } | PeerIdentity::Operator { .. } => {
                Err(CertificateError::NotValidForName.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn refusal(error: &ChainError) -> rustls::Error {
    let said = match error {
        ChainError::Expired { .. } => CertificateError::Expired,
        ChainError::NotYetValid { .. } => CertificateError::NotValidYet,
        ChainError::Revoked { .. } | ChainError::Suspended { .. } => CertificateError::Revoked,
        ChainError::Purpose(_) => CertificateError::InvalidPurpose,
        ChainError::Identity(_) | ChainError::SomebodyElse { .. } => CertificateError::NotValidForName,
        ChainError::Count(_) | ChainError::Malformed(_) => CertificateError::BadEncoding,
        ChainError::Path(_) | ChainError::IssuerClass => CertificateError::UnknownIssuer,
    };
    said.into()
}
