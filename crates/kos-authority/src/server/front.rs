//! The one TLS port: enrolment, KLP over TLS and WebSocket, the API for operators with certificates; and QUIC beside it.
//!
//! Who may come in is decided by the protocol that the client asks for: enrolment takes any key and calls it unverified,
//! everything else demands a certificate of ours that is not revoked. Trust is refreshed whenever something is revoked,
//! for handshakes to come; links that are open are cut by [`crate::fleet`].
//!
//! The certificate of the port is made at every start and again before it runs out. Its key never leaves memory: it
//! proves the authority on this port, and signs commands to devices.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use kos_identity::{
    certificate::{self, AuthorityGrant, IssuerClass, IssuerContext, Serial, Warrant},
    chain::{Anchors, Clock},
    enrolment::authority::Context,
};
use kos_klp::freshness::{EpochClaim, Sender};
use kos_net::{
    accept::{self, Gate, Limits, Permit},
    carrier::{Link, quic},
    entropy,
    keys::{self, SigningKey},
    tls::{Accepted, HandshakeError, Protocol, ServerTls, Trust},
};
use rustls_pki_types::CertificateDer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    Stopping,
    api::Origin,
    http::{Version, serve_connection},
};
use crate::{
    authority::{Home, Shared, StartError},
    clock, files,
    fleet::Switchboard,
    reception::{Desk, MisuseBook},
};
use kos_base::{KeyAlgorithm, key::SignatureForm};

/// How long before the end of its certificate the port gets a new one.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often the certificate's end is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// File with the epoch of signed messages.
const EPOCH_FILE: &str = "klp.epoch";

/// The port, before it serves.
pub(crate) struct Front {
    shared: Arc<Shared>,
    tls: Arc<ServerTls>,
    own: watch::Sender<Arc<SigningKey>>,
    expires_at: kos_base::Timestamp,
    gate: Arc<Gate>,
    desk: Desk,
    switchboard: Switchboard,
}

impl Front {
    /// Makes the port's key and certificate.
    ///
    /// # Errors
    /// When there is no randomness or the epoch cannot be made durable.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        home: &Home,
        misuse: Arc<MisuseBook>,
    ) -> Result<Self, StartError> {
        let internal = |e: &dyn std::fmt::Display| StartError::Internal(e.to_string());
        let now = clock::now();
        let anchors = Anchors::roots(vec![shared.keys.root_certificate.clone()]);
        let anchors = Arc::new(anchors.map_err(|e| internal(&e))?);
        let trust = Trust { anchors, revocation: shared.board.view() };
        let (key, chain, expires_at) = certify(shared, now)?;
        let certified = keys::certified(chain, Arc::clone(&key));
        let time = Arc::new(|| Clock::Trusted(clock::now()));
        let tls = ServerTls::new(time, certified, trust).map_err(|e| internal(&e))?;
        let (own, own_seen) = watch::channel(key);
        let (_, context) = watch::channel(Arc::new(context(shared)));
        let desk = Desk { shared: Arc::clone(shared), context: context.clone(), misuse };
        let places = Arc::new(Mutex::new(claim_epoch(home)?));
        let switchboard = Switchboard { shared: Arc::clone(shared), own: own_seen, context, places };
        let gate = Gate::new(Limits::AUTHORITY);
        Ok(Self { shared: Arc::clone(shared), tls, own, expires_at, gate, desk, switchboard })
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(
        self,
        tcp: TcpListener,
        udp: quic::Listener,
        router: Router,
        stopping: Stopping,
    ) {
        let Self { shared, tls, own, expires_at, gate, desk, switchboard } = self;
        let over_quic = {
            let (gate, switchboard) = (Arc::clone(&gate), switchboard.clone());
            let talk = move |remote: SocketAddr, link: Result<Link, HandshakeError>, mut permit: Permit| {
                let switchboard = switchboard.clone();
                async move {
                    match link {
                        Ok(link) if permit.establish().is_ok() => switchboard.serve(link).await,
                        Ok(_) => tracing::warn!("too many links"),
                        Err(error) => tracing::debug!(%remote, %error, "a QUIC handshake failed"),
                    }
                }
            };
            udp.serve(gate, talk)
        };
        let refresh = keep_fresh(Arc::clone(&shared), Arc::clone(&tls), own, expires_at);
        let handle = move |stream: TcpStream, remote: SocketAddr, mut permit: Permit| {
            let (tls, desk, switchboard) = (Arc::clone(&tls), desk.clone(), switchboard.clone());
            let (router, stopping) = (router.clone(), stopping.clone());
            async move {
                match tls.accept(stream).await {
                    Ok(Accepted::Enrolment { stream, facts, key }) => {
                        desk.serve(stream, &facts, key, remote.ip()).await;
                    }
                    Ok(Accepted::Klp { stream, facts, peer }) if permit.establish().is_ok() => {
                        let link = Link::over_tls(stream, remote, peer, Arc::new(facts));
                        switchboard.serve(link).await;
                    }
                    Ok(Accepted::Http { stream, facts, peer }) if permit.establish().is_ok() => {
                        let version = match facts.protocol {
                            Protocol::Http2 => Version::Http2,
                            _ => Version::Http1,
                        };
                        serve_connection(stream, version, router, Origin::Peer(peer), stopping).await;
                    }
                    Ok(_) => tracing::warn!("too many connections"),
                    Err(error) => tracing::debug!(%remote, %error, "a handshake failed"),
                }
            }
        };
        tokio::join!(accept::serve(tcp, gate, handle), over_quic, refresh);
    }

    /// The configuration that QUIC shares.
    pub(crate) fn tls(&self) -> &Arc<ServerTls> {
        &self.tls
    }
}

/// Takes over what is revoked, and replaces the certificate before it runs out.
async fn keep_fresh(
    shared: Arc<Shared>,
    tls: Arc<ServerTls>,
    own: watch::Sender<Arc<SigningKey>>,
    mut expires_at: kos_base::Timestamp,
) {
    let mut revocations = shared.board.subscribe();
    loop {
        let changed = tokio::time::timeout(LOOK_EVERY, revocations.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
        let trust = Trust { revocation: shared.board.view(), ..tls.trust() };
        tls.set_trust(trust);
        shared.links.revocations_changed();
        let now = clock::now();
        if now.plus(RENEW_BEFORE) < expires_at {
            continue;
        }
        match certify(&shared, now) {
            Ok((key, chain, end)) => {
                tls.set_certificate(keys::certified(chain, Arc::clone(&key)));
                own.send_replace(key);
                expires_at = end;
            }
            Err(error) => tracing::error!(%error, "the certificate of the TLS port could not be renewed"),
        }
    }
}

type Certified = (Arc<SigningKey>, Vec<CertificateDer<'static>>, kos_base::Timestamp);

/// Makes a key and has issuing CA 2 certify it as the authority's own.
fn certify(shared: &Shared, now: kos_base::Timestamp) -> Result<Certified, StartError> {
    let internal = |e: &dyn std::fmt::Display| StartError::Internal(e.to_string());
    let key = SigningKey::generate(KeyAlgorithm::P256).map_err(|e| internal(&e))?;
    let issuer = shared.keys.issuing_certificate(IssuerClass::Two);
    let publication = shared.publication();
    let context = IssuerContext { issuer, publication: publication.as_ref(), now };
    let grant = AuthorityGrant { key: key.public().clone(), names: shared.advertised_names() };
    let serial = Serial::from_random(entropy::array().map_err(|e| internal(&e))?);
    let unsigned =
        certificate::issue(Warrant::Authority(grant), serial, &context).map_err(|e| internal(&e))?;
    let signing = shared.keys.issuing(IssuerClass::Two);
    let signature = signing.sign(SignatureForm::Der, unsigned.to_be_signed()).map_err(|e| internal(&e))?;
    let certificate = unsigned.finish(&signature).map_err(|e| internal(&e))?;
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
