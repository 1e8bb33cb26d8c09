//! One conversation of a device with its authority, step by step.
//!
//! Source: `docs/spec/enrolment.md` DEV-9 to DEV-30.

use kos_base::{AgreementKey, Code, KeyId, PublicKey, Timestamp, code, digest::sha256, key::SignatureForm};
use minicbor::bytes::{ByteArray, ByteVec};

use super::{
    BootloaderLock, Candidate, CodeCheck, Event, Goal, Held, Input, Installation, KeySlot, Machine, MadeKey,
    Output, SignWith, Slot, Wish,
    verify::{self, VerifiedGrant},
};
use crate::{
    csr,
    enrolment::{
        message::{
            Bootloader, FromAuthority, FromDevice, Grant, Hello, Means, Prove, Refused, Stored, Welcome,
        },
        proof::{Exporter, RenewalKind, RenewalProof, TicketProof, commitment, comparison_code},
    },
};

/// A conversation and how far it has come.
#[derive(Debug)]
pub(super) struct Conversation {
    goal: Purpose,
    step: Step,
    nonce: [u8; 32],
    jitter: u64,
}

/// Why the device talks to its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Enrol,
    Renew,
    Recover,
    Confirm,
    CheckIn,
}

#[derive(Debug)]
enum Step {
    MakingIdentity,
    MakingOperational(Slot),
    MakingAgreement(Slot, PublicKey),
    SigningRequest(Slot, AgreementKey, csr::Request),
    Drawing,
    Connecting,
    AwaitingWelcome(Link),
    /// Waits for one signature, or for two: first by the old or identity key.
    Proving(Box<Greeted>, Option<Vec<u8>>),
    AwaitingAnswer(Box<Greeted>),
    /// A person compares the code; the answer waits.
    Comparing(Box<Greeted>, Box<Grant>),
    LockingBootloader,
    ConnectingToConfirm,
    AwaitingRecorded,
}

/// What the connection is bound to.
#[derive(Clone, Debug)]
struct Link {
    root: KeyId,
    enrolment: Exporter,
    renewal: Exporter,
}

#[derive(Clone, Debug)]
struct Greeted {
    link: Link,
    welcome: Welcome,
    /// What the keys sign for a renewal or recovery.
    proof: Vec<u8>,
}

impl Machine {
    /// Begins the conversation that the goal needs.
    pub(super) fn begin(&mut self, goal: Goal) {
        let purpose = match goal {
            Goal::Enrol => Purpose::Enrol,
            Goal::Renew => Purpose::Renew,
            Goal::Recover => Purpose::Recover,
            Goal::Confirm => Purpose::Confirm,
            Goal::Rest(_) => return,
        };
        let slot = self.journal.active.as_ref().map_or(Slot::A, |held| held.slot.other());
        let (step, output) = if purpose == Purpose::Confirm {
            self.confirm_step()
        } else if self.journal.identity.is_none() {
            (Step::MakingIdentity, Output::MakeKey(KeySlot::Identity))
        } else if self.journal.candidate.is_none() {
            (Step::MakingOperational(slot), Output::MakeKey(KeySlot::Operational(slot)))
        } else {
            (Step::Drawing, Output::Draw)
        };
        self.go_on(Conversation { goal: purpose, step, nonce: [0; 32], jitter: 0 }, output);
    }

    /// Asks the authority by the identity key why it does not take our certificate.
    pub(super) fn begin_check_in(&mut self) {
        self.wish = None;
        let talk = Conversation { goal: Purpose::CheckIn, step: Step::Drawing, nonce: [0; 32], jitter: 0 };
        self.go_on(talk, Output::Draw);
    }

    fn go_on(&mut self, conversation: Conversation, output: Output) {
        self.conversation = Some(conversation);
        self.outputs.push_back(output);
    }

    pub(super) fn converse(&mut self, now: Timestamp, mut talk: Conversation, input: Input) {
        let step = core::mem::replace(&mut talk.step, Step::Drawing);
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
                self.connect(talk);
            }
            (Step::Connecting, Input::Connected { root, enrolment, renewal }) => {
                self.hello(talk, Link { root, enrolment, renewal });
            }
            (Step::AwaitingWelcome(link), Input::Received(frame)) => self.welcomed(now, talk, link, &frame),
            (Step::Proving(greeted, None), Input::Signed(first)) if talk.goal != Purpose::Enrol => {
                let slot = self.journal.candidate.as_ref().map_or(Slot::A, |c| c.slot);
                let output = sign(SignWith::Slot(KeySlot::Operational(slot)), greeted.proof.clone());
                talk.step = Step::Proving(greeted, Some(first));
                self.go_on(talk, output);
            }
            (Step::Proving(greeted, first), Input::Signed(signature)) => {
                let means = self.means(&talk, first, signature);
                self.prove(talk, greeted, means);
            }
            (Step::AwaitingAnswer(greeted), Input::Received(frame)) => {
                self.answered(now, talk, greeted, &frame)
            }
            (Step::LockingBootloader, Input::BootloaderLocked(result)) => {
                let report = result.map_or(Bootloader::Failed, |()| Bootloader::Locked);
                self.journal.bootloader = Some(report);
                self.persist();
                let (step, output) = self.confirm_step();
                talk.step = step;
                self.go_on(talk, output);
            }
            (Step::ConnectingToConfirm, Input::Connected { .. }) => self.stored(talk),
            (Step::AwaitingRecorded, Input::Received(frame)) => self.recorded(now, talk, &frame),
            // The device had its answer; only a person's word is missing.
            (step @ Step::Comparing(..), Input::Disconnected(_)) => {
                talk.step = step;
                self.conversation = Some(talk);
            }
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
                self.persist();
                talk.step = Step::Drawing;
                self.go_on(talk, Output::Draw);
            }
            Err(code) => self.fail(now, Event::Untrusted(code)),
        }
    }

    fn connect(&mut self, mut talk: Conversation) {
        let Some(anchor) = self.journal.authority.clone() else { return };
        let (key, chain) = match (&self.journal.active, talk.goal) {
            (Some(held), Purpose::Renew) => (KeySlot::Operational(held.slot), chain_of(held)),
            _ => (KeySlot::Identity, Vec::new()),
        };
        talk.step = Step::Connecting;
        self.go_on(talk, Output::Connect { key: Some(key), chain, anchor });
    }

    fn hello(&mut self, mut talk: Conversation, link: Link) {
        let facts = self.journal.membership.as_ref().map_or(&self.profile.facts, |m| &m.facts).clone();
        let hello = Hello {
            commitment: ByteArray::from(commitment(&talk.nonce)),
            facts,
            image: self.profile.image.clone(),
            role: self.profile.role,
            profile: self.profile.profile,
            name: self.profile.name.clone(),
            capabilities: self.profile.capabilities.clone(),
        };
        talk.step = Step::AwaitingWelcome(link);
        self.go_on(talk, Output::Send(FromDevice::Hello(hello).to_bytes()));
    }

    fn welcomed(&mut self, now: Timestamp, talk: Conversation, link: Link, frame: &[u8]) {
        let welcome = match FromAuthority::from_bytes(frame) {
            Ok(FromAuthority::Welcome(welcome)) => welcome,
            Ok(FromAuthority::Refused(refused)) => return self.refused(now, &talk, &refused),
            Ok(FromAuthority::Order(order)) => return self.ordered(now, &order.order),
            _ => return self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        };
        let named = self.journal.authority.as_ref().and_then(|a| a.name.as_ref());
        if named.is_some_and(|name| *name != welcome.authority) {
            return self.fail(now, Event::Untrusted(code::enrolment::PIN_MISMATCH));
        }
        if talk.goal == Purpose::CheckIn {
            // It takes us after all: whatever was in the way is gone.
            self.failures = 0;
            self.outputs.push_back(Output::Close);
            return;
        }
        self.entitle(now, talk, link, welcome);
    }

    /// Signs what entitles the device, or goes on without when it only asks to be let in.
    fn entitle(&mut self, now: Timestamp, mut talk: Conversation, link: Link, welcome: Welcome) {
        let Some(candidate) = &self.journal.candidate else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let csr = sha256(&candidate.csr);
        let kind = match talk.goal {
            Purpose::Renew => Some(RenewalKind::Renewal),
            Purpose::Recover => Some(RenewalKind::Recovery),
            _ => None,
        };
        let proof = match (kind, &self.journal.membership, &self.journal.active, &self.journal.identity) {
            (Some(kind), Some(membership), Some(held), _) => RenewalProof {
                exporter: &link.renewal,
                challenge: &welcome.nonce,
                device: &membership.device,
                csr: &csr,
                issue: held.issue,
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
                    profile: self.profile.profile,
                }
                .to_be_signed(),
                None => Vec::new(),
            },
            _ => return self.fail(now, Event::Untrusted(code::config::INTERNAL)),
        };
        let held = self.journal.active.as_ref().map_or(Slot::A, |h| h.slot);
        let key = match talk.goal {
            Purpose::Renew => SignWith::Slot(KeySlot::Operational(held)),
            Purpose::Recover => SignWith::Slot(KeySlot::Identity),
            _ => SignWith::Ticket,
        };
        let greeted = Box::new(Greeted { link, welcome, proof: proof.clone() });
        if proof.is_empty() {
            return self.prove(talk, greeted, Means::Lobby);
        }
        talk.step = Step::Proving(greeted, None);
        self.go_on(talk, sign(key, proof));
    }

    fn means(&self, talk: &Conversation, first: Option<Vec<u8>>, signature: Vec<u8>) -> Means {
        let issue = self.journal.active.as_ref().map_or(0, |held| held.issue);
        let new = ByteVec::from(signature);
        match (talk.goal, first, self.ticket) {
            (Purpose::Renew, Some(old), _) => Means::Renewal { issue, old: old.into(), new },
            (Purpose::Recover, Some(identity), _) => {
                Means::Recovery { issue, identity: identity.into(), new }
            }
            (_, _, Some(ticket)) => Means::Ticket { ticket, signature: new },
            _ => Means::Lobby,
        }
    }

    fn prove(&mut self, mut talk: Conversation, greeted: Box<Greeted>, means: Means) {
        let Some(candidate) = &self.journal.candidate else { return };
        let prove = Prove {
            token: greeted.welcome.token,
            nonce: ByteArray::from(talk.nonce),
            csr: candidate.csr.clone(),
            agreement: candidate.agreement,
            means,
        };
        let unpinned = self.journal.authority.as_ref().is_none_or(|a| a.pins.is_empty());
        let code = self.journal.identity.as_ref().filter(|_| unpinned).map(|identity| {
            comparison_code(identity, greeted.link.root, &talk.nonce, &greeted.welcome.nonce)
        });
        talk.step = Step::AwaitingAnswer(greeted);
        self.go_on(talk, Output::Send(FromDevice::Prove(prove).to_bytes()));
        self.outputs.extend(code.map(Output::ShowCode));
    }

    fn answered(&mut self, now: Timestamp, mut talk: Conversation, greeted: Box<Greeted>, frame: &[u8]) {
        match FromAuthority::from_bytes(frame) {
            Ok(FromAuthority::Issued(grant)) => {
                let pinned = self.journal.authority.as_ref().is_some_and(|a| !a.pins.is_empty());
                if pinned || self.code_confirmed == CodeCheck::Confirmed {
                    self.accept(now, talk, &greeted, *grant);
                } else {
                    talk.step = Step::Comparing(greeted, grant);
                    self.go_on(talk, Output::Close);
                }
            }
            Ok(FromAuthority::Pending(pending)) => {
                self.failures = 0;
                self.retry_at = Some(now.plus(core::time::Duration::from_secs(pending.retry_after_s.into())));
                self.outputs.extend([Output::Close, Output::Event(Event::Waiting)]);
            }
            Ok(FromAuthority::Refused(refused)) => self.refused(now, &talk, &refused),
            _ => self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        }
    }

    /// Goes on with an answer that waited for a person.
    pub(super) fn code_was_confirmed(&mut self, now: Timestamp) {
        match self.conversation.take() {
            Some(Conversation { step: Step::Comparing(greeted, grant), goal, nonce, jitter }) => {
                let talk = Conversation { goal, step: Step::Drawing, nonce, jitter };
                self.accept(now, talk, &greeted, *grant);
            }
            other => self.conversation = other,
        }
    }

    /// Checks what was issued, makes it durable, and goes on to confirm it over a new connection.
    fn accept(&mut self, now: Timestamp, mut talk: Conversation, greeted: &Greeted, grant: Grant) {
        let (Some(candidate), Some(identity)) = (&self.journal.candidate, &self.journal.identity) else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let asked = verify::Asked {
            clock: self.clock(now),
            root: greeted.link.root,
            authority: &greeted.welcome.authority,
            uuid: greeted.welcome.uuid,
            facts: self.journal.membership.as_ref().map_or(&self.profile.facts, |m| &m.facts),
            identity: identity.id(),
            known: self.journal.membership.as_ref(),
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
            if anchor.pins.is_empty() {
                anchor.pins.push(greeted.link.root);
            }
        }
        self.journal.membership = Some(membership);
        self.journal.time_floor = self.journal.time_floor.max(Some(greeted.welcome.time));
        self.persist();
        self.outputs.extend([
            Output::Close,
            Output::Event(Event::Time(greeted.welcome.time)),
            Output::Install(installation),
        ]);
        let lock = self.profile.bootloader == BootloaderLock::Command && self.journal.bootloader.is_none();
        let (step, output) =
            if lock { (Step::LockingBootloader, Output::LockBootloader) } else { self.confirm_step() };
        talk.step = step;
        self.go_on(talk, output);
    }

    /// Connects with the new key and certificate.
    fn confirm_step(&self) -> (Step, Output) {
        let held = self.journal.candidate.as_ref().and_then(|c| c.held.as_ref());
        let output = Output::Connect {
            key: held.map(|h| KeySlot::Operational(h.slot)),
            chain: held.map(chain_of).unwrap_or_default(),
            anchor: self.journal.authority.clone().unwrap_or_else(|| super::Anchor {
                name: None,
                pins: Vec::new(),
                addresses: Vec::new(),
            }),
        };
        (Step::ConnectingToConfirm, output)
    }

    fn stored(&mut self, mut talk: Conversation) {
        let held = self.journal.candidate.as_ref().and_then(|c| c.held.as_ref());
        let first = self.journal.active.is_none();
        let bootloader = self.journal.bootloader.filter(|_| first);
        let stored = Stored { issue: held.map_or(0, |h| h.issue), bootloader };
        talk.step = Step::AwaitingRecorded;
        self.go_on(talk, Output::Send(FromDevice::Stored(stored).to_bytes()));
    }

    /// The authority has recorded the new certificate: it goes into service, and the old keys go.
    fn recorded(&mut self, now: Timestamp, talk: Conversation, frame: &[u8]) {
        match FromAuthority::from_bytes(frame) {
            Ok(FromAuthority::Recorded) => {}
            Ok(FromAuthority::Refused(refused)) => return self.refused(now, &talk, &refused),
            _ => return self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        }
        let Some(held) = self.journal.candidate.take().and_then(|c| c.held) else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let issue = held.issue;
        let old = self.journal.active.replace(held);
        self.ticket = None;
        self.wish = None;
        self.failures = 0;
        self.persist();
        if let Some(old) = &old {
            let slots = vec![KeySlot::Operational(old.slot), KeySlot::Agreement(old.slot)];
            self.outputs.push_back(Output::Erase(slots));
        }
        let event = match (&old, &self.journal.membership) {
            (None, Some(membership)) => Event::Enrolled(membership.device.clone()),
            _ => Event::Renewed(issue),
        };
        self.outputs.extend([Output::Close, Output::Event(event)]);
    }

    /// The authority said no. A request that it will never grant is forgotten, so that the next try is a new one.
    fn refused(&mut self, now: Timestamp, talk: &Conversation, refused: &Refused) {
        let code = Code::find(&refused.code.to_string()).unwrap_or(code::enrolment::PROTOCOL);
        let dead_end = talk.goal == Purpose::Confirm
            && (code == code::enrolment::DEVICE_UNKNOWN || code == code::enrolment::STATE_FORBIDS);
        if dead_end && self.journal.candidate.take().is_some() {
            self.persist();
        }
        if talk.goal == Purpose::CheckIn {
            self.wish = None;
        } else if self.journal.active.is_some() && talk.goal != Purpose::CheckIn {
            // The answer to why comes by the identity key.
            self.wish = Some(Wish::CheckIn);
        }
        self.fail(now, Event::Refused(code));
    }
}

pub(super) fn sign(key: SignWith, message: Vec<u8>) -> Output {
    Output::Sign { key, form: SignatureForm::Fixed, message }
}

pub(super) fn chain_of(held: &Held) -> Vec<Vec<u8>> {
    held.chain.iter().map(|c| c.to_vec()).collect()
}
