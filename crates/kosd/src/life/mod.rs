//! A device's life: the enrolment machine, driven against real keys, files and sockets.
//!
//! Shape: [`Device::boot`] reads what is there and refuses what must not start; [`Device::run`] does what the machine
//! asks for until somebody says stop or the device has ended. One task owns all state; connections, commands and
//! questions reach it as messages.
//!
//! Invariants: outputs are carried out in order and each durable one before the next. When one cannot be (a full disk),
//! nothing after it happens: the machine is loaded again from what is on the disk, after a pause.
//!
//! Source: `docs/spec/enrolment.md` DEV; `docs/spec/quarantine.md`.

mod bonds;
mod connection;
mod deed;
mod delivery;
mod introduction;
mod isolation;
mod kill;
mod memory;
mod news;
mod own_key;
mod policy;
mod report;
mod search;
mod second;
mod service;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use kos_audit::EventType;
use kos_base::{Code, DeviceId, KeyAlgorithm, KeyId, Role, Secret, SecurityProfile, code, digest::Sha256};
use kos_identity::{
    certificate::Certificate,
    enrolment::{
        device::{
            Anchor, BootloaderLock, Command, Delivery, Input, Introduction, Journal, KeyHome, Machine,
            Profile,
        },
        message::Image,
        ticket::TicketText,
    },
};
use kos_keyring::Home;
use kos_net::{
    dialler::Dialler,
    discovery::Candidate,
    endpoints::Endpoint,
    keys::{KeyError, SigningKey},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{
    connection::Connection,
    delivery::Bringing,
    kill::Killing,
    memory::{load, read_journal, read_record},
    news::NewsSender,
    report::Condition,
    search::Search,
    service::Service,
};
pub use self::{
    introduction::{Unvouched, factory},
    kill::Refused,
    memory::{ended, is_enrolled, remembered},
    news::{News, NewsReceiver},
};
use crate::{
    clock::Clock,
    config::{Config, ConfigError, Discovery},
    facts,
    health::{ErrorCounter, Observer},
    image::{self, ImageError},
    keystore::{Keystore, KeystoreError},
    kill::{KillFault, Papers, Switch},
    log::{DeviceLog, about, said},
    root::{Lock, Root, RootError, file},
    socket::{Question, Socket},
    standing::Standing,
};

/// Name of the journal in the folder of secrets: it names the UUIDv7, which nothing outside of that folder does.
const JOURNAL: &str = "journal";
/// Name of the signed record of the end, in the state folder; the one file that survives it.
pub(crate) const RECORD: &str = "decommissioned.cose";
/// Pause after something could not be made durable, so that a full disk does not become a busy loop.
const SETBACK_PAUSE: Duration = Duration::from_secs(30);
/// Longest sleep of the loop. A clock that was set meanwhile is noticed within this time.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Most questions that wait; whoever asks more waits to ask.
const QUESTIONS_MAX: usize = 16;
/// Most happenings that wait; connections that bring more are slowed down.
const HAPPENINGS_MAX: usize = 16;

/// Why a device does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be read or written, is damaged, or another daemon has them.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The image is not the one that was signed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A key cannot be had.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The kill switch was fired, or its journal cannot be read.
    #[error(transparent)]
    Kill(#[from] KillFault),
    /// The ticket's key cannot be derived.
    #[error(transparent)]
    Ticket(KeyError),
    /// Neither a ticket nor the configuration says whom to enrol with.
    #[error("there is neither a ticket nor an authority in the configuration")]
    NotEnrolled,
    /// It belongs to another authority than the one of the ticket.
    #[error("this device belongs to another authority than the one of the ticket")]
    EnrolledAlready,
}

impl LifeError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Root(error) => error.code(),
            Self::Image(error) => error.code(),
            Self::Keystore(error) => error.code(),
            Self::Kill(error) => error.code(),
            Self::Ticket(error) => error.code(),
            Self::NotEnrolled => code::enrolment::NOT_ENROLLED,
            Self::EnrolledAlready => code::enrolment::ENROLLED_ALREADY,
        }
    }
}

/// What a device is started with, besides its ROOT.
#[derive(Debug)]
pub struct Options {
    /// The ticket to enrol with.
    pub ticket: Option<TicketText>,
    /// Where the authority is now, tried before the addresses of configuration and ticket. For a starter that knows.
    pub authority: Vec<SocketAddr>,
    /// Root of the machine whose hardware and health are looked at.
    pub host: PathBuf,
    /// The folder of systemd's credentials for this program, where there are any.
    pub credentials: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { ticket: None, authority: Vec::new(), host: "/".into(), credentials: None }
    }
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody said stop.
    Stopped,
    /// The device is decommissioned, and whether its authority knows.
    Ended(Delivery),
    /// The kill switch was fired, and what was to go is gone.
    Killed,
}

/// A device that has booted.
pub struct Device {
    root: Root,
    config: Config,
    config_digest: Sha256,
    /// Root of the machine whose hardware and health are looked at.
    host: PathBuf,
    _lock: Lock,
    log: DeviceLog,
    bringing: Bringing,
    clock: Clock,
    keys: Arc<Keystore>,
    dialler: Dialler,
    profile: Profile,
    machine: Machine,
    ticket: Option<Admission>,
    socket: Option<Socket>,
    /// When to go on after something could not be made durable.
    resume_at: Option<Instant>,
    questions: (mpsc::Sender<Question>, mpsc::Receiver<Question>),
    happenings: (mpsc::Sender<Happening>, mpsc::Receiver<Happening>),
    connection: Option<Connection>,
    conversations: u64,
    service: Service,
    search: Search,
    decommissioners: Vec<report::Decommissioner>,
    outcome: Option<Outcome>,
    switch: Switch,
    /// The kill switch was fired: from here on nothing else is done.
    killing: Option<Killing>,
    news: NewsSender,
    observer: Observer,
    errors: Arc<ErrorCounter>,
    condition: Condition,
}

/// A ticket, ready to prove.
struct Admission {
    id: kos_base::EntryId,
    key: SigningKey,
    anchor: Anchor,
}

/// Something that happened outside of the loop.
#[derive(Debug)]
enum Happening {
    /// On the connection with this number.
    OnConnection(u64, Input),
    /// A server of the pinned root showed its issuing CA.
    Met(Box<Certificate>),
    /// Authorities answered on the local network, or none did.
    Found(Vec<Candidate>),
    /// The bootloader lock command ended.
    BootloaderLock(Result<(), String>),
    /// What the kill switch leaves as proof is signed.
    Papers(Papers),
}

/// Whether a device with this journal is in the service of the authority that made the ticket.
fn serves(journal: &Journal, ticket: &TicketText) -> bool {
    let pinned = journal.authority.as_ref().map(|anchor| anchor.pins.as_slice()).unwrap_or_default();
    journal.is_member() && ticket.pins.iter().any(|pin| pinned.contains(pin))
}

impl Device {
    /// Reads the configuration, takes ROOT, checks the image and loads what is remembered.
    ///
    /// # Errors
    /// When the device must not start: see the variants.
    pub fn boot(folder: &Path, options: Options) -> Result<(Self, NewsReceiver), LifeError> {
        kill::check(folder, options.credentials.clone())?;
        let loaded = Config::load(&Root::config_file(folder));
        let loaded = loaded.inspect_err(|error| delivery::tell_of_config(folder, error))?;
        let mut config = loaded.config;
        if !options.authority.is_empty() {
            let told = options.authority.iter().map(|address| Endpoint::from(*address));
            config.authority.splice(0..0, told);
            config.discovery.insert(0, Discovery::Fixed);
        }
        let root = Root::new(folder, &config);
        root.prepare()?;
        let lock = root.lock()?;
        for folder in [root.secrets().to_owned(), root.state()] {
            file::sweep(&folder)?;
        }
        let journal = read_journal(&root)?;
        let floor = journal.as_ref().and_then(|(journal, _)| journal.time_floor);
        let standing = Standing::load(&root, Clock::start(floor).now())?;
        let clock = Clock::start(floor.max(standing.told));
        let log = DeviceLog::new(&root.state(), clock.now())?;
        let tell = |event, code: Code, detail: &dyn core::fmt::Display| {
            let details = json!({"code": code.to_string(), "detail": said(&detail.to_string())});
            log.write(clock.now(), event, about(details));
        };
        let image = image::check(&root, &config).inspect_err(|error| {
            if error.code() == code::enrolment::IMAGE_ALTERED {
                tell(EventType::ImageAltered, error.code(), error);
            }
        })?;
        let place = root.keyring(&config, options.credentials);
        let keys = Keystore::open(place, root.signers(&config), clock.now());
        let keys = keys.inspect_err(|error| tell(EventType::VaultRefused, error.code(), error))?;
        let observer = Observer::new(options.host.clone());
        // What a ticket of the authority that the device belongs to asks for has been done.
        let ticket =
            options.ticket.filter(|ticket| !journal.as_ref().is_some_and(|(j, _)| serves(j, ticket)));
        let introduction::Found { introduction, warnings } = introduction::read(&root, &config);
        let profile = profile(&options.host, &config, &observer, image.clone(), ticket.as_ref());
        let profile = Profile { introduction, ..profile };
        let record = read_record(&root)?;
        let machine = load(&root, profile.clone(), journal.as_ref(), record, &clock)?;
        let ticket = ticket.map(|ticket| Admission::new(&ticket, &config)).transpose()?;
        let (news, receiver) = news::channel();
        let allowed = config.allowed_endpoints.clone();
        let dialler = allowed.map_or_else(Dialler::unrestricted, Dialler::restricted_to);
        let mut device = Self {
            socket: Some(Socket::listen(&root.socket())?),
            resume_at: None,
            keys: Arc::new(keys),
            host: options.host,
            condition: Condition::new(&loaded.notices, &image),
            questions: mpsc::channel(QUESTIONS_MAX),
            happenings: mpsc::channel(HAPPENINGS_MAX),
            connection: None,
            conversations: 0,
            search: Search::default(),
            service: Service::new(&root, &dialler, standing),
            dialler,
            decommissioners: Vec::new(),
            outcome: None,
            switch: Switch::load(&root.state())?,
            killing: None,
            errors: Arc::default(),
            config_digest: loaded.digest,
            root,
            config,
            _lock: lock,
            log,
            bringing: Bringing::default(),
            clock,
            profile,
            machine,
            ticket,
            news,
            observer,
        };
        for notice in &loaded.notices {
            tracing::warn!(setting = %notice.place, name = notice.matter.name(), "{}", notice.matter);
        }
        warnings.into_iter().for_each(|warning| device.condition.warn(warning));
        let conflicts = device.service.witness.conflicts();
        if conflicts > 0 {
            device.condition.warn(service::contradiction(conflicts));
        }
        if let Some(warning) = device.verifier_warning() {
            device.condition.warn(warning);
        }
        device.check_purpose()?;
        device.tell_of_boot(&image);
        device.compare_with_config();
        Ok((device, receiver))
    }

    /// Who the device is, if it is enrolled already.
    pub fn enrolled(&self) -> Option<&DeviceId> {
        let journal = self.machine.journal();
        journal.active.as_ref().and(journal.membership.as_ref()).map(|membership| &membership.device)
    }

    /// Asks the running device. Works until [`Device::run`] returns.
    pub fn asker(&self) -> mpsc::Sender<Question> {
        self.questions.0.clone()
    }

    /// Lives until `stop` is ready or the device has ended and its authority knows.
    ///
    /// # Errors
    /// When what is on the disk cannot be read any more.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Outcome, LifeError> {
        let mut serving = JoinSet::new();
        let mut answers = None;
        if let Some(socket) = self.socket.take() {
            answers = Some(socket.answers());
            serving.spawn(socket.serve(self.questions.0.clone()));
        }
        let outcome = self.live(stop).await;
        if matches!(outcome, Ok(Outcome::Killed)) {
            self.destroy_everything();
            if let Some(answers) = answers {
                answers.given().await;
            }
        } else {
            if matches!(outcome, Ok(Outcome::Stopped)) {
                self.note(EventType::DeviceStopped, json!({}));
                self.log.cover(self.clock.now());
            }
            self.service.say_goodbye().await;
        }
        serving.shutdown().await;
        // The lock of ROOT is still ours, so nobody else listens there yet.
        drop(std::fs::remove_file(self.root.socket()));
        outcome
    }

    async fn live(&mut self, stop: impl Future<Output = ()>) -> Result<Outcome, LifeError> {
        let mut stop = pin!(stop);
        self.begin();
        loop {
            if self.killing.is_none() {
                self.carry_out_all()?;
                self.keep_link();
                self.tend_log();
            }
            if let Some(outcome) = self.outcome {
                return Ok(outcome);
            }
            let pause = match (self.resume_at, self.machine.poll_timeout()) {
                _ if self.killing.is_some() => self.left_to_tell(),
                (Some(at), _) => at.saturating_duration_since(Instant::now()),
                (None, Some(at)) => at.since(self.clock.now()).min(SLEEP_MAX),
                (None, None) => SLEEP_MAX,
            };
            let pause = pause.min(self.log_pause());
            let may_stop = !self.is_hurried();
            tokio::select! {
                () = &mut stop, if may_stop => match self.killing {
                    Some(_) => self.hurry_with_kill(),
                    None => return Ok(Outcome::Stopped),
                },
                Some(happening) = self.happenings.1.recv() => self.happened(happening),
                news = self.service.next() => self.on_link(news),
                Some(question) = self.questions.1.recv() => self.answer(question),
                () = sleep(pause) => self.time_passed(),
            }
        }
    }

    fn left_to_tell(&self) -> Duration {
        let deadline = self.killing.as_ref().map(|killing| killing.deadline);
        deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    fn time_passed(&mut self) {
        match self.resume_at {
            _ if self.killing.is_some() => self.stop_telling_of_kill(),
            None => self.machine.handle_timeout(self.clock.now()),
            Some(at) if Instant::now() >= at => {
                self.resume_at = None;
                self.begin();
            }
            Some(_) => {}
        }
    }

    /// Gives the machine its first command.
    fn begin(&mut self) {
        let now = self.clock.now();
        match (&self.ticket, self.anchor_of_config()) {
            _ if self.machine.is_ending() || self.machine.journal().is_member() => {
                self.machine.handle_command(now, Command::Resume);
            }
            (Some(ticket), _) => {
                let (anchor, ticket) = (ticket.anchor.clone(), Some(ticket.id));
                self.machine.handle_command(now, Command::Enrol { anchor, ticket });
            }
            (None, Some(anchor)) if self.machine.journal().authority.is_none() => {
                self.machine.handle_command(now, Command::Enrol { anchor, ticket: None });
            }
            (None, None) if self.machine.journal().authority.is_none() => self.look_around(),
            _ => self.machine.handle_command(now, Command::Resume),
        }
    }

    /// The root keys that the configuration names, or the word of a node.
    fn pins(&self) -> Vec<KeyId> {
        match self.config.pins.as_slice() {
            [] => introduction::pin_of(&self.profile.introduction).into_iter().collect(),
            pins => pins.to_vec(),
        }
    }

    /// The authority that the configuration names.
    fn anchor_of_config(&self) -> Option<Anchor> {
        let named = self.config.discovery.contains(&Discovery::Fixed) && !self.config.authority.is_empty();
        named.then(|| Anchor {
            name: None,
            pins: self.pins(),
            addresses: self.config.authority.iter().map(ToString::to_string).collect(),
        })
    }

    /// Refuses to start without anything to do, and to enrol a device with a second authority.
    fn check_purpose(&self) -> Result<(), LifeError> {
        let journal = self.machine.journal();
        if self.ticket.is_some() && journal.is_member() {
            return Err(LifeError::EnrolledAlready);
        }
        let named = journal.authority.is_some() || self.ticket.is_some() || self.anchor_of_config().is_some();
        let known = named || self.config.discovery.contains(&Discovery::Mdns);
        if known || self.machine.is_ending() { Ok(()) } else { Err(LifeError::NotEnrolled) }
    }

    fn happened(&mut self, happening: Happening) {
        let now = self.clock.now();
        match happening {
            Happening::OnConnection(number, input) => {
                // What an earlier connection still brought is of no interest.
                if self.connection.as_ref().is_some_and(|connection| connection.number == number) {
                    if self.killing.is_some() {
                        return self.heard_of_kill(&input);
                    }
                    if matches!(input, Input::Disconnected(_)) {
                        self.connection = None;
                    }
                    self.machine.handle_input(now, input);
                }
            }
            Happening::Met(ca) => self.service.meet(&ca),
            Happening::Found(candidates) => self.found(candidates),
            Happening::Papers(papers) => self.got_papers(&papers),
            Happening::BootloaderLock(result) => {
                let (event, details) = match &result {
                    Ok(()) => (EventType::BootloaderLocked, json!({})),
                    Err(why) => (EventType::BootloaderLockFailed, json!({"detail": said(why)})),
                };
                self.note(event, details);
                self.machine.handle_input(now, Input::BootloaderLocked(result.map_err(|_| ())));
            }
        }
    }

    /// Writes into the device's own log. That it cannot be written must not stop anything.
    fn note(&self, event: EventType, details: Value) {
        self.log.write(self.clock.now(), event, about(details));
    }

    /// Loads the machine again from what is on the disk; it goes on after a pause.
    fn reload(&mut self) -> Result<(), LifeError> {
        self.connection = None;
        self.service.stop();
        self.resume_at = Some(Instant::now() + SETBACK_PAUSE);
        let journal = read_journal(&self.root)?;
        let record = read_record(&self.root)?;
        self.machine = load(&self.root, self.profile.clone(), journal.as_ref(), record, &self.clock)?;
        Ok(())
    }
}

impl Admission {
    fn new(ticket: &TicketText, config: &Config) -> Result<Self, LifeError> {
        let seed: Secret<32> = ticket.proof_seed();
        let own = ticket.addresses.iter().cloned();
        let fixed = config.authority.iter().map(ToString::to_string);
        let first = config.discovery.first();
        let addresses =
            if first == Some(&Discovery::Fixed) { fixed.chain(own).collect() } else { own.collect() };
        let anchor = Anchor { name: Some(ticket.authority.clone()), pins: ticket.pins.clone(), addresses };
        let key = SigningKey::from_ed25519_seed(&seed).map_err(LifeError::Ticket)?;
        debug_assert_eq!(key.public().algorithm(), KeyAlgorithm::Ed25519);
        Ok(Self { id: ticket.id, key, anchor })
    }
}

fn profile(
    host: &Path,
    config: &Config,
    observer: &Observer,
    image: Image,
    ticket: Option<&TicketText>,
) -> Profile {
    let bootloader = match config.bootloader_lock {
        Some(_) => BootloaderLock::Command,
        None => BootloaderLock::None,
    };
    Profile {
        facts: facts::collect(host, config),
        image,
        role: config.role.or(ticket.map(|t| t.role)).unwrap_or(Role::Compute),
        profile: config.profile.or(ticket.map(|t| t.profile_cap)).unwrap_or(SecurityProfile::Sec2),
        name: config.name.clone().or_else(|| observer.host_name()),
        capabilities: config.capabilities.clone(),
        bootloader,
        introduction: Introduction::default(),
        keys: match config.key_home {
            Home::Tpm => KeyHome::Tpm,
            Home::Vault | Home::Token => KeyHome::Elsewhere,
        },
    }
}
