//! Who used the processors during a measurement: the server, the load generator, or somebody else.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{process, statistics::median};

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
    /// Processor time of the server.
    pub(crate) server_time: Duration,
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
        let [server_time, own, busy] = [0, 1, 2].map(|at| {
            after.get(at).zip(self.before.get(at)).map_or(Duration::ZERO, |(a, b)| a.saturating_sub(*b))
        });
        let share = |time: Duration| time.as_secs_f64() / whole;
        let (server, own) = (share(server_time), share(own));
        Ok(Usage { wall, server_time, server, own, others: (share(busy) - server - own).max(0.0) })
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

/// Processor time of the server for each of `count` operations, in microseconds: unlike the rate, hardly moved by what
/// else the machine does.
pub(crate) fn each_us(usage: &Usage, count: u32) -> f64 {
    usage.server_time.as_secs_f64() * 1e6 / f64::from(count.max(1))
}
