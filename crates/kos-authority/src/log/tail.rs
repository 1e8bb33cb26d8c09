//! The right edge of the log: what the next entries are appended to.
//!
//! At the start the whole tree is computed again from the leaf hashes in the store and compared with the checkpoint that
//! was signed last, and with the one that was published. A log that differs is not extended: whatever was written
//! behind it would look sound.

use std::collections::BTreeMap;

use kos_audit::{
    Frontier, LogKey, SealedEntry, SignedCheckpoint, TreeHash, TreeHead,
    tree::{HASH_BYTES, TILE_WIDTH, TileGrowth, leaf_hash},
};

use crate::store::{EntryQuery, LogState, Store, StoreError, Tile};

/// The frontier of the tree and, per level, the tile that is not full yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    frontier: Frontier,
    partial: BTreeMap<u8, Vec<u8>>,
}

/// Entries whose leaves are compared with the tree at the start: those that may have been written when the power went.
const LAST_ENTRIES: u32 = 256;

/// Tiles that are in memory at a time while the tree is computed: 2 MiB, however long the log.
const TILES_AT_ONCE: u32 = 256;

impl Tail {
    /// Reads the log's edge from the store, and checks that it is what was signed. `published` is the checkpoint that
    /// others may have seen.
    ///
    /// # Errors
    /// [`StoreError::LogDiffers`] when it is not. Keep a copy of everything and verify it.
    ///
    /// *Cost*: one hash per entry of the log.
    pub(crate) async fn load(
        store: &Store,
        key: &LogKey,
        published: Option<&str>,
    ) -> Result<Self, StoreError> {
        let was_published = published.is_some();
        // What cannot be parsed, as after a fault of the disk, says nothing: the store has its own. It is written anew.
        let published = published.filter(|text| {
            let parsed = SignedCheckpoint::parse(text);
            if let Err(error) = &parsed {
                tracing::error!(%error, "the published checkpoint cannot be read, that of the store is taken");
            }
            parsed.is_ok()
        });
        let published = published.map(|text| head_of(text, key)).transpose()?;
        let archived = store.archived().await?;
        let (count, end) = store.count_entries().await?;
        let Some(LogState { size, checkpoint }) = store.log_state().await? else {
            let is_empty = count == 0 && !was_published;
            return if is_empty { Ok(Self::default()) } else { Err(differs("there is no signed state")) };
        };
        let signed = head_of(&checkpoint, key)?;
        if signed.size != size || archived.checked_add(count) != Some(size) || end != size {
            let there = archived.saturating_add(count);
            return Err(differs(format!("{there} entries where {} were signed", signed.size)));
        }

        let mut tail = Self::default();
        let mut next = 0;
        loop {
            let tiles = store.tiles(0, next, TILES_AT_ONCE).await?;
            let Some(last) = tiles.last() else { break };
            next = last.number + 1;
            for tile in &tiles {
                tail.take(tile, published.as_ref())?;
            }
        }
        if tail.frontier.head() != signed {
            return Err(differs("the entries do not lead to the root that was signed"));
        }
        if published.is_some_and(|head| head.size > size) {
            return Err(differs("a checkpoint of more entries was published"));
        }
        tail.partial = partial_tiles(store, size).await?;
        tail.check_last_entries(store).await?;
        Ok(tail)
    }

    /// How many entries there are, and the root over them.
    pub(crate) fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// How many entries there are.
    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends leaves, and returns the tiles that this changes.
    pub(crate) fn append(&mut self, leaves: &[SealedEntry]) -> Result<Vec<Tile>, StoreError> {
        let hashes: Vec<TreeHash> = leaves.iter().map(SealedEntry::leaf_hash).collect();
        let from = self.size();
        for hash in &hashes {
            self.push(*hash)?;
        }
        let growth = TileGrowth::new(from, self.size()).map_err(|e| differs(e.to_string()))?;
        let held =
            |tile: &kos_audit::tree::Tile| self.partial.get(&tile.level()).cloned().unwrap_or_default();
        let held: Vec<Vec<u8>> = growth.reads().iter().map(held).collect();
        let grown = growth.finish(&held, &hashes).map_err(|e| differs(e.to_string()))?;
        let mut tiles = Vec::with_capacity(grown.len());
        for (tile, bytes) in grown {
            if tile.width() < TILE_WIDTH {
                self.partial.insert(tile.level(), bytes.clone());
            } else {
                self.partial.remove(&tile.level());
            }
            tiles.push(Tile { level: tile.level(), number: tile.index(), hashes: bytes });
        }
        Ok(tiles)
    }

    /// Takes the leaves of the next tile.
    fn take(&mut self, tile: &Tile, published: Option<&TreeHead>) -> Result<(), StoreError> {
        let (hashes, rest) = tile.hashes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() || hashes.len() > usize::from(TILE_WIDTH) {
            return Err(differs(format!("tile {} is torn", tile.number)));
        }
        for hash in hashes {
            self.push(TreeHash::from_bytes(*hash))?;
            check_published(&self.frontier, published)?;
        }
        Ok(())
    }

    fn push(&mut self, leaf: TreeHash) -> Result<(), StoreError> {
        self.frontier.append(leaf).map_err(|e| differs(e.to_string()))
    }

    async fn check_last_entries(&self, store: &Store) -> Result<(), StoreError> {
        let from = self.size().saturating_sub(u64::from(LAST_ENTRIES));
        let query = EntryQuery { from, ..EntryQuery::default() };
        for entry in store.entries(&query, LAST_ENTRIES).await? {
            if leaf_in_tree(store, entry.position).await? != leaf_hash(&entry.leaf) {
                return Err(differs(format!("entry {} is not the one in the tree", entry.position)));
            }
        }
        Ok(())
    }
}

/// The hash that the tree holds for the entry at this place.
pub(super) async fn leaf_in_tree(store: &Store, position: u64) -> Result<TreeHash, StoreError> {
    let width = u64::from(TILE_WIDTH);
    let tile = store.tile(0, position / width).await?;
    let at = usize::try_from(position % width).unwrap_or(usize::MAX);
    let hash = tile.as_ref().and_then(|tile| tile.hashes.as_chunks::<HASH_BYTES>().0.get(at));
    hash.map(|hash| TreeHash::from_bytes(*hash))
        .ok_or_else(|| differs(format!("entry {position} is not in the tree")))
}

async fn partial_tiles(store: &Store, size: u64) -> Result<BTreeMap<u8, Vec<u8>>, StoreError> {
    let mut partial = BTreeMap::new();
    for tile in kos_audit::tree::Tile::all(size).filter(|tile| tile.width() < TILE_WIDTH) {
        let held = store.tile(tile.level(), tile.index()).await?;
        let bytes = held.map(|tile| tile.hashes).unwrap_or_default();
        drop(tile.hashes(&bytes).map_err(|e| differs(e.to_string()))?);
        partial.insert(tile.level(), bytes);
    }
    Ok(partial)
}

fn check_published(frontier: &Frontier, published: Option<&TreeHead>) -> Result<(), StoreError> {
    match published {
        Some(head) if head.size == frontier.size() && head.root != frontier.root() => {
            Err(differs("the published checkpoint is of another log"))
        }
        _ => Ok(()),
    }
}

fn head_of(text: &str, key: &LogKey) -> Result<TreeHead, StoreError> {
    let parsed = SignedCheckpoint::parse(text).map_err(|e| differs(e.to_string()))?;
    Ok(*parsed.verify(key, &[]).map_err(|e| differs(e.to_string()))?.head())
}

pub(super) fn differs(why: impl Into<String>) -> StoreError {
    StoreError::LogDiffers(why.into())
}
