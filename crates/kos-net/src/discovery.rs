//! Finding the authority on the local network, and being found: mDNS and DNS-SD.
//!
//! Shape: service `_kos-enrol._tcp.local.`, instance name = the authority's name, TXT `v=1`, `name`, `pin` (key id of the
//! root key in hex). Never on loopback, where everything is on one machine and needs no finding.
//!
//! Invariants: what is found proves nothing, since anybody on the network can answer. A pin from here is a claim; it
//! counts only once a person has compared the code on both ends, or when it equals one that is already trusted. What
//! is not well formed is not shown.
//!
//! Errors: none are fatal to the program; a fixed address and a ticket work without discovery.
//!
//! Source: RFC 6762, RFC 6763; `docs/spec/enrolment.md`.

use std::{collections::HashSet, fmt, net::IpAddr, time::Duration};

use kos_base::{AuthorityName, Code, KeyId, code};
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::time::{Instant, timeout_at};

use crate::{
    dialler::Target,
    endpoints::{Endpoint, Host},
};

const SERVICE: &str = "_kos-enrol._tcp.local.";
const VERSION: &str = "1";

/// Most addresses of one candidate. Stops a hostile answer from sending us around.
const ADDRESSES_MAX: usize = 8;

/// Most candidates of one search. Stops a hostile network from filling our memory and the operator's screen.
const CANDIDATES_MAX: usize = 32;

/// How long the daemon may take to say goodbye to the network.
const GOODBYE: Duration = Duration::from_millis(500);

/// Where discovery happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// On every network interface except loopback.
    AllButLoopback,
    /// On these and no others.
    Named(Vec<String>),
}

/// Discovery does not work here.
#[derive(Debug, thiserror::Error)]
#[error("multicast DNS does not work")]
pub struct DiscoveryError(#[from] mdns_sd::Error);

impl DiscoveryError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        code::config::UNREACHABLE
    }
}

fn daemon(interfaces: &Interfaces) -> Result<ServiceDaemon, DiscoveryError> {
    let daemon = ServiceDaemon::new()?;
    match interfaces {
        Interfaces::AllButLoopback => {
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        }
        Interfaces::Named(names) => {
            daemon.disable_interface(IfKind::All)?;
            daemon
                .enable_interface(names.iter().map(|name| IfKind::from(name.as_str())).collect::<Vec<_>>())?;
        }
    }
    Ok(daemon)
}

/// An authority as the network sees it, until it is ended or dropped.
pub struct Advertisement {
    daemon: ServiceDaemon,
    instance: String,
}

impl Advertisement {
    /// Answers for the authority `name` with root key `pin`, whose TLS port is `port`.
    ///
    /// # Errors
    /// When multicast does not work on this machine.
    pub fn start(
        interfaces: &Interfaces,
        name: &AuthorityName,
        pin: KeyId,
        port: u16,
    ) -> Result<Self, DiscoveryError> {
        let daemon = daemon(interfaces)?;
        // A host name of our own: that of the machine may be somebody else's to answer for.
        let host = format!("kos-{}.local.", name.as_ref().replace('.', "-"));
        let texts = [("v", VERSION), ("name", name.as_ref()), ("pin", &pin.to_string())];
        let info = ServiceInfo::new(SERVICE, name.as_ref(), &host, (), port, &texts[..])?.enable_addr_auto();
        let instance = info.get_fullname().to_owned();
        daemon.register(info)?;
        Ok(Self { daemon, instance })
    }

    /// Tells the network that the authority is gone.
    pub async fn end(self) {
        if let Ok(done) = self.daemon.unregister(&self.instance) {
            // Whoever misses it learns it when the records expire.
            let _ = tokio::time::timeout(GOODBYE, done.recv_async()).await;
        }
    }
}

impl Drop for Advertisement {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

impl fmt::Debug for Advertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Advertisement({})", self.instance)
    }
}

/// Somebody who claims to be an authority. Nothing of it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The name that it claims.
    pub name: AuthorityName,
    /// The root key that it claims.
    pub pin: KeyId,
    /// Its host name and the addresses that belong to it.
    pub target: Target,
}

/// A search that goes on until it is dropped.
pub struct Browser {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    shown: HashSet<(AuthorityName, KeyId)>,
}

impl Browser {
    /// Starts to look around.
    ///
    /// # Errors
    /// When multicast does not work on this machine.
    pub fn start(interfaces: &Interfaces) -> Result<Self, DiscoveryError> {
        let daemon = daemon(interfaces)?;
        let events = daemon.browse(SERVICE)?;
        Ok(Self { daemon, events, shown: HashSet::new() })
    }

    /// The next candidate that was not shown yet, or `None` when `deadline` has come.
    pub async fn next(&mut self, deadline: Instant) -> Option<Candidate> {
        while self.shown.len() < CANDIDATES_MAX {
            let event = timeout_at(deadline, self.events.recv_async()).await.ok()?.ok()?;
            let ServiceEvent::ServiceResolved(service) = event else { continue };
            let Some(candidate) = read(&service) else { continue };
            if self.shown.insert((candidate.name.clone(), candidate.pin)) {
                return Some(candidate);
            }
        }
        None
    }

    /// Every candidate that shows within `patience`.
    pub async fn collect(mut self, patience: Duration) -> Vec<Candidate> {
        let deadline = Instant::now() + patience;
        let mut found = Vec::new();
        while let Some(candidate) = self.next(deadline).await {
            found.push(candidate);
        }
        found
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").field("shown", &self.shown).finish_non_exhaustive()
    }
}

fn read(service: &ResolvedService) -> Option<Candidate> {
    let text = |key| service.get_property_val_str(key);
    if text("v") != Some(VERSION) {
        return None;
    }
    let name = text("name")?.parse().ok()?;
    let pin = text("pin")?.parse().ok()?;
    let host: Host = service.get_hostname().parse().ok()?;
    let port = Some(service.get_port()).filter(|port| *port > 0)?;
    let mut addresses: Vec<IpAddr> =
        service.get_addresses().iter().map(|address| address.to_ip_addr()).filter(is_usable).collect();
    addresses.sort_unstable();
    addresses.truncate(ADDRESSES_MAX);
    match (&host, addresses.is_empty()) {
        (Host::Name(_), false) => {
            Some(Candidate { name, pin, target: Target { endpoint: Endpoint { host, port }, addresses } })
        }
        _ => None,
    }
}

/// Not loopback, where a stranger cannot be; not a link-local IPv6 address, which means nothing without its interface.
fn is_usable(address: &IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !(address.is_loopback() || address.is_multicast() || address.is_unspecified() || link_local)
}
