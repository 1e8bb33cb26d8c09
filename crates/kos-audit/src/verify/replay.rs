//! A tree grown again from hashes: its root, its root at an earlier size, and the hashes of its upper tiles.

use crate::tree::{Frontier, TILE_WIDTH, Tile, TreeHash};

/// A tree that is grown again. The hashes above level 0 are kept: one for 255 leaves.
#[derive(Debug)]
pub(super) struct Replay {
    frontier: Frontier,
    /// Levels from 1 up.
    upper: Vec<Vec<TreeHash>>,
    /// Earlier sizes, and the root at each once the tree had it.
    marks: Vec<(u64, Option<TreeHash>)>,
}

impl Replay {
    /// One that notes its root at each of these sizes.
    pub(super) fn new(marks: &[u64]) -> Self {
        let marks = marks.iter().map(|mark| (*mark, (*mark == 0).then_some(TreeHash::EMPTY))).collect();
        Self { frontier: Frontier::empty(), upper: Vec::new(), marks }
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
        let size = self.frontier.size();
        for (_, root) in self.marks.iter_mut().filter(|(mark, _)| *mark == size) {
            *root = Some(self.frontier.root());
        }
    }

    pub(super) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(super) fn root(&self) -> TreeHash {
        self.frontier.root()
    }

    /// The root when the tree had this size, if it is one of the marks.
    pub(super) fn marked(&self, size: u64) -> Option<TreeHash> {
        self.marks.iter().find(|(mark, _)| *mark == size)?.1
    }

    /// What `tile`, at level 1 or above, must hold.
    pub(super) fn tile(&self, tile: &Tile) -> Option<&[TreeHash]> {
        let row = self.upper.get(usize::from(tile.level()).checked_sub(1)?)?;
        let from = usize::try_from(tile.index()).ok()?.checked_mul(usize::from(TILE_WIDTH))?;
        row.get(from..from.checked_add(usize::from(tile.width()))?)
    }
}
