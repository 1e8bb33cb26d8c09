//! The host of an address: a kDNS name or a node id.

use core::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use kos_base::{AuthorityName, DeviceId, digest::sha256_parts};

use super::AddressError;

/// Longest kDNS name, in characters (RFC 1035, without the trailing dot).
const NAME_CHARS_MAX: usize = 253;
/// Longest label of a kDNS name, in characters.
const LABEL_CHARS_MAX: usize = 63;

const NODE_PREFIX: &str = "node~";

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A kDNS name of lower-case A-labels.
    Name(String),
    /// One node, wherever it is.
    Node(NodeId),
}

/// 32 bytes that name a node for ever (KLP-9): a hash over its authority's name and its device id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    const DOMAIN: &'static str = "kos node id v1";

    /// The id of a device under an authority.
    pub fn of(authority: &AuthorityName, device: &DeviceId) -> Self {
        let parts = [authority.as_ref().as_bytes(), device.as_ref().as_bytes()];
        Self(sha256_parts(Self::DOMAIN, parts))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = AddressError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes = BASE32_NOPAD.decode(s.to_ascii_uppercase().as_bytes()).map_err(|_| AddressError::Host)?;
        bytes.try_into().map(Self).map_err(|_| AddressError::Host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Node(id) => write!(f, "{NODE_PREFIX}{id}"),
        }
    }
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let text = s.to_ascii_lowercase();
        if let Some(id) = text.strip_prefix(NODE_PREFIX) {
            return id.parse().map(Self::Node);
        }
        if is_dns_name(&text) { Ok(Self::Name(text)) } else { Err(AddressError::Host) }
    }
}

/// Whether `name` is a kDNS name in its normal form (KLP-3).
pub(crate) fn is_dns_name(name: &str) -> bool {
    let label_ok = |label: &str| {
        let bytes = label.as_bytes();
        let edge_ok = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
        let reserved = bytes.get(2..4) == Some(b"--") && !label.starts_with("xn--");
        (1..=LABEL_CHARS_MAX).contains(&bytes.len())
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && edge_ok(bytes.first())
            && edge_ok(bytes.last())
            && !reserved
    };
    let last_is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= NAME_CHARS_MAX && !last_is_number && name.split('.').all(label_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_depends_on_authority_and_device() {
        let id =
            |authority: &str, device: &str| NodeId::of(&authority.parse().unwrap(), &device.parse().unwrap());
        let a = id("attic", "kdev-7f4ac30123456789");
        assert_eq!(a.to_string(), "vzym6jge2zbzygdoxsxzka2bg3zjdaufbgkb2ug5n3a6pksfeogq");
        assert_eq!(a.to_string().parse(), Ok(a));
        assert_ne!(a, id("attic2", "kdev-7f4ac30123456789"));
        assert_ne!(a, id("attic", "kdev-7f4ac30123456780"));
    }

    #[test]
    fn a_node_id_has_one_spelling() {
        // 52 characters hold 260 bits: the last four must be zero.
        assert!("a".repeat(52).parse::<NodeId>().is_ok());
        assert!(format!("{}b", "a".repeat(51)).parse::<NodeId>().is_err());
        assert!("a".repeat(51).parse::<NodeId>().is_err());
    }
}
