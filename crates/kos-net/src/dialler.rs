//! The one door for outgoing connections: checks the allowed endpoints, resolves the name, connects.
//!
//! A list that is absent allows everything; an empty one allows nothing. Names are judged as they were asked for,
//! before they are resolved: an allowed name may lead to any address, and an address literal must itself be allowed.
//!
//! What it does not do: stop a program that opens sockets elsewhere; a test of the programs watches for that.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use kos_base::{Code, code};
use tokio::{net::TcpStream, time::timeout};

use crate::endpoints::{Endpoint, Host, Pattern};

/// How long resolving a name may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Most addresses of one name that are tried. Stops a hostile answer from keeping us busy.
const ADDRESSES_MAX: usize = 8;

/// Where to connect: what was asked for, and its addresses when discovery already told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Judged against the allowed endpoints.
    pub endpoint: Endpoint,
    /// Addresses of the host, if known; empty: they are looked up.
    pub addresses: Vec<IpAddr>,
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, addresses: Vec::new() }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The list of allowed endpoints does not hold it. Not retried.
    #[error("`{0}` is not among the allowed endpoints")]
    Forbidden(Endpoint),
    /// The name has no address, or none was found in time.
    #[error("no address found for `{0}`")]
    Unresolved(Endpoint),
    /// No address accepted the connection; the last one's reason.
    #[error("`{endpoint}` does not answer")]
    Unreachable {
        /// What was asked for.
        endpoint: Endpoint,
        /// The reason of the last address that was tried.
        #[source]
        source: io::Error,
    },
}

impl DialError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Forbidden(_) => code::config::ENDPOINT_FORBIDDEN,
            Self::Unresolved(_) | Self::Unreachable { .. } => code::config::UNREACHABLE,
        }
    }
}

/// The one door for outgoing connections.
#[derive(Clone, Debug, Default)]
pub struct Dialler {
    allowed: Option<Vec<Pattern>>,
}

impl Dialler {
    /// Connects to anything: the list is absent.
    pub const fn unrestricted() -> Self {
        Self { allowed: None }
    }

    /// Connects to what `patterns` allow and to nothing else; an empty list allows nothing.
    pub const fn restricted_to(patterns: Vec<Pattern>) -> Self {
        Self { allowed: Some(patterns) }
    }

    /// Checks `target` against the list and gives its addresses with the port, at most eight.
    ///
    /// # Errors
    /// When the list forbids it, or nothing is found within five seconds.
    pub async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, DialError> {
        let endpoint = &target.endpoint;
        if self.allowed.as_ref().is_some_and(|list| !list.iter().any(|p| p.matches(endpoint))) {
            return Err(DialError::Forbidden(endpoint.clone()));
        }
        let mut addresses: Vec<SocketAddr> = match &endpoint.host {
            Host::Address(address) => vec![(*address, endpoint.port).into()],
            Host::Name(_) if !target.addresses.is_empty() => {
                target.addresses.iter().map(|&address| (address, endpoint.port).into()).collect()
            }
            Host::Name(name) => {
                let found = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name.as_str(), endpoint.port)));
                found.await.ok().and_then(Result::ok).into_iter().flatten().collect()
            }
        };
        addresses.truncate(ADDRESSES_MAX);
        match addresses.is_empty() {
            true => Err(DialError::Unresolved(endpoint.clone())),
            false => Ok(addresses),
        }
    }

    /// Opens a TCP connection to the first address that accepts one within five seconds.
    ///
    /// # Errors
    /// As [`Dialler::resolve`], or when no address accepts.
    pub async fn connect(&self, target: &Target) -> Result<TcpStream, DialError> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for address in self.resolve(target).await? {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => match stream.set_nodelay(true) {
                    Ok(()) => return Ok(stream),
                    Err(error) => last = error,
                },
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(DialError::Unreachable { endpoint: target.endpoint.clone(), source: last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_forbidden_is_resolved_or_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::from(Endpoint::from(listener.local_addr().unwrap()));

        let nothing = Dialler::restricted_to(Vec::new());
        let other = Dialler::restricted_to(vec!["control.kos".parse().unwrap()]);
        for dialler in [nothing, other] {
            let refused = dialler.connect(&target).await.unwrap_err();
            assert!(matches!(refused, DialError::Forbidden(_)), "{refused}");
        }
        let exact = Dialler::restricted_to(vec![target.endpoint.to_string().parse().unwrap()]);
        for dialler in [Dialler::unrestricted(), exact] {
            assert!(dialler.connect(&target).await.is_ok());
        }
    }

    #[tokio::test]
    async fn a_name_with_known_addresses_is_judged_by_its_name() {
        let target = Target {
            endpoint: "attic.local:8641".parse().unwrap(),
            addresses: vec!["192.0.2.1".parse().unwrap()],
        };
        let by = |pattern: &str| Dialler::restricted_to(vec![pattern.parse().unwrap()]);
        let found = by("*.local").resolve(&target).await.unwrap();
        assert_eq!(found, ["192.0.2.1:8641".parse().unwrap()]);
        assert!(matches!(by("192.0.2.1").resolve(&target).await, Err(DialError::Forbidden(_))));
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::from(Endpoint::from(listener.local_addr().unwrap()));
        drop(listener);
        let refused = Dialler::unrestricted().connect(&target).await.unwrap_err();
        assert!(matches!(refused, DialError::Unreachable { .. }), "{refused}");
    }
}
