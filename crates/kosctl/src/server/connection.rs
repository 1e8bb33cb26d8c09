//! One HTTP/1.1 connection to a server, over its socket or over TLS.

use std::{error::Error, io};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{HeaderMap, HeaderValue},
};
use hyper_util::rt::TokioIo;
use kos_base::{
    Secret, code,
    token::{self, COVERED, EXPORTER_LABEL, TokenKey},
};
use rustls::{AlertDescription, CertificateError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use zeroize::Zeroizing;

use super::{Credentials, Server, body::Body, socket, tls};
use kos_base::text::reason;

use crate::{Fault, clock};

/// A connection that is open, and closed when this is dropped.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    server: Server,
    tokens: Option<Tokens>,
}

/// Makes the tokens of a connection over TLS (TOK-2).
struct Tokens {
    key: TokenKey,
    counter: u64,
}

impl Connection {
    pub(super) async fn open(server: &Server, credentials: Option<&Credentials>) -> Result<Self, Fault> {
        let (sender, tokens) = match server {
            Server::Unix(path) => (handshake(server, socket::connect(path).await?).await?, None),
            Server::Https { host, port } => {
                let credentials = credentials.ok_or_else(|| Fault::NotSignedIn {
                    server: server.to_string(),
                    reason: "no context has a certificate for it".to_owned(),
                })?;
                let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| failed(server, &e))?;
                let tls = tls::connect(credentials, host, tcp).await.map_err(|e| failed(server, &e))?;
                let mut exporter = Zeroizing::new([0; 32]);
                tls.get_ref()
                    .1
                    .export_keying_material(&mut *exporter, EXPORTER_LABEL, None)
                    .map_err(|e| failed(server, &e))?;
                let key = TokenKey::derive(&Secret::new(*exporter), None);
                let key = key.map_err(|e| Fault::Internal(e.to_string()))?;
                (handshake(server, tls).await?, Some(Tokens { key, counter: 0 }))
            }
        };
        Ok(Self { sender, server: server.clone(), tokens })
    }

    /// The token of the next request; over a socket there is none.
    pub(super) fn token(
        &mut self,
        method: &str,
        target: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<String> {
        let tokens = self.tokens.as_mut()?;
        tokens.counter += 1;
        let headers = COVERED.map(|name| headers.get(name).map_or(&[][..], HeaderValue::as_bytes));
        let request = token::Request { method, target, body, headers };
        Some(tokens.key.token(request, clock::now(), tokens.counter).to_string())
    }

    /// Whether another request can go out. The answer to the one before was read to its end, or the server hears no more.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Fault> {
        self.sender.send_request(request).await.map_err(|e| failed(&self.server, &e))
    }
}

async fn handshake<S>(server: &Server, stream: S) -> Result<SendRequest<Body>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(server, &e))?;
    // It ends with the sender; what goes wrong on it is told to the request that waits.
    tokio::spawn(connection);
    sender.ready().await.map_err(|e| failed(server, &e))?;
    Ok(sender)
}

/// What went wrong with a connection, by the innermost error that says something.
pub(super) fn failed(server: &Server, error: &(dyn Error + 'static)) -> Fault {
    failed_at(&server.to_string(), error)
}

/// The same for a server that is called `server`.
pub(super) fn failed_at(server: &str, error: &(dyn Error + 'static)) -> Fault {
    let mut here = Some(error);
    let mut io_error: Option<&io::Error> = None;
    while let Some(error) = here {
        let inner = error.downcast_ref::<io::Error>();
        let rustls = error.downcast_ref::<rustls::Error>();
        if let Some(rustls) = rustls.or_else(|| inner?.get_ref()?.downcast_ref()) {
            return refused(server, rustls);
        }
        io_error = inner.or(io_error);
        here = error.source();
    }
    let reason = io_error.map_or("the connection ended before the answer", reason);
    Fault::Unreachable { server: server.to_owned(), reason: reason.to_owned() }
}

/// Who refused whom in TLS.
fn refused(server: &str, error: &rustls::Error) -> Fault {
    let untrusted =
        |reason: &str, code| Fault::Untrusted { server: server.to_owned(), reason: reason.to_owned(), code };
    match error {
        rustls::Error::AlertReceived(alert) => {
            let reason = match alert {
                AlertDescription::CertificateRequired => "it wants a certificate",
                AlertDescription::CertificateExpired => "our certificate has expired",
                AlertDescription::CertificateRevoked => "our certificate was revoked",
                AlertDescription::UnknownCA => "our certificate is of another authority",
                AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied => "it does not take our certificate",
                _ => return untrusted("it ended the TLS handshake", code::certificate::CERT_CHAIN),
            };
            Fault::NotSignedIn { server: server.to_owned(), reason: reason.to_owned() }
        }
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                untrusted("its certificate has expired", code::certificate::CERT_EXPIRED)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                untrusted("its certificate is not valid yet", code::certificate::CERT_NOT_YET_VALID)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                untrusted("its certificate names somebody else", code::certificate::CERT_IDENTITY)
            }
            CertificateError::Revoked => {
                untrusted("its certificate was revoked", code::certificate::CERT_REVOKED)
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                untrusted("its certificate is for another purpose", code::certificate::CERT_PURPOSE)
            }
            _ => untrusted(
                "its certificate does not lead to a root that we trust",
                code::certificate::CERT_CHAIN,
            ),
        },
        rustls::Error::InvalidMessage(_) => {
            Fault::Unreachable { server: server.to_owned(), reason: "it does not speak TLS".to_owned() }
        }
        _ => untrusted("TLS failed", code::certificate::CERT_CHAIN),
    }
}
