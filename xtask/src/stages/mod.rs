//! `cargo xtask test`: the stages, in order, and their report.
//!
//! Everything that a stage says goes to stderr. stdout gets one JSON line for each stage at the end, then one plain
//! line with the totals. A later stage runs although an earlier one failed, so that one run shows everything. A stage
//! that skipped something, or that ran nothing at all, has not shown what it is there to show and counts as failed.
//!
//! No test runs in two stages: `unit` takes the libraries and programs, `vectors` the folders `tests/` of the crates,
//! `sim` and `e2e` their own packages, `doc` the examples in comments.

pub(crate) mod requirements;
mod tally;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use self::tally::Tally;
use crate::programs::{self, Build, Crash, Sim};
use crate::workspace::Workspace;
use crate::{children, tidy, tools};

/// Seeds that the suite simulates, with and without planted bugs. The issues ask for more through `cargo xtask sim`.
const SEEDS: u64 = 500;

/// Kills that the suite does. The issues ask for more through `cargo xtask crash`.
const KILLS: u32 = 10;

/// The same while vaults are used, and bugs that are put in there, one of which each loop has to find.
const VAULT_KILLS: u32 = 30;
const VAULT_PLANTS: [&str; 4] = ["forgotten", "unwritten", "unrecorded", "half"];

/// What is not in the stages `unit` and `vectors`, since it has its own.
const APART: [&str; 4] = ["--exclude", "kos-e2e", "--exclude", "kos-sim"];

/// A part of the suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Stage {
    /// Debian packages, Python packages and cargo tools that the other stages use
    Deps,
    /// Formatting
    Fmt,
    /// Lints, warnings being errors
    Clippy,
    /// The habits of the repository, then licences, bans, sources and advisories of what it depends on
    Tidy,
    /// Tests inside the libraries and programs
    Unit,
    /// Tests of the crates' outside: golden vectors and malice
    Vectors,
    /// The simulator's own tests, then simulated fleets without and with planted bugs
    Sim,
    /// The real programs from outside, then kills under load
    E2e,
    /// The pages of rustdoc, warnings being errors, and their examples
    Doc,
}

/// The line that a stage leaves on stdout.
#[derive(Serialize)]
struct Report {
    kind: &'static str,
    name: String,
    ok: bool,
    seconds: f64,
    tests: u64,
    skipped: u64,
}

/// Runs `named` stages in their fixed order, or all, and returns the exit code.
pub(crate) fn run(named: &[Stage], workspace: &Workspace) -> Result<u8> {
    let chosen = Stage::value_variants().iter().filter(|stage| named.is_empty() || named.contains(stage));
    let mut reports = Vec::new();
    let mut total = Tally::default();
    for stage in chosen {
        let (report, tally) = stage.report(workspace);
        reports.push(report);
        total += tally;
    }

    // What was skipped counts as failed here, so that this line and the exit code say the same.
    println!("{} passed, {} failed", total.passed, total.failed + total.skipped);
    for report in &reports {
        println!("{}", serde_json::to_string(report)?);
    }
    Ok(if reports.iter().all(|report| report.ok) { 0 } else { 1 })
}

impl Stage {
    fn report(self, workspace: &Workspace) -> (Report, Tally) {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        eprintln!("\n==== {name}");
        let start = Instant::now();
        let mut tally = Tally::default();
        if let Err(error) = self.run(workspace, &mut tally).and_then(|()| tally.demand_something()) {
            eprintln!("error: {error:#}");
            tally.blame();
        }

        let ok = tally.failed == 0 && tally.skipped == 0;
        let seconds = (start.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        let skipped = tally.skipped;
        eprintln!("==== {name}: {} in {seconds} s", if ok { "ok" } else { "FAILED" });
        (Report { kind: "stage", name, ok, seconds, tests: tally.passed + tally.failed, skipped }, tally)
    }

    fn run(self, workspace: &Workspace, tally: &mut Tally) -> Result<()> {
        match self {
            Self::Deps => requirements::install(workspace, tally),
            Self::Fmt => step(workspace, &["fmt", "--all", "--check"], tally),
            Self::Clippy => {
                step(workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], tally)
            }
            Self::Tidy => repository(workspace, tally),
            Self::Unit => {
                tests(workspace, &[&["--workspace", "--lib", "--bins"], APART.as_slice()].concat(), tally)
            }
            Self::Vectors => {
                tests(workspace, &[&["--workspace", "--test", "*"], APART.as_slice()].concat(), tally)
            }
            Self::Sim => simulated(workspace, tally),
            Self::E2e => from_outside(workspace, tally),
            Self::Doc => documented(workspace, tally),
        }
    }
}

/// A cargo call that passes or fails as a whole.
fn step(workspace: &Workspace, words: &[&str], tally: &mut Tally) -> Result<()> {
    tally.count(children::succeeds(&mut workspace.cargo(words))?);
    Ok(())
}

/// A `cargo test`, whose tests are counted one by one.
fn tests(workspace: &Workspace, words: &[&str], tally: &mut Tally) -> Result<()> {
    let mut cargo = workspace.cargo(["test", "--no-fail-fast"]);
    let mut counted = Tally::default();
    let all_passed = children::read_lines(cargo.args(words), |line| counted.read_result(line))?;
    let explained = counted.failed > 0;
    *tally += counted;
    if !all_passed && !explained {
        bail!("cargo test failed before or between the tests");
    }
    Ok(())
}

fn repository(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let repository = tidy::Repository::load(workspace)?;
    for rule in &tidy::RULES {
        let findings = rule.check(&repository);
        findings.iter().for_each(|finding| eprintln!("{finding}"));
        tally.count(findings.is_empty());
    }

    let deny = tools::DENY.install(workspace)?;
    let call = |words: &[&str]| {
        let mut call = std::process::Command::new(&deny);
        call.current_dir(&workspace.root).args(words);
        call
    };
    tally.count(children::succeeds(&mut call(&[
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?);
    if children::quietly_succeeds(&mut call(&["fetch", "db"])) {
        tally.count(children::succeeds(&mut call(&["check", "--disable-fetch", "advisories"]))?);
    } else {
        eprintln!("note: advisories were not checked: the RustSec database cannot be had from here");
    }
    Ok(())
}

fn simulated(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    tests(workspace, &["-p", "kos-sim", "--tests"], tally)?;
    for plant in [None, Some("all".to_owned())] {
        let sim = Sim { seeds: SEEDS, first: None, plant };
        tally.count(programs::sim(&sim, Build::Dev, workspace)? == 0);
    }
    Ok(())
}

fn from_outside(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    programs::build_programs(Build::Dev, workspace)?;
    tests(workspace, &["-p", "kos-e2e", "--tests"], tally)?;
    let crash = |runs, target: Option<&str>, plant: Option<&str>| {
        let (target, plant) = (target.map(str::to_owned), plant.map(str::to_owned));
        programs::crash(&Crash { runs, target, plant }, Build::Dev, workspace)
    };
    tally.count(crash(KILLS, None, None)? == 0);
    tally.count(crash(VAULT_KILLS, Some("vault"), None)? == 0);
    for plant in VAULT_PLANTS {
        tally.count(crash(VAULT_KILLS, Some("vault"), Some(plant))? == 0);
    }
    Ok(())
}

fn documented(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let mut doc = workspace.cargo(["doc", "--workspace", "--no-deps"]);
    tally.count(children::succeeds(doc.env("RUSTDOCFLAGS", "-D warnings"))?);
    tests(workspace, &["--workspace", "--doc"], tally)
}
