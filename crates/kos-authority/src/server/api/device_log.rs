//! The logs that devices have delivered, over the API: the newest log of each device, from the authority's copy.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use kos_api::{
    audit::{AuditEntry, AuditFilter, AuditOrder, Checkpoint, VerifyLog},
    hex::{Digest, Signature},
};
use kos_audit::{
    LeafReading, LogCheck, LogKey, Proof, SealedEntry, SignedCheckpoint,
    device::Ledger,
    tree::{Bundle, HASH_BYTES, ProofPlan, TILE_WIDTH, Tile, TreeHead, leaf_hash},
};
use kos_base::{code, text::printable};
use kos_identity::registry::Device;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    answer::{Refusal, document, limit, page},
    audit::shown_verdict,
    call::{Asked, Call, Context},
    devices::find,
};
use crate::{
    authority::Shared,
    device_log::{Copy, CopyFault, is_of_a_log, key_of},
    store::{LogAnchor, StoreError},
};

/// Entries that are looked at for one page: each is a signature to verify. Stops a filter that fits nothing from reading a log of
/// any length.
const LOOKED_AT_MAX: u64 = 2_048;

/// The newest log of one device.
#[derive(Clone)]
struct Log {
    copy: Copy,
    key: LogKey,
    anchor: LogAnchor,
}

impl Log {
    async fn of(shared: &Shared, device: &Device) -> Result<Self, Refusal> {
        let anchor = shared.store.log_anchor(&device.id).await?;
        let absent = || Refusal::new(code::audit::DEVICE_LOG_ABSENT).about("device", &device.id);
        let anchor = anchor.ok_or_else(absent)?;
        let key = key_of(shared, &anchor).ok_or_else(|| Refusal::new(code::audit::DEVICE_LOG_COPY))?;
        Ok(Self { copy: shared.device_logs.copy(&device.id, anchor.number), key, anchor })
    }

    /// What `work` makes of it, in a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, &Ledger) -> Result<T, CopyFault> + Send + 'static,
    ) -> Result<T, Refusal> {
        let log = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let ledger = log.copy.load(log.key.clone())?;
            let (held, anchored) = (ledger.covered().size, log.anchor.size);
            if held < anchored {
                return Err(CopyFault::Short { held, anchored });
            }
            work(&log, &ledger)
        });
        let read = reading.await.map_err(|e| StoreError::Failed(e.to_string()))?;
        read.map_err(|fault| Refusal::new(fault.code()).saying(&fault.to_string()))
    }

    /// The leaves of the bundle with the entry at `index`, from that entry on.
    fn leaves(&self, index: u64, head: TreeHead) -> Result<Vec<Vec<u8>>, CopyFault> {
        let Some(bundle) = Bundle::grown(index, head.size).next() else { return Ok(Vec::new()) };
        let read = match self.copy.read(&bundle.path())? {
            Some(bytes) => Some(bytes),
            None => self.copy.read(&bundle.full().path())?,
        };
        let skipped = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        let bytes = read.unwrap_or_default();
        let width = usize::from(bundle.tile().width());
        let leaves = Bundle::leaves(&bytes).take(width).skip(skipped).map_while(Result::ok);
        Ok(leaves.map(<[u8]>::to_vec).collect())
    }

    fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, CopyFault> {
        let read = match self.copy.read(&tile.path())? {
            Some(bytes) => Some(bytes),
            None => self.copy.read(&tile.full().path())?,
        };
        Ok(read.map(|mut bytes| {
            bytes.truncate(usize::from(tile.width()) * HASH_BYTES);
            bytes
        }))
    }
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
    Asked(filter): Asked<AuditFilter>,
) -> Result<Response, Refusal> {
    if filter.person.is_some() || filter.order == Some(AuditOrder::Newest) {
        return Err(
            context.bad("the log of a device is listed from its oldest entry, and people in it stay sealed")
        );
    }
    let record = find(&shared, &context, &device).await?;
    let log = Log::of(&shared, &record).await.map_err(|refusal| refusal.under(context.id))?;
    let wanted = usize::try_from(limit(filter.limit)?).unwrap_or(usize::MAX);
    let from = filter.cursor.as_deref().map(str::parse).transpose();
    let index: u64 = from.map_err(|_| context.bad("the cursor is not one of this list"))?.unwrap_or(0);
    let (items, next) = log
        .read(move |log, ledger| {
            let head = ledger.covered();
            let show = |index, leaf: &[u8]| shown(index, leaf, &log.key).filter(|entry| fits(entry, &filter));
            look(index, head.size, wanted, |index| log.leaves(index, head), show)
        })
        .await?;
    Ok(page(items, next.map(|next| next.to_string())))
}

/// The entries from `index` on that `show` shows, at most `wanted`, and where the next page begins.
fn look<T>(
    mut index: u64,
    size: u64,
    wanted: usize,
    leaves: impl Fn(u64) -> Result<Vec<Vec<u8>>, CopyFault>,
    show: impl Fn(u64, &[u8]) -> Option<T>,
) -> Result<(Vec<T>, Option<u64>), CopyFault> {
    let (mut items, mut looked_at) = (Vec::new(), 0);
    while index < size {
        let part = leaves(index)?;
        if part.is_empty() {
            break;
        }
        for leaf in part {
            if items.len() >= wanted || looked_at == LOOKED_AT_MAX {
                return Ok((items, Some(index)));
            }
            items.extend(show(index, &leaf));
            (index, looked_at) = (index + 1, looked_at + 1);
        }
    }
    Ok((items, None))
}

fn fits(entry: &AuditEntry, filter: &AuditFilter) -> bool {
    let is =
        |wanted: &Option<String>, id: Option<&str>| wanted.as_deref().is_none_or(|wanted| id == Some(wanted));
    is(&filter.event_type, Some(&entry.event_type))
        && is(&filter.actor, entry.actor.id.as_deref())
        && is(&filter.target, entry.target.as_ref().and_then(|target| target.id.as_deref()))
        && filter.device.as_ref().is_none_or(|device| speaks_of(entry, device))
        && filter.since.is_none_or(|since| entry.timestamp >= since)
        && filter.until.is_none_or(|until| entry.timestamp < until)
}

/// Whether an entry speaks of this device, wherever it does (AUD-80).
fn speaks_of(entry: &AuditEntry, device: &str) -> bool {
    let parties = [Some(&entry.actor), entry.target.as_ref()];
    let is_party = parties.into_iter().flatten().any(|party| party.id.as_deref() == Some(device));
    is_party || entry.details.values().any(|value| holds(value, device))
}

fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(held) => held == text,
        Value::Array(values) => values.iter().any(|value| holds(value, text)),
        Value::Object(members) => members.values().any(|value| holds(value, text)),
        _ => false,
    }
}

/// An entry that the device's log key signed. What it seals about people stays sealed: the authority has no key to it.
fn shown(index: u64, leaf: &[u8], key: &LogKey) -> Option<AuditEntry> {
    let json = SealedEntry::from_bytes(leaf.to_vec()).signed_json(key)?;
    let mut entry: Value = serde_json::from_slice(&json).ok()?;
    let members = entry.as_object_mut()?;
    for party in ["actor", "target"] {
        if let Some(id) =
            members.get_mut(party).and_then(|party| party.get_mut("id")).filter(|id| id.is_object())
        {
            *id = Value::Null;
        }
    }
    members.retain(|name, _| !["bootId", "sequence"].contains(&name.as_str()));
    let signature = Signature::from_bytes(leaf.get(leaf.len().checked_sub(64)?..)?.to_vec());
    members.insert("index".to_owned(), index.into());
    members.insert("signature".to_owned(), serde_json::to_value(signature).ok()?);
    let hash = Digest::from_bytes(*leaf_hash(leaf).as_bytes());
    members.insert("leafHash".to_owned(), serde_json::to_value(hash).ok()?);
    members.insert("merkleProof".to_owned(), Value::Null);
    serde_json::from_value(entry).ok()
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path((device, index)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let log = Log::of(&shared, &record).await.map_err(|refusal| refusal.under(context.id))?;
    let unknown = || {
        Refusal::new(code::audit::LOG_NO_SUCH_ENTRY).about("entry", &printable(&index, 40)).under(context.id)
    };
    let position: u64 = index.parse().map_err(|_| unknown())?;
    let entry = log.read(move |log, ledger| proven(log, ledger.covered(), position)).await?;
    Ok(document(entry.ok_or_else(unknown)?))
}

/// The entry at `index` with its proof, which was verified.
fn proven(log: &Log, head: TreeHead, index: u64) -> Result<Option<AuditEntry>, CopyFault> {
    let Some(leaf) = log.leaves(index, head)?.into_iter().next() else { return Ok(None) };
    let Some(mut entry) = shown(index, &leaf, &log.key) else { return Ok(None) };
    let tree = |error: kos_audit::TreeError| CopyFault::Unsound(error.into());
    let plan = ProofPlan::inclusion(index, head.size).map_err(tree)?;
    let mut rows = Vec::with_capacity(plan.tiles().len());
    for tile in plan.tiles() {
        rows.push(log.tile(tile)?.unwrap_or_default());
    }
    let hashes = plan.finish(&rows).map_err(tree)?;
    let unsound = || CopyFault::Unsound(kos_audit::device::LedgerError::Root);
    let checkpoint =
        SignedCheckpoint::parse(&log.copy.checkpoint()?.unwrap_or_default()).map_err(|_| unsound())?;
    let proof = Proof::new(index, hashes, checkpoint).with_leaf(&SealedEntry::from_bytes(leaf));
    let text = proof.to_string();
    proof.verify(None, &log.key, &[]).map_err(|_| unsound())?;
    entry.merkle_proof = Some(text);
    Ok(Some(entry))
}

pub(super) async fn checkpoint(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let log = Log::of(&shared, &record).await.map_err(|refusal| refusal.under(context.id))?;
    let key = log.key.clone();
    let text = log.read(|log, _| Ok(log.copy.checkpoint()?.unwrap_or_default())).await?;
    let unsound = || Refusal::new(code::audit::DEVICE_LOG_COPY).under(context.id);
    let signed = SignedCheckpoint::parse(&text).map_err(|_| unsound())?;
    let verified = signed.verify(&key, &[]).map_err(|_| unsound())?;
    let stated = verified.checkpoint();
    Ok(document(Checkpoint {
        origin: stated.origin.to_string(),
        size: stated.head.size,
        root_hash: Digest::from_bytes(*stated.head.root.as_bytes()),
        timestamp: stated.time,
        text,
        verifier_key: key.to_string(),
        assurance: None,
        witnessed: None,
        witnessed_text: None,
    }))
}

/// Verifications at a time: each reads a whole log, and asking costs nothing.
static VERIFYING: Semaphore = Semaphore::const_new(1);

/// Verifies the copy against its own checkpoint, and against the one that the authority's log anchors or that is given.
pub(super) async fn verify(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
    call: Call<VerifyLog>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let log = Log::of(&shared, &record).await.map_err(|refusal| refusal.under(context.id))?;
    // The semaphore is never closed.
    let _turn = VERIFYING.acquire().await;
    let against =
        call.body.against.or_else(|| Some(log.anchor.checkpoint.clone()).filter(|text| !text.is_empty()));
    let checking = tokio::task::spawn_blocking(move || {
        let text = log.copy.checkpoint()?.unwrap_or_default();
        let mut check = LogCheck::new(&log.key, &[], &text, against.as_deref());
        for bundle in Bundle::all(check.size()) {
            let stored = check.tile(bundle.tile(), log.tile(&bundle.tile())?.as_deref());
            let head = TreeHead { size: check.size(), root: kos_audit::TreeHash::EMPTY };
            for (at, leaf) in log.leaves(bundle.first_leaf(), head)?.iter().enumerate() {
                check.leaf(LeafReading::of(leaf, &log.key), stored.get(at).copied());
            }
        }
        for tile in Tile::all(check.size()).filter(|tile| tile.level() > 0) {
            check.tile(tile, log.tile(&tile)?.as_deref());
        }
        Ok::<_, CopyFault>(check.finish())
    });
    let verdict = checking.await.map_err(|e| StoreError::Failed(e.to_string()))?;
    let verdict = verdict.map_err(|fault| Refusal::new(fault.code()).saying(&fault.to_string()))?;
    Ok(document(shown_verdict(&verdict)))
}

/// A file of the copy, by its C2SP path.
pub(super) async fn file(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path((device, path)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let log = Log::of(&shared, &record).await.map_err(|refusal| refusal.under(context.id))?;
    let missing =
        || Refusal::new(code::config::NOT_FOUND).about("log file", &printable(&path, 80)).under(context.id);
    if !is_of_a_log(&path) {
        return Err(missing());
    }
    let wanted = path.clone();
    let reading = tokio::task::spawn_blocking(move || log.copy.read(&wanted));
    let read = reading.await.map_err(|e| StoreError::Failed(e.to_string()))?;
    let found = read.map_err(|e| Refusal::from(StoreError::Failed(e.to_string())).under(context.id))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], found.ok_or_else(missing)?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_fits_nothing_reads_a_part_of_the_log() {
        let leaves = |index: u64| Ok(vec![vec![0_u8]; usize::try_from(256 - index % 256).unwrap()]);
        let (shown, next) = look(10, 1 << 40, 5, leaves, |_, _| None::<()>).unwrap();
        assert_eq!((shown.len(), next), (0, Some(10 + LOOKED_AT_MAX)));
        let (shown, next) = look(10, 1 << 40, 5, leaves, |index, _| Some(index)).unwrap();
        assert_eq!((shown, next), (vec![10, 11, 12, 13, 14], Some(15)));
        let (shown, next) = look(0, 512, 1_000, leaves, |_, _| Some(())).unwrap();
        assert_eq!((shown.len(), next), (512, None));
    }
}
