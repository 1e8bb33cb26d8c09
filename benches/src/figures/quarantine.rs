//! How long a device that is ordered into quarantine is still listened to: it reports as fast as it can, until nothing is
//! acknowledged any more.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kos_net::{
    carrier::{Carrier, Connector},
    dialler::Dialler,
};
use tokio::time::timeout;

use super::Ground;
use crate::{
    figure::{Measured, QUARANTINE_CUT_MS},
    fleet::dial_all,
    statistics::{largest, median, ms},
};

/// Links of other devices that are open meanwhile.
const OTHERS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let runs: u32 = ground.scale.pick(10, 100);
    let fleet = ground.fleet().await?;
    let members = fleet.members(OTHERS + runs).await?;
    let connector = Connector::new(Dialler::unrestricted());
    let (others, victims) = members.split_at(members.len().min(usize::try_from(OTHERS)?));
    let open = dial_all(others, Carrier::Tls).await?;
    let mut took = Vec::new();
    for (victim, carrier) in victims.iter().zip([Carrier::Tls, Carrier::Quic].into_iter().cycle()) {
        let mut link = victim.dial(&connector, carrier).await?;
        link.beat(1).await?;
        let begun = Instant::now();
        let reports = async {
            let mut last = Duration::ZERO;
            let cut = async {
                while link.beat(1).await.is_ok() {
                    last = begun.elapsed();
                }
            };
            timeout(PATIENCE, cut).await.with_context(|| format!("the link over {carrier} was not cut"))?;
            anyhow::Ok(last)
        };
        let (ordered, last) = tokio::join!(fleet.authority.quarantine(&victim.device), reports);
        ordered?;
        took.push(ms(last?));
    }
    drop(open);
    fleet.forget(others.len(), victims.len());
    let note =
        format!("median {:.1} ms; {OTHERS} other links open; half of the runs over QUIC", median(&took));
    let measured =
        Measured::new(&QUARANTINE_CUT_MS, largest(&took), took.len(), "the durable record of the change");
    Ok(vec![measured.beside(Err("no peer orders devices out".to_owned())).note(note)])
}
