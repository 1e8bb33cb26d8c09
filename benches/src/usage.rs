//! Who used the processors during a measurement: the server, the load generator, or somebody else.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    process,
    statistics::{count, median},
};

/// Below this share of idle processors a run is bound by them.
const CPU_BOUND_IDLE: f64 = 0.15;

/// Measures from its making until [`Meter::stop`].
#[derive(Debug)]
pub(crate) struct Meter {
    server: u32,
    begun: Instant,
    before: [Duration; 3],
}

/// Shares of all processors, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    server: f64,
    own: f64,
    others: f64,
}

impl Meter {
    /// Begins, with the process id of the server.
    pub(crate) fn start(server: u32) -> Result<Self> {
        Ok(Self { server, begun: Instant::now(), before: used(server)? })
    }

    /// Ends.
    pub(crate) fn stop(self) -> Result<Usage> {
        let wall = self.begun.elapsed();
        let after = used(self.server)?;
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let whole = wall.as_secs_f64() * f64::from(u32::try_from(processors)?);
        let share = |index: usize| {
            let at = |times: &[Duration; 3]| times.get(index).copied().unwrap_or_default();
            at(&after).saturating_sub(at(&self.before)).as_secs_f64() / whole
        };
        let (server, own) = (share(0), share(1));
        Ok(Usage { wall, server, own, others: (share(2) - server - own).max(0.0) })
    }
}

fn used(server: u32) -> Result<[Duration; 3]> {
    let own = process::processor_time(std::process::id())?;
    Ok([process::processor_time(server)?, own, process::busy_time()?])
}

/// What bound several runs, in words: `CPU: 45 % server, 48 % load generator, 3 % other programs, 4 % idle`.
pub(crate) fn bound(runs: &[Usage], server: &str) -> String {
    let middle = |of: fn(&Usage) -> f64| median(&runs.iter().map(of).collect::<Vec<_>>());
    let (serving, own, others) = (middle(|u| u.server), middle(|u| u.own), middle(|u| u.others));
    let idle = (1.0 - serving - own - others).max(0.0);
    let word = if idle < CPU_BOUND_IDLE { "CPU" } else { "waiting" };
    let percent = |share: f64| (share * 100.0).round();
    format!(
        "{word}: {} % {server}, {} % load generator, {} % other programs, {} % idle",
        percent(serving),
        percent(own),
        percent(others),
        percent(idle)
    )
}

/// How many operations a second the server's processor time would allow if it had all processors for itself.
pub(crate) fn without_generator(rates: &[f64], runs: &[Usage]) -> f64 {
    let alone: Vec<f64> = rates.iter().zip(runs).map(|(rate, usage)| rate / usage.server.max(0.01)).collect();
    if count(&alone) > 0.0 { median(&alone) } else { 0.0 }
}
