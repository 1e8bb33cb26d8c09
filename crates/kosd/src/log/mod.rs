//! The device's own log of what happened to it: signed entries in a Merkle tree, in files that other programs can verify.
//!
//! Shape, below the state folder: `log/` is a folder of C2SP tlog-tiles (`checkpoint`, `tile/..`) with two files more, the
//! newest entries that no checkpoint covers yet (`tail`) and the public key (`key`); `log.pending` holds what happened while
//! there was no log to write to, one JSON object a line; `log.former-N/` is a log that could not go on.
//!
//! Invariants: an entry is durable when [`DeviceLog::write`] returns, a critical one under a checkpoint. A log that is not
//! what was signed is not written to: the next one begins and says why. A device that has ended writes none: the record of
//! its end is the one file that is left.
//!
//! Errors: none stops the device. What cannot be written is counted, and told in an entry once one can be.
//!
//! Source: `docs/spec/device-log.md` DLG-1 to DLG-23.

mod disk;
mod pending;
mod show;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kos_audit::{
    Actor, BootId, Details, Entry, EventType, Frontier, LogKey, Sequence, SignedCheckpoint, UnsignedEntry,
    Weight,
    device::{Errand, Ledger, LedgerError, PIECE_BYTES_MAX},
    tree::{Bundle, TILE_WIDTH},
};
use kos_base::{
    AuthorityName, DeviceId, EntryId, Timestamp, digest::sha256, key::SignatureForm, text::printable,
};
use kos_klp::body::{self, Log};
use kos_net::{entropy, keys::SigningKey};
use serde_json::{Map, Value, json};

pub use self::show::Filter;
use self::{disk::Disk, pending::Pending};
use crate::{
    keystore::{Keystore, KeystoreError},
    life::RECORD,
    root::{RootError, file},
};

/// Longest text in an entry, in characters. Stops a peer's words from filling the disk.
const DETAIL_CHARS_MAX: usize = 400;
/// Entries that wait for a checkpoint together; each one writes the open bundle and a tile anew.
const UNCOVERED_MAX: u64 = 32;
/// Logs that could not go on and are kept as evidence. The oldest stay: they tell how it began.
const FORMER_MAX: u32 = 3;
/// Full bundles that are kept of what the authority has: for whoever looks at the device.
const KEPT_BUNDLES: u64 = if cfg!(test) { 1 } else { 16 };
/// Full bundles that wait for an authority that does not take them. Stops a device without a link from filling its disk.
const WAITING_BUNDLES: u64 = if cfg!(test) { 2 } else { 64 };

/// Name of the log's folder. Up to version 0.1.0 it was a file.
const FOLDER: &str = "log";
/// Where that file is kept.
const DIARY: &str = "diary.jsonl";

/// What is particular to an event.
pub(crate) type About = Map<String, Value>;

/// Makes the details of an entry.
pub(crate) fn about(members: Value) -> About {
    match members {
        Value::Object(members) => members,
        _ => About::new(),
    }
}

/// A text for an entry, without what could deceive.
pub(crate) fn said(text: &str) -> String {
    printable(text, DETAIL_CHARS_MAX)
}

/// The log of one device.
#[derive(Debug)]
pub(crate) struct DeviceLog {
    state: PathBuf,
    pending: Pending,
    boot: BootId,
    /// Nothing before the device has an identity that it could sign in the name of.
    open: Mutex<Option<Open>>,
}

/// A log that is written to.
#[derive(Debug)]
struct Open {
    signer: Arc<SigningKey>,
    authority: AuthorityName,
    device: DeviceId,
    ledger: Ledger,
    disk: Disk,
    /// Entries that could not be written.
    lost: u64,
    /// The first full bundle whose entries are here.
    kept_from: u64,
}

/// Why the log does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The system refuses.
    #[error(transparent)]
    Disk(#[from] RootError),
    /// The key cannot be had.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// The files are not what was signed.
    #[error(transparent)]
    Unsound(#[from] LedgerError),
    /// An entry cannot be made, or signed.
    #[error("an entry cannot be made: {0}")]
    Entry(String),
    /// The authority lacks entries that are not here any more, since it once had them.
    #[error("the entries before number {kept} are not here any more, and the authority does not have them")]
    Removed {
        /// Index of the first that is here.
        kept: u64,
    },
    /// There is no log.
    #[error("no log is open")]
    Closed,
}

impl LogError {
    fn entry(error: impl core::fmt::Display) -> Self {
        Self::Entry(error.to_string())
    }

    /// Why the log cannot go on, in one word; nothing when it can, and only this was not possible now.
    pub(crate) const fn damage(&self) -> Option<&'static str> {
        match self {
            Self::Unsound(why) => Some(why.word()),
            Self::Disk(_) | Self::Key(_) | Self::Entry(_) | Self::Removed { .. } | Self::Closed => None,
        }
    }
}

/// Who the device is, as its log's name has it.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) authority: AuthorityName,
    pub(crate) device: DeviceId,
}

impl DeviceLog {
    /// The log in the state folder `state`, for one run of the program. Nothing is read before [`DeviceLog::open`].
    ///
    /// # Errors
    /// When what an earlier version left cannot be put aside.
    pub(crate) fn new(state: &Path, now: Timestamp) -> Result<Self, RootError> {
        let folder = state.join(FOLDER);
        if folder.is_file() {
            let kept = state.join(DIARY);
            let moved = fs::rename(&folder, &kept).and_then(|()| kos_keyring::file::sync_folder(state));
            moved.map_err(|error| RootError::unwritable(&kept, error))?;
        }
        let random = entropy::array().unwrap_or_default();
        let boot = BootId::new(EntryId::from_parts(now, random));
        let pending = Pending::new(state);
        Ok(Self { state: state.to_owned(), pending, boot, open: Mutex::default() })
    }

    /// Opens the log of `owner`, or begins it, and takes in what happened before.
    ///
    /// # Errors
    /// When the disk or the key refuses. Files that are not what was signed are no error: a new log begins.
    pub(crate) fn open(&self, owner: &Owner, keys: &Keystore, now: Timestamp) -> Result<(), LogError> {
        let mut open = self.lock();
        if open.is_some() || self.has_ended() {
            return Ok(());
        }
        let folder = self.state.join(FOLDER);
        let loaded = match keys.log_key(now)? {
            None => {
                let mut details = About::new();
                details.insert("reason".into(), "first".into());
                self.tell_of_diary(&mut details);
                let mut begun = Open::begin(&folder, owner, keys.make_log_key(now)?)?;
                begun.write(self.boot, now, EventType::LogBegun, details)?;
                begun
            }
            Some(signer) => match Open::load(&folder, owner, Arc::clone(&signer), now, self.boot) {
                Ok(open) => open,
                Err(LogError::Unsound(why)) => {
                    tracing::error!(code = %why.code(), %why, "the log of this device is damaged; a new one begins");
                    self.restart(owner, keys, &signer, why.word(), now)?
                }
                Err(other) => return Err(other),
            },
        };
        self.take_pending(open.insert(loaded), now);
        Ok(self.pending.remove()?)
    }

    /// Whether there is a log that is written to.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Appends an entry; whether it is durable now. Nothing once the record of the end is there.
    pub(crate) fn write(&self, now: Timestamp, event: EventType, details: About) -> bool {
        if self.has_ended() {
            return false;
        }
        let written = match self.lock().as_mut() {
            Some(open) => open.record(self.boot, now, event, details),
            None => self.pending.add(now, event, &details).map_err(LogError::from),
        };
        if let Err(error) = &written {
            tracing::warn!(%error, %event, "the device's log cannot be written");
        }
        written.is_ok()
    }

    /// Makes a checkpoint over what has none.
    pub(crate) fn cover(&self, now: Timestamp) {
        if let Some(open) = self.lock().as_mut()
            && let Err(error) = open.cover(now)
        {
            tracing::warn!(%error, "no checkpoint of the device's log can be made");
        }
    }

    /// How many entries there are, and how many of them a checkpoint covers.
    pub(crate) fn sizes(&self) -> Option<(u64, u64)> {
        self.lock().as_ref().map(|open| (open.ledger.size(), open.ledger.covered().size))
    }

    /// The message that does an errand.
    ///
    /// # Errors
    /// [`LogError::damage`] tells whether the log can go on.
    pub(crate) fn message(&self, errand: Errand, now: Timestamp) -> Result<Vec<u8>, LogError> {
        self.lock().as_ref().ok_or(LogError::Closed)?.message(errand, now)
    }

    /// The root of the first `size` entries; nothing when the checkpoint is over fewer.
    ///
    /// # Errors
    /// As [`DeviceLog::message`].
    pub(crate) fn root_at(&self, size: u64) -> Result<Option<kos_audit::TreeHash>, LogError> {
        let open = self.lock();
        let open = open.as_ref().ok_or(LogError::Closed)?;
        if size > open.ledger.covered().size {
            return Ok(None);
        }
        Ok(Some(open.edge(size)?.root()))
    }

    /// The authority holds the first `held` entries: old ones may go.
    pub(crate) fn is_held(&self, held: u64) {
        if let Some(open) = self.lock().as_mut() {
            open.retain(held);
        }
    }

    /// This log does not go on, and the next one says why, in one word.
    ///
    /// # Errors
    /// When the disk or the key refuses.
    pub(crate) fn give_up(&self, keys: &Keystore, why: &str, now: Timestamp) -> Result<(), LogError> {
        let mut open = self.lock();
        let Some(former) = open.take() else { return Ok(()) };
        let owner = Owner { authority: former.authority.clone(), device: former.device.clone() };
        *open = Some(self.restart(&owner, keys, &former.signer, why, now)?);
        Ok(())
    }

    /// The end: nothing of it stays open.
    pub(crate) fn close(&self) {
        *self.lock() = None;
    }

    /// Puts the files aside and begins a log with a key of its own.
    fn restart(
        &self,
        owner: &Owner,
        keys: &Keystore,
        former: &SigningKey,
        reason: &str,
        now: Timestamp,
    ) -> Result<Open, LogError> {
        let folder = self.state.join(FOLDER);
        let size = former_size(&folder);
        let name = |number: u32| self.state.join(format!("{FOLDER}.former-{number}"));
        // A link is in the place of what it leads to: neither is that moved, nor emptied.
        let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
        let kept = (1..=FORMER_MAX).map(name).find(is_free).unwrap_or_else(|| name(FORMER_MAX));
        if fs::symlink_metadata(&folder).is_ok() {
            if fs::symlink_metadata(&kept).is_ok_and(|meta| meta.is_dir()) {
                file::empty(&kept)?;
                fs::remove_dir(&kept).map_err(|error| RootError::unwritable(&kept, error))?;
            }
            let moved = fs::remove_file(&kept).or_else(absent).and_then(|()| fs::rename(&folder, &kept));
            moved.map_err(|error| RootError::unwritable(&kept, error))?;
        }
        let mut begun = Open::begin(&folder, owner, keys.make_log_key(now)?)?;
        let details = about(json!({
            "reason": reason, "formerKeyId": former.public().id(), "formerSize": size,
        }));
        begun.write(self.boot, now, EventType::LogBegun, details)?;
        Ok(begun)
    }

    /// Writes down what was kept aside. None of it was signed when it happened, so each entry says where it comes from.
    fn take_pending(&self, open: &mut Open, now: Timestamp) {
        let kept = self.pending.read();
        let mut told = Vec::new();
        if kept.dropped > 0 {
            let details = about(json!({"count": kept.dropped, "pending": true}));
            told.push((now, EventType::LossesRecorded, details));
        }
        for (at, event, mut details) in kept.events.into_iter().chain(told) {
            details.insert("pending".into(), true.into());
            if let Err(error) = open.record(self.boot, at, event, details) {
                tracing::warn!(%error, %event, "what was kept aside cannot be written");
            }
        }
    }

    /// What an earlier version wrote stays readable, and this log says what it was.
    fn tell_of_diary(&self, details: &mut About) {
        if let Ok(Some(bytes)) = file::read(&self.state.join(DIARY)) {
            details.insert("diaryBytes".into(), bytes.len().into());
            let digest = data_encoding::HEXLOWER.encode(&sha256(&bytes));
            details.insert("diarySha256".into(), digest.into());
        }
    }

    fn has_ended(&self) -> bool {
        self.state.join(RECORD).exists()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The size that the checkpoint of a log states, as far as it can be read.
fn former_size(folder: &Path) -> Option<u64> {
    let text = file::read(&folder.join(disk::CHECKPOINT)).ok().flatten()?;
    core::str::from_utf8(&text).ok()?.lines().nth(1)?.parse().ok()
}

impl Open {
    fn key_of(owner: &Owner, signer: &SigningKey) -> Result<LogKey, LogError> {
        LogKey::of_device(&owner.authority, &owner.device, signer.public().clone()).map_err(LogError::entry)
    }

    /// A log without entries.
    fn begin(folder: &Path, owner: &Owner, signer: Arc<SigningKey>) -> Result<Self, LogError> {
        let key = Self::key_of(owner, &signer)?;
        let disk = Disk::begin(folder, &key.to_string())?;
        Ok(Self::of(owner, signer, Ledger::empty(key), disk, 0))
    }

    fn of(owner: &Owner, signer: Arc<SigningKey>, ledger: Ledger, disk: Disk, kept_from: u64) -> Self {
        let Owner { authority, device } = owner.clone();
        Self { signer, authority, device, ledger, disk, lost: 0, kept_from }
    }

    /// The edge of the first `size` entries. A file that the system does not give now is no damage.
    fn edge(&self, size: u64) -> Result<Frontier, LogError> {
        let mut refused = None;
        let edge = self.ledger.edge(size, |path| {
            self.disk.read(path).unwrap_or_else(|error| {
                refused = Some(error);
                None
            })
        });
        edge.map_err(|why| refused.map_or_else(|| LogError::Unsound(why.into()), LogError::Disk))
    }

    /// The log that is there.
    fn load(
        folder: &Path,
        owner: &Owner,
        signer: Arc<SigningKey>,
        now: Timestamp,
        boot: BootId,
    ) -> Result<Self, LogError> {
        let key = Self::key_of(owner, &signer)?;
        let (disk, tail) = Disk::open(folder)?.ok_or(LedgerError::Gone)?;
        let checkpoint = disk.read(disk::CHECKPOINT)?;
        let mut refused = None;
        let mut ledger = match checkpoint {
            None => Ledger::empty(key),
            Some(text) => Ledger::load(key, &String::from_utf8_lossy(&text), |path| {
                disk.read(path).unwrap_or_else(|error| {
                    refused = Some(error);
                    None
                })
            })
            .map_err(|why| refused.take().map_or(LogError::Unsound(why), LogError::Disk))?,
        };
        let read = ledger.take_tail(&tail)?;
        if ledger.size() == 0 && read.cut == 0 {
            // The key is older than the log: whatever it has signed is not here.
            return Err(LedgerError::Gone.into());
        }
        let covered = ledger.covered().size;
        let full = covered / u64::from(TILE_WIDTH);
        let kept_from = disk.first_bundle(full)?;
        if kept_from > full.saturating_sub(KEPT_BUNDLES) {
            // Retention has removed none of these.
            return Err(LedgerError::Bundle.into());
        }
        let mut open = Self::of(owner, signer, ledger, disk, kept_from);
        open.disk.go_on(read, &tail, covered)?;
        if read.cut > 0 {
            open.write(boot, now, EventType::LogRepaired, about(json!({"cutBytes": read.cut})))?;
        }
        Ok(open)
    }

    /// Appends an entry, or counts it as lost; what was lost before is told first.
    fn record(
        &mut self,
        boot: BootId,
        now: Timestamp,
        event: EventType,
        details: About,
    ) -> Result<(), LogError> {
        let full = self.ledger.size() / u64::from(TILE_WIDTH);
        if event.weight() == Weight::Ordinary && full >= self.kept_from + WAITING_BUNDLES {
            self.lost += 1;
            return Err(LogError::entry("the authority has not taken what waits"));
        }
        if self.lost > 0 {
            let told = self.write(boot, now, EventType::LossesRecorded, about(json!({"count": self.lost})));
            if told.is_ok() {
                self.lost = 0;
            }
        }
        let mut written = self.write(boot, now, event, details.clone());
        if written.is_err() && event.weight() == Weight::Critical && self.disk.spend_reserve() {
            written = self.write(boot, now, event, details);
        }
        if written.is_err() {
            self.lost += 1;
        }
        written
    }

    fn write(
        &mut self,
        boot: BootId,
        now: Timestamp,
        event: EventType,
        details: About,
    ) -> Result<(), LogError> {
        if self.ledger.is_at_the_end_of_a_bundle() {
            // A checkpoint that could not be made before; without it there is no place for another entry.
            self.cover(now)?;
        }
        let random = entropy::array().map_err(LogError::entry)?;
        let entry = Entry {
            actor: Actor::Device(self.device.clone()),
            boot_id: boot,
            details: Details::new(details).map_err(LogError::entry)?,
            event_type: event,
            id: EntryId::from_parts(now, random),
            key_id: self.ledger.key().id(),
            sequence: Sequence::at_index(self.ledger.size()).map_err(LogError::entry)?,
            target: None,
            timestamp: now,
        };
        let unsigned = UnsignedEntry::new(&entry, self.ledger.key()).map_err(LogError::entry)?;
        let leaf = unsigned.to_be_signed();
        let leaf = unsigned.finish(self.sign(&leaf)?);
        self.disk.append(leaf.as_bytes())?;
        self.ledger.append(leaf.as_bytes()).map_err(LedgerError::from)?;
        let uncovered = self.ledger.size() - self.ledger.covered().size;
        let is_due = event.weight() == Weight::Critical || uncovered >= UNCOVERED_MAX;
        if is_due || self.ledger.is_at_the_end_of_a_bundle() {
            // The entry is durable already; without room for the tiles the next one tries again.
            let covered = self.cover(now);
            if event.weight() == Weight::Critical && covered.is_err() && self.disk.spend_reserve() {
                return self.cover(now);
            }
            if let Err(error) = covered {
                tracing::warn!(%error, "no checkpoint of the device's log can be made");
            }
        }
        Ok(())
    }

    fn retain(&mut self, held: u64) {
        let full = self.ledger.covered().size / u64::from(TILE_WIDTH);
        let may_go = full.saturating_sub(KEPT_BUNDLES).min(held / u64::from(TILE_WIDTH));
        for number in self.kept_from..may_go {
            self.disk.drop_bundle(number);
        }
        self.kept_from = self.kept_from.max(may_go);
    }

    fn cover(&mut self, now: Timestamp) -> Result<(), LogError> {
        if self.ledger.size() == self.ledger.covered().size {
            return Ok(());
        }
        let mut bundle = match self.ledger.open_bundle() {
            Some(open) => self.disk.read(&open.path())?.unwrap_or_default(),
            None => Vec::new(),
        };
        bundle.extend_from_slice(&self.disk.tail()?);
        let growth = self.ledger.growth(bundle)?;
        let checkpoint = self.signed(&self.ledger.checkpoint(now))?.to_string();
        self.disk.grow(&growth, &checkpoint, self.ledger.size())?;
        self.ledger.settle(growth);
        Ok(())
    }

    fn signed(&self, checkpoint: &kos_audit::Checkpoint) -> Result<SignedCheckpoint, LogError> {
        let signature = self.sign(checkpoint.to_be_signed().as_bytes())?;
        Ok(checkpoint.finish(self.ledger.key(), signature))
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], LogError> {
        let signature = self.signer.sign(SignatureForm::Fixed, message).map_err(LogError::entry)?;
        signature.try_into().map_err(|_| LogError::entry("the key of the log is not Ed25519"))
    }

    fn message(&self, errand: Errand, now: Timestamp) -> Result<Vec<u8>, LogError> {
        let covered = self.ledger.covered();
        let key = self.signer.public().raw().try_into().map_err(LogError::entry)?;
        let newest = || -> Result<String, LogError> {
            let text = self.disk.read(disk::CHECKPOINT)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        let (from, until) = match errand {
            Errand::Offer => {
                let log = Log { key, first: covered.size, leaves: Vec::new(), checkpoint: newest()? };
                return Ok(body::write(&log));
            }
            Errand::Bring { from, until } => (from, until),
        };
        let mut edge = self.edge(from)?;
        let bytes = self.disk.bundle_at(from, covered.size)?;
        let bytes = bytes.ok_or_else(|| match from / u64::from(TILE_WIDTH) < self.kept_from {
            true => LogError::Removed { kept: self.kept_from * u64::from(TILE_WIDTH) },
            false => LogError::Unsound(LedgerError::Bundle),
        })?;
        let skipped = usize::try_from(from % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        let wanted = usize::try_from(until - from).unwrap_or(0);
        let (mut leaves, mut left) = (Vec::new(), PIECE_BYTES_MAX);
        for leaf in Bundle::leaves(&bytes).skip(skipped).take(wanted) {
            let leaf = leaf.map_err(|_| LedgerError::Bundle)?;
            let Some(rest) = left.checked_sub(leaf.len()) else { break };
            left = rest;
            edge.append(kos_audit::tree::leaf_hash(leaf)).map_err(LedgerError::from)?;
            leaves.push(leaf.to_vec());
        }
        let head = edge.head();
        let checkpoint = if head == covered {
            newest()?
        } else {
            let origin = self.ledger.key().origin().clone();
            self.signed(&kos_audit::Checkpoint { origin, head, time: now })?.to_string()
        };
        Ok(body::write(&Log { key, first: from, leaves, checkpoint }))
    }
}

#[cfg(test)]
mod tests;
