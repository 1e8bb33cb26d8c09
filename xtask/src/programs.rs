//! The doors to the simulator and to the black-box programs.
//!
//! `kos-sim`, `kos-e2e` and `kos-bench` own their arguments' meaning, their output and their exit codes; this module
//! builds what they need and hands the words through. The latter two find the programs under test in the folder that
//! they run from, so all are always built with the same profile; the figures of size and memory come from
//! `target/dist/kosd`.

use std::process::Command;

use clap::Args;

use anyhow::Result;

use crate::children;
use crate::workspace::Workspace;

/// Names a folder with other programs than those beside `kos-e2e`.
pub(crate) const ELSEWHERE: &str = "KOS_PROGRAMS";

/// Live many simulated fleets.
#[derive(Args)]
pub(crate) struct Sim {
    /// How many seeds
    #[arg(long)]
    pub(crate) seeds: u64,
    /// The first seed
    #[arg(long)]
    pub(crate) first: Option<u64>,
    /// Put a known bug in, and succeed only if it is found: a name, or `all`
    #[arg(long, value_name = "NAME")]
    pub(crate) plant: Option<String>,
}

/// Kill the real programs under load.
#[derive(Args)]
pub(crate) struct Crash {
    /// How many kills
    #[arg(long)]
    pub(crate) runs: u32,
    /// Put one thing alone under load: `vault`
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Put a known bug in, and succeed only if it is found; needs a target that has some
    #[arg(long, value_name = "NAME", requires = "target")]
    pub(crate) plant: Option<String>,
}

/// Measure.
#[derive(Args)]
pub(crate) struct Bench {
    /// All figures unless some are named
    names: Vec<String>,
    /// Only name the figures
    #[arg(long)]
    list: bool,
    /// Fewer and shorter runs
    #[arg(long)]
    quick: bool,
    /// Update the table in SPECIFICATION.md
    #[arg(long)]
    write: bool,
}

/// How the programs are built.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    /// As the tests build them, so that `cargo xtask test` compiles everything once.
    Dev,
    /// As people run them.
    Release,
}

impl Build {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
        }
    }
}

/// Runs the simulator and returns its exit code.
pub(crate) fn sim(sim: &Sim, build: Build, workspace: &Workspace) -> Result<u8> {
    let mut words = vec!["--seeds".to_owned(), sim.seeds.to_string()];
    if let Some(first) = sim.first {
        words.extend(["--first".to_owned(), first.to_string()]);
    }
    if let Some(plant) = &sim.plant {
        words.extend(["--plant".to_owned(), plant.clone()]);
    }
    run("kos-sim", build, &words, workspace)
}

/// Builds the programs, kills them under load and returns the exit code of the count.
pub(crate) fn crash(crash: &Crash, build: Build, workspace: &Workspace) -> Result<u8> {
    build_programs(build, workspace)?;
    let mut words = vec!["crash".to_owned(), "--runs".to_owned(), crash.runs.to_string()];
    for (option, given) in [("--target", &crash.target), ("--plant", &crash.plant)] {
        if let Some(given) = given {
            words.extend([option.to_owned(), given.clone()]);
        }
    }
    run("kos-e2e", build, &words, workspace)
}

/// Builds the programs, as they run and as they ship, and measures them.
pub(crate) fn bench(bench: &Bench, workspace: &Workspace) -> Result<u8> {
    build_programs(Build::Release, workspace)?;
    if !bench.list {
        children::must_succeed(&mut workspace.cargo(["build", "--profile", "dist", "-p", "kosd"]))?;
    }
    // Not by `cargo run`, which would build the one package with features of its own.
    let mut measure = Command::new(workspace.target.join("release/kos-bench"));
    measure.args(&bench.names);
    let flags = [(bench.list, "--list"), (bench.quick, "--quick"), (bench.write, "--write")];
    measure.args(flags.iter().filter(|(given, _)| *given).map(|(_, flag)| *flag));
    children::exit_code(&mut measure)
}

/// Builds every program of the workspace, the ones under test and the ones that test them.
pub(crate) fn build_programs(build: Build, workspace: &Workspace) -> Result<()> {
    children::must_succeed(workspace.cargo(["build", "--workspace", "--bins"]).args(build.flags()))
}

fn run(program: &str, build: Build, words: &[String], workspace: &Workspace) -> Result<u8> {
    let mut cargo = workspace.cargo(["run", "--quiet", "-p", program, "--bin", program]);
    children::exit_code(cargo.args(build.flags()).arg("--").args(words))
}
