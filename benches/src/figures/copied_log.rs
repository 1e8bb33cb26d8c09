//! A log in a folder: how fast it is verified, and how fast a proof is made from a very long one.
//!
//! Two logs are written, below a folder that goes with the run: one of signed entries like those of an authority, and one of
//! 10 000 000 entries of which only those that are proven are real; the others are hashes, since a tile holds nothing else.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kos_audit::{
    Actor, BootId, Checkpoint, Details, Entry, EventType, Frontier, LogKey, Proof, SealedEntry, Sequence,
    SignedCheckpoint, Target, TreeHash, UnsignedEntry,
    tree::{Bundle, ProofPlan, TileGrowth, Walk, leaf_hash},
};
use kos_base::{EntryId, KeyAlgorithm, Timestamp, key::SignatureForm};
use kos_net::keys::SigningKey;
use serde_json::json;

use super::Ground;
use crate::{
    clock,
    figure::{LOG_PROOF_10M_MS, LOG_SIGNATURE_VERIFY_PER_S, LOG_TREE_VERIFY_PER_S, Measured},
    peers::{self, openssl, sumdb::Sumdb},
    process,
    statistics::{median, ms, number, percentile},
    talk, wait,
};

/// Leaves that the tree grows by at a time.
const STEP: u64 = 65_536;
/// How often a program that runs is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Length of the long log.
const LONG: u64 = 10_000_000;

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let scale = ground.scale;
    let (runs, signed, proofs) = scale.pick((2, 20_000, 50), (5, 200_000, 1_000));
    let folder = process::data_folder()?;
    let (short, long) = (folder.path().join("short"), folder.path().join("long"));
    talk::say(&format!("writing a log of {signed} signed entries"));
    let log = {
        let short = short.clone();
        tokio::task::spawn_blocking(move || Log::signed(&short, signed)).await??
    };
    let mut sumdb = Sumdb::prepare();
    let (mut trees, mut whole) = (Vec::new(), Vec::new());
    let mut memory = 0;
    for run in 1..=runs {
        let tree = tokio::task::block_in_place(|| log.verify_tree())?;
        let (verified, bytes) = log.verify_whole().await?;
        memory = memory.max(bytes);
        talk::say(&format!("log, run {run}: tree {tree:.0}/s, everything {verified:.0}/s"));
        trees.push(tree);
        whole.push(verified);
        peers::again(&mut sumdb, async |sumdb| sumdb.verify(&short, number(signed)).await).await;
    }
    talk::say(&format!("writing the tiles of a log of {LONG} entries"));
    let (took, resident) = tokio::task::block_in_place(|| prove(&long, proofs))?;
    let what = format!("{signed} entries of {} B in {} files", log.leaf_bytes, log.files);
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = format!("CPU: {processors} threads");
    Ok(vec![
        Measured::new(&LOG_TREE_VERIFY_PER_S, median(&trees), trees.len(), threads.clone())
            .beside(peers::rival(sumdb, "one process, its start included; the same files"))
            .note(what.clone()),
        Measured::new(&LOG_SIGNATURE_VERIFY_PER_S, median(&whole), whole.len(), threads)
            .beside(openssl::verifications_per_s())
            .note(format!("{what}; its start included; {:.0} MiB at most", number(memory) / 1_048_576.0)),
        Measured::new(
            &LOG_PROOF_10M_MS,
            percentile(&took, 990),
            took.len(),
            "CPU: the hashes of up to four tiles, two signatures",
        )
        .beside(Err("no peer makes proofs from files".to_owned()))
        .note(format!(
            "median {:.2} ms; files in the cache; this program had {:.0} MiB",
            median(&took),
            number(resident) / 1_048_576.0
        )),
    ])
}

/// A log in a folder.
struct Log {
    folder: PathBuf,
    key: LogKey,
    size: u64,
    leaf_bytes: usize,
    files: u64,
}

impl Log {
    /// Writes one of signed entries.
    fn signed(folder: &Path, size: u64) -> Result<Self> {
        let hand = Hand::new()?;
        let mut tree = Growing::new(folder);
        let (mut bundle, mut leaf_bytes) = (Vec::new(), 0);
        for index in 0..size {
            let leaf = hand.leaf(index)?;
            leaf_bytes = leaf.as_bytes().len();
            tree.push(leaf.leaf_hash())?;
            Bundle::push(&mut bundle, leaf.as_bytes())?;
            if index % 256 == 255 || index + 1 == size {
                let last = Bundle::grown(index, index + 1).next().context("no bundle")?;
                write(folder, &last.path(), &bundle)?;
                bundle.clear();
            }
        }
        tree.flush()?;
        write(folder, "checkpoint", hand.checkpoint(&tree.frontier)?.to_string().as_bytes())?;
        write(folder, "vkey", format!("{}\n", hand.key).as_bytes())?;
        let files = tree.files + size.div_ceil(256);
        Ok(Self { folder: folder.to_owned(), key: hand.key, size, leaf_bytes, files })
    }

    /// Hashes every entry and compares it with tiles and root; entries per second.
    fn verify_tree(&self) -> Result<f64> {
        let begun = Instant::now();
        let text = fs::read_to_string(self.folder.join("checkpoint"))?;
        let head = *SignedCheckpoint::parse(&text)?.verify(&self.key, &[])?.head();
        let threads = u64::try_from(thread::available_parallelism().map_or(1, std::num::NonZero::get))?;
        let share = self.size.div_ceil(threads).next_multiple_of(256);
        thread::scope(|scope| {
            let part = |range: Range<u64>| {
                let mut walk = Walk::new(head, None, range)?;
                while let Some(piece) = walk.next() {
                    walk.take(fs::read(self.folder.join(piece.path()))?)?;
                }
                anyhow::Ok(())
            };
            let parts: Vec<_> = (0..threads)
                .map(|at| scope.spawn(move || part(at * share..((at + 1) * share).min(self.size))))
                .collect();
            for part in parts {
                part.join().map_err(|_| anyhow::anyhow!("a thread fell"))??;
            }
            anyhow::Ok(())
        })?;
        Ok(number(self.size) / begun.elapsed().as_secs_f64())
    }

    /// Has `kosctl` verify everything; entries per second, and how much memory it took.
    async fn verify_whole(&self) -> Result<(f64, u64)> {
        let mut command = process::ours("kosctl")?;
        command.args(["audit", "verify", "-o", "json", "--log"]).arg(&self.folder);
        command.arg("--key").arg(self.folder.join("vkey")).stdout(Stdio::null());
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let mut memory = 0;
        let status = loop {
            // Gone when it has ended.
            memory = process::memory(child.id(), "VmHWM:").unwrap_or_default().max(memory);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            wait::pass(LOOK).await;
        };
        let took = begun.elapsed();
        ensure!(status.success(), "it was refused");
        Ok((number(self.size) / took.as_secs_f64(), memory))
    }
}

/// Proves entries of a log of 10 000 000; milliseconds for each, and the memory of this program meanwhile.
fn prove(folder: &Path, proofs: u64) -> Result<(Vec<f64>, u64)> {
    let hand = Hand::new()?;
    let every = LONG / proofs;
    let mut tree = Growing::new(folder);
    for index in 0..LONG {
        let real = index % every == 0;
        tree.push(if real { hand.leaf(index)?.leaf_hash() } else { leaf_hash(&index.to_be_bytes()) })?;
    }
    tree.flush()?;
    let text = hand.checkpoint(&tree.frontier)?.to_string();
    let mut took = Vec::new();
    for index in (0..LONG).step_by(usize::try_from(every)?) {
        let leaf = hand.leaf(index)?;
        let begun = Instant::now();
        let plan = ProofPlan::inclusion(index, LONG)?;
        let tiles = plan.tiles().iter().map(|tile| fs::read(folder.join(tile.path())));
        let hashes = plan.finish(&tiles.collect::<Result<Vec<_>, _>>()?)?;
        let proof = Proof::new(index, hashes, SignedCheckpoint::parse(&text)?).with_leaf(&leaf);
        let written = proof.to_string();
        Proof::parse(&written)?.verify(None, &hand.key, &[])?;
        took.push(ms(begun.elapsed()));
    }
    Ok((took, process::memory(std::process::id(), "VmRSS:")?))
}

/// Whoever keeps the log.
struct Hand {
    signer: SigningKey,
    key: LogKey,
    now: Timestamp,
}

impl Hand {
    fn new() -> Result<Self> {
        let signer = SigningKey::generate(KeyAlgorithm::Ed25519)?;
        let key = LogKey::new(&"bench".parse()?, signer.public().clone())?;
        Ok(Self { signer, key, now: clock::now() })
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let signature = self.signer.sign(SignatureForm::Fixed, message)?;
        signature.try_into().ok().context("a signature of another length")
    }

    fn leaf(&self, index: u64) -> Result<SealedEntry> {
        let details = json!({"from": "stable", "to": "beta"});
        let id = EntryId::from_parts(self.now, [7; 10]);
        let entry = Entry {
            actor: Actor::Authority("bench".parse()?),
            boot_id: BootId::new(id),
            details: Details::new(details.as_object().cloned().unwrap_or_default())?,
            event_type: EventType::ChannelChanged,
            id,
            key_id: self.key.id(),
            sequence: Sequence::at_index(index)?,
            target: Some(Target::Device("kdev-7f4ac30123456789".parse()?)),
            timestamp: self.now,
        };
        let unsigned = UnsignedEntry::new(&entry, &self.key)?;
        let signature = self.sign(&unsigned.to_be_signed())?;
        Ok(unsigned.finish(signature))
    }

    fn checkpoint(&self, frontier: &Frontier) -> Result<SignedCheckpoint> {
        let checkpoint =
            Checkpoint { origin: self.key.origin().clone(), head: frontier.head(), time: self.now };
        let signature = self.sign(checkpoint.to_be_signed().as_bytes())?;
        Ok(checkpoint.finish(&self.key, signature))
    }
}

/// A tree whose tiles go into a folder, some leaves at a time.
struct Growing {
    folder: PathBuf,
    frontier: Frontier,
    grown: u64,
    leaves: Vec<TreeHash>,
    files: u64,
}

impl Growing {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            frontier: Frontier::empty(),
            grown: 0,
            leaves: Vec::new(),
            files: 0,
        }
    }

    fn push(&mut self, leaf: TreeHash) -> Result<()> {
        self.frontier.append(leaf)?;
        self.leaves.push(leaf);
        if self.frontier.size() - self.grown == STEP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let growth = TileGrowth::new(self.grown, self.frontier.size())?;
        let held = growth.reads().iter().map(|tile| fs::read(self.folder.join(tile.path())));
        let held = held.collect::<Result<Vec<_>, _>>()?;
        for (tile, bytes) in growth.finish(&held, &self.leaves)? {
            write(&self.folder, &tile.path(), &bytes)?;
            self.files += 1;
        }
        self.grown = self.frontier.size();
        self.leaves.clear();
        Ok(())
    }
}

fn write(folder: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    Ok(fs::write(path, bytes)?)
}
