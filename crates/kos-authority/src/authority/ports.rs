//! The ports of an authority: a block from a base, or any that are free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kos_api::authority::Ports;
use kos_base::text::reason;
use tokio::net::{TcpListener, UdpSocket};

use super::{Authority, StartError};

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
    /// The base that was wanted and whose block is in use.
    passed_over: Option<u16>,
}

impl Authority {
    /// The first port that was asked for, when its block was in use and another was taken.
    pub const fn passed_over(&self) -> Option<u16> {
        self.listeners.passed_over
    }
}

impl Listeners {
    /// Binds a block from `base`, or any free ports when `base` is 0. `address` is for everything but the web port,
    /// which is on loopback for ever. The same port has to be free for QUIC, which binds it later.
    pub(crate) async fn bind(base: u16, address: IpAddr, choice: PortChoice) -> Result<Self, StartError> {
        let mut at = base;
        for _ in 0..BLOCKS_MAX {
            match Self::block(at, address, choice).await {
                // Any port was good, but the one that TCP got is taken for UDP.
                Err(StartError::Port { .. }) if base == 0 => {}
                Err(StartError::Port { .. }) if choice == PortChoice::NextFree => {
                    at = at.checked_add(BLOCK).unwrap_or(1024);
                }
                Ok(bound) => return Ok(Self { passed_over: (at != base).then_some(base), ..bound }),
                Err(error) => return Err(error),
            }
        }
        Err(StartError::Port { port: base, why: "no block of ports is free".to_owned() })
    }

    async fn block(base: u16, address: IpAddr, choice: PortChoice) -> Result<Self, StartError> {
        let port = |offset: u16| if base == 0 { Some(0) } else { base.checked_add(offset) };
        let beyond = || StartError::Port { port: base, why: "beyond 65535".to_owned() };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let last = port(3).ok_or_else(beyond)?;
        let web = listen(loopback, port(0).ok_or_else(beyond)?).await?;
        let tls = listen(address, port(1).ok_or_else(beyond)?).await?;
        let pki = listen(address, port(2).ok_or_else(beyond)?).await?;
        let bound = Self { web, tls, pki, passed_over: None };
        let quic = bound.ports().tls;
        let udp = UdpSocket::bind(SocketAddr::new(address, quic)).await;
        udp.map_err(|e| StartError::Port { port: quic, why: format!("udp: {}", reason(&e)) })?;
        if choice == PortChoice::NextFree {
            // Nothing listens there yet, but a block that is chosen freely should hold all that a block will.
            drop(listen(address, last).await?);
        }
        Ok(bound)
    }

    pub(crate) fn ports(&self) -> Ports {
        let port = |listener: &TcpListener| listener.local_addr().map_or(0, |address| address.port());
        Ports { web: port(&self.web), tls: port(&self.tls), pki: port(&self.pki) }
    }
}

/// Listens on one port.
pub(crate) async fn listen(address: IpAddr, port: u16) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(SocketAddr::new(address, port)).await;
    bound.map_err(|e| StartError::Port { port, why: reason(&e).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_block_in_use_is_refused_or_passed_over() {
        let any = Listeners::bind(0, LOOPBACK, PortChoice::Exact).await.unwrap();
        let taken = any.ports().web;
        let refused = Listeners::bind(taken, LOOPBACK, PortChoice::Exact).await;
        assert!(matches!(refused, Err(StartError::Port { port, .. }) if port == taken));
        let next = Listeners::bind(taken, LOOPBACK, PortChoice::NextFree).await.unwrap();
        assert_eq!(next.passed_over, Some(taken));
        let next = next.ports();
        assert_ne!(next.web, taken);
        assert_eq!((next.tls, next.pki), (next.web + 1, next.web + 2));
    }

    /// A base whose four ports nobody uses now.
    async fn free_base() -> u16 {
        loop {
            let base = listen(LOOPBACK, 0).await.unwrap().local_addr().unwrap().port();
            let bound = Listeners::bind(base, LOOPBACK, PortChoice::NextFree).await.unwrap();
            if bound.passed_over.is_none() {
                return base;
            }
        }
    }

    #[tokio::test]
    async fn a_port_that_only_udp_uses_is_in_use_as_well() {
        let base = free_base().await;
        let _taken = UdpSocket::bind(SocketAddr::new(LOOPBACK, base + 1)).await.unwrap();
        let refused = Listeners::bind(base, LOOPBACK, PortChoice::Exact).await.unwrap_err();
        assert!(refused.to_string().contains("udp"), "{refused}");
        assert!(matches!(refused, StartError::Port { port, .. } if port == base + 1));
        let next = Listeners::bind(base, LOOPBACK, PortChoice::NextFree).await.unwrap();
        assert_eq!(next.passed_over, Some(base));
    }

    #[tokio::test]
    async fn a_block_that_is_chosen_has_its_last_port_free_too() {
        let base = free_base().await;
        let _taken = listen(LOOPBACK, base + 3).await.unwrap();
        let next = Listeners::bind(base, LOOPBACK, PortChoice::NextFree).await.unwrap();
        assert_eq!(next.passed_over, Some(base));
        drop(next);
        assert_eq!(Listeners::bind(base, LOOPBACK, PortChoice::Exact).await.unwrap().ports().web, base);
    }
}
