//! Approval rules from the settings file to the log: who is let in over the real port, and who waits.

#![cfg(test)]

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use kos_authority::{Authority, Options, PortChoice, StartError, clock};
use kos_base::{AgreementKey, KeyAlgorithm, Role, SecurityProfile, key::SignatureForm};
use kos_identity::{
    certificate::Certificate,
    chain::Clock,
    csr,
    enrolment::{
        message::{Facts, FromAuthority, FromDevice, Hello, Image, Means, Prove, Stored},
        proof::commitment,
    },
};
use kos_net::{
    frame::{self, FrameReader, Patience},
    keys::{self, SigningKey},
    tls::{ClientTls, Expectation, Protocol},
};
use minicbor::bytes::ByteArray;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};

const SOON: Duration = Duration::from_secs(20);
const PATIENCE: Patience = Patience { silence: SOON, body: SOON };
const NONCE: [u8; 32] = [7; 32];

/// An authority that serves from `data`.
struct Running {
    tls: u16,
    socket: std::path::PathBuf,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), StartError>>,
}

impl Running {
    async fn start(data: &Path, settings: &str) -> Self {
        fs::write(data.join("authority/authority.yaml"), settings).unwrap();
        let options = Options {
            data: data.to_owned(),
            port_base: Some(0),
            port_choice: PortChoice::Exact,
            credentials: None,
        };
        let authority = Authority::open(options).await.unwrap();
        let (socket, tls) = (authority.socket(), authority.ports().tls);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(authority.serve(async { drop(stopped.await) }));
        Self { tls, socket, stop, served }
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }

    /// The entries of one type.
    async fn entries(&self, event: &str) -> Vec<Value> {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let ask = format!(
            "GET /api/v1/audit/entries?eventType={event} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let answer: Value = serde_json::from_str(body).unwrap();
        assert_eq!(answer["apiVersion"], "kos.v1", "{answer}");
        answer["items"].as_array().unwrap().clone()
    }
}

/// A device in the hands of the test.
struct Applicant {
    identity: Arc<SigningKey>,
    operational: Arc<SigningKey>,
    csr: Vec<u8>,
    serial: &'static str,
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Both for IO {}

type Stream = Box<dyn Both>;

struct Line {
    frames: FrameReader<ReadHalf<Stream>>,
    write: WriteHalf<Stream>,
}

impl Line {
    async fn tell(&mut self, message: &FromDevice) -> FromAuthority {
        frame::write(&mut self.write, &message.to_bytes(), SOON).await.unwrap();
        FromAuthority::from_bytes(&self.frames.read().await.unwrap().unwrap()).unwrap()
    }
}

impl Applicant {
    fn new(serial: &'static str) -> Self {
        let make = || Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519).unwrap());
        let operational = make();
        let request = csr::Request::new(operational.public()).unwrap();
        let signature = operational.sign(SignatureForm::Der, request.to_be_signed()).unwrap();
        Self { identity: make(), csr: request.finish(&signature).unwrap(), operational, serial }
    }

    async fn call(&self, authority: &Running, key: &Arc<SigningKey>) -> Line {
        let client = ClientTls {
            clock: Arc::new(|| Clock::Trusted(clock::now())),
            certified: Some(keys::certified(vec![keys::self_signed(key).unwrap()], Arc::clone(key))),
            expectation: Expectation::Unconfirmed,
            profile: SecurityProfile::Sec2,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], authority.tls));
        let stream = TcpStream::connect(address).await.unwrap();
        let connected = client.connect(stream, &"127.0.0.1".parse().unwrap(), Protocol::Enrolment).await;
        let stream: Stream = Box::new(connected.unwrap().stream);
        let (read, write) = tokio::io::split(stream);
        Line { frames: FrameReader::new(read, PATIENCE), write }
    }

    /// Asks without anything that entitles it.
    async fn ask(&self, authority: &Running) -> FromAuthority {
        let mut line = self.call(authority, &self.identity).await;
        let hello = FromDevice::Hello(Hello {
            commitment: ByteArray::from(commitment(&NONCE)),
            facts: Facts { macs: Vec::new(), serials: vec![self.serial.to_owned()] },
            image: Image::Unverified,
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            name: None,
            capabilities: Vec::new(),
            attestation: None,
            maker: None,
            factory: None,
        });
        let FromAuthority::Welcome(welcome) = line.tell(&hello).await else { panic!("not welcome") };
        let prove = FromDevice::Prove(Prove {
            token: welcome.token,
            nonce: ByteArray::from(NONCE),
            csr: self.csr.clone().into(),
            agreement: AgreementKey([5; 32]),
            means: Means::Lobby,
            attestation: None,
            vouch: None,
        });
        line.tell(&prove).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_the_settings_lets_in_whom_it_names_and_the_log_says_which_rule() {
    let folder = tempfile::tempdir().unwrap();
    Authority::init(folder.path(), Some("attic".parse().unwrap()), None).unwrap();
    let settings = "approve:\n- {name: line-2, serials: [S1, S3], roles: [sensor], profile: SEC-1}\n";
    let attic = Running::start(folder.path(), settings).await;

    let (named, stranger) = (Applicant::new("S1"), Applicant::new("S2"));
    for applicant in [&named, &stranger, &stranger] {
        assert!(matches!(applicant.ask(&attic).await, FromAuthority::Pending(_)), "{}", applicant.serial);
    }
    let FromAuthority::Issued(grant) = named.ask(&attic).await else { panic!("nothing issued") };
    assert_eq!(Certificate::parse(&grant.chain[0]).unwrap().facts().unwrap().profile, SecurityProfile::Sec1);
    let mut line = named.call(&attic, &named.operational).await;
    let stored = FromDevice::Stored(Stored { issue: 1, bootloader: None });
    assert_eq!(line.tell(&stored).await, FromAuthority::Recorded);

    let authority = json!({"type": "authority", "id": "attic"});
    let approved = attic.entries("device_approved").await;
    assert_eq!(approved.len(), 1);
    assert_eq!(approved[0]["actor"], authority);
    assert_eq!(approved[0]["target"], json!({"type": "device", "id": grant.device}));
    assert_eq!(approved[0]["details"], json!({"profile": "SEC-1", "rule": "line-2"}));
    let pending = attic.entries("device_pending").await;
    let by: Vec<_> = pending.iter().map(|entry| entry["actor"]["type"].as_str().unwrap()).collect();
    assert_eq!(by, ["authority", "device"]);
    let added = attic.entries("approval_rule_added").await;
    assert_eq!(added[0]["target"], json!({"type": "rule", "id": "line-2"}));
    assert_eq!(added[0]["details"]["serials"], json!(["S1", "S3"]));
    attic.end().await;

    // The same rules again are no news; that one is gone is.
    let attic = Running::start(folder.path(), settings).await;
    assert!(matches!(stranger.ask(&attic).await, FromAuthority::Pending(_)));
    assert_eq!(attic.entries("approval_rule_added").await.len(), 1);
    attic.end().await;
    let attic = Running::start(folder.path(), "").await;
    assert!(matches!(Applicant::new("S3").ask(&attic).await, FromAuthority::Pending(_)));
    assert_eq!(attic.entries("approval_rule_removed").await.len(), 1);
    assert_eq!(attic.entries("device_approved").await.len(), 1);
    attic.end().await;
}
