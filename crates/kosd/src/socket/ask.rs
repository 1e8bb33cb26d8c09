//! The other end of the socket, for `kosd status`, `kosd id` and `kosd decommission`.

use std::{io, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use kos_api::{Document, Kind, Problem, routes::Route};
use kos_base::{Code, code};
use tokio::{net::UnixStream, time::timeout};

use super::path::Short;

/// How long the daemon may take to answer; an end waits for the authority.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);
/// Longest answer in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No daemon listens there.
    #[error("no kosd runs here")]
    Absent,
    /// The socket belongs to somebody who is neither root nor the caller.
    #[error("the socket belongs to user {owner}")]
    Owner {
        /// Their number.
        owner: u32,
    },
    /// The daemon refuses.
    #[error("{}", .0.detail.as_deref().unwrap_or(&.0.title))]
    Refused(Box<Problem>),
    /// What came is not an answer.
    #[error("the daemon's answer cannot be read: {0}")]
    Answer(String),
}

impl AskError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Absent => code::config::UNREACHABLE,
            Self::Owner { .. } => code::config::SOCKET_OWNER,
            Self::Refused(problem) => Code::find(&problem.code).unwrap_or(code::config::INTERNAL),
            Self::Answer(_) => code::config::INTERNAL,
        }
    }
}

/// A connection to a daemon, good for one question.
pub struct Asker {
    sender: SendRequest<Full<Bytes>>,
}

impl Asker {
    /// Connects to the daemon at `path`.
    ///
    /// # Errors
    /// When none runs there, or it is run by somebody whom the caller has no reason to believe.
    pub async fn connect(path: &Path) -> Result<Self, AskError> {
        let broken = |error: &dyn core::fmt::Display| AskError::Answer(error.to_string());
        let stream = async { UnixStream::connect(Short::of(path)?.path()).await };
        let stream = stream.await.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Absent,
            _ => broken(&error.kind()),
        })?;
        let owner = stream.peer_cred().map_err(|error| broken(&error.kind()))?.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(AskError::Owner { owner });
        }
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Asks once.
    ///
    /// # Errors
    /// When the daemon refuses, or does not answer in time.
    pub async fn ask<T: Kind>(mut self, route: &Route, body: Vec<u8>) -> Result<T, AskError> {
        let broken = |error: &dyn core::fmt::Display| AskError::Answer(error.to_string());
        let request = Request::builder()
            .method(route.method.as_str())
            .uri(route.path)
            .header(HOST, "localhost")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let answer = async {
            let answer = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
            let good = answer.status().is_success();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            body.map(|body| (good, body.to_bytes())).map_err(|error| broken(&error))
        };
        let (good, body) =
            timeout(ANSWER_TIME_MAX, answer).await.map_err(|_| broken(&"it took too long"))??;
        if good {
            let document = serde_json::from_slice::<Document<T>>(&body).map_err(|error| broken(&error))?;
            return Ok(document.item);
        }
        let problem = serde_json::from_slice::<Problem>(&body).map_err(|error| broken(&error))?;
        Err(AskError::Refused(Box::new(problem)))
    }
}
