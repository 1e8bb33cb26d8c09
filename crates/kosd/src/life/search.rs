//! Finding the authority on the local network: before the first contact, and again when it has moved.
//!
//! What answers there proves nothing. A device that knows the pin of its authority's root takes only addresses of whoever
//! claims that pin, and the handshake shows whether the claim is true. A device that knows none compares a code.
//!
//! Source: `docs/spec/enrolment.md` (discovery); RFC 6763.

use core::time::Duration;
use std::collections::BTreeMap;

use kos_base::code;
use kos_identity::enrolment::device::{Anchor, Command};
use kos_net::{
    dialler::Target,
    discovery::{Browser, Candidate, Interfaces},
    endpoints::{Endpoint, Host},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Device, Happening, News};
use crate::config::Discovery;

/// How long answers are collected. Long enough to see whether more than one authority answers.
const COLLECTING: Duration = Duration::from_secs(3);
/// Pause between two searches.
const PAUSE: Duration = Duration::from_secs(30);

/// The search, and what it has found.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// At most one task.
    running: JoinSet<()>,
    not_before: Option<Instant>,
    /// Where whoever claims to be our authority is now.
    pub(super) targets: Vec<Target>,
}

impl Device {
    /// Looks around on the local network, if the configuration says that the authority may be found there, and not more
    /// often than reasonable.
    pub(super) fn look_around(&mut self) {
        while self.search.running.try_join_next().is_some() {}
        if !self.config.discovery.contains(&Discovery::Mdns) || !self.search.running.is_empty() {
            return;
        }
        let now = Instant::now();
        let begin = self.search.not_before.map_or(now, |at| at.max(now));
        self.search.not_before = Some(begin + PAUSE);
        let happenings = self.happenings.0.clone();
        self.search.running.spawn(async move {
            sleep(begin.duration_since(now)).await;
            let candidates = match Browser::start(&Interfaces::AllButLoopback) {
                Ok(browser) => browser.collect(COLLECTING).await,
                Err(error) => {
                    tracing::warn!(%error, "the local network cannot be searched");
                    Vec::new()
                }
            };
            // The loop ends before its searches do.
            drop(happenings.send(Happening::Found(candidates)).await);
        });
    }

    /// Takes in who answered.
    pub(super) fn found(&mut self, candidates: Vec<Candidate>) {
        let journal = self.machine.journal();
        let pins = journal.authority.as_ref().map(|anchor| anchor.pins.clone()).unwrap_or_default();
        if pins.is_empty() {
            return self.choose(candidates);
        }
        let ours = candidates.into_iter().filter(|candidate| pins.contains(&candidate.pin));
        let targets: Vec<_> = ours.flat_map(|candidate| targets(&candidate)).collect();
        if !targets.is_empty() && targets != self.search.targets {
            tracing::info!(count = targets.len(), "the authority answers on the local network");
            self.search.targets = targets;
            // What is under way does not know of them.
            self.service.stop();
            self.machine.handle_timeout(self.clock.now());
        }
    }

    /// Enrols with the one authority that answers. Among several, only a pin can choose.
    fn choose(&mut self, candidates: Vec<Candidate>) {
        let pins = self.pins();
        let fits = |candidate: &Candidate| pins.is_empty() || pins.contains(&candidate.pin);
        let mut distinct = BTreeMap::new();
        for candidate in candidates.into_iter().filter(fits) {
            distinct.insert((candidate.name.clone(), candidate.pin), candidate);
        }
        let names: Vec<_> = distinct.keys().map(|(name, _)| name.to_string()).collect();
        match distinct.pop_first() {
            Some((_, candidate)) if distinct.is_empty() => {
                let addresses =
                    targets(&candidate).iter().map(|target| target.endpoint.to_string()).collect();
                let anchor = Anchor { name: None, pins, addresses };
                if self.machine.journal().authority.as_ref() != Some(&anchor) {
                    tracing::info!(authority = %candidate.name, "an authority answers on the local network");
                    self.search.targets = targets(&candidate);
                    self.machine.handle_command(self.clock.now(), Command::Enrol { anchor, ticket: None });
                }
            }
            Some(_) => {
                let names = names.join(", ");
                tracing::warn!(%names, "several authorities answer; network.pin says which is ours");
                self.condition.warn(format!("several authorities answer on the local network: {names}"));
                self.found_nobody();
            }
            None => self.found_nobody(),
        }
    }

    fn found_nobody(&mut self) {
        if self.machine.journal().authority.is_none() {
            self.condition.trouble = Some(code::config::NO_SERVER);
            self.news.tell(News::Unreachable);
        }
        self.look_around();
    }
}

/// The ways to a candidate: under its name, as lists of allowed endpoints may have it, and at each of its addresses,
/// which need nobody to resolve a name.
fn targets(candidate: &Candidate) -> Vec<Target> {
    let Target { endpoint, addresses } = &candidate.target;
    let literal = |address| Endpoint { host: Host::Address(address), port: endpoint.port };
    let literals = addresses.iter().copied().map(|address| Target::from(literal(address)));
    core::iter::once(candidate.target.clone()).chain(literals).collect()
}
