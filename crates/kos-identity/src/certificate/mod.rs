//! X.509 certificates of kOS: what they say, how they are built, how they are read.
//!
//! [`Certificate`] is a certificate that was read: its form is right and nobody has checked who signed it; that is
//! [`crate::chain`]. Building is in [`issue`] and happens in two steps, because no private key is here.
//!
//! Shape: DER of X.509 v3, at most [`Certificate::BYTES_MAX`] bytes. Times in whole seconds. A key's id is the SHA-256
//! of its SubjectPublicKeyInfo, and stands as subject and authority key identifier.
//!
//! Invariants: only keys that kOS uses; no extension twice; no critical extension that is not understood.
//!
//! Errors: [`CertificateError`]; get the certificate again from where it was made.
//!
//! Source: RFC 5280; `docs/spec/identity.md` ID-17 to ID-26, ID-54; fuzz target `certificate`.

mod extension;
mod issue;
pub mod oid;
mod profile;
mod publication;
mod serial;
pub(crate) mod signed;
mod spiffe;

pub use extension::{DeviceFacts, ExtensionError, capabilities_hash};
pub(crate) use issue::plain;
pub use issue::{
    AuthorityGrant, DeviceGrant, IssueError, IssuerContext, OperatorGrant, Warrant, identity_certificate,
    issue, issuing_ca, root,
};
pub use profile::{BACK_DATING, IssuerClass, Profile};
pub use publication::{ParsePublicUrlError, PublicUrl, Publication};
pub use serial::{ParseSerialError, Serial};
pub use signed::SigningError;
pub use spiffe::{OperatorName, ParsePeerError, PeerIdentity};

use const_oid::{AssociatedOid as _, ObjectIdentifier};
use der::{DateTime, Decode as _, Encode as _};
use kos_base::{
    AuthorityName, Code, KeyId, PublicKey, Timestamp, code,
    digest::{Sha256, sha256},
    key::{BadSignature, PublicKeyError},
};
use x509_cert::{
    ext::pkix::{
        AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints,
        ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier, name::GeneralName,
    },
    name::Name,
    time::Time,
};

use signed::{Signed, ToBeSigned};

/// A certificate before its signature.
#[derive(Clone, Debug)]
pub struct Unsigned(ToBeSigned);

/// A certificate that was read. Its form is right; who signed it is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    serial: Serial,
    public_key: PublicKey,
    not_before: Timestamp,
    not_after: Timestamp,
    subject: Name,
    issuer: Name,
    issuer_key_id: Option<KeyId>,
    basic: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    purposes: Vec<ObjectIdentifier>,
    uris: Vec<String>,
    facts: Option<DeviceFacts>,
}

/// The bytes are not a certificate that kOS can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Longer than [`Certificate::BYTES_MAX`].
    #[error("certificate of {0} bytes, at most {max} are allowed", max = Certificate::BYTES_MAX)]
    TooLong(usize),
    /// Not DER of X.509 v3.
    #[error("not a certificate: {0}")]
    Der(#[from] der::Error),
    /// DER of X.509 v3 with a part that kOS does not accept.
    #[error("certificate with {0}")]
    Part(&'static str),
    /// A key that kOS does not use.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// The kOS extension cannot be read.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
}

impl CertificateError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        code::certificate::CERT_MALFORMED
    }
}

impl Certificate {
    /// Longest certificate in bytes, five times what a device's has; bounds what a handshake makes us read.
    pub const BYTES_MAX: usize = 4096;

    const ROOT_NAME: &'static str = "kOS Root CA";
    const ISSUING_NAME: &'static str = "kOS Intermediate CA ";

    /// Reads a certificate.
    ///
    /// # Errors
    /// When it is too long, not DER of X.509 v3, has an unknown critical extension, an extension twice, or a key or
    /// serial number that kOS does not use.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > Self::BYTES_MAX {
            return Err(CertificateError::TooLong(der.len()));
        }
        let read = x509_cert::Certificate::from_der(der)?;
        let content = read.tbs_certificate();
        if content.version() != x509_cert::Version::V3 {
            return Err(CertificateError::Part("a version other than 3"));
        }
        if content.issuer_unique_id().is_some() || content.subject_unique_id().is_some() {
            return Err(CertificateError::Part("unique identifiers"));
        }
        if content.signature() != read.signature_algorithm() {
            return Err(CertificateError::Part("two signature algorithms"));
        }
        let mut certificate = Self {
            der: der.to_vec(),
            serial: Serial::from_der_content(content.serial_number().as_bytes())
                .ok_or(CertificateError::Part("a serial number that is not of 1 to 128 bits"))?,
            public_key: PublicKey::from_spki_der(&content.subject_public_key_info().to_der()?)?,
            not_before: timestamp(content.validity().not_before),
            not_after: timestamp(content.validity().not_after),
            subject: content.subject().clone(),
            issuer: content.issuer().clone(),
            issuer_key_id: None,
            basic: None,
            key_usage: None,
            purposes: Vec::new(),
            uris: Vec::new(),
            facts: None,
        };
        let extensions = content.extensions().map(Vec::as_slice).unwrap_or_default();
        for (at, extension) in extensions.iter().enumerate() {
            if extensions.iter().take(at).any(|earlier| earlier.extn_id == extension.extn_id) {
                return Err(CertificateError::Part("an extension twice"));
            }
            let known = certificate.remember(extension.extn_id, extension.extn_value.as_bytes())?;
            if extension.critical && !known {
                return Err(CertificateError::Part("an unknown critical extension"));
            }
        }
        Ok(certificate)
    }

    /// Takes over what an extension says; false if it is not one that is understood.
    fn remember(&mut self, id: ObjectIdentifier, value: &[u8]) -> Result<bool, CertificateError> {
        match id {
            BasicConstraints::OID => self.basic = Some(BasicConstraints::from_der(value)?),
            KeyUsage::OID => self.key_usage = Some(KeyUsage::from_der(value)?),
            ExtendedKeyUsage::OID => self.purposes = ExtendedKeyUsage::from_der(value)?.0,
            AuthorityKeyIdentifier::OID => {
                let key = AuthorityKeyIdentifier::from_der(value)?.key_identifier;
                let key = key.and_then(|key| <[u8; 32]>::try_from(key.as_bytes()).ok());
                self.issuer_key_id = key.map(KeyId::from_bytes);
            }
            SubjectAltName::OID => {
                let names = SubjectAltName::from_der(value)?.0;
                self.uris = names
                    .into_iter()
                    .filter_map(|name| match name {
                        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
                        _ => None,
                    })
                    .collect();
            }
            oid::IDENTITY_EXTENSION => self.facts = Some(DeviceFacts::from_der(value)?),
            other => {
                return Ok(matches!(
                    other,
                    SubjectKeyIdentifier::OID | CrlDistributionPoints::OID | AuthorityInfoAccessSyntax::OID
                ));
            }
        }
        Ok(true)
    }

    /// Checks the signature under `issuer`. One link of a chain; whole chains are [`crate::chain`].
    ///
    /// # Errors
    /// When it does not verify, or its algorithm is not that of the key.
    pub fn verify_signature(&self, issuer: &PublicKey) -> Result<(), BadSignature> {
        Signed::read(&self.der).map_err(|_| BadSignature)?.verify(issuer)
    }

    /// The DER, as received or built.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The PEM form.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// SHA-256 of the DER, which names this very certificate.
    pub fn sha256(&self) -> Sha256 {
        sha256(&self.der)
    }

    /// Its number under its issuer.
    pub const fn serial(&self) -> Serial {
        self.serial
    }

    /// The certified key.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Id of the certified key.
    pub fn key_id(&self) -> KeyId {
        self.public_key.id()
    }

    /// Start of validity.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// End of validity.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Distinguished name of the subject as RFC 4514 writes it. From a stranger it is a stranger's text.
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }

    /// Distinguished name of the issuer as RFC 4514 writes it. From a stranger it is a stranger's text.
    pub fn issuer(&self) -> String {
        self.issuer.to_string()
    }

    pub(crate) const fn subject_name(&self) -> &Name {
        &self.subject
    }

    /// Id of the issuer's key, as the certificate itself says.
    pub const fn issuer_key_id(&self) -> Option<KeyId> {
        self.issuer_key_id
    }

    /// The kOS extension; only devices have it.
    pub const fn facts(&self) -> Option<&DeviceFacts> {
        self.facts.as_ref()
    }

    /// The URIs of the subject alternative name.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The authority that it belongs to, by its one SPIFFE id.
    pub fn authority(&self) -> Option<AuthorityName> {
        match self.uris.as_slice() {
            [uri] if self.is_ca() => spiffe::parse_trust_domain_uri(uri),
            [uri] => uri.parse::<PeerIdentity>().ok().map(|peer| peer.authority().clone()),
            _ => None,
        }
    }

    /// Whether it may sign certificates.
    pub fn is_ca(&self) -> bool {
        self.basic.as_ref().is_some_and(|basic| basic.ca)
            && self.key_usage.is_some_and(|usage| usage.key_cert_sign() && usage.crl_sign())
    }

    /// Whether it is a root of kOS: a CA whose issuer is itself.
    pub fn is_root(&self) -> bool {
        self.is_ca() && self.subject == self.issuer && self.issuer_key_id.is_none_or(|id| id == self.key_id())
    }

    /// Which issuing CA it is, if one.
    pub fn issuer_class(&self) -> Option<IssuerClass> {
        if !self.is_ca() || self.is_root() {
            return None;
        }
        let common_name = self.subject.common_name().ok()??;
        let number = common_name.value().strip_prefix(Self::ISSUING_NAME)?.split(' ').next()?.to_owned();
        IssuerClass::ALL.into_iter().find(|class| class.number().to_string() == number)
    }

    pub(crate) fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    pub(crate) fn purposes(&self) -> &[ObjectIdentifier] {
        &self.purposes
    }
}

/// The key in a certificate of any make, for a peer that is judged by its key alone: a device at enrolment, which shows
/// a certificate that it or its maker signed.
///
/// # Errors
/// When the bytes are not a certificate, or the key is not one that kOS uses.
pub fn presented_key(der: &[u8]) -> Result<PublicKey, CertificateError> {
    if der.len() > Certificate::BYTES_MAX {
        return Err(CertificateError::TooLong(der.len()));
    }
    let read = x509_cert::Certificate::from_der(der)?;
    Ok(PublicKey::from_spki_der(&read.tbs_certificate().subject_public_key_info().to_der()?)?)
}

/// How X.509 writes a moment, to the second.
pub(crate) fn moment(at: Timestamp) -> der::Result<Time> {
    DateTime::from_unix_duration(core::time::Duration::from_secs(at.unix_s())).map(Time::from)
}

pub(crate) fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_unix_s(time.to_unix_duration().as_secs())
}

/// PEM with lines of 64 characters that end in LF.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    der::pem::encode_string(label, der::pem::LineEnding::LF, der).unwrap_or_default()
}

#[cfg(test)]
mod tests;
