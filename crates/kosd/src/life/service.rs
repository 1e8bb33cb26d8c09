//! The device in service: its link to the authority, and what the authority says over it.
//!
//! Source: `docs/spec/klp.md` KLP-45 to KLP-50.

use std::{future::pending, path::PathBuf, sync::Arc};

use kos_audit::EventType;
use kos_base::{
    Channel, Code, KidSubject, SecurityProfile, Timestamp,
    code::{self, certificate},
    own_key::HeldKeys,
};
use kos_identity::{
    certificate::{Certificate, PeerIdentity},
    chain::Anchors,
    crl::Status,
    enrolment::{
        device::{ClockTrust, Command, Held, KeySlot, Membership},
        message,
    },
    kid,
};
use kos_klp::body::{self, HeartbeatAnswer, Instruction, WitnessAnswer};
use kos_net::{
    carrier::{Carrier, Connector},
    dialler::{Dialler, Target},
    endpoints::Endpoint,
    keys::certified,
    tls::{ClientTls, Expectation, Trust},
};
use kos_policy::{Refusal, Request, decide};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio::time::Instant;

use super::{Device, News, SETBACK_PAUSE, deed::Setback};
use crate::{
    config::Discovery,
    health::Observer,
    link::{self, Down, Link, Matter, Reporter, Signed, Situation, Terms, WitnessCall},
    revocation::{RefusedList, Revocations},
    root::{Root, RootError},
    standing::Standing,
    witness::{DeviceWitness, Parties},
};

/// What the loop knows of the link and of what came over it.
pub(super) struct Service {
    connector: Arc<Connector>,
    secrets: PathBuf,
    state: PathBuf,
    pub(super) link: Option<Link>,
    pub(super) standing: Standing,
    revocations: Revocations,
    /// The witness that it is for the log of the authority.
    pub(super) witness: DeviceWitness,
    /// The issuing CA of the authority's server, before a chain of our own says whether it counts.
    met: Option<Certificate>,
    /// When to try again to open a link, after something on this device stood in the way.
    again_at: Option<Instant>,
    /// What carries the link now.
    pub(super) carrier: Option<Carrier>,
    /// When the authority last acknowledged a heartbeat of this run.
    pub(super) last_heartbeat_at: Option<Timestamp>,
    /// The health checks that failed then.
    pub(super) failed_checks: Vec<String>,
    /// How often in a row a renewal was refused for its proof.
    pub(super) renewals_refused: usize,
}

impl Service {
    /// The signed slice of the manifests that is in force here.
    pub(super) fn policy(&self) -> Option<&[u8]> {
        self.standing.policy.as_deref().map(Vec::as_slice)
    }

    /// The last alert that the authority told of.
    pub(super) fn alert(&self) -> Option<&body::Alert> {
        self.standing.alert.as_ref()
    }

    pub(super) fn new(root: &Root, dialler: &Dialler, standing: Standing) -> Self {
        Self {
            connector: Arc::new(Connector::new(dialler.clone())),
            secrets: root.secrets().to_owned(),
            state: root.state(),
            link: None,
            standing,
            revocations: Revocations::default(),
            witness: DeviceWitness::new(&root.state()),
            met: None,
            again_at: None,
            carrier: None,
            last_heartbeat_at: None,
            failed_checks: Vec::new(),
            renewals_refused: 0,
        }
    }

    /// What the link has to tell next. `None`: it has failed.
    pub(super) async fn next(&mut self) -> Option<link::News> {
        match &mut self.link {
            Some(link) => link.next().await,
            None => pending().await,
        }
    }

    /// Cuts the link.
    pub(super) fn stop(&mut self) {
        self.link = None;
        self.carrier = None;
    }

    /// Ends the link so that the authority hears of it.
    pub(super) async fn say_goodbye(&mut self) {
        if let Some(link) = self.link.take() {
            link.say_goodbye().await;
        }
    }

    /// Cuts the link for good and forgets what the authority said.
    pub(super) fn end(&mut self) {
        self.stop();
        self.standing = Standing::default();
        self.revocations = Revocations::default();
    }

    /// What stands after everything was forgotten; it is on the disk already.
    pub(super) fn forgot(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// The firmware channel that the device follows.
    pub(super) fn channel(&self, member: &Membership, held: &Held) -> Channel {
        let changed = self.standing.channel.filter(|_| self.standing.issue == held.issue);
        changed.unwrap_or(member.role.channel)
    }

    /// The newest kID.
    pub(super) fn kid<'a>(&'a self, held: &'a Held) -> &'a [u8] {
        let newer = self.standing.kid.as_ref().filter(|_| self.standing.issue == held.issue);
        newer.unwrap_or(&held.kid)
    }

    /// What is revoked, as far as this device knows.
    pub(super) const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// A server of the authority showed its issuing CA.
    pub(super) fn meet(&mut self, ca: &Certificate) {
        if let Err(error) = self.revocations.meet(ca) {
            tracing::warn!(%error, "an issuing CA cannot be remembered");
        }
        self.met = Some(ca.clone());
    }

    /// Holds on to the lists that count under `chain`, the device's own certificates, and takes over those that came
    /// with it.
    ///
    /// # Errors
    /// When a list cannot be kept.
    pub(super) fn hold(&mut self, mut chain: Vec<Certificate>, lists: &[Vec<u8>]) -> Result<(), RootError> {
        chain.drain(..chain.len().min(1));
        self.revocations = Revocations::load(&self.state, chain);
        if let Some(ca) = self.met.take() {
            self.meet(&ca);
        }
        self.take_lists(lists)
    }

    /// Takes lists over. Those that do not count are told; the first that cannot be kept is the error.
    fn take_lists(&mut self, lists: &[Vec<u8>]) -> Result<(), RootError> {
        for list in lists {
            match self.revocations.take(list) {
                Ok(()) => {}
                Err(RefusedList::Root(error)) => return Err(error),
                Err(error) => tracing::warn!(%error, "a revocation list is not used"),
            }
        }
        Ok(())
    }
}

impl Device {
    /// The certificate in service, if the device may show it now.
    pub(super) fn serving(&self) -> Option<(&Membership, &Held)> {
        let journal = self.machine.journal();
        let (member, held) = journal.membership.as_ref().zip(journal.active.as_ref())?;
        let paused = self.machine.is_ending() || self.resume_at.is_some();
        // Whoever does not know the time asks the authority for it first; so does whoever slept past the end.
        let judged = self.clock.trust() == ClockTrust::Trusted && self.clock.now() < held.not_after;
        (judged && !paused).then_some((member, held))
    }

    /// Sees to it that there is a link exactly while a certificate is in service, and that it shows the newest.
    pub(super) fn keep_link(&mut self) {
        let wanted = self.serving().map(|(_, held)| held.issue);
        let held = self.service.link.as_ref().map(|link| link.issue);
        let too_early = self.service.again_at.is_some_and(|at| Instant::now() < at);
        if wanted == held || too_early && held.is_none() {
            return;
        }
        self.service.stop();
        self.service.again_at = None;
        match self.terms() {
            Ok(None) => {}
            Ok(Some((terms, reporter, situation))) => {
                let clock = self.clock.clone();
                let connector = Arc::clone(&self.service.connector);
                self.service.link = Some(Link::open(connector, terms, reporter, clock, situation));
            }
            Err(setback) => {
                tracing::error!(code = %setback.code(), %setback, "no link can be opened");
                self.errors.count();
                self.service.again_at = Some(Instant::now() + SETBACK_PAUSE);
            }
        }
    }

    /// What the link goes by.
    fn terms(&self) -> Result<Option<(Terms, Reporter, Situation)>, Setback> {
        let journal = self.machine.journal();
        let (Some((member, held)), Some(anchor)) = (self.serving(), &journal.authority) else {
            return Ok(None);
        };
        let Some(authority) = anchor.name.clone() else { return Ok(None) };
        let allowed = |carrier: &&message::Carrier| member.role.carriers.contains(carrier);
        let carriers: Vec<_> = self.config.carriers.iter().filter(allowed).map(carrier).collect();
        if carriers.is_empty() {
            return Err(Setback::Carriers);
        }
        let own = format!("{authority}/{}", member.device);
        let own = own.parse().map_err(|_| Setback::Provider("this device has no KLP name".to_owned()))?;
        // The root stays at home: the authority has it.
        let chain = held.chain.iter().take(2).map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = self.keys.signing(KeySlot::Operational(held.slot), self.clock.now())?;
        let trust =
            Trust { anchors: Arc::new(Anchors::pins(anchor.pins.clone())), revocation: Arc::default() };
        let identity = PeerIdentity::Authority { authority: authority.clone() };
        // What the certificate says; who the device is by now may have been told beforehand.
        let standing = standing_of(held)?;
        let tls = ClientTls {
            clock: self.clock.source(),
            certified: Some(certified(chain, key)),
            expectation: Expectation::Peer { trust, identity },
            profile: standing.profile,
        };
        let terms = Terms {
            issue: held.issue,
            tls,
            own,
            own_key: held.operational.id(),
            standing,
            authority,
            targets: self.targets(&anchor.addresses),
            carriers,
            interval: self.config.heartbeat,
            heard: self.service.standing.memory(),
            own_keys: match standing.profile {
                SecurityProfile::Sec1 => self.keys.own_keys(self.clock.now())?,
                _ => HeldKeys::default(),
            },
        };
        let checks = link::checks(&member.role, &self.config.health_checks, &self.root.state());
        let observer = Observer::new(self.host.clone());
        let errors = Arc::clone(&self.errors);
        let (clock, digest) = (self.clock.clone(), self.config_digest);
        let reporter = Reporter::new(observer, clock, errors, digest, checks, self.watch());
        Ok(Some((terms, reporter, self.situation(member, held))))
    }

    /// Where the authority is: where it answers on the local network, at the addresses that are remembered, and at those
    /// of the configuration.
    pub(super) fn targets(&self, remembered: &[String]) -> Vec<Target> {
        let fixed = self.config.discovery.contains(&Discovery::Fixed);
        let configured = self.config.authority.iter().filter(|_| fixed).cloned().map(Target::from);
        let known = remembered.iter().filter_map(|address| match address.parse::<Endpoint>() {
            Ok(endpoint) => Some(Target::from(endpoint)),
            Err(error) => {
                tracing::warn!(%error, "an address of the authority cannot be read");
                None
            }
        });
        // It was looked for because nobody answered elsewhere.
        let found = self.search.targets.iter().cloned();
        let mut targets: Vec<Target> = Vec::new();
        for target in found.chain(known).chain(configured) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets
    }

    /// What the authority is to see, and the link to go by.
    fn situation(&self, member: &Membership, held: &Held) -> Situation {
        let revocation = Arc::new(self.service.revocations.view().clone());
        Situation { channel: self.service.channel(member, held), revocation, statements: self.statements() }
    }

    /// Takes in what the link tells.
    pub(super) fn on_link(&mut self, news: Option<link::News>) {
        match news {
            Some(link::News::Up { carrier, issuing_ca }) => {
                tracing::info!(%carrier, "linked to the authority");
                self.service.carrier = Some(carrier);
                self.delivery_begins();
                if let Some(ca) = issuing_ca {
                    self.service.meet(&ca);
                }
            }
            Some(link::News::Acknowledged { answer, failed }) => self.acknowledged(*answer, failed),
            Some(link::News::Signed(Signed { matter, heard, done })) => {
                let outcome = self.obey(matter, heard);
                if let Err(code) = outcome {
                    tracing::error!(%code, reason = code.title(), "a signed message was not carried out");
                    self.errors.count();
                }
                // The link may have ended meanwhile.
                let _ = done.send(outcome);
            }
            Some(link::News::Witness(WitnessCall { request, done })) => {
                let outcome = self.cosign(&request);
                if let Err(code) = &outcome {
                    tracing::error!(%code, reason = code.title(), "the log of the authority is not cosigned");
                    self.errors.count();
                }
                // As above.
                let _ = done.send(outcome);
            }
            Some(link::News::Judge(call)) => self.second(call),
            Some(link::News::LogAnswered(answer)) => self.log_answered(answer),
            Some(link::News::Refused(refusal)) => self.refused_by_profile(refusal),
            Some(link::News::Down(down)) => self.fell(down),
            None => {
                tracing::error!("the link's task has failed");
                self.errors.count();
                self.service.stop();
                self.service.again_at = Some(Instant::now() + SETBACK_PAUSE);
            }
        }
    }

    /// Somebody asked for what our security profile does not allow.
    pub(super) fn refused_by_profile(&self, refusal: Refusal) {
        tracing::warn!(code = %refusal.code(), %refusal, "refused");
        self.note(
            EventType::PolicyRefused,
            json!({
                "rule": refusal.rule().as_str(), "request": refusal.request().to_string(),
                "code": refusal.code().to_string(), "why": refusal.to_string(),
            }),
        );
    }

    /// The authority has heard us, and says how things are.
    fn acknowledged(&mut self, answer: HeartbeatAnswer, failed: Vec<String>) {
        self.learn_time(answer.time);
        let now = self.clock.now();
        self.service.last_heartbeat_at = Some(now);
        self.service.failed_checks = failed;
        self.condition.trouble = None;
        self.news.tell(News::Heartbeat);
        let Some((member, held)) = self.serving() else { return };
        let mut standing = self.service.standing.clone().under(held.issue);
        if let Some(kid) = answer.kid {
            match self.judge_kid(now, &kid, member, held) {
                Ok(()) => standing.kid = Some(kid.into()),
                Err(code) => {
                    tracing::error!(%code, reason = code.title(), "a fresh kID is not used");
                    self.errors.count();
                }
            }
        }
        standing.channel = answer.channel.or(standing.channel);
        if standing != self.service.standing
            && let Err(code) = self.stand(standing)
        {
            tracing::error!(%code, reason = code.title(), "what the authority said cannot be kept");
            self.errors.count();
        }
        if answer.pending_order.is_some() {
            self.unless_busy(Command::CheckIn);
        } else if answer.renew_at.is_some_and(|at| at <= now) {
            self.unless_busy(Command::Regenerate);
        }
    }

    /// Gives the machine a command that comes again as long as there is a reason for it: not while a conversation is
    /// under way or waits to be tried again, since that would begin it anew and forget its pause.
    fn unless_busy(&mut self, command: Command) {
        let rest = self.machine.journal().active.as_ref().map(|held| held.renew_at);
        if self.machine.poll_timeout() == rest {
            self.machine.handle_command(self.clock.now(), command);
        }
    }

    fn judge_kid(&self, now: Timestamp, bytes: &[u8], member: &Membership, held: &Held) -> Result<(), Code> {
        let authority = self.machine.journal().authority.as_ref().and_then(|anchor| anchor.name.clone());
        let authority = authority.ok_or(code::config::INTERNAL)?;
        let expected =
            kid::Expected { signer: &member.keys.kid, audience: &authority, holder: held.operational.id() };
        let verified = kid::verify(now, bytes, &expected).map_err(|error| error.code())?;
        let own =
            KidSubject { authority: authority.clone(), device: member.device.clone(), issue: held.issue };
        if verified.claims().subject != own {
            return Err(certificate::KID_INVALID);
        }
        let standing = standing_of(held).map_err(|setback| setback.code())?;
        decide(standing, Request::Name(verified.claims().traits.profile))
            .check()
            .map_err(|refusal| refusal.code())
    }

    /// Does what a signed message asks for; its effect is durable when this returns.
    fn obey(&mut self, matter: Matter, heard: Vec<u8>) -> Result<Option<Vec<u8>>, Code> {
        let (_, held) = self.serving().ok_or(code::enrolment::STATE_FORBIDS)?;
        let mut standing = self.service.standing.clone().under(held.issue);
        standing.heard = Some(heard.into());
        standing.lost_at = None;
        let (now, mut command, mut policy_changed, mut relinks) = (self.clock.now(), None, false, false);
        let mut result = None;
        match matter {
            Matter::Command(order) => match order.instruction {
                Instruction::SetChannel(channel) => {
                    self.note(EventType::ChannelChanged, json!({"to": channel}));
                    standing.channel = Some(channel);
                }
                Instruction::Regenerate => command = Some(Command::Regenerate),
                Instruction::OwnKey(number, sealed) => {
                    self.take_own_key(number, &sealed)?;
                    relinks = true;
                }
                // The order itself is taken over the enrolment protocol alone, by the identity key.
                Instruction::Wipe(_) => {
                    self.note_end("authority");
                    command = Some(Command::CheckIn);
                }
            },
            Matter::Alert(alert) => {
                // Told again, it is one line all the same.
                if standing.alert.as_ref().is_none_or(|last| last.id != alert.id) {
                    let told = json!({
                        "rule": alert.rule.to_string(), "severity": alert.severity, "summary": alert.summary.to_string(),
                    });
                    self.note(EventType::AlertRaised, told);
                    tracing::warn!(rule = %alert.rule, severity = alert.severity, "the authority tells of an alert");
                }
                standing.alert = Some(alert);
            }
            Matter::Policy(slice) => {
                self.judge_slice(&slice)?;
                standing.policy = Some(slice.into());
                policy_changed = true;
            }
            Matter::Bonds(bonds) => self.take_bonds(bonds, &mut standing)?,
            Matter::Call(call) => {
                let (answer, then) = self.answer_call(&call, &mut standing)?;
                (result, command) = (Some(answer), then);
            }
            Matter::Revocation(lists) => {
                self.service.take_lists(&lists).map_err(|error| error.code())?;
                let own = self.is_taken_back();
                self.note_revocations(own);
                command = own.then_some(Command::CheckIn);
            }
        }
        self.stand(standing)?;
        if policy_changed {
            self.delivery_is_judged_again();
        }
        if let Some(command) = command {
            self.machine.handle_command(now, command);
        }
        if relinks {
            // A key counts once a link has shown it; one that the device has already was not shown on this link.
            self.service.stop();
        }
        Ok(result)
    }

    /// Cosigns the log of the authority, if it goes on from what was cosigned before.
    fn cosign(&mut self, request: &[u8]) -> Result<WitnessAnswer, Code> {
        let (member, _) = self.serving().ok_or(code::enrolment::STATE_FORBIDS)?;
        let authority = self.machine.journal().authority.as_ref().and_then(|anchor| anchor.name.clone());
        let authority = authority.ok_or(code::config::INTERNAL)?;
        let (device, log) = (member.device.clone(), member.keys.log.clone());
        let parties = Parties { authority: &authority, device: &device, log: &log };
        let (keys, now) = (Arc::clone(&self.keys), self.clock.now());
        let answered = self.service.witness.answer(now, &keys, &parties, request);
        let (answer, conflicts) = answered.map_err(|error| {
            tracing::error!(%error, "this device cannot be a witness");
            error.code()
        })?;
        for conflict in conflicts {
            let [one, other] = conflict.heads().map(|head| head.size);
            let said = format!("checkpoints of {one} and {other} entries contradict each other");
            tracing::error!(%authority, said, "the log of the authority is not the one that was cosigned");
            self.note(EventType::EquivocationFound, json!({"sizes": [one, other]}));
            self.errors.count();
            self.condition.warn(contradiction(self.service.witness.conflicts()));
        }
        Ok(answer)
    }

    /// Whether our own certificate is revoked or on hold.
    fn is_taken_back(&self) -> bool {
        let own = self.serving().and_then(|(_, held)| Certificate::parse(held.chain.first()?).ok());
        let status = own.and_then(|own| {
            let view = self.service.revocations.view();
            Some(view.status(own.serial(), own.issuer_key_id()?, own.key_id()))
        });
        matches!(status, Some(Status::Revoked { .. } | Status::Suspended))
    }

    /// Makes durable what stands from now on, and shows it to the link.
    pub(super) fn stand(&mut self, standing: Standing) -> Result<(), Code> {
        let standing = Standing { told: Some(self.clock.now()), ..standing };
        standing.store(&self.service.secrets).map_err(|error| error.code())?;
        self.service.standing = standing;
        if let (Some(link), Some((member, held))) = (&self.service.link, self.serving()) {
            link.show(self.situation(member, held));
        }
        Ok(())
    }

    /// There is no link, for the time being.
    fn fell(&mut self, down: Down) {
        self.service.carrier = None;
        self.delivery_ends();
        match down {
            Down::Cut => {}
            Down::Unreachable => {
                self.condition.trouble = Some(code::config::UNREACHABLE);
                self.news.tell(News::Unreachable);
                self.look_around();
            }
            Down::Untrusted(code) => {
                tracing::error!(%code, reason = code.title(), "whoever answers as the authority is not used");
                if self.condition.trouble.replace(code) != Some(code) {
                    self.note(EventType::AuthorityUntrusted, json!({"code": code.to_string()}));
                }
                self.errors.count();
                self.news.tell(News::Untrusted(code));
                if [certificate::CERT_EXPIRED, certificate::CERT_NOT_YET_VALID].contains(&code) {
                    // Or it is our clock that is wrong.
                    self.unless_busy(Command::CheckIn);
                }
                // Somebody else may have its address by now.
                self.look_around();
            }
            Down::Refused => {
                tracing::info!("the authority ends the link; it is asked why");
                self.unless_busy(Command::CheckIn);
            }
        }
    }
}

/// In words, that the authority's log is not the one that was cosigned.
pub(super) fn contradiction(conflicts: usize) -> String {
    format!(
        "the log of the authority contradicts what this device cosigned: {conflicts} proofs in witness.conflict-*"
    )
}

/// What the certificate in service says of this device.
pub(super) fn standing_of(held: &Held) -> Result<kos_policy::Standing, Setback> {
    let own = held.chain.first().and_then(|der| Certificate::parse(der).ok());
    let said = own.as_ref().and_then(Certificate::facts);
    said.map(|said| kos_policy::Standing::certified(said.profile, said.evidence))
        .ok_or_else(|| Setback::Provider("the certificate in service cannot be read".to_owned()))
}

const fn carrier(named: &message::Carrier) -> Carrier {
    match named {
        message::Carrier::Quic => Carrier::Quic,
        message::Carrier::Tls => Carrier::Tls,
        message::Carrier::WebSocket => Carrier::WebSocket,
    }
}
