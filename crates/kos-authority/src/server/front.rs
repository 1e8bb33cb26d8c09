//! The one TLS port: enrolment, KLP over TLS and WebSocket, the API for operators with certificates; and QUIC beside it.
//!
//! Who may come in is decided by the protocol that the client asks for: enrolment takes any key and calls it unverified,
//! everything else demands a certificate of ours that is not revoked. Trust is refreshed whenever something is revoked,
//! for handshakes to come; links that are open are cut by [`crate::fleet`].
//!
//! The certificate of the port is made at every start, when the authority gets another name, and before it runs out. Its
//! key never leaves memory: it proves the authority on this port, and signs commands to devices.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, http::Extensions};
use hyper_util::rt::TokioIo;
use kos_base::{KeyAlgorithm, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::{self, AuthorityGrant, IssuerClass, IssuerContext, Serial, Warrant},
    chain::{Anchors, Clock},
    enrolment::authority::Context,
};
use kos_klp::freshness::{EpochClaim, Sender};
use kos_net::{
    accept::{self, Gate, Limits, Permit, source_of},
    carrier::{Link, quic},
    entropy,
    keys::{self, SigningKey},
    tls::{Accepted, HandshakeError, Protocol, ServerTls, Trust},
};
use rustls_pki_types::CertificateDer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{
    Stopping,
    api::{Origin, Remote, Tokens},
    http::{Version, serve_connection},
    stopped,
    websocket::Switch,
};
use crate::{
    authority::{Home, Shared, StartError},
    clock, files,
    fleet::Switchboard,
    reception::{Desk, MisuseBook},
    record::SystemChange,
    writer::{SystemWrite, Transaction},
};

/// How long before the end of its certificate the port gets a new one.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often the certificate's end is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// File with the epoch of signed messages.
const EPOCH_FILE: &str = "klp.epoch";

/// What waits behind the port, wherever it is.
pub(crate) struct Front {
    shared: Arc<Shared>,
    tls: Arc<ServerTls>,
    own: watch::Sender<Arc<SigningKey>>,
    context: watch::Sender<Arc<Context>>,
    expires_at: Mutex<Timestamp>,
    gate: Arc<Gate>,
    desk: Desk,
    switchboard: Switchboard,
}

impl Front {
    /// Makes the port's key and certificate.
    ///
    /// # Errors
    /// When there is no randomness, or certificate or epoch cannot be made durable.
    pub(crate) async fn new(shared: &Arc<Shared>, misuse: Arc<MisuseBook>) -> Result<Self, StartError> {
        let internal = |e: &dyn std::fmt::Display| StartError::Internal(e.to_string());
        let now = clock::now();
        let anchors = Anchors::roots(vec![shared.keys.root_certificate.clone()]);
        let anchors = Arc::new(anchors.map_err(|e| internal(&e))?);
        let trust = Trust { anchors, revocation: shared.board.view() };
        let (key, chain, expires_at) = certify(shared, now).await?;
        let certified = keys::certified(chain, Arc::clone(&key));
        let time = Arc::new(|| Clock::Trusted(clock::now()));
        let tls = ServerTls::new(time, certified, trust).map_err(|e| internal(&e))?;
        let (own, own_seen) = watch::channel(key);
        let (context, context_seen) = watch::channel(Arc::new(context(shared)));
        let desk = Desk { shared: Arc::clone(shared), context: context_seen.clone(), misuse };
        let places = Arc::new(Mutex::new(claim_epoch(&shared.home)?));
        let switchboard =
            Switchboard { shared: Arc::clone(shared), own: own_seen, context: context_seen, places };
        let gate = Gate::new(Limits::AUTHORITY);
        let (shared, expires_at) = (Arc::clone(shared), Mutex::new(expires_at));
        Ok(Self { shared, tls, own, context, expires_at, gate, desk, switchboard })
    }

    /// Serves what comes over TCP until it is told to stop; requests under way are answered, links are cut.
    pub(crate) async fn serve_tcp(self: Arc<Self>, tcp: TcpListener, router: Router, mut stopping: Stopping) {
        let (gate, stop) = (Arc::clone(&self.gate), stopping.clone());
        let handle = move |stream: TcpStream, remote: SocketAddr, permit: Permit| {
            let (front, router, stop) = (Arc::clone(&self), router.clone(), stop.clone());
            async move { front.take(stream, remote, permit, router, stop).await }
        };
        accept::serve_until(tcp, gate, handle, stopped(&mut stopping)).await;
    }

    /// Serves the links that come over QUIC until it is told to stop.
    pub(crate) async fn serve_quic(self: Arc<Self>, udp: quic::Listener, mut stopping: Stopping) {
        let (gate, switchboard) = (Arc::clone(&self.gate), self.switchboard.clone());
        let shared = Arc::clone(&self.shared);
        let talk = move |remote: SocketAddr, link: Result<Link, HandshakeError>, mut permit: Permit| {
            let (switchboard, shared) = (switchboard.clone(), Arc::clone(&shared));
            async move {
                match link {
                    Ok(link) if permit.establish().is_ok() => switchboard.serve(link).await,
                    Ok(_) => tracing::warn!("too many links"),
                    Err(error) => refused(&shared, remote, &error),
                }
            }
        };
        tokio::select! {
            () = udp.serve(gate, talk) => {}
            () = stopped(&mut stopping) => {}
        }
    }

    /// Takes over what is revoked, and replaces the certificate before it runs out.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let mut revocations = self.shared.board.subscribe();
        loop {
            let changed = timeout(LOOK_EVERY, revocations.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
            let trust = Trust { revocation: self.shared.board.view(), ..self.tls.trust() };
            self.tls.set_trust(trust);
            self.shared.links.revocations_changed();
            let now = clock::now();
            let expires_at = *self.expires_at.lock().unwrap_or_else(PoisonError::into_inner);
            if now.plus(RENEW_BEFORE) >= expires_at {
                self.renew(now).await;
            }
        }
    }

    /// Shows a new certificate from the next handshake on, with the names that the authority has now, and publishes
    /// by them what is issued from now on.
    pub(crate) async fn renew(&self, now: Timestamp) {
        self.context.send_replace(Arc::new(context(&self.shared)));
        match certify(&self.shared, now).await {
            Ok((key, chain, expires_at)) => {
                self.tls.set_certificate(keys::certified(chain, Arc::clone(&key)));
                self.own.send_replace(key);
                *self.expires_at.lock().unwrap_or_else(PoisonError::into_inner) = expires_at;
            }
            Err(error) => tracing::error!(%error, "the certificate of the TLS port could not be renewed"),
        }
    }

    /// The configuration that QUIC shares.
    pub(crate) fn tls(&self) -> &Arc<ServerTls> {
        &self.tls
    }

    /// What the parts of the authority share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Serves one connection to its end.
    async fn take(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        mut permit: Permit,
        router: Router,
        mut stopping: Stopping,
    ) {
        match self.tls.accept(stream).await {
            Ok(Accepted::Enrolment { stream, facts, key }) => {
                self.desk.serve(stream, &facts, key, remote.ip()).await;
            }
            Ok(Accepted::Klp { stream, facts, peer }) if permit.establish().is_ok() => {
                self.link(Link::over_tls(stream, remote, peer, Arc::new(facts)), &mut stopping).await;
            }
            Ok(Accepted::Http { stream, facts, peer }) if permit.establish().is_ok() => {
                let version = match facts.protocol {
                    Protocol::Http2 => Version::Http2,
                    _ => Version::Http1,
                };
                let (mut known, switch) = (Extensions::new(), Switch::default());
                known.insert(Origin::Peer(Arc::clone(&peer)));
                known.insert(Remote(remote.ip()));
                known.insert(Tokens::of(&facts));
                known.insert(switch.clone());
                serve_connection(stream, version, router, known, stopping.clone()).await;
                if let Some(upgraded) = switch.taken().await {
                    let io = TokioIo::new(upgraded);
                    let link = Link::over_websocket(io, remote, peer, Arc::new(facts)).await;
                    self.link(link, &mut stopping).await;
                }
            }
            Ok(_) => tracing::warn!("too many connections"),
            Err(error) => refused(&self.shared, remote, &error),
        }
    }

    async fn link(&self, link: Link, stopping: &mut Stopping) {
        tokio::select! {
            () = self.switchboard.serve(link) => {}
            () = stopped(stopping) => {}
        }
    }
}

/// A certificate that is not taken is worth an entry; a line that breaks off is not.
fn refused(shared: &Shared, remote: SocketAddr, error: &HandshakeError) {
    tracing::debug!(%remote, code = %error.code(), %error, "a handshake failed");
    if matches!(error, HandshakeError::Peer(_) | HandshakeError::Policy(_)) {
        shared.refusals.count(clock::now(), &source_of(remote.ip()).to_string(), error.code());
    }
}

type Certified = (Arc<SigningKey>, Vec<CertificateDer<'static>>, Timestamp);

/// Makes a key and has issuing CA 2 certify it as the authority's own. It is recorded before anybody sees it.
///
/// Source: `docs/spec/identity.md` ID-55.
async fn certify(shared: &Shared, now: Timestamp) -> Result<Certified, StartError> {
    let internal = |e: &dyn std::fmt::Display| StartError::Internal(e.to_string());
    let key = SigningKey::generate(KeyAlgorithm::P256).map_err(|e| internal(&e))?;
    let issuer = shared.keys.issuing_certificate(IssuerClass::Two);
    let publication = shared.publication();
    let context = IssuerContext { issuer, publication: publication.as_ref(), now };
    let grant = AuthorityGrant { key: key.public().clone(), names: shared.place.borrow().names() };
    let serial = Serial::from_random(entropy::array().map_err(|e| internal(&e))?);
    let unsigned =
        certificate::issue(Warrant::Authority(grant), serial, &context).map_err(|e| internal(&e))?;
    let signing = shared.keys.issuing(IssuerClass::Two);
    let signature = signing.sign(SignatureForm::Der, unsigned.to_be_signed()).map_err(|e| internal(&e))?;
    let certificate = unsigned.finish(&signature).map_err(|e| internal(&e))?;
    let change = SystemChange::OwnCertified {
        serial: serial.to_bytes().to_vec(),
        key: key.public().id(),
        not_after: certificate.not_after(),
    };
    let write = SystemWrite::OwnCertificate {
        issuer: issuer.key_id(),
        serial: serial.to_bytes().to_vec(),
        der: certificate.der().to_vec(),
    };
    shared.writer.commit(Transaction::own(now, vec![change.into()], vec![write])).await?;
    let chain = [&certificate, issuer, &shared.keys.root_certificate];
    let chain = chain.map(|c| CertificateDer::from(c.der().to_vec())).to_vec();
    Ok((Arc::new(key), chain, certificate.not_after()))
}

pub(super) fn context(shared: &Shared) -> Context {
    Context {
        name: shared.name.clone(),
        root: shared.keys.root_certificate.clone(),
        issuers: shared.keys.issuing_certificates.clone(),
        keys: shared.keys.public(),
        publication: shared.publication(),
        heartbeat_s: u32::try_from(shared.settings.heartbeat().as_secs()).unwrap_or(60),
        rules: shared.settings.approve.clone(),
        attestation: shared.attesting.terms.clone(),
    }
}

/// Makes the next epoch durable and returns the places in it.
fn claim_epoch(home: &Home) -> Result<Sender, StartError> {
    let path = home.folder().join(EPOCH_FILE);
    let failed = |e: &std::io::Error| StartError::file(&path, e);
    let stored = match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed(&e)),
    };
    let damaged = |_| StartError::Internal(format!("`{}` is damaged", path.display()));
    let claim = EpochClaim::after(clock::now(), stored.as_deref()).map_err(damaged)?;
    files::replace(&path, &claim.to_bytes(), files::Mode::Private).map_err(|e| failed(&e))?;
    Ok(claim.is_durable())
}
