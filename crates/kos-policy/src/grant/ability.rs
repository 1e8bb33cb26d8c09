//! What can be asked of a device, and about what.
//!
//! Only capabilities with a door are here. Whoever builds another one adds it, with the acts that its trust level is asked
//! for.

use core::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::trust::Act;

/// Longest name of a resource or a pattern, in bytes.
const RESOURCE_BYTES_MAX: usize = 96;

/// What an agent can ask of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Ability {
    /// How it is: `status/health`, `status/link`.
    #[n(0)]
    DeviceStatus,
    /// What its own log has of one type of event: `log/EVENT`.
    #[n(1)]
    DeviceLog,
    /// That it makes new keys and gets a new certificate: `certificate`.
    #[n(2)]
    RegenCert,
}

/// The word is none of those that have a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no door decides on this capability yet; those that have one are device.status, device.log, device.regen-cert"
)]
pub struct ParseAbilityError;

impl Ability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DeviceStatus, Self::DeviceLog, Self::RegenCert];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeviceStatus => "device.status",
            Self::DeviceLog => "device.log",
            Self::RegenCert => "device.regen-cert",
        }
    }

    /// What the trust level of the agent has to give for it.
    pub const fn acts(self) -> &'static [Act] {
        match self {
            Self::DeviceStatus => &[Act::SpeakToAgent],
            // The log of a device tells what people did on it.
            Self::DeviceLog => &[Act::SpeakToAgent, Act::AccessUserData],
            Self::RegenCert => &[Act::SpeakToAgent, Act::InitiateWorkflow, Act::ModifySystem],
        }
    }

    /// The access to the device's memory that it takes.
    pub const fn memory(self) -> Memory {
        match self {
            Self::DeviceStatus | Self::DeviceLog => Memory::Read,
            Self::RegenCert => Memory::Write,
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Ability {
    type Err = ParseAbilityError;

    fn from_str(s: &str) -> Result<Self, ParseAbilityError> {
        Self::ALL.into_iter().find(|ability| ability.as_str() == s).ok_or(ParseAbilityError)
    }
}

/// Access to the memory of a device. Later is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Memory {
    /// None.
    #[n(0)]
    None,
    /// To read what is there.
    #[n(1)]
    Read,
    /// To change it.
    #[n(2)]
    Write,
}

impl Memory {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Read, Self::Write];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// About what something is asked: 1 to 96 of `a-z 0-9 . _ -`, in parts between slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource(String);

/// A resource, or the beginning of some with `*` as its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// The text is no resource or pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to 96 of a-z, 0-9, `.`, `_`, `-` between slashes")]
pub struct ParseResourceError;

fn is_text(s: &str) -> bool {
    let fits = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/');
    s.len() <= RESOURCE_BYTES_MAX && s.bytes().all(fits)
}

impl FromStr for Resource {
    type Err = ParseResourceError;

    fn from_str(s: &str) -> Result<Self, ParseResourceError> {
        let whole = is_text(s) && s.split('/').all(|part| !part.is_empty());
        if whole { Ok(Self(s.to_owned())) } else { Err(ParseResourceError) }
    }
}

impl FromStr for Pattern {
    type Err = ParseResourceError;

    fn from_str(s: &str) -> Result<Self, ParseResourceError> {
        let is_pattern = match s.strip_suffix('*') {
            Some(start) => is_text(start),
            None => s.parse::<Resource>().is_ok(),
        };
        if is_pattern { Ok(Self(s.to_owned())) } else { Err(ParseResourceError) }
    }
}

impl AsRef<str> for Resource {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Pattern {
    /// Whether this resource is one of those.
    pub fn fits(&self, resource: &Resource) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => resource.0.starts_with(start),
            None => self.0 == resource.0,
        }
    }

    /// Whether every resource that fits `other` fits this one.
    pub fn covers(&self, other: &Self) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => other.0.strip_suffix('*').unwrap_or(&other.0).starts_with(start),
            None => self.0 == other.0,
        }
    }
}

macro_rules! as_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<C> Encode<C> for $type {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $type {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.str()?.parse().map_err(decode::Error::custom)
            }
        }
    };
}

as_text!(Resource);
as_text!(Pattern);
