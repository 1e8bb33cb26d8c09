//! Identifiers of devices, authorities, certificates' holders and log entries.
//!
//! Source: `docs/spec/identity.md`, ID-1 to ID-9.

use core::{fmt, str::FromStr};

use data_encoding::BASE32HEX_NOPAD;
use uuid::Uuid;

use crate::{
    KeyId, Mac,
    digest::{Sha256, sha256_parts},
    text::printable,
};

/// The text is not an identifier of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct ParseIdError {
    text: String,
    wanted: &'static str,
}

impl ParseIdError {
    pub(crate) fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: printable(text, 80), wanted }
    }
}

/// Implements the text forms (`Display`, `Serialize`, `Deserialize`, CBOR text) of a type that has `FromStr` and
/// `AsRef<str>`.
macro_rules! text_forms {
    ($type:ty) => {
        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.as_ref())
            }
        }
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_ref())
            }
        }
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                <::std::string::String as ::serde::Deserialize>::deserialize(d)?
                    .parse()
                    .map_err(::serde::de::Error::custom)
            }
        }
        impl<C> ::minicbor::Encode<C> for $type {
            fn encode<W: ::minicbor::encode::Write>(
                &self,
                e: &mut ::minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), ::minicbor::encode::Error<W::Error>> {
                e.str(self.as_ref())?.ok()
            }
        }
        impl<'b, C> ::minicbor::Decode<'b, C> for $type {
            fn decode(d: &mut ::minicbor::Decoder<'b>, _: &mut C) -> Result<Self, ::minicbor::decode::Error> {
                d.str()?.parse().map_err(::minicbor::decode::Error::custom)
            }
        }
    };
}
pub(crate) use text_forms;

/// `kdev-` and 16 lower-case base32hex characters: 80 bits of a hash over what the device is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

/// What a device id is computed from (ID-2). Kept with the device, so that anyone can compute the id again.
#[derive(Clone, Copy, Debug)]
pub struct DeviceIdInputs<'a> {
    /// Minted by the authority at first contact, so that nobody can grind ids.
    pub uuid: Uuid,
    /// Universally administered hardware addresses; order does not matter.
    pub macs: &'a [Mac],
    /// Serials of chip and secure element; order does not matter.
    pub serials: &'a [String],
    /// Key id of the identity key.
    pub identity_key: KeyId,
}

impl DeviceId {
    const PREFIX: &'static str = "kdev-";
    const CHARS: usize = 16;
    const DOMAIN: &'static str = "kos device id v1";

    /// The id of the device with these inputs.
    pub fn derive(inputs: &DeviceIdInputs<'_>) -> Self {
        let mut macs: Vec<_> = inputs.macs.iter().filter(|m| m.is_universal()).collect();
        macs.sort_unstable();
        macs.dedup();
        let mut serials: Vec<_> = inputs.serials.iter().collect();
        serials.sort_unstable();
        serials.dedup();
        let counts = [macs.len(), serials.len()].map(|n| u64::try_from(n).unwrap_or(u64::MAX).to_be_bytes());
        let [mac_count, serial_count] = &counts;
        let parts = core::iter::once(inputs.uuid.as_bytes().as_slice())
            .chain(core::iter::once(mac_count.as_slice()))
            .chain(macs.iter().map(|m| m.as_bytes().as_slice()))
            .chain(core::iter::once(serial_count.as_slice()))
            .chain(serials.iter().map(|s| s.as_bytes()))
            .chain(core::iter::once(inputs.identity_key.as_bytes().as_slice()));
        let text = BASE32HEX_NOPAD.encode(&sha256_parts(Self::DOMAIN, parts)).to_ascii_lowercase();
        Self(format!("{}{}", Self::PREFIX, text.get(..Self::CHARS).unwrap_or(&text)))
    }

    /// The first characters, for lists that people read. Not unique: never a key.
    pub fn short(&self) -> &str {
        self.0.get(..Self::PREFIX.len() + 6).unwrap_or(&self.0)
    }

    /// Whether `typed`, with or without `kdev-`, is a prefix of at least 4 characters of this id.
    pub fn has_prefix(&self, typed: &str) -> bool {
        let typed = typed.to_ascii_lowercase();
        let typed = typed.strip_prefix(Self::PREFIX).unwrap_or(&typed);
        typed.len() >= 4 && self.0.get(Self::PREFIX.len()..).is_some_and(|own| own.starts_with(typed))
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = ParseIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let rest = s.strip_prefix(Self::PREFIX).filter(|rest| {
            rest.len() == Self::CHARS && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'))
        });
        match rest {
            Some(_) => Ok(Self(s.to_owned())),
            None => Err(ParseIdError::new(s, "a device id (`kdev-` and 16 characters of 0-9 and a-v)")),
        }
    }
}
text_forms!(DeviceId);

/// Name of an authority and SPIFFE trust domain: 1 to 63 of `[a-z0-9.-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityName(String);

impl AuthorityName {
    /// Most characters of a name.
    pub const CHARS_MAX: usize = 63;
}

impl AsRef<str> for AuthorityName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for AuthorityName {
    type Err = ParseIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let chars = s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let ends = ends(s.bytes().next()) && ends(s.bytes().last());
        if s.len() <= Self::CHARS_MAX && chars && ends && !s.contains("..") {
            return Ok(Self(s.to_owned()));
        }
        Err(ParseIdError::new(s, "an authority name (1 to 63 of a-z, 0-9, `.` and `-`)"))
    }
}
text_forms!(AuthorityName);

/// `k:<authority>/<device_id>/<n>`: whom a kID speaks of. `n` counts the device's certificates from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KidSubject {
    /// Who issued it.
    pub authority: AuthorityName,
    /// Whose it is.
    pub device: DeviceId,
    /// Which certificate of the device; written with at least three digits.
    pub issue: u32,
}

impl fmt::Display for KidSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k:{}/{}/{:03}", self.authority, self.device, self.issue)
    }
}

impl FromStr for KidSubject {
    type Err = ParseIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseIdError::new(s, "a kID subject (`k:authority/device/001`)");
        let mut parts = s.strip_prefix("k:").ok_or_else(bad)?.split('/');
        let (Some(authority), Some(device), Some(issue), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let parsed = Self {
            authority: authority.parse().map_err(|_| bad())?,
            device: device.parse().map_err(|_| bad())?,
            issue: issue.parse().map_err(|_| bad())?,
        };
        if parsed.to_string() == s { Ok(parsed) } else { Err(bad()) }
    }
}

impl serde::Serialize for KidSubject {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for KidSubject {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// UUIDv7 of a log entry, a ticket or a request: sorts by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Uuid);

impl EntryId {
    /// A UUIDv7 (RFC 9562) from a time and ten random bytes that the shell drew.
    pub fn from_parts(now: crate::Timestamp, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.unix_ms(), &random).into_uuid())
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// Takes any UUID over, as read from a store.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl FromStr for EntryId {
    type Err = ParseIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(s)
            .ok()
            .map(Self)
            .filter(|id| id.to_string() == s)
            .ok_or_else(|| ParseIdError::new(s, "a UUID"))
    }
}

impl serde::Serialize for EntryId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EntryId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// CBOR: a byte string of 16.
impl<C> minicbor::Encode<C> for EntryId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for EntryId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        Uuid::from_slice(bytes).map(Self).map_err(|_| minicbor::decode::Error::message("an id has 16 bytes"))
    }
}

/// Hex of a digest, as every output of kOS writes it.
pub fn hex(digest: &Sha256) -> String {
    data_encoding::HEXLOWER.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(macs: &[Mac], serials: &[String]) -> DeviceId {
        DeviceId::derive(&DeviceIdInputs {
            uuid: Uuid::from_bytes([7; 16]),
            macs,
            serials,
            identity_key: KeyId::from_bytes([9; 32]),
        })
    }

    #[test]
    fn order_repetition_and_local_addresses_do_not_change_a_device_id() {
        let mac = |s: &str| s.parse::<Mac>().unwrap();
        let a = inputs(&[mac("00:11:22:33:44:55"), mac("00:11:22:33:44:56")], &["b".into(), "a".into()]);
        let b = inputs(
            &[mac("00:11:22:33:44:56"), mac("02:00:00:00:00:01"), mac("00:11:22:33:44:55")],
            &["a".into(), "b".into(), "a".into()],
        );
        assert_eq!(a, b);
        assert_eq!(a.to_string().len(), 21);
        assert_eq!(a.to_string().parse(), Ok(a.clone()));
        assert_ne!(a, inputs(&[], &[]));
    }

    #[test]
    fn a_serial_cannot_pass_for_an_address() {
        assert_ne!(inputs(&[], &["ab".into()]), inputs(&[], &["a".into(), "b".into()]));
    }

    #[test]
    fn a_prefix_of_four_is_enough_for_people() {
        let id: DeviceId = "kdev-7f4ac30123456789".parse().unwrap();
        for (typed, yes) in
            [("kdev-7f4a", true), ("7F4AC3", true), ("7f4", false), ("kdev-", false), ("7f4b", false)]
        {
            assert_eq!(id.has_prefix(typed), yes, "{typed}");
        }
        assert_eq!(id.short(), "kdev-7f4ac3");
    }

    #[test]
    fn malformed_ids_are_refused() {
        for bad in ["", "kdev-", "kdev-7f4ac3", "kdev-7F4AC30123456789", "kdev-7f4ac3012345678w", "x"] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad}");
        }
        for bad in ["", "-a", "a.", "A", "a..b", "a/b", "a b", &"a".repeat(64)] {
            assert!(bad.parse::<AuthorityName>().is_err(), "{bad}");
        }
        for bad in ["k:a/kdev-7f4ac30123456789/1", "k:a/kdev-7f4ac30123456789/0001", "a/b/c", "k:a/b/001/"] {
            assert!(bad.parse::<KidSubject>().is_err(), "{bad}");
        }
        let good = "k:attic/kdev-7f4ac30123456789/001";
        assert_eq!(good.parse::<KidSubject>().unwrap().to_string(), good);
    }
}
