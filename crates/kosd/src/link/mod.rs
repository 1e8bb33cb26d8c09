//! The link to the authority: dialled again whenever it ends, for as long as one certificate is in service.
//!
//! A task of its own holds the connection, counts the heartbeats and checks what comes. It decides nothing about the
//! device: what the authority says goes to the device's own loop as [`News`], and a signed order is acknowledged only
//! when the loop has said that its effect is durable.
//!
//! Shape: [`Link::open`] starts the task, dropping the [`Link`] ends it. What the loop wants the authority to see goes in
//! by a [`Situation`], of which only the newest counts.
//!
//! Invariants: no link without a chain that leads to a pinned root and names the authority; none over a carrier outside
//! the configuration and the role profile, or to an address outside the allowed endpoints. A pause lies between two
//! attempts, whatever ended the first.
//!
//! Source: `docs/spec/klp.md` KLP-43 to KLP-50.

mod heartbeat;
mod talk;

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use kos_base::{AuthorityName, Capability, Channel, Code, KeyId, SecurityProfile, code};
use kos_identity::{
    certificate::{Certificate, PeerIdentity},
    chain::Anchors,
    crl::RevocationView,
    enrolment::message,
};
use kos_klp::{
    body::{Command, HeartbeatAnswer},
    freshness::ReplayGuard,
    party::Party,
};
use kos_net::{
    carrier::{Carrier, Connector},
    dialler::Target,
    entropy,
    tls::{ClientTls, Expectation, Trust},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, sleep},
};

pub use self::heartbeat::Reporter;
use self::talk::{Ended, Progress};
use crate::{chain, clock::Clock, health::HealthCheck};

/// First pause after a link ended or could not be made.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause. A fleet that lost its authority comes back within this time, and not all at once.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// On which terms the device speaks to its authority: what follows from the certificate in service and the configuration.
pub struct Terms {
    /// Number of the certificate.
    pub issue: u32,
    /// Shows the certificate and signs handshakes.
    pub tls: ClientTls,
    /// This device.
    pub own: Party,
    /// The key of the certificate.
    pub own_key: KeyId,
    /// The authority.
    pub authority: AuthorityName,
    /// Key ids of its root.
    pub pins: Vec<KeyId>,
    /// Where it is, best first.
    pub targets: Vec<Target>,
    /// How it may be reached, best first.
    pub carriers: Vec<Carrier>,
    /// Time between heartbeats, where the configuration says so.
    pub interval: Option<Duration>,
    /// Which signed messages were heard.
    pub heard: ReplayGuard,
}

/// What the authority is to know and the link to go by. A change is told, or looked at, at once.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The firmware channel that the device follows.
    pub channel: Channel,
    /// What is revoked.
    pub revocation: Arc<RevocationView>,
}

/// What a link has to tell.
#[derive(Debug)]
pub enum News {
    /// There is a link. A server that refuses our certificate refuses it after this.
    Up {
        /// What carries it.
        carrier: Carrier,
        /// The issuing CA of the server.
        issuing_ca: Option<Box<Certificate>>,
    },
    /// The authority has acknowledged a heartbeat.
    Acknowledged {
        /// What it says.
        answer: Box<HeartbeatAnswer>,
        /// The health checks that had failed.
        failed: Vec<String>,
    },
    /// It sends something that it signed.
    Signed(Signed),
    /// The link has ended, or none could be made; it is dialled again.
    Down(Down),
}

/// A signed message of the authority that was not heard before.
#[derive(Debug)]
pub struct Signed {
    /// What it says.
    pub matter: Matter,
    /// What was heard by now, this message included; to be stored with its effect.
    pub heard: Vec<u8>,
    /// Takes the outcome, once the effect is durable.
    pub done: oneshot::Sender<Result<(), Code>>,
}

/// What a signed message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matter {
    /// An order.
    Command(Command),
    /// Newer revocation lists, DER, not yet checked.
    Revocation(Vec<Vec<u8>>),
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Nobody answers.
    Unreachable,
    /// Whoever answers is not trusted, or may not be asked.
    Untrusted(Code),
    /// It ended before the authority acknowledged a heartbeat: it may have something against our certificate, or our
    /// clocks differ.
    Refused,
    /// It had served and ended.
    Cut,
}

/// A running link. Ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    /// Number of the certificate that it shows.
    pub issue: u32,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Starts to dial. What comes of it goes to `news`, each piece wrapped by `wrap`.
    pub fn open<M: Send + 'static>(
        connector: Arc<Connector>,
        terms: Terms,
        reporter: Reporter,
        clock: Clock,
        situation: watch::Receiver<Situation>,
        news: mpsc::Sender<M>,
        wrap: impl Fn(News) -> M + Send + Sync + 'static,
    ) -> Self {
        let issue = terms.issue;
        let line = Line { connector, terms, reporter, clock, situation };
        let task = tokio::spawn(line.hold(async move |told| news.send(wrap(told)).await.map_err(drop)));
        Self { issue, task: task.abort_handle() }
    }
}

/// Everything that a link needs to be dialled again.
struct Line {
    connector: Arc<Connector>,
    terms: Terms,
    reporter: Reporter,
    clock: Clock,
    situation: watch::Receiver<Situation>,
}
