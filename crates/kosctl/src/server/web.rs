//! Files below an address on the web, whoever serves them: the copies of a log. Nothing that comes from there is believed.
//!
//! No redirects are followed, no proxy is used. TLS only keeps others from looking on: what a log's files are worth is
//! in their signatures.

use core::{fmt, str::FromStr, time::Duration};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST},
};
use hyper_util::rt::TokioIo;
use kos_base::text::printable;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::TlsConnector;

use super::{
    body::{self, Body},
    connection::failed_at,
    request::TIMEOUT,
};
use crate::{Fault, files};

/// Where systems keep the certificates that browsers trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Longest file of roots, in bytes.
const ROOTS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// `http://HOST[:PORT][/PATH]` or the same with https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    /// Whether the text is meant as such an address.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.starts_with("http://") || text.starts_with("https://")
    }
}

impl FromStr for Address {
    type Err = Fault;

    fn from_str(s: &str) -> Result<Self, Fault> {
        let bad =
            || Fault::usage(format!("`{}` is not an address", printable(s, 200)), "https://HOST[:PORT]/PATH");
        let (secure, rest) = match (s.strip_prefix("https://"), s.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(bad()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let usual = if secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (authority, usual),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host_ok =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
        let path_ok = path.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b));
        if !host_ok || !path_ok || port == 0 {
            return Err(bad());
        }
        Ok(Self { secure, host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let path = if self.path.is_empty() { String::new() } else { format!("/{}", self.path) };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}{path}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}{path}", self.host, self.port)
        }
    }
}

/// Reads files below an address, over one connection.
pub(crate) struct Web {
    address: Address,
    tls: Option<TlsConnector>,
    timeout: Duration,
    connection: Mutex<Option<SendRequest<Body>>>,
}

impl Web {
    /// Reads below `address`. The server is to have a certificate under the roots in `roots`, else under those that the
    /// system trusts.
    pub(crate) fn new(
        address: Address,
        roots: Option<&Path>,
        timeout: Option<Duration>,
    ) -> Result<Self, Fault> {
        let tls = if address.secure { Some(connector(roots)?) } else { None };
        Ok(Self { address, tls, timeout: timeout.unwrap_or(TIMEOUT), connection: Mutex::default() })
    }

    /// Where it reads.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// A file of at most `bytes_max` bytes; nothing when there is none.
    pub(crate) async fn read(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
        let whole = async {
            match self.ask(path, bytes_max).await {
                // A server may close a connection that was idle.
                Err(Fault::Unreachable { .. }) => self.ask(path, bytes_max).await,
                other => other,
            }
        };
        let late = |_| Fault::TimedOut { server: self.address.to_string(), after: self.timeout };
        tokio::time::timeout(self.timeout, whole).await.map_err(late)?
    }

    async fn ask(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
        let Address { host, port, path: prefix, .. } = &self.address;
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let mut request = Request::new(body::empty());
        *request.uri_mut() = format!("{prefix}/{path}").parse().map_err(|_| body::impossible("path"))?;
        let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        request.headers_mut().insert(HOST, body::header(&host)?);
        request.headers_mut().insert(ACCEPT_ENCODING, body::header("gzip, identity")?);

        let mut slot = self.connection.lock().await;
        let open = match slot.take() {
            Some(mut open) => open.ready().await.is_ok().then_some(open),
            None => None,
        };
        let mut sender = match open {
            Some(open) => open,
            None => self.connect().await?,
        };
        let failed = |error: &hyper::Error| failed_at(&self.address.to_string(), error);
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let (head, body) = response.into_parts();
        let wrong = |reason: String| Fault::Answer { server: self.address.to_string(), reason };
        let too_long = || wrong(format!("`{path}` has more than {bytes_max} bytes"));
        let body = Limited::new(body, bytes_max).collect().await;
        let body =
            body.map_err(|e| e.downcast::<hyper::Error>().map_or_else(|_| too_long(), |e| failed(&e)))?;
        *slot = Some(sender);
        drop(slot);
        match head.status.as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            status => return Err(wrong(format!("status {status} for `{path}`"))),
        }
        let bytes = body.to_bytes();
        match head.headers.get(CONTENT_ENCODING).map(|coding| coding.to_str().unwrap_or("?")) {
            None | Some("identity" | "") => Ok(Some(bytes.to_vec())),
            Some("gzip") => {
                let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
                let mut plain = Vec::new();
                let read =
                    GzDecoder::new(bytes.as_ref()).take(limit.saturating_add(1)).read_to_end(&mut plain);
                read.map_err(|_| wrong(format!("`{path}` is not what gzip writes")))?;
                if plain.len() > bytes_max { Err(too_long()) } else { Ok(Some(plain)) }
            }
            Some(other) => Err(wrong(format!("`{path}` in the coding `{}`", printable(other, 40)))),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Fault> {
        let Address { host, port, .. } = &self.address;
        let name = self.address.to_string();
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| failed_at(&name, &e))?;
        let Some(tls) = &self.tls else { return handshake(&name, tcp).await };
        let server = ServerName::try_from(host.clone())
            .map_err(|_| Fault::usage(format!("`{name}` names no host"), "https://HOST[:PORT]/PATH"))?;
        let stream = tls.connect(server, tcp).await.map_err(|e| failed_at(&name, &e))?;
        handshake(&name, stream).await
    }
}

async fn handshake<S>(name: &str, stream: S) -> Result<SendRequest<Body>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|e| failed_at(name, &e))?;
    // It ends with the sender; what goes wrong on it is told to the request that waits.
    tokio::spawn(connection);
    sender.ready().await.map_err(|e| failed_at(name, &e))?;
    Ok(sender)
}

fn connector(roots: Option<&Path>) -> Result<TlsConnector, Fault> {
    let path = match roots {
        Some(path) => path.to_owned(),
        None => SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file()).ok_or_else(|| {
            Fault::usage("this system has no certificates that it trusts", "name them with --ca FILE")
        })?,
    };
    let pem = files::read(&path, ROOTS_BYTES_MAX)?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if store.is_empty() {
        return Err(Fault::Malformed {
            path,
            reason: "there is no certificate of a CA in it".to_owned(),
            code: kos_base::code::certificate::CERT_MALFORMED,
        });
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| Fault::Internal("TLS 1.3 is not there".to_owned()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_alike() {
        for (text, written) in [
            ("https://logs.example.org/attic/", "https://logs.example.org:443/attic"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/a/b", "http://[::1]:8080/a/b"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), written);
        }
        for bad in ["ftp://a", "http://", "http://a:0", "https://user@a/", "https://a/b?c", "https://a b"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
