//! Calls to the API, by the routes of `kos-api`.
//!
//! A [`Client`] knows one server, keeps one connection, and answers with the types of `kos-api` or a [`Fault`]. It
//! reads no environment, asks nobody and prints nothing.

use core::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use std::io::{self, Read as _};

use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH},
};
use kos_api::{
    Document, Kind, List, Problem,
    plan::Plan,
    routes::{Effect, IDEMPOTENCY_KEY, Media, REQUEST_ID, Route, encode},
};
use kos_base::EntryId;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    Credentials, Server,
    connection::{Body, Connection, failed},
};
use crate::{Fault, chance, clock};

/// Longest JSON answer that is read, in bytes: a page of 500 items of 32 KiB. Stops a server that would fill memory.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a call may take when nothing else was said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a file is sent at once, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

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

    /// One item, and the tag of this version of it.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn show_version<T: Kind>(
        &self,
        route: &Route,
        values: &[&str],
    ) -> Result<(T, Option<String>), Fault> {
        let answer = self.exchange(route, &route.fill(values), HeaderMap::new(), empty()).await?;
        let tag = answer.headers.get(ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok((self.read_document(&answer)?, tag))
    }

    /// One item of a kind that the caller tells apart by its document.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn show_any(&self, route: &Route) -> Result<Value, Fault> {
        let answer = self.exchange(route, &route.fill(&[]), HeaderMap::new(), empty()).await?;
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
        let path = route.fill(values) + &query_text(query)?;
        let answer = self.exchange(route, &path, HeaderMap::new(), empty()).await?;
        self.read_json(&answer)
    }

    /// The answer to a question that has a body and changes nothing.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn ask<T: Kind, B: Serialize>(&self, route: &Route, body: &B) -> Result<T, Fault> {
        let (headers, body) = json(body)?;
        let answer = self.exchange(route, &route.fill(&[]), headers, body).await?;
        self.read_document(&answer)
    }

    /// A change, done or planned. Asking again after a broken connection does not make it twice.
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
            let (mut headers, body) = json(body)?;
            headers.insert(HeaderName::from_static(IDEMPOTENCY_KEY), header_value(&key)?);
            if let Some(tag) = &how.if_match {
                headers.insert(IF_MATCH, header_value(tag)?);
            }
            self.exchange(route, &path, headers, body).await
        };
        let answer = match send().await {
            Err(Fault::Unreachable { .. }) => send().await?,
            other => other?,
        };
        if how.dry_run {
            return self.read_document(&answer).map(Outcome::Planned);
        }
        self.read_document(&answer).map(Outcome::Done)
    }

    /// Bytes, at most `bytes_max`.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn read(&self, route: &Route, values: &[&str], bytes_max: usize) -> Result<Bytes, Fault> {
        let path = route.fill(values);
        let whole = async {
            let response = self.send(route, &path, HeaderMap::new(), empty()).await?;
            self.collect(response, bytes_max).await
        };
        Ok(self.in_time(whole).await?.body)
    }

    /// Bytes of any length, handed to `sink` as they come; the answer is how many. A server that falls silent for the
    /// time-out is given up.
    ///
    /// # Errors
    /// What the server said, why it did not say anything, or why `sink` takes no more.
    pub async fn download<B: Serialize>(
        &self,
        route: &Route,
        body: &B,
        mut sink: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let (headers, body) = json(body)?;
        let response = self.in_time(self.send(route, &route.fill(&[]), headers, body)).await?;
        let mut incoming = response.into_body();
        let mut count = 0;
        loop {
            let frame = async { incoming.frame().await.transpose().map_err(|e| failed(&self.server, &e)) };
            match self.in_time(frame).await?.map(Frame::into_data) {
                Some(Ok(data)) => {
                    sink(&data)?;
                    count += u64::try_from(data.len()).unwrap_or(u64::MAX);
                }
                Some(Err(_trailers)) => {}
                None => return Ok(count),
            }
        }
    }

    /// What the server says of a file, which is sent as it is read. The time-out runs from the end of the file.
    ///
    /// # Errors
    /// What the server said, or why it did not say anything.
    pub async fn upload<T: Kind>(
        &self,
        route: &Route,
        file: std::fs::File,
        header: (&'static str, &str),
    ) -> Result<T, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Media::Bytes.as_str()));
        headers.insert(HeaderName::from_static(header.0), header_value(header.1)?);
        let response = self.send(route, &route.fill(&[]), headers, FileBody::of(file).boxed_unsync()).await?;
        let answer = self.in_time(self.collect(response, ANSWER_BYTES_MAX)).await?;
        self.read_document(&answer)
    }

    async fn exchange(
        &self,
        route: &Route,
        path: &str,
        headers: HeaderMap,
        body: Body,
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
        body: Body,
    ) -> Result<Response<Incoming>, Fault> {
        let host = match &self.server {
            Server::Unix(_) => "localhost".to_owned(),
            https @ Server::Https { .. } => https.to_string().trim_start_matches("https://").to_owned(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = route.method.as_str().parse().map_err(|_| own_fault("method"))?;
        *request.uri_mut() = path.parse().map_err(|_| own_fault("path"))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, header_value(&host)?);

        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take().filter(Connection::is_usable) {
            Some(open) => open,
            None => Connection::open(&self.server, self.credentials.as_ref()).await?,
        };
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
        if response.status() == StatusCode::OK {
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

    fn read_document<T: Kind>(&self, answer: &Answer) -> Result<T, Fault> {
        self.read_json::<Document<T>>(answer).map(|document| document.item)
    }

    fn read_json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Fault> {
        serde_json::from_slice(&answer.body).map_err(|e| self.nonsense(e.to_string()))
    }

    fn nonsense(&self, reason: String) -> Fault {
        Fault::Answer { server: self.server.to_string(), reason }
    }
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn json<B: Serialize>(body: &B) -> Result<(HeaderMap, Body), Fault> {
    let bytes = serde_json::to_vec(body).map_err(|_| own_fault("body"))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Media::Json.as_str()));
    Ok((headers, Full::from(bytes).map_err(|never| match never {}).boxed_unsync()))
}

fn header_value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_| own_fault("header"))
}

fn own_fault(part: &str) -> Fault {
    Fault::Internal(format!("a {part} that HTTP cannot carry"))
}

/// `?a=b&c=d` of the fields that are set.
fn query_text<Q: Serialize>(query: &Q) -> Result<String, Fault> {
    let Ok(Value::Object(fields)) = serde_json::to_value(query) else {
        return Err(own_fault("query"));
    };
    let mut text = String::new();
    for (name, value) in fields {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&format!("{name}={}", encode(&value, "-._~")));
    }
    Ok(text)
}

/// A file as a body, a chunk at a time.
struct FileBody {
    file: std::fs::File,
    left: u64,
}

impl FileBody {
    fn of(file: std::fs::File) -> Self {
        let left = file.metadata().map(|m| m.len()).unwrap_or_default();
        Self { file, left }
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let wanted = usize::try_from(self.left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        if wanted == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; wanted];
        let read = self.file.read_exact(&mut chunk);
        self.left -= u64::try_from(wanted).unwrap_or(self.left);
        Poll::Ready(Some(read.map(|()| Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
