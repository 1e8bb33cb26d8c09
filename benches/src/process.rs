//! Programs under measurement: started, watched through `/proc`, and ended.

use std::{
    env, fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::{talk, wait};

/// How long a program may take to come up or to end.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(2);
/// Linux counts processor time for user space in hundredths of a second on every architecture.
const TICKS_PER_SECOND: u64 = 100;
/// Memory counts as settled once two looks, this far apart, differ by less than one part in 200.
const SETTLING: Duration = Duration::from_millis(700);
/// Descriptors that 20 000 links on TCP and everything else need.
const DESCRIPTORS: u64 = 65_536;
/// `statfs` calls a file system in memory this.
const TMPFS_MAGIC: u32 = 0x0102_1994;

/// A program that runs. It ends with this value.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts a program whose talk goes to our stderr.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        // What is set here counts; what the caller's shell says could change what the program does.
        let given: Vec<_> = command.get_envs().map(|(variable, _)| variable.to_owned()).collect();
        let inherited = env::vars_os().map(|(variable, _)| variable).filter(|v| !given.contains(v));
        for variable in inherited.filter(|v| v.to_string_lossy().starts_with("KOS_")) {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self { name, child })
    }

    /// Starts a program that tells over `NOTIFY_SOCKET` when it is ready, and waits for that. `folder` is where the
    /// socket may be.
    pub(crate) fn start_until_ready(command: &mut Command, folder: &Path) -> Result<(Self, Duration)> {
        let path = folder.join("notify");
        if path.exists() {
            fs::remove_file(&path)?;
        }
        let socket = UnixDatagram::bind(&path).context("no socket for the message that it is ready")?;
        socket.set_read_timeout(Some(DEADLINE))?;
        command.env("NOTIFY_SOCKET", &path);
        let begun = Instant::now();
        let mut program = Self::start(command)?;
        let mut message = [0; 4_096];
        loop {
            let bytes = socket.recv(&mut message);
            let took = begun.elapsed();
            program.must_run()?;
            let bytes = bytes.with_context(|| format!("`{}` did not say that it is ready", program.name))?;
            let text = String::from_utf8_lossy(message.get(..bytes).unwrap_or_default()).into_owned();
            if text.lines().any(|line| line == "READY=1") {
                return Ok((program, took));
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory of its own that is in RAM, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        memory(self.pid(), "VmRSS:").with_context(|| format!("no memory of `{}`", self.name))
    }

    /// The same, once it no longer changes.
    pub(crate) async fn settled_bytes(&self) -> Result<u64> {
        let begun = Instant::now();
        let mut before = self.resident_bytes()?;
        loop {
            wait::pass(SETTLING).await;
            let now = self.resident_bytes()?;
            if now.abs_diff(before) < now / 200 || begun.elapsed() > DEADLINE {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Fails when it has ended.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("`{}` ended with {status}", self.name),
            None => Ok(()),
        }
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM)?;
        let what = format!("the end of `{}`", self.name);
        let status = wait::until(&what, PAUSE, DEADLINE, async || Ok(self.child.try_wait()?)).await?;
        if !status.success() {
            talk::say(&format!("`{}` stopped with {status}", self.name));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already, or is to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of `/proc/PID/status` about memory, in bytes: `VmRSS:` now, `VmHWM:` at most so far.
pub(crate) fn memory(pid: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|own| own.strip_prefix(line));
    let kib = found.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("no {line} of {pid}"))? * 1_024)
}

/// What a program writes to stdout, or why it cannot be asked.
pub(crate) fn output(name: &str, arguments: &[&str]) -> Result<String, String> {
    let done = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("`{name}` cannot be started: {error}"))?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

/// Processor time that a process has used so far.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("no processor time")?;
    // The name in brackets may hold anything; user and system time are the 12th and 13th field behind it.
    let fields =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).context("no processor time")?;
    Ok(ticks(fields.skip(11).take(2)))
}

/// Time that all processors together have spent on anything so far.
pub(crate) fn busy_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let mut fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let working = ticks(fields.by_ref().take(3));
    // Then come idle and waiting for the disk, which is not work; then interrupts and what the hypervisor took.
    Ok(working + ticks(fields.skip(2).take(3)))
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Duration {
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Lets this process and those that it starts have as many descriptors as the links need; how many there are now.
pub(crate) fn allow_descriptors() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: Some(DESCRIPTORS),
        maximum: Some(DESCRIPTORS.max(now.maximum.unwrap_or(DESCRIPTORS))),
    };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        // Without the right to more, as many as are allowed.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS)
}

/// The folder of this program: where the programs under measurement are, too.
pub(crate) fn own_folder() -> Result<PathBuf> {
    let own = env::current_exe().context("the path of this program is unknown")?;
    Ok(own.parent().context("a program without a folder")?.to_owned())
}

/// A folder for data on the disk that holds the build.
///
/// # Errors
/// When that is no disk: what is synced to memory says nothing.
pub(crate) fn data_folder() -> Result<tempfile::TempDir> {
    let place = own_folder()?;
    let kind = rustix::fs::statfs(&place)?.f_type;
    ensure!(
        u32::try_from(kind).ok() != Some(TMPFS_MAGIC),
        "{} is in memory: durable changes must go to a disk",
        place.display()
    );
    Ok(tempfile::TempDir::with_prefix_in("kos-bench-", place)?)
}

/// A program that was built beside this one.
pub(crate) fn ours(name: &str) -> Result<Command> {
    let path = own_folder()?.join(name);
    ensure!(path.is_file(), "`{name}` is not built: cargo build --release --workspace --bins");
    Ok(Command::new(path))
}

/// A port that nobody uses now, with `more` behind it that nobody uses either.
pub(crate) fn free_port(more: u16) -> Result<u16> {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};
    let free = |port: u16| {
        let address = (Ipv4Addr::LOCALHOST, port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    for _ in 0..200 {
        let base = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if base.checked_add(more).is_some_and(|last| (base..=last).all(free)) {
            return Ok(base);
        }
    }
    bail!("no {} free ports in a row", more + 1)
}
