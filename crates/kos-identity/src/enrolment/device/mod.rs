//! The device's side: from the first key to the certificate in service, its renewals, and the end.
//!
//! One machine for the whole life of a device. It works on one conversation at a time; which one follows from the
//! [`Journal`] and the time. A conversation that fails is forgotten and begun anew from the journal after a pause, so
//! there is one way through, and a power cut is just another failure.
//!
//! Shape: at most one question to the shell is open at any time; outputs are ordered, and [`Output::Persist`] is durable
//! before the shell looks at the next. Keys are made by the shell and are durable before it answers. Every question is
//! answered, also when the conversation that asked was given up; after [`Output::Close`] nothing comes from that
//! connection any more. `now` is the shell's best guess: it follows [`Event::Time`], which may lead it back.
//!
//! Invariants: a request leaves only after its key and the journal that names it are durable. A certificate is used only
//! after it was checked against the pins, the identity and the key, and is durable. The old keys are erased only after
//! the authority has recorded the new ones. Nothing is wiped before the signed record is durable.
//!
//! Source: `docs/spec/enrolment.md` DEV-1 to DEV-16; `docs/spec/quarantine.md` QRN-7 to QRN-18.

mod confirmation;
mod conversation;
mod ending;
mod introduction;
mod isolation;
mod journal;
mod verify;

use std::collections::VecDeque;

use core::time::Duration;

pub use kos_attest::Binding;
use kos_base::{
    AgreementKey, Capability, Code, DeviceId, EntryId, KeyId, Name, PublicKey, Role, Secret, SecurityProfile,
    Timestamp, cbor::CborError, key::SignatureForm,
};
use kos_voucher::Withheld;

use super::{
    message::{Facts, Image, Offer, Statement, TpmChallenge},
    proof::Exporter,
};
use conversation::{Conversation, Purpose};
use ending::Ending;
pub use introduction::Introduction;
pub use isolation::{Isolation, Stage};
pub use journal::{
    Anchor, CODES_MAX, COMPARISONS_MAX, Candidate, Comparison, Goal, Held, JOURNAL_BYTES_MAX, Journal,
    Membership, Slot,
};
pub use verify::GrantError;

/// First pause after a failure.
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause, after failures in a row or because the authority says so.
pub const RETRY_MAX: Duration = Duration::from_secs(300);

/// What a device says about itself.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its hardware.
    pub facts: Facts,
    /// What its boot found out about the image.
    pub image: Image,
    /// The role it asks for.
    pub role: Role,
    /// The profile it asks for; with a ticket that allows less it is refused.
    pub profile: SecurityProfile,
    /// What it would like to be called.
    pub name: Option<Name>,
    /// What it offers.
    pub capabilities: Vec<Capability>,
    /// Whether a bootloader lock command is configured.
    pub bootloader: BootloaderLock,
    /// Whether its keys are made in a TPM, which then proves itself.
    pub keys: KeyHome,
    /// What its maker or a node gave it.
    pub introduction: Introduction,
}

/// Where a device makes its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHome {
    /// In a TPM, by the word of whoever set the device up.
    Tpm,
    /// Anywhere else.
    Elsewhere,
}

/// Whether a bootloader lock command is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootloaderLock {
    /// No.
    None,
    /// Yes: it runs after the first certificate, until its outcome is durable.
    Command,
}

/// What the shell asks for.
#[derive(Debug)]
pub enum Command {
    /// Enrol with the authority that a ticket, a configuration or a discovery named.
    Enrol {
        /// Whom.
        anchor: Anchor,
        /// With which ticket; the shell holds its key.
        ticket: Option<EntryId>,
    },
    /// A person has compared this code and it is the same.
    CodeConfirmed(String),
    /// Get new keys now.
    Regenerate,
    /// The authority refuses our certificate: ask it by the identity key why.
    CheckIn,
    /// End this device.
    Decommission,
    /// The shell is ready; go on with whatever is due.
    Resume,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Answers [`Output::MakeKey`]: the key is durable.
    KeyMade(MadeKey),
    /// Answers [`Output::Draw`].
    Drawn(Secret<RANDOM_BYTES>),
    /// Answers [`Output::Connect`].
    Connected {
        /// Key id of the root that the server's chain leads to; it is among the pins if there are pins.
        root: KeyId,
        /// Exported under the label of enrolment.
        enrolment: Exporter,
        /// Exported under the label of renewal.
        renewal: Exporter,
    },
    /// A frame came.
    Received(Vec<u8>),
    /// No connection could be made, or it ended. The code says why when the cause is more than the network.
    Disconnected(Option<Code>),
    /// Answers [`Output::Sign`].
    Signed(Vec<u8>),
    /// Answers [`Output::Offer`]; nothing when a key of the device is not in the TPM.
    Offered(Option<Offer>),
    /// Answers [`Output::Attest`].
    Attested(Box<Statement>),
    /// Answers [`Output::LockBootloader`].
    BootloaderLocked(Result<(), ()>),
    /// Answers [`Output::Wipe`].
    Wiped,
    /// Answers [`Output::Gather`]: the sealed bundle, if there is anybody to seal it to and it could be made.
    Gathered(Option<Vec<u8>>),
}

/// A key that the shell made.
#[derive(Clone, Debug)]
pub enum MadeKey {
    /// A signature key.
    Signing(PublicKey),
    /// An agreement key.
    Agreement(AgreementKey),
}

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySlot {
    /// The identity key.
    Identity,
    /// An operational key.
    Operational(Slot),
    /// An agreement key.
    Agreement(Slot),
}

/// Which key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignWith {
    /// A key of this device.
    Slot(KeySlot),
    /// The key that the ticket's secret yields.
    Ticket,
}

/// What the shell is to do, in order.
#[derive(Debug)]
pub enum Output {
    /// Make a key, durably; a key that is there already is replaced.
    MakeKey(KeySlot),
    /// Draw random bytes.
    Draw,
    /// Replace the journal, durably.
    Persist(Vec<u8>),
    /// Connect to the authority on the enrolment protocol.
    Connect {
        /// The key that the client certificate shows; none after a wipe.
        key: Option<KeySlot>,
        /// The chain to show instead of a self-signed certificate.
        chain: Vec<Vec<u8>>,
        /// Whom.
        anchor: Anchor,
    },
    /// Send a frame.
    Send(Vec<u8>),
    /// Close the connection, if there is one.
    Close,
    /// Sign.
    Sign {
        /// With which key.
        key: SignWith,
        /// How ECDSA writes its numbers.
        form: SignatureForm,
        /// What.
        message: Vec<u8>,
    },
    /// Tell the keys by which the TPM proves itself.
    Offer,
    /// Let the TPM open a challenge, certify the identity key and the operational key in this slot, and quote.
    Attest {
        /// What the authority sent.
        challenge: TpmChallenge,
        /// What everything is signed for.
        binding: Binding,
        /// Where the operational key is.
        slot: Slot,
    },
    /// Show six digits to a person; go on after [`Command::CodeConfirmed`]. They replace what was shown before.
    ShowCode(String),
    /// Bring files that follow from the journal (certificate, revocation lists) up to date.
    Install(Installation),
    /// Run the configured command that locks the bootloader.
    LockBootloader,
    /// Destroy these keys, those that are there.
    Erase(Vec<KeySlot>),
    /// Destroy every credential besides keys, and whatever else came from the authority; the log and what it was told of
    /// who it belongs to stay.
    Forget,
    /// Gather what a guardian wants to know of a compromised device, and seal it to these recipients. What was gathered
    /// for this order before is taken again.
    Gather {
        /// Which order.
        order: EntryId,
        /// Recipients of age; with none, nothing is gathered.
        recipients: Vec<String>,
    },
    /// Make the record of the end durable, before anything is wiped.
    WriteRecord(Vec<u8>),
    /// Destroy every key, credential and the journal; only the record stays.
    Wipe,
    /// Tell whoever waits.
    Event(Event),
}

/// Files that follow from a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// DER, device first, root last.
    pub chain: Vec<Vec<u8>>,
    /// Newest revocation lists, DER; may be empty.
    pub crls: Vec<Vec<u8>>,
}

/// What a person or the daemon wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first certificate is in service.
    Enrolled(DeviceId),
    /// A newer certificate is in service.
    Renewed(u32),
    /// Nobody has let the device in yet.
    Waiting,
    /// What it has from its maker or a node does not let it in, or does not show whose it is.
    Withheld(Withheld),
    /// A voucher of its maker says that it belongs to the authority with this root.
    Claimed(KeyId),
    /// The authority said no.
    Refused(Code),
    /// The authority's answer cannot be trusted.
    Untrusted(Code),
    /// The authority cannot be reached; it is tried again.
    Unreachable,
    /// The authority told its time on an authenticated connection. From now on `now` follows it.
    Time(Timestamp),
    /// The authority ordered the device into quarantine. Told before anything is done, perhaps again after a power cut:
    /// record it, and close every link.
    Isolated(EntryId),
    /// It is still in quarantine.
    StillIsolated,
    /// It is in service again, under the certificate with this number.
    Reinstated(u32),
    /// The device is wiped; whether the authority knows already.
    Ended(Delivery),
}

/// Whether the authority has heard of a wipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It has recorded it.
    Recorded,
    /// Not yet; it is told when it can be reached.
    Owed,
}

/// Random bytes of a conversation: nonce 32, jitter 8.
pub const RANDOM_BYTES: usize = 40;

/// A device's life.
#[derive(Debug)]
pub struct Machine {
    profile: Profile,
    journal: Journal,
    ticket: Option<EntryId>,
    conversation: Option<Conversation>,
    ending: Option<Ending>,
    /// What was asked for by a person and is not in the journal.
    wish: Option<Wish>,
    /// The shell still owes an answer to a conversation that was given up.
    owed: Owed,
    failures: u32,
    /// How often it was told that nobody has let it back, since the order or the start.
    held_back: u32,
    pause: Option<Pause>,
    outputs: VecDeque<Output>,
}

/// Whether the shell believes its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// It was set by somebody.
    Trusted,
    /// It was never set, or stands before what the device knows: the authority is asked what time it is, since nothing
    /// else tells when a certificate is due.
    Untrusted,
}

/// A time in which nothing is tried.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Timestamp,
    until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Regenerate,
    CheckIn,
    /// Our certificate is not known: show the identity key and the number that we know.
    Recover,
}

impl Machine {
    /// A machine that goes on from `journal`, or from the record of its end. It waits for a command.
    ///
    /// # Errors
    /// When the journal is damaged: stop, and say so.
    pub fn load(
        profile: Profile,
        journal: Option<&[u8]>,
        record: Option<Vec<u8>>,
        clock: ClockTrust,
    ) -> Result<Self, CborError> {
        let journal = journal.map(Journal::from_bytes).transpose()?.unwrap_or_default();
        Ok(Self {
            profile,
            wish: (clock == ClockTrust::Untrusted && journal.active.is_some()).then_some(Wish::CheckIn),
            journal,
            ticket: None,
            conversation: None,
            ending: record.map(Ending::written),
            owed: Owed::Nothing,
            failures: 0,
            held_back: 0,
            pause: None,
            outputs: VecDeque::new(),
        })
    }

    /// What is remembered.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The next thing to do. Drain it after every `handle_`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Machine::handle_timeout`] is due, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.conversation.is_some() || self.owed == Owed::Answer {
            return None;
        }
        match (&self.ending, self.pause, &self.journal.active) {
            (_, Some(pause), _) => Some(pause.until),
            (None, None, Some(held)) => Some(held.renew_at),
            _ => None,
        }
    }

    /// Does what the shell asks for.
    pub fn handle_command(&mut self, now: Timestamp, command: Command) {
        match command {
            Command::Enrol { anchor, ticket } => {
                if !self.journal.is_member() && self.ending.is_none() {
                    self.abandon();
                    self.belong_to(anchor);
                    self.ticket = ticket;
                    self.proceed(now);
                }
            }
            Command::CodeConfirmed(code) => self.code_was_confirmed(now, &code),
            Command::Regenerate => self.wish(now, Wish::Regenerate),
            Command::CheckIn => self.wish(now, Wish::CheckIn),
            Command::Decommission => {
                if self.ending.is_none() {
                    self.abandon();
                    self.ending = Some(Ending::Asked);
                    self.proceed(now);
                }
            }
            Command::Resume => {
                self.tidy();
                self.proceed(now);
            }
        }
    }

    /// Goes on when a pause is over or a certificate is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if !self.is_pausing(now) {
            self.pause = None;
            self.proceed(now);
        }
    }

    /// Takes in what happened. What does not fit the conversation ends it.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        if self.owed == Owed::Answer {
            let answer =
                !matches!(input, Input::Connected { .. } | Input::Received(_) | Input::Disconnected(_));
            if answer {
                self.owed = Owed::Nothing;
                self.proceed(now);
            }
            return;
        }
        match (self.conversation.take(), self.ending.take()) {
            (Some(conversation), None) => self.converse(now, conversation, input),
            (_, Some(ending)) => self.end(now, ending, input),
            (None, None) => {}
        }
    }

    /// Takes an authority over. What another one said does not count under it.
    fn belong_to(&mut self, mut anchor: Anchor) {
        let old = self.journal.authority.take();
        let same = old.as_ref().is_some_and(|old| {
            let unknown = old.pins.is_empty() && anchor.pins.is_empty();
            unknown || old.pins.iter().any(|pin| anchor.pins.contains(pin))
        });
        if same {
            anchor.name = anchor.name.or_else(|| old.and_then(|old| old.name));
        } else {
            let profile_floor = self.journal.profile_floor();
            let Journal { identity, time_floor, bootloader, .. } = core::mem::take(&mut self.journal);
            self.journal = Journal { identity, time_floor, bootloader, profile_floor, ..Journal::default() };
        }
        self.journal.authority = Some(anchor);
        self.journal.codes = 0;
        self.persist();
    }

    /// The authority that the device belongs to has no record of it, as after a restore from an older backup: it asks
    /// to be let in again, by the same identity key.
    fn begin_anew(&mut self) {
        let profile_floor = self.journal.profile_floor();
        let Journal { identity, authority, time_floor, bootloader, .. } = core::mem::take(&mut self.journal);
        self.journal =
            Journal { identity, authority, time_floor, bootloader, profile_floor, ..Journal::default() };
        self.persist();
        self.outputs.push_back(Output::Erase([keys_in(Slot::A), keys_in(Slot::B)].concat()));
    }

    /// Brings files and keys into the state that the journal speaks of.
    fn tidy(&mut self) {
        let (Some(held), None) = (&self.journal.active, &self.ending) else { return };
        let chain = held.chain.iter().map(|c| c.to_vec()).collect();
        self.outputs.push_back(Output::Install(Installation { chain, crls: Vec::new() }));
        let idle = self.conversation.is_none() && self.owed == Owed::Nothing;
        if self.journal.candidate.is_none() && idle {
            let spare = held.slot.other();
            self.outputs.push_back(Output::Erase(keys_in(spare)));
        }
    }

    /// Remembers what is wanted of a device in service. A pause that is on stays on.
    fn wish(&mut self, now: Timestamp, wish: Wish) {
        if self.journal.active.is_some() && self.ending.is_none() {
            self.wish = Some(wish);
            self.proceed(now);
        }
    }

    /// Begins what is due, unless something is under way.
    fn proceed(&mut self, now: Timestamp) {
        if self.conversation.is_some() || self.owed == Owed::Answer || self.is_pausing(now) {
            return;
        }
        if self.ending.is_some() {
            self.resume_ending();
        } else if let Some(purpose) = self.due(now) {
            self.begin(purpose);
        }
    }

    /// What to talk about next. A question why our certificate is not taken goes before everything else, since its
    /// answer may be the order to end.
    fn due(&self, now: Timestamp) -> Option<Purpose> {
        match (self.wish, self.journal.goal(now)) {
            (_, Goal::Enrol) => self.journal.authority.is_some().then_some(Purpose::Enrol),
            (_, Goal::Isolate) => Some(Purpose::Isolate),
            (Some(Wish::Recover), Goal::Wait) => Some(Purpose::Recover),
            (_, Goal::Wait) => Some(Purpose::CheckIn),
            (Some(Wish::CheckIn), _) => Some(Purpose::CheckIn),
            (_, Goal::Confirm) => Some(Purpose::Confirm),
            (Some(Wish::Recover), _) | (_, Goal::Recover) => Some(Purpose::Recover),
            (Some(Wish::Regenerate), _) | (_, Goal::Renew) => Some(Purpose::Renew),
            (None, Goal::Rest(_)) => None,
        }
    }

    /// Whether a pause is still on. It is over when the clock was set back meanwhile.
    fn is_pausing(&self, now: Timestamp) -> bool {
        self.pause.is_some_and(|pause| (pause.since..pause.until).contains(&now))
    }

    /// Does nothing for a while.
    fn rest(&mut self, now: Timestamp, length: Duration) {
        self.pause = Some(Pause { since: now, until: now.plus(length) });
    }

    /// Forgets the conversation under way. What the shell is doing for it is waited for.
    fn abandon(&mut self) {
        if let Some(conversation) = self.conversation.take() {
            self.owed = conversation.owed();
            self.outputs.push_back(Output::Close);
        }
        self.pause = None;
    }

    /// Ends the conversation and tries again after a pause that doubles with every failure in a row.
    fn fail(&mut self, now: Timestamp, event: Event) {
        self.conversation = None;
        let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(9)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.rest(now, pause);
        self.outputs.extend([Output::Close, Output::Event(event)]);
    }

    fn persist(&mut self) {
        self.outputs.push_back(Output::Persist(self.journal.to_bytes()));
    }
}

/// The keys that go with a certificate in this slot.
fn keys_in(slot: Slot) -> Vec<KeySlot> {
    vec![KeySlot::Operational(slot), KeySlot::Agreement(slot)]
}
