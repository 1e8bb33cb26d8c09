//! SPIFFE ids: who a certificate speaks for, as the one URI of its subject alternative name.
//!
//! `spiffe://<authority>/device/<device id>`, `/operator/<name>`, `/authority`; a CA carries the bare trust domain
//! `spiffe://<authority>`. Compared as values after strict parsing, so there is exactly one way to write each.
//!
//! Source: SPIFFE-ID 2.1 to 2.4, X509-SVID 2 and 3; `docs/spec/identity.md` ID-20.

use core::{fmt, str::FromStr};

use kos_base::{AuthorityName, DeviceId, text::printable};

/// Name of an operator: 1 to 48 of `[a-z0-9._-]`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorName(String);

/// Whom a certificate of an authority names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerIdentity {
    /// A device.
    Device {
        /// Who vouches for it.
        authority: AuthorityName,
        /// Which one.
        device: DeviceId,
    },
    /// A person or program that operates the authority.
    Operator {
        /// Whose operator.
        authority: AuthorityName,
        /// Which one.
        name: OperatorName,
    },
    /// The authority itself, as a server and a peer.
    Authority {
        /// Its name.
        authority: AuthorityName,
    },
}

/// The text is not a SPIFFE id of kOS, or not the name of an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePeerError {
    /// Not one of the URIs of this module.
    #[error("`{0}` is not a SPIFFE id of a device, an operator or an authority")]
    Uri(String),
    /// Not the name of an operator.
    #[error("`{0}` is not an operator's name (1 to 48 of a-z, 0-9, `.`, `_` and `-`)")]
    Operator(String),
}

const SCHEME: &str = "spiffe://";

impl PeerIdentity {
    /// The trust domain.
    pub const fn authority(&self) -> &AuthorityName {
        match self {
            Self::Device { authority, .. }
            | Self::Operator { authority, .. }
            | Self::Authority { authority } => authority,
        }
    }
}

/// The URI of a CA: its trust domain, without a path.
pub(crate) fn trust_domain_uri(authority: &AuthorityName) -> String {
    format!("{SCHEME}{authority}")
}

pub(crate) fn parse_trust_domain_uri(uri: &str) -> Option<AuthorityName> {
    uri.strip_prefix(SCHEME)?.parse().ok()
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { authority, device } => write!(f, "{SCHEME}{authority}/device/{device}"),
            Self::Operator { authority, name } => write!(f, "{SCHEME}{authority}/operator/{name}"),
            Self::Authority { authority } => write!(f, "{SCHEME}{authority}/authority"),
        }
    }
}

impl FromStr for PeerIdentity {
    type Err = ParsePeerError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParsePeerError::Uri(printable(s, 120));
        let (authority, path) = s.strip_prefix(SCHEME).and_then(|s| s.split_once('/')).ok_or_else(bad)?;
        let authority = authority.parse().map_err(|_| bad())?;
        match path.split_once('/') {
            None if path == "authority" => Ok(Self::Authority { authority }),
            Some(("device", id)) => Ok(Self::Device { authority, device: id.parse().map_err(|_| bad())? }),
            Some(("operator", name)) => Ok(Self::Operator { authority, name: name.parse()? }),
            _ => Err(bad()),
        }
    }
}

impl AsRef<str> for OperatorName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for OperatorName {
    type Err = ParsePeerError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let chars = s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        let first = s.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if chars && first && s.len() <= 48 {
            return Ok(Self(s.to_owned()));
        }
        Err(ParsePeerError::Operator(printable(s, 80)))
    }
}

impl serde::Serialize for OperatorName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for OperatorName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_only_in_the_one_form_in_which_it_is_written() {
        for good in [
            "spiffe://attic/device/kdev-7f4ac30123456789",
            "spiffe://a.b-c/operator/anna.b",
            "spiffe://attic/authority",
        ] {
            assert_eq!(good.parse::<PeerIdentity>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "spiffe://attic",
            "spiffe://attic/",
            "SPIFFE://attic/authority",
            "spiffe://Attic/authority",
            "spiffe://attic/authority/",
            "spiffe://attic/device/kdev-7f4ac3",
            "spiffe://attic/device/kdev-7f4ac30123456789/x",
            "spiffe://attic/device/kdev-7f4ac30123456789?x",
            "spiffe://attic/operator/..",
            "spiffe://attic/operator/",
            "spiffe://attic/operator/a b",
            "https://attic/authority",
        ] {
            assert!(bad.parse::<PeerIdentity>().is_err(), "{bad}");
        }
    }
}
