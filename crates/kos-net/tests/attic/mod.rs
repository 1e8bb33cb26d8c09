//! A small authority for the tests: root, issuing CAs, and certificates for a server, operators and strangers.

#![expect(dead_code, reason = "each test program uses another part")]

pub(crate) mod device;
pub(crate) mod port;
pub(crate) mod relay;

use std::sync::Arc;

use kos_base::{AuthorityName, KeyAlgorithm, KeyId, SecurityProfile, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::{
        AuthorityGrant, Certificate, IssuerClass, IssuerContext, OperatorGrant, PeerIdentity, Serial,
        Unsigned, Warrant, issue, issuing_ca, root,
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
pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// An authority and its keys.
pub(crate) struct Authority {
    pub(crate) name: AuthorityName,
    pub(crate) root: Certificate,
    now: Timestamp,
    issuing: [Issuing; 2],
}

struct Issuing {
    certificate: Certificate,
    key: SigningKey,
}

/// A certificate with its key, ready for TLS.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) certificate: Certificate,
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) key: Arc<SigningKey>,
}

fn finish(unsigned: Unsigned, key: &SigningKey) -> Certificate {
    let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed()).unwrap();
    unsigned.finish(&signature).unwrap()
}

fn serial() -> Serial {
    Serial::from_random(entropy::array().unwrap())
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::at(name, NOW)
    }

    /// For judges who look at the clock on the wall.
    pub(crate) fn today(name: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self::at(name, Timestamp::from_unix_s(now.as_secs()))
    }

    fn at(name: &str, now: Timestamp) -> Self {
        let name: AuthorityName = name.parse().unwrap();
        let root_key = SigningKey::generate(KeyAlgorithm::P384).unwrap();
        let root = finish(root(&name, root_key.public(), serial(), now).unwrap(), &root_key);
        let context = IssuerContext { issuer: &root, publication: None, now };
        let issuing = IssuerClass::ALL.map(|class| {
            let key = SigningKey::generate(KeyAlgorithm::P256).unwrap();
            let unsigned = issuing_ca(class, key.public(), serial(), &context).unwrap();
            Issuing { certificate: finish(unsigned, &root_key), key }
        });
        Self { name, root, issuing, now }
    }

    fn issuing(&self, class: IssuerClass) -> &Issuing {
        &self.issuing[usize::from(class.number()) - 1]
    }

    fn hold(&self, warrant: impl FnOnce(&SigningKey) -> Warrant, algorithm: KeyAlgorithm) -> Holder {
        let key = Arc::new(SigningKey::generate(algorithm).unwrap());
        let issuer = self.issuing(IssuerClass::Two);
        let context = IssuerContext { issuer: &issuer.certificate, publication: None, now: self.now };
        let certificate = finish(issue(warrant(&key), serial(), &context).unwrap(), &issuer.key);
        self.holder(certificate, issuer, key)
    }

    fn holder(&self, certificate: Certificate, issuer: &Issuing, key: Arc<SigningKey>) -> Holder {
        let chain = [&certificate, &issuer.certificate, &self.root];
        let chain = chain.map(|c| CertificateDer::from(c.der().to_vec())).to_vec();
        Holder { certificate, certified: certified(chain, Arc::clone(&key)), key }
    }

    /// The authority's own server certificate.
    pub(crate) fn server(&self) -> Holder {
        let names = vec!["attic.local".try_into().unwrap()];
        self.hold(
            |key| Warrant::Authority(AuthorityGrant { key: key.public().clone(), names }),
            KeyAlgorithm::P256,
        )
    }

    /// An operator's client certificate.
    pub(crate) fn operator(&self, name: &str) -> Holder {
        self.operator_with(name, KeyAlgorithm::Ed25519)
    }

    pub(crate) fn operator_with(&self, name: &str, algorithm: KeyAlgorithm) -> Holder {
        let name = name.parse().unwrap();
        self.hold(|key| Warrant::Operator(OperatorGrant { name, key: key.public().clone() }), algorithm)
    }

    pub(crate) fn identity(&self) -> PeerIdentity {
        PeerIdentity::Authority { authority: self.name.clone() }
    }

    pub(crate) fn operator_identity(&self, name: &str) -> PeerIdentity {
        PeerIdentity::Operator { authority: self.name.clone(), name: name.parse().unwrap() }
    }

    pub(crate) fn pin(&self) -> KeyId {
        self.root.key_id()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust {
            anchors: Arc::new(Anchors::roots(vec![self.root.clone()]).unwrap()),
            revocation: Arc::default(),
        }
    }

    /// The trust of somebody who knows that `holder` was revoked.
    pub(crate) fn trust_without(&self, holder: &Holder) -> Trust {
        let mut view = RevocationView::default();
        let (serial, key) = (holder.certificate.serial(), holder.certificate.key_id());
        let issuer = self.issuing(IssuerClass::Two).certificate.key_id();
        view.revoke(issuer, serial, key, RevocationReason::KeyCompromise);
        Trust { revocation: Arc::new(view), ..self.trust() }
    }

    pub(crate) fn clock(&self) -> ClockSource {
        let now = self.now;
        Arc::new(move || Clock::Trusted(now))
    }

    pub(crate) fn server_tls(&self) -> Arc<ServerTls> {
        ServerTls::new(self.clock(), self.server().certified, self.trust()).unwrap()
    }

    /// A client that shows `holder` and expects this authority.
    pub(crate) fn client(&self, holder: Option<&Holder>) -> ClientTls {
        self.client_expecting(
            holder.map(|holder| Arc::clone(&holder.certified)),
            Expectation::Peer { trust: self.trust(), identity: self.identity() },
        )
    }

    pub(crate) fn client_expecting(
        &self,
        certified: Option<Arc<CertifiedKey>>,
        expectation: Expectation,
    ) -> ClientTls {
        ClientTls { clock: self.clock(), certified, expectation, profile: SecurityProfile::Sec2 }
    }
}

/// A fresh identity key with the certificate that it signed itself.
pub(crate) fn stranger() -> (Arc<SigningKey>, Arc<CertifiedKey>) {
    let key = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519).unwrap());
    let certificate = self_signed(&key).unwrap();
    (Arc::clone(&key), certified(vec![certificate], key))
}
