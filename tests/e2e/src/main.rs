//! `kos-e2e crash`: the loop of kills. `cargo xtask` builds the programs and calls it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use kos_e2e::crash::{self, vault::Plant};

/// Kills after which every client must have got something done.
const LONG: u32 = 10;

#[derive(Parser)]
enum Arguments {
    /// Kill the real programs under load and count what is lost
    Crash {
        /// How many kills
        #[arg(long)]
        runs: u32,
        /// What is put under load; every program when not given
        #[arg(long)]
        target: Option<Target>,
        /// Put a known bug in, and succeed only if it is found
        #[arg(long, requires = "target")]
        plant: Option<Plant>,
    },
}

/// What may be killed alone.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// Vaults of an authority
    Vault,
}

#[expect(clippy::print_stdout, reason = "the last line is the result")]
fn main() -> Result<ExitCode> {
    match Arguments::parse() {
        Arguments::Crash { runs, target: Some(Target::Vault), plant } => {
            let report = crash::vault::run(runs, plant)?;
            println!("{}", serde_json::to_string(&report)?);
            let fine =
                if plant.is_some() { report.lost > 0 } else { report.lost == 0 && report.acknowledged > 0 };
            Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(10) })
        }
        Arguments::Crash { runs, target: None, .. } => {
            let report = crash::run(runs)?;
            println!("{}", serde_json::to_string(&report)?);
            // Short loops may end before each client has got something done.
            let loaded = report.acknowledged > 0 && (runs < LONG || report.idle == 0);
            let fine = report.lost == 0 && loaded;
            Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(10) })
        }
    }
}
