//! Judging the certificates that a peer presents: do they lead to our root, are they in force, whom do they name?
//!
//! [`verify`] is what every TLS endpoint of kOS asks instead of comparing DNS names. webpki builds the path and checks
//! every signature, constraint and purpose on it; on top of that the end-entity certificate must name exactly one
//! SPIFFE id of the root's own trust domain, a device's must carry the kOS extension and agree with it, and its issuing
//! CA must be the one for its kind. [`examine`] runs the same checks one by one for people who want to see them all.
//!
//! Not here: whether the peer holds the private key (TLS proves that), and whether it may do what it asks for.
//!
//! Shape: 1 to [`PRESENTED_MAX`] certificates, the peer's first; the root only where it is known by its pin alone.
//! Dates are compared with a [`Clock`], since a device on its first boot has none that it could trust.
//!
//! Invariants: a [`VerifiedPeer`] comes only from here. An issuer of which no revocation list is held does not fail the
//! peer, because a device must reach its authority to get one; [`VerifiedPeer::revocation`] says so.
//!
//! Errors: [`ChainError`]; close the connection, do not retry.
//!
//! Source: RFC 5280 6; SPIFFE X509-SVID 5; `docs/spec/identity.md` ID-27 to ID-34; fuzz target `certificate`.

mod examine;

pub use examine::{Check, CheckName, Examination, KidUnderExamination, examine};

use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use core::time::Duration;
use kos_base::{AuthorityName, Code, KeyId, PublicKey, Timestamp, code};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};

use crate::{
    certificate::{Certificate, CertificateError, DeviceFacts, PeerIdentity, Profile, Serial},
    crl::{RevocationView, Status},
    registry::RevocationReason,
};

/// Most certificates that a peer may present: itself, an issuing CA, a root, and one that is about to replace another.
/// Bounds the work of path building.
pub const PRESENTED_MAX: usize = 4;

/// What is known about the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// This is the time.
    Trusted(Timestamp),
    /// It is not earlier than this: what has expired by then is refused, what lies ahead is not judged.
    Floor(Timestamp),
    /// Nothing: no date is judged.
    Untrusted,
}

/// In which role the peer presents its certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It opened the connection.
    Client,
    /// It accepted the connection.
    Server,
}

/// Whom to trust: roots that are held, and roots that are known by the id of their key.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    roots: Vec<Certificate>,
    pins: Vec<KeyId>,
}

/// A peer whose certificates were judged and found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPeer {
    certificate: Certificate,
    identity: PeerIdentity,
    issuer: KeyId,
    /// Only of a server: whoever accepts connections has many peers and its own issuing CAs.
    issuing_ca: Option<Box<Certificate>>,
    root: Certificate,
    revocation: Status,
}

/// Why a peer's certificates are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// None, or more than [`PRESENTED_MAX`].
    #[error("{0} certificates presented, 1 to {PRESENTED_MAX} are allowed")]
    Count(usize),
    /// One of them cannot be read.
    #[error(transparent)]
    Malformed(#[from] CertificateError),
    /// No path to a root that is trusted.
    #[error("no path to a trusted root: {0}")]
    Path(String),
    /// Signed by an issuing CA that is not the one for this kind of certificate.
    #[error("signed by an issuing CA that is not the one for this kind of certificate")]
    IssuerClass,
    /// Over.
    #[error("certificate {serial} expired at {not_after}")]
    Expired {
        /// Which.
        serial: Serial,
        /// When.
        not_after: Timestamp,
    },
    /// Yet to begin.
    #[error("certificate {serial} is not valid before {not_before}")]
    NotYetValid {
        /// Which.
        serial: Serial,
        /// Until when.
        not_before: Timestamp,
    },
    /// Taken back for good.
    #[error("certificate {serial} was revoked: {}", reason.map_or("unspecified", RevocationReason::as_str))]
    Revoked {
        /// Which.
        serial: Serial,
        /// Why.
        reason: Option<RevocationReason>,
    },
    /// On hold.
    #[error("certificate {serial} is suspended")]
    Suspended {
        /// Which.
        serial: Serial,
    },
    /// Not made for what it is used for.
    #[error("the certificate is not for use as a {}", match .0 { Usage::Client => "client", Usage::Server => "server" })]
    Purpose(Usage),
    /// It does not name exactly one peer of its root's authority, or contradicts itself.
    #[error("{0}")]
    Identity(&'static str),
    /// It names somebody else than was expected.
    #[error("the certificate names `{found}`, expected was `{wanted}`")]
    SomebodyElse {
        /// Whom it names.
        found: Box<PeerIdentity>,
        /// Who was expected.
        wanted: String,
    },
}

impl ChainError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Count(_) | Self::Malformed(_) => code::certificate::CERT_MALFORMED,
            Self::Path(_) | Self::IssuerClass => code::certificate::CERT_CHAIN,
            Self::Expired { .. } => code::certificate::CERT_EXPIRED,
            Self::NotYetValid { .. } => code::certificate::CERT_NOT_YET_VALID,
            Self::Revoked { .. } | Self::Suspended { .. } => code::certificate::CERT_REVOKED,
            Self::Purpose(_) => code::certificate::CERT_PURPOSE,
            Self::Identity(_) | Self::SomebodyElse { .. } => code::certificate::CERT_IDENTITY,
        }
    }
}

/// Judges what a peer presented; its own certificate comes first.
///
/// # Errors
/// With the first check that fails. Close the connection.
///
/// # Cost
/// Two signature checks, three where the root is known by its pin.
pub fn verify<C: AsRef<[u8]>>(
    clock: Clock,
    usage: Usage,
    presented: &[C],
    anchors: &Anchors,
    revocation: &RevocationView,
) -> Result<VerifiedPeer, ChainError> {
    let certificates = parse(presented)?;
    let path = Path::build(usage, &certificates, anchors)?;
    path.check_dates(clock)?;
    path.check_purpose(usage)?;
    let identity = path.identity()?;
    let revocation = path.check_revocation(revocation)?;
    Ok(VerifiedPeer {
        certificate: path.peer.clone(),
        identity,
        issuer: path.issuer.key_id(),
        issuing_ca: (usage == Usage::Server).then(|| Box::new(path.issuer.clone())),
        root: path.root.clone(),
        revocation,
    })
}

impl Anchors {
    /// Trusts these roots.
    ///
    /// # Errors
    /// When one of them is not a self-signed root of kOS.
    pub fn roots(roots: Vec<Certificate>) -> Result<Self, ChainError> {
        if roots.iter().all(signs_itself) {
            return Ok(Self { roots, pins: Vec::new() });
        }
        Err(ChainError::Path("the anchor is not a root that signs itself".to_owned()))
    }

    /// Trusts roots with these keys, which the peer must present.
    pub const fn pins(pins: Vec<KeyId>) -> Self {
        Self { roots: Vec::new(), pins }
    }
}

/// A pin speaks of the root's key alone; its own signature makes the rest of the root's certificate count.
fn signs_itself(root: &Certificate) -> bool {
    root.is_root() && root.verify_signature(root.public_key()).is_ok()
}

fn parse<C: AsRef<[u8]>>(presented: &[C]) -> Result<Vec<Certificate>, ChainError> {
    if presented.is_empty() || presented.len() > PRESENTED_MAX {
        return Err(ChainError::Count(presented.len()));
    }
    presented.iter().map(|der| Ok(Certificate::parse(der.as_ref())?)).collect()
}

/// The signature algorithms of kOS. Each goes with one kind of key.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] =
    &[webpki::aws_lc_rs::ECDSA_P256_SHA256, webpki::aws_lc_rs::ECDSA_P384_SHA384, webpki::aws_lc_rs::ED25519];

/// From a peer over its issuing CA to a trusted root: signatures and constraints hold, dates were not judged.
struct Path<'a> {
    peer: &'a Certificate,
    issuer: &'a Certificate,
    root: &'a Certificate,
}

impl<'a> Path<'a> {
    fn build(
        usage: Usage,
        certificates: &'a [Certificate],
        anchors: &'a Anchors,
    ) -> Result<Self, ChainError> {
        let no_path = |why: &'static str| ChainError::Path(why.to_owned());
        let (peer, others) = certificates.split_first().ok_or(ChainError::Count(0))?;
        let pinned = others.iter().filter(|root| anchors.pins.contains(&root.key_id()) && signs_itself(root));
        let roots: Vec<&Certificate> = anchors.roots.iter().chain(pinned).collect();
        if roots.is_empty() {
            return Err(no_path("no root with a pinned key was presented"));
        }
        let root_ders: Vec<_> = roots.iter().map(|root| CertificateDer::from(root.der())).collect();
        let trusted: Result<Vec<_>, _> = root_ders.iter().map(webpki::anchor_from_trusted_cert).collect();
        let trusted = trusted.map_err(|e| refusal(usage, &e))?;
        let intermediates: Vec<_> = others.iter().map(|c| CertificateDer::from(c.der())).collect();
        let peer_der = CertificateDer::from(peer.der());
        let end_entity = webpki::EndEntityCert::try_from(&peer_der).map_err(|e| refusal(usage, &e))?;
        // No certificate outlives its issuer, so all of the path is valid when the peer's ends. Whether it is valid
        // now is judged separately.
        let at = UnixTime::since_unix_epoch(Duration::from_secs(peer.not_after().unix_s()));
        let purpose = match usage {
            Usage::Client => webpki::KeyUsage::client_auth(),
            Usage::Server => webpki::KeyUsage::server_auth(),
        };
        let path = end_entity
            .verify_for_usage(ALGORITHMS, &trusted, &intermediates, at, purpose, None, None)
            .map_err(|e| refusal(usage, &e))?;
        let mut between = path.intermediate_certificates();
        let (Some(issuer), None) = (between.next(), between.next()) else {
            return Err(no_path("not exactly one issuing CA between peer and root"));
        };
        let issuer = others.iter().find(|c| c.der() == issuer.der().as_ref());
        let anchor = path.anchor();
        let root = trusted.iter().zip(&roots).find(|(trusted, _)| *trusted == anchor).map(|(_, root)| *root);
        match (issuer, root) {
            (Some(issuer), Some(root)) => Ok(Self { peer, issuer, root }),
            _ => Err(no_path("the path leaves the certificates that were presented")),
        }
    }

    fn all(&self) -> [&'a Certificate; 3] {
        [self.peer, self.issuer, self.root]
    }

    fn check_dates(&self, clock: Clock) -> Result<(), ChainError> {
        for certificate in self.all() {
            let (serial, not_after) = (certificate.serial(), certificate.not_after());
            let (Clock::Trusted(at) | Clock::Floor(at)) = clock else { return Ok(()) };
            // The last second of validity counts in full.
            if at.floor_s() > not_after {
                return Err(ChainError::Expired { serial, not_after });
            }
            let not_before = certificate.not_before();
            if matches!(clock, Clock::Trusted(now) if now < not_before) {
                return Err(ChainError::NotYetValid { serial, not_before });
            }
        }
        Ok(())
    }

    fn check_purpose(&self, usage: Usage) -> Result<(), ChainError> {
        let wanted = match usage {
            Usage::Client => ID_KP_CLIENT_AUTH,
            Usage::Server => ID_KP_SERVER_AUTH,
        };
        let signs = self.peer.key_usage().is_some_and(|usage| usage.digital_signature());
        if signs && !self.peer.is_ca() && self.peer.purposes().contains(&wanted) {
            return Ok(());
        }
        Err(ChainError::Purpose(usage))
    }

    /// Whom the peer's certificate names, if it names one peer of the root's authority and does not contradict itself.
    fn identity(&self) -> Result<PeerIdentity, ChainError> {
        let [uri] = self.peer.uris() else {
            return Err(ChainError::Identity("the certificate does not have exactly one URI"));
        };
        let identity: PeerIdentity =
            uri.parse().map_err(|_| ChainError::Identity("the certificate has no SPIFFE id of kOS"))?;
        let authority = Some(identity.authority());
        if authority != self.issuer.authority().as_ref() || authority != self.root.authority().as_ref() {
            return Err(ChainError::Identity("the certificate speaks for another authority than its root's"));
        }
        let profile = match (&identity, self.peer.facts()) {
            (PeerIdentity::Device { authority, device }, Some(facts)) => {
                if facts.subject.authority != *authority || facts.subject.device != *device {
                    return Err(ChainError::Identity("the kOS extension contradicts the SPIFFE id"));
                }
                Profile::Device(facts.profile)
            }
            (PeerIdentity::Operator { .. }, None) => Profile::Operator,
            (PeerIdentity::Authority { .. }, None) => Profile::Authority,
            (PeerIdentity::Device { .. }, None) => {
                return Err(ChainError::Identity("the kOS extension is missing"));
            }
            (_, Some(_)) => return Err(ChainError::Identity("only a device has the kOS extension")),
        };
        if profile.issuer() != self.issuer.issuer_class() {
            return Err(ChainError::IssuerClass);
        }
        Ok(identity)
    }

    fn check_revocation(&self, view: &RevocationView) -> Result<Status, ChainError> {
        let mut whole = Status::Good;
        for (certificate, issuer) in [(self.issuer, self.root), (self.peer, self.issuer)] {
            let serial = certificate.serial();
            match view.status(serial, issuer.key_id(), certificate.key_id()) {
                Status::Good => {}
                Status::Unknown => whole = Status::Unknown,
                Status::Revoked { reason } => return Err(ChainError::Revoked { serial, reason }),
                Status::Suspended => return Err(ChainError::Suspended { serial }),
            }
        }
        Ok(whole)
    }
}

/// What webpki found, in our words.
fn refusal(usage: Usage, found: &webpki::Error) -> ChainError {
    use webpki::Error as Found;
    let why = match found {
        Found::RequiredEkuNotFoundContext(_) | Found::EmptyEkuExtension | Found::CaUsedAsEndEntity => {
            return ChainError::Purpose(usage);
        }
        Found::UnknownIssuer => "the issuer is unknown",
        Found::InvalidSignatureForPublicKey => "a signature does not verify",
        Found::PathLenConstraintViolated => "a CA signed below the depth that it may",
        Found::EndEntityUsedAsCa => "a certificate that is not a CA's signed another",
        Found::CertExpired { .. } | Found::CertNotValidYet { .. } => "a certificate outlives its issuer",
        other => return ChainError::Path(other.to_string()),
    };
    ChainError::Path(why.to_owned())
}

impl VerifiedPeer {
    /// Who it is.
    pub const fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// Its certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key that it holds.
    pub const fn public_key(&self) -> &PublicKey {
        self.certificate.public_key()
    }

    /// Id of that key.
    pub fn key_id(&self) -> KeyId {
        self.certificate.key_id()
    }

    /// Serial number of its certificate.
    pub const fn serial(&self) -> Serial {
        self.certificate.serial()
    }

    /// End of its certificate.
    pub const fn not_after(&self) -> Timestamp {
        self.certificate.not_after()
    }

    /// What the authority says about it; devices only.
    pub const fn facts(&self) -> Option<&DeviceFacts> {
        self.certificate.facts()
    }

    /// Id of its issuing CA's key.
    pub const fn issuer(&self) -> KeyId {
        self.issuer
    }

    /// Its issuing CA, if it is a server: revocation lists of that CA are checked against it.
    pub fn issuing_ca(&self) -> Option<&Certificate> {
        self.issuing_ca.as_deref()
    }

    /// The root that it leads to.
    pub const fn root(&self) -> &Certificate {
        &self.root
    }

    /// [`Status::Good`], or [`Status::Unknown`] where no list of an issuer is held.
    pub const fn revocation(&self) -> Status {
        self.revocation
    }

    /// Asks the same again of a newer view, for a connection that is open.
    ///
    /// # Errors
    /// When the certificate or its key was revoked or suspended since. Cut the connection.
    pub fn check_revocation(&self, view: &RevocationView) -> Result<(), ChainError> {
        let serial = self.serial();
        match view.status(serial, self.issuer, self.key_id()) {
            Status::Good | Status::Unknown => Ok(()),
            Status::Revoked { reason } => Err(ChainError::Revoked { serial, reason }),
            Status::Suspended => Err(ChainError::Suspended { serial }),
        }
    }

    /// Checks that it is exactly the peer that was wanted.
    ///
    /// # Errors
    /// When it is somebody else.
    pub fn expect(&self, wanted: &PeerIdentity) -> Result<(), ChainError> {
        if self.identity == *wanted {
            return Ok(());
        }
        Err(ChainError::SomebodyElse { found: Box::new(self.identity.clone()), wanted: wanted.to_string() })
    }

    /// Checks that it is the authority itself, and the one of this name.
    ///
    /// # Errors
    /// When it is somebody else.
    pub fn expect_authority(&self, authority: &AuthorityName) -> Result<(), ChainError> {
        self.expect(&PeerIdentity::Authority { authority: authority.clone() })
    }
}

#[cfg(test)]
mod tests;
