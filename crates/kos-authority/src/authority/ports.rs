//! The ports of an authority: a block from a base, or any that are free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kos_api::authority::Ports;
use tokio::net::TcpListener;

use super::StartError;

/// What to do when a port of the block is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// Refuse to start.
    Exact,
    /// Take the next block that is free.
    NextFree,
}

/// Ports in a block: web, TLS, pki, and one for the dashboard.
const BLOCK: u16 = 4;
/// Blocks that are tried before giving up.
const BLOCKS_MAX: u16 = 64;

/// The sockets of an authority, bound and listening.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) web: TcpListener,
    pub(crate) tls: TcpListener,
    pub(crate) pki: TcpListener,
}

impl Listeners {
    /// Binds a block from `base`, or any free ports when `base` is 0. `address` is for everything but the web port,
    /// which is on loopback for ever.
    pub(crate) async fn bind(base: u16, address: IpAddr, choice: PortChoice) -> Result<Self, StartError> {
        let mut at = base;
        for _ in 0..BLOCKS_MAX {
            match Self::block(at, address).await {
                Err(StartError::Port { .. }) if choice == PortChoice::NextFree && base != 0 => {
                    at = at.checked_add(BLOCK).unwrap_or(1024);
                }
                outcome => return outcome,
            }
        }
        Err(StartError::Port { port: base, why: "no block of ports is free".to_owned() })
    }

    async fn block(base: u16, address: IpAddr) -> Result<Self, StartError> {
        let port = |offset: u16| if base == 0 { Some(0) } else { base.checked_add(offset) };
        let beyond = || StartError::Port { port: base, why: "beyond 65535".to_owned() };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(Self {
            web: listen(loopback, port(0).ok_or_else(beyond)?).await?,
            tls: listen(address, port(1).ok_or_else(beyond)?).await?,
            pki: listen(address, port(2).ok_or_else(beyond)?).await?,
        })
    }

    pub(crate) fn ports(&self) -> Ports {
        let port = |listener: &TcpListener| listener.local_addr().map_or(0, |address| address.port());
        Ports { web: port(&self.web), tls: port(&self.tls), pki: port(&self.pki) }
    }
}

/// Listens on one port.
pub(crate) async fn listen(address: IpAddr, port: u16) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(SocketAddr::new(address, port)).await;
    bound.map_err(|e| StartError::Port { port, why: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_block_in_use_is_refused_or_passed_over() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let any = Listeners::bind(0, loopback, PortChoice::Exact).await.unwrap();
        let taken = any.ports().web;
        let refused = Listeners::bind(taken, loopback, PortChoice::Exact).await;
        assert!(matches!(refused, Err(StartError::Port { port, .. }) if port == taken));
        let next = Listeners::bind(taken, loopback, PortChoice::NextFree).await.unwrap().ports();
        assert_ne!(next.web, taken);
        assert_eq!((next.tls, next.pki), (next.web + 1, next.web + 2));
    }
}
