//! The log of a device and its delivery: the power is cut at either end between any two writes and in the middle of one,
//! links break, answers are lost, messages come twice. [`Ledger`], [`Courier`] and [`receive`] run as they are; the disks
//! around them lose what was not synced.
//!
//! Laws: what was told is in the log after any cut (`log-kept`); what the authority acknowledged is on its disk after any
//! cut (`log-acknowledged`); nobody takes an honest device for a liar, or its own disk for damaged (`log-honest`); in the
//! end both ends hold the same files (`log-copy`).

use std::{collections::BTreeMap, sync::OnceLock};

use anyhow::{Result, anyhow};
use kos_audit::{
    Actor, BootId, Checkpoint, Details, Entry, EventType, LogKey, Sequence, TreeHead, UnsignedEntry,
    device::{Courier, Errand, Growth, Ledger, TAIL_HEAD_BYTES, Taken, receive, tail_head},
    tree::{Bundle, Tile, leaf_hash},
};
use kos_base::{EntryId, Timestamp};

use crate::{chance::Chance, keys::ModelKey, laws::Breach, plant::Plant};

/// Steps of one life; then everything is brought to its end.
const STEPS: u64 = 60;
/// Entries that half of the lives begin with: the end of the first bundle is near.
const BASE: u64 = 246;
/// Entries that one message brings at most.
const PIECE: u64 = 7;

const TAIL: &str = "tail";
const CHECKPOINT: &str = "checkpoint";

type Files = BTreeMap<String, Vec<u8>>;

/// The power is gone, or a law is broken, or the model is.
enum Trouble {
    Cut,
    Law(Breach),
    Model(anyhow::Error),
}

fn breach<T>(law: &'static str, detail: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Law(Breach { law, detail: detail.into() }))
}

/// Files, and how many writes are left before the power goes.
#[derive(Clone, Default)]
struct Disk {
    files: Files,
    /// Written and not synced: the content before.
    unsynced: Files,
    left: Option<u64>,
}

impl Disk {
    fn spend(&mut self) -> Result<(), Trouble> {
        match &mut self.left {
            Some(0) => Err(Trouble::Cut),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), Trouble> {
        self.spend()?;
        self.unsynced.remove(path);
        self.files.insert(path.to_owned(), bytes);
        Ok(())
    }

    /// Appends; the power may go in the middle.
    fn append(&mut self, record: &[u8], chance: &mut Chance, synced: bool) -> Result<(), Trouble> {
        let tail = self.files.entry(TAIL.to_owned()).or_default();
        let before = tail.clone();
        if self.left == Some(0) {
            let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
            let torn = usize::try_from(chance.below(length)).unwrap_or(0);
            let mut part = record.get(..torn).unwrap_or_default().to_vec();
            if chance.one_in(3) {
                part.fill(0);
            }
            tail.extend_from_slice(&part);
            return Err(Trouble::Cut);
        }
        tail.extend_from_slice(record);
        if !synced {
            self.unsynced.entry(TAIL.to_owned()).or_insert(before);
        }
        self.spend()
    }

    /// What is left after the power came back.
    fn restart(&mut self) {
        let lost = core::mem::take(&mut self.unsynced);
        self.files.extend(lost);
        self.left = None;
    }

    fn read(&self) -> impl Fn(&str) -> Option<Vec<u8>> + '_ {
        |path| self.files.get(path).cloned()
    }

    /// As the shells do it: files, checkpoint, and on a device the new tail; stale ones last.
    fn grow(
        &mut self,
        growth: &Growth,
        checkpoint: &str,
        tail: Option<u64>,
        plant: Option<Plant>,
    ) -> Result<(), Trouble> {
        let early = plant == Some(Plant::LogCheckpointFirst);
        if plant == Some(Plant::LogTailFirst)
            && let Some(first) = tail
        {
            self.put(TAIL, tail_head(first).to_vec())?;
        }
        if early {
            self.put(CHECKPOINT, checkpoint.as_bytes().to_vec())?;
        }
        for (path, bytes) in &growth.files {
            self.put(path, bytes.clone())?;
        }
        if !early {
            self.put(CHECKPOINT, checkpoint.as_bytes().to_vec())?;
        }
        if let Some(first) = tail {
            self.put(TAIL, tail_head(first).to_vec())?;
        }
        for path in &growth.stale {
            self.spend()?;
            self.files.remove(path);
        }
        Ok(())
    }
}

/// Whoever signs, and what is the same for all lives.
struct Signer {
    own: ModelKey,
    key: LogKey,
    base: Vec<Vec<u8>>,
}

impl Signer {
    fn shared() -> Result<&'static Self> {
        static SIGNER: OnceLock<Result<Signer, String>> = OnceLock::new();
        let made = SIGNER.get_or_init(|| Self::new().map_err(|e| format!("{e:#}")));
        made.as_ref().map_err(|why| anyhow!("the key of the log: {why}"))
    }

    fn new() -> Result<Self> {
        let own = ModelKey::new(&[77; 32])?;
        let device = "kdev-7f4ac30123456789".parse()?;
        let key = LogKey::of_device(&"attic".parse()?, &device, own.public().clone())?;
        let mut signer = Self { own, key, base: Vec::new() };
        for index in 0..BASE {
            let leaf = signer.leaf(index, EventType::DeviceBooted)?;
            signer.base.push(leaf);
        }
        Ok(signer)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        self.own.sign(message)?.try_into().map_err(|_| anyhow!("not an Ed25519 signature"))
    }

    fn leaf(&self, index: u64, event: EventType) -> Result<Vec<u8>> {
        let now = Timestamp::from_unix_ms(1_795_170_000_000 + index);
        let entry = Entry {
            actor: Actor::Device("kdev-7f4ac30123456789".parse()?),
            boot_id: BootId::new(EntryId::from_parts(now, [7; 10])),
            details: Details::none(),
            event_type: event,
            id: EntryId::from_parts(now, [1; 10]),
            key_id: self.key.id(),
            sequence: Sequence::at_index(index)?,
            target: None,
            timestamp: now,
        };
        let unsigned = UnsignedEntry::new(&entry, &self.key)?;
        let signature = self.sign(&unsigned.to_be_signed())?;
        Ok(unsigned.finish(signature).as_bytes().to_vec())
    }

    fn checkpoint(&self, head: TreeHead) -> Result<String> {
        let origin = self.key.origin().clone();
        let checkpoint = Checkpoint { origin, head, time: Timestamp::from_unix_ms(1_795_180_000_000) };
        let signature = self.sign(checkpoint.to_be_signed().as_bytes())?;
        Ok(checkpoint.finish(&self.key, signature).to_string())
    }
}

/// A message on its way.
#[derive(Clone)]
struct Message {
    first: u64,
    leaves: Vec<Vec<u8>>,
    checkpoint: String,
}

struct Life {
    chance: Chance,
    plant: Option<Plant>,
    signer: &'static Signer,
    device: Disk,
    ledger: Ledger,
    courier: Courier,
    /// Every entry that was told to somebody, by its index.
    told: Vec<Vec<u8>>,
    authority: Disk,
    /// What the authority acknowledged last.
    acknowledged: Option<TreeHead>,
}

/// Lives one log.
///
/// # Errors
/// When the model fails.
pub fn live(seed: u64, plant: Option<Plant>) -> Result<Option<Breach>> {
    let signer = Signer::shared()?;
    let mut device = Disk::default();
    device.files.insert(TAIL.to_owned(), tail_head(0).to_vec());
    let mut life = Life {
        chance: Chance::new(seed ^ 0x6c6f_6773),
        plant,
        signer,
        device,
        ledger: Ledger::empty(signer.key.clone()),
        courier: Courier::default(),
        told: Vec::new(),
        authority: Disk::default(),
        acknowledged: None,
    };
    match life.run() {
        Ok(()) | Err(Trouble::Cut) => Ok(None),
        Err(Trouble::Law(breach)) => Ok(Some(breach)),
        Err(Trouble::Model(error)) => Err(error),
    }
}

fn model(error: impl core::fmt::Display) -> Trouble {
    Trouble::Model(anyhow!("{error}"))
}

impl Life {
    fn run(&mut self) -> Result<(), Trouble> {
        if self.chance.one_in(2) {
            for leaf in &self.signer.base {
                self.append(leaf.clone())?;
            }
            self.cover()?;
        }
        self.courier.linked();
        for _ in 0..STEPS {
            let step = self.step();
            match step {
                Err(Trouble::Cut) => self.restart_device()?,
                other => other?,
            }
        }
        self.device.left = None;
        self.cover()?;
        self.courier.linked();
        for _ in 0..1_000 {
            self.authority.left = None;
            if !self.deliver(true)? {
                break;
            }
        }
        let size = self.ledger.covered().size;
        let needed =
            Tile::all(size).map(|tile| tile.path()).chain(Bundle::all(size).map(|bundle| bundle.path()));
        let differs = |path: &String| {
            let own = self.device.files.get(path);
            own.is_none() || own != self.authority.files.get(path)
        };
        let different = needed.filter(differs).count();
        if self.acknowledged != Some(self.ledger.covered()) || different > 0 {
            return breach("log-copy", format!("{different} files differ in the end"));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Trouble> {
        if self.chance.one_in(12) {
            self.device.left = Some(self.chance.below(8));
        }
        match self.chance.below(10) {
            0..=3 => {
                let critical = self.chance.one_in(3);
                let event = if critical { EventType::KillArmed } else { EventType::DeviceBooted };
                let leaf = self.signer.leaf(self.ledger.size(), event).map_err(model)?;
                self.append(leaf)?;
                if critical { self.cover() } else { Ok(()) }
            }
            4 => self.cover(),
            5 => {
                self.courier.lost();
                self.courier.linked();
                Ok(())
            }
            _ => {
                if self.chance.one_in(6) {
                    self.authority.left = Some(self.chance.below(8));
                }
                self.deliver(false).map(drop)
            }
        }
    }

    /// Writes an entry; whoever is told of it is told after that.
    fn append(&mut self, leaf: Vec<u8>) -> Result<(), Trouble> {
        if self.ledger.is_at_the_end_of_a_bundle() {
            self.cover()?;
        }
        let mut record = Vec::new();
        Bundle::push(&mut record, &leaf).map_err(model)?;
        let synced = self.plant != Some(Plant::LogTailNotSynced);
        self.device.append(&record, &mut self.chance, synced)?;
        self.ledger.append(&leaf).map_err(model)?;
        self.told.push(leaf);
        if self.ledger.is_at_the_end_of_a_bundle() { self.cover() } else { Ok(()) }
    }

    fn cover(&mut self) -> Result<(), Trouble> {
        if self.ledger.size() == self.ledger.covered().size {
            return Ok(());
        }
        let open = self.ledger.open_bundle();
        let mut bundle =
            open.and_then(|bundle| self.device.files.get(&bundle.path()).cloned()).unwrap_or_default();
        let tail = self.device.files.get(TAIL).cloned().unwrap_or_default();
        bundle.extend_from_slice(tail.get(TAIL_HEAD_BYTES..).unwrap_or_default());
        let growth = self.ledger.growth(bundle).map_err(model)?;
        let head = self.ledger.checkpoint(Timestamp::default()).head;
        let checkpoint = self.signer.checkpoint(head).map_err(model)?;
        self.device.grow(&growth, &checkpoint, Some(self.ledger.size()), self.plant)?;
        self.ledger.settle(growth);
        Ok(())
    }

    fn restart_device(&mut self) -> Result<(), Trouble> {
        self.device.restart();
        let key = self.signer.key.clone();
        let loaded = match self.device.files.get(CHECKPOINT) {
            None => Ok(Ledger::empty(key)),
            Some(text) => Ledger::load(key, &String::from_utf8_lossy(text), self.device.read()),
        };
        let mut ledger = match loaded {
            Ok(ledger) => ledger,
            Err(why) => return breach("log-honest", format!("its own disk after a cut: {why}")),
        };
        let tail = self.device.files.get(TAIL).cloned().unwrap_or_default();
        let read = match ledger.take_tail(&tail) {
            Ok(read) => read,
            Err(why) => return breach("log-honest", format!("its own tail after a cut: {why}")),
        };
        let told = u64::try_from(self.told.len()).unwrap_or(u64::MAX);
        // One more may be there: the power went before anybody was told.
        if ledger.size() < told || ledger.size() > told + 1 {
            let detail = format!("{} entries where {told} were told", ledger.size());
            return breach("log-kept", detail);
        }
        let kept = tail.get(..read.kept).unwrap_or_default().to_vec();
        let anew = read.anew(&tail, ledger.covered().size).unwrap_or(kept);
        self.device.files.insert(TAIL.to_owned(), anew);
        self.ledger = ledger;
        for index in told..self.ledger.size() {
            let leaf = self.leaf_at(index).ok_or_else(|| model("an entry that is nowhere"))?;
            self.told.push(leaf);
        }
        for (index, leaf) in (0..).zip(&self.told) {
            if self.leaf_at(index).as_ref() != Some(leaf) {
                return breach("log-kept", format!("entry {index} is another"));
            }
        }
        self.courier.lost();
        self.courier.linked();
        Ok(())
    }

    /// The entry at `index`, from the disk.
    fn leaf_at(&self, index: u64) -> Option<Vec<u8>> {
        let covered = self.ledger.covered().size;
        let (bytes, skip) = if index < covered {
            let bundle = Bundle::grown(index, covered).next()?;
            (self.device.files.get(&bundle.path())?.clone(), index - bundle.first_leaf())
        } else {
            let tail = self.device.files.get(TAIL)?;
            let first = u64::from_be_bytes(*tail.first_chunk()?);
            (tail.get(TAIL_HEAD_BYTES..)?.to_vec(), index.checked_sub(first)?)
        };
        Bundle::leaves(&bytes).nth(usize::try_from(skip).ok()?)?.ok().map(<[u8]>::to_vec)
    }

    /// One message and its answer, each of which may be lost. False when there is nothing to send.
    fn deliver(&mut self, surely: bool) -> Result<bool, Trouble> {
        let Some(errand) = self.courier.next(self.ledger.covered().size) else { return Ok(false) };
        let message = self.message(errand)?;
        self.courier.sent();
        if !surely && self.chance.one_in(8) {
            // The link broke; the message is gone.
            self.courier.lost();
            self.courier.linked();
            return Ok(true);
        }
        let times = if self.chance.one_in(6) { 2 } else { 1 };
        let mut answer = None;
        for _ in 0..times {
            match self.take(&message) {
                Ok(held) => answer = Some(held),
                Err(Trouble::Cut) => {
                    self.restart_authority()?;
                    answer = None;
                    break;
                }
                Err(other) => return Err(other),
            }
        }
        let lost = !surely && self.chance.one_in(8);
        match answer.filter(|_| !lost) {
            Some(held) => {
                let own = self.ledger.edge(held.size, self.device.read()).ok().map(|edge| edge.root());
                if let Err(why) = self.courier.answered(held, own) {
                    return breach("log-honest", format!("the device, of its authority: {why}"));
                }
            }
            None => {
                self.courier.lost();
                self.courier.linked();
            }
        }
        Ok(true)
    }

    fn message(&self, errand: Errand) -> Result<Message, Trouble> {
        let covered = self.ledger.covered();
        let (first, leaves, head) = match errand {
            Errand::Offer => (covered.size, Vec::new(), covered),
            Errand::Bring { from, until } => {
                let mut edge = self.ledger.edge(from, self.device.read()).map_err(model)?;
                let mut leaves = Vec::new();
                for index in from..until.min(from + PIECE) {
                    let leaf = self.leaf_at(index).ok_or_else(|| model("an entry that is nowhere"))?;
                    edge.append(leaf_hash(&leaf)).map_err(model)?;
                    leaves.push(leaf);
                }
                (from, leaves, edge.head())
            }
        };
        Ok(Message { first, leaves, checkpoint: self.signer.checkpoint(head).map_err(model)? })
    }

    /// The authority takes a message: it reads its disk, judges, writes, and answers.
    fn take(&mut self, message: &Message) -> Result<TreeHead, Trouble> {
        let mut ledger = self.copy()?;
        let leaves: Vec<_> = message.leaves.iter().map(Vec::as_slice).collect();
        let open = |bundle: &Bundle| self.authority.files.get(&bundle.path()).cloned().unwrap_or_default();
        let taken = match receive(&mut ledger, message.first, &leaves, &message.checkpoint, open) {
            Ok(taken) => taken,
            Err(fault) => return breach("log-honest", format!("the authority, of its device: {fault}")),
        };
        if let Taken::Grown { growth, .. } = taken {
            if self.plant == Some(Plant::LogAnsweredFirst) {
                self.acknowledged = Some(ledger.checkpoint(Timestamp::default()).head);
            }
            self.authority.grow(&growth, &message.checkpoint, None, self.plant)?;
            ledger.settle(growth);
        }
        self.acknowledged = Some(ledger.covered());
        Ok(ledger.covered())
    }

    fn copy(&self) -> Result<Ledger, Trouble> {
        let key = self.signer.key.clone();
        match self.authority.files.get(CHECKPOINT) {
            None => Ok(Ledger::empty(key)),
            Some(text) => match Ledger::load(key, &String::from_utf8_lossy(text), self.authority.read()) {
                Ok(ledger) => Ok(ledger),
                Err(why) => breach("log-acknowledged", format!("the copy after a cut: {why}")),
            },
        }
    }

    fn restart_authority(&mut self) -> Result<(), Trouble> {
        self.authority.restart();
        let held = self.copy()?;
        let Some(acknowledged) = self.acknowledged else { return Ok(()) };
        let edge = held.edge(acknowledged.size, self.authority.read()).ok().map(|edge| edge.head());
        if edge == Some(acknowledged) {
            Ok(())
        } else {
            let (size, held) = (acknowledged.size, held.covered().size);
            breach("log-acknowledged", format!("{size} entries were acknowledged and {held} are there"))
        }
    }
}
