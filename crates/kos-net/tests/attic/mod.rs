//! A small authority for the tests: root, issuing CAs, and certificates for a server, operators and strangers.

#![expect(dead_code, reason = "each test program uses another part")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kos_base::{AuthorityName, KeyAlgorithm, KeyId, SecurityProfile, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::{
        AuthorityGrant, Certificate, IssuerClass, IssuerContext, OperatorGrant, PeerIdentity, Serial, Unsigned,
        Warrant, issue, issuing_ca, root,
    },
    chain::{Anchors, Clock},
    crl::RevocationView,
    registry::RevocationReason,
};
use kos_net::{
    entropy,
    keys::{SigningKey, certified, self_signed},
    tls::{ClientTls, ClockSource, Expectation, ServerTls, Trust},
};
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

/// 2026-11-20, when every certificate of the tests was made.
pub const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// An authority and its keys.
pub struct Authority {
    pub name: AuthorityName,
    pub root: Certificate,
    root_key: SigningKey,
    issuing: Certificate,
    issuing_key: SigningKey,
    /// Seconds since 1970, as the server's clock shows it.
    pub clock: Arc<AtomicU64>,
}

/// A certificate with its key, ready for TLS.
#[derive(Clone)]
pub struct Holder {
    pub certificate: Certificate,
    pub certified: Arc<CertifiedKey>,
    pub key: Arc<SigningKey>,
}

fn finish(unsigned: Unsigned, key: &SigningKey) -> Certificate {
    let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed()).unwrap();
    unsigned.finish(&signature).unwrap()
}

fn serial() -> Serial {
    Serial::from_random(entropy::array().unwrap())
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let name: AuthorityName = name.parse().unwrap();
        let root_key = SigningKey::generate(KeyAlgorithm::P384).unwrap();
        let root = finish(root(&name, root_key.public(), serial(), NOW).unwrap(), &root_key);
        let issuing_key = SigningKey::generate(KeyAlgorithm::P256).unwrap();
        let context = IssuerContext { issuer: &root, publication: None, now: NOW };
        let unsigned = issuing_ca(IssuerClass::Two, issuing_key.public(), serial(), &context).unwrap();
        let issuing = finish(unsigned, &root_key);
        let clock = Arc::new(AtomicU64::new(NOW.unix_s()));
        Self { name, root, root_key, issuing, issuing_key, clock }
    }

    fn hold(&self, warrant: impl FnOnce(&SigningKey) -> Warrant, algorithm: KeyAlgorithm) -> Holder {
        let key = Arc::new(SigningKey::generate(algorithm).unwrap());
        let context = IssuerContext { issuer: &self.issuing, publication: None, now: NOW };
        let certificate =
            finish(issue(warrant(&key), serial(), &context).unwrap(), &self.issuing_key);
        let chain = [&certificate, &self.issuing, &self.root];
        let chain = chain.map(|c| CertificateDer::from(c.der().to_vec())).to_vec();
        Holder { certificate, certified: certified(chain, Arc::clone(&key)), key }
    }

    /// The authority's own server certificate.
    pub fn server(&self) -> Holder {
        let names = vec!["attic.local".try_into().unwrap()];
        self.hold(
            |key| Warrant::Authority(AuthorityGrant { key: key.public().clone(), names }),
            KeyAlgorithm::P256,
        )
    }

    /// An operator's client certificate.
    pub fn operator(&self, name: &str) -> Holder {
        let name = name.parse().unwrap();
        self.hold(
            |key| Warrant::Operator(OperatorGrant { name, key: key.public().clone() }),
            KeyAlgorithm::Ed25519,
        )
    }

    pub fn identity(&self) -> PeerIdentity {
        PeerIdentity::Authority { authority: self.name.clone() }
    }

    pub fn operator_identity(&self, name: &str) -> PeerIdentity {
        PeerIdentity::Operator { authority: self.name.clone(), name: name.parse().unwrap() }
    }

    pub fn pin(&self) -> KeyId {
        self.root.key_id()
    }

    pub fn trust(&self) -> Trust {
        Trust {
            anchors: Arc::new(Anchors::roots(vec![self.root.clone()]).unwrap()),
            revocation: Arc::default(),
        }
    }

    /// The trust of somebody who knows that `holder` was revoked.
    pub fn trust_without(&self, holder: &Holder) -> Trust {
        let mut view = RevocationView::default();
        let (serial, key) = (holder.certificate.serial(), holder.certificate.key_id());
        view.revoke(self.issuing.key_id(), serial, key, RevocationReason::KeyCompromise);
        Trust { revocation: Arc::new(view), ..self.trust() }
    }

    pub fn clock_source(&self) -> ClockSource {
        let clock = Arc::clone(&self.clock);
        Arc::new(move || Clock::Trusted(Timestamp::from_unix_s(clock.load(Ordering::Relaxed))))
    }

    pub fn server_tls(&self) -> Arc<ServerTls> {
        ServerTls::new(self.clock_source(), self.server().certified, self.trust()).unwrap()
    }

    /// A client that shows `holder` and expects this authority.
    pub fn client(&self, holder: Option<&Holder>) -> ClientTls {
        self.client_expecting(
            holder.map(|holder| Arc::clone(&holder.certified)),
            Expectation::Peer { trust: self.trust(), identity: self.identity() },
        )
    }

    pub fn client_expecting(&self, certified: Option<Arc<CertifiedKey>>, expectation: Expectation) -> ClientTls {
        ClientTls { clock: self.clock_source(), certified, expectation, profile: SecurityProfile::Sec2 }
    }
}

/// A fresh identity key with the certificate that it signed itself.
pub fn stranger() -> (Arc<SigningKey>, Arc<CertifiedKey>) {
    let key = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519).unwrap());
    let certificate = self_signed(&key).unwrap();
    (Arc::clone(&key), certified(vec![certificate], key))
}
