//! The doors on real sockets: links by every carrier, the API over TLS, and moving elsewhere.

mod agents;
mod manifests;
mod messages;
mod policy;
mod relaying;
mod standing;

use std::{net::SocketAddr, time::Duration};

use kos_api::operator::OperatorRole;
use kos_base::{
    Channel, KeyAlgorithm, Secret,
    token::{self, TokenKey},
};
use kos_identity::certificate::Certificate;
use kos_klp::{
    body::{self, Heartbeat},
    frame::{Content, Frame},
    message::{MessageId, MessageType},
    proof::link::LinkRole,
    session::{Incoming, Outgoing, Session, Signer},
};
use kos_net::{
    carrier::{Carrier, Connector, Link},
    dialler::Target,
    endpoints::Endpoint,
    entropy,
    keys::SigningKey,
    tls::{ClientTls, Exporter, Protocol},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    authority::Authority,
    clock,
    fixtures::{self, Enrolled, device_id},
    store::EntryQuery,
};

mod patience;
mod strangers;

const SOON: Duration = Duration::from_secs(20);
const HERE: &str = "127.0.0.1";
/// Also this machine only, and another address.
const THERE: &str = "127.0.0.2";

/// An authority that serves until it is stopped.
struct Running {
    _folder: TempDir,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), StartError>>,
}

impl Running {
    async fn new() -> Self {
        let (folder, authority) = fixtures::attic().await;
        let shared = Arc::clone(authority.shared());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(authority.serve(async move {
            let _ = stopped.await;
        }));
        Self { _folder: folder, shared, stop, served }
    }

    async fn end(self) {
        let Self { _folder, shared, stop, served } = self;
        drop(shared);
        stop.send(()).unwrap();
        timeout(SOON, served).await.unwrap().unwrap().unwrap();
    }

    fn at(&self, host: &str) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap(), self.shared.ports.tls)
    }

    async fn dial(&self, host: &str, carrier: Carrier, tls: &ClientTls) -> Link {
        let target = Target::from(Endpoint::from(self.at(host)));
        Connector::default().dial(&[carrier], &target, tls).await.unwrap()
    }

    /// One request over TLS; the status, the body if it is JSON, and the certificate that the server showed.
    async fn ask(&self, host: &str, who: &Enrolled, request: &str) -> (u16, Value, Certificate) {
        let stream = TcpStream::connect(self.at(host)).await.unwrap();
        let host = host.parse().unwrap();
        let connected = who.client(&self.shared).connect(stream, &host, Protocol::Http1).await.unwrap();
        let mut stream = connected.stream;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let request = with_token(connected.facts.exporter(Exporter::Request), request);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The peer may close without the formalities.
        let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null), Certificate::parse(&shown).unwrap())
    }
}

/// The request with the token of the first one on its connection.
fn with_token(exporter: &Secret<32>, request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let about = token::Request { method, target, body: body.as_bytes(), headers: [b"", b""] };
    let token = TokenKey::derive(exporter, None).unwrap().token(about, clock::now(), 1);
    format!("{head}\r\n{}: {token}\r\n\r\n{body}", token::HEADER)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: attic\r\nConnection: close\r\n\r\n")
}

fn put(path: &str, body: &Value) -> String {
    let (body, length) = (body.to_string(), body.to_string().len());
    format!(
        "PUT {path} HTTP/1.1\r\nHost: attic\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The end of a link that the device has.
fn session(shared: &Shared, device: &Enrolled, n: u8, link: &Link) -> Session {
    let authority = shared.name.as_ref().parse().unwrap();
    let own = format!("{}/{}", shared.name, device_id(n)).parse().unwrap();
    let peer = Signer { party: authority, key: link.about.peer.public_key().clone() };
    let (secret, epoch) = (link.about.exporter(), clock::now().unix_ms());
    Session::new(LinkRole::Dialler, secret, own, device.key.public().id(), peer, epoch).unwrap()
}

fn heartbeat() -> Vec<u8> {
    body::write(&Heartbeat {
        cpu_percent: None,
        ram_used_bytes: Some(1),
        ram_total_bytes: Some(2),
        uptime_seconds: Some(3),
        errors: 0,
        checks: Vec::new(),
        versions: Vec::new(),
        config_digest: [0; 32],
        boot_id: [0; 16],
        channel: Channel::Stable,
        interval_seconds: None,
        statements: Vec::new(),
        modules: None,
    })
}

/// Reports over a link and waits for the answer.
async fn report(shared: &Shared, device: &Enrolled, n: u8, link: &mut Link) {
    let mut session = session(shared, device, n, link);
    let heartbeat = heartbeat();
    let id = MessageId::from_bytes(entropy::array().unwrap());
    let outgoing = Outgoing::new(MessageType::HEARTBEAT, id, &heartbeat);
    let frame = session.link_frame(clock::now(), &outgoing).unwrap();
    link.sender.send(&frame).await.unwrap();
    loop {
        let frame = timeout(SOON, link.receiver.recv()).await.unwrap().unwrap().unwrap();
        let Content::Plain(envelope) = Frame::parse(&frame).unwrap().into_content() else { continue };
        // News of revocations come in between, signed.
        if let Ok(Incoming::Message(received)) = session.receive_link(clock::now(), envelope) {
            assert_eq!(received.message().kind, MessageType::ACK);
            return;
        }
    }
}

#[tokio::test]
async fn a_device_reports_over_every_carrier() {
    let attic = Running::new().await;
    for (n, carrier) in (1..).zip(Carrier::LADDER) {
        let (device, record) = Enrolled::device(&attic.shared, n).await;
        let mut link = attic.dial(HERE, carrier, &device.client(&attic.shared)).await;
        report(&attic.shared, &device, n, &mut link).await;
        assert!(attic.shared.presence.is_online(&record.id, clock::now()), "{carrier}");
    }
    attic.end().await;
}

#[tokio::test]
async fn only_devices_switch_to_websocket_and_only_in_due_form() {
    let attic = Running::new().await;
    let (device, _) = Enrolled::device(&attic.shared, 1).await;
    let admin = fixtures::operator(&attic.shared, "anna", OperatorRole::Admin).await;
    let asks = format!(
        "GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: attic\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let asks_and_leaves = asks.replace("Connection: Upgrade", "Connection: Upgrade, close");
    assert_eq!(attic.ask(HERE, &admin, &asks_and_leaves).await.0, 403);
    assert_eq!(attic.ask(HERE, &device, &get(WEBSOCKET_PATH)).await.0, 426);
    attic.end().await;
}

#[tokio::test]
async fn over_tls_a_device_sees_itself_and_nothing_else() {
    let attic = Running::new().await;
    let (device, own) = Enrolled::device(&attic.shared, 1).await;
    let (_, other) = Enrolled::device(&attic.shared, 2).await;
    for (path, expected) in [
        (format!("/api/v1/devices/{}", own.id), 200),
        (format!("/api/v1/devices/{}/events", own.id), 200),
        (format!("/api/v1/devices/{}", other.id), 403),
        ("/api/v1/devices".to_owned(), 403),
        ("/api/v1/status".to_owned(), 403),
    ] {
        assert_eq!(attic.ask(HERE, &device, &get(&path)).await.0, expected, "{path}");
    }
    attic.end().await;
}

#[tokio::test]
async fn the_doors_move_while_it_serves_and_the_one_who_asks_over_them_is_answered() {
    let attic = Running::new().await;
    let (device, _) = Enrolled::device(&attic.shared, 1).await;
    let admin = fixtures::operator(&attic.shared, "anna", OperatorRole::Admin).await;
    let client = device.client(&attic.shared);
    let mut link = attic.dial(HERE, Carrier::Quic, &client).await;
    report(&attic.shared, &device, 1, &mut link).await;

    let path = "/api/v1/authority/listen";
    let there = json!({"address": THERE, "advertise": "attic.example"});
    let planned = attic.ask(HERE, &admin, &put(&format!("{path}?dryRun=true"), &there)).await;
    let address = json!({"field": "address", "from": HERE, "to": THERE});
    assert_eq!((planned.0, &planned.1["item"]["changes"][0]), (200, &address));
    let nowhere = json!({"address": "192.0.2.1"});
    assert_eq!(attic.ask(HERE, &admin, &put(path, &nowhere)).await.0, 409);

    let (status, answer, before) = attic.ask(HERE, &admin, &put(path, &there)).await;
    assert_eq!((status, &answer["item"]["listen"]), (200, &there), "{answer}");
    while let Ok(Ok(Some(_))) = timeout(SOON, link.receiver.recv()).await {}
    assert!(TcpStream::connect(attic.at(HERE)).await.is_err());
    for carrier in Carrier::LADDER {
        let mut link = attic.dial(THERE, carrier, &client).await;
        report(&attic.shared, &device, 1, &mut link).await;
    }

    let (_, status, after) = attic.ask(THERE, &admin, &get("/api/v1/audit/entries?limit=500")).await;
    let moved = status["items"].as_array().unwrap().iter().filter(|e| e["eventType"] == "listen_changed");
    let moved: Vec<_> = moved.map(|e| e["details"].clone()).collect();
    assert_eq!(moved, [there]);
    let named =
        |certificate: &Certificate| certificate.der().windows(13).any(|bytes| bytes == b"attic.example");
    assert!(!named(&before) && named(&after));
    assert!(attic.shared.address().starts_with("attic.example:"));
    assert!(attic.shared.publication().is_some());

    // A new name at the same address leaves the links alone.
    let mut link = attic.dial(THERE, Carrier::Tls, &client).await;
    let renamed = json!({"address": THERE, "advertise": "cellar.example"});
    assert_eq!(attic.ask(THERE, &admin, &put(path, &renamed)).await.0, 200);
    report(&attic.shared, &device, 1, &mut link).await;
    attic.end().await;
}

#[tokio::test]
async fn a_stranger_gets_no_link() {
    let attic = Running::new().await;
    let (mut device, _) = Enrolled::device(&attic.shared, 1).await;
    device.key = Arc::new(SigningKey::generate(KeyAlgorithm::P256).unwrap());
    let target = Target::from(Endpoint::from(attic.at(HERE)));
    let client = device.client(&attic.shared);
    let dialled = Connector::default().dial(&[Carrier::WebSocket], &target, &client).await;
    assert!(dialled.is_err());
    attic.end().await;
}

#[tokio::test]
async fn a_request_without_the_rights_for_it_is_recorded_with_its_source() {
    let attic = Running::new().await;
    let viewer = fixtures::operator(&attic.shared, "vera", OperatorRole::Viewer).await;
    for _ in 0..2 {
        let listen = put("/api/v1/authority/listen", &json!({"address": "127.0.0.2"}));
        let (status, answer, _) = attic.ask(HERE, &viewer, &listen).await;
        assert_eq!(status, 403);
        let why = "this needs the role admin; you are operator vera, whose role is viewer";
        let said = answer.to_string();
        assert!(said.contains(why), "{said}");
    }
    upkeep::close_books(&attic.shared, &MisuseBook::default(), clock::now()).await.unwrap();
    let query = EntryQuery { event: Some(kos_audit::EventType::AccessRefused), ..EntryQuery::default() };
    let entries = attic.shared.store.entries(&query, 10).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{} entries", entries.len()) };
    let leaf = kos_audit::SealedEntry::from_bytes(entry.leaf.clone());
    let verified = leaf.verify(attic.shared.log.key()).unwrap();
    let details = verified.entry().details.members();
    assert_eq!((&details["count"], &details["code"]), (&json!(2), &json!("KOS-E0870")));
    attic.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_hangs_keeps_nobody_from_letting_go() {
    let (mut tasks, mut services) = (JoinSet::new(), JoinSet::new());
    let (hangs, hung) = oneshot::channel();
    let (answer, never) = std::sync::mpsc::channel::<()>();
    tasks.spawn(async move {
        hangs.send(()).unwrap();
        // As a library of a token that does not come back.
        let _ = never.recv();
    });
    services.spawn(std::future::pending());
    hung.await.unwrap();
    assert!(timeout(GRACE * 2, let_go([&mut tasks, &mut services])).await.is_ok());
    drop(answer);
}
