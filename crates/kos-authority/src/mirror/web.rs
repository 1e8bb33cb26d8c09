//! A target that is an address: files are put there by `PUT`, folders made by `MKCOL` where the server wants that, as
//! WebDAV servers do.
//!
//! The address is judged and dialled as those of guardians are: TLS, or this machine. Redirects are not followed. What the
//! server has is read back and judged by the log's key; nothing else of what it says is believed.

use std::time::Duration;

use data_encoding::BASE64;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use kos_audit::tree::Piece;
use tokio::{task::JoinSet, time::timeout};
use zeroize::Zeroizing;

use super::MirrorError;
use crate::alert::sink::{Address, AddressError, WEB};

/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest answer that is read, in bytes: a bundle of 256 leaves of 64 KiB.
const ANSWER_BYTES_MAX: usize = 256 * 65_538;

/// Reads the address of a target.
pub(crate) fn address(url: &str) -> Result<Address, AddressError> {
    let address = Address::parse(url, &WEB)?;
    if address.path.contains('?') {
        return Err(AddressError("there is no query below which files can be put".to_owned()));
    }
    Ok(address)
}

/// A connection to a target.
pub(super) struct Web {
    host: String,
    prefix: String,
    authorization: Option<Zeroizing<String>>,
    sender: SendRequest<Full<Bytes>>,
    /// Ends with this value.
    _driving: JoinSet<Result<(), hyper::Error>>,
}

impl Web {
    pub(super) async fn open(
        url: &str,
        ca: Option<&str>,
        login: Option<(&str, Zeroizing<String>)>,
    ) -> Result<Self, MirrorError> {
        let address = address(url).map_err(|error| MirrorError::Away(error.to_string()))?;
        let stream = address.connect(ca).await.map_err(|error| MirrorError::Away(error.to_string()))?;
        let mut driving = JoinSet::new();
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| MirrorError::Away(error.to_string()))?;
        driving.spawn(connection);
        let authorization = login.map(|(user, password)| {
            let pair = Zeroizing::new(format!("{user}:{}", password.as_str()));
            Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())))
        });
        let prefix = address.path.trim_end_matches('/').to_owned();
        Ok(Self { host: address.authority(), prefix, authorization, sender, _driving: driving })
    }

    pub(super) async fn checkpoint(&mut self) -> Result<Option<String>, MirrorError> {
        let there = self.get("checkpoint").await?;
        Ok(there.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Puts a piece; when `carefully`, only if it is not there.
    pub(super) async fn put_piece(
        &mut self,
        piece: Piece,
        bytes: Vec<u8>,
        carefully: bool,
    ) -> Result<(), MirrorError> {
        let path = piece.path();
        if carefully && self.get(&path).await?.is_some_and(|there| there == bytes) {
            return Ok(());
        }
        self.put(&path, bytes).await
    }

    /// Puts a file, making the folders above it where the server does not do so by itself.
    pub(super) async fn put(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), MirrorError> {
        let bytes = Bytes::from(bytes);
        let (status, _) = self.ask(Method::PUT, path, bytes.clone()).await?;
        if status.is_success() {
            return Ok(());
        }
        if ![StatusCode::CONFLICT, StatusCode::NOT_FOUND, StatusCode::FORBIDDEN].contains(&status) {
            return Err(answered(path, status));
        }
        let make = Method::from_bytes(b"MKCOL").map_err(|e| MirrorError::Away(e.to_string()))?;
        for (at, _) in path.match_indices('/') {
            let folder = path.get(..=at).unwrap_or(path).to_owned();
            let (made, _) = self.ask(make.clone(), &folder, Bytes::new()).await?;
            // Most are there already.
            if !made.is_success() && made != StatusCode::METHOD_NOT_ALLOWED {
                return Err(answered(&folder, made));
            }
        }
        match self.ask(Method::PUT, path, bytes).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, _) => Err(answered(path, status)),
        }
    }

    async fn get(&mut self, path: &str) -> Result<Option<Bytes>, MirrorError> {
        match self.ask(Method::GET, path, Bytes::new()).await? {
            (StatusCode::OK, bytes) => Ok(Some(bytes)),
            // Some servers say so of a folder that is not there yet.
            (StatusCode::NOT_FOUND | StatusCode::CONFLICT, _) => Ok(None),
            (status, _) => Err(answered(path, status)),
        }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), MirrorError> {
        let failed =
            |e: &dyn std::fmt::Display| MirrorError::Away(kos_base::text::printable(&e.to_string(), 120));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.prefix))
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, concat!("kos-authority/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            let mut value = header::HeaderValue::from_str(authorization).map_err(|e| failed(&e))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body)).map_err(|e| failed(&e))?;
        let whole = async {
            self.sender.ready().await.map_err(|e| failed(&e))?;
            let response = self.sender.send_request(request).await.map_err(|e| failed(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|e| failed(&e))?.to_bytes()))
        };
        timeout(REQUEST_TIME_MAX, whole)
            .await
            .map_err(|_| MirrorError::Away("no answer in time".to_owned()))?
    }
}

fn answered(path: &str, status: StatusCode) -> MirrorError {
    MirrorError::Away(format!("it answered {} for `{path}`", status.as_str()))
}
