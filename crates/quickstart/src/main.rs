//! `quickstart`: an authority and a device on this machine, in one process, with real sockets between them.
//!
//! The device takes the same way as any other: a ticket is made through the API, and it enrols over TLS.

mod device;
mod fault;
mod ready;
mod run;

use std::{alloc::System, path::PathBuf, process::ExitCode, sync::LazyLock};

use clap::Parser;
use kosctl::approved;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is given back, as the authority's own program does (decision 0016).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// What `--version` says: in the build with the FIPS module, that as well.
static VERSION: LazyLock<String> = LazyLock::new(|| approved::version(env!("CARGO_PKG_VERSION")));

/// An authority and a device on this machine, for a first look
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str())]
struct Arguments {
    /// Where everything is kept
    #[arg(long, env = "KOS_DATA_DIR", value_name = "DIR", default_value = "./kos-data")]
    data: PathBuf,
    /// The first of four ports; 0 for any that are free. Without it that of authority.yaml, or 8640
    #[arg(long, env = "KOS_PORT_BASE", value_name = "N")]
    port_base: Option<u16>,
}

#[expect(clippy::print_stderr, reason = "the one place where this program says why it failed")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = std::env::var("KOS_LOG").unwrap_or_default();
    let targets = wanted.parse::<Targets>().unwrap_or_else(|_| Targets::new());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(targets).with(lines).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match (approved::module(), runtime) {
        (Ok(_), Ok(runtime)) => runtime.block_on(run::run(&arguments.data, arguments.port_base)),
        (Err(missing), _) => Err(missing.into()),
        (_, Err(error)) => Err(fault::Fault::Runtime(error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let (code, fix) = fault.code();
            eprintln!("error[{code}]: {fault}\n  fix      {fix}");
            ExitCode::from(fault.exit())
        }
    }
}
