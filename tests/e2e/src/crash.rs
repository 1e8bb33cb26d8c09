//! The crash loop: kill -9 of the real programs under load, and the question whether anything acknowledged is gone.
//!
//! A run lets one client of each `Load` ask for changes, remembers what was acknowledged, kills one program at a random
//! moment (the authority, a daemon at rest, or an enrolment under way), starts it again and asks for everything that was
//! ever acknowledged. The moment comes from a seed, so a run can be repeated; what the machine does meanwhile cannot.

mod known;
mod load;
pub mod vault;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use self::{
    known::Known,
    load::{Load, Yard},
};
use crate::{
    fleet::{self, Authority, Device},
    held::Held,
    wait,
};

/// Longest time between start of the load and the kill.
const LOAD_MS_MAX: u64 = 900;
/// Longest time between start of an enrolment and its kill: it takes about as long.
const ENROLMENT_MS_MAX: u64 = 150;

/// What a crash loop has found.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Always `crash`.
    pub kind: &'static str,
    /// Kills.
    pub runs: u32,
    /// Changes whose answer said that they were made.
    pub acknowledged: usize,
    /// Kinds of load of which nothing was acknowledged.
    pub idle: usize,
    /// Enrolments that were killed on their way and came to their end by being repeated.
    pub repeated: usize,
    /// Of what was acknowledged, how much was gone.
    pub lost: usize,
    /// How often the log's files were verified offline as a kill left them, against a checkpoint held from before.
    pub verified: u32,
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Authority,
    Daemon,
    Enrolment,
}

impl Victim {
    /// Three of five times the authority.
    const fn of(run: u32) -> Self {
        match run % 5 {
            3 => Self::Daemon,
            4 => Self::Enrolment,
            _ => Self::Authority,
        }
    }
}

/// Kills `runs` times.
///
/// # Errors
/// When a program does not come up again or the log does not verify. What is lost is in the report.
pub fn run(runs: u32) -> Result<Report> {
    // Often enough that a device notices within seconds that its authority was killed.
    let mut authority = Authority::start_with("heartbeat_seconds: 5\n")?;
    let (mut device, id) = fleet::device_in_service(&authority, "crash-0")?;
    let (mut held, held_id) = fleet::device_in_service(&authority, "crash-1")?;
    let yard = Arc::new(Yard::new(authority.socket(), id.clone(), held_id));
    let mut report = Report { kind: "crash", ..Report::default() };
    let checkpoint = Held::of(&authority)?;
    for run in 0..runs {
        report.verified += load_and_kill(&mut authority, &mut device, &yard, (run, &checkpoint))?;
        report.runs += 1;
        report.lost = lock(&yard.known).missing(&authority)?;
        let verdict = authority.json(&["audit", "verify"])?;
        ensure!(verdict.pointer("/item/ok") == Some(&Value::Bool(true)), "run {run}: the log: {verdict}");
        checkpoint.renew(&authority)?;
        progress(run, report.lost);
        if report.lost > 0 {
            break;
        }
    }
    let known = lock(&yard.known);
    report.acknowledged = known.acknowledged();
    report.idle = Load::ALL.iter().filter(|load| known.acknowledged_of(**load) == 0).count();
    report.repeated = known.repeated;
    drop(known);
    authority.device_becomes(&id, "online", |online| online == &Value::Bool(true))?;
    device.stop()?;
    held.stop()?;
    authority.stop()?;
    Ok(report)
}

/// One run; how often the log was verified as it was left.
fn load_and_kill(
    authority: &mut Authority,
    device: &mut Device,
    yard: &Arc<Yard>,
    (run, held): (u32, &Held),
) -> Result<u32> {
    let over = Arc::new(AtomicBool::new(false));
    let clients = Load::ALL.map(|load| {
        let (over, yard) = (Arc::clone(&over), Arc::clone(yard));
        thread::spawn(move || {
            for step in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                load.step(&yard, &format!("run-{run}-{step}"))?;
            }
            Ok(())
        })
    });
    wait::pass(Duration::from_millis(moment(run, LOAD_MS_MAX)));
    match Victim::of(run) {
        Victim::Authority => authority.kill()?,
        Victim::Daemon => device.kill()?,
        Victim::Enrolment => yard.cut_enrolment(Duration::from_millis(moment(run, ENROLMENT_MS_MAX)))?,
    }
    over.store(true, Ordering::Relaxed);
    let mut verified = 0;
    match Victim::of(run) {
        Victim::Authority => {
            let verdict = held.judge(authority.data())?;
            let (ok, worth) = (verdict.pointer("/item/ok"), verdict.pointer("/item/assurance"));
            ensure!(
                ok == Some(&Value::Bool(true)) && worth.and_then(Value::as_str) == Some("held-checkpoint"),
                "run {run}: the log as the kill left it: {verdict}"
            );
            verified = 1;
            authority.serve()?;
        }
        Victim::Daemon => device.run()?,
        // Its client repeats it.
        Victim::Enrolment => {}
    }
    // A device that was enrolling when the authority died goes on once it is back.
    for client in clients {
        let ended: Result<()> = client.join().ok().context("a client of the load failed")?;
        ended?;
    }
    Ok(verified)
}

/// When the kill comes, spread over the time by a fixed sequence.
fn moment(run: u32, ms_max: u64) -> u64 {
    u64::from(run).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) % ms_max
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[expect(clippy::print_stderr, reason = "a long loop tells how far it is")]
fn progress(run: u32, lost: usize) {
    eprintln!("run {run}, {:?} killed: {lost} lost", Victim::of(run));
}
