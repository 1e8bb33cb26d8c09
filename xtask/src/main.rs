//! Everything that a person or CI types, as `cargo xtask COMMAND`.
//!
//! Two kinds of command live here: judges of the repository (`test`, `tidy`, `reference --check`) and doors to programs
//! that do the work themselves (`sim`, `crash`, `bench`, `fuzz`). Nothing here knows what a device or an authority is.
//! Exit codes: 0 yes, 10 a judge found something, 2 wrong use, 1 it could not be judged; a door hands through the code
//! of its program.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool talks to the terminal that started it"
)]

mod children;
mod conformance;
mod evidence;
mod fips;
mod fuzz;
mod programs;
mod reference;
mod sbom;
mod stages;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::programs::{Bench, Crash, Sim};
use crate::sbom::Sbom;
use crate::workspace::Workspace;

/// The exit code of a judge that found something.
const FOUND: u8 = 10;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Everything that a person or CI types.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the stages of the test suite, all of them unless some are named
    Test { stages: Vec<stages::Stage> },
    /// Check the habits of this repository that no compiler checks
    Tidy,
    /// Write the generated pages of docs/reference
    Reference {
        /// All pages unless some are named
        pages: Vec<String>,
        /// Compare instead of writing; exit 10 when a page is stale
        #[arg(long, conflicts_with = "pages")]
        check: bool,
    },
    /// Live many simulated fleets, each from its own seed
    Sim(Sim),
    /// Kill the real programs under load and count what was lost
    Crash(Crash),
    /// Fuzz with the nightly toolchain
    Fuzz {
        /// All targets unless some are named
        targets: Vec<String>,
        /// Seconds for each target
        #[arg(long)]
        seconds: u32,
    },
    /// Measure the figures of SPECIFICATION.md
    Bench(Bench),
    /// Judge cases of others, in a folder that an environment variable names
    Conformance { suite: conformance::Suite },
    /// Build the programs with the FIPS module into `target/fips`, and judge them (`docs/guide/fips.md`)
    Fips,
    /// List what each program is made of, as CycloneDX
    Sbom(Sbom),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let answer = Workspace::load(&workspace::root()).and_then(|workspace| run(command, &workspace));
    answer.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

fn run(command: Command, workspace: &Workspace) -> Result<u8> {
    match command {
        Command::Test { stages } => stages::run(&stages, workspace),
        Command::Tidy => tidy::run(workspace),
        Command::Reference { check: false, pages } => reference::write(&pages, workspace).map(|()| 0),
        Command::Reference { check: true, .. } => reference::check(workspace),
        Command::Sim(sim) => programs::sim(&sim, programs::Build::Release, workspace),
        Command::Crash(crash) => programs::crash(&crash, programs::Build::Release, workspace),
        Command::Bench(bench) => programs::bench(&bench, workspace),
        Command::Conformance { suite } => conformance::run(suite, workspace),
        Command::Fips => fips::run(workspace),
        Command::Sbom(sbom) => sbom::run(&sbom, workspace).map(|()| 0),
        Command::Fuzz { targets, seconds } => fuzz::run(&targets, seconds, workspace),
    }
}
