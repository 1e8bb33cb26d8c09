//! `kos-e2e crash`: the loop of kills. `cargo xtask` builds the programs and calls it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use kos_e2e::crash;

/// Kills after which every client must have got something done.
const LONG: u32 = 10;

#[derive(Parser)]
enum Arguments {
    /// Kill the real programs under load and count what is lost
    Crash {
        /// How many kills
        #[arg(long)]
        runs: u32,
    },
}

#[expect(clippy::print_stdout, reason = "the last line is the result")]
fn main() -> Result<ExitCode> {
    match Arguments::parse() {
        Arguments::Crash { runs } => {
            let report = crash::run(runs)?;
            println!("{}", serde_json::to_string(&report)?);
            // Short loops may end before each client has got something done.
            let loaded = report.acknowledged > 0 && (runs < LONG || report.idle == 0);
            let fine = report.lost == 0 && loaded;
            Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(10) })
        }
    }
}
