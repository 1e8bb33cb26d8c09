//! The logs that devices deliver: verified as they come, kept as folders that others can verify, anchored in the authority's
//! own log.
//!
//! Shape, below `DATA/authority/device-logs/DEVICE`: a folder of C2SP tlog-tiles for each log of the device, by its number
//! (`1/checkpoint`, `1/tile/..`, and `1/key`), and `evidence/` with what was refused. `copy` writes them, `book` counts what
//! each device may still send, and the store has an anchor of each log, written with the entry that says so.
//!
//! Invariants: what is acknowledged is verified and durable. A copy that does not extend its anchor is not extended. A
//! device that lies is recorded, and neither cut off nor answered differently in anything else.
//!
//! Source: `docs/spec/device-log.md` DLG-24 to DLG-45.

mod book;
mod copy;

use std::{path::PathBuf, sync::Arc, time::Duration};

use kos_audit::{
    CheckpointError, LogKey, SignedCheckpoint, TreeHash,
    device::{DeliveryFault, Ledger, LedgerError, Taken, receive},
    tree::leaf_hash,
};
use kos_base::{Code, DeviceId, KeyAlgorithm, PublicKey, Timestamp, code, digest::sha256};
use kos_identity::registry::Device;
use kos_klp::body::{self, Log, LogHeld};
use tokio::sync::Mutex;

use self::book::{Book, Charge};
pub(crate) use self::copy::{Copy, CopyFault, is_of_a_log};
use crate::{
    authority::Shared,
    record::{Change, SystemChange},
    store::{LogAnchor, StoreError},
    writer::{SystemWrite, Transaction},
};

/// Logs that one device may begin in [`LOGS_TIME`]. Stops one that begins anew for ever from filling the store.
const LOGS_MAX: u64 = 16;
/// The time in which they are counted: whoever has begun as many, on purpose or not, does not silence the device for ever.
const LOGS_TIME: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Devices whose logs are written at a time, each in the order in which its messages come.
const TURNS: usize = 64;

/// The logs of all devices.
#[derive(Debug)]
pub(crate) struct DeviceLogs {
    folder: PathBuf,
    book: Book,
    turns: Vec<Mutex<()>>,
}

/// Why nothing was taken.
#[derive(Debug)]
enum Refusal {
    /// The device lies, or its disk was changed.
    Lie(DeliveryFault),
    /// It sends more than it may.
    Limit(Code, &'static str),
    /// It has nothing to do with the device.
    Own(Code),
}

impl DeviceLogs {
    /// Those in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let turns = std::iter::repeat_with(Mutex::default).take(TURNS).collect();
        Self { folder, book: Book::default(), turns }
    }

    /// The copy of one log.
    pub(crate) fn copy(&self, device: &DeviceId, number: u64) -> Copy {
        Copy::at(self.folder(device).join(number.to_string()))
    }

    /// What an operator has to know of the logs of devices that were heard since the start.
    pub(crate) fn trouble(&self) -> Vec<String> {
        self.book.trouble()
    }

    fn folder(&self, device: &DeviceId) -> PathBuf {
        self.folder.join(device.as_ref())
    }

    fn turn(&self, device: &DeviceId) -> Option<&Mutex<()>> {
        let digest = sha256(device.as_ref().as_bytes());
        self.turns.get(usize::from(digest.first().copied().unwrap_or(0)) % TURNS)
    }
}

/// The key of an anchored log.
pub(crate) fn key_of(shared: &Shared, anchor: &LogAnchor) -> Option<LogKey> {
    log_key(shared, &anchor.device, &anchor.key)
}

fn log_key(shared: &Shared, device: &DeviceId, key: &[u8; 32]) -> Option<LogKey> {
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, key).ok()?;
    LogKey::of_device(&shared.name, device, public).ok()
}

/// Takes what a device has brought over its link, and says how much is held.
///
/// # Errors
/// With the code for the device, when nothing was taken.
pub(crate) async fn take(
    shared: &Arc<Shared>,
    device: &Device,
    log: Log,
    now: Timestamp,
) -> Result<LogHeld, Code> {
    let logs = &shared.device_logs;
    let turn = logs.turn(&device.id).ok_or(code::config::INTERNAL)?;
    let in_turn = turn.lock().await;
    let held = shared.store.log_anchor(&device.id).await.map_err(|error| error.code())?;
    match take_part(shared, device, &log, held.as_ref(), now).await {
        Ok((held, None)) => Ok(held),
        Ok((held, Some(pause))) => {
            // What is critical is not acknowledged before its anchor, and other devices do not wait for that.
            drop(in_turn);
            tokio::time::sleep(pause).await;
            let _turn = turn.lock().await;
            anchor_copy(shared, &device.id, now.plus(pause)).await.map_err(|error| error.code())?;
            Ok(held)
        }
        Err(Refusal::Own(code)) => {
            tracing::error!(device = %device.id, %code, "the log of a device cannot be taken");
            Err(code)
        }
        Err(Refusal::Lie(fault)) => {
            tracing::error!(device = %device.id, %fault, "the log of a device is refused");
            record_refusal(shared, &device.id, &log, held.as_ref(), fault.word(), now).await;
            Err(fault.code())
        }
        Err(Refusal::Limit(code, word)) => {
            tracing::warn!(device = %device.id, %code, "a device brings more of its log than it may");
            if code == code::audit::DEVICE_LOG_FULL {
                logs.book.is_in_trouble(&device.id, Some(format!("nothing is taken: {word}")));
            }
            record_refusal(shared, &device.id, &log, held.as_ref(), word, now).await;
            Err(code)
        }
    }
}

/// What is held then, and how long its anchor has to wait if it must not be told before.
async fn take_part(
    shared: &Arc<Shared>,
    device: &Device,
    log: &Log,
    held: Option<&LogAnchor>,
    now: Timestamp,
) -> Result<(LogHeld, Option<Duration>), Refusal> {
    let logs = &shared.device_logs;
    let key = log_key(shared, &device.id, &log.key).ok_or(Refusal::Own(code::audit::DEVICE_LOG_KEY))?;
    let known = held.filter(|anchor| anchor.key == log.key);
    let begun = held.map_or(0, |anchor| anchor.number);
    let number = known.map_or(begun + 1, |anchor| anchor.number);
    let bytes: u64 = log.leaves.iter().map(|leaf| u64::try_from(leaf.len()).unwrap_or(u64::MAX)).sum();
    let mut charge = logs.book.charge(&device.id, None, bytes);
    if charge == Charge::Uncounted {
        let folder = logs.folder(&device.id);
        let counted = tokio::task::spawn_blocking(move || copy::bytes_below(&folder)).await;
        let counted = counted.map_err(|_| Refusal::Own(code::config::INTERNAL))?;
        charge = logs.book.charge(&device.id, Some(counted), bytes);
    }
    match charge {
        Charge::Fits => {}
        Charge::TooFast => return Err(Refusal::Limit(code::audit::DEVICE_LOG_RATE, "flood")),
        Charge::Full | Charge::Uncounted => return Err(Refusal::Limit(code::audit::DEVICE_LOG_FULL, "full")),
    }
    if known.is_none() && has_begun_too_many(shared, &device.id, number, now).await? {
        return Err(Refusal::Limit(code::audit::DEVICE_LOG_FULL, "too-many-logs"));
    }
    let copy = logs.copy(&device.id, number);
    let (at, anchored, part) = (copy.clone(), known.cloned(), log.clone());
    let grown = tokio::task::spawn_blocking(move || grow(&at, key, anchored.as_ref(), &part)).await;
    let grown = grown.map_err(|_| Refusal::Own(code::config::INTERNAL))??;
    let (ledger, critical, is_grown) = grown;
    logs.book.taken(&device.id, if is_grown { bytes } else { 0 });
    let head = ledger.covered();
    let answer = LogHeld { size: head.size, root: *head.root.as_bytes() };
    let anchored = known.map_or(0, |anchor| anchor.size);
    let short = || format!("the copy has {} of {anchored} entries that were anchored", head.size);
    logs.book.is_in_trouble(&device.id, (head.size < anchored).then(short));
    if head.size <= anchored {
        return Ok((answer, None));
    }
    let is_new = known.is_none();
    let pause = logs.book.anchor_in(&device.id, critical, now);
    if is_new || pause.is_some_and(|pause| pause.is_zero()) {
        let anchor = LogAnchor {
            device: device.id.clone(),
            number,
            key: log.key,
            size: head.size,
            checkpoint: copy
                .checkpoint()
                .map_err(|_| Refusal::Own(code::audit::DEVICE_LOG_COPY))?
                .unwrap_or_default(),
            bound_at: known.map_or(now, |anchor| anchor.bound_at),
        };
        let before = held.filter(|anchor| is_new && !is_enrolled_since(device, anchor));
        if before.is_some() {
            record_refusal(shared, &device.id, log, held, "other-key", now).await;
        }
        commit_anchor(shared, anchor, head.root, now).await.map_err(|error| Refusal::Own(error.code()))?;
        return Ok((answer, None));
    }
    Ok((answer, pause))
}

/// Whether the log before the last [`LOGS_MAX`] is not old yet.
async fn has_begun_too_many(
    shared: &Shared,
    device: &DeviceId,
    number: u64,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let Some(before) = number.checked_sub(LOGS_MAX).filter(|before| *before > 0) else { return Ok(false) };
    let anchor = shared.store.log_anchor_of(device, before).await.map_err(|e| Refusal::Own(e.code()))?;
    Ok(anchor.is_some_and(|anchor| now.since(anchor.bound_at) < LOGS_TIME))
}

/// A device that was enrolled anew has other keys, and its log with it.
fn is_enrolled_since(device: &Device, anchor: &LogAnchor) -> bool {
    device.enrolled_at.is_some_and(|at| at > anchor.bound_at)
}

/// Verifies a part and writes it. What is returned is on the disk, with whether an entry of the part is critical, and whether there
/// was any.
fn grow(
    copy: &Copy,
    key: LogKey,
    anchor: Option<&LogAnchor>,
    log: &Log,
) -> Result<(Ledger, bool, bool), Refusal> {
    let damaged = |fault: &CopyFault| {
        tracing::error!(%fault, "the copy of a device's log");
        Refusal::Own(fault.code())
    };
    let mut ledger = copy.load(key).map_err(|fault| damaged(&fault))?;
    let leaves: Vec<_> = log.leaves.iter().map(Vec::as_slice).collect();
    if leaves.is_empty() {
        reaches(ledger.key(), anchor, &log.checkpoint)?;
    }
    extends(&ledger, copy, anchor, (log.first, &leaves))?;
    let open =
        |bundle: &kos_audit::tree::Bundle| copy.read(&bundle.path()).ok().flatten().unwrap_or_default();
    let taken = receive(&mut ledger, log.first, &leaves, &log.checkpoint, open).map_err(Refusal::Lie)?;
    let Taken::Grown { growth, critical } = taken else { return Ok((ledger, false, false)) };
    copy.write(ledger.key(), &growth, &log.checkpoint).map_err(|fault| damaged(&fault))?;
    ledger.settle(growth);
    Ok((ledger, critical, true))
}

/// That the newest checkpoint of the device is of what was anchored or more: the copy may be gone, but the anchor is not.
fn reaches(key: &LogKey, anchor: Option<&LogAnchor>, newest: &str) -> Result<(), Refusal> {
    let Some(anchor) = anchor.filter(|anchor| anchor.size > 0) else { return Ok(()) };
    let lie = |error: CheckpointError| Refusal::Lie(DeliveryFault::Checkpoint(error));
    let newest = SignedCheckpoint::parse(newest).map_err(|error| lie(error.into()))?;
    let said = *newest.verify(key, &[]).map_err(lie)?.head();
    if said.size < anchor.size {
        return Err(Refusal::Lie(DeliveryFault::Rewound));
    }
    let own = || Refusal::Own(code::audit::DEVICE_LOG_COPY);
    let anchored = SignedCheckpoint::parse(&anchor.checkpoint).map_err(|_| own())?;
    let wanted = anchored.verify(key, &[]).map_err(|_| own())?;
    let is_other = said.size == anchor.size && said != *wanted.head();
    if is_other { Err(Refusal::Lie(DeliveryFault::Forked)) } else { Ok(()) }
}

/// That a log which is as long as its anchor has that beginning, or has it with the leaves that come: a copy that was lost comes
/// again, and must become what it was.
fn extends(
    ledger: &Ledger,
    copy: &Copy,
    anchor: Option<&LogAnchor>,
    (first, leaves): (u64, &[&[u8]]),
) -> Result<(), Refusal> {
    let held = ledger.covered().size;
    let count = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
    let length = if first == held { held.saturating_add(count) } else { held };
    let Some(anchor) = anchor.filter(|anchor| anchor.size > 0 && anchor.size <= length) else {
        return Ok(());
    };
    let own = || Refusal::Own(code::audit::DEVICE_LOG_COPY);
    let read = |path: &str| copy.read(path).ok().flatten();
    let mut edge = ledger.edge(anchor.size.min(held), read).map_err(|_| own())?;
    for leaf in leaves.iter().take(usize::try_from(anchor.size.saturating_sub(held)).unwrap_or(usize::MAX)) {
        edge.append(leaf_hash(leaf)).map_err(|_| own())?;
    }
    let signed = SignedCheckpoint::parse(&anchor.checkpoint).map_err(|_| own())?;
    let wanted = signed.verify(ledger.key(), &[]).map_err(|_| own())?;
    if edge.head() == *wanted.head() { Ok(()) } else { Err(Refusal::Lie(DeliveryFault::Forked)) }
}

async fn commit_anchor(
    shared: &Shared,
    anchor: LogAnchor,
    root: TreeHash,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = key_of(shared, &anchor).map(|key| key.id());
    let change = SystemChange::DeviceLogAnchored {
        device: anchor.device.clone(),
        number: anchor.number,
        size: anchor.size,
        root,
        key,
    };
    let device = anchor.device.clone();
    let write = SystemWrite::LogAnchor(Box::new(anchor));
    shared.writer.commit(Transaction::own(now, vec![change.into()], vec![write])).await?;
    shared.device_logs.book.anchored(&device, now);
    Ok(())
}

/// Keeps what was refused, and says so in the log; the same again is told once in a while.
async fn record_refusal(
    shared: &Shared,
    device: &DeviceId,
    log: &Log,
    held: Option<&LogAnchor>,
    word: &'static str,
    now: Timestamp,
) {
    let Some(count) = shared.device_logs.book.refused(device, word, now) else { return };
    let folder = shared.device_logs.folder(device).join("evidence");
    let said = body::write(log);
    let digest = sha256(&said);
    let name = format!("{}-{word}.log", now.unix_ms());
    let kept = tokio::task::spawn_blocking(move || copy::keep_evidence(&folder, &name, &said)).await;
    let file = kept.unwrap_or(Ok(None)).unwrap_or_else(|error| {
        tracing::error!(%error, "evidence cannot be kept");
        None
    });
    let change = Change::from(SystemChange::DeviceLogRefused {
        device: device.clone(),
        reason: word,
        count,
        held: held.map(|anchor| (anchor.number, anchor.size)),
        key: log_key(shared, device, &log.key).map(|key| key.id()),
        evidence: file.map(|file| (file, digest)),
    });
    if let Err(error) = shared.writer.commit(Transaction::own(now, vec![change], Vec::new())).await {
        tracing::error!(%error, %device, "the refusal of a device's log cannot be recorded");
    }
}

/// Anchors what waits for it. `all`: also what is not due yet, since the program ends.
///
/// # Errors
/// When the store cannot write now.
pub(crate) async fn anchor_due(shared: &Shared, now: Timestamp, all: bool) -> Result<(), StoreError> {
    for device in shared.device_logs.book.due(now, all) {
        anchor_copy(shared, &device, now).await?;
    }
    Ok(())
}

/// Anchors what the copy of the newest log has, unless it is.
async fn anchor_copy(shared: &Shared, device: &DeviceId, now: Timestamp) -> Result<(), StoreError> {
    let Some(anchor) = shared.store.log_anchor(device).await? else { return Ok(()) };
    let copy = shared.device_logs.copy(device, anchor.number);
    let Some(key) = key_of(shared, &anchor) else { return Ok(()) };
    let read = tokio::task::spawn_blocking(move || {
        let ledger = copy.load(key)?;
        Ok::<_, CopyFault>((ledger.covered(), copy.checkpoint()?.unwrap_or_default()))
    });
    match read.await {
        Ok(Ok((head, checkpoint))) if head.size > anchor.size => {
            let anchor = LogAnchor { size: head.size, checkpoint, ..anchor };
            commit_anchor(shared, anchor, head.root, now).await?;
        }
        Ok(Ok(_)) => shared.device_logs.book.anchored(device, now),
        Ok(Err(fault)) => {
            tracing::error!(%device, %fault, "the copy of a device's log");
            shared.device_logs.book.anchored(device, now);
        }
        Err(error) => tracing::error!(%error, "a copy was not read"),
    }
    Ok(())
}

impl From<LedgerError> for CopyFault {
    fn from(error: LedgerError) -> Self {
        Self::Unsound(error)
    }
}

#[cfg(test)]
mod tests;
