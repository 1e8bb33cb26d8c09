//! Many worlds: one seed after the other, on all processors, and what came of it.

use std::{
    num::NonZero,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use anyhow::{Result, anyhow};

use crate::{
    device_log, kill,
    laws::Breach,
    own_key,
    plant::Plant,
    quarantine, second, witness,
    world::{Outcome, Tracing, World},
};

/// Seeds that are lived.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What many worlds together showed.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Worlds that were lived.
    pub worlds: u64,
    /// Steps of all of them.
    pub steps: u64,
    /// Certificates that were issued in all of them.
    pub certificates: u64,
    /// The lowest seed in whose world a law was broken.
    pub first_breach: Option<(u64, Breach)>,
}

/// Lives the worlds of these seeds, until a law is broken.
///
/// # Errors
/// When the model fails.
pub fn run(seeds: Seeds, plant: Option<Plant>) -> Result<Findings> {
    let next = AtomicU64::new(0);
    let breached = AtomicU64::new(u64::MAX);
    let live = || -> Result<Findings> {
        let mut findings = Findings::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            // Every seed below the lowest one that broke a law is lived, so that the answer does not depend on chance.
            if at >= seeds.count || at > breached.load(Ordering::Relaxed) {
                return Ok(findings);
            }
            let seed = seeds.first.saturating_add(at);
            let outcome = live_one(seed, plant)?;
            if outcome.breach.is_some() {
                breached.fetch_min(at, Ordering::Relaxed);
            }
            findings.add(seed, outcome);
        }
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(live)).collect();
        let mut all = Findings::default();
        for worker in running {
            all.join(worker.join().map_err(|_| anyhow!("a worker stopped"))??);
        }
        Ok(all)
    })
}

/// The fleet of this seed, its kill switch, its witnesses, and the log of a device.
fn live_one(seed: u64, plant: Option<Plant>) -> Result<Outcome> {
    let alone = match plant {
        Some(plant) if plant.is_of_the_kill_switch() => kill::live,
        Some(plant) if plant.is_of_a_witness() => witness::live,
        Some(plant) if plant.is_of_device_logs() => device_log::live,
        Some(plant) if plant.is_of_quarantine() => quarantine::live,
        Some(plant) if plant.is_of_own_keys() => own_key::live,
        Some(plant) if plant.is_of_second_verdicts() => second::live,
        _ => {
            let outcome = World::live(seed, plant, Tracing::Off)?;
            return if plant.is_none() { beside(seed, outcome) } else { Ok(outcome) };
        }
    };
    Ok(Outcome { breach: alone(seed, plant)?, ..Outcome::default() })
}

/// What lives beside a fleet: a bug of the fleet touches none of it.
fn beside(seed: u64, mut outcome: Outcome) -> Result<Outcome> {
    for live in [kill::live, witness::live, device_log::live, quarantine::live, own_key::live, second::live] {
        if outcome.breach.is_none() {
            outcome.breach = live(seed, None)?;
        }
    }
    Ok(outcome)
}

impl Findings {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        let first_breach = outcome.breach.map(|breach| (seed, breach));
        let Outcome { steps, certificates, .. } = outcome;
        self.join(Self { worlds: 1, steps, certificates, first_breach });
    }

    fn join(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.steps += other.steps;
        self.certificates += other.certificates;
        let both = self.first_breach.take().into_iter().chain(other.first_breach);
        self.first_breach = both.min_by_key(|(seed, _)| *seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_world_twice() {
        for seed in 1..6 {
            let lives = [(); 2].map(|()| World::live(seed, None, Tracing::On).unwrap());
            let [first, second] = &lives;
            assert_eq!((first.steps, first.certificates), (second.steps, second.certificates), "{seed}");
            assert_eq!(first.trace, second.trace, "{seed}");
            assert!(first.steps > 100, "{seed}");
        }
    }

    #[test]
    fn worlds_without_planted_bugs_break_no_law() {
        let findings = run(Seeds { first: 1_000_000, count: 20 }, None).unwrap();
        assert_eq!(findings.first_breach, None);
        assert_eq!(findings.worlds, 20);
    }

    #[test]
    fn no_power_cut_keeps_a_kill_switch_from_its_order_or_its_end() {
        for seed in 1..20_000 {
            assert_eq!(kill::live(seed, None).unwrap(), None, "{seed}");
        }
    }

    #[test]
    fn no_power_cut_has_a_witness_sign_two_trees() {
        for seed in 1..2_000 {
            assert_eq!(witness::live(seed, None).unwrap(), None, "{seed}");
        }
    }

    #[test]
    fn no_power_cut_at_either_end_loses_what_a_device_s_log_has_told_or_its_authority_acknowledged() {
        for seed in 1..120 {
            assert_eq!(device_log::live(seed, None).unwrap(), None, "{seed}");
        }
    }

    #[test]
    fn no_power_cut_at_either_end_leaves_a_device_without_a_key_that_counts() {
        for seed in 1..5_000 {
            assert_eq!(own_key::live(seed, None).unwrap(), None, "{seed}");
        }
    }

    #[test]
    fn nobody_leaves_quarantine_without_the_people_that_it_takes_or_obeys_an_order_twice() {
        for seed in 1..5_000 {
            assert_eq!(quarantine::live(seed, None).unwrap(), None, "{seed}");
        }
    }

    #[test]
    fn nothing_but_a_fresh_yes_of_a_node_that_counts_opens_sec_4() {
        for seed in 1..2_000 {
            assert_eq!(second::live(seed, None).unwrap(), None, "{seed}");
        }
    }

    #[test]
    fn every_planted_bug_breaks_a_law() {
        for plant in Plant::ALL {
            let findings = run(Seeds { first: 1, count: 300 }, Some(*plant)).unwrap();
            assert!(findings.first_breach.is_some(), "{plant}");
            assert_eq!(plant.as_str().parse(), Ok(*plant));
        }
    }
}
