//! One connection to the authority on the enrolment protocol.

use std::time::Duration;

use kos_base::{
    Code, Secret,
    own_key::{Purpose, mix},
};
use kos_identity::enrolment::device::Input;
use kos_net::{
    dialler::{DialError, Dialler, Target},
    frame::{self, FrameReader, Patience},
    tls::{ClientTls, Connected, Exporter, HandshakeError, Protocol},
};
use tokio::{
    io::split,
    net::TcpStream,
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
};

use super::Happening;
use crate::chain;

/// How long the authority may take to answer: it may ask a person's rule or wait for its disk.
const PATIENCE: Patience = Patience { silence: Duration::from_secs(30), body: Duration::from_secs(10) };
/// How long it may take to accept what we send.
const SEND_TIME_MAX: Duration = Duration::from_secs(10);
/// Frames that wait to be sent. The machine sends one and waits for the answer.
const FRAMES_MAX: usize = 2;

/// A connection, or the attempt to make one. Ends when it is dropped.
pub(super) struct Connection {
    /// Tells its happenings from those of the connections before.
    pub(super) number: u64,
    frames: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects to the first of `targets` that answers as the one that is expected. What comes of it reaches
    /// `happenings` under `number`. A renewal is bound to `own_key` as well.
    pub(super) fn open(
        number: u64,
        dialler: Dialler,
        tls: ClientTls,
        targets: Vec<Target>,
        own_key: Option<Secret<32>>,
        happenings: mpsc::Sender<Happening>,
    ) -> Self {
        let (frames, to_send) = mpsc::channel(FRAMES_MAX);
        let task: JoinHandle<()> = tokio::spawn(async move {
            let tell = |input| happenings.send(Happening::OnConnection(number, input));
            let ended = match dial(&dialler, &tls, targets).await {
                Ok(connected) => {
                    if let Some(ca) = connected.peer.issuing_ca() {
                        // The loop ends before its connections do.
                        drop(happenings.send(Happening::Met(Box::new(ca.clone()))).await);
                    }
                    converse(connected, own_key, to_send, &tell).await
                }
                Err(code) => code,
            };
            // The loop ends before its connections do.
            drop(tell(Input::Disconnected(ended)).await);
        });
        Self { number, frames, task: task.abort_handle() }
    }

    /// Sends a frame. One that cannot be sent shows as a disconnection.
    pub(super) fn send(&self, frame: Vec<u8>) {
        drop(self.frames.try_send(frame));
    }
}

/// The first that answers as it must. The code tells of a reason that is more than the network.
async fn dial(
    dialler: &Dialler,
    tls: &ClientTls,
    targets: Vec<Target>,
) -> Result<Connected<TcpStream>, Option<Code>> {
    let mut worst = None;
    for target in targets {
        match dial_one(dialler, tls, target).await {
            Ok(connected) => return Ok(connected),
            Err(reason) => worst = worst.or(reason),
        }
    }
    Err(worst)
}

async fn dial_one(
    dialler: &Dialler,
    tls: &ClientTls,
    target: Target,
) -> Result<Connected<TcpStream>, Option<Code>> {
    let host = target.endpoint.host.clone();
    let stream = dialler.connect(&target).await.map_err(|error| {
        tracing::info!(address = %target.endpoint, error = %chain(&error), "not connected");
        matches!(error, DialError::Forbidden(_)).then(|| error.code())
    })?;
    tls.connect(stream, &host, Protocol::Enrolment).await.map_err(|error| {
        tracing::warn!(address = %target.endpoint, error = %chain(&error), "no handshake");
        matches!(error, HandshakeError::Peer(_) | HandshakeError::Policy(_)).then(|| error.code())
    })
}

/// Passes frames on in both directions until one end closes.
async fn converse<F>(
    connected: Connected<TcpStream>,
    own_key: Option<Secret<32>>,
    mut to_send: mpsc::Receiver<Vec<u8>>,
    tell: &impl Fn(Input) -> F,
) -> Option<Code>
where
    F: Future<Output = Result<(), mpsc::error::SendError<Happening>>>,
{
    let Connected { stream, facts, peer } = connected;
    let renewal = facts.exporter(Exporter::Renewal);
    let connected = Input::Connected {
        root: peer.root().key_id(),
        enrolment: *facts.exporter(Exporter::Enrolment).expose(),
        renewal: *own_key
            .map_or_else(|| Secret::new(*renewal.expose()), |key| mix(Purpose::Renewal, renewal, &key))
            .expose(),
    };
    tell(connected).await.ok()?;
    let (reading, mut writing) = split(stream);
    let mut reader = FrameReader::new(reading, PATIENCE);
    loop {
        let happened = tokio::select! {
            frame = reader.read() => match frame {
                Ok(Some(frame)) => tell(Input::Received(frame)).await.ok(),
                Ok(None) => None,
                Err(error) => {
                    tracing::info!(%error, "the connection ended");
                    None
                }
            },
            Some(frame) = to_send.recv() => frame::write(&mut writing, &frame, SEND_TIME_MAX).await.ok(),
        };
        happened?;
    }
}
