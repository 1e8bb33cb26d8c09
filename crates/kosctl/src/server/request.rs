//! Calls to the API, by the routes of `kos-api`.
//!
//! A [`Client`] knows one server, keeps one connection, and answers with the types of `kos-api` or a [`Fault`]. It
//! reads no environment, asks nobody and prints nothing.

use core::{ops::ControlFlow, time::Duration};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{ETAG, HOST, HeaderMap, HeaderName, IF_MATCH},
};
use kos_api::{
    Document, Kind, List, Problem,
    plan::Plan,
    routes::{Effect, IDEMPOTENCY_KEY, REQUEST_ID, Route},
};
use kos_base::{EntryId, token::HEADER};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Mutex;
use zeroize::Zeroize as _;

use super::{
    Credentials, Server, body,
    connection::{Connection, failed},
    events::{Event, EventReader},
};
use crate::{Fault, chance, clock};

/// Longest JSON answer that is read, in bytes: a page of 500 items of 32 KiB. Stops a server that would fill memory.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a call may take when nothing else was said.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the first byte of a download may take: the server may have to read everything that it has.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(900);

/// How long a stream may say nothing; a server gives a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// A server and how to talk to it.
pub struct Client {
    server: Server,
    credentials: Option<Credentials>,
    timeout: Duration,
    connection: Mutex<Option<Connection>>,
    observer: Option<Observer>,
}

/// Somebody who is told of every exchange.
type Observer = Box<dyn Fn(&Exchange<'_>) + Send + Sync>;

/// One request and how it was answered.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) request_id: Option<&'a str>,
}

/// How a change is asked for.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Decide everything and change nothing.
    pub dry_run: bool,
    /// Only if the object is still this version of itself.
    pub if_match: Option<String>,
}

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is done.
    Done(T),
    /// It was a dry run.
    Planned(Plan),
}

struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// A client of `server`. An `https` server needs credentials.
    pub fn new(server: Server, credentials: Option<Credentials>) -> Self {
        Self { server, credentials, timeout: TIMEOUT, connection: Mutex::new(None), observer: None }
    }

    /// The same with another limit for every call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    #[must_use]
    pub(crate) fn observed_by(self, observer: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Box::new(observer)), ..self }
    }

    /// Where it is.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// One item.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn show<T: Kind>(&self, route: &Route, values: &[&str]) -> Result<T, Fault> {
        self.show_version(route, values).await.map(|(item, _)| item)
    }

    /// One item, as a query asks for it.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn show_with<T: Kind, Q: Serialize>(
        &self,
        route: &Route,
        values: &[&str],
        query: &Q,
    ) -> Result<T, Fault> {
        let path = route.fill(values) + &body::query(query)?;
        let answer = self.get(route, &path, ANSWER_BYTES_MAX).await?;
        self.read_document(answer)
    }

    /// One item, and the tag of this version of it.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn show_version<T: Kind>(
        &self,
        route: &Route,
        values: &[&str],
    ) -> Result<(T, Option<String>), Fault> {
        let answer = self.get(route, &route.fill(values), ANSWER_BYTES_MAX).await?;
        let tag = answer.headers.get(ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok((self.read_document(answer)?, tag))
    }

    /// One item of a kind that the caller tells apart by its document.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn show_any(&self, route: &Route) -> Result<Value, Fault> {
        let answer = self.get(route, &route.fill(&[]), ANSWER_BYTES_MAX).await?;
        self.read_json(&answer)
    }

    /// One page of items.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn list<T: Kind, Q: Serialize>(
        &self,
        route: &Route,
        values: &[&str],
        query: &Q,
    ) -> Result<List<T>, Fault> {
        let path = route.fill(values) + &body::query(query)?;
        let answer = self.get(route, &path, ANSWER_BYTES_MAX).await?;
        self.read_json(&answer)
    }

    /// The answer to a question that changes nothing and is not asked by `GET`.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn ask<T: Kind, Q: Serialize, B: Serialize>(
        &self,
        route: &Route,
        values: &[&str],
        query: &Q,
        body: &B,
    ) -> Result<T, Fault> {
        let path = route.fill(values) + &body::query(query)?;
        let (headers, body) = body::json(body)?;
        let answer = self.exchange(route, &path, headers, body).await?;
        self.read_document(answer)
    }

    /// The list with which a question is answered that changes nothing and is not asked by `GET`.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub(crate) async fn ask_list<T: Kind>(&self, route: &Route) -> Result<List<T>, Fault> {
        let (headers, body) = body::json(&serde_json::json!({}))?;
        let answer = self.exchange(route, &route.fill(&[]), headers, body).await?;
        self.read_json(&answer)
    }

    /// A change, done or planned. Where asking again does not make it twice, it is asked again after a broken connection.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn change<T: Kind, B: Serialize>(
        &self,
        route: &Route,
        values: &[&str],
        body: &B,
        how: &Change,
    ) -> Result<Outcome<T>, Fault> {
        debug_assert_eq!(route.effect, Effect::Changes, "{} takes neither key nor dry run", route.name);
        let key = EntryId::from_parts(clock::now(), chance::bytes()?).to_string();
        let mut path = route.fill(values);
        if how.dry_run {
            path.push_str("?dryRun=true");
        }
        let send = || async {
            let (mut headers, body) = body::json(body)?;
            headers.insert(HeaderName::from_static(IDEMPOTENCY_KEY), body::header(&key)?);
            if let Some(tag) = &how.if_match {
                headers.insert(IF_MATCH, body::header(tag)?);
            }
            self.exchange(route, &path, headers, body).await
        };
        let answer = match send().await {
            Err(Fault::Unreachable { .. }) if route.is_repeatable() => send().await?,
            other => other?,
        };
        if how.dry_run {
            return self.read_document(answer).map(Outcome::Planned);
        }
        self.read_document(answer).map(Outcome::Done)
    }

    /// Bytes, at most `bytes_max`.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn read(&self, route: &Route, values: &[&str], bytes_max: usize) -> Result<Bytes, Fault> {
        Ok(self.get(route, &route.fill(values), bytes_max).await?.body)
    }

    /// The bytes that a request with a body is answered with, of any length, handed on as they come. It is asked for once;
    /// the answer may be long in coming and then has to keep coming.
    ///
    /// # Errors
    /// What the server said, or that the answer is not whole; what `take` got is worth nothing then.
    pub(crate) async fn download<B: Serialize>(
        &self,
        route: &Route,
        body: &B,
        mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (headers, body) = body::json(body)?;
        let path = route.fill(&[]);
        let sending = self.send(route, &path, headers, body);
        let patience = self.timeout.max(DOWNLOAD_TIMEOUT);
        let late = |_| Fault::TimedOut { server: self.server.to_string(), after: patience };
        let response = tokio::time::timeout(patience, sending).await.map_err(late)??;
        let mut body = response.into_body();
        loop {
            let frame = self.in_time(async { Ok(body.frame().await) }).await?;
            match frame.transpose().map_err(|e| failed(&self.server, &e))? {
                Some(frame) => frame.data_ref().map_or(Ok(()), |piece| take(piece))?,
                None => return Ok(()),
            }
        }
    }

    /// Events as they come, those after the one with the id `after`, until `take` says that it was the last or the server ends
    /// the stream. Returns the id of the last one, with what ended it; a server that says nothing at all for [`SILENCE`] is
    /// gone.
    pub(crate) async fn events<Q: Serialize>(
        &self,
        route: &Route,
        query: &Q,
        after: Option<&str>,
        mut take: impl FnMut(&Event) -> Result<ControlFlow<()>, Fault>,
    ) -> (Option<String>, Result<(), Fault>) {
        let mut reader = EventReader::default();
        let listening = async {
            let path = route.fill(&[]) + &body::query(query)?;
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(HeaderName::from_static("last-event-id"), body::header(after)?);
            }
            let response = self.in_time(self.send(route, &path, headers, Bytes::new())).await?;
            let mut body = response.into_body();
            let silent = |_| Fault::TimedOut { server: self.server.to_string(), after: SILENCE };
            loop {
                let frame = tokio::time::timeout(SILENCE, body.frame()).await.map_err(silent)?;
                let Some(frame) = frame.transpose().map_err(|e| failed(&self.server, &e))? else {
                    return Ok(());
                };
                let Some(piece) = frame.data_ref() else { continue };
                let events = reader.take(piece);
                let events =
                    events.map_err(|_| self.nonsense("an event longer than any that is read".to_owned()))?;
                for event in &events {
                    if take(event)?.is_break() {
                        return Ok(());
                    }
                }
            }
        };
        let ended = listening.await;
        // What is left of the answer must not be taken for that to the next request.
        *self.connection.lock().await = None;
        (reader.last_id, ended)
    }

    /// Reads; once more when the connection breaks, which a server may do to one that was idle.
    async fn get(&self, route: &Route, path: &str, bytes_max: usize) -> Result<Answer, Fault> {
        let read = || async {
            let response = self.send(route, path, HeaderMap::new(), Bytes::new()).await?;
            self.collect(response, bytes_max).await
        };
        match self.in_time(read()).await {
            Err(Fault::Unreachable { .. }) => self.in_time(read()).await,
            other => other,
        }
    }

    async fn exchange(
        &self,
        route: &Route,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Fault> {
        let whole = async {
            let response = self.send(route, path, headers, body).await?;
            self.collect(response, ANSWER_BYTES_MAX).await
        };
        self.in_time(whole).await
    }

    /// Sends, on the connection that is open or a new one, and reads the head of the answer. An answer that says no is
    /// a fault.
    async fn send(
        &self,
        route: &Route,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Fault> {
        let host = match &self.server {
            Server::Unix(_) => "localhost".to_owned(),
            https @ Server::Https { .. } => https.to_string().trim_start_matches("https://").to_owned(),
        };
        let mut request = Request::new(Full::from(body.clone()));
        *request.method_mut() = route.method.as_str().parse().map_err(|_| body::impossible("method"))?;
        *request.uri_mut() = path.parse().map_err(|_| body::impossible("path"))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, body::header(&host)?);

        let mut slot = self.connection.lock().await;
        let open = match slot.take() {
            Some(mut open) => open.is_usable().await.then_some(open),
            None => None,
        };
        let mut connection = match open {
            Some(open) => open,
            None => Connection::open(&self.server, self.credentials.as_ref()).await?,
        };
        if let Some(token) = connection.token(route.method.as_str(), path, request.headers(), &body) {
            request.headers_mut().insert(HeaderName::from_static(HEADER), body::header(&token)?);
        }
        drop(body);
        let response = connection.send(request).await?;
        *slot = Some(connection);
        drop(slot);

        if let Some(observer) = &self.observer {
            observer(&Exchange {
                method: route.method.as_str(),
                path,
                status: response.status().as_u16(),
                request_id: response.headers().get(REQUEST_ID).and_then(|v| v.to_str().ok()),
            });
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let answer = self.collect(response, ANSWER_BYTES_MAX).await?;
        match serde_json::from_slice::<Problem>(&answer.body) {
            Ok(problem) => Err(Fault::Answered(Box::new(problem))),
            Err(_) => Err(self.nonsense(format!("status {status} without a problem that says why"))),
        }
    }

    async fn collect(&self, response: Response<Incoming>, bytes_max: usize) -> Result<Answer, Fault> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, bytes_max).collect().await.map_err(|e| {
            if e.is::<LengthLimitError>() {
                return self.nonsense(format!("an answer of more than {bytes_max} bytes"));
            }
            failed(&self.server, e.as_ref())
        })?;
        Ok(Answer { headers: head.headers, body: body.to_bytes() })
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(Fault::TimedOut { server: self.server.to_string(), after: self.timeout }),
        }
    }

    /// Some documents hold a secret, so its bytes are wiped where nobody else has them.
    fn read_document<T: Kind>(&self, answer: Answer) -> Result<T, Fault> {
        let read = self.read_json::<Document<T>>(&answer).map(|document| document.item);
        if let Ok(mut bytes) = answer.body.try_into_mut() {
            bytes.zeroize();
        }
        read
    }

    fn read_json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Fault> {
        serde_json::from_slice(&answer.body).map_err(|e| self.nonsense(e.to_string()))
    }

    fn nonsense(&self, reason: String) -> Fault {
        Fault::Answer { server: self.server.to_string(), reason }
    }
}
