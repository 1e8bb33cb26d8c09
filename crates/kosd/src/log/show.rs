//! The log as the local socket shows it: entries as the API of an authority has them, its head, and its files.

use kos_api::hex::Digest;
use kos_audit::{
    LogKey, SealedEntry, SignedCheckpoint,
    tree::{Bundle, TILE_WIDTH, leaf_hash},
};
use kos_base::Timestamp;
use serde_json::{Value, json};

use super::{DeviceLog, Open, disk};

/// Entries that are looked at for one page. Stops a filter that fits nothing from keeping the device from everything else: each
/// entry is a signature to verify.
const LOOKED_AT_MAX: u64 = 512;

/// Which entries a list holds.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this event type.
    pub event: Option<String>,
    /// Only those at or after this moment.
    pub since: Option<Timestamp>,
    /// Only those before this moment.
    pub until: Option<Timestamp>,
    /// Only those from this place on.
    pub from: u64,
    /// At most so many.
    pub limit: usize,
}

impl DeviceLog {
    /// A page of entries, and where the next one begins. It may hold none, and not be the last.
    pub(crate) fn page(&self, filter: &Filter) -> (Vec<Value>, Option<u64>) {
        let open = self.lock();
        let Some(open) = open.as_ref() else { return (Vec::new(), None) };
        let mut shown = Vec::new();
        let (mut index, mut looked_at) = (filter.from, 0);
        while index < open.ledger.size() {
            let begin = index;
            for leaf in open.leaves_from(index) {
                if shown.len() >= filter.limit || looked_at == LOOKED_AT_MAX {
                    return (shown, Some(index));
                }
                looked_at += 1;
                shown.extend(entry(index, &leaf, open.ledger.key()).filter(|entry| fits(entry, filter)));
                index += 1;
            }
            if index == begin {
                // What retention has removed is passed over.
                index = (index / u64::from(TILE_WIDTH) + 1).max(open.kept_from) * u64::from(TILE_WIDTH);
            }
        }
        (shown, None)
    }

    /// The signed head.
    pub(crate) fn head(&self) -> Option<kos_api::audit::Checkpoint> {
        let open = self.lock();
        let open = open.as_ref()?;
        let text = String::from_utf8(open.disk.read(disk::CHECKPOINT).ok()??).ok()?;
        let verified = SignedCheckpoint::parse(&text).ok()?.verify(open.ledger.key(), &[]).ok()?;
        let stated = verified.checkpoint();
        Some(kos_api::audit::Checkpoint {
            origin: stated.origin.to_string(),
            size: stated.head.size,
            root_hash: Digest::from_bytes(*stated.head.root.as_bytes()),
            timestamp: stated.time,
            text,
            verifier_key: open.ledger.key().to_string(),
            assurance: None,
            witnessed: None,
            witnessed_text: None,
        })
    }

    /// A file of the log by its C2SP path.
    pub(crate) fn file(&self, path: &str) -> Option<Vec<u8>> {
        let plain = |part: &str| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b == b'.';
            !part.is_empty() && part.bytes().all(good) && part.trim_matches('.') == part
        };
        let is_ours = path == disk::CHECKPOINT || path.starts_with("tile/");
        if !is_ours || path.len() > 200 || !path.split('/').all(plain) {
            return None;
        }
        self.lock().as_ref()?.disk.read(path).ok().flatten()
    }
}

impl Open {
    /// The leaves from `index` to the end of its bundle or of the log.
    fn leaves_from(&self, index: u64) -> Vec<Vec<u8>> {
        let covered = self.ledger.covered().size;
        let (bytes, skipped) = if index < covered {
            let read = self.disk.bundle_at(index, covered).ok().flatten().unwrap_or_default();
            (read, index % u64::from(TILE_WIDTH))
        } else {
            (self.disk.tail().unwrap_or_default(), index - covered)
        };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let last = if index < covered { covered - index } else { self.ledger.size() - index };
        let leaves = Bundle::leaves(&bytes).skip(skipped).map_while(Result::ok);
        leaves.take(usize::try_from(last).unwrap_or(usize::MAX)).map(<[u8]>::to_vec).collect()
    }
}

/// An entry that the log's key signed.
fn entry(index: u64, leaf: &[u8], key: &LogKey) -> Option<Value> {
    let json = SealedEntry::from_bytes(leaf.to_vec()).signed_json(key)?;
    let mut entry: Value = serde_json::from_slice(&json).ok()?;
    let members = entry.as_object_mut()?;
    members.remove("bootId");
    members.remove("sequence");
    let signature = leaf.get(leaf.len().checked_sub(64)?..)?;
    members.insert("index".into(), index.into());
    members.insert("signature".into(), data_encoding::HEXLOWER.encode(signature).into());
    members.insert("leafHash".into(), leaf_hash(leaf).to_string().into());
    members.insert("merkleProof".into(), Value::Null);
    Some(entry)
}

fn fits(entry: &Value, filter: &Filter) -> bool {
    let at = entry.get("timestamp").and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
    let event = filter.event.as_deref();
    event.is_none_or(|event| entry.get("eventType") == Some(&json!(event)))
        && filter.since.is_none_or(|since| at.is_some_and(|at| at >= since))
        && filter.until.is_none_or(|until| at.is_some_and(|at| at < until))
}
