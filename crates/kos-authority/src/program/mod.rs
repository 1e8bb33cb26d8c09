//! The command line of kos-authority: words, signals, exit codes. Everything else is the library's.
//!
//! Results go to stdout, talk and errors to stderr. Exit codes are those of [`kos_base::code::Exit`]; 0 also after SIGINT
//! or SIGTERM.

mod log;
mod restore;

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::LazyLock,
    time::Duration,
};

use clap::{Parser, Subcommand};
use kos_authority::{
    Age, Authority, ClockRule, Options, PortChoice, StartError, metrics,
    restore::{Ended, Restoration},
};
use kos_base::{AuthorityName, Code, approved, code, text::reason};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};
use sd_notify::NotifyState;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// How long threads that are still at work are waited for at the end. Stops hardware that hangs from keeping the program.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// What `--version` says: in the build with the FIPS module, that as well.
static VERSION: LazyLock<String> = LazyLock::new(|| approved::version(env!("CARGO_PKG_VERSION")));

/// The kOS authority.
#[derive(Debug, Parser)]
#[command(name = "kos-authority", version = VERSION.as_str(), disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Folder with everything that the authority keeps.
    #[arg(long, global = true, env = "KOS_DATA_DIR", default_value = "/var/lib/kos", value_name = "DIR")]
    data: PathBuf,
    /// First of the four ports; 0 for any that are free.
    #[arg(long, global = true, env = "KOS_PORT_BASE", value_name = "N")]
    port_base: Option<u16>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the keys of a new authority.
    Init {
        /// Its name and SPIFFE trust domain; the host name when not given.
        #[arg(long, value_name = "NAME")]
        name: Option<AuthorityName>,
    },
    /// Serves until SIGINT or SIGTERM.
    Serve {
        /// Starts although the log is ahead of the clock: the clock was wrong then, and is right now.
        #[arg(long)]
        clock_is_right: bool,
    },
    /// Puts a backup in place, where no authority is. It stays closed until `kosctl backup restore` opens it.
    Restore(restore::Restore),
    /// Prints a page of the reference.
    #[command(hide = true)]
    Reference {
        #[command(subcommand)]
        page: Page,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Page {
    /// The figures at `/metrics`.
    Metrics,
}

/// Why a command failed, as a person reads it.
#[derive(Debug)]
struct Failure {
    code: Code,
    detail: String,
}

impl Failure {
    fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    fn tell(&self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        // A closed stderr changes nothing.
        let _ = writeln!(stderr, "error[{}]: {}", self.code, self.code.title());
        let _ = writeln!(stderr, "  what     {}", self.detail);
        let _ = writeln!(stderr, "  fix      {}", self.code.fix());
        ExitCode::from(self.code.exit().code())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    log::start();
    leave_no_core();
    match demand_module().and_then(|()| in_runtime(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// Without the FIPS module, the build that needs it does nothing.
fn demand_module() -> Result<(), Failure> {
    let module = approved::module().map_err(|error| Failure::new(error.code(), error.to_string()))?;
    if let Some(module) = module {
        tracing::info!(%module, "algorithms that it does not approve are refused");
    }
    Ok(())
}

/// A thread that hangs in hardware does not keep the program from ending.
fn in_runtime(arguments: Arguments) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(code::config::INTERNAL, error.to_string()))?;
    let done = runtime.block_on(perform(arguments));
    runtime.shutdown_timeout(END_TIME_MAX);
    done
}

async fn perform(Arguments { command, data, port_base }: Arguments) -> Result<(), Failure> {
    match command {
        Command::Init { name } => {
            let name = Authority::init(&data, name, credentials().as_deref())?;
            print(&format!("{name}\n"))
        }
        Command::Restore(restore) => restore.run(&data).await,
        Command::Serve { clock_is_right } => {
            let rule = if clock_is_right { ClockRule::AsItIs } else { ClockRule::Plausible };
            let options =
                Options { data, port_base, port_choice: PortChoice::Exact, credentials: credentials() };
            serve(options, rule).await
        }
        Command::Reference { page: Page::Metrics } => print(&metrics::reference()),
    }
}

/// Where systemd has put the credentials of this program: a path, no secret.
fn credentials() -> Option<PathBuf> {
    env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

async fn serve(options: Options, rule: ClockRule) -> Result<(), Failure> {
    if Authority::resume_kill(&options.data, options.credentials.as_deref()).await? {
        tracing::warn!("the kill switch has gone on to its end");
        return Ok(());
    }
    take_descriptors();
    // Heard from here on, so that a signal during a long start is not lost.
    let mut stop = Box::pin(stop_signal()?);
    if wait_until_open(&options, &mut stop).await? == Ended::Stopped {
        return Ok(());
    }
    let authority = Authority::open_by(options, rule).await?;
    let ports = authority.ports();
    let age = match authority.age() {
        Age::New => "new",
        Age::Existing => "existing",
    };
    tracing::info!(
        name = %authority.name(),
        age,
        web = ports.web,
        tls = ports.tls,
        pki = ports.pki,
        socket = %authority.socket().display(),
        "ready"
    );
    authority
        .serve(async {
            // Everything listens now. Without systemd there is nobody to tell.
            drop(sd_notify::notify(&[NotifyState::Ready]));
            stop.await;
            drop(sd_notify::notify(&[NotifyState::Stopping]));
        })
        .await?;
    Ok(())
}

/// A core file would hold keys. A limit of zero stops files, and not what the kernel pipes to a program; the mark of the
/// process stops both, and debuggers of other users.
fn leave_no_core() {
    let mut core = getrlimit(Resource::Core);
    core.current = Some(0);
    core.maximum = Some(0);
    let limited = setrlimit(Resource::Core, core);
    if let Err(error) = limited.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
        tracing::warn!(%error, "a crash may leave a core file with keys in it");
    }
}

/// Takes as many descriptors as it may. The usual 1024 are as many as strangers may hold who have not said who they are.
fn take_descriptors() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, files) {
        tracing::warn!(%error, "no more descriptors than before");
    }
}

/// After a restore the authority waits for an administrator, who decides by what it is opened.
async fn wait_until_open(
    options: &Options,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<Ended, Failure> {
    if Restoration::in_data(&options.data)?.is_none() {
        return Ok(Ended::Opened);
    }
    let ready = |restored: &Restoration| {
        let (name, backup_at) = (&restored.authority, restored.backup_at);
        tracing::warn!(%name, %backup_at, "restored and closed: kosctl backup restore");
        drop(sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("restored and closed")]));
    };
    Ok(kos_authority::restore::wait(options, stop, ready).await?)
}

/// Prints to stdout. A reader that went away is no failure of ours.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(code::config::FILE_UNWRITABLE, format!("stdout: {}", reason(&error))))
        }
        _ => Ok(()),
    }
}

/// Ready at the first SIGINT or SIGTERM.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(code::config::INTERNAL, error.to_string()));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
