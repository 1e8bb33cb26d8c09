//! The address of a server: `unix:PATH` or `https://HOST:PORT`.

use core::{fmt, str::FromStr};
use std::path::PathBuf;

use kos_base::text::printable;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A socket on this machine: of an authority, or of a device (`kosd.sock`).
    Unix(PathBuf),
    /// The API of an authority.
    Https {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// The text is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `unix:PATH` or `https://HOST:PORT`")]
pub struct ParseServerError(String);

impl FromStr for Server {
    type Err = ParseServerError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseServerError(printable(s, 200));
        if let Some(path) = s.strip_prefix("unix:") {
            return if path.is_empty() { Err(bad()) } else { Ok(Self::Unix(path.into())) };
        }
        let rest = s.strip_prefix("https://").ok_or_else(bad)?;
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':').ok_or_else(bad)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host_ok = match bracketed {
            Some(v6) => v6.parse::<core::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        let port_ok = port.bytes().all(|b| b.is_ascii_digit());
        match port.parse() {
            Ok(port) if port > 0 && host_ok && port_ok => {
                Ok(Self::Https { host: bracketed.unwrap_or(host).to_owned(), port })
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Https { host, port } if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Self::Https { host, port } => write!(f, "https://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_alike() {
        for text in ["unix:/run/kos/kosd.sock", "unix:a b", "https://attic.local:8641", "https://[::1]:1"] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "unix:",
            "/run/x",
            "http://a:1",
            "https://a",
            "https://a:0",
            "https://a:65536",
            "https://:1",
            "https://a:+1",
            "https://u@a:1",
            "https://a:1/x",
            "https://[::1:1",
            "https://::1:1",
        ] {
            assert!(bad.parse::<Server>().is_err(), "{bad}");
        }
    }
}
