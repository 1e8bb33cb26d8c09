//! With whom a device can be paired.

use core::{fmt, str::FromStr};

use kos_base::{EntryId, text::printable};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// Longest name of an agent after its `kai:`, in bytes. Stops names from filling records.
const AGENT_BYTES_MAX: usize = 96;

/// A node of kAI: `kai:` and 1 to 96 of `a-z 0-9 . _ -`, in parts between slashes, each with at least one. What it names
/// is for whoever gave the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

/// A user or an agent. A user is named by the id of their record, which says nothing about the person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partner {
    /// An operator of the authority.
    User(EntryId),
    /// A node of kAI.
    Agent(AgentId),
}

/// The text names nobody with whom a device can be paired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither `user:` with an id nor `kai:` with 1 to 96 of a-z, 0-9, `.`, `_`, `-` between slashes"
)]
pub struct ParsePartnerError(String);

impl AgentId {
    /// What every one begins with.
    pub const PREFIX: &'static str = "kai:";
}

impl AsRef<str> for AgentId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = ParsePartnerError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| {
            let fits = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
            !part.is_empty() && part.bytes().all(fits) && !part.bytes().all(|b| b == b'.')
        };
        let name = s.strip_prefix(Self::PREFIX).filter(|name| name.len() <= AGENT_BYTES_MAX);
        match name.filter(|name| name.split('/').all(is_part)) {
            Some(_) => Ok(Self(s.to_owned())),
            None => Err(ParsePartnerError(printable(s, 60))),
        }
    }
}

impl Partner {
    /// Its kind, in a word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Agent(_) => "agent",
        }
    }

    /// The agent, if it is one.
    pub const fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Agent(agent) => Some(agent),
            Self::User(_) => None,
        }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Partner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Agent(agent) => agent.fmt(f),
        }
    }
}

impl FromStr for Partner {
    type Err = ParsePartnerError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s.strip_prefix("user:") {
            Some(id) => id.parse().map(Self::User).map_err(|_| ParsePartnerError(printable(s, 60))),
            None => s.parse().map(Self::Agent),
        }
    }
}

impl<C> Encode<C> for AgentId {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for AgentId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.str()?.parse().map_err(decode::Error::custom)
    }
}

impl<C> Encode<C> for Partner {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Partner {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.str()?.parse().map_err(decode::Error::custom)
    }
}
