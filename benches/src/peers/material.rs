//! Certificates, keys and requests for other systems, written by `rcgen`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A CA in a folder: `ca.pem` and `ca.key`, P-256 like the issuing CAs of an authority.
pub(crate) struct Ca {
    pub(crate) folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    /// Makes one in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let mut params = named("bench CA")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
        fs::write(folder.join("ca.pem"), issuer.pem())?;
        fs::write(folder.join("ca.key"), issuer.key().serialize_pem())?;
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// Writes `server.pem` and `server.key` for this machine's own address.
    pub(crate) fn certify_server(&self) -> Result<()> {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        fs::write(self.folder.join("server.pem"), params.signed_by(&key, &self.issuer)?.pem())?;
        fs::write(self.folder.join("server.key"), key.serialize_pem())?;
        Ok(())
    }

    /// How a device with a certificate of this CA connects: TLS 1.3, no resumption, as ours do.
    pub(crate) fn connector(&self) -> Result<TlsConnector> {
        let mut params = named("device")?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec()))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.der().clone()], key)?;
        let mut config = config;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Handshakes with a server on this machine.
pub(crate) async fn handshake(connector: &TlsConnector, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1")?;
    Ok(connector.connect(name, stream).await?)
}

/// A request for a certificate, PEM, by a fresh key of this algorithm.
pub(crate) fn request(number: u32, algorithm: &'static SignatureAlgorithm) -> Result<String> {
    let key = KeyPair::generate_for(algorithm)?;
    Ok(named(&format!("device-{number:08}"))?.serialize_request(&key)?.pem()?)
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
