//! The kOS extension of device certificates: what the authority says about the device, beside its name.
//!
//! Not critical, so that any TLS stack accepts the certificate; demanded by our own verifier. Not here: the SPIFFE id,
//! which stands in the subject alternative name and must agree with `subject`.
//!
//! ```text
//! KosIdentity ::= SEQUENCE {
//!   version       INTEGER (1),
//!   subject       UTF8String,               -- k:<authority>/<device id>/<n>
//!   role          UTF8String,
//!   profile       UTF8String,               -- SEC-0 to SEC-4
//!   evidence      UTF8String,
//!   capabilities  OCTET STRING (SIZE (32)),
//!   group     [0] UTF8String OPTIONAL }
//! ```
//!
//! Errors: [`ExtensionError`]; the certificate is not one of a kOS device.
//!
//! Source: `docs/spec/identity.md` ID-22, ID-23; vectors `tests/vectors/identity/extension`; fuzz target `certificate`.

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::{Decode, Encode, Sequence, asn1::OctetString};
use kos_base::{
    Capability, EvidenceTier, GroupPath, KidSubject, Role, SecurityProfile,
    digest::{Sha256, sha256_parts},
};

use super::oid;

/// What a device certificate says about its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Authority, device, and the number of this certificate.
    pub subject: KidSubject,
    /// What it is for.
    pub role: Role,
    /// What it must keep to.
    pub profile: SecurityProfile,
    /// What it had proven when the certificate was issued.
    pub evidence: EvidenceTier,
    /// Where it stands in the fleet.
    pub group: Option<GroupPath>,
    /// [`capabilities_hash`] of what it offers.
    pub capabilities: Sha256,
}

/// The extension cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// Not the DER of the structure.
    #[error("the kOS extension is not DER of its structure")]
    Der,
    /// Of a version that this program does not know.
    #[error("the kOS extension has version {0}, known is {VERSION}")]
    Version(u8),
    /// A part that is well formed and means nothing.
    #[error("the kOS extension names no {0} that exists")]
    Part(&'static str),
}

const VERSION: u8 = 1;

/// Hash over the capabilities of a device; order and repetition do not matter.
pub fn capabilities_hash<'a>(capabilities: impl IntoIterator<Item = &'a Capability>) -> Sha256 {
    let mut all: Vec<&str> = capabilities.into_iter().map(AsRef::as_ref).collect();
    all.sort_unstable();
    all.dedup();
    sha256_parts("kos capabilities v1", all.into_iter().map(str::as_bytes))
}

#[derive(Sequence)]
struct Written {
    version: u8,
    subject: String,
    role: String,
    profile: String,
    evidence: String,
    capabilities: OctetString,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    group: Option<String>,
}

impl AssociatedOid for Written {
    const OID: ObjectIdentifier = oid::IDENTITY_EXTENSION;
}

impl DeviceFacts {
    /// The DER that goes into the extension.
    pub fn to_der(&self) -> der::Result<Vec<u8>> {
        Written {
            version: VERSION,
            subject: self.subject.to_string(),
            role: self.role.to_string(),
            profile: self.profile.to_string(),
            evidence: self.evidence.to_string(),
            capabilities: OctetString::new(self.capabilities)?,
            group: self.group.as_ref().map(ToString::to_string),
        }
        .to_der()
    }

    /// Reads the DER of the extension.
    ///
    /// # Errors
    /// When it is malformed, of another version, or names a role, profile, tier or group that does not exist.
    pub fn from_der(bytes: &[u8]) -> Result<Self, ExtensionError> {
        let written = Written::from_der(bytes).map_err(|_| ExtensionError::Der)?;
        if written.version != VERSION {
            return Err(ExtensionError::Version(written.version));
        }
        Ok(Self {
            subject: written.subject.parse().map_err(|_| ExtensionError::Part("kID subject"))?,
            role: written.role.parse().map_err(|_| ExtensionError::Part("role"))?,
            profile: written.profile.parse().map_err(|_| ExtensionError::Part("security profile"))?,
            evidence: written.evidence.parse().map_err(|_| ExtensionError::Part("evidence tier"))?,
            group: written
                .group
                .map(|group| group.parse())
                .transpose()
                .map_err(|_| ExtensionError::Part("group"))?,
            capabilities: written
                .capabilities
                .as_bytes()
                .try_into()
                .map_err(|_| ExtensionError::Part("capabilities hash"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> DeviceFacts {
        DeviceFacts {
            subject: "k:attic/kdev-7f4ac30123456789/001".parse().unwrap(),
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            evidence: EvidenceTier::KeyOnDevice,
            group: Some("berlin/line-2".parse().unwrap()),
            capabilities: capabilities_hash(&["telemetry".parse().unwrap()]),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        for facts in [facts(), DeviceFacts { group: None, ..facts() }] {
            assert_eq!(DeviceFacts::from_der(&facts.to_der().unwrap()), Ok(facts));
        }
    }

    #[test]
    fn a_truncated_or_longer_extension_is_refused() {
        let der = facts().to_der().unwrap();
        for len in 0..der.len() {
            assert_eq!(DeviceFacts::from_der(&der[..len]), Err(ExtensionError::Der), "{len}");
        }
        let mut long = der;
        long.push(0);
        assert_eq!(DeviceFacts::from_der(&long), Err(ExtensionError::Der));
    }

    #[test]
    fn another_version_and_unknown_words_are_named() {
        let der = facts().to_der().unwrap();
        let mut newer = der.clone();
        let at = newer.windows(3).position(|w| w == [2, 1, 1]).unwrap();
        newer[at + 2] = 2;
        assert_eq!(DeviceFacts::from_der(&newer), Err(ExtensionError::Version(2)));
        for (word, part) in [("sensor", "role"), ("SEC-2", "security profile"), ("berlin", "group")] {
            let mut other = der.clone();
            let at = other.windows(word.len()).position(|w| w == word.as_bytes()).unwrap();
            other[at] = b'%';
            assert_eq!(DeviceFacts::from_der(&other), Err(ExtensionError::Part(part)));
        }
    }

    #[test]
    fn order_and_repetition_of_capabilities_do_not_matter() {
        let [a, b]: [Capability; 2] = ["a".parse().unwrap(), "b".parse().unwrap()];
        assert_eq!(capabilities_hash([&a, &b]), capabilities_hash([&b, &a, &b]));
        assert_ne!(capabilities_hash([&a]), capabilities_hash([&a, &b]));
    }
}
