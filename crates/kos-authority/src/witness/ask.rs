//! The way to a witness: tlog-witness at an address, http or https.
//!
//! Whatever answers there is believed by its cosignature alone, so the certificate of a server keeps strangers from
//! disturbing and decides nothing. Every limit is on what the other end could stretch.

use std::{fmt, str::FromStr, time::Duration};

use axum::body::{Body, to_bytes};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use kos_base::{Code, code};
use tokio::time::timeout;

use super::memory::name_of;
use crate::alert::sink::reach::{Address, Cover};

/// How long a witness may take for one request. One that is slower counts as one that does not answer.
pub(super) const ASK_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest answer, in bytes: a checkpoint with the lines of its log and a witness. Stops one that sends for ever.
const ANSWER_BYTES_MAX: usize = 160 * 1024;

/// What an address begins with. A checkpoint is public, so it may go unencrypted.
const SCHEMES: [(&str, Cover, u16); 2] = [("https", Cover::Tls, 443), ("http", Cover::Open, 80)];

/// The submission prefix of a witness: what stands before `/add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WitnessUrl(Address);

/// The text is no address of a witness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ParseUrlError(String);

impl FromStr for WitnessUrl {
    type Err = ParseUrlError;

    fn from_str(s: &str) -> Result<Self, ParseUrlError> {
        let mut address = Address::parse(s, &SCHEMES).map_err(|e| ParseUrlError(e.to_string()))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !address.path.chars().all(plain) {
            return Err(ParseUrlError("its path has other characters than a-z, 0-9 and -._~/".to_owned()));
        }
        address.path = address.path.trim_end_matches('/').to_owned();
        Ok(Self(address))
    }
}

impl fmt::Display for WitnessUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.0.cover == Cover::Tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.0.authority(), self.0.path)
    }
}

/// What a witness answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// As HTTP has it.
    pub(super) status: u16,
    pub(super) body: String,
    /// The checkpoint that it holds, where the answer brings it.
    pub(super) held: Option<String>,
}

/// Why it answered nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("it takes longer than {} s", ASK_TIME_MAX.as_secs())]
    Slow,
    #[error("{0}")]
    Unreachable(String),
    #[error("an answer that is none: {0}")]
    Nonsense(String),
    #[error("over its link: {0}")]
    Link(&'static str),
}

impl AskError {
    pub(crate) const fn code(&self) -> Code {
        code::audit::WITNESS_UNREACHABLE
    }
}

impl WitnessUrl {
    /// Sends `add-checkpoint`.
    pub(super) async fn add_checkpoint(&self, request: String) -> Result<Reply, AskError> {
        let path = format!("{}/add-checkpoint", self.0.path);
        self.exchange("POST", path, request).await
    }

    /// Asks for the newest checkpoint of a log that it cosigned. Where the monitoring prefix is another one, nothing is
    /// found, which costs nothing but evidence.
    pub(super) async fn newest(&self, origin: &str) -> Result<Reply, AskError> {
        let path = format!("{}/{}/checkpoint", self.0.path, name_of(origin));
        self.exchange("GET", path, String::new()).await
    }

    async fn exchange(&self, method: &str, path: String, body: String) -> Result<Reply, AskError> {
        timeout(ASK_TIME_MAX, self.exchange_for_ever(method, path, body)).await.map_err(|_| AskError::Slow)?
    }

    async fn exchange_for_ever(&self, method: &str, path: String, body: String) -> Result<Reply, AskError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.0.authority())
            .header(header::CONNECTION, "close")
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Body::from(body))
            .map_err(|e| AskError::Nonsense(e.to_string()))?;
        let stream = self.0.connect(None).await.map_err(|e| AskError::Unreachable(e.to_string()))?;
        let lost = |e: hyper::Error| AskError::Unreachable(e.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let speak = async move {
            let response = sender.send_request(request).await.map_err(lost)?;
            let status: StatusCode = response.status();
            let body = to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await;
            let body = body.map_err(|e| AskError::Nonsense(e.to_string()))?;
            let body =
                String::from_utf8(body.to_vec()).map_err(|_| AskError::Nonsense("not UTF-8".to_owned()))?;
            Ok(Reply { status: status.as_u16(), body, held: None })
        };
        let (mut speak, mut connection) = (std::pin::pin!(speak), std::pin::pin!(connection));
        tokio::select! {
            reply = speak.as_mut() => reply,
            // It may have ended in order with the answer still to be read.
            ended = connection.as_mut() => match ended {
                Ok(()) => speak.await,
                Err(e) => Err(lost(e)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_witness_is_a_scheme_a_host_and_a_plain_path() {
        for (text, read) in [
            ("http://127.0.0.1:8642/witness", Some("http://127.0.0.1:8642/witness")),
            ("https://witness.example/", Some("https://witness.example:443")),
            ("http://[::1]:80/a/b/", Some("http://[::1]:80/a/b")),
            ("http://[::1]", Some("http://[::1]:80")),
            ("ftp://witness.example", None),
            ("witness.example", None),
            ("https://", None),
            ("https://user@witness.example", None),
            ("https://witness.example/?a", None),
            ("https://witness.example/#a", None),
            ("https://witness.example/a b", None),
            ("https://witness.example/a\r\nX: y", None),
        ] {
            let url = text.parse::<WitnessUrl>().ok().map(|url| url.to_string());
            assert_eq!(url.as_deref(), read, "{text}");
        }
    }
}
