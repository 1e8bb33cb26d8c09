//! Building certificates: every field is decided here, from a grant and the issuer's own certificate.
//!
//! [`issue`] is the one way to an end-entity certificate. What it takes is evidence: a [`DeviceGrant`] can be made only
//! by the machines of this crate that have checked enrolment, renewal or recovery; nothing comes from a request but
//! its public key. [`root`] and [`issuing_ca`] set an authority up. [`identity_certificate`] is the envelope in which a
//! device shows its identity key to a TLS server that checks the key and nothing else.
//!
//! Invariants: a certificate never outlives its issuer; the issuing CA is the one of its class; the security profile is
//! covered by evidence, and SEC-4 by a second verdict (SECV-1).
//!
//! Errors: [`IssueError`]; nothing was issued.
//!
//! Source: `docs/spec/identity.md` ID-17 to ID-26, ID-54; RFC 5280; RFC 4043; RFC 4108; SPIFFE X509-SVID.

use const_oid::{
    AssociatedOid,
    db::rfc5280::{ID_AD_CA_ISSUERS, ID_AD_OCSP},
};
use der::{
    Any, Encode, Sequence,
    asn1::{Ia5String, ObjectIdentifier, OctetString},
};
use kos_base::{AuthorityName, Code, PublicKey, SecurityProfile, Timestamp, code};
use kos_policy::{Request, Standing, Way, decide};
use rustls_pki_types::{DnsName, ServerName};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{
    certificate::Version,
    ext::{
        Extension, Extensions,
        pkix::{
            AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
            CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier,
            crl::dp::DistributionPoint,
            name::{DistributionPointName, GeneralName, GeneralNames, HardwareModuleName, OtherName},
        },
    },
    name::Name,
    serial_number::SerialNumber,
    time::Validity,
};

use super::{
    Certificate, DeviceFacts, IssuerClass, OperatorName, PeerIdentity, Profile, Publication, Serial,
    SigningError, Unsigned, moment, oid,
    profile::BACK_DATING,
    signed::{ToBeSigned, algorithm},
    spiffe::trust_domain_uri,
};
use crate::second::{SecondVerdict, is_needed};

/// Who signs, from where it publishes, and when.
#[derive(Clone, Copy, Debug)]
pub struct IssuerContext<'a> {
    /// Certificate of the CA that signs.
    pub issuer: &'a Certificate,
    /// Present once the authority has a public name.
    pub publication: Option<&'a Publication>,
    /// The present moment.
    pub now: Timestamp,
}

/// Leave to issue one end-entity certificate.
#[derive(Clone, Debug)]
pub enum Warrant {
    /// For a device.
    Device(DeviceGrant),
    /// For an operator.
    Operator(OperatorGrant),
    /// For the authority itself.
    Authority(AuthorityGrant),
}

/// A device that has proven what its certificate will say. Only the machines of this crate can make one.
#[derive(Clone, Debug)]
pub struct DeviceGrant {
    pub(crate) facts: DeviceFacts,
    pub(crate) operational_key: PublicKey,
    pub(crate) hardware_serial: Option<String>,
    /// What a second verifier said of it.
    pub(crate) second: Option<Box<SecondVerdict>>,
}

/// An operator whom the authority lets in.
#[derive(Clone, Debug)]
pub struct OperatorGrant {
    /// Who.
    pub name: OperatorName,
    /// The operator's key, from a verified request.
    pub key: PublicKey,
}

/// The authority's own key and the names at which it is reached, besides those of the local machine.
#[derive(Clone, Debug)]
pub struct AuthorityGrant {
    /// TLS key of the authority.
    pub key: PublicKey,
    /// Names and addresses at which it is advertised.
    pub names: Vec<ServerName<'static>>,
}

/// The certificate must not or cannot be issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The issuing CA does not sign certificates of this kind.
    #[error("this CA does not sign certificates of this kind")]
    Issuer,
    /// The issuer's certificate does not cover the present moment.
    #[error("the issuing CA's certificate is not valid now")]
    IssuerValidity,
    /// The grant names another authority than the issuer's.
    #[error("the certificate would speak for another authority than its issuer's")]
    Authority,
    /// The device has not proven enough for the profile.
    #[error(transparent)]
    Policy(#[from] kos_policy::Refusal),
    /// No second verifier has judged the device, for this key.
    #[error("no second verifier has judged the device for this key")]
    Unseconded,
    /// The key's algorithm is not that of the profile, or the key is the issuer's own.
    #[error("the key is not one that this kind of certificate may have")]
    Key,
    /// The certificate cannot be written; a fault of this program.
    #[error("the certificate cannot be written: {0}")]
    Encoding(#[from] der::Error),
}

impl IssueError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Issuer | Self::Authority | Self::Key => code::certificate::ISSUE_FORBIDDEN,
            Self::Policy(refusal) => refusal.code(),
            Self::Unseconded => code::second::SECOND_ABSENT,
            Self::IssuerValidity => code::certificate::CERT_EXPIRED,
            Self::Encoding(_) => code::config::INTERNAL,
        }
    }
}

/// Prepares the certificate that `warrant` allows, to be signed by the key of `context.issuer`.
///
/// # Errors
/// When the issuer is not the one for this kind, or the evidence does not cover the profile. Nothing was issued.
pub fn issue(warrant: Warrant, serial: Serial, context: &IssuerContext<'_>) -> Result<Unsigned, IssueError> {
    let authority = context.issuer.authority().ok_or(IssueError::Issuer)?;
    let (profile, key, common_name, names, extra) = match warrant {
        Warrant::Device(grant) => {
            let DeviceGrant { facts, operational_key, hardware_serial, second } = grant;
            if facts.subject.authority != authority {
                return Err(IssueError::Authority);
            }
            // The last look (POLS-21): whoever made the grant has looked at the record, which says more than this.
            let proven = Standing::certified(SecurityProfile::Sec0, facts.evidence);
            decide(proven, Request::Certify(Way::Enrolment, facts.profile)).check()?;
            let is_seconded = second.is_some_and(|it| it.is_for(&facts.subject.device, operational_key.id()));
            if is_needed(facts.profile) && !is_seconded {
                return Err(IssueError::Unseconded);
            }
            let names = device_names(&facts, hardware_serial.as_deref())?;
            let extra = Extension {
                extn_id: oid::IDENTITY_EXTENSION,
                critical: false,
                extn_value: OctetString::new(facts.to_der()?)?,
            };
            let common_name = facts.subject.device.to_string();
            (Profile::Device(facts.profile), operational_key, common_name, names, Some(extra))
        }
        Warrant::Operator(OperatorGrant { name, key }) => {
            let common_name = name.to_string();
            let names = vec![uri(&PeerIdentity::Operator { authority, name }.to_string())?];
            (Profile::Operator, key, common_name, names, None)
        }
        Warrant::Authority(AuthorityGrant { key, names }) => {
            let common_name = authority.to_string();
            let names = authority_names(authority, names)?;
            (Profile::Authority, key, common_name, names, None)
        }
    };
    let subject = Subject { name: name(&[("CN", &common_name)])?, key, names };
    signed_by(context, profile, subject, serial, extra)
}

/// Prepares the certificate of an issuing CA, to be signed by the root.
///
/// # Errors
/// When `context.issuer` is not a root, or the key is not of P-256.
pub fn issuing_ca(
    class: IssuerClass,
    key: &PublicKey,
    serial: Serial,
    context: &IssuerContext<'_>,
) -> Result<Unsigned, IssueError> {
    let authority = context.issuer.authority().ok_or(IssueError::Issuer)?;
    let common_name = format!("{}{} {}", Certificate::ISSUING_NAME, class.number(), key.id().short());
    let subject = Subject {
        name: name(&[("CN", &common_name), ("O", authority.as_ref())])?,
        key: key.clone(),
        names: vec![uri(&trust_domain_uri(&authority))?],
    };
    signed_by(context, Profile::Issuing(class), subject, serial, None)
}

/// Prepares the certificate of a new authority's root, to be signed by its own key.
///
/// # Errors
/// When the key is not of P-384.
pub fn root(
    authority: &AuthorityName,
    key: &PublicKey,
    serial: Serial,
    now: Timestamp,
) -> Result<Unsigned, IssueError> {
    let profile = Profile::Root;
    if profile.algorithm() != Some(key.algorithm()) {
        return Err(IssueError::Key);
    }
    let common_name = format!("{} {}", Certificate::ROOT_NAME, key.id().short());
    let name = name(&[("CN", &common_name), ("O", authority.as_ref())])?;
    let subject =
        Subject { name: name.clone(), key: key.clone(), names: vec![uri(&trust_domain_uri(authority))?] };
    let validity = Validity::new(
        moment(now.floor_s().minus(BACK_DATING))?,
        moment(now.floor_s().plus(profile.lifetime()))?,
    );
    let extensions = extensions(profile, &subject, key)?;
    unsigned(subject, serial, validity, Issuer { name, key }, extensions)
}

/// Prepares the self-signed certificate in which a device shows its identity key at enrolment. It says nothing that
/// anybody relies on but the key, so the same key always gets the same content, with a validity that never ends.
///
/// # Errors
/// When it cannot be written, which is a fault of this program.
pub fn identity_certificate(key: &PublicKey) -> Result<Unsigned, IssueError> {
    let name = name(&[("CN", &format!("kOS identity key {}", key.id().short()))])?;
    let [a, b, c, d, e, f, g, h, ..] = *key.id().as_bytes();
    let serial = Serial::from_random([0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h]);
    let validity = Validity::new(moment(Timestamp::from_unix_s(0))?, moment(Timestamp::MAX.floor_s())?);
    let extensions = vec![
        critical(&KeyUsage(KeyUsages::DigitalSignature.into()))?,
        plain(&SubjectKeyIdentifier(OctetString::new(*key.id().as_bytes())?))?,
    ];
    let subject = Subject { name: name.clone(), key: key.clone(), names: Vec::new() };
    unsigned(subject, serial, validity, Issuer { name, key }, extensions)
}

struct Subject {
    name: Name,
    key: PublicKey,
    names: GeneralNames,
}

struct Issuer<'a> {
    name: Name,
    key: &'a PublicKey,
}

fn signed_by(
    context: &IssuerContext<'_>,
    profile: Profile,
    subject: Subject,
    serial: Serial,
    extra: Option<Extension>,
) -> Result<Unsigned, IssueError> {
    let IssuerContext { issuer, publication, now } = *context;
    let fits = match profile.issuer() {
        Some(class) => issuer.issuer_class() == Some(class),
        None => issuer.is_root(),
    };
    if !fits {
        return Err(IssueError::Issuer);
    }
    if profile.algorithm().is_some_and(|wanted| wanted != subject.key.algorithm())
        || subject.key == *issuer.public_key()
    {
        return Err(IssueError::Key);
    }
    if now < issuer.not_before() || now >= issuer.not_after() {
        return Err(IssueError::IssuerValidity);
    }
    let not_before = now.floor_s().minus(BACK_DATING).max(issuer.not_before());
    let not_after = now.floor_s().plus(profile.lifetime()).min(issuer.not_after());
    let mut extensions = extensions(profile, &subject, issuer.public_key())?;
    if let Some(publication) = publication {
        extensions.extend(pointers(publication, issuer.key_id(), profile)?);
    }
    extensions.extend(extra);
    let validity = Validity::new(moment(not_before)?, moment(not_after)?);
    let issuer = Issuer { name: issuer.subject_name().clone(), key: issuer.public_key() };
    unsigned(subject, serial, validity, issuer, extensions)
}

/// TBSCertificate, which `x509-cert` can read but lets nobody build.
#[derive(Sequence)]
struct Content {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: SerialNumber,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

fn unsigned(
    subject: Subject,
    serial: Serial,
    validity: Validity,
    issuer: Issuer<'_>,
    extensions: Extensions,
) -> Result<Unsigned, IssueError> {
    let content = Content {
        version: Version::V3,
        serial: serial.to_x509()?,
        algorithm: algorithm(issuer.key.algorithm()),
        issuer: issuer.name,
        validity,
        subject: subject.name,
        key: der::Decode::from_der(subject.key.spki_der())?,
        extensions,
    };
    Ok(Unsigned(ToBeSigned::new(&content, issuer.key)?))
}

/// What every certificate of a profile has, whoever it is for.
fn extensions(profile: Profile, subject: &Subject, issuer: &PublicKey) -> der::Result<Extensions> {
    let key_id = |key: &PublicKey| OctetString::new(*key.id().as_bytes());
    let mut all = Vec::new();
    let usages = match profile {
        Profile::Root => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
        // Answers of the OCSP responder are signed by the issuing CA itself.
        Profile::Issuing(_) => KeyUsages::KeyCertSign | KeyUsages::CRLSign | KeyUsages::DigitalSignature,
        _ => KeyUsages::DigitalSignature.into(),
    };
    let path_len = match profile {
        Profile::Root => Some(None),
        Profile::Issuing(_) => Some(Some(0)),
        _ => None,
    };
    if let Some(path_len_constraint) = path_len {
        all.push(critical(&BasicConstraints { ca: true, path_len_constraint })?);
    }
    all.push(critical(&KeyUsage(usages))?);
    if !profile.purposes().is_empty() {
        all.push(plain(&ExtendedKeyUsage(profile.purposes().to_vec()))?);
    }
    all.push(plain(&SubjectKeyIdentifier(key_id(&subject.key)?))?);
    let authority_key =
        AuthorityKeyIdentifier { key_identifier: Some(key_id(issuer)?), ..Default::default() };
    all.push(plain(&authority_key)?);
    all.push(plain(&SubjectAltName(subject.names.clone()))?);
    Ok(all)
}

/// Where to find the issuer's certificate, its revocation list and its responder.
fn pointers(
    publication: &Publication,
    issuer: kos_base::KeyId,
    profile: Profile,
) -> der::Result<[Extension; 2]> {
    let point = DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![uri(&publication.crl_url(issuer))?])),
        reasons: None,
        crl_issuer: None,
    };
    let mut access = vec![AccessDescription {
        access_method: ID_AD_CA_ISSUERS,
        access_location: uri(&publication.ca_url(issuer))?,
    }];
    // The responder answers for the issuing CAs; the root may be offline.
    if let (Some(url), Some(_)) = (publication.ocsp_url(), profile.issuer()) {
        access.push(AccessDescription { access_method: ID_AD_OCSP, access_location: uri(&url)? });
    }
    Ok([plain(&CrlDistributionPoints(vec![point]))?, plain(&AuthorityInfoAccessSyntax(access))?])
}

#[derive(Sequence)]
struct PermanentIdentifier {
    value: String,
    assigner: ObjectIdentifier,
}

fn device_names(facts: &DeviceFacts, hardware_serial: Option<&str>) -> der::Result<GeneralNames> {
    let subject = &facts.subject;
    let identity =
        PeerIdentity::Device { authority: subject.authority.clone(), device: subject.device.clone() };
    let permanent = PermanentIdentifier { value: subject.device.to_string(), assigner: oid::DEVICE_IDS };
    let mut names = vec![
        uri(&identity.to_string())?,
        GeneralName::OtherName(OtherName {
            type_id: oid::PERMANENT_IDENTIFIER,
            value: Any::encode_from(&permanent)?,
        }),
    ];
    if let Some(serial) = hardware_serial {
        let module = HardwareModuleName {
            hw_type: oid::HARDWARE_SERIALS,
            hw_serial_num: OctetString::new(serial.as_bytes())?,
        };
        names.push(GeneralName::OtherName(OtherName::try_from(&module)?));
    }
    Ok(names)
}

/// The machine's own names always, then the advertised ones, each once.
fn authority_names(
    authority: AuthorityName,
    advertised: Vec<ServerName<'static>>,
) -> der::Result<GeneralNames> {
    let local = DnsName::try_from("localhost").ok().map(ServerName::DnsName);
    let loopback = [
        core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
        core::net::IpAddr::V6(core::net::Ipv6Addr::LOCALHOST),
    ];
    let mut all = vec![uri(&PeerIdentity::Authority { authority }.to_string())?];
    let names = local.into_iter().chain(loopback.map(|ip| ServerName::IpAddress(ip.into())));
    for name in names.chain(advertised) {
        let name = match name {
            ServerName::IpAddress(ip) => GeneralName::from(core::net::IpAddr::from(ip)),
            other => GeneralName::DnsName(Ia5String::new(other.to_str().as_ref())?),
        };
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

fn uri(text: &str) -> der::Result<GeneralName> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(text)?))
}

/// A distinguished name; none of the values that reach it holds a character with a meaning of its own.
fn name(parts: &[(&str, &str)]) -> der::Result<Name> {
    let text: Vec<_> = parts.iter().map(|(key, value)| format!("{key}={value}")).collect();
    text.join(",").parse()
}

fn critical<T: AssociatedOid + Encode>(content: &T) -> der::Result<Extension> {
    Ok(Extension { critical: true, ..plain(content)? })
}

pub(crate) fn plain<T: AssociatedOid + Encode>(content: &T) -> der::Result<Extension> {
    Ok(Extension { extn_id: T::OID, critical: false, extn_value: OctetString::new(content.to_der()?)? })
}

impl Unsigned {
    /// What the issuer's key signs; ECDSA answers with a DER signature.
    pub fn to_be_signed(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The key that must sign.
    pub fn signer(&self) -> &PublicKey {
        self.0.signer()
    }

    /// The certificate with its signature.
    ///
    /// # Errors
    /// When the signature does not verify under the issuer's key; the key store is faulty.
    pub fn finish(self, signature: &[u8]) -> Result<Certificate, SigningError> {
        let der = self.0.finish(signature)?;
        Certificate::parse(&der).map_err(|e| SigningError::Encoding(e.to_string()))
    }
}
