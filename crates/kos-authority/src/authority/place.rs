//! Where an authority can be reached: loopback alone until an operator says otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kos_identity::certificate::{PublicUrl, Publication};
use rustls_pki_types::ServerName;

use crate::store::{Setting, Store, StoreError};

/// The address that it listens on, and the name by which others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) advertise: Option<String>,
}

impl Place {
    /// This machine only.
    pub(crate) const LOOPBACK: Self = Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), advertise: None };

    /// Where the operator has put it.
    pub(crate) async fn of(store: &Store) -> Result<Self, StoreError> {
        let address = store.setting(Setting::ListenAddress).await?;
        Ok(Self {
            address: address.and_then(|text| text.parse().ok()).unwrap_or(Self::LOOPBACK.address),
            advertise: store.setting(Setting::Advertise).await?,
        })
    }

    /// Where certificates and lists are published; nowhere until the authority has a public name.
    pub(crate) fn publication(&self, pki_port: u16) -> Option<Publication> {
        let host = bracketed(self.advertise.as_deref()?);
        let base = format!("http://{host}:{pki_port}").parse::<PublicUrl>().ok()?;
        Some(Publication::new(base).with_ocsp())
    }

    /// `HOST:PORT` by which devices reach the TLS port.
    pub(crate) fn endpoint(&self, tls_port: u16) -> String {
        let host = self.advertise.as_deref().map_or_else(|| Ipv4Addr::LOCALHOST.to_string(), bracketed);
        format!("{host}:{tls_port}")
    }

    /// The names that stand in the certificate of the TLS port.
    pub(crate) fn names(&self) -> Vec<ServerName<'static>> {
        self.advertise.iter().filter_map(|name| ServerName::try_from(name.clone()).ok()).collect()
    }
}

/// A host as it stands in front of a port.
fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}
