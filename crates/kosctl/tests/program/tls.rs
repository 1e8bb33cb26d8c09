//! The API over the network: mutual TLS with an operator certificate, and only the authority of the pinned root.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use kos_identity::{
    certificate::{Certificate, PeerIdentity},
    chain::{self, Anchors, Clock, Usage},
    crl::RevocationView,
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_rustls::TlsAcceptor;

use crate::{
    pki::{Key, Pki, now},
    program::{Run, User},
    sample::{ID, device},
    stand_in::{Told, serve},
};

/// Lets in whom the authority has certified and has not taken back.
#[derive(Debug)]
struct Door {
    anchors: Anchors,
    revoked: Option<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Door {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let presented: Vec<_> = std::iter::once(end_entity).chain(intermediates).collect();
        let view = RevocationView::default();
        let peer = chain::verify(Clock::Trusted(now()), Usage::Client, &presented, &self.anchors, &view)
            .map_err(|_| rustls::CertificateError::UnknownIssuer)?;
        if self.revoked.as_deref() == Some(peer.certificate().der()) {
            return Err(rustls::CertificateError::Revoked.into());
        }
        assert!(matches!(peer.identity(), PeerIdentity::Operator { .. }));
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A server that shows `own` and lets in operators of `pki`.
struct Server {
    port: u16,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(pki: &Pki, own: &Certificate, key: &Key, revoked: Option<&Certificate>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let door = Door {
            anchors: Anchors::roots(vec![pki.root.clone()]).unwrap(),
            revoked: revoked.map(|certificate| certificate.der().to_vec()),
            provider: Arc::clone(&provider),
        };
        let chain = [own, &pki.issuing].map(|c| CertificateDer::from(c.der().to_vec())).to_vec();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(door))
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.pkcs8.clone().into()))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let acceptor = TlsAcceptor::from(Arc::new(config));
                let accept = async {
                    while let Ok((tcp, _)) = listener.accept().await {
                        let acceptor = acceptor.clone();
                        tokio::spawn(async move {
                            let Ok(tls) = acceptor.accept(tcp).await else { return };
                            let log = Arc::<Mutex<Vec<_>>>::default();
                            serve(tls, Arc::new(|_| Told::item(device(ID, Some("kitchen")))), log).await;
                        });
                    }
                };
                tokio::select! { () = accept => {}, _ = ended => {} }
            });
        });
        Self { port, end: Some(end), thread: Some(thread) }
    }

    fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A user with a context for `server`, whose certificate `pki` made.
fn signed_in(pki: &Pki, server: &Server) -> (User, Certificate) {
    let user = User::new();
    let begun = user.run(&["context", "add", "attic", "--server", &server.address(), "--csr", "anna.csr"]);
    assert!(begun.code == 0 && begun.err.contains("kosctl context add attic --bundle FILE"), "{begun:?}");
    let csr = std::fs::read_to_string(user.path("anna.csr")).unwrap();
    let (own, chain) = pki.grant("anna", &csr);
    let bundle = user.write("anna.pem", format!("{chain}{}", pki.root.pem()));
    let done = user.run(&["context", "add", "attic", "--bundle", &bundle, "-o", "json"]);
    assert_eq!((done.code, done.json()["item"]["operator"].as_str()), (0, Some("anna")), "{done:?}");
    (user, own)
}

fn show(user: &User) -> Run {
    user.run(&["device", "show", "7f4a", "-o", "json", "--context", "attic"])
}

#[test]
fn an_operator_with_a_certificate_is_let_in() {
    let (pki, key) = (Pki::new(now()), Key::p256());
    let server = Server::start(&pki, &pki.authority(&key), &key, None);
    let (user, _) = signed_in(&pki, &server);
    let run = show(&user);
    assert_eq!((run.code, run.json()["item"]["deviceId"].as_str()), (0, Some(ID)), "{run:?}");
    let named = user.run(&["device", "show", "7f4a", "-o", "name", "--server", &server.address()]);
    assert_eq!(
        (named.code, named.out.trim()),
        (0, ID),
        "a server that is named finds the context that knows it"
    );
}

#[test]
fn only_the_authority_of_the_pinned_root_is_believed() {
    let (ours, key) = (Pki::new(now()), Key::p256());
    let theirs = Pki::new(now());
    let old = Pki::new(now().minus(Duration::from_secs(100 * 86_400)));
    for (pki, own, code) in [
        (&theirs, theirs.authority(&key), "KOS-E0302"),
        (&ours, ours.operator("anna", key.public.clone()), "KOS-E0306"),
    ] {
        let server = Server::start(pki, &own, &key, None);
        let (user, _) = signed_in(&ours, &server);
        let run = show(&user);
        assert_eq!((run.code, run.failure()["code"].as_str()), (8, Some(code)), "{run:?}");
    }
    let server = Server::start(&old, &old.authority(&key), &key, None);
    let (user, _) = signed_in(&old, &server);
    let run = show(&user);
    assert_eq!((run.code, run.failure()["code"].as_str()), (8, Some("KOS-E0303")), "{run:?}");
}

#[test]
fn a_server_that_does_not_take_the_certificate_says_so() {
    let (pki, key) = (Pki::new(now()), Key::p256());
    let own = pki.authority(&key);
    let first = Server::start(&pki, &own, &key, None);
    let (user, certificate) = signed_in(&pki, &first);
    assert_eq!(show(&user).code, 0);
    let port = first.port;
    drop(first);
    let second = Server::start(&pki, &own, &key, Some(&certificate));
    let words = ["context", "add", "moved", "--server", &second.address()];
    assert_eq!(user.run(&words).code, 2, "a server on the network wants a certificate");
    let run = user.run(&[
        "device",
        "show",
        "7f4a",
        "-o",
        "json",
        "--context",
        "attic",
        "--server",
        &second.address(),
    ]);
    assert_eq!((run.code, run.failure()["code"].as_str()), (4, Some("KOS-E0012")), "{run:?}");
    assert!(run.failure()["detail"].as_str().unwrap().ends_with("our certificate was revoked"), "{run:?}");
    assert_ne!(port, second.port);
}

#[test]
fn without_a_certificate_nobody_is_asked() {
    let (pki, key) = (Pki::new(now()), Key::p256());
    let server = Server::start(&pki, &pki.authority(&key), &key, None);
    let run = User::new().run(&["list", "-o", "json", "--server", &server.address()]);
    assert_eq!((run.code, run.failure()["code"].as_str()), (4, Some("KOS-E0012")), "{run:?}");
}
