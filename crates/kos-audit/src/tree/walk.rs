//! From the signed root down to the leaves of a range, each file judged before anything is done with it.
//!
//! Shape: the tiles at the right edge together give the root; a consistency proof made from tiles ties it to an earlier
//! head; then every hash of a tile vouches for the tile or the leaf below it. So whoever copies or reads a part of a log
//! needs nothing but the head and what lies on the way.
//!
//! Invariants: what [`Walk::take`] gives back is under the root. The walk holds one tile a level.
//!
//! Errors: [`PieceError`], which names the piece; the same one can be given again from elsewhere, unless it is
//! [`PieceError::Root`] or [`PieceError::Held`], after which there is nothing to go on with.
//!
//! What it does not do: check signatures, of the head or of leaves.
//!
//! Source: `docs/spec/audit.md` AUD-36 to AUD-39, AUD-72, AUD-74.

use core::ops::Range;

use super::{
    Bundle, Piece, ProofPlan, TILE_WIDTH, Tile, TreeError, TreeHash, TreeHead, leaf_hash, subtree_root,
    tile::Torn, verify_consistency,
};

/// Why bytes are not those of a piece.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// A tile that does not have its length.
    #[error(transparent)]
    Length(#[from] TreeError),
    /// A bundle that ends inside a leaf, or has more or fewer than it should.
    #[error("`{path}` holds {leaves} entries instead of {wanted}")]
    Leaves {
        /// Which.
        path: String,
        /// Whole leaves in it.
        leaves: usize,
        /// As many as there should be.
        wanted: usize,
    },
    /// A leaf that is not the one in the tree.
    #[error("the entry of index {index} is not the one in the tree")]
    Leaf {
        /// Its index.
        index: u64,
    },
    /// A tile whose hashes are not those in the tree.
    #[error("`{path}` does not hold the hashes of the tree")]
    Hashes {
        /// Which.
        path: String,
    },
    /// The right edge of the tree gives another root.
    #[error("the tiles at the right edge do not lead to the root that is signed")]
    Root,
    /// The tiles do not show that the earlier tree is the beginning of this one.
    #[error("the first {size} entries are not those of the held checkpoint")]
    Held {
        /// How many entries the earlier tree has.
        size: u64,
    },
}

/// Tiles that are judged together.
#[derive(Clone, Debug)]
struct Gathering {
    plan: ProofPlan,
    got: Vec<Vec<u8>>,
}

/// What vouches for a piece.
#[derive(Clone, Debug)]
enum Vouched {
    /// The root over a full tile.
    Root(TreeHash),
    /// The hash of each leaf.
    Leaves(Vec<TreeHash>),
}

/// A walk in progress.
#[derive(Clone, Debug)]
pub struct Walk {
    head: TreeHead,
    held: Option<TreeHead>,
    range: Range<u64>,
    edge: Option<Gathering>,
    consistency: Option<Gathering>,
    /// What is to come below the edge, the next last.
    ahead: Vec<(Piece, Vouched)>,
}

impl Walk {
    /// A walk through the tree with this head. `held` is the head of a tree that must be its beginning; `range` is of
    /// leaves, and only what lies above and at them is visited.
    ///
    /// # Errors
    /// When the held tree is the larger one, or of the same size and another; when a tree without leaves has a root.
    pub fn new(head: TreeHead, held: Option<TreeHead>, range: Range<u64>) -> Result<Self, PieceError> {
        let mut walk = Self { head, held, range, edge: None, consistency: None, ahead: Vec::new() };
        if head.size == 0 && head.root != TreeHash::EMPTY {
            return Err(PieceError::Root);
        }
        if head.size > 0 {
            walk.edge = Some(Gathering { plan: ProofPlan::root(head.size)?, got: Vec::new() });
        }
        if let Some(held) = held {
            let other = held.size == head.size && held.root != head.root;
            let plan = ProofPlan::consistency(held.size, head.size);
            let plan = plan.ok().filter(|_| !other).ok_or(PieceError::Held { size: held.size })?;
            // With no tiles to read there is nothing to compare: the beginning is empty, or the whole.
            walk.consistency =
                Some(Gathering { plan, got: Vec::new() }).filter(|gathering| gathering.next().is_some());
        }
        Ok(walk)
    }

    /// What to read next; nothing when everything was visited.
    pub fn next(&self) -> Option<Piece> {
        let gathered = self.edge.as_ref().or(self.consistency.as_ref()).and_then(Gathering::next);
        gathered.or_else(|| self.ahead.last().map(|(piece, _)| *piece))
    }

    /// Whether what comes next is judged together with others: a wrong one shows only at the last, and ends the walk.
    pub const fn gathers(&self) -> bool {
        self.edge.is_some() || self.consistency.is_some()
    }

    /// Judges the bytes of [`Walk::next`], and gives back what is known to be in the tree by now and was not before.
    ///
    /// # Errors
    /// When they are not what is in the tree.
    ///
    /// Cost: one hash a leaf or hash in it.
    pub fn take(&mut self, bytes: Vec<u8>) -> Result<Vec<(Piece, Vec<u8>)>, PieceError> {
        if let Some(edge) = &mut self.edge {
            edge.take(bytes)?;
            let Some(root) = edge.finished()? else { return Ok(Vec::new()) };
            if root != [self.head.root] {
                return Err(PieceError::Root);
            }
            let Some(Gathering { plan, got }) = self.edge.take() else { return Ok(Vec::new()) };
            // Levels rise in the plan; the highest is the beginning of the tree.
            for (tile, bytes) in plan.tiles().iter().zip(&got) {
                self.descend(tile, tile.hashes(bytes)?.collect());
            }
            return Ok(plan.tiles().iter().copied().map(Piece::Tile).zip(got).collect());
        }
        if let Some(consistency) = &mut self.consistency {
            consistency.take(bytes)?;
            let Some(proof) = consistency.finished()? else { return Ok(Vec::new()) };
            if let Some(held) = self.held.filter(|held| verify_consistency(&proof, held, &self.head).is_err())
            {
                return Err(PieceError::Held { size: held.size });
            }
            self.consistency = None;
            return Ok(Vec::new());
        }
        let Some((piece, vouched)) = self.ahead.last() else { return Ok(Vec::new()) };
        let piece = *piece;
        match (piece, vouched) {
            (Piece::Tile(tile), Vouched::Root(root)) => {
                let hashes: Vec<_> = tile.hashes(&bytes)?.collect();
                if subtree_root(&hashes) != *root {
                    return Err(PieceError::Hashes { path: tile.path() });
                }
                self.ahead.pop();
                self.descend(&tile, hashes);
            }
            (Piece::Bundle(bundle), Vouched::Leaves(hashes)) => {
                check_leaves(&bundle, &bytes, hashes)?;
                self.ahead.pop();
            }
            // Neither is ever made.
            (Piece::Tile(_), Vouched::Leaves(_)) | (Piece::Bundle(_), Vouched::Root(_)) => {}
        }
        Ok(vec![(piece, bytes)])
    }

    /// Goes past [`Walk::next`] without it; nothing below it is visited. The edge and the held tree cannot be passed.
    pub fn skip(&mut self) -> bool {
        !self.gathers() && self.ahead.pop().is_some()
    }

    fn descend(&mut self, tile: &Tile, hashes: Vec<TreeHash>) {
        let range = self.range.clone();
        let is_wanted = move |tile: &Tile| {
            let span = tile.span();
            span.start < range.end && span.end > range.start
        };
        if tile.level() == 0 {
            if is_wanted(tile) {
                self.ahead.push((Piece::Bundle(Bundle::of(*tile)), Vouched::Leaves(hashes)));
            }
            return;
        }
        let below =
            (0..u64::from(TILE_WIDTH)).zip(hashes).filter_map(|(at, hash)| Some((tile.below(at)?, hash)));
        let mut below: Vec<_> = below.filter(|(tile, _)| is_wanted(tile)).collect();
        below.reverse();
        self.ahead.extend(below.into_iter().map(|(tile, hash)| (Piece::Tile(tile), Vouched::Root(hash))));
    }
}

impl Gathering {
    fn next(&self) -> Option<Piece> {
        self.plan.tiles().get(self.got.len()).copied().map(Piece::Tile)
    }

    fn take(&mut self, bytes: Vec<u8>) -> Result<(), PieceError> {
        if let Some(Piece::Tile(tile)) = self.next() {
            tile.hashes(&bytes).map(drop)?;
            self.got.push(bytes);
        }
        Ok(())
    }

    /// The hashes that the tiles give, once all are there.
    fn finished(&self) -> Result<Option<Vec<TreeHash>>, PieceError> {
        if self.next().is_some() { Ok(None) } else { Ok(Some(self.plan.finish(&self.got)?)) }
    }
}

fn check_leaves(bundle: &Bundle, bytes: &[u8], hashes: &[TreeHash]) -> Result<(), PieceError> {
    let whole = Bundle::leaves(bytes).filter(Result::is_ok).count();
    let torn = Bundle::leaves(bytes).any(|leaf| leaf == Err(Torn));
    for ((index, hash), leaf) in (bundle.first_leaf()..).zip(hashes).zip(Bundle::leaves(bytes).flatten()) {
        if leaf_hash(leaf) != *hash {
            return Err(PieceError::Leaf { index });
        }
    }
    if torn || whole != hashes.len() {
        return Err(PieceError::Leaves { path: bundle.path(), leaves: whole, wanted: hashes.len() });
    }
    Ok(())
}
