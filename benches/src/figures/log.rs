//! The log as it grows: how many changes 64 writers get recorded, and how long one takes until it is proven.
//!
//! Each writer renames a device of its own over a connection that it keeps, and waits for the answer. A change is one
//! record and one signed entry; both are on the disk before the answer, many in one transaction. For the second figure
//! each writer then fetches the proof of its entry and verifies it, as somebody would who trusts nobody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kos_api::{
    audit::{AuditEntry, Checkpoint},
    device::Device,
    lifecycle::Rename,
    routes,
};
use kos_audit::{LogKey, Proof};
use kosctl::{Change, Client, Outcome, Server};
use tokio::task::JoinSet;

use super::Ground;
use crate::{
    figure::{LOG_APPEND_TO_PROOF_P99_MS, LOG_ENTRIES_PER_S, Measured},
    peers::{self, sqlite::Inserts},
    statistics::{count, median, ms, number, percentile},
    talk,
    usage::{Meter, bound},
};

/// Writers at a time, as the promise says.
const WRITERS: u32 = 64;

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, pass) = ground.scale.pick((1, Duration::from_secs(2)), (5, Duration::from_secs(5)));
    let fleet = ground.fleet().await?;
    let devices: Vec<_> =
        fleet.members(WRITERS).await?.iter().map(|member| member.device.to_string()).collect();
    let socket = fleet.authority.data().join("authority/run/authority.sock");
    let client = || Client::new(Server::Unix(socket.clone()), None).with_timeout(Duration::from_secs(60));
    let head: Checkpoint = fleet.authority.admin().show(&routes::AUDIT_CHECKPOINT, &[]).await?;
    let key: Arc<LogKey> = Arc::new(head.verifier_key.parse()?);
    let writers: Vec<_> =
        devices.into_iter().map(|device| Arc::new(Hand { client: client(), device })).collect();

    let mut inserts = Inserts::prepare();
    let (mut rates, mut usages, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        let meter = Meter::start(fleet.authority.program()?.pid())?;
        let begun = Instant::now();
        let written =
            all(&writers, move |hand, round| async move { hand.rename(round).await.map(drop) }, pass).await?;
        let rate = count(&written) / begun.elapsed().as_secs_f64();
        usages.push(meter.stop()?);
        talk::say(&format!("log, run {run}: {rate:.0} entries/s, p99 {:.1} ms", percentile(&written, 990)));
        rates.push(rate);
        let own = Arc::clone(&key);
        let proven = all(
            &writers,
            move |hand, round| {
                let key = Arc::clone(&own);
                async move { hand.rename_and_prove(round, &key).await }
            },
            pass,
        )
        .await?;
        latencies.extend(proven);
        peers::again(&mut inserts, async |inserts| inserts.run(pass).await).await;
    }
    let what = format!("{WRITERS} writers, each on a connection of its own");
    let p99 = percentile(&latencies, 990);
    Ok(vec![
        Measured::new(&LOG_ENTRIES_PER_S, median(&rates), rates.len(), bound(&usages, "authority"))
            .beside(peers::rival(
                inserts,
                "one row of 500 B in each transaction, one writer, synchronous=FULL",
            ))
            .note(what.clone()),
        Measured::new(
            &LOG_APPEND_TO_PROOF_P99_MS,
            p99,
            latencies.len(),
            "CPU: two requests and three signatures a proof",
        )
        .beside(Err("no peer proves its entries".to_owned()))
        .note(format!("{what}; median {:.1} ms", median(&latencies))),
    ])
}

/// Somebody who changes one device over and over.
struct Hand {
    client: Client,
    device: String,
}

impl Hand {
    async fn rename(&self, round: u64) -> Result<u64> {
        let body = Rename { name: format!("device-{round}").parse()? };
        let done =
            self.client.change(&routes::DEVICE_RENAME, &[&self.device], &body, &Change::default()).await?;
        let Outcome::Done::<Device>(device) = done else { bail!("it was planned and not done") };
        device.last_audit_index.context("a change without an entry")
    }

    async fn rename_and_prove(&self, round: u64, key: &LogKey) -> Result<()> {
        let index = self.rename(round).await?;
        let entry: AuditEntry = self.client.show(&routes::AUDIT_SHOW, &[&index.to_string()]).await?;
        let proof = Proof::parse(&entry.merkle_proof.context("no checkpoint covers it")?)?;
        ensure!(proof.index() == index, "a proof of another entry");
        proof.verify(None, key, &[])?;
        Ok(())
    }
}

/// Has all of them do something again and again for as long as said; milliseconds for each.
async fn all<F>(
    hands: &[Arc<Hand>],
    work: impl Fn(Arc<Hand>, u64) -> F + Clone + Send + 'static,
    pass: Duration,
) -> Result<Vec<f64>>
where
    F: Future<Output = Result<()>> + Send,
{
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for hand in hands {
        let (hand, work) = (Arc::clone(hand), work.clone());
        tasks.spawn(async move {
            let mut took = Vec::new();
            for round in 0.. {
                if begun.elapsed() >= pass {
                    break;
                }
                let from = Instant::now();
                work(Arc::clone(&hand), round).await?;
                took.push(ms(from.elapsed()));
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took.extend(done??);
    }
    ensure!(count(&took) > number(0), "nothing was done");
    Ok(took)
}
