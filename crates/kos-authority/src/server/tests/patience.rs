//! Peers who keep a connection and say next to nothing, in virtual time: each is let go, and others are served meanwhile.

use kos_identity::enrolment::message::{Facts, FromAuthority, FromDevice, Hello, Image};
use kos_net::{
    frame::{self, FrameReader, Patience},
    keys,
    tls::{Accepted, Expectation},
};
use minicbor::bytes::ByteArray;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, WriteHalf, duplex, split},
    time::{Instant, interval, interval_at, pause, resume},
};

use super::*;
use crate::{
    reception::Desk,
    server::{
        front::{self, Front},
        http::{HEAD_TIMEOUT, Version, serve_connection},
    },
};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything waits.
const LONG: Duration = Duration::from_secs(3600);

/// What a slow peer says: some bytes, and then one more every second for as long as it is heard.
struct Says {
    at_once: &'static [u8],
    then: &'static [u8],
}

/// Speaks until the other end has gone, and keeps its own end open.
async fn speak(mut io: impl AsyncWrite + Unpin, says: Says) {
    let mut heard = io.write_all(says.at_once).await.is_ok() && io.flush().await.is_ok();
    let mut seconds = interval(SECOND);
    seconds.tick().await;
    for byte in says.then {
        seconds.tick().await;
        heard = heard && io.write_all(&[*byte]).await.is_ok() && io.flush().await.is_ok();
    }
    std::future::pending::<()>().await;
}

/// Lets virtual time pass once nobody has anything else to do.
async fn later(pause: Duration) {
    interval_at(Instant::now() + pause, pause).tick().await;
}

fn router() -> axum::Router {
    axum::Router::new().route("/", axum::routing::get(|| async { "here" }))
}

/// Serves one HTTP connection; the peer's end of it.
fn served(version: Version) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = duplex(4_096);
    let (tell, stopping) = watch::channel(false);
    let serving = tokio::spawn(async move {
        serve_connection(far, version, router(), axum::http::Extensions::new(), stopping).await;
        drop(tell);
    });
    (near, serving)
}

async fn is_answered() {
    let (mut near, _serving) = served(Version::Http1);
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_finish_a_head_is_let_go_and_others_are_answered() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let one = |at_once, then| Says { at_once, then };
    for (version, says) in [
        (Version::Http1, one(b"", b"")),
        (Version::Http1, one(b"GET / HTTP/1.1\r\nHos", b"")),
        (Version::Http1, one(b"", b"GET /a-path-of-more-letters-than-seconds HTTP/1.1\r\n")),
        (Version::Http1, one(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"")),
        (Version::Http2, one(b"", b"")),
        (Version::Http2, one(b"PRI * HT", b"")),
        (Version::Http2, one(b"", PREFACE)),
        (Version::Http2, one(PREFACE, b"")),
    ] {
        let what = format!("{version:?} {:?} {:?}", says.at_once, says.then);
        let (near, serving) = served(version);
        let begun = Instant::now();
        // The answers are read, so that nothing but silence is wrong with this peer.
        let (mut read, write) = split(near);
        let reading = tokio::spawn(async move { read.read_to_end(&mut Vec::new()).await });
        let speaking = tokio::spawn(speak(write, says));
        is_answered().await;
        timeout(LONG / 2, serving).await.unwrap_or_else(|_| panic!("{what} is kept")).unwrap();
        assert!(begun.elapsed() <= 2 * HEAD_TIMEOUT + SECOND, "{what}: {:?}", begun.elapsed());
        speaking.abort();
        reading.abort();
    }
}

/// Where devices are let in, and the port in front of it.
struct Reception {
    _folder: TempDir,
    /// Keeps the writer.
    _authority: Authority,
    front: Front,
    desk: Desk,
}

impl Reception {
    async fn new() -> Self {
        let (folder, authority) = fixtures::attic().await;
        let misuse = Arc::default();
        let front = Front::new(authority.shared(), Arc::clone(&misuse)).await.unwrap();
        let (_, context) = watch::channel(Arc::new(front::context(authority.shared())));
        let desk = Desk { shared: Arc::clone(authority.shared()), context, misuse };
        Self { _folder: folder, _authority: authority, front, desk }
    }

    /// A device that has shaken hands, and the session that serves it.
    async fn welcome(&self) -> (impl AsyncRead + AsyncWrite + Unpin + Send + use<>, JoinHandle<()>) {
        let key = Arc::new(SigningKey::generate(KeyAlgorithm::P256).unwrap());
        let client = ClientTls {
            clock: Arc::new(|| kos_identity::chain::Clock::Trusted(clock::now())),
            certified: Some(keys::certified(vec![keys::self_signed(&key).unwrap()], key)),
            expectation: Expectation::Unconfirmed,
            profile: kos_base::SecurityProfile::Sec2,
        };
        let (near, far) = duplex(16 * 1_024);
        let host = HERE.parse().unwrap();
        let (accepted, connected) =
            tokio::join!(self.front.tls().accept(far), client.connect(near, &host, Protocol::Enrolment));
        let Ok(Accepted::Enrolment { stream, facts, key }) = accepted else { panic!("not let in") };
        let desk = self.desk.clone();
        let source = HERE.parse().unwrap();
        let serving = tokio::spawn(async move { desk.serve(stream, &facts, key, source).await });
        (connected.unwrap().stream, serving)
    }
}

fn hello() -> Vec<u8> {
    FromDevice::Hello(Hello {
        commitment: ByteArray::from([7; 32]),
        facts: Facts { macs: Vec::new(), serials: vec!["S1".to_owned()] },
        image: Image::Unverified,
        role: kos_base::Role::Sensor,
        profile: kos_base::SecurityProfile::Sec2,
        name: None,
        capabilities: Vec::new(),
        attestation: None,
        maker: None,
        factory: None,
    })
    .to_bytes()
}

async fn greets<IO: AsyncRead + AsyncWrite + Unpin + Send>(
    io: IO,
) -> (FrameReader<tokio::io::ReadHalf<IO>>, WriteHalf<IO>) {
    let (read, mut write) = split(io);
    let mut frames = FrameReader::new(read, Patience { silence: LONG, body: LONG });
    frame::write(&mut write, &hello(), LONG).await.unwrap();
    let answer = FromAuthority::from_bytes(&frames.read().await.unwrap().unwrap()).unwrap();
    assert!(matches!(answer, FromAuthority::Welcome(_)), "{answer:?}");
    (frames, write)
}

#[tokio::test]
async fn whoever_does_not_finish_a_frame_of_enrolment_is_let_go_and_others_are_greeted() {
    let reception = Reception::new().await;
    for (says, at_most) in [
        (Says { at_once: b"", then: b"" }, 10),
        (Says { at_once: &[0, 0], then: b"" }, 5),
        (Says { at_once: &[0, 0, 1, 0, 0x82, 0], then: b"" }, 5),
        (Says { at_once: &[0, 0, 1, 0], then: &[0; 60] }, 5),
        (Says { at_once: b"", then: &[0; 60] }, 6),
    ] {
        let (slow, serving) = reception.welcome().await;
        let (honest, _greeting) = reception.welcome().await;
        let begun = Instant::now();
        let (_read, write) = split(slow);
        let speaking = tokio::spawn(speak(write, says));
        drop(greets(honest).await);
        pause();
        timeout(LONG / 2, serving).await.unwrap().unwrap();
        let took = begun.elapsed();
        assert!(took <= SECOND * at_most + SECOND / 2, "{took:?} of {at_most} s");
        speaking.abort();
        resume();
    }
}

#[tokio::test]
async fn a_session_that_is_never_silent_for_long_ends_all_the_same() {
    let reception = Reception::new().await;
    let (slow, serving) = reception.welcome().await;
    pause();
    let begun = Instant::now();
    later(9 * SECOND).await;
    // The store answers in its own time.
    resume();
    let (_frames, write) = greets(slow).await;
    pause();
    later(9 * SECOND).await;
    let speaking = tokio::spawn(speak(write, Says { at_once: &[0, 0, 1, 0], then: &[0; 60] }));
    timeout(LONG / 2, serving).await.unwrap().unwrap();
    let took = begun.elapsed().as_secs();
    assert!((19..=21).contains(&took), "{took} s");
    speaking.abort();
}
