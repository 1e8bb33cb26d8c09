//! An authority with a handful of records in memory, which answers whatever its sessions ask.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use kos_attest::GoldenSet;
use kos_base::{
    Code, DeviceId, EntryId, KeyAlgorithm, KeyId, PublicKey, Role, Secret, SecurityProfile, Timestamp, code,
};
use kos_identity::{
    certificate::{self, Certificate, IssuerClass, IssuerContext, Serial},
    enrolment::{
        authority::{
            ApprovalRule, AuthorityKey, CommitFailed, Context, Found, Input, Lookalike, Output, Query,
            Question, RANDOM_BYTES, Session,
        },
        message::{AuthorityKeys, FromAuthority},
    },
    quarantine,
    registry::{Actor, Case, Change, Commit, Device, OperateError, Operation, Revocation, Ticket, Write},
    second::Testimony,
};

use kos_voucher::{Kept, Maker, Sponsor};
use minicbor::bytes::ByteArray;

use crate::test_keys::TestKey;

/// 2026-11-20T10:20:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);
/// Where the callers of these tests come from.
pub(crate) const SOURCE: &str = "192.0.2.7";

/// Who judges for SEC-4.
type Second = Box<dyn Fn(&Question) -> Testimony>;

/// An authority.
pub(crate) struct Office {
    pub(crate) context: Arc<Context>,
    issuing: [TestKey; 2],
    kid: TestKey,
    pub(crate) orders: TestKey,
    pub(crate) now: Timestamp,
    pub(crate) devices: Vec<Device>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) makers: Vec<Maker>,
    pub(crate) vouchers: Vec<Kept>,
    pub(crate) sponsors: Vec<Sponsor>,
    pub(crate) revocations: Vec<Revocation>,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) bundles: Vec<Vec<u8>>,
    pub(crate) log: Vec<Change>,
    /// Who did what the log says.
    pub(crate) actors: Vec<Actor>,
    pub(crate) misuse: Vec<Code>,
    /// What the store answers to the next commits instead of committing.
    pub(crate) failures: VecDeque<CommitFailed>,
    /// Who waits besides, in all and from [`SOURCE`].
    pub(crate) waiting: (u64, u64),
    pub(crate) crls: Vec<Vec<u8>>,
    /// The endorsement key that an operator listed.
    pub(crate) listed: Option<KeyId>,
    pub(crate) golden: Vec<GoldenSet>,
    /// Who judges for SEC-4, and what was asked.
    pub(crate) second: Option<Second>,
    pub(crate) questions: Vec<Question>,
    draws: u8,
    calls: u8,
}

/// A connection to the authority.
pub(crate) struct Line {
    session: Session,
    pub(crate) exporters: [[u8; 32]; 2],
    pub(crate) closed: bool,
}

impl Office {
    pub(crate) fn new() -> Self {
        let root = TestKey::new(KeyAlgorithm::P384, 1);
        let made = NOW.minus(Duration::from_secs(3600));
        let name = "attic".parse().unwrap();
        let unsigned = certificate::root(&name, root.public(), Serial::from_random([1; 16]), made).unwrap();
        let signature = root.sign(unsigned.to_be_signed());
        let root_certificate = unsigned.finish(&signature).unwrap();
        let issuing = [2, 3].map(|seed| TestKey::new(KeyAlgorithm::P256, seed));
        let [one, two] = &issuing;
        let issuers = [(IssuerClass::One, one), (IssuerClass::Two, two)].map(|(class, key)| {
            let issuer = IssuerContext { issuer: &root_certificate, publication: None, now: made };
            let serial = Serial::from_random([class.number(); 16]);
            let unsigned = certificate::issuing_ca(class, key.public(), serial, &issuer).unwrap();
            let signature = root.sign(unsigned.to_be_signed());
            unsigned.finish(&signature).unwrap()
        });
        let [kid, orders, log] = [11, 12, 13].map(|seed| TestKey::new(KeyAlgorithm::Ed25519, seed));
        let keys = AuthorityKeys {
            kid: kid.public().clone(),
            orders: orders.public().clone(),
            log: log.public().clone(),
        };
        let context = Context {
            name,
            root: root_certificate,
            issuers,
            keys,
            publication: None,
            heartbeat_s: 60,
            rules: Vec::new(),
            attestation: kos_identity::enrolment::authority::AttestationTerms::default(),
        };
        Self {
            context: Arc::new(context),
            issuing,
            kid,
            orders,
            now: NOW,
            devices: Vec::new(),
            tickets: Vec::new(),
            makers: Vec::new(),
            vouchers: Vec::new(),
            sponsors: Vec::new(),
            revocations: Vec::new(),
            certificates: Vec::new(),
            bundles: Vec::new(),
            log: Vec::new(),
            actors: Vec::new(),
            misuse: Vec::new(),
            failures: VecDeque::new(),
            waiting: (0, 0),
            crls: Vec::new(),
            listed: None,
            golden: Vec::new(),
            second: None,
            questions: Vec::new(),
            draws: 0,
            calls: 0,
        }
    }

    /// A ticket for one sensor, whose proof key has this seed.
    pub(crate) fn ticket(&mut self, seed: u8) -> EntryId {
        let id = EntryId::from_parts(NOW, [seed; 10]);
        self.tickets.push(Ticket {
            id,
            version: 1,
            proof_key: TestKey::new(KeyAlgorithm::Ed25519, seed).public().clone(),
            role: Role::Sensor,
            profile_cap: SecurityProfile::Sec2,
            group: Some("berlin/line-2".parse().unwrap()),
            device_name: None,
            uses_max: 1,
            uses: 0,
            created_at: NOW,
            expires_at: NOW.plus(Ticket::LIFE_MAX),
            revoked: false,
            serial: None,
            identity_key: None,
            last_device: None,
        });
        id
    }

    /// Lets in by these rules from the next connection on.
    pub(crate) fn rules(&mut self, rules: Vec<ApprovalRule>) {
        let held = &self.context;
        self.context = Arc::new(Context {
            name: held.name.clone(),
            root: held.root.clone(),
            issuers: held.issuers.clone(),
            keys: held.keys.clone(),
            publication: None,
            heartbeat_s: held.heartbeat_s,
            rules,
            attestation: self.context.attestation.clone(),
        });
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// A handshake by the holder of this key.
    pub(crate) fn call(&mut self, peer: Option<&PublicKey>) -> Line {
        self.calls += 1;
        let exporters = [[self.calls; 32], [self.calls | 0x80; 32]];
        let [enrolment, renewal] = exporters;
        let session = Session::new(Arc::clone(&self.context));
        let mut line = Line { session, exporters, closed: false };
        let input = Input::Opened { peer: peer.cloned(), enrolment, renewal, source: SOURCE.to_owned() };
        assert!(self.feed(&mut line, input).is_empty());
        line
    }

    /// Sends a frame and returns what comes back.
    pub(crate) fn tell(&mut self, line: &mut Line, frame: &[u8]) -> Vec<FromAuthority> {
        self.feed(line, Input::Frame(frame.to_vec()))
    }

    fn feed(&mut self, line: &mut Line, input: Input) -> Vec<FromAuthority> {
        let mut answers = Vec::new();
        line.session.handle_input(self.now, input);
        while let Some(output) = line.session.poll_output() {
            let input = match output {
                Output::Draw => {
                    self.draws += 1;
                    Input::Drawn(Secret::new([self.draws; RANDOM_BYTES]))
                }
                Output::Lookup(query) => Input::Found(Box::new(self.find(&query))),
                Output::Sign { key, message, .. } => {
                    let [one, two] = &self.issuing;
                    let signer = match key {
                        AuthorityKey::Issuing(IssuerClass::One) => one,
                        AuthorityKey::Issuing(IssuerClass::Two) => two,
                        AuthorityKey::Kid => &self.kid,
                    };
                    Input::Signed(signer.sign(&message))
                }
                Output::Second(question) => {
                    let said = self.second.as_ref().map(|second| Box::new(second(&question)));
                    self.questions.push(question);
                    Input::Seconded(said)
                }
                Output::Keep(sealed) => {
                    self.bundles.push(sealed.bytes);
                    continue;
                }
                Output::Commit(commit) => {
                    let failure = self.failures.pop_front();
                    Input::Committed(failure.map_or_else(|| self.commit(commit), Err))
                }
                Output::Send(frame) => {
                    assert!(!line.closed, "an answer after the end");
                    answers.push(FromAuthority::from_bytes(&frame).unwrap());
                    continue;
                }
                Output::Misuse(code) => {
                    self.misuse.push(code);
                    continue;
                }
                Output::Close => {
                    line.closed = true;
                    continue;
                }
            };
            line.session.handle_input(self.now, input);
        }
        answers
    }

    fn find(&self, query: &Query) -> Found {
        let shows = |device: &&Device| {
            query.key.is_some_and(|key| {
                device.identity_key.id() == key || device.credentials().any(|c| c.key.id() == key)
            })
        };
        let by_id = |id: &DeviceId| self.devices.iter().find(|device| device.id == *id);
        let device = self.devices.iter().find(shows).or_else(|| by_id(query.device.as_ref()?));
        let own = device.map(|device| &device.id);
        let alike = |other: &&Device| {
            Some(&other.id) != own
                && (other.macs.iter().any(|mac| query.macs.contains(mac))
                    || other.serials.iter().any(|serial| query.serials.contains(serial))
                    || query.ek.is_some_and(|ek| other.attested.as_ref().is_some_and(|held| held.ek == ek)))
        };
        let (waiting, waiting_from_source) = self.waiting;
        Found {
            device: device.cloned(),
            ticket: self.tickets.iter().find(|ticket| Some(ticket.id) == query.ticket).cloned(),
            lookalikes: self.devices.iter().filter(alike).map(|other| lookalike(other, query.ek)).collect(),
            waiting,
            waiting_from_source,
            crls: self.crls.clone(),
            ek_listed: query.ek.is_some() && query.ek == self.listed,
            golden: self.golden.clone(),
            makers: self.makers.clone(),
            vouchers: self
                .vouchers
                .iter()
                .filter(|kept| query.vouchers.contains(&kept.subject.place()))
                .cloned()
                .collect(),
            sponsor: query
                .sponsor
                .as_ref()
                .and_then(|(grant, _)| self.sponsors.iter().find(|held| held.id == *grant))
                .cloned()
                .map(Box::new),
            node: query.sponsor.as_ref().and_then(|(_, node)| by_id(node)).cloned().map(Box::new),
        }
    }

    pub(crate) fn commit(&mut self, commit: Commit) -> Result<(), CommitFailed> {
        assert!(!commit.changes.is_empty());
        let succeeds = |write: &Write| match write {
            Write::Device(new) => {
                let held = self.devices.iter().find(|device| device.id == new.id);
                new.version == held.map_or(0, |device| device.version) + 1
            }
            Write::Voucher(new) => {
                let held = self.vouchers.iter().find(|kept| kept.id == new.id);
                new.version == held.map_or(0, |kept| kept.version) + 1
            }
            Write::Sponsor(new) => {
                let held = self.sponsors.iter().find(|held| held.id == new.id);
                new.version == held.map_or(0, |held| held.version) + 1
            }
            Write::Ticket(new) => {
                let held = self.tickets.iter().find(|ticket| ticket.id == new.id);
                new.version == held.map_or(0, |ticket| ticket.version) + 1
            }
            _ => true,
        };
        if !commit.writes.iter().all(succeeds) {
            return Err(CommitFailed::Conflict);
        }
        for write in commit.writes {
            match write {
                Write::Device(new) => {
                    self.devices.retain(|device| device.id != new.id);
                    self.devices.push(*new);
                }
                Write::Ticket(new) => {
                    self.tickets.retain(|ticket| ticket.id != new.id);
                    self.tickets.push(*new);
                }
                Write::Voucher(new) => {
                    self.vouchers.retain(|kept| kept.id != new.id);
                    self.vouchers.push(*new);
                }
                Write::Sponsor(new) => {
                    self.sponsors.retain(|held| held.id != new.id);
                    self.sponsors.push(*new);
                }
                Write::Certificate { der, .. } => self.certificates.push(der),
                Write::Revoke(revocation) => {
                    self.revocations.retain(|other| other.serial != revocation.serial);
                    self.revocations.push(revocation);
                }
                Write::Release { serial, .. } => self.revocations.retain(|other| other.serial != serial),
                Write::ForgetDevice { id, .. } => self.devices.retain(|device| device.id != id),
            }
        }
        self.actors.extend(commit.changes.iter().map(|_| commit.actor.clone()));
        self.log.extend(commit.changes);
        Ok(())
    }

    /// What an operator does to the only device.
    pub(crate) fn operate(&mut self, operation: Operation) {
        self.operate_as("anna", operation).unwrap();
    }

    /// The same by the operator of this name.
    pub(crate) fn operate_as(&mut self, name: &str, operation: Operation) -> Result<(), OperateError> {
        let actor = Actor::Operator(name.parse().unwrap());
        let commit = operation.apply(self.now, actor, self.only().clone())?;
        self.commit(commit).unwrap();
        Ok(())
    }

    /// An order of quarantine for the only device, as it would be signed now.
    pub(crate) fn isolation(&self) -> quarantine::Order {
        let device = self.only();
        quarantine::Order {
            id: EntryId::from_parts(self.now, [6; 10]),
            device: device.id.clone(),
            authority: self.context.name.clone(),
            at: self.now,
            issue: device.issues,
            receipt: ByteArray::from([7; 32]),
            recipients: vec!["age1x".to_owned()],
        }
    }

    /// The case of this order, which `by` signs.
    pub(crate) fn case(&self, order: &quarantine::Order, by: &TestKey) -> Case {
        let unsigned = order.unsigned(by.public());
        let signature = by.sign(&unsigned.to_be_signed());
        Case {
            signed: unsigned.finish(signature),
            order: order.id,
            receipt_hash: ByteArray::from(quarantine::receipt_hash(&order.receipt)),
            at: order.at,
            confirmed_at: None,
            bundle: None,
            approvals: Vec::new(),
            salt: None,
        }
    }

    /// The operation that takes the only device out.
    pub(crate) fn quarantining(&self) -> Operation {
        let case = Box::new(self.case(&self.isolation(), &self.orders));
        Operation::Quarantine { reason: "because".to_owned(), case }
    }

    /// Takes the only device out.
    pub(crate) fn quarantine(&mut self) {
        let operation = self.quarantining();
        self.operate(operation);
    }

    /// The only device.
    pub(crate) fn only(&self) -> &Device {
        let [device] = self.devices.as_slice() else { panic!("{} devices", self.devices.len()) };
        device
    }

    /// The device with this key, or the only one.
    pub(crate) fn holder(&self, key: &PublicKey) -> &Device {
        let holds = |device: &&Device| {
            device.identity_key == *key || device.credentials().any(|credential| credential.key == *key)
        };
        self.devices.iter().find(holds).unwrap_or_else(|| self.only())
    }

    /// Everything that a refusal must leave as it is.
    pub(crate) fn contents(&self) -> (Vec<Device>, Vec<Ticket>, usize, usize) {
        let (devices, tickets) = (self.devices.clone(), self.tickets.clone());
        (devices, tickets, self.certificates.len(), self.revocations.len())
    }
}

fn lookalike(device: &Device, ek: Option<KeyId>) -> Lookalike {
    let held = device.attested.as_ref().map(|held| held.ek);
    let has_tpm = ek.is_some() && held == ek && device.issues > 0;
    Lookalike { id: device.id.clone(), state: device.state(), banned: device.banned, has_tpm }
}

/// The code of a refusal that was the only answer.
pub(crate) fn refusal(answers: &[FromAuthority]) -> Code {
    match answers {
        [FromAuthority::Refused(refused)] => Code::find(&refused.code.to_string()).unwrap(),
        other => panic!("not a refusal: {other:?}"),
    }
}

/// The certificate in an answer.
pub(crate) fn issued(answers: &[FromAuthority]) -> Certificate {
    match answers {
        [FromAuthority::Issued(grant)] => Certificate::parse(&grant.chain[0]).unwrap(),
        [FromAuthority::Refused(refused)] => panic!("{:?}", Code::find(&refused.code.to_string())),
        other => panic!("not a certificate: {other:?}"),
    }
}

/// The code for a peer that breaks the protocol.
pub(crate) const PROTOCOL: Code = code::enrolment::PROTOCOL;
