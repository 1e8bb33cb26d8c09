//! One conversation of a device with its authority, step by step.
//!
//! Source: `docs/spec/enrolment.md` DEV-3 to DEV-8, DEV-14, DEV-15, PRF-2 to PRF-9; `docs/spec/quarantine.md`
//! QRN-8, QRN-23.

use core::time::Duration;

use kos_attest::Binding;
use kos_base::{
    AgreementKey, KeyId, PublicKey, SecurityProfile, Timestamp, code, digest::sha256, key::SignatureForm,
};
use minicbor::bytes::{ByteArray, ByteVec};

use super::{
    CODES_MAX, COMPARISONS_MAX, Candidate, Comparison, Event, Held, Input, Installation, KeyHome, KeySlot,
    Machine, MadeKey, Output, Owed, RETRY_MAX, SignWith, Slot, Wish,
    isolation::Report,
    verify::{self, VerifiedGrant},
};
use crate::{
    csr,
    enrolment::{
        message::{Facts, FromAuthority, FromDevice, Grant, Hello, Means, Offer, Prove, Statement, Welcome},
        proof::{Exporter, RenewalKind, RenewalProof, TicketProof, commitment, comparison_code},
    },
};

/// A conversation and how far it has come.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) purpose: Purpose,
    pub(super) step: Step,
    nonce: [u8; 32],
    jitter: u64,
    pub(super) offer: Option<Offer>,
}

/// As many codes were made as may be.
struct TooManyCodes;

/// Shortest pause before a device that waits asks again.
pub(super) const WAIT_MIN: Duration = Duration::from_secs(5);

/// Why the device talks to its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Get a first certificate.
    Enrol,
    /// Replace the one in service.
    Renew,
    /// Come back by the identity key.
    Recover,
    /// Tell that the new one is durable.
    Confirm,
    /// Ask why the one in service is not taken, or whether a quarantine is over.
    CheckIn,
    /// Obey an order of quarantine, and say so.
    Isolate,
}

#[derive(Debug)]
pub(super) enum Step {
    MakingIdentity,
    MakingOperational(Slot),
    MakingAgreement(Slot, PublicKey),
    SigningRequest(Slot, AgreementKey, csr::Request),
    Drawing,
    Offering,
    Connecting,
    AwaitingWelcome(Link),
    /// Waits for one signature, or for two: first by the old or identity key.
    Proving(Box<Greeted>, Option<Vec<u8>>),
    /// Waits for the TPM.
    Attesting(Box<Greeted>, Means),
    AwaitingAnswer(Box<Greeted>),
    LockingBootloader,
    ConnectingToConfirm,
    AwaitingRecorded,
    Gathering,
    SigningReport(Box<Report>),
    /// The frame is sent once there is a connection.
    ConnectingToReport(Vec<u8>),
    AwaitingReported,
}

/// What the connection is bound to.
#[derive(Clone, Debug)]
pub(super) struct Link {
    root: KeyId,
    enrolment: Exporter,
    renewal: Exporter,
}

#[derive(Clone, Debug)]
pub(super) struct Greeted {
    link: Link,
    welcome: Welcome,
    /// What the keys sign for a renewal or recovery.
    proof: Vec<u8>,
}

impl Conversation {
    /// Whether the shell is about to answer a question of this conversation.
    pub(super) const fn owed(&self) -> Owed {
        match self.step {
            Step::MakingIdentity
            | Step::MakingOperational(_)
            | Step::MakingAgreement(..)
            | Step::SigningRequest(..)
            | Step::Drawing
            | Step::Offering
            | Step::Attesting(..)
            | Step::Proving(..)
            | Step::Gathering
            | Step::SigningReport(_)
            | Step::LockingBootloader => Owed::Answer,
            Step::Connecting
            | Step::AwaitingWelcome(_)
            | Step::AwaitingAnswer(_)
            | Step::ConnectingToConfirm
            | Step::AwaitingRecorded
            | Step::ConnectingToReport(_)
            | Step::AwaitingReported => Owed::Nothing,
        }
    }
}

impl Machine {
    /// Begins a conversation.
    pub(super) fn begin(&mut self, purpose: Purpose) {
        let slot = self.journal.active.as_ref().map_or(Slot::A, |held| held.slot.other());
        let (step, output) = match purpose {
            Purpose::Confirm => self.confirm_step(),
            Purpose::Isolate => self.isolate_step(),
            Purpose::CheckIn => (Step::Drawing, Output::Draw),
            _ if self.journal.identity.is_none() => {
                (Step::MakingIdentity, Output::MakeKey(KeySlot::Identity))
            }
            _ if self.journal.candidate.is_none() => {
                (Step::MakingOperational(slot), Output::MakeKey(KeySlot::Operational(slot)))
            }
            _ => (Step::Drawing, Output::Draw),
        };
        self.go_on(Conversation { purpose, step, nonce: [0; 32], jitter: 0, offer: None }, output);
    }

    pub(super) fn go_on(&mut self, conversation: Conversation, output: Output) {
        self.conversation = Some(conversation);
        self.outputs.push_back(output);
    }

    pub(super) fn converse(&mut self, now: Timestamp, mut talk: Conversation, input: Input) {
        let step = core::mem::replace(&mut talk.step, Step::Drawing);
        if talk.purpose == Purpose::Isolate {
            return self.report(now, talk, step, input);
        }
        match (step, input) {
            (Step::MakingIdentity, Input::KeyMade(MadeKey::Signing(key))) => {
                self.journal.identity = Some(key);
                self.persist();
                talk.step = Step::MakingOperational(Slot::A);
                self.go_on(talk, Output::MakeKey(KeySlot::Operational(Slot::A)));
            }
            (Step::MakingOperational(slot), Input::KeyMade(MadeKey::Signing(key))) => {
                talk.step = Step::MakingAgreement(slot, key);
                self.go_on(talk, Output::MakeKey(KeySlot::Agreement(slot)));
            }
            (Step::MakingAgreement(slot, key), Input::KeyMade(MadeKey::Agreement(agreement))) => {
                self.request(now, talk, slot, &key, agreement);
            }
            (Step::SigningRequest(slot, agreement, request), Input::Signed(signature)) => {
                self.requested(now, talk, (slot, agreement), request, &signature);
            }
            (Step::Drawing, Input::Drawn(random)) => {
                let (nonce, jitter) = random.expose().split_at(32);
                talk.nonce.copy_from_slice(nonce);
                talk.jitter = jitter.iter().fold(0, |n, b| n << 8 | u64::from(*b));
                if self.profile.keys == KeyHome::Tpm && talk.purpose != Purpose::CheckIn {
                    talk.step = Step::Offering;
                    self.go_on(talk, Output::Offer);
                } else {
                    self.connect(talk);
                }
            }
            (Step::Offering, Input::Offered(offer)) => {
                talk.offer = offer;
                self.connect(talk);
            }
            (Step::Connecting, Input::Connected { root, enrolment, renewal }) => {
                self.hello(talk, Link { root, enrolment, renewal });
            }
            (Step::AwaitingWelcome(link), Input::Received(frame)) => self.welcomed(now, talk, link, &frame),
            (Step::Proving(greeted, None), Input::Signed(first)) if talk.purpose != Purpose::Enrol => {
                let slot = self.journal.candidate.as_ref().map_or(Slot::A, |c| c.slot);
                let output = sign(SignWith::Slot(KeySlot::Operational(slot)), greeted.proof.clone());
                talk.step = Step::Proving(greeted, Some(first));
                self.go_on(talk, output);
            }
            (Step::Proving(greeted, first), Input::Signed(signature)) => {
                let means = self.means(&talk, first, signature);
                self.prove(now, talk, greeted, means);
            }
            (Step::Attesting(greeted, means), Input::Attested(statement)) => {
                self.send_proof(now, talk, greeted, means, Some(*statement));
            }
            (Step::AwaitingAnswer(greeted), Input::Received(frame)) => {
                self.answered(now, talk, &greeted, &frame);
            }
            (Step::LockingBootloader, Input::BootloaderLocked(result)) => {
                self.bootloader_locked(talk, result);
            }
            (Step::ConnectingToConfirm, Input::Connected { .. }) => self.stored(talk),
            (Step::AwaitingRecorded, Input::Received(frame)) => self.recorded(now, &talk, &frame),
            (_, Input::Disconnected(Some(code))) => self.fail(now, Event::Untrusted(code)),
            (_, Input::Disconnected(None)) => self.fail(now, Event::Unreachable),
            _ => self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        }
    }

    fn request(
        &mut self,
        now: Timestamp,
        mut talk: Conversation,
        slot: Slot,
        key: &PublicKey,
        agreement: AgreementKey,
    ) {
        match csr::Request::new(key) {
            Ok(request) => {
                let message = request.to_be_signed().to_vec();
                let key = SignWith::Slot(KeySlot::Operational(slot));
                talk.step = Step::SigningRequest(slot, agreement, request);
                self.go_on(talk, Output::Sign { key, form: SignatureForm::Der, message });
            }
            Err(e) => self.fail(now, Event::Untrusted(e.code())),
        }
    }

    fn requested(
        &mut self,
        now: Timestamp,
        mut talk: Conversation,
        (slot, agreement): (Slot, AgreementKey),
        request: csr::Request,
        signature: &[u8],
    ) {
        let written = request.finish(signature).map_err(|e| e.code()).and_then(|csr| {
            let parsed = csr::Request::parse(&csr, csr::Request::BYTES_MAX).map_err(|e| e.code())?;
            Ok((csr, parsed.public_key().clone()))
        });
        match written {
            Ok((csr, operational)) => {
                let csr = ByteVec::from(csr);
                self.journal.candidate = Some(Candidate { slot, operational, agreement, csr, held: None });
                self.journal.facts.get_or_insert_with(|| self.profile.facts.clone());
                self.persist();
                talk.step = Step::Drawing;
                self.go_on(talk, Output::Draw);
            }
            Err(code) => self.fail(now, Event::Untrusted(code)),
        }
    }

    fn connect(&mut self, mut talk: Conversation) {
        let Some(anchor) = self.journal.authority.clone() else { return };
        let (key, chain) = match (&self.journal.active, talk.purpose) {
            (Some(held), Purpose::Renew) => (KeySlot::Operational(held.slot), chain_of(held)),
            _ => (KeySlot::Identity, Vec::new()),
        };
        talk.step = Step::Connecting;
        self.go_on(talk, Output::Connect { key: Some(key), chain, anchor });
    }

    /// The hardware that the device's id is computed from.
    fn facts(&self) -> &Facts {
        let known = self.journal.membership.as_ref().map(|membership| &membership.facts);
        known.or(self.journal.facts.as_ref()).unwrap_or(&self.profile.facts)
    }

    fn hello(&mut self, mut talk: Conversation, link: Link) {
        let facts = self.facts().clone();
        let hello = Hello {
            commitment: ByteArray::from(commitment(&talk.nonce)),
            facts,
            image: self.profile.image.clone(),
            role: self.profile.role,
            profile: self.wanted_profile(),
            name: self.profile.name.clone(),
            capabilities: self.profile.capabilities.clone(),
            attestation: talk.offer.clone(),
            maker: None,
            factory: None,
        };
        let hello = self.show_introduction(&talk, hello);
        talk.step = Step::AwaitingWelcome(link);
        self.go_on(talk, Output::Send(FromDevice::Hello(hello).to_bytes()));
    }

    fn welcomed(&mut self, now: Timestamp, talk: Conversation, link: Link, frame: &[u8]) {
        let welcome = match FromAuthority::from_bytes(frame) {
            Ok(FromAuthority::Welcome(welcome)) => welcome,
            Ok(FromAuthority::Refused(refused)) => return self.refused(now, &talk, &refused),
            Ok(FromAuthority::Order(order)) => return self.ordered(now, &order.order),
            Ok(FromAuthority::Quarantine(order)) => return self.isolated(now, &order.order),
            _ => return self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        };
        let named = self.journal.authority.as_ref().and_then(|a| a.name.as_ref());
        if named.is_some_and(|name| *name != welcome.authority) {
            return self.fail(now, Event::Untrusted(code::enrolment::PIN_MISMATCH));
        }
        self.recognise(now, &talk, link.root, &welcome);
        let pinned = self.journal.authority.as_ref().is_some_and(|a| a.pins.contains(&link.root));
        if !pinned {
            return self.entitle(now, talk, link, welcome);
        }
        let time = welcome.time;
        self.journal.time_floor = self.journal.time_floor.max(Some(time));
        self.outputs.push_back(Output::Event(Event::Time(time)));
        if talk.purpose == Purpose::CheckIn {
            // It takes us after all. If it has issued something that we do not hold, somebody else may hold it.
            let known = self.journal.active.as_ref().map_or(0, |held| held.issue);
            self.wish = match welcome.in_service {
                // Its quarantine may be over; only the number that it knows shows whether that is so.
                _ if self.journal.isolation.is_some() => Some(Wish::Recover),
                None => Some(Wish::Recover),
                Some(_) => (welcome.issues != known).then_some(Wish::Regenerate),
            };
        }
        if self.due(time) == Some(talk.purpose) {
            return self.entitle(now, talk, link, welcome);
        }
        // It was the answer to a question, or by the authority's time something else is due.
        self.outputs.push_back(Output::Close);
        self.pause = None;
        self.proceed(time);
    }

    /// Signs what entitles the device, or goes on without when it only asks to be let in.
    fn entitle(&mut self, now: Timestamp, mut talk: Conversation, link: Link, welcome: Welcome) {
        let Some(candidate) = &self.journal.candidate else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let csr = sha256(&candidate.csr);
        let kind = match talk.purpose {
            Purpose::Renew => Some(RenewalKind::Renewal),
            Purpose::Recover => Some(RenewalKind::Recovery),
            _ => None,
        };
        let issue = self.journal.is_member().then(|| self.journal.known_issue());
        let proof = match (kind, &self.journal.membership, issue, &self.journal.identity) {
            (Some(kind), Some(membership), Some(issue), _) => RenewalProof {
                exporter: &link.renewal,
                challenge: &welcome.nonce,
                device: &membership.device,
                csr: &csr,
                issue,
                kind,
            }
            .to_be_signed(),
            (None, _, _, Some(identity)) => match self.ticket {
                Some(ticket) => TicketProof {
                    exporter: &link.enrolment,
                    identity: identity.id(),
                    csr: &csr,
                    ticket,
                    role: self.profile.role,
                    profile: self.wanted_profile(),
                }
                .to_be_signed(),
                None => Vec::new(),
            },
            _ => return self.fail(now, Event::Untrusted(code::config::INTERNAL)),
        };
        let held = self.journal.active.as_ref().map_or(Slot::A, |h| h.slot);
        let key = match talk.purpose {
            Purpose::Renew => SignWith::Slot(KeySlot::Operational(held)),
            Purpose::Recover => SignWith::Slot(KeySlot::Identity),
            _ => SignWith::Ticket,
        };
        let greeted = Box::new(Greeted { link, welcome, proof: proof.clone() });
        if proof.is_empty() {
            return self.prove(now, talk, greeted, Means::Lobby);
        }
        talk.step = Step::Proving(greeted, None);
        self.go_on(talk, sign(key, proof));
    }

    fn means(&self, talk: &Conversation, first: Option<Vec<u8>>, signature: Vec<u8>) -> Means {
        let issue = self.journal.known_issue();
        let new = ByteVec::from(signature);
        match (talk.purpose, first, self.ticket) {
            (Purpose::Renew, Some(old), _) => Means::Renewal { issue, old: old.into(), new },
            (Purpose::Recover, Some(identity), _) => {
                Means::Recovery { issue, identity: identity.into(), new }
            }
            (_, _, Some(ticket)) => Means::Ticket { ticket, signature: new },
            _ => Means::Lobby,
        }
    }

    /// Lets the TPM say what the authority asked for, and sends everything.
    fn prove(&mut self, now: Timestamp, mut talk: Conversation, greeted: Box<Greeted>, means: Means) {
        let asked = talk.offer.as_ref().and(greeted.welcome.challenge.clone());
        match (asked, &self.journal.candidate, &self.journal.identity) {
            (Some(challenge), Some(candidate), Some(identity)) => {
                let (exporter, nonce) = (&greeted.link.enrolment, &greeted.welcome.nonce);
                let binding = Binding::of_request(exporter, nonce, identity.id(), &sha256(&candidate.csr));
                let slot = candidate.slot;
                talk.step = Step::Attesting(greeted, means);
                self.go_on(talk, Output::Attest { challenge, binding, slot });
            }
            _ => self.send_proof(now, talk, greeted, means, None),
        }
    }

    fn send_proof(
        &mut self,
        now: Timestamp,
        mut talk: Conversation,
        greeted: Box<Greeted>,
        means: Means,
        attestation: Option<Statement>,
    ) {
        let Ok(code) = self.comparison(&talk, &greeted) else {
            return self.fail(now, Event::Untrusted(code::enrolment::TOO_MANY_CODES));
        };
        let Some(candidate) = &self.journal.candidate else { return };
        let prove = Prove {
            token: greeted.welcome.token,
            nonce: ByteArray::from(talk.nonce),
            csr: candidate.csr.clone(),
            agreement: candidate.agreement,
            means,
            attestation,
            vouch: None,
        };
        let prove = self.show_vouch(&talk, prove);
        talk.step = Step::AwaitingAnswer(greeted);
        self.go_on(talk, Output::Send(FromDevice::Prove(prove).to_bytes()));
        self.outputs.extend(code.map(Output::ShowCode));
    }

    /// What it asks for: as configured, and never less than it had.
    fn wanted_profile(&self) -> SecurityProfile {
        self.journal.profile_floor().map_or(self.profile.profile, |floor| floor.max(self.profile.profile))
    }

    /// The code of an authority that is known by nothing else. It belongs to the conversation in which the device was
    /// put into the lobby; later ones carry the same nonce of the authority. It is durable before it can be shown.
    ///
    /// Each new code is another chance for whoever stands in the middle, so there are at most [`CODES_MAX`] of them
    /// before a person has to begin anew.
    fn comparison(&mut self, talk: &Conversation, greeted: &Greeted) -> Result<Option<String>, TooManyCodes> {
        let Some(identity) = &self.journal.identity else { return Ok(None) };
        let known = self.journal.authority.as_ref().is_some_and(|anchor| !anchor.pins.is_empty());
        let (root, nonce) = (greeted.link.root, greeted.welcome.nonce);
        let same = |shown: &&Comparison| shown.root == root && shown.nonce == nonce;
        match self.journal.comparisons.iter().find(same) {
            _ if known => Ok(None),
            Some(shown) => Ok(Some(shown.code.clone())),
            None if self.journal.codes >= CODES_MAX => Err(TooManyCodes),
            None => {
                let code = comparison_code(identity, root, &talk.nonce, &nonce);
                self.journal.codes += 1;
                let kept = &mut self.journal.comparisons;
                kept.truncate(COMPARISONS_MAX - 1);
                kept.insert(0, Comparison { nonce, root, code: code.clone() });
                self.persist();
                Ok(Some(code))
            }
        }
    }

    fn answered(&mut self, now: Timestamp, talk: Conversation, greeted: &Greeted, frame: &[u8]) {
        match FromAuthority::from_bytes(frame) {
            Ok(FromAuthority::Issued(grant)) => {
                if self.journal.authority.as_ref().is_some_and(|anchor| !anchor.pins.is_empty()) {
                    self.accept(now, talk, greeted, *grant);
                } else {
                    // The same is issued again once a person has compared the code.
                    self.wait(now, RETRY_MAX);
                }
            }
            Ok(FromAuthority::Pending(pending)) => {
                self.wait(now, Duration::from_secs(pending.retry_after_s.into()));
                self.told_to_wait(&pending);
            }
            Ok(FromAuthority::Refused(refused)) => self.refused(now, &talk, &refused),
            _ => self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        }
    }

    /// Ends the conversation until it may go better.
    fn wait(&mut self, now: Timestamp, pause: Duration) {
        self.failures = 0;
        // The peer names the pause, and it may be anybody: it cannot make the device hurry.
        self.rest(now, pause.clamp(WAIT_MIN, RETRY_MAX));
        self.outputs.extend([Output::Close, Output::Event(Event::Waiting)]);
    }

    /// A person has compared the code of a conversation that is remembered: its root is pinned from now on.
    pub(super) fn code_was_confirmed(&mut self, now: Timestamp, code: &str) {
        let shown = self.journal.comparisons.iter().find(|shown| shown.code == code);
        if let (Some(Comparison { root, .. }), Some(anchor)) = (shown, &mut self.journal.authority) {
            anchor.pins = vec![*root];
            self.journal.comparisons.clear();
            self.persist();
            self.abandon();
            self.proceed(now);
        }
    }

    /// Checks what was issued, makes it durable, and goes on to confirm it over a new connection.
    fn accept(&mut self, now: Timestamp, mut talk: Conversation, greeted: &Greeted, grant: Grant) {
        let (Some(candidate), Some(identity)) = (&self.journal.candidate, &self.journal.identity) else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let root = greeted.link.root;
        if !self.journal.authority.as_ref().is_some_and(|anchor| anchor.pins.contains(&root)) {
            return self.fail(now, Event::Untrusted(code::enrolment::PIN_MISMATCH));
        }
        let time = greeted.welcome.time;
        let asked = verify::Asked {
            time,
            root,
            authority: &greeted.welcome.authority,
            uuid: greeted.welcome.uuid,
            facts: self.facts(),
            identity: identity.id(),
            known: self.journal.membership.as_ref().filter(|_| self.journal.is_member()),
            floor: self.journal.profile_floor(),
            newest: self.journal.is_member().then(|| self.journal.known_issue()),
            candidate,
        };
        let verified = match verify::grant(&asked, grant, talk.jitter) {
            Ok(verified) => verified,
            Err(e) => return self.fail(now, Event::Untrusted(e.code())),
        };
        let VerifiedGrant { membership, held, crls } = verified;
        let installation = Installation { chain: chain_of(&held), crls };
        if let Some(candidate) = &mut self.journal.candidate {
            candidate.held = Some(held);
        }
        if let Some(anchor) = &mut self.journal.authority {
            anchor.name = Some(greeted.welcome.authority.clone());
        }
        self.journal.membership = Some(membership);
        self.journal.time_floor = self.journal.time_floor.max(Some(time));
        self.persist();
        self.outputs.extend([Output::Close, Output::Event(Event::Time(time)), Output::Install(installation)]);
        let (step, output) = self.confirm_step();
        talk.step = step;
        self.go_on(talk, output);
    }
}

pub(super) fn sign(key: SignWith, message: Vec<u8>) -> Output {
    Output::Sign { key, form: SignatureForm::Fixed, message }
}

pub(super) fn chain_of(held: &Held) -> Vec<Vec<u8>> {
    held.chain.iter().map(|c| c.to_vec()).collect()
}
