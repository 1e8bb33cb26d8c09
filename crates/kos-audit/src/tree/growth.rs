//! Which tiles change when a tree grows, and what they hold then.

use super::{HASH_BYTES, TILE_WIDTH, TREE_SIZE_MAX, Tile, TreeError, TreeHash, subtree_root, tile::TILE_HEIGHT};

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
        let reads = (0u8..7).take_while(grows).filter_map(partial).collect();
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
        let mut reads = self.reads.iter().zip(tiles.iter().map(AsRef::as_ref).chain(core::iter::repeat(&[][..])));
        let mut reads = reads.by_ref().peekable();
        for level in 0u8.. {
            if new.is_empty() {
                break;
            }
            let mut row = Vec::with_capacity(usize::from(TILE_WIDTH) + new.len());
            let mut index = (self.from >> (u32::from(level) * TILE_HEIGHT)) >> TILE_HEIGHT;
            if let Some((tile, bytes)) = reads.next_if(|(tile, _)| tile.level() == level) {
                row.extend(tile.hashes(bytes)?);
            }
            row.append(&mut new);
            for hashes in row.chunks(usize::from(TILE_WIDTH)) {
                if hashes.len() == usize::from(TILE_WIDTH) {
                    new.push(subtree_root(hashes));
                }
                grown.extend(Tile::holding(level, index << TILE_HEIGHT, self.to).map(|tile| (tile, bytes_of(hashes))));
                index += 1;
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
