//! The way to a guardian on the network: which addresses are dialled, and TLS.
//!
//! An administrator chooses the address, and what is dialled is still not everything: whoever may name a guardian shall not
//! get at what only this machine can reach. Link-local addresses, at which clouds give machines their credentials, and
//! addresses that are nobody's are refused after the name was looked up, and the very address that was judged is dialled.
//! Without TLS only loopback is dialled.
//!
//! Source: ALR-32 to ALR-34.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use kos_base::text::{printable, reason};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long it may take until a connection stands.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a name may take to be looked up when a guardian is named.
const LOOK_TIME_MAX: Duration = Duration::from_secs(3);
/// Where clouds answer their machines with credentials or orders, beside the link-local addresses.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];
/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 1_000;
/// Most certificates of a CA file.
const CAS_MAX: usize = 32;

/// Whether the way is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    Tls,
    /// It is not, and leads to this machine only.
    Plain,
    /// It is not, by the choice of who named the guardian: protocols that are spoken so in most networks.
    Open,
}

/// What an address on the web may begin with, where something is brought to: under TLS, or on this machine.
pub(crate) const WEB: [(&str, Cover, u16); 2] = [("https", Cover::Tls, 443), ("http", Cover::Plain, 80)];

/// Where a guardian listens: `SCHEME://HOST[:PORT][PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) cover: Cover,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// With its query; `/` when there is none.
    pub(crate) path: String,
}

/// The text is not the address of a guardian.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AddressError(pub(crate) String);

/// A guardian cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    #[error("its address: {0}")]
    Address(#[from] AddressError),
    #[error("`{0}` cannot be looked up: {1}")]
    Unknown(String, &'static str),
    #[error("`{0}` is at {1}, which is not dialled: {2}")]
    Forbidden(String, IpAddr, &'static str),
    #[error("{0}: {1}")]
    Connect(SocketAddr, &'static str),
    #[error("{0}: no connection in time")]
    Late(SocketAddr),
    #[error("TLS with {0} failed: {1}")]
    Tls(SocketAddr, String),
    #[error("the CA file: {0}")]
    Ca(&'static str),
}

/// A connection that stands.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Whom it leads to.
    pub(super) fn peer(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, into),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(..)")
    }
}

impl Address {
    /// Reads an address whose scheme is one of these; each with what it says about TLS and its usual port.
    ///
    /// # Errors
    /// In one sentence, what is wrong with it.
    pub(crate) fn parse(text: &str, schemes: &[(&str, Cover, u16)]) -> Result<Self, AddressError> {
        let bad = |why: &str| AddressError(format!("`{}`: {why}", printable(text, 80)));
        if text.len() > URL_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("at most 1000 visible ASCII characters"));
        }
        let found = schemes.iter().find_map(|(scheme, cover, port)| {
            Some((text.strip_prefix(*scheme)?.strip_prefix("://")?, *cover, *port))
        });
        let Some((rest, cover, usual)) = found else {
            let names: Vec<_> = schemes.iter().map(|(scheme, ..)| format!("{scheme}://")).collect();
            return Err(bad(&format!("it begins with {}", names.join(" or "))));
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if rest.contains('#') || authority.contains('@') {
            return Err(bad("neither a user nor a fragment stands in it"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| bad("the port is no number"))?)
            }
            _ => (authority, usual),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(literal) => literal.parse::<Ipv6Addr>().map_err(|_| bad("no IPv6 address"))?.to_string(),
            None => host.to_owned(),
        };
        if ServerName::try_from(host.clone()).is_err() || port == 0 {
            return Err(bad("no host name or address"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { cover, host, port, path })
    }

    /// `HOST:PORT`, as a header names it.
    pub(crate) fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(literal) => format!("[{literal}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }

    /// Looks the name up and finds an address that may be dialled.
    pub(super) async fn resolve(&self) -> Result<SocketAddr, ReachError> {
        let found = timeout(CONNECT_TIME_MAX, lookup_host((self.host.as_str(), self.port))).await;
        let unknown = |why| ReachError::Unknown(self.host.clone(), why);
        let found = found.map_err(|_| unknown("no answer in time"))?.map_err(|e| unknown(reason(&e)))?;
        let mut refused = unknown("there is no address");
        for address in found {
            match self.judge(address.ip()) {
                Ok(()) => return Ok(address),
                Err(why) => refused = ReachError::Forbidden(self.host.clone(), address.ip(), why),
            }
        }
        Err(refused)
    }

    /// Refuses what can never be dialled, when a guardian is named. A name without TLS has to lead to this machine already; any
    /// other may lead somewhere later, and is judged each time.
    ///
    /// # Errors
    /// In one sentence, why.
    pub(crate) async fn check(&self) -> Result<(), ReachError> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return self.judge(ip).map_err(|why| ReachError::Forbidden(self.host.clone(), ip, why));
        }
        if self.cover != Cover::Plain {
            return Ok(());
        }
        let late = |_| ReachError::Unknown(self.host.clone(), "no answer in time");
        timeout(LOOK_TIME_MAX, self.resolve()).await.map_err(late)?.map(drop)
    }

    fn judge(&self, ip: IpAddr) -> Result<(), &'static str> {
        // An address of IPv4 inside one of IPv6 leads where the inner one does.
        let ip = ip.to_canonical();
        let inner = if let IpAddr::V6(whole) = ip { embedded(whole) } else { None };
        for ip in std::iter::once(ip).chain(inner.map(IpAddr::V4)) {
            let is_local = match ip {
                IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
                IpAddr::V6(ip) => ip.is_unicast_link_local(),
            };
            if is_local || METADATA.contains(&ip) || ip.is_unspecified() || ip.is_multicast() {
                return Err("it is link-local, or nobody's");
            }
        }
        if self.cover == Cover::Plain && !ip.is_loopback() {
            return Err("without TLS only this machine is told");
        }
        Ok(())
    }

    /// A connection, under TLS when the address says so. `ca` is PEM of the CAs that are believed; those of the system when
    /// there is none.
    pub(crate) async fn connect(&self, ca: Option<&str>) -> Result<Stream, ReachError> {
        let address = self.resolve().await?;
        let late = |_| ReachError::Late(address);
        let tcp = timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await.map_err(late)?;
        let tcp = tcp.map_err(|e| ReachError::Connect(address, reason(&e)))?;
        if self.cover != Cover::Tls {
            return Ok(Stream::Plain(tcp));
        }
        let failed = |e: &dyn fmt::Display| ReachError::Tls(address, printable(&e.to_string(), 120));
        let name = ServerName::try_from(self.host.clone()).map_err(|e| failed(&e))?;
        let connector = TlsConnector::from(Arc::new(config(&roots(ca)?).map_err(|e| failed(&e))?));
        let tls = timeout(CONNECT_TIME_MAX, connector.connect(name, tcp)).await.map_err(late)?;
        Ok(Stream::Tls(Box::new(tls.map_err(|e: io::Error| failed(&e))?)))
    }
}

/// The IPv4 address that gateways take out of an IPv6 address: NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), and the old form
/// with nothing before it (RFC 4291).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match ip.segments() {
        [0x64, 0xff9b, _, _, _, _, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        _ => None,
    }
}

fn config(roots: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The CAs that are believed.
fn roots(ca: Option<&str>) -> Result<Vec<CertificateDer<'static>>, ReachError> {
    let Some(pem) = ca else { return Ok(rustls_native_certs::load_native_certs().certs) };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|_| ReachError::Ca("it is not PEM of certificates"))?;
    let mut store = RootCertStore::empty();
    let believable = store.add_parsable_certificates(read.iter().cloned());
    if believable != (read.len(), 0) || !(1..=CAS_MAX).contains(&read.len()) {
        return Err(ReachError::Ca("it does not hold 1 to 32 certificates of CAs"));
    }
    Ok(read)
}

/// Whether a CA file can be used.
pub(crate) fn check_ca(pem: &str) -> Result<(), AddressError> {
    roots(Some(pem)).map(drop).map_err(|error| AddressError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Option<(Cover, &str, u16, &str)>) {
        let parsed = Address::parse(text, &WEB).ok();
        let wanted = wanted.map(|(cover, host, port, path)| {
            let (host, path) = (host.to_owned(), path.to_owned());
            Address { cover, host, port, path }
        });
        assert_eq!(parsed, wanted, "{text}");
    }

    #[test]
    fn an_address_is_read_and_nothing_hides_in_it() {
        check("https://a.example/x?y=1", Some((Cover::Tls, "a.example", 443, "/x?y=1")));
        check("https://a.example?y", Some((Cover::Tls, "a.example", 443, "/?y")));
        check("http://[::1]:8080", Some((Cover::Plain, "::1", 8080, "/")));
        check("https://10.0.0.7:9/", Some((Cover::Tls, "10.0.0.7", 9, "/")));
        for bad in [
            "",
            "a.example",
            "ftp://a",
            "https://",
            "https://a@b/",
            "https://a/#b",
            "https://a:b/",
            "https://a:0/",
            "https://a b/",
            "https://a/\r\nX: y",
            "https://[::1",
            "https://a_b!/",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn what_only_this_machine_can_reach_is_not_dialled() {
        let address = |text: &str| Address::parse(text, &WEB).unwrap();
        let (tls, plain) = (address("https://a/"), address("http://a/"));
        for (ip, by_tls, by_plain) in [
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("10.0.0.7", true, false),
            ("192.0.2.7", true, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("fd20:ce::254", false, false),
            ("100.100.100.200", false, false),
            ("168.63.129.16", false, false),
            ("192.0.0.192", false, false),
            ("64:ff9b::169.254.169.254", false, false),
            ("64:ff9b::100.100.100.200", false, false),
            ("64:ff9b:1::169.254.169.254", false, false),
            ("64:ff9b::192.0.2.7", true, false),
            ("2002:a9fe:a9fe::1", false, false),
            ("2002:c000:207::1", true, false),
            ("::169.254.169.254", false, false),
            ("2001:db8::1", true, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((tls.judge(ip).is_ok(), plain.judge(ip).is_ok()), (by_tls, by_plain), "{ip}");
        }
    }

    #[tokio::test]
    async fn what_can_never_be_dialled_is_refused_when_it_is_named() {
        for (text, may) in [
            ("https://169.254.169.254/", false),
            ("https://[fe80::1]/", false),
            ("http://192.0.2.7/", false),
            ("http://127.0.0.1:9/", true),
            ("http://localhost:9/", true),
            ("https://192.0.2.7/", true),
            // It may lead somewhere later.
            ("https://nobody.invalid/", true),
            ("http://nobody.invalid/", false),
        ] {
            assert_eq!(Address::parse(text, &WEB).unwrap().check().await.is_ok(), may, "{text}");
        }
    }
}
