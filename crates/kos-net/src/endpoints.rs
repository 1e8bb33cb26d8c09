//! Addresses as people write them, and patterns of those that a program may connect to.
//!
//! Patterns come from `services.allowed_endpoints` of the device's configuration; [`crate::dialler`] enforces them.
//!
//! Pattern: `NAME`, `*.NAME`, an IPv4 address or an IPv6 address in brackets, each with an optional `:PORT`.
//! `*.kai.local` covers every name below `kai.local`, at any depth, and not `kai.local` itself. Names compare without
//! regard to case and a final dot.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use kos_base::{Code, code, text::printable};

/// Longest host name, in characters (RFC 1035).
const HOST_CHARS_MAX: usize = 253;

/// A name or address literal, as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Lower case, without a final dot.
    Name(String),
    /// A literal.
    Address(IpAddr),
}

/// `host:port`; IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where.
    pub host: Host,
    /// Which port.
    pub port: u16,
}

/// The text is not an endpoint or a pattern of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct ParseEndpointError {
    text: String,
    wanted: &'static str,
}

impl ParseEndpointError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        code::config::USAGE
    }
}

impl FromStr for Host {
    type Err = ParseEndpointError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseEndpointError { text: printable(s, 80), wanted: "a host name or address" };
        if let Some(inner) = s.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address.map(|a| Self::Address(a.into())).ok_or_else(bad);
        }
        if let Ok(address) = s.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        let name = s.strip_suffix('.').unwrap_or(s).to_ascii_lowercase();
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        // A last label of digits would be an address to some resolvers (`127.1`), so it is none to us.
        let digits = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if name.len() <= HOST_CHARS_MAX && name.split('.').all(label) && !digits {
            return Ok(Self::Name(name));
        }
        Err(bad())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseEndpointError { text: printable(s, 80), wanted: "an address (`host:port`)" };
        let (host, port) = s.rsplit_once(':').ok_or_else(bad)?;
        // Without brackets `::1` would read as host `:` and port 1.
        if host.contains(':') && !host.starts_with('[') {
            return Err(bad());
        }
        Ok(Self { host: host.parse().map_err(|_| bad())?, port: parse_port(port).ok_or_else(bad)? })
    }
}

fn parse_port(s: &str) -> Option<u16> {
    s.parse().ok().filter(|&port: &u16| port > 0 && port.to_string() == s)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Address(address.ip()), port: address.port() }
    }
}

/// One line of `allowed_endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    host: Host,
    below: Depth,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Itself,
    Below,
}

impl Pattern {
    /// Whether `endpoint` is one that this line allows.
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        let host = match (&self.host, &endpoint.host, self.below) {
            (Host::Name(pattern), Host::Name(name), Depth::Below) => {
                name.strip_suffix(pattern.as_str()).is_some_and(|front| front.ends_with('.'))
            }
            (pattern, host, _) => pattern == host,
        };
        host && self.port.is_none_or(|port| port == endpoint.port)
    }
}

impl FromStr for Pattern {
    type Err = ParseEndpointError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseEndpointError {
            text: printable(s, 80),
            wanted: "a pattern of endpoints (`name`, `*.name` or an address, with or without `:port`)",
        };
        let (below, rest) = match s.strip_prefix("*.") {
            Some(rest) => (Depth::Below, rest),
            None => (Depth::Itself, s),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(parse_port(port).ok_or_else(bad)?))
            }
            _ => (rest, None),
        };
        let host: Host = host.parse().map_err(|_| bad())?;
        match (&host, below) {
            (Host::Address(_), Depth::Below) => Err(bad()),
            _ => Ok(Self { host, below, port }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_allow_what_they_say_and_no_more() {
        for (pattern, endpoint, allowed) in [
            ("*.kai.local", "a.kai.local:1", true),
            ("*.kai.local", "A.B.Kai.Local.:1", true),
            ("*.kai.local", "kai.local:1", false),
            ("*.kai.local", "evilkai.local:1", false),
            ("*.kai.local", "a.kai.local.evil:1", false),
            ("control.kos", "control.kos:8641", true),
            ("Control.KOS.", "control.kos:8641", true),
            ("control.kos", "x.control.kos:8641", false),
            ("control.kos:443", "control.kos:443", true),
            ("control.kos:443", "control.kos:444", false),
            ("*.kos:443", "a.kos:443", true),
            ("192.0.2.7", "192.0.2.7:9", true),
            ("192.0.2.7:9", "192.0.2.7:9", true),
            ("192.0.2.7", "192.0.2.8:9", false),
            ("[2001:db8::1]", "[2001:db8:0::1]:9", true),
            ("2001:db8::1", "[2001:db8::1]:9", true),
            ("[2001:db8::1]:9", "[2001:db8::1]:8", false),
            ("*.0.2.x", "192.0.2.7:9", false),
        ] {
            let (parsed, endpoint): (Pattern, Endpoint) =
                (pattern.parse().unwrap(), endpoint.parse().unwrap());
            assert_eq!(parsed.matches(&endpoint), allowed, "{pattern} {endpoint}");
        }
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused() {
        for bad in [
            "",
            ":",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:01",
            "::1",
            "::1:80",
            "[::1]",
            "[::1",
            "a b:1",
            "a..b:1",
            "-a:1",
            "a-:1",
            "127.1:80",
            "1:80",
            "0x7f000001.1:80",
            "a/b:1",
            "[127.0.0.1]:1",
            "ä:1",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
        for bad in ["", "*", "*.", "*.1.2.3.4", "a.*", "**.a", "*.*.a", "*.[::1]", "a:x", "http://a"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        for good in ["attic.local:8641", "127.0.0.1:1", "[::1]:65535", "a_b.c:1"] {
            assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
        }
    }
}
