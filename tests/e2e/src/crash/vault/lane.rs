//! One authority that is killed again and again.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kos_api::{
    List,
    audit::{AuditEntry, AuditFilter},
    routes,
    text::SecretText,
    vault::{CreateVault, ImportVault, UnlockVault, Vault, VaultEntry, VaultState, VaultVersion},
};
use kosctl::{Change, Client, Fault, Outcome, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    Plant, Report, fault,
    ledger::{Attempt, Event, Found, Ledger, Wish},
    load::{self, Dice},
};
use crate::{fleet::Authority, program, wait};

/// A vault whose passphrase costs the least that is allowed, so that ten thousand can be opened.
const LIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/vault/golden/light.json");
const LIGHT_PASSPHRASE: &str = "correct horse battery";
/// The two vaults of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// The light one: entries come and go.
    Default,
    /// One that gets new keys, whose passphrase costs what ours do.
    Turned,
}

/// One thing for each of them.
#[derive(Debug, Default)]
struct Both<T> {
    default: T,
    turned: T,
}

impl Which {
    const fn environment(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Turned => "turned",
        }
    }
}

impl<T> Both<T> {
    const fn of(&self, which: Which) -> &T {
        match which {
            Which::Default => &self.default,
            Which::Turned => &self.turned,
        }
    }

    const fn of_mut(&mut self, which: Which) -> &mut T {
        match which {
            Which::Default => &mut self.default,
            Which::Turned => &mut self.turned,
        }
    }
}

/// Clients that use the vault at once: one, up to this.
const WRITERS_MAX: u64 = 4;
/// Longest time between the first request and the kill.
const LOAD_MICROS_MAX: u64 = 40_000;
/// The same while keys are renewed: twice the time of that.
const ROTATION_MICROS_MAX: u64 = 700_000;
/// In one run of so many keys are renewed.
const ROTATION_EVERY: u32 = 40;
/// In one run of so many the disk fails.
const FAULT_EVERY: u32 = 20;
/// In one run of so many the authority is killed again while it starts.
const TWICE_EVERY: u32 = 8;
/// Longest time between that start and that kill.
const START_MICROS_MAX: u64 = 80_000;
/// After so many runs every version of every secret is read, and the log is verified.
const ALL_EVERY: u32 = 250;
/// Longest time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority, and what is known of its vaults.
pub(super) struct Lane {
    authority: Authority,
    runtime: Runtime,
    plant: Option<Plant>,
    ledgers: Both<Ledger>,
    /// The entry of the log that was looked at last.
    looked_at: Option<u64>,
    /// Entries about a vault that no run has looked at since.
    unseen: Vec<(String, Event)>,
    pub(super) report: Report,
}

impl Lane {
    /// One with two vaults.
    pub(super) fn start(plant: Option<Plant>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let authority = Authority::start()?;
        let light = fs::read(LIGHT).with_context(|| format!("cannot read {LIGHT}"))?;
        let client = client(&authority);
        let ledger = |vault: &Vault| Ledger::new(vault.generation, LIGHT_PASSPHRASE);
        let made = async {
            let change = Change::default();
            let file = SecretText::new(data_encoding::BASE64.encode(&light));
            let body = ImportVault { file, passphrase: SecretText::new(LIGHT_PASSPHRASE.to_owned()) };
            let Outcome::Done::<Vault>(light) =
                client.change(&routes::VAULT_IMPORT, &[Which::Default.environment()], &body, &change).await?
            else {
                bail!("a vault was planned and not made");
            };
            let body = CreateVault { passphrase: SecretText::new(LIGHT_PASSPHRASE.to_owned()) };
            let Outcome::Done::<Vault>(turned) =
                client.change(&routes::VAULT_CREATE, &[Which::Turned.environment()], &body, &change).await?
            else {
                bail!("a vault was planned and not made");
            };
            Ok(Both { default: ledger(&light), turned: ledger(&turned) })
        };
        let ledgers = runtime.block_on(made)?;
        let mut lane = Self {
            authority,
            runtime,
            plant,
            ledgers,
            looked_at: None,
            unseen: Vec::new(),
            report: Report::default(),
        };
        lane.events()?;
        lane.open(Which::Default)?;
        lane.open(Which::Turned)?;
        Ok(lane)
    }

    /// Load, a kill, and the question what is left.
    pub(super) fn run(&mut self, run: u32) -> Result<()> {
        let mut dice = Dice::new(u64::from(run));
        let rotates = run % ROTATION_EVERY == ROTATION_EVERY - 1;
        let fails = run % FAULT_EVERY == FAULT_EVERY / 2;
        let data = self.authority.data().to_path_buf();
        let unwritten = self.plant == Some(Plant::Unwritten);
        if unwritten || fails {
            // Under strace from its start on, which is another start.
            self.authority.kill()?;
            self.authority.spawn(|command| {
                if unwritten {
                    fault::keep_out_of_place(&command, &data)
                } else {
                    fault::inject(&command, &data, &mut dice)
                }
            })?;
            self.report.faults += u32::from(fails);
        }
        let may_fail = fails && !unwritten;
        let before = match self.plant {
            Some(Plant::Forgotten | Plant::Unrecorded) => Some(Copy::of(&data)?),
            _ => None,
        };
        if rotates && !unwritten {
            // It is locked since the last start, and a locked vault takes no secret.
            self.open(Which::Turned)?;
        }
        let attempts = if (unwritten || fails) && self.open(Which::Default).is_err() {
            ensure!(may_fail, "the vault does not open");
            drop(self.authority.kill());
            Both::default()
        } else {
            self.load(run, rotates, &mut dice)
        };
        if let Some(before) = before {
            before.put_back(&data, self.plant == Some(Plant::Unrecorded))?;
        }
        if self.plant == Some(Plant::Half) {
            let file = file_of(&data, Which::Default);
            let bytes = fs::read(&file)?;
            fs::write(&file, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
        }
        self.authority.spawn(|command| command)?;
        if run % TWICE_EVERY == TWICE_EVERY - 1 {
            self.kill_while_it_starts(&mut dice)?;
        }
        self.report.failed +=
            attempts.default.iter().chain(&attempts.turned).filter(|attempt| attempt.failed).count();
        self.report.runs += 1;
        self.judge(run, &attempts, rotates)
    }

    /// Verifies the log and stops.
    pub(super) fn end(mut self) -> Result<Report> {
        if self.report.lost == 0 {
            self.verify_log()?;
            self.authority.stop()?;
        }
        Ok(self.report)
    }

    /// Lets clients loose and kills; what each of them did.
    fn load(&mut self, run: u32, rotates: bool, dice: &mut Dice) -> Both<Vec<Attempt>> {
        let writers = 1 + dice.roll(WRITERS_MAX);
        let mut clients = Vec::new();
        for writer in 0..writers {
            let (client, dice) = (client(&self.authority), Dice::new(dice.roll(u64::MAX)));
            clients.push(self.runtime.spawn(load::use_vault(
                client,
                Which::Default.environment(),
                writer,
                run,
                dice,
            )));
        }
        let turning = rotates.then(|| {
            let passphrase = self.ledgers.turned.passphrase.clone();
            self.runtime.spawn(load::rotate(
                client(&self.authority),
                Which::Turned.environment(),
                run,
                passphrase,
            ))
        });
        let longest = if rotates { ROTATION_MICROS_MAX } else { LOAD_MICROS_MAX };
        wait::pass(Duration::from_micros(dice.roll(longest)));
        // One that a fault has ended is dead already.
        drop(self.authority.kill());
        self.runtime.block_on(async {
            let (mut default, mut turned) = (Vec::new(), Vec::new());
            for client in clients {
                default.extend(client.await.unwrap_or_default());
            }
            if let Some(client) = turning {
                turned = client.await.unwrap_or_default();
            }
            Both { default, turned }
        })
    }

    /// While the file may be mended.
    fn kill_while_it_starts(&mut self, dice: &mut Dice) -> Result<()> {
        let client = client(&self.authority);
        let passphrase = self.ledgers.default.passphrase.clone();
        let opening = self.runtime.spawn(async move {
            loop {
                if !matches!(
                    unlock(&client, Which::Default.environment(), &passphrase).await,
                    Err(Fault::Unreachable { .. })
                ) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
        wait::pass(Duration::from_micros(dice.roll(START_MICROS_MAX)));
        self.authority.kill()?;
        opening.abort();
        self.report.twice += 1;
        self.authority.spawn(|command| command)
    }

    fn judge(&mut self, run: u32, attempts: &Both<Vec<Attempt>>, rotates: bool) -> Result<()> {
        let everything = self.report.runs.is_multiple_of(ALL_EVERY);
        let looked_at = |which: &Which| *which == Which::Default || rotates || everything;
        // Opened first: what is repaired then belongs to this run.
        let mut found = Vec::new();
        for which in [Which::Default, Which::Turned].into_iter().filter(looked_at) {
            match self.find(which, attempts.of(which))? {
                Ok(vault) => found.push((which, vault)),
                Err(why) => return self.lose(run, &[format!("{}: {why}", which.environment())]),
            }
        }
        let mut events = std::mem::take(&mut self.unseen);
        events.extend(self.events()?);
        for (which, vault) in found {
            let wished = attempts.of(which);
            let is_of_it = |(of, _): &(String, Event)| of == which.environment();
            let (of_it, others): (Vec<_>, Vec<_>) = events.into_iter().partition(is_of_it);
            events = others;
            let of_it: Vec<Event> = of_it.into_iter().map(|(_, event)| event).collect();
            let verdict = self.ledgers.of_mut(which).judge(wished, &of_it, &vault);
            self.report.acknowledged += verdict.acknowledged;
            self.report.unheard += verdict.unheard;
            self.report.repaired += usize::from(verdict.repaired);
            if !verdict.lost.is_empty() {
                return self.lose(run, &verdict.lost);
            }
            self.read(run, which, wished, everything)?;
        }
        // Of the vault that this run did not look at.
        self.unseen = events;
        if everything {
            self.verify_log()?;
        }
        Ok(())
    }

    /// The vault as it is found, or why it cannot be used.
    fn find(&mut self, which: Which, attempts: &[Attempt]) -> Result<Result<Found, String>> {
        let environment = which.environment();
        // What was asked for last may have been done.
        let mut passphrases = vec![self.ledgers.of(which).passphrase.clone()];
        for attempt in attempts {
            if let Wish::Rotate { passphrase } = &attempt.wish {
                passphrases.insert(0, passphrase.clone());
            }
        }
        passphrases.truncate(2);
        let mut said = Err("nothing was tried".to_owned());
        for passphrase in passphrases {
            said = match self.unlock(which, &passphrase)? {
                Ok(vault) => {
                    said = Ok((vault, passphrase));
                    break;
                }
                Err(fault) => Err(format!("it does not open: {fault}")),
            };
        }
        let (vault, passphrase) = match said {
            Ok(opened) => opened,
            Err(why) => return Ok(Err(why)),
        };
        if vault.state != VaultState::Unlocked || vault.anchor.generation != vault.generation {
            return Ok(Err(format!("file and anchor differ: {vault:?}")));
        }
        let (client, nothing) = (client(&self.authority), serde_json::json!({}));
        let listed: Result<List<VaultEntry>, Fault> =
            self.runtime.block_on(client.list(&routes::VAULT_ENTRIES, &[environment], &nothing));
        let listed = match listed {
            Ok(listed) => listed,
            Err(fault) => return Ok(Err(format!("its entries cannot be listed: {fault}"))),
        };
        let file: Value = serde_json::from_slice(&fs::read(file_of(self.authority.data(), which))?)?;
        Ok(Ok(Found {
            generation: vault.generation,
            file_generation: file.get("generation").and_then(Value::as_u64).unwrap_or_default(),
            versions: listed.items.into_iter().map(|entry| (entry.name, entry.version)).collect(),
            passphrase,
        }))
    }

    /// Reads what was touched, or everything, and compares.
    fn read(&mut self, run: u32, which: Which, attempts: &[Attempt], everything: bool) -> Result<()> {
        let environment = which.environment();
        let (client, nothing) = (client(&self.authority), serde_json::json!({}));
        let touched = |name: &String| {
            attempts.iter().any(|attempt| matches!(&attempt.wish, Wish::Put { name: n, .. } if n == name))
        };
        let mut wanted = Vec::new();
        for (name, newest) in self.ledgers.of(which).versions.clone() {
            if everything {
                let history: List<VaultVersion> = self.runtime.block_on(client.list(
                    &routes::VAULT_HISTORY,
                    &[environment, &name],
                    &nothing,
                ))?;
                wanted.extend(history.items.iter().map(|version| (name.clone(), version.version)));
            } else if touched(&name) {
                wanted.push((name, newest));
            }
        }
        for (name, version) in wanted {
            let value = self.runtime.block_on(load::read(&client, environment, &name, Some(version)));
            let value = match value {
                Ok(value) => value,
                Err(fault) => return self.lose(run, &[format!("version {version} of {name}: {fault}")]),
            };
            let ledger = self.ledgers.of_mut(which);
            ledger.given += 1;
            if !ledger.holds(&name, version, &value) {
                return self.lose(run, &[format!("version {version} of {name} is `{value}`")]);
            }
        }
        Ok(())
    }

    #[expect(clippy::print_stderr, reason = "what is lost is told where it happened")]
    fn lose(&mut self, run: u32, what: &[String]) -> Result<()> {
        self.report.lost += what.len();
        for what in what {
            eprintln!("run {run}: lost: {what}");
        }
        Ok(())
    }

    /// Entries about vaults that were not looked at, with the environment.
    fn events(&mut self) -> Result<Vec<(String, Event)>> {
        let client = client(&self.authority);
        let mut events = Vec::new();
        loop {
            let filter = AuditFilter {
                cursor: self.looked_at.map(|index| index.to_string()),
                limit: Some(500),
                ..AuditFilter::default()
            };
            let page: List<AuditEntry> =
                self.runtime.block_on(client.list(&routes::AUDIT_LIST, &[], &filter))?;
            for entry in page.items {
                self.looked_at = Some(entry.index);
                let Some(target) = entry.target.filter(|target| target.kind == "vault") else { continue };
                let number = |field: &str| entry.details.get(field).and_then(Value::as_u64);
                let name = entry.details.get("entry").and_then(Value::as_str).map(str::to_owned);
                let (version, generation) = (number("version"), number("generation"));
                let event = Event { kind: entry.event_type, name, version, generation };
                events.push((target.id.unwrap_or_default(), event));
            }
            if page.next.is_none() {
                return Ok(events);
            }
        }
    }

    fn open(&mut self, which: Which) -> Result<()> {
        let passphrase = self.ledgers.of(which).passphrase.clone();
        Ok(self.unlock(which, &passphrase)?.map(drop)?)
    }

    /// Opens a vault as soon as the authority answers.
    fn unlock(&mut self, which: Which, passphrase: &str) -> Result<Result<Vault, Fault>> {
        let client = client(&self.authority);
        let (authority, runtime) = (&mut self.authority, &self.runtime);
        wait::closely("the authority to answer", || {
            match runtime.block_on(unlock(&client, which.environment(), passphrase)) {
                Err(fault @ (Fault::Unreachable { .. } | Fault::NoServer(_))) => {
                    if !authority.is_running()? {
                        // Between a kill and the next start somebody else may get the port.
                        let errors = authority.errors();
                        ensure!(errors.contains("KOS-E0009"), "{fault}; the authority ended:\n{errors}");
                        authority.take_other_ports()?;
                        authority.spawn(|command| command)?;
                    }
                    Ok(None)
                }
                other => Ok(Some(other)),
            }
        })
    }

    fn verify_log(&self) -> Result<()> {
        let verdict = self.authority.json(&["audit", "verify"])?;
        ensure!(verdict.pointer("/item/ok") == Some(&Value::Bool(true)), "the log: {verdict}");
        Ok(())
    }
}

async fn unlock(client: &Client, environment: &str, passphrase: &str) -> Result<Vault, Fault> {
    let passphrase = Some(SecretText::new(passphrase.to_owned()));
    let body = UnlockVault { passphrase, passkey: None, code: None };
    let route = &routes::VAULT_UNLOCK;
    match client.change(route, &[environment], &body, &Change::default()).await? {
        Outcome::Done(vault) => Ok(vault),
        Outcome::Planned(_) => Err(Fault::NoServer(Vec::new())),
    }
}

fn client(authority: &Authority) -> Client {
    Client::new(Server::Unix(authority.socket()), None).with_timeout(PATIENCE)
}

fn file_of(data: &Path, which: Which) -> PathBuf {
    data.join("authority/vaults").join(format!("{}.json", which.environment()))
}

/// The data of an authority as it was.
struct Copy(TempDir);

impl Copy {
    fn of(data: &Path) -> Result<Self> {
        let copy = TempDir::with_prefix("kos-e2e-copy-")?;
        for (path, bytes) in program::files(data)? {
            let to = copy.path().join(path.strip_prefix(data)?);
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            fs::write(to, bytes)?;
        }
        Ok(Self(copy))
    }

    /// Writes it over what is there, with the vaults or without them.
    fn put_back(&self, data: &Path, without_vaults: bool) -> Result<()> {
        for (path, bytes) in program::files(self.0.path())? {
            let to = data.join(path.strip_prefix(self.0.path())?);
            let is_vault = to.starts_with(data.join("authority/vaults"));
            if !(is_vault && without_vaults) {
                fs::write(to, bytes)?;
            }
        }
        Ok(())
    }
}
