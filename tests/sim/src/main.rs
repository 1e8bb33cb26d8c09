//! `kos-sim`: lives simulated fleets and says whether a law was broken.
//!
//! Exit codes: 0 as expected; 10 when a law was broken, or a planted bug was not found; 1 when the model failed. The last
//! line on stdout is JSON; what a person reads is on stderr.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that people and xtask read")]

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Parser;
use kos_sim::{
    campaign::{self, Findings, Seeds},
    laws::Breach,
    plant::Plant,
    world::{Tracing, World},
};
use serde_json::json;

/// A law was broken, or a planted bug was not found.
const FOUND: u8 = 10;
/// Lines of a world's story that are shown.
const LINES_MAX: usize = 60;

/// Lives simulated fleets.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Put this bug in, or `all` in turn, and succeed only if it is found.
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
    /// Tell the whole story of the first seed.
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let seeds = Seeds { first: arguments.first, count: arguments.seeds };
    let plants = match arguments.plant.as_deref() {
        None => Vec::new(),
        Some("all") => Plant::ALL.to_vec(),
        Some(name) => vec![name.parse()?],
    };
    if arguments.verbose {
        tell(seeds.first, plants.first().copied(), usize::MAX)?;
    }
    if plants.is_empty() { without_bugs(seeds) } else { with_bugs(seeds, &plants) }
}

fn without_bugs(seeds: Seeds) -> Result<ExitCode> {
    let begin = Instant::now();
    let findings = campaign::run(seeds, None)?;
    let Findings { worlds, steps, certificates, first_breach } = &findings;
    if let Some((seed, breach)) = first_breach {
        tell(*seed, None, LINES_MAX)?;
        eprintln!("seed {seed} breaks the law `{}`: {}", breach.law, breach.detail);
        eprintln!("again with the whole story: kos-sim --first {seed} --seeds 1 -v");
    }
    let seed = first_breach.as_ref().map(|(seed, _)| *seed);
    let law = first_breach.as_ref().map(|(_, breach)| breach.law);
    let ok = first_breach.is_none();
    let line = json!({
        "kind": "sim", "seeds": seeds.count, "first": seeds.first, "ok": ok, "worlds": worlds, "steps": steps,
        "certificates": certificates, "seconds": begin.elapsed().as_secs_f64(), "firstFailingSeed": seed, "law": law,
    });
    println!("{line}");
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

fn with_bugs(seeds: Seeds, plants: &[Plant]) -> Result<ExitCode> {
    let begin = Instant::now();
    let mut found = Vec::new();
    for plant in plants {
        let findings = campaign::run(seeds, Some(*plant))?;
        match &findings.first_breach {
            Some((seed, Breach { law, .. })) => eprintln!("{plant}: found by seed {seed}, law `{law}`"),
            None => eprintln!("{plant}: not found by {} seeds", findings.worlds),
        }
        let seed = findings.first_breach.as_ref().map(|(seed, _)| *seed);
        let law = findings.first_breach.as_ref().map(|(_, breach)| breach.law);
        found.push(json!({"plant": plant.as_str(), "firstFailingSeed": seed, "law": law}));
    }
    let ok = found.iter().all(|plant| plant.get("firstFailingSeed").is_some_and(|seed| !seed.is_null()));
    let line = json!({
        "kind": "sim", "seeds": seeds.count, "first": seeds.first, "ok": ok, "plants": found,
        "seconds": begin.elapsed().as_secs_f64(),
    });
    println!("{line}");
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// Lives a seed again, and tells the end of its story.
fn tell(seed: u64, plant: Option<Plant>, lines_max: usize) -> Result<()> {
    let outcome = World::live(seed, plant, Tracing::On)?;
    let from = outcome.trace.len().saturating_sub(lines_max);
    outcome.trace.iter().skip(from).for_each(|line| eprintln!("{line}"));
    Ok(())
}
