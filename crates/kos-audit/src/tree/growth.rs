//! Which tiles change when a tree grows, and what they hold then.

use super::{
    HASH_BYTES, TILE_WIDTH, TREE_SIZE_MAX, Tile, TreeError, TreeHash, subtree_root,
    tile::{LEVELS, TILE_HEIGHT},
};

/// A tree that grows from one size to another, as its tiles see it.
///
/// Partial tiles of the old size are read and written again at their new width; everything else that changes is new. A
/// crash between two writes does no harm: the same growth gives the same bytes again.
#[derive(Clone, Debug)]
pub struct TileGrowth {
    from: u64,
    to: u64,
    reads: Vec<Tile>,
}

impl TileGrowth {
    /// A tree that grows from `from` leaves to `to`.
    ///
    /// # Errors
    /// When it would shrink or be too large.
    pub fn new(from: u64, to: u64) -> Result<Self, TreeError> {
        if to > TREE_SIZE_MAX {
            return Err(TreeError::Full);
        }
        if from > to {
            return Err(TreeError::Beyond { asked: from, size: to });
        }
        let nodes_at = |level: u8, size: u64| size >> (u32::from(level) * TILE_HEIGHT);
        let grows = |level: &u8| nodes_at(*level, from) < nodes_at(*level, to);
        let partial = |level: u8| Tile::holding(level, nodes_at(level, from), from);
        let reads = LEVELS.take_while(grows).filter_map(partial).collect();
        Ok(Self { from, to, reads })
    }

    /// The tiles to read, at the width that they have now.
    pub fn reads(&self) -> &[Tile] {
        &self.reads
    }

    /// The tiles to write and their bytes, level by level as they come to be. `tiles` are the bytes of
    /// [`TileGrowth::reads`] in the same order, `leaves` the hashes of the leaves that the tree grows by.
    ///
    /// # Errors
    /// When tiles or leaves are not as many or as long as they must be.
    ///
    /// Cost: at most one hash a leaf.
    pub fn finish<T: AsRef<[u8]>>(
        &self,
        tiles: &[T],
        leaves: &[TreeHash],
    ) -> Result<Vec<(Tile, Vec<u8>)>, TreeError> {
        if u64::try_from(leaves.len()) != Ok(self.to - self.from) {
            return Err(TreeError::Leaves { given: leaves.len(), wanted: self.to - self.from });
        }
        let mut grown = Vec::new();
        let mut new = leaves.to_vec();
        for level in LEVELS {
            let mut row = Vec::with_capacity(usize::from(TILE_WIDTH) + new.len());
            if let Some(at) = self.reads.iter().position(|tile| tile.level() == level) {
                let bytes = tiles.get(at).map(AsRef::as_ref).unwrap_or_default();
                row.extend(
                    self.reads.get(at).map(|tile| tile.hashes(bytes)).transpose()?.into_iter().flatten(),
                );
            }
            row.append(&mut new);
            let mut node = self.from >> (u32::from(level) * TILE_HEIGHT);
            for hashes in row.chunks(usize::from(TILE_WIDTH)) {
                if hashes.len() == usize::from(TILE_WIDTH) {
                    new.push(subtree_root(hashes));
                }
                let tile = Tile::holding(level, node, self.to);
                grown.extend(tile.map(|tile| (tile, bytes_of(hashes))));
                node += u64::from(TILE_WIDTH);
            }
        }
        Ok(grown)
    }
}

fn bytes_of(hashes: &[TreeHash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * HASH_BYTES);
    bytes.extend(hashes.iter().flat_map(TreeHash::as_bytes));
    bytes
}
