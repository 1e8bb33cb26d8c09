//! The page's server: HTTP/1.1, one request a connection, until there is an answer.

use core::convert::Infallible;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response, StatusCode, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use kos_base::text::printable;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use super::{
    PageCode, PageFault, TIME_MAX, WRONG_MAX,
    door::{self, Asked},
    seal::Lock,
    webauthn::Unfit,
};
use crate::Fault;

/// Longest body, in bytes: three answers with ids of 1 023 bytes and keys of 8 192 bits, sealed. Stops one that fills the memory.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause after a connection that the system did not let in; it may have run out of descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may be open; stops whoever sends a byte now and then.
const CONNECTION_MAX: Duration = Duration::from_secs(15);
/// How long the last answer may take to reach the browser.
const PARTING_MAX: Duration = Duration::from_secs(2);

type Judge<T> = Box<dyn Fn(&[u8]) -> Result<T, Unfit> + Send>;

/// What stands between the browser and whoever waits for it.
pub(super) struct Desk<T> {
    code: PageCode,
    task: Value,
    challenges: Vec<u8>,
    judge: Judge<T>,
    wrong: u32,
    /// For the answer of whoever began last; there is none before somebody had the code.
    lock: Option<Lock>,
    is_over: bool,
}

impl<T> Desk<T> {
    pub(super) fn new(
        code: PageCode,
        task: Value,
        challenges: Vec<u8>,
        judge: impl Fn(&[u8]) -> Result<T, Unfit> + Send + 'static,
    ) -> Self {
        Self { code, task, challenges, judge: Box::new(judge), wrong: 0, lock: None, is_over: false }
    }

    /// What the browser gets, and how it ended if it did.
    fn answer(&mut self, asked: &Asked, body: &[u8]) -> (Reply, Option<Result<T, PageFault>>) {
        if self.is_over {
            return (Reply::no(StatusCode::GONE, "this page has ended: begin again in the terminal"), None);
        }
        match asked {
            Asked::Begin => self.begin(body),
            Asked::End => self.end(body),
            Asked::Part(_) => (Reply::foreign(), None),
        }
    }

    /// Tells whoever has the code what to do, and under which key to bring what came of it.
    fn begin(&mut self, body: &[u8]) -> (Reply, Option<Result<T, PageFault>>) {
        let Ok(Begun { code }) = serde_json::from_slice(body) else { return (Reply::foreign(), None) };
        // Whoever guesses while somebody is at the authenticator ends nothing, and has no more tries than before.
        if self.wrong >= WRONG_MAX {
            let why = "there were too many wrong codes: only the page that has begun goes on";
            return (Reply::no(StatusCode::TOO_MANY_REQUESTS, why), None);
        }
        if !self.code.is(&code) {
            self.wrong += 1;
            self.is_over = self.wrong >= WRONG_MAX && self.lock.is_none();
            let no = Reply::no(StatusCode::FORBIDDEN, "this is not the code that the terminal shows");
            return (no, self.is_over.then_some(Err(PageFault::Codes)));
        }
        let Ok(lock) = Lock::draw() else {
            return (Reply::no(StatusCode::INTERNAL_SERVER_ERROR, "no key could be made"), None);
        };
        let mut task = self.task.clone();
        if let Some(members) = task.as_object_mut() {
            members.insert("key".to_owned(), lock.public().into());
        }
        self.lock = Some(lock);
        (Reply { status: StatusCode::OK, text: task.to_string() }, None)
    }

    /// Takes the answer that is sealed for this page. What is not is no answer, and changes nothing.
    fn end(&mut self, body: &[u8]) -> (Reply, Option<Result<T, PageFault>>) {
        let Ok(Ended { key, sealed }) = serde_json::from_slice(body) else { return (Reply::foreign(), None) };
        let opened = self
            .lock
            .as_ref()
            .and_then(|lock| lock.open(self.code.plain().as_bytes(), &self.challenges, &key, &sealed));
        let Some(answer) = opened else {
            let why = "this is not sealed for the page that began last: load the page again";
            return (Reply::no(StatusCode::FORBIDDEN, why), None);
        };
        // The key opened what it was for.
        self.lock = None;
        self.is_over = true;
        match (self.judge)(&answer) {
            Ok(done) => (Reply { status: StatusCode::OK, text: json!({}).to_string() }, Some(Ok(done))),
            Err(unfit) => (Reply::unfit(unfit), Some(Err(unfit.into()))),
        }
    }
}

/// What the page posts to begin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    code: String,
}

/// What the page posts to end: its own key, and its answer under what that and the key of this page agree on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    key: String,
    sealed: String,
}

struct Reply {
    status: StatusCode,
    text: String,
}

impl Reply {
    fn no(status: StatusCode, why: &str) -> Self {
        Self { status, text: json!({"title": why}).to_string() }
    }

    fn foreign() -> Self {
        Self::no(StatusCode::BAD_REQUEST, "this is nothing that the page sends")
    }

    fn unfit(unfit: Unfit) -> Self {
        let code = unfit.code();
        let text = json!({
            "code": code.to_string(), "title": code.title(), "detail": printable(&unfit.to_string(), 200),
            "fix": code.fix()
        });
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, text: text.to_string() }
    }
}

/// Serves until there is an answer, nobody came, or Ctrl-C.
pub(super) async fn until_answered<T: Send + 'static>(
    listeners: Vec<TcpListener>,
    port: u16,
    desk: Desk<T>,
) -> Result<T, Fault> {
    let desk = Arc::new(Mutex::new(desk));
    let (tell, mut told) = mpsc::channel(1);
    let mut connections = JoinSet::new();
    let over = sleep(TIME_MAX);
    tokio::pin!(over);
    let ended = loop {
        let stream = tokio::select! {
            stream = next(&listeners) => stream,
            Some(ended) = told.recv() => break ended,
            () = &mut over => return Err(PageFault::Time.into()),
            _ = tokio::signal::ctrl_c() => return Err(Fault::Interrupted),
        };
        while connections.try_join_next().is_some() {}
        if connections.len() < CONNECTIONS_MAX {
            connections.spawn(talk(stream, port, Arc::clone(&desk), tell.clone()));
        }
    };
    drop(listeners);
    let parting = async { while connections.join_next().await.is_some() {} };
    // A browser that does not take its last answer is not waited for.
    drop(timeout(PARTING_MAX, parting).await);
    ended.map_err(Fault::from)
}

/// The next connection to any of them.
async fn next(listeners: &[TcpListener]) -> TcpStream {
    let [first, others @ ..] = listeners else { return core::future::pending().await };
    loop {
        let accepted = match others.first() {
            Some(second) => tokio::select! { one = first.accept() => one, other = second.accept() => other },
            None => first.accept().await,
        };
        if let Ok((stream, _)) = accepted {
            return stream;
        }
        // Too many open files: there may be room again soon.
        sleep(REFUSED_PAUSE).await;
    }
}

async fn talk<T: Send + 'static>(
    stream: TcpStream,
    port: u16,
    desk: Arc<Mutex<Desk<T>>>,
    tell: mpsc::Sender<Result<T, PageFault>>,
) {
    let service = service_fn(move |request| {
        let (desk, tell) = (Arc::clone(&desk), tell.clone());
        async move { Ok::<_, Infallible>(reply(request, port, &desk, &tell).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong on a connection is the browser's to show.
    drop(timeout(CONNECTION_MAX, serving).await);
}

async fn reply<T>(
    request: Request<Incoming>,
    port: u16,
    desk: &Mutex<Desk<T>>,
    tell: &mpsc::Sender<Result<T, PageFault>>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let asked = match door::admit(&head, port) {
        Ok(Asked::Part(asset)) => return respond(StatusCode::OK, asset.media, asset.text),
        Ok(asked) => asked,
        Err(status) => {
            let title = json!({"title": "this request is none of the page"}).to_string();
            return respond(status, "application/json", title);
        }
    };
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return respond(StatusCode::PAYLOAD_TOO_LARGE, "application/json", json!({}).to_string());
    };
    let body = Zeroizing::new(Vec::from(body.to_bytes()));
    let (reply, ended) = desk.lock().unwrap_or_else(PoisonError::into_inner).answer(&asked, &body);
    if let Some(ended) = ended {
        // There is room for the one end that there is.
        drop(tell.try_send(ended));
    }
    respond(reply.status, "application/json", reply.text)
}

fn respond(status: StatusCode, media: &str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header("content-type", media);
    for (name, value) in door::HEADERS {
        response = response.header(name, value);
    }
    response.body(Full::new(text.into())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{super::seal::tests::seal, *};

    const CODE: &str = "ABCD-EFGH";

    fn desk() -> Desk<Vec<u8>> {
        let judge = |answer: &[u8]| match answer {
            b"1" => Ok(answer.to_vec()),
            _ => Err(Unfit::Person),
        };
        Desk::new(PageCode(CODE.to_owned()), json!({"act": "use"}), vec![1; 96], judge)
    }

    fn typed(code: &str) -> Vec<u8> {
        json!({"code": code}).to_string().into_bytes()
    }

    /// Begins, and returns the key that the page gets.
    fn begin(desk: &mut Desk<Vec<u8>>) -> String {
        let (begun, ended) = desk.answer(&Asked::Begin, &typed("abcdefgh"));
        assert!(begun.status == StatusCode::OK && begun.text.contains("use") && ended.is_none());
        serde_json::from_str::<Value>(&begun.text).unwrap()["key"].as_str().unwrap().to_owned()
    }

    fn sealed(to: &str, answer: &[u8]) -> Vec<u8> {
        let (key, sealed) = seal(to, b"ABCDEFGH", &[1; 96], answer);
        json!({"key": key, "sealed": sealed}).to_string().into_bytes()
    }

    #[test]
    fn the_first_sealed_answer_ends_it_good_or_bad() {
        for (answer, status) in [(b"1", StatusCode::OK), (b"2", StatusCode::UNPROCESSABLE_ENTITY)] {
            let mut desk = desk();
            let key = begin(&mut desk);
            let body = sealed(&key, answer);
            let (reply, ended) = desk.answer(&Asked::End, &body);
            assert_eq!((reply.status, ended.map(|ended| ended.is_ok())), (status, Some(answer == b"1")));
            let (again, ended) = desk.answer(&Asked::End, &body);
            assert!(again.status == StatusCode::GONE && ended.is_none());
        }
    }

    #[test]
    fn what_is_not_sealed_for_this_page_is_refused_and_ends_nothing() {
        let mut desk = desk();
        let early = desk.answer(&Asked::End, &sealed(&Lock::draw().unwrap().public(), b"1"));
        assert!(early.0.status == StatusCode::FORBIDDEN && early.1.is_none(), "before somebody had the code");
        let first = begin(&mut desk);
        let second = begin(&mut desk);
        assert_ne!(first, second, "a key of its own each time");
        for other in [&first, &Lock::draw().unwrap().public()] {
            let (reply, ended) = desk.answer(&Asked::End, &sealed(other, b"1"));
            assert!(reply.status == StatusCode::FORBIDDEN && ended.is_none());
        }
        let plain = json!({"code": CODE, "answer": 1}).to_string();
        assert_eq!(desk.answer(&Asked::End, plain.as_bytes()).0.status, StatusCode::BAD_REQUEST);
        assert!(desk.answer(&Asked::End, &sealed(&second, b"1")).1.unwrap().is_ok());
    }

    #[test]
    fn the_fifth_wrong_code_ends_it_also_for_whoever_has_the_right_one() {
        let mut desk = desk();
        for n in 1..=WRONG_MAX {
            let (reply, ended) = desk.answer(&Asked::Begin, &typed("ABCD-EFGJ"));
            assert_eq!((reply.status, ended.is_some()), (StatusCode::FORBIDDEN, n == WRONG_MAX));
        }
        assert_eq!(desk.answer(&Asked::Begin, &typed(CODE)).0.status, StatusCode::GONE);
    }

    #[test]
    fn wrong_codes_end_nothing_that_is_under_way_and_are_no_more_than_before() {
        let mut desk = desk();
        let key = begin(&mut desk);
        for _ in 0..WRONG_MAX {
            let (reply, ended) = desk.answer(&Asked::Begin, &typed("ABCD-EFGJ"));
            assert!(reply.status == StatusCode::FORBIDDEN && ended.is_none());
        }
        for code in ["ABCD-EFGJ", CODE] {
            let (reply, ended) = desk.answer(&Asked::Begin, &typed(code));
            assert!(reply.status == StatusCode::TOO_MANY_REQUESTS && ended.is_none(), "{code}");
        }
        assert!(desk.answer(&Asked::End, &sealed(&key, b"1")).1.unwrap().is_ok());
    }

    #[test]
    fn what_the_page_does_not_send_changes_nothing() {
        let mut desk = desk();
        let key = begin(&mut desk);
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"code":"ABCD-EFGH","code":"x"}"#,
            br#"{"code":"ABCD-EFGH","more":1}"#,
            br#"{"key":"","sealed":"","more":1}"#,
        ] {
            for asked in [Asked::Begin, Asked::End] {
                assert_eq!(desk.answer(&asked, body).0.status, StatusCode::BAD_REQUEST);
            }
        }
        assert!(desk.answer(&Asked::End, &sealed(&key, b"1")).1.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_nobody_uses_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let began = tokio::time::Instant::now();
        let ended = until_answered(vec![listener], port, desk()).await;
        assert_eq!(ended.err().map(|fault| fault.code().number()), Some(625));
        assert!(began.elapsed() >= TIME_MAX);
    }
}
