//! Full enrolments over the network, beside two CAs that only sign.

use anyhow::Result;

use super::Ground;
use crate::{
    figure::{ENROL_P99_MS, ENROL_PER_S, Measured},
    fleet::WORKERS,
    peers::{self, cfssl::Cfssl, openssl::OpensslCa},
    statistics::{median, percentile, rounded},
    talk, usage,
};

/// Enrolments before the first run: connections, caches and the tree are warm then.
const WARM_UP: u32 = 200;

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, count) = ground.scale.pick((3, 400), (5, 2_000));
    let mut openssl = OpensslCa::prepare(count);
    let mut cfssl = Cfssl::start(count).await;
    let fleet = ground.fleet().await?;
    fleet.enrol(WARM_UP).await?;
    let (mut rates, mut tails, mut costs, mut usages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        let done = fleet.enrol(count).await?;
        rates.push(done.rate());
        tails.push(percentile(&done.latencies_ms, 990));
        peers::again(&mut openssl, OpensslCa::sign).await;
        peers::again(&mut cfssl, Cfssl::sign).await;
        talk::say(&format!(
            "enrolment, run {run}: {:.0}/s, p99 {:.0} ms",
            done.rate(),
            percentile(&done.latencies_ms, 990)
        ));
        costs.push(usage::each_us(&done.usage, count));
        usages.push(done.usage);
    }
    let bound = usage::bound(&usages, "authority");
    let each_ms = rounded(median(&costs) / 1_000.0);
    let per_s = Measured::new(&ENROL_PER_S, median(&rates), rates.len(), bound.clone())
        .beside(peers::rival(openssl, "signs alone, index written once a run"))
        .beside(peers::rival(cfssl, "signs alone, keeps nothing; P-256 requests, since it knows no Ed25519"))
        .note(format!("{WORKERS} at a time; the authority uses {each_ms} ms of processor time for each"));
    let p99 = Measured::new(&ENROL_P99_MS, median(&tails), tails.len(), bound)
        .note(format!("{WORKERS} at a time in a closed loop; no peer enrols a device to its end"));
    Ok(vec![per_s, p99])
}
