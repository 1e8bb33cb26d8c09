//! A tree grown again from hashes: its root, its root at an earlier size, and the hashes of its upper tiles.

use crate::tree::{Frontier, TILE_WIDTH, Tile, TreeHash};

/// A tree that is grown again. The hashes above level 0 are kept: one for 255 leaves.
#[derive(Debug)]
pub(super) struct Replay {
    frontier: Frontier,
    /// Levels from 1 up.
    upper: Vec<Vec<TreeHash>>,
    /// The earlier size to note the root at.
    mark: u64,
    marked: Option<TreeHash>,
}

impl Replay {
    pub(super) fn new(mark: u64) -> Self {
        let marked = (mark == 0).then_some(TreeHash::EMPTY);
        Self { frontier: Frontier::empty(), upper: Vec::new(), mark, marked }
    }

    pub(super) fn push(&mut self, leaf: TreeHash) {
        // A tree beyond the largest size has no leaves to compare with, so nothing is lost by stopping there.
        let Ok(completed) = self.frontier.push(leaf) else { return };
        for (level, hash) in completed.into_iter().enumerate() {
            match self.upper.get_mut(level) {
                Some(row) => row.push(hash),
                None => self.upper.push(vec![hash]),
            }
        }
        if self.frontier.size() == self.mark {
            self.marked = Some(self.frontier.root());
        }
    }

    pub(super) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(super) fn root(&self) -> TreeHash {
        self.frontier.root()
    }

    /// The root when the tree had the marked size.
    pub(super) const fn marked(&self) -> Option<TreeHash> {
        self.marked
    }

    /// What `tile`, at level 1 or above, must hold.
    pub(super) fn tile(&self, tile: &Tile) -> Option<&[TreeHash]> {
        let row = self.upper.get(usize::from(tile.level()).checked_sub(1)?)?;
        let from = usize::try_from(tile.index()).ok()?.checked_mul(usize::from(TILE_WIDTH))?;
        row.get(from..from.checked_add(usize::from(tile.width()))?)
    }
}
