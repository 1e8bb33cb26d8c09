//! A server that answers as a test says, over a Unix socket or over any stream that is handed to it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kos_api::{Document, Kind, List, Problem};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
    sync::oneshot,
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What to answer.
pub(crate) struct Told {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

type Mind = Arc<dyn Fn(&Asked) -> Told + Send + Sync>;

/// The server; it ends when this is dropped.
pub(crate) struct StandIn {
    folder: TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `GET /api/v1/status`. What is asked for stands in order, since its order means nothing.
    pub(crate) fn line(&self) -> String {
        let Some((path, query)) = self.path.split_once('?') else {
            return format!("{} {}", self.method, self.path);
        };
        let mut query: Vec<&str> = query.split('&').collect();
        query.sort_unstable();
        format!("{} {path}?{}", self.method, query.join("&"))
    }
}

impl Told {
    pub(crate) fn item<T: Kind>(item: T) -> Self {
        Self::bytes(serde_json::to_vec(&Document::new(item)).unwrap())
    }

    pub(crate) fn list<T: Kind>(list: &List<T>) -> Self {
        Self::bytes(serde_json::to_vec(list).unwrap())
    }

    pub(crate) fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn no(problem: &Problem) -> Self {
        Self { status: problem.status, headers: Vec::new(), body: serde_json::to_vec(problem).unwrap() }
    }

    pub(crate) fn nothing_there() -> Self {
        Self::no(&Problem::new(kos_base::code::config::NOT_FOUND))
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl StandIn {
    pub(crate) fn start(mind: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("s.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (end, ended) = oneshot::channel();
        let (mind, log): (Mind, _) = (Arc::new(mind), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = UnixListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream, Arc::clone(&mind), Arc::clone(&log)));
                    }
                };
                tokio::select! { () = accept => {}, _ = ended => {} }
            });
        });
        Self { folder, asked, end: Some(end), thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    /// `unix:PATH`
    pub(crate) fn server(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Everything that was asked so far, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<S>(stream: S, mind: Mind, log: Arc<Mutex<Vec<Asked>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (mind, log) = (Arc::clone(&mind), Arc::clone(&log));
        async move {
            let (head, body) = request.into_parts();
            let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
            let asked = Asked {
                method: head.method.to_string(),
                path: head.uri.to_string(),
                headers: head.headers.iter().map(header).collect(),
                body: body.collect().await?.to_bytes().to_vec(),
            };
            let told = mind(&asked);
            log.lock().unwrap().push(asked);
            let mut response = Response::builder().status(told.status);
            for (name, value) in told.headers {
                response = response.header(name, value);
            }
            Ok::<_, hyper::Error>(response.body(Full::new(Bytes::from(told.body))).unwrap())
        }
    });
    // A client that hangs up is no failure of the server.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
