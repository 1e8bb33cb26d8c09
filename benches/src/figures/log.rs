//! The log as it grows: how many changes 64 writers get recorded, how long one takes until it is proven, and what a long log
//! costs at the next start.
//!
//! The writers are in the process of the authority's library: store, writer, signatures, tree and checkpoint are those of the
//! program, the way to it over a socket is not counted. A change is one signed entry and nothing else; it is on the disk before the
//! answer, many in one transaction. For the second figure each writer then has the proof of its entry made, and verifies it, as
//! somebody would who trusts nobody.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kos_audit::{BootId, LogKey, Proof};
use kos_authority::{
    log::{LogSigner, prove},
    record::SystemChange,
    store::{self, Store},
    writer::{Transaction, Writer, Writing},
};
use kos_base::{AuthorityName, EntryId, KeyAlgorithm, Secret};
use kos_net::keys::SigningKey;
use tokio::task::JoinSet;

use super::Ground;
use crate::{
    clock,
    figure::{LOG_APPEND_TO_PROOF_P99_MS, LOG_ENTRIES_PER_S, Measured},
    peers::{self, sqlite::Inserts},
    process,
    statistics::{count, median, ms, percentile},
    talk,
    usage::{Meter, bound},
};

/// Writers at a time, as the promise says.
const WRITERS: u32 = 64;

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, pass) = ground.scale.pick((1, Duration::from_secs(2)), (5, Duration::from_secs(5)));
    let folder = process::data_folder()?;
    let keys = Keys::make()?;
    let (log, _) = keys.open(folder.path()).await?;
    let log = Arc::new(log);
    let mut inserts = Inserts::prepare();
    let (mut rates, mut usages, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        let meter = Meter::start(std::process::id())?;
        let begun = Instant::now();
        let written = all(&log, pass, |log| async move { log.append().await.map(drop) }).await?;
        let rate = count(&written) / begun.elapsed().as_secs_f64();
        usages.push(meter.stop()?);
        talk::say(&format!("log, run {run}: {rate:.0} entries/s, p99 {:.1} ms", percentile(&written, 990)));
        rates.push(rate);
        latencies.extend(all(&log, pass, |log| async move { log.append_and_prove().await }).await?);
        peers::again(&mut inserts, async |inserts| inserts.run(pass).await).await;
    }
    let size = log.writer.progress().borrow().log_size;
    Arc::into_inner(log).context("somebody still writes")?.close().await?;
    let (again, ready) = keys.open(folder.path()).await?;
    again.close().await?;
    let what = format!("{WRITERS} writers in one process");
    let start =
        format!("with {size} entries the log was read and checked in {:.0} ms at the next start", ms(ready));
    let p99 = percentile(&latencies, 990);
    Ok(vec![
        Measured::new(
            &LOG_ENTRIES_PER_S,
            median(&rates),
            rates.len(),
            bound(&usages, "authority and writers"),
        )
        .beside(peers::rival(inserts, "a row of 500 B in each transaction, one writer, synchronous=FULL"))
        .note(format!("{what}; {start}")),
        Measured::new(
            &LOG_APPEND_TO_PROOF_P99_MS,
            p99,
            latencies.len(),
            "CPU: four signatures and the hashes of a tile for each",
        )
        .beside(Err("no peer proves its entries".to_owned()))
        .note(format!("{what}; median {:.1} ms", median(&latencies))),
    ])
}

/// What opens one log.
struct Keys {
    store: Secret<32>,
    signer: Arc<SigningKey>,
    name: AuthorityName,
}

/// A log that can be written.
struct Log {
    store: Store,
    writer: Writer,
    writing: Writing,
    key: LogKey,
}

impl Keys {
    fn make() -> Result<Self> {
        let signer = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519)?);
        Ok(Self { store: Secret::new([7; 32]), signer, name: "bench".parse()? })
    }

    /// The log, and how long its writer took to look at it.
    async fn open(&self, folder: &Path) -> Result<(Log, Duration)> {
        let path: PathBuf = folder.join("store.db");
        let (store, half) = store::open(&path, &self.store).await?;
        let key = LogKey::new(&self.name, self.signer.public().clone())?;
        let boot = BootId::new(EntryId::from_parts(clock::now(), [7; 10]));
        let signer = LogSigner::new(Arc::clone(&self.signer), key.clone(), boot);
        let begun = Instant::now();
        let (writer, writing) = Writer::start(half, &store, self.name.clone(), signer, None, |_| {}).await?;
        let took = begun.elapsed();
        Ok((Log { store, writer, writing, key }, took))
    }
}

impl Log {
    async fn close(self) -> Result<()> {
        let Self { store, writer, writing, .. } = self;
        drop(writer);
        writing.finished().await?;
        store.close().await;
        Ok(())
    }

    /// Has something recorded; its index.
    async fn append(&self) -> Result<u64> {
        let change = SystemChange::DeviceOnline { device: "kdev-7f4ac30123456789".parse()? };
        let transaction = Transaction::own(clock::now(), vec![change.into()], Vec::new());
        Ok(self.writer.commit(transaction).await?.first)
    }

    async fn append_and_prove(&self) -> Result<()> {
        let index = self.append().await?;
        let entry = self.store.entry(index).await?.context("an entry that is not there")?;
        let proof = prove(&self.store, &self.key, &entry).await?.context("no checkpoint covers it")?;
        let proof = Proof::parse(&proof)?;
        ensure!(proof.index() == index, "a proof of another entry");
        proof.verify(None, &self.key, &[])?;
        Ok(())
    }
}

/// Has all writers do something again and again for as long as said; milliseconds for each.
async fn all<F>(
    log: &Arc<Log>,
    pass: Duration,
    work: impl Fn(Arc<Log>) -> F + Copy + Send + 'static,
) -> Result<Vec<f64>>
where
    F: Future<Output = Result<()>> + Send,
{
    let begun = Instant::now();
    let mut hands = JoinSet::new();
    for _ in 0..WRITERS {
        let log = Arc::clone(log);
        hands.spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < pass {
                let from = Instant::now();
                work(Arc::clone(&log)).await?;
                took.push(ms(from.elapsed()));
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(done) = hands.join_next().await {
        took.extend(done??);
    }
    Ok(took)
}
