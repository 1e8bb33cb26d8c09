//! TLS to servers of the public web, judged by their names and by the certificates that the system trusts.
//!
//! For what is not ours: a witness of somebody else, for example. TLS 1.3 alone, no client certificate, no resumption.
//! Nothing of kOS is believed because of such a server; what it says carries a signature of its own.
//!
//! Errors: [`PublicTlsError`] when there is nothing to trust; as TLS says when the server is not whom its name says.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::HANDSHAKE_TIMEOUT;
use crate::endpoints::Host;

/// Where systems keep the certificates that they trust, in PEM; the first that is there counts.
pub const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why no server of the web can be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicTlsError {
    /// There is not one certificate in the bundle.
    #[error("no certificate that could be trusted")]
    Nothing,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Provider(String),
}

/// Connects to servers of the public web. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PublicTls {
    config: Arc<ClientConfig>,
}

impl PublicTls {
    /// Trusts the certificates in `bundle`, PEM. Those that cannot be read are passed over.
    ///
    /// # Errors
    /// When there is none.
    pub fn trusting(bundle: &[u8]) -> Result<Self, PublicTlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(PublicTlsError::Nothing);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13]);
        let builder = builder.map_err(|e| PublicTlsError::Provider(e.to_string()))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    /// Handshakes with `host` over `io`, within [`HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    /// When it is slow or not whom its name says.
    pub async fn connect<IO>(&self, io: IO, host: &Host) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.clone()),
            Host::Address(address) => Ok(ServerName::from(*address)),
        };
        let name = name.map_err(|_| io::ErrorKind::InvalidInput)?;
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, io);
        timeout(HANDSHAKE_TIMEOUT, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}
