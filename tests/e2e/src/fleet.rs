//! An authority and its devices on this machine, each in folders of its own.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    judge::{self, Desk},
    program::{self, Finished, Program},
    wait,
};

/// Where a program finds what systemd gave it.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// An authority that was set up in a folder of its own.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    program: Option<Program>,
    ports: Ports,
    environment: Vec<(String, OsString)>,
}

/// The ports of a block; the fourth is free as well.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Health and metrics.
    pub web: u16,
    /// TLS: enrolment, KLP, API.
    pub tls: u16,
    /// Revocation lists and certificates.
    pub pki: u16,
}

impl Ports {
    /// Ports in a row that nobody uses now, and that no other test of this program is given. They lie below those that the
    /// system gives to outgoing connections, one of which could take them before they are used.
    ///
    /// # Errors
    /// When there are none.
    pub fn free() -> Result<Self> {
        use std::net::{Ipv4Addr, TcpListener, UdpSocket};
        const FIRST: u16 = 10_000;
        const BLOCKS: u16 = 5_000;
        static GIVEN: AtomicU16 = AtomicU16::new(0);
        let free = |port: u16| {
            let address = (Ipv4Addr::LOCALHOST, port);
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        };
        // Another test program may run beside this one.
        let begin = u16::try_from(process::id() % u32::from(BLOCKS)).unwrap_or_default();
        for _ in 0..BLOCKS {
            let block = (begin + GIVEN.fetch_add(1, Ordering::Relaxed) % BLOCKS) % BLOCKS;
            let [web, tls, pki, last] = [0, 1, 2, 3].map(|port| FIRST + block * 4 + port);
            if [web, tls, pki, last].into_iter().all(free) {
                return Ok(Self { web, tls, pki });
            }
        }
        anyhow::bail!("no four free ports in a row")
    }
}

impl Authority {
    /// Sets an authority up and starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// The same with settings of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_with(settings: &str) -> Result<Self> {
        Self::start_in(settings, &[])
    }

    /// The same with something in the environment of the program.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_in(settings: &str, environment: &[(&str, OsString)]) -> Result<Self> {
        let folder = TempDir::with_prefix("kos-e2e-")?;
        fs::create_dir(folder.path().join("authority"))?;
        fs::write(folder.path().join("authority/authority.yaml"), settings)?;
        let data = folder.path().to_string_lossy().into_owned();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut authority = Self { folder, program: None, ports: Ports::free()?, environment };
        let done = program::finish(authority.command(&["init", "--data", &data])?, "")?;
        ensure!(done.status.success(), "init failed: {}", done.stderr);
        authority.serve()?;
        Ok(authority)
    }

    /// The folder of the published log, once it holds everything that the log holds now.
    ///
    /// # Errors
    /// When it does not follow.
    pub fn published(&self) -> Result<PathBuf> {
        let folder = self.data().join("authority/log");
        let desk = Desk::new()?;
        let head = desk.at("head");
        wait::until("the log's files to follow", || {
            self.json(&["audit", "checkpoint", "--out", &head])?;
            Ok((fs::read(folder.join("checkpoint")).ok() == Some(fs::read(&head)?)).then_some(()))
        })?;
        Ok(folder)
    }

    /// A copy of all its data, keys included, with ports of its own: what somebody has who copied the disk. It does not run
    /// yet.
    ///
    /// # Errors
    /// When it runs itself, or cannot be copied.
    pub fn copied(&self) -> Result<Self> {
        ensure!(self.program.is_none(), "the authority runs");
        let folder = TempDir::with_prefix("kos-e2e-copied-")?;
        let to = folder.path().join("authority");
        program::copy(&self.data().join("authority"), &to)?;
        Ok(Self { folder, program: None, ports: Ports::free()?, environment: self.environment.clone() })
    }

    /// Puts a backup in place, in a folder of its own and at the ports of `lost`, which must not run. It does not run yet.
    ///
    /// # Errors
    /// When it is refused.
    pub fn put_back(lost: &Self, backup: &Path, passphrase: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("kos-e2e-restored-")?;
        let (data, file) =
            (folder.path().to_string_lossy().into_owned(), backup.to_string_lossy().into_owned());
        // Another machine: credentials are given to it anew.
        let is_kept = |(name, _): &&(String, OsString)| name != CREDENTIALS;
        let environment = lost.environment.iter().filter(is_kept).cloned().collect();
        let restored = Self { folder, program: None, ports: lost.ports, environment };
        let done = program::finish(restored.command(&["restore", &file, "--data", &data])?, passphrase)?;
        ensure!(done.status.success(), "restore ended with {}: {}", done.code(), done.stderr);
        Ok(restored)
    }

    /// Starts one that was put back, and waits until it says that it is closed.
    ///
    /// # Errors
    /// When it does not come up, or is not closed.
    pub fn serve_closed(&mut self) -> Result<()> {
        self.serve_until("the authority to say that it is closed", |done| done.stderr.contains("KOS-E0110"))
    }

    /// Starts it again after [`Authority::kill`] or [`Authority::stop`].
    ///
    /// # Errors
    /// When it does not come up.
    pub fn serve(&mut self) -> Result<()> {
        self.serve_until("the authority to answer", |done| done.status.success())
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = program::command("kos-authority", arguments)?;
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn serve_until(&mut self, what: &str, is: impl Fn(&Finished) -> bool) -> Result<()> {
        let data = self.data().to_string_lossy().into_owned();
        let base = self.ports.web.to_string();
        let arguments = ["serve", "--data", &data, "--port-base", &base];
        let mut program = Program::of("kos-authority", self.command(&arguments)?, "")?;
        wait::until(what, || {
            ensure!(program.is_running()?, "the authority ended:\n{}", program.errors());
            Ok(is(&self.kosctl(&["status", "-o", "json"])?).then_some(()))
        })?;
        self.program = Some(program);
        Ok(())
    }

    /// Starts it by what `wrap` makes of the command, and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self, wrap: impl FnOnce(Command) -> Command) -> Result<()> {
        let data = self.data().to_string_lossy().into_owned();
        let base = self.ports.web.to_string();
        let command = self.command(&["serve", "--data", &data, "--port-base", &base])?;
        self.program = Some(Program::of("kos-authority", wrap(command), "")?);
        Ok(())
    }

    /// It serves on other ports from its next start on.
    ///
    /// # Errors
    /// When there are none.
    pub fn take_other_ports(&mut self) -> Result<()> {
        self.ports = Ports::free()?;
        Ok(())
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        self.program.as_mut().map_or(Ok(false), Program::is_running)
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.program.take().context("the authority does not run")?.kill()
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// When it does not run, does not stop with 0, or changed something that its log does not say.
    pub fn stop(&mut self) -> Result<()> {
        self.program.take().context("the authority does not run")?.stop()?;
        judge::rows_are_explained(&self.data().join("authority/store.db"))
    }

    /// Waits until it has ended by itself: how.
    ///
    /// # Errors
    /// When it does not run, or goes on.
    pub fn ends(&mut self) -> Result<Finished> {
        let mut program = self.program.take().context("the authority does not run")?;
        let status = program.ended()?;
        // What it said last is read by another thread.
        wait::until("what it says", || Ok(program.errors().contains("\n  fix ").then_some(())))?;
        Ok(Finished { status, stdout: program.stdout(), stderr: program.errors() })
    }

    /// Asks it to stop, which is to fail: how it ended.
    ///
    /// # Errors
    /// When it does not run, or goes on.
    pub fn stops(&mut self) -> Result<Finished> {
        self.program.as_ref().context("the authority does not run")?.terminate()?;
        self.ends()
    }

    /// Where systemd would have put its credentials, from the next start on.
    pub fn has_credentials(&mut self, folder: &Path) {
        self.environment.push((CREDENTIALS.to_owned(), folder.into()));
    }

    /// A start that is to fail: how it ended.
    ///
    /// # Errors
    /// When it goes on running.
    pub fn refuses(&self) -> Result<Finished> {
        let data = self.data().to_string_lossy().into_owned();
        let command = self.command(&["serve", "--data", &data, "--port-base", "0"])?;
        let mut program = Program::of("kos-authority", command, "")?;
        let status = program.ended()?;
        // What it said last is read by another thread.
        wait::until("the reason", || Ok(program.errors().contains("\n  fix ").then_some(())))?;
        Ok(Finished { status, stdout: program.stdout(), stderr: program.errors() })
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// Its ports.
    pub const fn ports(&self) -> Ports {
        self.ports
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.program.as_ref().context("the authority does not run")?.pid())
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        self.program.as_ref().map(Program::errors).unwrap_or_default()
    }

    /// Its local socket.
    pub fn socket(&self) -> PathBuf {
        self.data().join("authority/run/authority.sock")
    }

    /// Runs `kosctl` against it.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is for the caller to judge.
    pub fn kosctl(&self, arguments: &[&str]) -> Result<Finished> {
        kosctl(&self.socket(), arguments)
    }

    /// Runs `kosctl .. -o json` against it and returns the document.
    ///
    /// # Errors
    /// When it fails or prints anything but one document.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        json(&self.socket(), arguments)
    }

    /// Makes a ticket and returns its text.
    ///
    /// # Errors
    /// When it is refused.
    pub fn ticket(&self, more: &[&str]) -> Result<String> {
        let arguments = [&["ticket", "create"], more].concat();
        let ticket = self.json(&arguments)?;
        Ok(ticket.pointer("/item/text").and_then(Value::as_str).context("a ticket without text")?.to_owned())
    }

    /// The item of `device show`.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn device(&self, id: &str) -> Result<Value> {
        let document = self.json(&["device", "show", id])?;
        document.get("item").cloned().context("a document without item")
    }

    /// Waits until a field of a device has a value.
    ///
    /// # Errors
    /// When it does not get it.
    pub fn device_becomes(&self, id: &str, field: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(&format!("`{field}` of {id}"), || {
            let device = self.device(id)?;
            Ok(device.get(field).is_some_and(&fits).then_some(device))
        })
    }

    /// Every event type in the log, in order.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn events(&self) -> Result<Vec<String>> {
        let list = self.json(&["audit", "list"])?;
        let items = list.get("items").and_then(Value::as_array).context("a list without items")?;
        Ok(items.iter().filter_map(|e| e.get("eventType")?.as_str().map(str::to_owned)).collect())
    }
}

/// A device with a root folder of its own.
#[derive(Debug)]
pub struct Device {
    folder: TempDir,
    environment: Vec<(String, OsString)>,
    program: Option<Program>,
}

impl Device {
    /// A folder with a configuration and nothing else. `serial` keeps devices on one machine apart.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(serial: &str, configuration: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("kos-e2e-device-")?;
        let etc = folder.path().join("etc/kos");
        fs::create_dir_all(&etc)?;
        let hardware = format!("hardware:\n  macs: []\n  serials: [\"{serial}\"]\n");
        fs::write(etc.join("config.yaml"), hardware + configuration)?;
        Ok(Self { folder, environment: Vec::new(), program: None })
    }

    /// A copy of its disk, in a folder of its own, as a thief makes one. This device must not run meanwhile.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copied(&self) -> Result<Self> {
        let folder = TempDir::with_prefix("kos-e2e-device-")?;
        judge::agrees(
            "cp",
            &["-a", &format!("{}/.", self.root().display()), &folder.path().to_string_lossy()],
            "",
        )?;
        Ok(Self { folder, environment: self.environment.clone(), program: None })
    }

    /// Its daemon finds this in its environment.
    #[must_use]
    pub fn with_environment(mut self, (name, value): (&str, OsString)) -> Self {
        self.environment.push((name.to_owned(), value));
        self
    }

    /// Its root folder.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Enrols with a ticket.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn enrol(&self, ticket: &str) -> Result<Finished> {
        program::finish(self.kosd("enroll")?, ticket)
    }

    /// Begins to enrol, and waits for nothing.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn begin_enrolment(&mut self, ticket: &str) -> Result<()> {
        self.program = Some(Program::of("kosd", self.kosd("enroll")?, ticket)?);
        Ok(())
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&mut self) -> Result<()> {
        self.program = Some(Program::of("kosd", self.kosd("run")?, "")?);
        Ok(())
    }

    /// What `kosd status` says while it runs.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> Result<Value> {
        let document = json(&self.root().join("run/kos/kosd.sock"), &["status"])?;
        document.get("item").cloned().context("a document without item")
    }

    /// Runs `kosd` with these words and its root.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub fn says(&self, words: &[&str]) -> Result<String> {
        let root = self.root().to_string_lossy().into_owned();
        let mut command = program::command("kosd", &[words, &["--root", &root]].concat())?;
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let done = program::finish(command, "")?;
        ensure!(done.status.success(), "kosd ended with {}: {}", done.code(), done.stderr);
        Ok(done.stdout)
    }

    fn kosd(&self, word: &str) -> Result<Command> {
        let root = self.root().to_string_lossy().into_owned();
        let mut command = program::command("kosd", &[word, "--root", &root])?;
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// The daemon, while it runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn program(&mut self) -> Result<&mut Program> {
        self.program.as_mut().context("the device does not run")
    }

    /// Stops the daemon in good order.
    ///
    /// # Errors
    /// When it does not stop with 0.
    pub fn stop(&mut self) -> Result<()> {
        self.program.take().context("the device does not run")?.stop()
    }

    /// Ends the daemon as a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.program.take().context("the device does not run")?.kill()
    }

    /// The id that `kosd id` tells.
    ///
    /// # Errors
    /// When it has none.
    pub fn id(&self) -> Result<String> {
        let root = self.root().to_string_lossy().into_owned();
        let done = program::run("kosd", &["id", "--root", &root], "")?;
        ensure!(done.status.success(), "no id: {}", done.stderr);
        Ok(done.stdout.trim().to_owned())
    }
}

/// Enrols a new device, starts its daemon and waits for the first heartbeat.
///
/// # Errors
/// When any of it fails.
pub fn device_in_service(authority: &Authority, serial: &str) -> Result<(Device, String)> {
    let mut device = Device::new(serial, "")?;
    let id = bring_into_service(authority, &mut device)?;
    Ok((device, id))
}

/// The same with a device that is there.
///
/// # Errors
/// When any of it fails.
pub fn bring_into_service(authority: &Authority, device: &mut Device) -> Result<String> {
    let ticket = authority.ticket(&["--role", "sensor"])?;
    let done = device.enrol(&ticket)?;
    ensure!(done.status.success(), "enrolment failed with {}: {}", done.code(), done.stderr);
    let id = device.id()?;
    device.run()?;
    authority
        .device_becomes(&id, "lastHeartbeatAt", |at| !at.is_null())
        .with_context(|| device.program.as_ref().map(Program::errors).unwrap_or_default())?;
    Ok(id)
}

/// Runs `kosctl` against a socket.
///
/// # Errors
/// When it cannot be started.
pub fn kosctl(socket: &Path, arguments: &[&str]) -> Result<Finished> {
    let server = format!("unix:{}", socket.display());
    program::run("kosctl", &[&["--server", &server, "--no-input"], arguments].concat(), "")
}

/// Runs `kosctl .. -o json` against a socket and returns the document.
///
/// # Errors
/// When it fails or prints anything but one document.
pub fn json(socket: &Path, arguments: &[&str]) -> Result<Value> {
    let done = kosctl(socket, &[arguments, &["-o", "json"]].concat())?;
    ensure!(
        done.status.success(),
        "`kosctl {}` ended with {}: {}",
        arguments.join(" "),
        done.code(),
        done.stderr
    );
    serde_json::from_str(&done.stdout).with_context(|| format!("not one JSON document: {}", done.stdout))
}
