//! One authority: opened from its folder, then served until told to stop.

mod configured;
mod fault;
mod home;
mod moment;
mod place;
mod ports;
pub(crate) mod sealed;

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use kos_api::authority::Ports;
use kos_audit::{BootId, EventType, LogKey};
use kos_base::{AuthorityName, EntryId, Timestamp};
use kos_identity::certificate::Publication;
use kos_net::entropy;
use tokio::sync::{Semaphore, watch};

pub(crate) use self::moment::check_issuers;
pub use self::{fault::StartError, moment::ClockRule, ports::PortChoice};
pub(crate) use self::{
    home::Home,
    place::Place,
    ports::{Listeners, listen},
};
use crate::{
    alert::Alerts,
    approval,
    attesting::Attesting,
    clock,
    device_log::{self, DeviceLogs},
    fleet::{Links, step},
    keys::{Keep, Kept, Keys, KeysError},
    kill::{self, live::Kill},
    log::{LogFiles, LogSigner},
    mirror::Mirrors,
    modules::Modules,
    policy::{Refused, manifest::applied::Manifests},
    presence::Presence,
    quarantine::Bundles,
    reception::MisuseBook,
    record::{Change, Ending, SystemChange},
    restore::Restoration,
    revocation::{Board, Publisher},
    search::Search,
    server::{self, Doors, Moves, Served, Streams},
    settings::{PORT_BASE, Settings},
    store::{self, Setting, Store, StoreLock},
    vault::Vaults,
    witness::{Cosigner, Witnessing},
    writer::{SystemWrite, Transaction, Writer, Writing},
};

/// How an authority is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// `DATA`.
    pub data: PathBuf,
    /// The first port; the settings' or 8640 when absent; 0 for any that are free.
    pub port_base: Option<u16>,
    /// What to do when a port is in use.
    pub port_choice: PortChoice,
    /// The folder of systemd's credentials for this program, where there are any.
    pub credentials: Option<PathBuf>,
}

/// Whether an authority was made just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Its log began with this start.
    New,
    /// It has run before.
    Existing,
}

/// What every part of a running authority shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: AuthorityName,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Timestamp,
    pub(crate) keys: Keys,
    /// Where the keys are, and how they were found there.
    pub(crate) keep: Keep,
    pub(crate) kept: Kept,
    pub(crate) log: LogSigner,
    pub(crate) log_files: LogFiles,
    pub(crate) store: Store,
    pub(crate) search: Search,
    pub(crate) writer: Writer,
    pub(crate) board: Arc<Board>,
    /// Answers that go on and on.
    pub(crate) streams: Streams,
    /// One backup at a time.
    pub(crate) packing: Arc<Semaphore>,
    pub(crate) presence: Presence,
    /// Who was refused at the API and at handshakes. Apart from enrolment, where refusals keep a source waiting.
    pub(crate) refusals: MisuseBook,
    /// What security profiles refused to devices.
    pub(crate) policy: Refused,
    /// What is in force beyond the security profiles.
    pub(crate) manifests: Manifests,
    /// What is asked of devices beyond their certificates.
    pub(crate) modules: Modules,
    pub(crate) links: Arc<Links>,
    pub(crate) vaults: Vaults,
    /// What devices have delivered of their own logs.
    pub(crate) device_logs: DeviceLogs,
    /// What devices in quarantine sealed for guardians.
    pub(crate) bundles: Bundles,
    pub(crate) alerts: Alerts,
    pub(crate) mirrors: Mirrors,
    pub(crate) kill: Kill,
    /// The witness that this authority is for others.
    pub(crate) cosigner: Cosigner,
    /// What is asked of TPMs.
    pub(crate) attesting: Attesting,
    pub(crate) witnessing: Witnessing,
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    /// Where it listens now.
    pub(crate) place: watch::Sender<Place>,
    /// The way to listen elsewhere.
    pub(crate) doors: Doors,
    pub(crate) home: Home,
}

impl Shared {
    /// Where certificates and lists are published; nowhere until the authority has a public name.
    pub(crate) fn publication(&self) -> Option<Publication> {
        self.place.borrow().publication(self.ports.pki)
    }

    /// `HOST:PORT` by which devices reach the TLS port.
    pub(crate) fn address(&self) -> String {
        self.place.borrow().endpoint(self.ports.tls)
    }
}

/// An authority whose store is open and whose ports are bound. Nothing is answered before [`Authority::serve`].
#[derive(Debug)]
pub struct Authority {
    shared: Arc<Shared>,
    listeners: Listeners,
    moves: Moves,
    writing: Writing,
    age: Age,
    lock: StoreLock,
}

impl Authority {
    /// Makes the keys of a new authority. Its log begins when it is opened first. `credentials` is as in [`Options`].
    ///
    /// # Errors
    /// [`StartError::AlreadyInitialised`] when there is one; it is not touched.
    pub fn init(
        data: &Path,
        name: Option<AuthorityName>,
        credentials: Option<&Path>,
    ) -> Result<AuthorityName, StartError> {
        let home = Home::below(data);
        kill::refuse(&home)?;
        let now = clock::now();
        moment::check_year(now)?;
        make_folders(&home)?;
        let _lock = StoreLock::take(home.folder())?;
        if home.has_keys() {
            return Err(StartError::AlreadyInitialised(home.folder().display().to_string()));
        }
        let settings = Settings::read(&home.settings())?;
        let keep = home.keep(&settings, credentials);
        let name = name.or(settings.name).map_or_else(default_name, Ok)?;
        keep.make(&Keys::make(&name, keep.signers(), now)?, now)?;
        Ok(name)
    }

    /// Goes on with a kill switch that was fired before a power cut. True when it is done now.
    ///
    /// # Errors
    /// When its journal cannot be read, or another process has the folder.
    pub async fn resume_kill(data: &Path, credentials: Option<&Path>) -> Result<bool, StartError> {
        Ok(kill::resume(&Home::below(data), credentials).await?.is_some())
    }

    /// Whether there is an authority in this folder.
    pub fn exists(data: &Path) -> bool {
        Home::below(data).has_keys()
    }

    /// Opens the authority in `options.data`: reads keys and store, checks both, and binds its ports.
    ///
    /// # Errors
    /// Names what is missing, damaged or in use. Nothing was changed.
    pub async fn open(options: Options) -> Result<Self, StartError> {
        Self::open_by(options, ClockRule::Plausible).await
    }

    /// The same, where a person may have said that the clock is right.
    ///
    /// # Errors
    /// As with [`Authority::open`].
    pub async fn open_by(options: Options, rule: ClockRule) -> Result<Self, StartError> {
        let home = Home::below(&options.data);
        kill::check(&home, options.credentials.as_deref()).await?;
        if !home.has_keys() {
            return Err(KeysError::Missing(home.folder().join("keys").display().to_string()).into());
        }
        if let Some(restoration) = Restoration::of(&home)? {
            return Err(StartError::Closed(restoration.backup_at));
        }
        let (settings, named) = Settings::read_named(&home.settings())?;
        make_folders(&home)?;
        let lock = StoreLock::take(home.folder())?;
        for leftover in [home.backup(), home.restore()] {
            // Of a backup or a restore that was cut off; there may be keys in it.
            drop(Keep::in_folder(&leftover).wipe());
            drop(fs::remove_dir_all(leftover));
        }
        let started_at = clock::now();
        let keep = home.keep(&settings, options.credentials.as_deref());
        let (keys, kept) = keep.open(started_at)?;
        if (settings.ca_keys == kos_keyring::Home::Token) != keys.are_cas_in_token() {
            let are = keys.homes();
            tracing::warn!(are, wanted = %settings.ca_keys, "ca_keys says otherwise: keys of CAs stay where they were made");
        }
        let name = keys.root_certificate.authority();
        let name = name.ok_or_else(|| StartError::Internal("the root names no authority".to_owned()))?;

        let (store, half) = store::open(&home.store(), &keys.store).await?;
        check_issuers(&keys.issuing_certificates, started_at)?;
        if rule == ClockRule::Plausible {
            moment::check(&store, started_at).await?;
        }
        let log_files = LogFiles::new(home.log()).map_err(|e| StartError::file(&home.log(), &e))?;
        let published = log_files.published().map_err(|e| StartError::file(&home.log(), &e))?;
        let log = log_signer(&name, &keys, started_at)?;
        let [one, two] = &keys.issuing_certificates;
        let issuers = [keys.root_certificate.clone(), one.clone(), two.clone()];
        let board = Board::load(&store, &issuers, started_at).await?;
        let links = Arc::new(Links::default());
        let (sees, hears) = (Arc::clone(&board), Arc::clone(&links));
        let on_commit = move |committed: &crate::writer::Committed<'_>| {
            sees.apply(committed);
            hears.notice(committed);
        };
        let (writer, writing) =
            Writer::start(half, &store, name.clone(), log.clone(), published.as_deref(), on_commit).await?;

        // Of archiving that was cut off: what the log says is archived goes.
        while writer.sweep().await? {}
        log_files.drop_archived(&store).await?;
        let age = begin(&store, &writer, &name, (&keys, &kept), started_at).await?;
        sealed::record(&store, &writer, &kept, started_at).await?;
        configured::record(&store, &writer, &configured::written(named), started_at).await?;
        approval::record(&store, &writer, &settings.approve, started_at).await?;
        let created_at = store.setting(Setting::CreatedAt).await?.and_then(|at| at.parse().ok());
        Publisher::new(Arc::clone(&board), writer.clone(), &keys).publish_due(started_at).await?;
        let presence = Presence::new(settings.heartbeat(), store.heartbeats().await?);

        let attesting = Attesting::read(&settings)?;
        let manifests = Manifests::load(&store, &keys).await?;
        let modules = Modules::load(&store).await?;
        let cosigner = Cosigner::new(home.witness(), name.clone());
        cosigner.resume(&keep, &store.witnessed_logs().await?, started_at);
        let place = Place::of(&store).await?;
        let base = options.port_base.or(settings.port_base).unwrap_or(PORT_BASE);
        let listeners = Listeners::bind(base, place.address, options.port_choice).await?;
        let (doors, moves) = server::doors();
        let search = Search::start(home.search(), store.clone(), writer.clone(), age == Age::New);
        let shared = Arc::new(Shared {
            streams: Streams::default(),
            packing: Arc::new(Semaphore::new(1)),
            name,
            created_at: created_at.unwrap_or(started_at),
            started_at,
            keys,
            keep,
            kept,
            log,
            log_files,
            store,
            search,
            writer,
            board,
            presence,
            refusals: MisuseBook::of_few_sources(),
            policy: Refused::default(),
            manifests,
            modules,
            links,
            cosigner,
            attesting,
            witnessing: Witnessing::default(),
            kill: Kill::load(&home)
                .map_err(|error| StartError::Kill { why: error.to_string(), code: error.code() })?,
            device_logs: DeviceLogs::new(home.device_logs()),
            bundles: Bundles::new(home.forensics()),
            alerts: Alerts::default(),
            mirrors: Mirrors::default(),
            vaults: Vaults::new(home.vaults(), settings.vault_lock()),
            settings,
            ports: listeners.ports(),
            place: watch::Sender::new(place),
            doors,
            home,
        });
        Ok(Self { shared, listeners, moves, writing, age, lock })
    }

    /// Its name.
    pub fn name(&self) -> &AuthorityName {
        &self.shared.name
    }

    /// Whether it was made just now.
    pub const fn age(&self) -> Age {
        self.age
    }

    /// The ports that it has bound.
    pub fn ports(&self) -> Ports {
        self.shared.ports
    }

    /// The socket on which this machine's administrator speaks with it.
    pub fn socket(&self) -> PathBuf {
        self.shared.home.socket()
    }

    /// What its parts share, for tests of one part.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Serves until `stop` ends, then finishes what was begun and closes the store. `stop` is polled first when everything
    /// listens.
    ///
    /// # Errors
    /// When the socket cannot be made, or the store cannot be closed in order.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { shared, listeners, moves, writing, age: _, lock } = self;
        let writer = shared.writer.clone();
        let stop = async {
            tokio::select! {
                biased;
                () = stop => {}
                // What it is, the writer says in the end.
                () = writer.failed() => {}
            }
        };
        let served = server::serve(&shared, listeners, moves, stop).await;
        if matches!(served, Ok(Served::Killed)) {
            // There is no store that could be closed, and no log that could take another entry.
            return Ok(());
        }
        shared.search.close().await;
        if let Err(error) = device_log::anchor_due(&shared, clock::now(), true).await {
            tracing::error!(%error, "logs of devices are anchored with their next delivery");
        }
        let stopped = Transaction::own(clock::now(), vec![SystemChange::Stopped.into()], Vec::new());
        let recorded = shared.writer.commit_or_count(stopped).await;
        let published = shared.log_files.publish(&shared.store, 0).await;
        shared.store.close().await;
        drop(shared);
        drop(writer);
        writing.finished().await?;
        drop(lock);
        recorded?;
        published?;
        served.map(drop)
    }
}

/// Begins the log of a new authority, or checks that the store belongs to these keys; then records the start.
async fn begin(
    store: &Store,
    writer: &Writer,
    name: &AuthorityName,
    (keys, kept): (&Keys, &Kept),
    now: Timestamp,
) -> Result<Age, StartError> {
    let age = match store.setting(Setting::Authority).await? {
        Some(held) if held == name.as_ref() => Age::Existing,
        Some(held) => return Err(StartError::Mixed { store: held, keys: name.to_string() }),
        None => {
            let mut changes = vec![
                SystemChange::Created {
                    root: keys.root.public().id(),
                    kid: keys.kid.public().id(),
                    orders: keys.orders.public().id(),
                }
                .into(),
            ];
            changes.extend(keys.issuing_certificates.iter().map(|certificate| {
                SystemChange::IssuerCertified {
                    issuer: certificate.key_id(),
                    serial: certificate.serial().to_bytes().to_vec(),
                    not_after: certificate.not_after(),
                }
                .into()
            }));
            let settings = vec![
                SystemWrite::Setting(Setting::Authority, Some(name.to_string())),
                SystemWrite::Setting(Setting::CreatedAt, Some(now.to_string())),
                sealed::setting(kept),
            ];
            writer.commit(Transaction::own(now, changes, settings)).await?;
            Age::New
        }
    };
    let mut after = None;
    let mut changes = Vec::new();
    if age == Age::Existing
        && let Some(last) = store.log_state().await?.and_then(|state| state.size.checked_sub(1))
        && let Some(newest) = store.entry(last).await?
    {
        after = Some(if ENDS.iter().any(|end| newest.event == end.as_str()) {
            Ending::InOrder
        } else {
            Ending::Cut
        });
        // Forward, nobody can tell a jump from the time that passed.
        if now < newest.at {
            changes.extend(step(newest.at, now).map(Change::from));
        }
    }
    changes.push(SystemChange::Started { version: env!("CARGO_PKG_VERSION"), after }.into());
    writer.commit(Transaction::own(now, changes, Vec::new())).await?;
    Ok(age)
}

/// What a run that ended in order, or a restore, wrote last.
const ENDS: [EventType; 3] =
    [EventType::AuthorityStopped, EventType::AuthorityRestored, EventType::RestoreOpened];

pub(crate) fn log_signer(name: &AuthorityName, keys: &Keys, now: Timestamp) -> Result<LogSigner, StartError> {
    let internal = |e: &dyn std::fmt::Display| StartError::Internal(e.to_string());
    let key = LogKey::new(name, keys.log.public().clone()).map_err(|e| internal(&e))?;
    let boot = EntryId::from_parts(now, entropy::array().map_err(|e| internal(&e))?);
    Ok(LogSigner::new(Arc::clone(&keys.log), key, BootId::new(boot)))
}

/// The folder itself may be entered by group `kos`, for the socket; the keys have a folder of their own.
pub(crate) fn make_folders(home: &Home) -> Result<(), StartError> {
    for folder in [home.folder().to_path_buf(), home.run()] {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&folder);
        made.map_err(|e| StartError::file(&folder, &e))?;
    }
    let vaults = home.vaults();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&vaults);
    made.map_err(|e| StartError::file(&vaults, &e))
}

/// The machine's name, made into a name that an authority can have.
fn default_name() -> Result<AuthorityName, StartError> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name_from(&host).map_err(|e| StartError::Internal(e.to_string()))
}

fn name_from(host: &str) -> Result<AuthorityName, kos_base::id::ParseIdError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.';
    let lower = host.trim().to_ascii_lowercase();
    let mut text: String = lower.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    while text.contains("..") {
        text = text.replace("..", ".");
    }
    let text: String = text.trim_matches(['.', '-']).chars().take(AuthorityName::CHARS_MAX).collect();
    text.trim_end_matches(['.', '-']).parse().or_else(|_| "authority".parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_becomes_a_name_that_an_authority_can_have() {
        for (host, name) in [
            ("attic\n", "attic"),
            ("Attic.Example.ORG", "attic.example.org"),
            ("my_host", "my-host"),
            ("--x--", "x"),
            ("a..b", "a.b"),
            ("küche", "k-che"),
            ("", "authority"),
            ("...", "authority"),
        ] {
            assert_eq!(name_from(host).unwrap().as_ref(), name, "{host:?}");
        }
        assert_eq!(name_from(&"x".repeat(80)).unwrap().as_ref().len(), 63);
        assert!(name_from(&format!("{}.y", "x".repeat(62))).unwrap().as_ref().ends_with('x'));
    }
}
