//! The authority's side of one enrolment connection.
//!
//! A session lives as long as its connection and keeps nothing across connections: whatever must survive is in the
//! store before the answer goes out. It serves six requests: `Hello` then `Prove` (a certificate, by ticket, lobby,
//! renewal or recovery), `Stored`, `Notice`, `Receipt`, `Isolated`.
//!
//! It does not check whether the client certificate of the connection is signed by anybody: it takes the key that the
//! handshake proved and asks the store whose it is.
//!
//! Shape: at most one question to the shell is open at any time ([`Output::Draw`], [`Output::Lookup`],
//! [`Output::Second`], [`Output::Sign`], [`Output::Commit`]); each is answered by the input of the same name. A commit that met a
//! conflict is decided again from a fresh look-up, at most [`CONFLICTS_MAX`] times.
//!
//! Invariants: no certificate leaves before the commit that records it. A ticket is spent in the commit that creates
//! the device. Whatever a stranger did is reported once by [`Output::Misuse`], and the connection ends.
//!
//! Source: `docs/spec/enrolment.md` ENR-4, ENR-10 to ENR-12, ENR-25, ENR-31, PRF-7; `docs/spec/quarantine.md` QRN-8, QRN-16.

mod admit;
mod attested;
mod confirm;
mod draw;
mod entry;
mod issue;
mod query;
mod rule;
mod second;

use std::{collections::VecDeque, sync::Arc};

use kos_attest::Challenge;
use kos_base::{
    AuthorityName, Code, DeviceId, DeviceState, EntryId, PublicKey, Secret, Timestamp, code,
    key::SignatureForm,
};
use minicbor::bytes::ByteArray;
use subtle::ConstantTimeEq as _;

use super::{
    message::{
        AuthorityKeys, FromAuthority, FromDevice, Hello, Pending, Prove, Refused, SignedOrder, Welcome,
    },
    proof::{Exporter, commitment},
};
use crate::{
    certificate::{Certificate, IssuerClass, Publication},
    csr::{self, VerifiedRequest},
    registry::{Commit, Device},
    second::Testimony,
};
pub use attested::AttestationTerms;
pub use draw::RANDOM_BYTES;
use draw::Random;
use issue::Issuing;
pub use issue::{kid_grant, role_profile};
pub use query::{Found, Lookalike, Query};
pub use rule::{ApprovalRule, Asks, RuleError, RuleName};
pub use second::Question;

/// How often a commit that met a conflict is decided again.
pub const CONFLICTS_MAX: u32 = 4;
/// Seconds after which a device that has just come asks again. Who has waited for long is asked to come less often, up to
/// [`RETRY_AFTER_MAX_S`], so that a full lobby does not keep the authority busy.
pub const RETRY_AFTER_S: u32 = 5;
/// Longest time between two questions of a device that waits, in seconds.
pub const RETRY_AFTER_MAX_S: u32 = 300;

/// What stays the same for all sessions of an authority.
#[derive(Debug)]
pub struct Context {
    /// The authority's name.
    pub name: AuthorityName,
    /// Root certificate.
    pub root: Certificate,
    /// Certificates of issuing CA 1 (up to SEC-2) and 2 (SEC-3 and 4).
    pub issuers: [Certificate; 2],
    /// The authority's other signing keys.
    pub keys: AuthorityKeys,
    /// Where certificates and revocation lists are published, once a public name is configured.
    pub publication: Option<Publication>,
    /// Time between heartbeats in seconds.
    pub heartbeat_s: u32,
    /// Whom the operator lets in without a person; the first rule that fits decides.
    pub rules: Vec<ApprovalRule>,
    /// What is asked of TPMs.
    pub attestation: AttestationTerms,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The handshake is done.
    Opened {
        /// The key that the client proved, if it showed one.
        peer: Option<PublicKey>,
        /// Exported under the label of enrolment.
        enrolment: Exporter,
        /// Exported under the label of renewal.
        renewal: Exporter,
        /// Address of the peer, without port.
        source: String,
    },
    /// A frame came.
    Frame(Vec<u8>),
    /// Answers [`Output::Draw`].
    Drawn(Secret<RANDOM_BYTES>),
    /// Answers [`Output::Lookup`].
    Found(Box<Found>),
    /// Answers [`Output::Second`]: what a second verifier said, if one did in time.
    Seconded(Option<Box<Testimony>>),
    /// Answers [`Output::Sign`].
    Signed(Vec<u8>),
    /// Answers [`Output::Commit`].
    Committed(Result<(), CommitFailed>),
}

/// Why nothing was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFailed {
    /// A record changed since the look-up.
    Conflict,
    /// The store refused; the code says why.
    Store(Code),
}

/// What the shell is to do, in order.
#[derive(Debug)]
pub enum Output {
    /// Draw random bytes.
    Draw,
    /// Look these up, in one consistent read.
    Lookup(Query),
    /// Ask a second verifier.
    Second(Question),
    /// Sign with one of the authority's keys.
    Sign {
        /// Which.
        key: AuthorityKey,
        /// How ECDSA writes its numbers.
        form: SignatureForm,
        /// What.
        message: Vec<u8>,
    },
    /// Keep this sealed bundle, durably, before the next output; if that fails, end the connection.
    Keep(Sealed),
    /// Make this durable, all or nothing.
    Commit(Commit),
    /// Send a frame.
    Send(Vec<u8>),
    /// A peer did what it may not: count it against its address and record it.
    Misuse(Code),
    /// Close the connection.
    Close,
}

/// A forensic bundle, sealed by the device: nobody here can open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Whose.
    pub device: DeviceId,
    /// Of which order.
    pub order: EntryId,
    /// The sealed bytes, at most [`crate::quarantine::BUNDLE_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// The authority's signing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityKey {
    /// An issuing CA.
    Issuing(IssuerClass),
    /// Signs kIDs.
    Kid,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    context: Arc<Context>,
    phase: Phase,
    peer: Option<PublicKey>,
    exporters: [Exporter; 2],
    source: String,
    random: Random,
    /// Number of the certificate that was in service when this conversation began.
    served: Option<u32>,
    /// Whether the nonce is that of an earlier conversation, which put the device into the lobby.
    nonce: Nonce,
    /// What the TPM of the device is to answer, if it offered that.
    challenge: Option<Challenge>,
    conflicts: u32,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nonce {
    Fresh,
    Repeated,
}

#[derive(Debug)]
enum Phase {
    Opening,
    Drawing,
    /// Waits for the first message.
    Idle,
    Greeting(Hello),
    /// Waits for `Prove`.
    Greeted(Hello, EntryId),
    Proving(Box<Request>),
    Seconding(Box<second::Seconding>),
    Issuing(Box<Issuing>),
    /// Waits for the store, then sends.
    Committing(Box<Request>, Vec<u8>),
    Confirming(FromDevice),
    Recording(FromDevice),
    Closed,
}

/// Everything that a request for a certificate consists of; nothing in it depends on the store.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) hello: Hello,
    pub(crate) uuid: EntryId,
    pub(crate) prove: Prove,
    pub(crate) csr: VerifiedRequest,
    pub(crate) peer: PublicKey,
}

/// What a decision leads to.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Issue, then commit, then send.
    Issue(Box<issue::Plan>),
    /// Send what was issued before.
    Again(Box<Device>),
    /// Tell the device to wait.
    Wait(Waiting),
    /// Commit, then refuse.
    RefuseAfter(Commit, Code),
    /// Refuse.
    Refuse(Code),
}

/// Who is told to wait.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// Somebody who is in the lobby since then, and what it hears of why.
    Known(Timestamp, Option<u16>),
    /// Somebody who is put there, or of whom something is news: commit first.
    New(Commit, Option<u16>),
}

impl Session {
    /// A session that waits for [`Input::Opened`].
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            phase: Phase::Opening,
            peer: None,
            exporters: [[0; 32]; 2],
            source: String::new(),
            random: Random::default(),
            served: None,
            nonce: Nonce::Fresh,
            challenge: None,
            conflicts: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do. Drain it after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes in what happened. An input that does not fit the phase ends the session.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        match (core::mem::replace(&mut self.phase, Phase::Closed), input) {
            (Phase::Opening, Input::Opened { peer, enrolment, renewal, source }) => {
                self.peer = peer;
                self.exporters = [enrolment, renewal];
                self.source = source;
                self.ask(Phase::Drawing, Output::Draw);
            }
            (Phase::Drawing, Input::Drawn(bytes)) => {
                self.random.take(&bytes);
                self.phase = Phase::Idle;
            }
            (Phase::Idle, Input::Frame(bytes)) => self.first_message(&bytes),
            (Phase::Greeting(hello), Input::Found(found)) => self.greet(now, hello, *found),
            (Phase::Greeted(hello, uuid), Input::Frame(bytes)) => self.prove(hello, uuid, &bytes),
            (Phase::Proving(request), Input::Found(found)) => self.decide(now, request, &found),
            (Phase::Seconding(waiting), Input::Seconded(said)) => {
                self.seconded(now, *waiting, said.as_deref());
            }
            (Phase::Issuing(issuing), Input::Signed(signature)) => self.signed(now, *issuing, signature),
            (Phase::Committing(request, answer), Input::Committed(result)) => {
                self.committed(request, answer, result);
            }
            (Phase::Confirming(message), Input::Found(found)) => self.confirm(now, message, *found),
            (Phase::Recording(message), Input::Committed(result)) => self.recorded(message, result),
            // What was under way when the session ended does not matter any more.
            (Phase::Closed, _) => {}
            _ => self.refuse_misuse(code::enrolment::PROTOCOL),
        }
    }

    fn ask(&mut self, phase: Phase, output: Output) {
        self.phase = phase;
        self.outputs.push_back(output);
    }

    fn send(&mut self, message: &FromAuthority) {
        self.outputs.push_back(Output::Send(message.to_bytes()));
    }

    fn finish(&mut self, message: &FromAuthority) {
        self.send(message);
        self.outputs.push_back(Output::Close);
        self.phase = Phase::Closed;
    }

    fn refuse(&mut self, code: Code) {
        let retry_after_s = second::retry(code);
        self.finish(&FromAuthority::Refused(Refused { code: code.number(), retry_after_s }));
    }

    fn refuse_misuse(&mut self, code: Code) {
        self.outputs.push_back(Output::Misuse(code));
        self.refuse(code);
    }

    fn first_message(&mut self, bytes: &[u8]) {
        let key = self.peer.as_ref().map(PublicKey::id);
        let source = self.source.clone();
        match FromDevice::from_bytes(bytes) {
            Ok(FromDevice::Hello(hello)) if key.is_some() => {
                let mut query = Query { key, source, ..Query::default() };
                entry::greeting(&hello, key, &mut query);
                self.ask(Phase::Greeting(hello), Output::Lookup(query));
            }
            Ok(message @ (FromDevice::Stored(_) | FromDevice::Isolated(_))) if key.is_some() => {
                let query = Query { key, source, ..Query::default() };
                self.ask(Phase::Confirming(message), Output::Lookup(query));
            }
            Ok(message @ (FromDevice::Notice(_) | FromDevice::Receipt(_))) => {
                match confirm::subject(&message) {
                    Some(device) => {
                        let query = Query { device: Some(device), source, ..Query::default() };
                        self.ask(Phase::Confirming(message), Output::Lookup(query));
                    }
                    None => self.refuse_misuse(code::enrolment::PROTOCOL),
                }
            }
            _ => self.refuse_misuse(code::enrolment::PROTOCOL),
        }
    }

    fn greet(&mut self, now: Timestamp, hello: Hello, found: Found) {
        let peer = self.peer.as_ref().map(PublicKey::id);
        let mut uuid = EntryId::from_parts(now, self.random.uuid);
        let mut issues = 0;
        let voucher = entry::voucher_for(&hello, &found);
        if let Some(device) = found.device {
            let by_identity = peer == Some(device.identity_key.id());
            let case = device.case.as_ref().filter(|case| !case.signed.is_empty());
            if let (Some(case), DeviceState::Quarantined, true) = (case, device.state(), by_identity) {
                let order = case.signed.clone().into();
                return self.finish(&FromAuthority::Quarantine(SignedOrder { order }));
            }
            // A device that ended itself left an order without words.
            match (device.order.as_ref().filter(|order| !order.signed.is_empty()), device.state()) {
                (Some(order), DeviceState::Decommissioning | DeviceState::Quarantined) if by_identity => {
                    let order = order.signed.clone().into();
                    return self.finish(&FromAuthority::Order(SignedOrder { order }));
                }
                _ if device.banned => return self.refuse(code::enrolment::BANNED),
                (_, DeviceState::Pending | DeviceState::Active) => {}
                _ => return self.refuse(code::enrolment::STATE_FORBIDS),
            }
            uuid = device.uuid;
            issues = device.issues;
            self.served = device.credential.map(|credential| credential.issue);
            if let Some(lobby) = device.lobby {
                self.random.nonce = *lobby.nonce;
                self.nonce = Nonce::Repeated;
            }
        }
        if let (Some(offer), Some(draws)) = (&hello.attestation, self.random.challenge.take()) {
            match attested::challenge(offer, draws) {
                Ok(challenge) => self.challenge = Some(challenge),
                // With the FIPS module there is no challenge: what is offered is not asked for, and proves nothing.
                Err(kos_attest::AttestError::NotApproved(_)) => {}
                Err(error) => return self.refuse_misuse(error.code()),
            }
        }
        let challenge = self.challenge.as_ref().map(|made| attested::sent(made, &self.context));
        self.send(&FromAuthority::Welcome(Welcome {
            token: ByteArray::from(self.random.token),
            nonce: ByteArray::from(self.random.nonce),
            uuid,
            time: now,
            authority: self.context.name.clone(),
            issues,
            in_service: self.served,
            challenge,
            voucher,
        }));
        self.phase = Phase::Greeted(hello, uuid);
    }

    fn prove(&mut self, hello: Hello, uuid: EntryId, bytes: &[u8]) {
        let (Ok(FromDevice::Prove(prove)), Some(peer)) = (FromDevice::from_bytes(bytes), self.peer.clone())
        else {
            return self.refuse_misuse(code::enrolment::PROTOCOL);
        };
        let token: bool = prove.token.as_slice().ct_eq(&self.random.token).into();
        let is_answered = prove.attestation.is_some() == self.challenge.is_some();
        if !token || !is_answered || commitment(&prove.nonce) != *hello.commitment {
            return self.refuse_misuse(code::enrolment::PROTOCOL);
        }
        let Ok(csr) = csr::Request::parse(&prove.csr, csr::Request::BYTES_MAX) else {
            return self.refuse_misuse(code::enrolment::CSR_INVALID);
        };
        if csr.public_key() == &peer {
            return self.refuse(code::enrolment::CSR_INVALID);
        }
        self.look_up(Box::new(Request { hello, uuid, prove, csr, peer }));
    }

    fn look_up(&mut self, request: Box<Request>) {
        let ticket = match &request.prove.means {
            super::message::Means::Ticket { ticket, .. } => Some(*ticket),
            _ => None,
        };
        let ek = self.challenge.as_ref().map(|made| made.ek().id());
        let mut query = Query {
            key: Some(request.peer.id()),
            ticket,
            macs: request.hello.facts.macs.clone(),
            serials: request.hello.facts.serials.clone(),
            ek,
            source: self.source.clone(),
            ..Query::default()
        };
        entry::question(&request, ek, &mut query);
        self.ask(Phase::Proving(request), Output::Lookup(query));
    }

    fn decide(&mut self, now: Timestamp, request: Box<Request>, found: &Found) {
        let lobby = found.device.as_ref().and_then(|device| device.lobby.as_ref());
        if self.nonce == Nonce::Repeated && lobby.is_none_or(|lobby| *lobby.nonce != self.random.nonce) {
            // The entry is gone since `Hello`. A new one would belong to a nonce that the device has seen before.
            return self.refuse(code::store::STORE_CONFLICT);
        }
        let crls = found.crls.clone();
        let [exporter, _] = &self.exporters;
        let bound = (exporter, &self.random.nonce);
        let held = attested::judge(&self.context, now, self.challenge.as_ref(), &request, found, bound);
        let decision = match (held, &found.device) {
            (Ok(attested), _) => {
                let with = admit::Circumstances {
                    now,
                    context: &self.context,
                    exporters: &self.exporters,
                    nonce: &self.random.nonce,
                    source: &self.source,
                    served: self.served,
                    attested: attested.as_ref(),
                };
                attested::stamp(admit::decide(&with, &request, found), attested.as_ref())
            }
            (Err(error), Some(device)) if device.enrolled_at.is_some() => {
                self.outputs.push_back(Output::Misuse(error.code()));
                Decision::RefuseAfter(attested::failed(device, error.code()), error.code())
            }
            (Err(error), _) => return self.refuse_misuse(error.code()),
        };
        match decision {
            Decision::Issue(plan) => self.issue(now, request, *plan, crls, found.device.is_some()),
            Decision::Again(device) => {
                let step = Issuing::again(&self.context, now, request, *device, crls, &self.random);
                self.issuing(step);
            }
            Decision::Wait(Waiting::Known(since, why)) => self.finish(&pending(now, since, why)),
            Decision::Wait(Waiting::New(commit, why)) => {
                let answer = pending(now, now, why).to_bytes();
                self.ask(Phase::Committing(request, answer), Output::Commit(commit));
            }
            Decision::RefuseAfter(commit, code) => {
                let refused = FromAuthority::Refused(Refused { code: code.number(), retry_after_s: None });
                self.ask(Phase::Committing(request, refused.to_bytes()), Output::Commit(commit));
            }
            Decision::Refuse(code)
                if code.exit() == code::Exit::Refused || code == code::enrolment::ENROLLED_ALREADY =>
            {
                self.refuse_misuse(code);
            }
            Decision::Refuse(code) => self.refuse(code),
        }
    }

    fn signed(&mut self, now: Timestamp, issuing: Issuing, signature: Vec<u8>) {
        let step = issuing.signed(&self.context, now, signature, &self.random);
        self.issuing(step);
    }

    fn issuing(&mut self, step: issue::Step) {
        match step {
            issue::Step::Sign(issuing, output) => self.ask(Phase::Issuing(issuing), output),
            issue::Step::Commit(request, commit, answer) => {
                self.ask(Phase::Committing(request, answer), Output::Commit(commit));
            }
            issue::Step::Send(answer) => {
                self.outputs.extend([Output::Send(answer), Output::Close]);
                self.phase = Phase::Closed;
            }
            // It claims more than it has proven.
            issue::Step::Refuse(code) if code == code::policy::POLICY_EVIDENCE => self.refuse_misuse(code),
            issue::Step::Refuse(code) => self.refuse(code),
        }
    }

    fn committed(&mut self, request: Box<Request>, answer: Vec<u8>, result: Result<(), CommitFailed>) {
        match result {
            Ok(()) => {
                self.outputs.extend([Output::Send(answer), Output::Close]);
                self.phase = Phase::Closed;
            }
            Err(CommitFailed::Conflict) if self.conflicts < CONFLICTS_MAX => {
                self.conflicts += 1;
                self.look_up(request);
            }
            Err(CommitFailed::Conflict) => self.refuse(code::store::STORE_CONFLICT),
            Err(CommitFailed::Store(code)) => self.refuse(code),
        }
    }

    fn confirm(&mut self, now: Timestamp, message: FromDevice, found: Found) {
        match confirm::decide(now, &message, self.peer.as_ref(), found.device) {
            confirm::Confirmation::Commit(commit) => {
                self.ask(Phase::Recording(message), Output::Commit(commit));
            }
            confirm::Confirmation::Keep(sealed, commit) => {
                self.outputs.push_back(Output::Keep(sealed));
                self.ask(Phase::Recording(message), Output::Commit(commit));
            }
            confirm::Confirmation::Already => self.finish(&FromAuthority::Recorded),
            // A device that was stopped is honest, and knocks until it hears more.
            confirm::Confirmation::Refuse(code)
                if [code::enrolment::STATE_FORBIDS, code::enrolment::BANNED].contains(&code) =>
            {
                self.refuse(code);
            }
            confirm::Confirmation::Refuse(code) => self.refuse_misuse(code),
        }
    }

    fn recorded(&mut self, message: FromDevice, result: Result<(), CommitFailed>) {
        match result {
            Ok(()) => self.finish(&FromAuthority::Recorded),
            Err(CommitFailed::Conflict) if self.conflicts < CONFLICTS_MAX => {
                self.conflicts += 1;
                let device = confirm::subject(&message);
                let key = self.peer.as_ref().map(PublicKey::id).filter(|_| device.is_none());
                let query = Query { key, device, source: self.source.clone(), ..Query::default() };
                self.ask(Phase::Confirming(message), Output::Lookup(query));
            }
            Err(CommitFailed::Conflict) => self.refuse(code::store::STORE_CONFLICT),
            Err(CommitFailed::Store(code)) => self.refuse(code),
        }
    }
}

/// An eighth of the time that somebody has waited already.
fn pending(now: Timestamp, since: Timestamp, why: Option<u16>) -> FromAuthority {
    let waited = u32::try_from(now.since(since).as_secs()).unwrap_or(u32::MAX);
    let retry_after_s = (waited / 8).clamp(RETRY_AFTER_S, RETRY_AFTER_MAX_S);
    FromAuthority::Pending(Pending { retry_after_s, why })
}
