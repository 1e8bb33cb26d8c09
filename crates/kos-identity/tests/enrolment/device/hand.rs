//! A shell in the hands of the test: keys and files in memory, a wire that leads to an [`Office`], a clock that is set.

use core::time::Duration;
use std::collections::BTreeMap;

use kos_base::{
    AgreementKey, EntryId, KeyAlgorithm, KeyId, PublicKey, Role, Secret, SecurityProfile, Timestamp,
};
use kos_identity::enrolment::{
    device::{
        Anchor, BootloaderLock, ClockTrust, Command, Event, Input, Journal, KeySlot, Machine, MadeKey,
        Output, Profile, RANDOM_BYTES, SignWith,
    },
    message::{Facts, FromAuthority, Grant, Image},
};

use crate::{
    office::{Line, NOW, Office},
    test_keys::TestKey,
};

/// Changes an answer on its way.
type Bend = Box<dyn Fn(&mut FromAuthority)>;

pub(crate) struct Hand {
    pub(crate) machine: Machine,
    pub(crate) profile: Profile,
    pub(crate) now: Timestamp,
    clock: ClockTrust,
    keys: BTreeMap<KeySlot, u8>,
    pub(crate) journal: Option<Vec<u8>>,
    pub(crate) record: Option<Vec<u8>>,
    pub(crate) installed: Option<Vec<Vec<u8>>>,
    pub(crate) ticket: Option<EntryId>,
    pinned: bool,
    /// Key id of the root that whoever answers shows.
    pub(crate) root: KeyId,
    pub(crate) link: Option<Line>,
    pub(crate) offline: bool,
    pub(crate) bend: Option<Bend>,
    /// Answers that get lost on their way.
    pub(crate) loses: Option<fn(&FromAuthority) -> bool>,
    pub(crate) loses_power_at: Option<fn(&Output) -> bool>,
    pub(crate) told: Vec<Event>,
    pub(crate) codes: Vec<String>,
    pub(crate) grants: Vec<Grant>,
    /// For which orders of quarantine a bundle was asked for.
    pub(crate) gathered: Vec<EntryId>,
    pub(crate) locks: u32,
    made: u8,
}

impl Hand {
    /// A device with a ticket whose key has seed 40.
    pub(crate) fn with_ticket(office: &mut Office) -> Self {
        let ticket = office.ticket(40);
        Self { ticket: Some(ticket), ..Self::new(office, true) }
    }

    /// A device that knows only where somebody listens.
    pub(crate) fn without_pin(office: &Office) -> Self {
        Self::new(office, false)
    }

    fn new(office: &Office, pinned: bool) -> Self {
        let profile = Profile {
            facts: Facts { macs: vec!["00:11:22:33:44:55".parse().unwrap()], serials: vec!["S1".to_owned()] },
            image: Image::Unverified,
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            name: None,
            capabilities: Vec::new(),
            bootloader: BootloaderLock::None,
            keys: kos_identity::enrolment::device::KeyHome::Elsewhere,
            introduction: kos_identity::enrolment::device::Introduction::default(),
        };
        Self {
            machine: Machine::load(profile.clone(), None, None, ClockTrust::Trusted).unwrap(),
            profile,
            now: NOW,
            clock: ClockTrust::Trusted,
            keys: BTreeMap::new(),
            journal: None,
            record: None,
            installed: None,
            ticket: None,
            pinned,
            root: office.context.root.key_id(),
            link: None,
            offline: false,
            bend: None,
            loses: None,
            loses_power_at: None,
            told: Vec::new(),
            codes: Vec::new(),
            grants: Vec::new(),
            gathered: Vec::new(),
            locks: 0,
            made: 100,
        }
    }

    /// Another device with the same disk.
    pub(crate) fn copy(&self) -> Self {
        let mut copy = Self {
            machine: Machine::load(self.profile.clone(), None, None, ClockTrust::Trusted).unwrap(),
            profile: self.profile.clone(),
            keys: self.keys.clone(),
            journal: self.journal.clone(),
            record: None,
            installed: None,
            link: None,
            bend: None,
            told: Vec::new(),
            codes: Vec::new(),
            grants: Vec::new(),
            gathered: Vec::new(),
            made: self.made + 50,
            ..*self
        };
        copy.load();
        copy
    }

    /// It believes the vouchers of the maker with this key.
    pub(crate) fn believes(&mut self, maker: PublicKey) {
        self.profile.introduction.maker = Some(maker);
        self.load();
    }

    /// The identity key that a new device will make.
    pub(crate) fn first_key(&self) -> TestKey {
        key(self.made + 1)
    }

    pub(crate) fn enrolment(&self) -> Command {
        let pins = if self.pinned { vec![self.root] } else { Vec::new() };
        let name = self.pinned.then(|| "attic".parse().unwrap());
        let anchor = Anchor { name, pins, addresses: vec!["192.0.2.250:8641".to_owned()] };
        Command::Enrol { anchor, ticket: self.ticket }
    }

    /// Begins the enrolment.
    pub(crate) fn start(&mut self, office: &mut Office) {
        let enrolment = self.enrolment();
        self.command(office, enrolment);
    }

    pub(crate) fn command(&mut self, office: &mut Office, command: Command) {
        self.machine.handle_command(self.now, command);
        self.drive(office);
    }

    /// Lets time pass, here and there.
    pub(crate) fn pass(&mut self, office: &mut Office, time: Duration) {
        self.now = self.now.plus(time);
        office.pass(time);
        self.machine.handle_timeout(self.now);
        self.drive(office);
    }

    /// Number of the certificate in service.
    pub(crate) fn active(&self) -> Option<u32> {
        self.machine.journal().active.as_ref().map(|held| held.issue)
    }

    pub(crate) fn keys(&self) -> Vec<KeySlot> {
        self.keys.keys().copied().collect()
    }

    pub(crate) fn load(&mut self) {
        let (journal, record) = (self.journal.as_deref(), self.record.clone());
        self.machine = Machine::load(self.profile.clone(), journal, record, self.clock).unwrap();
    }

    pub(crate) fn cut_power(&mut self) {
        self.link = None;
        self.load();
    }

    /// Power fails, and with it the clock: what is left is the latest time that the journal knows.
    pub(crate) fn cut_power_and_clock(&mut self) {
        self.clock = ClockTrust::Untrusted;
        self.now = self.machine.journal().time_floor.unwrap();
        self.cut_power();
    }

    pub(crate) fn make(&mut self, slot: KeySlot) -> MadeKey {
        self.made += 1;
        self.keys.insert(slot, self.made);
        match slot {
            KeySlot::Agreement(_) => MadeKey::Agreement(AgreementKey([self.made; 32])),
            _ => MadeKey::Signing(key(self.made).public().clone()),
        }
    }

    /// Does what the machine asks for, until it asks for nothing more.
    pub(crate) fn drive(&mut self, office: &mut Office) {
        while let Some(output) = self.machine.poll_output() {
            if self.loses_power_at.is_some_and(|at| at(&output)) {
                return self.cut_power();
            }
            if let Some(input) = self.act(office, output) {
                self.machine.handle_input(self.now, input);
            }
        }
    }

    fn act(&mut self, office: &mut Office, output: Output) -> Option<Input> {
        match output {
            Output::MakeKey(slot) => Some(Input::KeyMade(self.make(slot))),
            Output::Draw => {
                self.made += 1;
                Some(Input::Drawn(Secret::new([self.made; RANDOM_BYTES])))
            }
            Output::Persist(journal) => {
                assert!(Journal::from_bytes(&journal).is_ok());
                self.journal = Some(journal);
                None
            }
            Output::Connect { key: slot, anchor, .. } => {
                let trusted = anchor.pins.is_empty() || anchor.pins.contains(&self.root);
                if self.offline || !trusted {
                    return Some(Input::Disconnected(None));
                }
                let peer = slot.map(|slot| key(self.keys[&slot]).public().clone());
                let line = office.call(peer.as_ref());
                let [enrolment, renewal] = line.exporters;
                self.link = Some(line);
                Some(Input::Connected { root: self.root, enrolment, renewal })
            }
            Output::Send(frame) => self.send(office, &frame),
            Output::Close => {
                self.link = None;
                None
            }
            Output::Sign { key: with, message, .. } => {
                let seed = match with {
                    SignWith::Slot(slot) => self.keys[&slot],
                    SignWith::Ticket => 40,
                };
                Some(Input::Signed(key(seed).sign(&message)))
            }
            Output::ShowCode(code) => {
                self.codes.push(code);
                None
            }
            Output::Install(installation) => {
                self.installed = Some(installation.chain);
                None
            }
            Output::Offer => Some(Input::Offered(None)),
            Output::Attest { .. } => panic!("nothing was offered"),
            Output::LockBootloader => {
                self.locks += 1;
                Some(Input::BootloaderLocked(Ok(())))
            }
            Output::Erase(slots) => {
                self.keys.retain(|slot, _| !slots.contains(slot));
                None
            }
            Output::Forget => {
                self.installed = None;
                None
            }
            Output::Gather { order, recipients } => {
                self.gathered.push(order);
                Some(Input::Gathered((!recipients.is_empty()).then(|| b"sealed".to_vec())))
            }
            Output::WriteRecord(record) => {
                self.record = Some(record);
                None
            }
            Output::Wipe => {
                self.keys.clear();
                self.journal = None;
                self.installed = None;
                Some(Input::Wiped)
            }
            Output::Event(event) => {
                if let Event::Time(time) = event {
                    self.now = time;
                    self.clock = ClockTrust::Trusted;
                }
                self.told.push(event);
                None
            }
        }
    }

    fn send(&mut self, office: &mut Office, frame: &[u8]) -> Option<Input> {
        let line = self.link.as_mut().expect("a frame without a connection");
        let [mut answer] = <[FromAuthority; 1]>::try_from(office.tell(line, frame)).expect("one answer");
        if let Some(bend) = &self.bend {
            bend(&mut answer);
        }
        if self.loses.is_some_and(|loses| loses(&answer)) {
            return Some(Input::Disconnected(None));
        }
        if let FromAuthority::Issued(grant) = &answer {
            self.grants.push((**grant).clone());
        }
        Some(Input::Received(answer.to_bytes()))
    }
}

fn key(seed: u8) -> TestKey {
    TestKey::new(KeyAlgorithm::Ed25519, seed)
}
