//! The command line of kosd: words, terminal, signals and exit codes. Everything else is the library's.
//!
//! Results go to stdout, talk and errors to stderr. Exit codes are those of [`kos_base::code::Exit`]; 0 also after SIGINT
//! or SIGTERM.

mod decommission;
mod enroll;
mod factory;
mod log;
mod pair;
mod show;
mod terminal;
mod watch;

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::LazyLock,
    time::Duration,
};

use clap::{Parser, Subcommand};
use kos_base::{Code, KeyId, SecurityProfile, approved, code, text::reason};
use kosd::{
    chain,
    life::{Device, LifeError, Options},
    socket::AskError,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// How long threads that are still at work are waited for at the end. Stops hardware that hangs from keeping the program.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// What `--version` says: in the build with the FIPS module, that as well.
static VERSION: LazyLock<String> = LazyLock::new(|| approved::version(env!("CARGO_PKG_VERSION")));

/// The kOS device daemon.
#[derive(Debug, Parser)]
#[command(name = "kosd", version = VERSION.as_str(), disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Folder below which the device's files are.
    #[arg(long, global = true, env = "KOS_ROOT", default_value = "/", value_name = "DIR")]
    root: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrols this device. The ticket comes from a file, standard input, a prompt, or the credential `kos.ticket` of a
    /// systemd service; never from an argument.
    Enroll {
        /// File that holds the ticket.
        #[arg(long, value_name = "FILE")]
        ticket_file: Option<PathBuf>,
    },
    /// Runs the device until SIGINT or SIGTERM.
    Run,
    /// Shows how the running device is.
    Status,
    /// Prints the device id.
    Id,
    /// Prints the public half of the identity key, and makes it if there is none. For its maker, or a device that vouches.
    Factory,
    /// Vouches for a new device, by a grant of the authority. This device has to run.
    Vouch {
        /// The signed grant, as `kosctl voucher node add` wrote it.
        #[arg(long, value_name = "FILE")]
        grant: PathBuf,
        /// Identity key of the new device: the first line that `kosd factory` prints there.
        #[arg(long, value_name = "KEYID")]
        key: KeyId,
        /// The highest security profile that it may be given.
        #[arg(long)]
        profile: SecurityProfile,
        /// For how many hours the word counts, up to 168.
        #[arg(long, value_name = "N", default_value_t = 24)]
        hours: u64,
        /// Where the word is written, for the new device.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Shows with whom this device is paired, or might be; with a name, confirms that it is.
    Pair {
        /// `user:NAME`, `kai:ID`, or the id of the pairing.
        with: Option<String>,
    },
    /// Ends a pairing of this device, at once, also when its authority cannot be reached.
    Unpair {
        /// `user:NAME`, `kai:ID`, or the id of the pairing.
        with: String,
    },
    /// Ends this device for good: destroys its keys, credentials and state.
    Decommission {
        /// Name or id of this device, as confirmation.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
    /// Prints a page of the reference.
    #[command(hide = true)]
    Reference {
        #[command(subcommand)]
        page: Page,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Page {
    /// The keys of config.yaml.
    Config,
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
        if !self.detail.is_empty() && self.detail != self.code.title() {
            let _ = writeln!(stderr, "  what     {}", self.detail);
        }
        let _ = writeln!(stderr, "  fix      {}", self.code.fix());
        ExitCode::from(self.code.exit().code())
    }
}

impl From<LifeError> for Failure {
    fn from(error: LifeError) -> Self {
        Self::new(error.code(), chain(&error))
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::new(error.code(), chain(&error))
    }
}

pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    log::start();
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
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(code::config::INTERNAL, error.to_string()))?;
    let done = runtime.block_on(perform(arguments));
    runtime.shutdown_timeout(END_TIME_MAX);
    done
}

async fn perform(Arguments { command, root }: Arguments) -> Result<(), Failure> {
    match command {
        Command::Enroll { ticket_file } => enroll::enroll(&root, ticket_file.as_deref()).await,
        Command::Run => {
            // Heard from here on, so that a signal during the boot ends in order as well.
            let stop = stop_signal()?;
            if let kosd::kill::Found::Finished(report) =
                kosd::kill::resume(&root, options().credentials).map_err(LifeError::from)?
            {
                say(&format!("the kill switch has gone on to its end; complete: {}", report.complete));
                return Ok(());
            }
            let (device, news) = Device::boot(&root, options())?;
            watch::run(device, news, stop).await
        }
        Command::Status => show::status(&root).await,
        Command::Id => show::id(&root),
        Command::Factory => factory::factory(&root),
        Command::Vouch { grant, key, profile, hours, out } => {
            let word = factory::Word { grant: &grant, key, profile, hours, out: &out };
            factory::vouch(&root, word).await
        }
        Command::Pair { with } => pair::pair(&root, with).await,
        Command::Unpair { with } => pair::unpair(&root, with).await,
        Command::Decommission { confirm } => decommission::decommission(&root, confirm).await,
        Command::Reference { page: Page::Config } => print(&kosd::config::reference_page()),
    }
}

/// What every start of a device has in common.
fn options() -> Options {
    Options { credentials: credentials(), ..Options::default() }
}

/// The folder of the credentials that systemd gave to this service. A path, not a secret.
fn credentials() -> Option<PathBuf> {
    env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
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

/// Prints a line to stderr.
fn say(text: &str) {
    // A closed stderr changes nothing.
    let _ = writeln!(io::stderr().lock(), "{text}");
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
