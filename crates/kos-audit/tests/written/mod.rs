//! A log as an authority writes it: entries signed one after the other, tiles, bundles and checkpoints, by path.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_audit::{
    Actor, BootId, Checkpoint, Details, Entry, EventType, Frontier, LogKey, Sequence, Target, TreeHash,
    UnsignedEntry,
    tree::{Bundle, Tile, TileGrowth, leaf_hash},
};
use kos_base::{EntryId, KeyAlgorithm, PublicKey, Timestamp};
use serde_json::{Value, json};

/// What a disk holds, by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Whoever holds a log's key.
pub(crate) struct Writer {
    pair: Ed25519KeyPair,
    pub(crate) key: LogKey,
}

impl Writer {
    /// The writer whose key is made from `seed`, of the log `attic/klog`.
    pub(crate) fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
        let key = LogKey::new(&"attic".parse().unwrap(), public).unwrap();
        Self { pair, key }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().unwrap()
    }

    /// The leaf at `index`, which says `text`.
    pub(crate) fn leaf(&self, index: u64, text: &str) -> Vec<u8> {
        self.leaf_of(index, EventType::ChannelChanged, &json!({"from": "stable", "to": text}))
    }

    /// The leaf at `index` of an event with these details.
    pub(crate) fn leaf_of(&self, index: u64, event_type: EventType, details: &Value) -> Vec<u8> {
        let now = Timestamp::from_unix_ms(1_795_170_000_000 + index * 1000);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&index.to_be_bytes());
        let entry = Entry {
            actor: Actor::Authority("attic".parse().unwrap()),
            boot_id: BootId::new(EntryId::from_parts(Timestamp::from_unix_ms(1_795_170_000_000), [7; 10])),
            details: Details::new(details.as_object().unwrap().clone()).unwrap(),
            event_type,
            id: EntryId::from_parts(now, random),
            key_id: self.key.id(),
            sequence: Sequence::at_index(index).unwrap(),
            target: Some(Target::Device("kdev-7f4ac30123456789".parse().unwrap())),
            timestamp: now,
        };
        let unsigned = UnsignedEntry::new(&entry, &self.key).unwrap();
        let signature = self.sign(&unsigned.to_be_signed());
        unsigned.finish(signature).as_bytes().to_vec()
    }

    pub(crate) fn leaves(&self, indices: std::ops::Range<u64>, text: &str) -> Vec<Vec<u8>> {
        indices.map(|index| self.leaf(index, text)).collect()
    }

    /// The signed checkpoint of a log of these leaves.
    pub(crate) fn checkpoint(&self, leaves: &[Vec<u8>]) -> String {
        let frontier = frontier(leaves);
        let checkpoint = Checkpoint {
            origin: self.key.origin().clone(),
            head: frontier.head(),
            time: Timestamp::from_unix_ms(1_795_180_000_000 + frontier.size()),
        };
        let signature = self.sign(checkpoint.to_be_signed().as_bytes());
        checkpoint.finish(&self.key, signature).to_string()
    }

    /// Every file of a log of these leaves.
    pub(crate) fn files(&self, leaves: &[Vec<u8>]) -> Files {
        let mut files = tiles(leaves);
        files.insert("checkpoint".into(), self.checkpoint(leaves).into_bytes());
        files.extend(bundles(leaves, frontier(leaves).size()));
        files
    }
}

/// The right edge of the tree of these leaves.
pub(crate) fn frontier(leaves: &[Vec<u8>]) -> Frontier {
    let mut frontier = Frontier::empty();
    hashes(leaves).into_iter().for_each(|leaf| frontier.append(leaf).unwrap());
    frontier
}

fn hashes(leaves: &[Vec<u8>]) -> Vec<TreeHash> {
    leaves.iter().map(|leaf| leaf_hash(leaf)).collect()
}

/// The tiles of a log of these leaves.
pub(crate) fn tiles(leaves: &[Vec<u8>]) -> Files {
    let growth = TileGrowth::new(0, frontier(leaves).size()).unwrap();
    let grown = growth.finish::<Vec<u8>>(&[], &hashes(leaves)).unwrap();
    grown.into_iter().map(|(tile, bytes): (Tile, _)| (tile.path(), bytes)).collect()
}

/// Leaves under the paths of a log of `size` entries; what is left over goes to the last.
pub(crate) fn bundles(leaves: &[Vec<u8>], size: u64) -> Files {
    let bundles: Vec<_> = Bundle::all(size).collect();
    let bytes_of = |at: usize| {
        let last = at + 1 == bundles.len();
        let end = if last { leaves.len() } else { leaves.len().min(256 * (at + 1)) };
        let mut bytes = Vec::new();
        let own = leaves.get(256 * at..end).unwrap_or_default();
        own.iter().for_each(|leaf| Bundle::push(&mut bytes, leaf).unwrap());
        bytes
    };
    bundles.iter().enumerate().map(|(at, bundle)| (bundle.path(), bytes_of(at))).collect()
}
