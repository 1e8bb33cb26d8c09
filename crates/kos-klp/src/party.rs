//! Who sends and receives: a device, an authority, everyone under it, an agent or a user.
//!
//! A party is one text, because it is compared for every message and read by people in logs. The four kinds cannot be
//! confused: only a device and everyone have a `/`, only a DID has a `:`.
//!
//! ```text
//! attic/kdev-7f4ac30123456789    a device        attic      the authority
//! attic/*                        everyone        did:..     an agent or user
//! ```
//!
//! A DID is checked for its form alone; whether its key is what it says is for whoever looks the key up.
//!
//! Source: `docs/spec/klp.md` KLP-10, KLP-11; DID Core 3.1, did:key, did:web.

use core::{fmt, str::FromStr};

use kos_base::{AuthorityName, DeviceId, text::printable};

use crate::address::is_dns_name;

/// Longest text of a party, in bytes; bounds what every message and every remembered sender costs.
pub const PARTY_BYTES_MAX: usize = 256;
/// Fewest and most base58 characters of a `did:key` after its `z`: an Ed25519 key has 47, a P-384 key about 70.
const DID_KEY_CHARS: core::ops::RangeInclusive<usize> = 40..=128;
/// Most path segments of a `did:web`.
const DID_WEB_SEGMENTS_MAX: usize = 8;

/// A party, borrowed from a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyRef<'a>(&'a str);

/// A party.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party(String);

/// Which kind of party it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartyKind<'a> {
    /// A device under an authority.
    Device {
        /// Name of the authority.
        authority: &'a str,
        /// The device id.
        device: &'a str,
    },
    /// An authority itself.
    Authority(&'a str),
    /// Every device under an authority; only as recipient.
    Everyone(&'a str),
    /// An agent or a user.
    Did(&'a str),
}

/// The text names no party.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a party (`authority/kdev-..`, `authority`, `authority/*` or a did:key or did:web)")]
pub struct ParsePartyError(String);

impl<'a> PartyRef<'a> {
    /// Reads a party without copying it.
    ///
    /// # Errors
    /// When the text names none.
    pub fn parse(text: &'a str) -> Result<Self, ParsePartyError> {
        let party = Self(text);
        let valid = text.len() <= PARTY_BYTES_MAX
            && match party.kind() {
                PartyKind::Device { authority, device } => {
                    is_authority(authority) && device.parse::<DeviceId>().is_ok()
                }
                PartyKind::Authority(authority) | PartyKind::Everyone(authority) => is_authority(authority),
                PartyKind::Did(did) => is_did(did),
            };
        if valid { Ok(party) } else { Err(ParsePartyError(printable(text, 80))) }
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Which kind of party it is.
    pub fn kind(self) -> PartyKind<'a> {
        if self.0.contains(':') {
            return PartyKind::Did(self.0);
        }
        match self.0.split_once('/') {
            None => PartyKind::Authority(self.0),
            Some((authority, "*")) => PartyKind::Everyone(authority),
            Some((authority, device)) => PartyKind::Device { authority, device },
        }
    }

    /// The authority that it is or belongs to; none for a DID.
    pub fn authority(self) -> Option<&'a str> {
        match self.kind() {
            PartyKind::Device { authority, .. }
            | PartyKind::Authority(authority)
            | PartyKind::Everyone(authority) => Some(authority),
            PartyKind::Did(_) => None,
        }
    }

    /// Whether it stands for everyone under an authority.
    pub fn is_everyone(self) -> bool {
        matches!(self.kind(), PartyKind::Everyone(_))
    }

    /// Whether a message to this party is meant for `receiver`: the same party, or everyone under its authority.
    pub fn includes(self, receiver: PartyRef<'_>) -> bool {
        match self.kind() {
            PartyKind::Everyone(authority) => receiver.authority() == Some(authority),
            _ => self.0 == receiver.0,
        }
    }

    /// The same, owned.
    pub fn to_owned(self) -> Party {
        Party(self.0.to_owned())
    }
}

fn is_authority(text: &str) -> bool {
    text.parse::<AuthorityName>().is_ok()
}

fn is_did(text: &str) -> bool {
    if let Some(key) = text.strip_prefix("did:key:z") {
        let base58 = |b: u8| b.is_ascii_alphanumeric() && !matches!(b, b'0' | b'O' | b'I' | b'l');
        return DID_KEY_CHARS.contains(&key.len()) && key.bytes().all(base58);
    }
    let Some(place) = text.strip_prefix("did:web:") else { return false };
    let mut segments = place.split(':');
    let host = segments.next().unwrap_or_default();
    let host_ok = match host.split_once("%3A") {
        Some((name, port)) => is_dns_name(name) && port.parse::<u16>().is_ok_and(|p| p.to_string() == port),
        None => is_dns_name(host),
    };
    let segment_ok =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    host_ok && segments.clone().count() <= DID_WEB_SEGMENTS_MAX && segments.all(segment_ok)
}

impl Party {
    /// A device under an authority.
    pub fn device(authority: &AuthorityName, device: &DeviceId) -> Self {
        Self(format!("{authority}/{device}"))
    }

    /// An authority itself.
    pub fn authority(authority: &AuthorityName) -> Self {
        Self(authority.to_string())
    }

    /// Everyone under an authority.
    pub fn everyone(authority: &AuthorityName) -> Self {
        Self(format!("{authority}/*"))
    }

    /// The same, borrowed.
    pub fn as_party(&self) -> PartyRef<'_> {
        PartyRef(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Party {
    type Err = ParsePartyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        PartyRef::parse(s).map(PartyRef::to_owned)
    }
}

impl fmt::Display for PartyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for PartyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// CBOR: text.
impl<C> minicbor::Encode<C> for PartyRef<'_> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for PartyRef<'b> {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::parse(d.str()?).map_err(minicbor::decode::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_parties_are_told_apart() {
        for (text, kind) in [
            (
                "attic/kdev-7f4ac30123456789",
                PartyKind::Device { authority: "attic", device: "kdev-7f4ac30123456789" },
            ),
            ("fleet.example", PartyKind::Authority("fleet.example")),
            ("attic/*", PartyKind::Everyone("attic")),
            (
                "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
                PartyKind::Did("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"),
            ),
            (
                "did:web:example.com%3A8443:user:alice",
                PartyKind::Did("did:web:example.com%3A8443:user:alice"),
            ),
        ] {
            let party = PartyRef::parse(text).unwrap();
            assert_eq!(party.kind(), kind);
            assert_eq!(text.parse::<Party>().unwrap().as_party(), party);
        }
    }

    #[test]
    fn what_names_no_party_is_refused() {
        for bad in [
            "",
            "/",
            "attic/",
            "attic/kdev-7f4ac3",
            "attic/kdev-7f4ac30123456789/x",
            "Attic",
            "attic/**",
            "*/*",
            "did:key:z6Mk",
            "did:key:zO0Il6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta",
            "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK#x",
            "did:web:Example.com",
            "did:web:example.com%3A08443",
            "did:web:example.com::x",
            "did:web:example.com:a/b",
            "did:other:abc",
            &format!("did:web:{}.example", "a".repeat(260)),
        ] {
            assert!(PartyRef::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn everyone_includes_those_of_that_authority_alone() {
        let everyone = PartyRef::parse("attic/*").unwrap();
        for (receiver, included) in [
            ("attic", true),
            ("attic/kdev-7f4ac30123456789", true),
            ("attic2/kdev-7f4ac30123456789", false),
            ("did:web:attic", false),
        ] {
            assert_eq!(everyone.includes(PartyRef::parse(receiver).unwrap()), included, "{receiver}");
        }
    }
}
