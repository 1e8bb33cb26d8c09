//! Judging a whole log, offline, and naming what was done to it.
//!
//! A [`LogCheck`] is given the signed checkpoint, one held from earlier if there is one, every leaf in the order in
//! which it stands together with the hash that the tree keeps for it, and the upper tiles. [`LogCheck::finish`] says
//! what is wrong, and where. Three things are compared: the number that each entry carries inside its signature, the
//! leaf with its stored hash, and the tree with the root that the log's key signed.
//!
//! What it does not do: read files (where a partial tile is gone because the full one is there, the caller cuts that), or
//! find what only another copy can show. Who holds the log's key can write another
//! log from the beginning; that shows against a held checkpoint or a witness only, and the verdict says which of them
//! it had ([`Assurance`]).
//!
//! ```
//! # use kos_audit::{LogCheck, LogKey, LeafReading, Verdict, tree::{Bundle, Tile}};
//! # fn verify(key: &LogKey, read: impl Fn(&str) -> Option<Vec<u8>>) -> Verdict {
//! let text = read("checkpoint").and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
//! let mut check = LogCheck::new(key, &[], &text, None);
//! for bundle in Bundle::all(check.size()) {
//!     let stored = check.tile(bundle.tile(), read(&bundle.tile().path()).as_deref());
//!     let bytes = read(&bundle.path()).unwrap_or_default();
//!     for (at, leaf) in Bundle::leaves(&bytes).enumerate() {
//!         let reading = leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, key));
//!         check.leaf(reading, stored.get(at).copied());
//!     }
//! }
//! for tile in Tile::all(check.size()).filter(|tile| tile.level() > 0) {
//!     check.tile(tile, read(&tile.path()).as_deref());
//! }
//! check.finish()
//! # }
//! ```
//!
//! Source: `docs/spec/audit.md` AUD-62 to AUD-69, AUD-72, AUD-73; tampering in `tests/tampering.rs`.

mod leaf;
mod order;
mod range;
mod replay;
mod verdict;

use crate::{
    checkpoint::{CheckpointError, SignedCheckpoint, VerifiedCheckpoint},
    key::{LogKey, Origin, WitnessKey},
    note::NoteError,
    tree::{Tile, TreeHash, TreeHead},
    witness::Policy,
};
use leaf::LeafFault;
use order::{Disorder, Numbers, Order};
use replay::Replay;

pub use leaf::LeafReading;
pub use range::RangeCheck;
pub use verdict::{Assurance, FAILURES_MAX, Failure, FailureKind, NotChecked, Verdict};

/// A verification in progress.
#[derive(Debug)]
pub struct LogCheck {
    origin: Origin,
    checkpoint: Option<VerifiedCheckpoint>,
    held: Option<VerifiedCheckpoint>,
    /// The newest one that the log gives out as cosigned.
    cosigned: Option<VerifiedCheckpoint>,
    policy: Policy,
    demand: Demand,
    signatures_checked: u64,
    order: Order,
    /// Entries from the first on that are elsewhere, and how many the log's own entries say are.
    archived: u64,
    told_archived: u64,
    /// The tree of the leaves.
    leaves: Replay,
    /// The tree of the hashes that are stored for them; nothing once one is not there.
    stored: Option<Replay>,
    /// Entries at their place whose stored hash is not theirs.
    unlike: Vec<u64>,
    upper: Vec<(Tile, Vec<TreeHash>)>,
    failures: Failures,
}

/// Failures, described up to a limit and counted beyond it.
#[derive(Debug, Default)]
struct Failures {
    described: Vec<Failure>,
    found: u64,
}

impl Failures {
    fn add(&mut self, index: Option<u64>, kind: FailureKind, detail: impl Into<String>) {
        self.found += 1;
        if self.described.len() < FAILURES_MAX {
            self.described.push(Failure { index, kind, detail: detail.into() });
        }
    }

    fn sort(&mut self) {
        self.described.sort_by_key(|failure| failure.index.unwrap_or(u64::MAX));
    }
}

/// A checkpoint that the log's key signed; otherwise a failure that says why it is none.
fn signed_checkpoint(
    failures: &mut Failures,
    key: &LogKey,
    witnesses: &[WitnessKey],
    text: &str,
    name: &str,
) -> Option<VerifiedCheckpoint> {
    let read = SignedCheckpoint::parse(text).map_err(CheckpointError::from);
    match read.and_then(|signed| signed.verify(key, witnesses)) {
        Ok(verified) => Some(verified),
        Err(why) => {
            let cut = matches!(why, CheckpointError::Note(NoteError::Cut));
            let kind = if cut { FailureKind::Torn } else { FailureKind::BadSignature };
            failures.add(None, kind, format!("{name}: {why}"));
            None
        }
    }
}

/// Whether a log that too few witnesses cosigned fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The verdict says what it is worth.
    None,
    /// It does.
    Witnessed,
}

/// What a log is judged by, besides its key.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The checkpoint.
    pub checkpoint: &'a str,
    /// A checkpoint that somebody kept.
    pub held: Option<&'a str>,
    /// The newest checkpoint that the log gives out as cosigned, beside the newest.
    pub cosigned: Option<&'a str>,
    /// Whether it fails without witnesses.
    pub demand: Demand,
}

impl LogCheck {
    /// Begins with the log's checkpoint and, if somebody kept one, an earlier checkpoint of the same log.
    pub fn new(key: &LogKey, witnesses: &[WitnessKey], checkpoint: &str, held: Option<&str>) -> Self {
        // One suffices, however many are known.
        let policy = Policy::new(witnesses.to_vec(), 1).unwrap_or(Policy::none());
        Self::by(key, policy, Given { checkpoint, held, cosigned: None, demand: Demand::None })
    }

    /// Begins with everything that a log is judged by.
    pub fn by(key: &LogKey, policy: Policy, given: Given<'_>) -> Self {
        let mut failures = Failures::default();
        let mut verified =
            |text: &str, name: &str| signed_checkpoint(&mut failures, key, policy.witnesses(), text, name);
        let checkpoint = verified(given.checkpoint, "the checkpoint");
        let held = given.held.and_then(|text| verified(text, "the held checkpoint"));
        let cosigned = given.cosigned.and_then(|text| verified(text, "the cosigned checkpoint"));
        let marks: Vec<_> = [&held, &cosigned].into_iter().flatten().map(|old| old.head().size).collect();
        Self {
            origin: key.origin().clone(),
            checkpoint,
            held,
            cosigned,
            policy,
            demand: given.demand,
            signatures_checked: 0,
            order: Order::default(),
            archived: 0,
            told_archived: 0,
            leaves: Replay::new(&marks),
            stored: Some(Replay::new(&marks)),
            unlike: Vec::new(),
            upper: Vec::new(),
            failures,
        }
    }

    /// How many entries the checkpoint signs: what there is to read. 0 when the checkpoint is not valid.
    pub fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.head().size)
    }

    /// Takes a row of entries that are not here because they are in an archive, by the hashes that the tree keeps for them.
    /// Only the oldest can be, and only if an entry of the log says so (AUD-86): the verdict tells otherwise.
    pub fn archived(&mut self, stored: &[TreeHash]) {
        if self.archived != self.order.leaves() {
            // Behind entries that are here nothing is archived: what is missing is missing.
            return;
        }
        for hash in stored {
            self.archived += 1;
            self.order.push(Ok(self.archived));
            self.leaves.push(*hash);
            if let Some(replay) = &mut self.stored {
                replay.push(*hash);
            }
        }
    }

    /// Takes the next leaf, and the hash that the tree keeps at its position.
    ///
    /// Leaves beyond the size of the checkpoint are not part of the log; they are taken all the same, because an
    /// inserted leaf pushes an entry there.
    pub fn leaf(&mut self, leaf: LeafReading, stored: Option<TreeHash>) {
        let position = self.order.leaves();
        let beyond = self.checkpoint.is_some() && position >= self.size();
        if beyond && !leaf.number.is_ok_and(|number| number <= self.size()) {
            return;
        }
        self.order.push(leaf.number);
        if leaf.number == Ok(position + 1) && leaf.archived <= position {
            self.told_archived = self.told_archived.max(leaf.archived);
        }
        self.signatures_checked += u64::from(leaf.number != Err(LeafFault::Torn));
        if beyond {
            return;
        }
        self.leaves.push(leaf.hash);
        match (stored, &mut self.stored) {
            (Some(hash), Some(replay)) => replay.push(hash),
            _ => self.stored = None,
        }
        let at_its_place = leaf.number == Ok(position + 1);
        if at_its_place && stored.is_some_and(|stored| stored != leaf.hash) {
            self.unlike.push(position);
        }
    }

    /// Takes the bytes of a tile, or that there are none, and gives back the hashes in it. Those of level 0 belong to
    /// the leaves that come next; the others can come at any time.
    pub fn tile(&mut self, tile: Tile, bytes: Option<&[u8]>) -> Vec<TreeHash> {
        let hashes = match bytes.map(|bytes| tile.hashes(bytes)) {
            Some(Ok(hashes)) => hashes.collect::<Vec<_>>(),
            Some(Err(why)) => {
                self.failures.add(None, FailureKind::Torn, why.to_string());
                return Vec::new();
            }
            None => {
                self.failures.add(None, FailureKind::Torn, format!("`{}` is missing", tile.path()));
                return Vec::new();
            }
        };
        if tile.level() > 0 {
            self.upper.push((tile, hashes.clone()));
        }
        hashes
    }

    /// The verdict, once every leaf and tile was taken.
    pub fn finish(mut self) -> Verdict {
        let found = TreeHead { size: self.leaves.size(), root: self.leaves.root() };
        let signed = self.checkpoint.as_ref().map(|checkpoint| *checkpoint.head());
        let leaves_hold = signed == Some(found);
        let stored_holds = self
            .stored
            .as_ref()
            .is_some_and(|stored| signed == Some(TreeHead { size: stored.size(), root: stored.root() }));
        let before = self.failures.found;
        self.judge_order(leaves_hold);
        self.judge_stored(leaves_hold, stored_holds);
        if signed.is_some() && !leaves_hold && self.failures.found == before {
            let detail = "the entries are signed and in order, and their tree is not the one that the checkpoint signs";
            self.failures.add(None, FailureKind::Forked, detail);
        }
        if self.archived > self.told_archived {
            let numbers = Numbers { first: self.told_archived + 1, last: self.archived };
            let detail = format!("{}, and no entry says that they are archived", missing(numbers));
            self.failures.add(Some(self.told_archived), FailureKind::Deleted, detail);
        }
        let (held, cosigned) = (self.held.take(), self.cosigned.take());
        let compared = held.is_some_and(|held| self.judge_earlier(&held, "held", leaves_hold, stored_holds));
        let earlier =
            cosigned.filter(|cosigned| self.judge_earlier(cosigned, "cosigned", leaves_hold, stored_holds));
        let witnessed = [self.checkpoint.as_ref(), earlier.as_ref()];
        let witnessed = witnessed.into_iter().flatten().find(|one| self.policy.is_met_by(one));
        let witnessed_size = witnessed.map(|witnessed| witnessed.head().size);
        let witnessed_by = witnessed.map(|one| one.witnessed_by().to_vec()).unwrap_or_default();
        if witnessed.is_none() && self.demand == Demand::Witnessed {
            let (wanted, known) = (self.policy.threshold(), self.policy.witnesses().len());
            let detail = format!("no checkpoint that {wanted} of {known} known witnesses cosigned");
            self.failures.add(None, FailureKind::Unwitnessed, detail);
        }
        let assurance = match (witnessed_size, compared) {
            (Some(_), _) => Assurance::Witnessed,
            (None, true) => Assurance::HeldCheckpoint,
            (None, false) => Assurance::LocalIntegrity,
        };
        self.failures.sort();
        Verdict {
            origin: self.origin,
            head: signed.unwrap_or(found),
            checkpoint_time: self.checkpoint.map(|checkpoint| checkpoint.checkpoint().time),
            entries_checked: found.size - self.archived,
            signatures_checked: self.signatures_checked,
            assurance,
            witnessed_size,
            witnessed_by,
            failures: self.failures.described,
            failures_found: self.failures.found,
            not_checked: NotChecked::archived(self.archived),
        }
    }

    /// Names what the numbers of the entries tell (AUD-65). In a tree that the checkpoint signs, a leaf that is not
    /// signed was not altered afterwards: the log took it in like that.
    fn judge_order(&mut self, leaves_hold: bool) {
        let size = self.checkpoint.as_ref().map_or(self.order.leaves(), |checkpoint| checkpoint.head().size);
        let foreign = |fault| match fault {
            LeafFault::Torn => FailureKind::Torn,
            LeafFault::Signature | LeafFault::NotAnEntry if leaves_hold => FailureKind::BadSignature,
            LeafFault::Signature | LeafFault::NotAnEntry => FailureKind::Edited,
        };
        for disorder in self.order.disorder(size) {
            match disorder {
                Disorder::Moved { numbers, at } => {
                    let detail = format!("{} at index {at}", stand(numbers));
                    self.failures.add(Some(numbers.first - 1), FailureKind::Reordered, detail);
                }
                Disorder::Repeated { numbers, at } => {
                    let detail = format!("{} again at index {at}", stand(numbers));
                    self.failures.add(Some(numbers.first - 1), FailureKind::Reordered, detail);
                }
                Disorder::Missing(numbers) => {
                    let to_the_end = self.checkpoint.is_some() && numbers.last == size;
                    let kind = if to_the_end { FailureKind::Truncated } else { FailureKind::Deleted };
                    self.failures.add(Some(numbers.first - 1), kind, missing(numbers));
                }
                Disorder::Replaced { first, leaves, fault } => {
                    for number in (first..).take_while(|number| *number < first + leaves) {
                        self.failures.add(Some(number - 1), foreign(fault), fault.to_string());
                    }
                }
                Disorder::Inserted { at, leaves, fault } => {
                    for at in (at..).take_while(|index| *index < at + leaves) {
                        self.failures.add(Some(at), foreign(fault), format!("{fault}, and nothing should"));
                    }
                }
            }
        }
    }

    /// Names entries and tiles that differ from each other (AUD-66). The one that leads to the signed root is right.
    fn judge_stored(&mut self, leaves_hold: bool, stored_holds: bool) {
        let detail = match (leaves_hold, stored_holds) {
            (true, _) => "the hash that is stored for the entry is not its hash",
            (false, true) => "the log's key signed another entry in place of this one",
            (false, false) => "the entry and the hash that is stored for it differ",
        };
        for index in core::mem::take(&mut self.unlike) {
            self.failures.add(Some(index), FailureKind::Edited, detail);
        }
        let right = match &self.stored {
            _ if leaves_hold => &self.leaves,
            Some(stored) if stored_holds => stored,
            _ => return,
        };
        for (tile, hashes) in &self.upper {
            if right.tile(tile) != Some(hashes) {
                let detail = format!("`{}` does not hold the hashes of the entries below it", tile.path());
                self.failures.add(None, FailureKind::Edited, detail);
            }
        }
    }

    /// Compares with an earlier checkpoint (AUD-67). Whether the comparison could be made and came out well.
    fn judge_earlier(
        &mut self,
        earlier: &VerifiedCheckpoint,
        name: &str,
        leaves_hold: bool,
        stored_holds: bool,
    ) -> bool {
        let Some(checkpoint) = &self.checkpoint else { return false };
        let (then, now) = (*earlier.head(), *checkpoint.head());
        if then.size > now.size {
            let (held_at, signed_at) = (earlier.checkpoint().time, checkpoint.checkpoint().time);
            let detail =
                format!("{} entries, signed at {signed_at}; there were {} at {held_at}", now.size, then.size);
            self.failures.add(Some(now.size), FailureKind::Rewound, detail);
            return false;
        }
        let of_stored = self.stored.as_ref().and_then(|stored| stored.marked(then.size));
        let extends = match (leaves_hold, stored_holds) {
            (true, _) => self.leaves.marked(then.size) == Some(then.root),
            (false, true) => of_stored == Some(then.root),
            // Neither tree is the signed one, so what they say of the past is not the log's word either.
            (false, false) => return false,
        };
        if !extends {
            let detail = format!("the first {} entries are not those of the {name} checkpoint", then.size);
            self.failures.add(None, FailureKind::Forked, detail);
        }
        extends
    }
}

fn stand(Numbers { first, last }: Numbers) -> String {
    if first == last {
        format!("the entry of index {} stands", first - 1)
    } else {
        format!("the entries of index {} to {} stand", first - 1, last - 1)
    }
}

fn missing(Numbers { first, last }: Numbers) -> String {
    if first == last {
        format!("the entry of index {} is missing", first - 1)
    } else {
        format!("the entries of index {} to {} are missing", first - 1, last - 1)
    }
}
