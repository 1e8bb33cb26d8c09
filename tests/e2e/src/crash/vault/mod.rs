//! The crash loop of vaults: kill -9 of the real authority while several clients use its vaults.
//!
//! A run lets clients put, get, remove and, now and then, rotate, and kills the authority at a random moment, sometimes after
//! the disk failed, sometimes again while it starts. Then the vault is opened, and everything is compared: what was
//! acknowledged, what the log tells, what the vault holds (`ledger`). Two lanes run beside each other, each with an
//! authority of its own.
//!
//! That it would notice is shown by what [`Plant`] names.

mod fault;
mod lane;
mod ledger;
mod load;

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, Result};

use self::lane::Lane;

/// Loops beside each other.
const LANES: u32 = 2;
/// How often it is told how far the loop is.
const TOLD_EVERY: u32 = 100;

/// What a crash loop of vaults has found.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Always `crash`.
    pub kind: &'static str,
    /// Always `vault`.
    pub target: &'static str,
    /// Kills under load.
    pub runs: u32,
    /// Changes whose answer said that they were made.
    pub acknowledged: usize,
    /// Changes that were there although the kill came before their answer.
    pub unheard: usize,
    /// How often the file was one ahead of its anchor, and was taken.
    pub repaired: usize,
    /// Runs in which the disk was to fail before the kill.
    pub faults: u32,
    /// Requests that failed for that reason.
    pub failed: usize,
    /// Kills of an authority that had just been started again.
    pub twice: u32,
    /// What was lost: an acknowledged change, an entry without its change, a change without its entry.
    pub lost: usize,
}

/// A bug that is put in, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Answers come before anything is durable: after the kill the data is as it was when the run began.
    Forgotten,
    /// The anchor moves on, and the file never got into its place.
    Unwritten,
    /// The file moves on, and the store with anchor and log is as it was when the run began.
    Unrecorded,
    /// Half of the file is there.
    Half,
}

/// Kills `runs` times.
///
/// # Errors
/// When an authority does not come up again, or its log does not verify. What is lost is in the report.
pub fn run(runs: u32, plant: Option<Plant>) -> Result<Report> {
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let lanes = thread::scope(|scope| {
        let lane = |number| {
            let (next, over) = (&next, &over);
            scope.spawn(move || {
                let done = drive(number, runs, plant, next, over);
                over.store(over.load(Ordering::Relaxed) || done.is_err(), Ordering::Relaxed);
                done
            })
        };
        let lanes: Vec<_> = (0..LANES.min(runs)).map(lane).collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().ok().context("a lane failed")?)
            .collect::<Result<Vec<Report>>>()
    })?;
    Ok(lanes.iter().fold(Report { kind: "crash", target: "vault", ..Report::default() }, |sum, lane| {
        Report {
            runs: sum.runs + lane.runs,
            acknowledged: sum.acknowledged + lane.acknowledged,
            unheard: sum.unheard + lane.unheard,
            repaired: sum.repaired + lane.repaired,
            faults: sum.faults + lane.faults,
            failed: sum.failed + lane.failed,
            twice: sum.twice + lane.twice,
            lost: sum.lost + lane.lost,
            ..sum
        }
    }))
}

fn drive(
    number: u32,
    runs: u32,
    plant: Option<Plant>,
    next: &AtomicU32,
    over: &AtomicBool,
) -> Result<Report> {
    let mut lane = Lane::start(plant)?;
    loop {
        let run = next.fetch_add(1, Ordering::Relaxed);
        if run >= runs || over.load(Ordering::Relaxed) {
            break;
        }
        lane.run(run).with_context(|| format!("lane {number}, run {run}"))?;
        if lane.report.lost > 0 {
            over.store(true, Ordering::Relaxed);
            break;
        }
        if run % TOLD_EVERY == TOLD_EVERY - 1 {
            progress(run + 1, &lane.report);
        }
    }
    lane.end()
}

#[expect(clippy::print_stderr, reason = "a long loop tells how far it is")]
fn progress(run: u32, report: &Report) {
    eprintln!("run {run}: {} acknowledged in this lane, {} lost", report.acknowledged, report.lost);
}
