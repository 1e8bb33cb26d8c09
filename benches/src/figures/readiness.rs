//! How fast an authority with many devices is ready again.

use std::time::Duration;

use anyhow::Result;

use super::Ground;
use crate::{
    figure::{AUTHORITY_READY_MS, Measured},
    statistics::{median, ms},
};

/// Devices that the promise speaks of.
const DEVICES: u32 = 100_000;

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, patience, least) =
        ground.scale.pick((3, Duration::from_secs(5), 2_000), (5, Duration::from_secs(600), 2_000));
    let fleet = ground.fleet().await?;
    fleet.grow(least, Duration::MAX).await?;
    fleet.grow(DEVICES, patience).await?;
    let mut took = Vec::new();
    for _ in 0..runs {
        took.push(ms(fleet.authority.restart().await?));
    }
    let measured = Measured::new(
        &AUTHORITY_READY_MS,
        median(&took),
        took.len(),
        "reading its store; files in the cache",
    );
    let measured = measured.beside(Err("no peer keeps such a registry".to_owned()));
    Ok(vec![measured.note(format!("{} devices, as many as enrolled in the time for it", fleet.size))])
}
