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
use std::sync::Arc;

use kos_base::{
    AuthorityName, Channel, Code, KeyId, Secret, code,
    own_key::{HeldKeys, Purpose, TRIES, mix},
};
use kos_identity::{certificate::Certificate, crl::RevocationView};
use kos_klp::{
    body::{Alert, Command, HeartbeatAnswer, LogHeld, WitnessAnswer},
    freshness::ReplayGuard,
    party::Party,
};
use kos_net::{
    carrier::{self, Carrier, Connector},
    dialler::Target,
    entropy,
    tls::{ClientTls, Expectation},
};
use kos_policy::{Refusal, Standing};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

pub(crate) use self::heartbeat::{Reporter, checks};
use self::talk::Talk;
use crate::clock::Clock;

/// First pause after a link ended or could not be made.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause. A fleet that lost its authority comes back within this time, and not all at once.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// How long the authority may take to hear that a link ends.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(1);
/// Most news that wait; a link whose device is busy waits for it.
const NEWS_MAX: usize = 4;

/// On which terms a device speaks to its authority: what follows from the certificate in service and the configuration.
pub(crate) struct Terms {
    /// Number of the certificate.
    pub(crate) issue: u32,
    /// Shows the certificate, and expects the authority under its pinned root.
    pub(crate) tls: ClientTls,
    /// This device.
    pub(crate) own: Party,
    /// The key of the certificate.
    pub(crate) own_key: KeyId,
    /// What the certificate says of this device, which decides what it does here, whoever asks.
    pub(crate) standing: Standing,
    /// Who the authority is.
    pub(crate) authority: AuthorityName,
    /// Where it is, best first.
    pub(crate) targets: Vec<Target>,
    /// How it may be reached, best first.
    pub(crate) carriers: Vec<Carrier>,
    /// Time between heartbeats, where the configuration says it.
    pub(crate) interval: Option<Duration>,
    /// Which signed messages were heard.
    pub(crate) heard: ReplayGuard,
    /// The keys of its own that it has, with SEC-1.
    pub(crate) own_keys: HeldKeys,
}

impl Terms {
    /// What a link is proven with: its exporter, and the key of one's own (OWN-6).
    fn secret(&self, exporter: &Secret<32>, refusals: usize) -> Secret<32> {
        match self.own_keys.chosen(refusals) {
            Some(key) => mix(Purpose::Link, exporter, key),
            None => Secret::new(*exporter.expose()),
        }
    }
}

/// What the authority is to know and the link to go by. A change is told, or looked at, at once.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    /// The firmware channel that the device follows.
    pub(crate) channel: Channel,
    /// What is revoked.
    pub(crate) revocation: Arc<RevocationView>,
    /// What the device says of pairings, signed, until the authority has taken it.
    pub(crate) statements: Vec<Vec<u8>>,
}

/// What a link has to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// There is a link. A server that refuses our certificate does so after this.
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
        /// The health checks that had failed, in words.
        failed: Vec<String>,
    },
    /// It sent something that it had signed.
    Signed(Signed),
    /// It asks the device to cosign its log.
    Witness(WitnessCall),
    /// It asks the device to judge another one.
    Judge(JudgeCall),
    /// It answers what was brought of the log; with the number of a code when it took nothing.
    LogAnswered(Result<LogHeld, u16>),
    /// The authority asked for something that our security profile refuses; told once a link and rule.
    Refused(Refusal),
    /// The link has ended, or none could be made; it is dialled again.
    Down(Down),
}

/// A signed message of the authority that was not heard before.
#[derive(Debug)]
pub(crate) struct Signed {
    /// What it says.
    pub(crate) matter: Matter,
    /// What was heard by now, this message included; to be stored with its effect.
    pub(crate) heard: Vec<u8>,
    /// Takes the outcome, once the effect is durable; with a result, where there is one.
    pub(crate) done: oneshot::Sender<Result<Option<Vec<u8>>, Code>>,
}

/// The authority asks for a cosignature.
#[derive(Debug)]
pub(crate) struct WitnessCall {
    /// The request of tlog-witness; empty for the key alone.
    pub(crate) request: Vec<u8>,
    /// Takes the answer, once what it rests on is durable.
    pub(crate) done: oneshot::Sender<Result<WitnessAnswer, Code>>,
}

/// The authority asks for a second verdict.
#[derive(Debug)]
pub(crate) struct JudgeCall {
    /// What was said in the conversation with the other device.
    pub(crate) transcript: Vec<u8>,
    /// Takes the signed verdict, once it is in the log.
    pub(crate) done: oneshot::Sender<Result<Vec<u8>, Code>>,
}

/// What a signed message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Matter {
    /// An order.
    Command(Command),
    /// Newer revocation lists, DER, which nobody has checked yet.
    Revocation(Vec<Vec<u8>>),
    /// Something that this device is told of as a guardian.
    Alert(Alert),
    /// What the manifests say about it: a signed slice, which nobody has checked yet.
    Policy(Vec<u8>),
    /// With whom it is paired: signed bonds, which nobody has checked yet.
    Bonds(Vec<u8>),
    /// A call that an agent signed, which nobody here has checked yet.
    Call(Vec<u8>),
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// Nobody answers.
    Unreachable,
    /// Whoever answers is not trusted, or may not be asked.
    Untrusted(Code),
    /// It ended before the authority acknowledged a heartbeat: it may have something against our certificate, or the
    /// clocks differ.
    Refused,
    /// It had served, and ended.
    Cut,
}

/// A link, or the attempts to make one. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    /// Number of the certificate that it shows.
    pub(crate) issue: u32,
    situation: Option<watch::Sender<Situation>>,
    news: mpsc::Receiver<News>,
    logs: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Starts to dial.
    pub(crate) fn open(
        connector: Arc<Connector>,
        terms: Terms,
        reporter: Reporter,
        clock: Clock,
        situation: Situation,
    ) -> Self {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let (showing, situation) = watch::channel(situation);
        let issue = terms.issue;
        let (logs, brought) = mpsc::channel(1);
        let line =
            Line { connector, terms, reporter, clock, situation, news: sender, logs: brought, refusals: 0 };
        Self { issue, situation: Some(showing), news, logs, task: tokio::spawn(line.hold()) }
    }

    /// Brings a part of the log. False when the one before is not on its way yet.
    pub(crate) fn bring(&self, part: Vec<u8>) -> bool {
        self.logs.try_send(part).is_ok()
    }

    /// Shows what the device follows and knows now.
    pub(crate) fn show(&self, situation: Situation) {
        if let Some(showing) = &self.situation {
            showing.send_replace(situation);
        }
    }

    /// Ends it so that the authority hears of it, if that goes fast.
    pub(crate) async fn say_goodbye(mut self) {
        self.situation = None;
        self.news.close();
        // Whoever is not told finds out by himself when the link stays idle.
        let _ = timeout(GOODBYE_TIME_MAX, &mut self.task).await;
    }

    /// What it has to tell next. `None` when its task has failed.
    pub(crate) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

/// Everything that it takes to dial again.
struct Line {
    connector: Arc<Connector>,
    terms: Terms,
    reporter: Reporter,
    clock: Clock,
    situation: watch::Receiver<Situation>,
    news: mpsc::Sender<News>,
    logs: mpsc::Receiver<Vec<u8>>,
    /// How often the authority did not take what the link was proven with, since it took this key.
    refusals: usize,
}

/// Nobody listens to the link any more.
#[derive(Clone, Copy, Debug)]
struct Deserted;

impl Line {
    /// Holds a link until nobody wants it.
    async fn hold(mut self) {
        let mut failures = 0u32;
        loop {
            let (down, due) = match self.dial().await {
                Ok(link) => self.serve(link).await,
                Err(down) => (down, None),
            };
            match down {
                Down::Refused => self.refusals = self.refusals.wrapping_add(1),
                // The key that was taken is the first again.
                Down::Cut => self.refusals -= self.refusals % TRIES,
                Down::Unreachable | Down::Untrusted(_) => {}
            }
            failures = if down == Down::Cut { 1 } else { failures.saturating_add(1) };
            if self.tell(News::Down(down)).await.is_err() {
                return;
            }
            // A device that reports more rarely than a link lives while it is idle comes back when it is due.
            let due = due.filter(|_| self.outlives_links());
            let pause = due.map_or_else(|| pause_after(failures), |due| due.duration_since(Instant::now()));
            if self.rest(pause).await.is_err() {
                return;
            }
        }
    }

    /// Waits, unless nobody wants the link any more. What changes meanwhile is seen by the next one.
    async fn rest(&mut self, pause: Duration) -> Result<(), Deserted> {
        let over = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(over) => return Ok(()),
                changed = self.situation.changed() => changed.map_err(|_| Deserted)?,
            }
        }
    }

    /// The first address that gives a link on any carrier.
    async fn dial(&self) -> Result<carrier::Link, Down> {
        let mut tls = self.terms.tls.clone();
        if let Expectation::Peer { trust, .. } = &mut tls.expectation {
            trust.revocation = Arc::clone(&self.situation.borrow().revocation);
        }
        let mut worst = Down::Unreachable;
        for target in &self.terms.targets {
            match self.connector.dial(&self.terms.carriers, target, &tls).await {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::info!(address = %target.endpoint, %error, "no link");
                    if worst == Down::Unreachable && error.code() != code::config::UNREACHABLE {
                        worst = Down::Untrusted(error.code());
                    }
                }
            }
        }
        Err(worst)
    }

    /// Speaks on a link until it ends. Says why it ended, and when the next heartbeat would have been due.
    async fn serve(&mut self, link: carrier::Link) -> (Down, Option<Instant>) {
        let (carrier, remote) = (link.about.carrier, link.about.remote);
        let issuing_ca = link.about.peer.issuing_ca().cloned().map(Box::new);
        // What was meant for the link before.
        while self.logs.try_recv().is_ok() {}
        if self.tell(News::Up { carrier, issuing_ca }).await.is_err() {
            return (Down::Cut, None);
        }
        let (reason, due) = Talk::hold(self, link).await;
        tracing::info!(%carrier, %remote, %reason, "the link ended");
        (if due.is_some() { Down::Cut } else { Down::Refused }, due)
    }

    async fn tell(&self, news: News) -> Result<(), Deserted> {
        self.news.send(news).await.map_err(|_| Deserted)
    }

    fn outlives_links(&self) -> bool {
        self.terms.interval.is_some_and(|interval| interval > carrier::LINK_IDLE)
    }
}

/// Doubles with each failure in a row; a random half of it is left out, so that a fleet does not come back at once.
fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
    longest - random_part(longest / 2)
}

/// Something between nothing and `most`. Without randomness nothing, which only costs the spread.
fn random_part(most: Duration) -> Duration {
    let drawn = entropy::array().map_or(0, u16::from_be_bytes);
    most.mul_f64(f64::from(drawn) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_are_spread() {
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (7, 64), (8, 120), (u32::MAX, 120)] {
            for _ in 0..64 {
                let (pause, longest) = (pause_after(failures), Duration::from_secs(longest));
                assert!(pause <= longest && pause >= longest / 2, "{failures}: {pause:?}");
            }
        }
    }
}
