//! Witnesses of a log whose keeper lies: it forks, puts itself back, repeats itself and sends nonsense, while the power of
//! each witness is cut between any two of its outputs, its disk fails and its signer refuses. The machine of
//! `kos_audit::witness` runs as it is; the disk around it loses what was not synced.
//!
//! Laws: of what one witness signed, each tree is the beginning of the next and none is smaller than the one before
//! (`witness-order`); no two trees that contradict each other are cosigned by two of three (`witness-quorum`); two roots of
//! one size are kept as evidence (`witness-evidence`); an honest log that goes on is cosigned in the end
//! (`witness-serves`).

use anyhow::{Result, anyhow};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_audit::{
    AnyLogKey, Checkpoint, Frontier, LogKey, SignedCheckpoint, TreeHash, TreeHead, WitnessKey,
    tree::{ProofPlan, TileGrowth, leaf_hash},
    witness::{AddCheckpoint, Answer, Judgement, Output, Record, Witness},
};
use kos_base::{KeyAlgorithm, PublicKey, Timestamp};

use crate::{chance::Chance, laws::Breach, plant::Plant};

/// Most entries of a branch.
const SIZE_MAX: u64 = 24;
/// Branches of the log that lies; the first is the honest one.
const BRANCHES: u64 = 3;
/// Requests of one life.
const REQUESTS: u64 = 60;
/// Witnesses, and how many a checkpoint needs.
const WITNESSES: u8 = 3;
const THRESHOLD: usize = 2;

enum Trouble {
    Law(Breach),
    Model(anyhow::Error),
}

fn breach<T>(law: &'static str, detail: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Law(Breach { law, detail: detail.into() }))
}

fn model(error: &dyn core::fmt::Display) -> Trouble {
    Trouble::Model(anyhow!("{error}"))
}

/// Lives three witnesses of one log.
///
/// # Errors
/// When the model fails.
pub fn live(seed: u64, plant: Option<Plant>) -> Result<Option<Breach>> {
    let chance = Chance::new(seed ^ 0x7769_746e);
    let outcome = Life::begin(chance, plant).and_then(Life::run);
    match outcome {
        Ok(()) => Ok(None),
        Err(Trouble::Law(breach)) => Ok(Some(breach)),
        Err(Trouble::Model(error)) => Err(error),
    }
}

/// The keeper of the log, and every tree that it may show.
struct Liar {
    pair: Ed25519KeyPair,
    key: LogKey,
    branches: Vec<Vec<TreeHash>>,
}

impl Liar {
    fn begin(chance: &mut Chance) -> Result<Self, Trouble> {
        let (pair, public) = pair(1)?;
        let key = LogKey::new(&"attic".parse().map_err(|e| model(&e))?, public).map_err(|e| model(&e))?;
        let leaf = |branch: u64, at: u64| leaf_hash(&[branch.to_be_bytes(), at.to_be_bytes()].concat());
        let mut branches: Vec<Vec<TreeHash>> = vec![(0..SIZE_MAX).map(|at| leaf(0, at)).collect()];
        for branch in 1..BRANCHES {
            let fork = chance.below(SIZE_MAX);
            branches.push((0..SIZE_MAX).map(|at| leaf(if at < fork { 0 } else { branch }, at)).collect());
        }
        Ok(Self { pair, key, branches })
    }

    fn leaves(&self, branch: usize, size: u64) -> &[TreeHash] {
        let branch = self.branches.get(branch).map(Vec::as_slice).unwrap_or_default();
        branch.get(..usize::try_from(size).unwrap_or(usize::MAX)).unwrap_or_default()
    }

    fn head(&self, branch: usize, size: u64) -> Result<TreeHead, Trouble> {
        let mut tree = Frontier::empty();
        for leaf in self.leaves(branch, size) {
            tree.append(*leaf).map_err(|e| model(&e))?;
        }
        Ok(tree.head())
    }

    fn checkpoint(&self, head: TreeHead) -> Result<SignedCheckpoint, Trouble> {
        let stated = Checkpoint { origin: self.key.origin().clone(), head, time: NOW };
        let signature = self.pair.sign(stated.to_be_signed().as_bytes());
        Ok(stated.finish(&self.key, signature.as_ref().try_into().map_err(|e| model(&e))?))
    }

    fn request(&self, branch: usize, size: u64, old: u64) -> Result<String, Trouble> {
        let checkpoint = self.checkpoint(self.head(branch, size)?)?;
        let proof = if old <= size { self.proof(branch, size, old)? } else { Vec::new() };
        Ok(AddCheckpoint::new(old, proof, &checkpoint).to_string())
    }

    fn proof(&self, branch: usize, size: u64, old: u64) -> Result<Vec<TreeHash>, Trouble> {
        let leaves = self.leaves(branch, size);
        let growth = TileGrowth::new(0, size).map_err(|e| model(&e))?;
        let tiles = growth.finish::<Vec<u8>>(&[], leaves).map_err(|e| model(&e))?;
        let plan = ProofPlan::consistency(old, size).map_err(|e| model(&e))?;
        let wanted = plan.tiles().iter();
        let rows: Vec<_> = wanted
            .map(|wanted| {
                let found = tiles.iter().find(|(tile, _)| tile == wanted);
                found.map(|(_, bytes)| bytes.clone()).unwrap_or_default()
            })
            .collect();
        plan.finish(&rows).map_err(|e| model(&e))
    }

    /// Whether one of the two is the beginning of the other, in any of the trees that there are.
    fn agree(&self, one: &TreeHead, other: &TreeHead) -> Result<bool, Trouble> {
        for branch in 0..self.branches.len() {
            if self.head(branch, one.size)? == *one && self.head(branch, other.size)? == *other {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

fn pair(seed: u8) -> Result<(Ed25519KeyPair, PublicKey), Trouble> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).map_err(|e| model(&e))?;
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref());
    let public = public.map_err(|e| model(&e))?;
    Ok((pair, public))
}

/// A witness on its machine.
struct Machine {
    witness: Witness,
    pair: Ed25519KeyPair,
    /// What survives a power cut.
    disk: Option<Record>,
    /// What was written and would be lost now.
    unsynced: Option<Record>,
    /// Every tree that its key signed, in order.
    signed: Vec<TreeHead>,
}

struct Life {
    chance: Chance,
    plant: Option<Plant>,
    log: Liar,
    machines: Vec<Machine>,
}

impl Life {
    fn begin(mut chance: Chance, plant: Option<Plant>) -> Result<Self, Trouble> {
        let log = Liar::begin(&mut chance)?;
        let mut machines = Vec::new();
        for number in 0..WITNESSES {
            let (pair, public) = pair(100 + number)?;
            let key = WitnessKey::new(&format!("witness/{number}"), public).map_err(|e| model(&e))?;
            let mut witness = Witness::new(key);
            witness.watch(AnyLogKey::from(&log.key), None).map_err(|e| model(&e))?;
            machines.push(Machine { witness, pair, disk: None, unsynced: None, signed: Vec::new() });
        }
        Ok(Self { chance, plant, log, machines })
    }

    fn run(mut self) -> Result<(), Trouble> {
        for _ in 0..REQUESTS {
            let at = usize::from(u8::try_from(self.chance.below(WITNESSES.into())).unwrap_or_default());
            let request = self.draw_request(at)?;
            // Before any of its outputs, between them, or after the last.
            let cut = self.chance.below(6);
            self.ask(at, &request, cut)?;
            self.judge(at)?;
        }
        self.end()
    }

    /// What the log sends to this witness: more often than not something that could be taken.
    fn draw_request(&mut self, at: usize) -> Result<String, Trouble> {
        let held = self.held(at);
        let branch = usize::try_from(self.chance.below(BRANCHES)).unwrap_or_default();
        let size = self.chance.between(0, SIZE_MAX);
        let old = match self.chance.below(4) {
            0 => self.chance.below(SIZE_MAX),
            _ => held.map_or(0, |head| head.size),
        };
        self.log.request(branch, size.max(if self.chance.one_in(3) { 0 } else { old }), old)
    }

    fn held(&self, at: usize) -> Option<TreeHead> {
        let machine = self.machines.get(at)?;
        machine.witness.held(self.log.key.origin().as_str()).map(|record| *record.head())
    }

    /// Carries out the outputs of a request until the power goes, if it does.
    fn ask(&mut self, at: usize, request: &str, cut: u64) -> Result<Option<Answer>, Trouble> {
        let held = self.held(at);
        let (plant, key) = (self.plant, AnyLogKey::from(&self.log.key));
        let Some(machine) = self.machines.get_mut(at) else { return Err(model(&"no witness")) };
        let offered = SignedCheckpoint::parse(request.split_once("\n\n").map_or("", |(_, note)| note));
        let offered =
            offered.ok().and_then(|note| note.verify(&self.log.key, &[]).ok()).map(|one| *one.head());
        machine.witness.handle_request(NOW, request.as_bytes());
        let (mut kept, mut postponed) = (None, None);
        for step in 0_u64.. {
            if step == cut {
                // Whatever was not synced is gone, and the machine begins anew.
                machine.unsynced = None;
                let mut witness = Witness::new(machine.witness.key().clone());
                witness.watch(key, machine.disk.clone()).map_err(|e| model(&e))?;
                machine.witness = witness;
                return Ok(None);
            }
            let Some(output) = machine.witness.poll_output() else { break };
            match output {
                Output::Persist(record) if self.chance.one_in(12) => {
                    // The disk says that it failed, and has or has not written.
                    if self.chance.one_in(2) {
                        machine.disk = Some(record);
                    }
                    machine.witness.handle_failure();
                }
                Output::Persist(record) => match plant {
                    Some(Plant::WitnessSignsFirst) => postponed = Some(record),
                    Some(Plant::WitnessNotSynced) => machine.unsynced = Some(record),
                    _ => machine.disk = Some(record),
                },
                Output::Keep(conflict) => kept = Some(conflict),
                Output::Sign(_) if self.chance.one_in(12) => machine.witness.handle_failure(),
                Output::Sign(message) => {
                    let signature = machine.pair.sign(message.as_bytes());
                    machine.signed.extend(offered);
                    machine.witness.handle_signature(signature.as_ref().try_into().map_err(|e| model(&e))?);
                }
                Output::Send(answer) => {
                    if let Some(record) = postponed.take() {
                        machine.disk = Some(record);
                    }
                    let contradicts = |held: &TreeHead, offered: &TreeHead| {
                        held.size == offered.size && held.root != offered.root
                    };
                    let is_proof =
                        held.zip(offered).is_some_and(|(held, offered)| contradicts(&held, &offered));
                    let is_kept = kept.is_some_and(|kept| kept.judge() == Judgement::Equivocation);
                    if is_proof && !is_kept {
                        return breach("witness-evidence", "two roots of one size, and nothing was kept");
                    }
                    // The disk syncs by itself, sooner or later.
                    if self.chance.one_in(4)
                        && let Some(record) = machine.unsynced.take()
                    {
                        machine.disk = Some(record);
                    }
                    return Ok(Some(answer));
                }
            }
        }
        Ok(None)
    }

    fn judge(&self, at: usize) -> Result<(), Trouble> {
        let signed = self.machines.get(at).map(|machine| machine.signed.as_slice()).unwrap_or_default();
        for pair in signed.windows(2) {
            let [before, after] = pair else { continue };
            if before.size > after.size || !self.log.agree(before, after)? {
                let detail = format!(
                    "it signed {} entries, and {} of another tree or fewer after",
                    before.size, after.size
                );
                return breach("witness-order", detail);
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), Trouble> {
        let all: Vec<TreeHead> = self.machines.iter().flat_map(|machine| machine.signed.clone()).collect();
        let witnessed: Vec<&TreeHead> = all
            .iter()
            .filter(|head| {
                self.machines.iter().filter(|machine| machine.signed.contains(head)).count() >= THRESHOLD
            })
            .collect();
        for one in &witnessed {
            for other in &witnessed {
                if !self.log.agree(one, other)? {
                    let detail =
                        format!("trees of {} and {} entries both have {THRESHOLD}", one.size, other.size);
                    return breach("witness-quorum", detail);
                }
            }
        }
        // Whoever holds a tree of the honest branch goes on with it.
        for at in 0..self.machines.len() {
            let held = self.held(at).unwrap_or(TreeHead { size: 0, root: TreeHash::EMPTY });
            if self.log.head(0, held.size)? != held {
                continue;
            }
            let request = self.log.request(0, SIZE_MAX, held.size)?;
            let mut served = false;
            for _ in 0..64 {
                let answer = self.ask(at, &request, u64::MAX)?;
                served = matches!(answer, Some(Answer::Cosigned(_)));
                if served {
                    break;
                }
            }
            if !served {
                return breach("witness-serves", "an honest log that goes on is not cosigned");
            }
            self.judge(at)?;
        }
        Ok(())
    }
}
