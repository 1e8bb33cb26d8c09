//! Proofs, made from tiles: first which tiles they need, then, given those, the hashes.

use super::{Frontier, TREE_SIZE_MAX, Tile, TreeError, TreeHash, node_hash, subtree_root, tile::TILE_HEIGHT};

/// A proof that is still to be computed.
///
/// The tiles are taken as they are: from a damaged one comes a proof that does not verify.
#[derive(Clone, Debug)]
pub struct ProofPlan {
    size: u64,
    /// The hashes of the proof, each as the complete subtrees that it joins, from left to right.
    hashes: Vec<Vec<Node>>,
    tiles: Vec<Tile>,
}

/// A complete subtree: the leaves from `index << height` to before `(index + 1) << height`.
#[derive(Clone, Copy, Debug)]
struct Node {
    height: u32,
    index: u64,
}

impl ProofPlan {
    /// The root of the tree of `size` leaves, from the hashes at its right edge: a proof of one hash.
    ///
    /// # Errors
    /// When there are no leaves.
    pub fn root(size: u64) -> Result<Self, TreeError> {
        if size == 0 {
            return Err(TreeError::Beyond { asked: 0, size });
        }
        Self::new(size, vec![(0, size)])
    }

    /// That the leaf at `index` is in the tree of `size` leaves.
    ///
    /// # Errors
    /// When there is no such leaf.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, TreeError> {
        if index >= size {
            return Err(TreeError::Beyond { asked: index, size });
        }
        let mut ranges = Vec::new();
        let (mut first, mut end) = (0, size);
        while end - first > 1 {
            let middle = first + split(end - first);
            if index < middle {
                ranges.push((middle, end));
                end = middle;
            } else {
                ranges.push((first, middle));
                first = middle;
            }
        }
        Self::new(size, ranges)
    }

    /// That the tree of `old` leaves is the beginning of the tree of `size` leaves.
    ///
    /// # Errors
    /// When the older tree is the larger one.
    pub fn consistency(old: u64, size: u64) -> Result<Self, TreeError> {
        if old > size {
            return Err(TreeError::Beyond { asked: old, size });
        }
        let mut ranges = Vec::new();
        let (mut first, mut end) = (0, size);
        while old > 0 && old < end {
            let middle = first + split(end - first);
            if old <= middle {
                ranges.push((middle, end));
                end = middle;
            } else {
                ranges.push((first, middle));
                first = middle;
            }
        }
        // The verifier knows the old root, so the proof leaves it out when the old tree is one of its subtrees.
        if first > 0 {
            ranges.push((first, end));
        }
        Self::new(size, ranges)
    }

    /// `ranges` of leaves from the root down; a proof goes from the leaf up.
    fn new(size: u64, ranges: Vec<(u64, u64)>) -> Result<Self, TreeError> {
        if size > TREE_SIZE_MAX {
            return Err(TreeError::Full);
        }
        let hashes: Vec<_> = ranges.into_iter().rev().map(|(first, end)| subtrees(first, end)).collect();
        let mut tiles: Vec<_> = hashes.iter().flatten().filter_map(|node| node.tile(size)).collect();
        tiles.sort_unstable();
        tiles.dedup();
        Ok(Self { size, hashes, tiles })
    }

    /// The tiles to read, at their width in the tree of this size.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// The hashes of the proof, in the order of RFC 6962. `tiles` are the bytes of [`ProofPlan::tiles`] in the same
    /// order.
    ///
    /// # Errors
    /// When one is missing or does not have the length of its width; write it again from the entries.
    ///
    /// Cost: at most 255 hashes a hash of the proof.
    pub fn finish<T: AsRef<[u8]>>(&self, tiles: &[T]) -> Result<Vec<TreeHash>, TreeError> {
        let rows = rows_of(&self.tiles, tiles)?;
        let hash_of = |subtrees: &Vec<Node>| {
            let roots =
                subtrees.iter().map(|node| node.hash(self.size, &rows)).collect::<Option<Vec<_>>>()?;
            roots.into_iter().rev().reduce(|right, left| node_hash(&left, &right))
        };
        let hashes = self.hashes.iter().map(hash_of).collect::<Option<Vec<_>>>();
        hashes.ok_or(TreeError::Beyond { asked: self.size, size: self.size })
    }
}

/// The right edge of a tree, or of an earlier one that is its beginning, still to be read from tiles.
#[derive(Clone, Debug)]
pub struct EdgePlan {
    of: u64,
    size: u64,
    peaks: Vec<Node>,
    tiles: Vec<Tile>,
}

impl EdgePlan {
    /// The edge of the first `of` leaves of a tree of `size` leaves.
    ///
    /// # Errors
    /// When the tree has fewer.
    pub fn new(of: u64, size: u64) -> Result<Self, TreeError> {
        if size > TREE_SIZE_MAX {
            return Err(TreeError::Full);
        }
        if of > size {
            return Err(TreeError::Beyond { asked: of, size });
        }
        let peaks = subtrees(0, of);
        let mut tiles: Vec<_> = peaks.iter().filter_map(|node| node.tile(size)).collect();
        tiles.sort_unstable();
        tiles.dedup();
        Ok(Self { of, size, peaks, tiles })
    }

    /// The tiles to read, at their width in the tree of this size. Where both trees are one, these are all that are partial.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// The edge. `tiles` are the bytes of [`EdgePlan::tiles`] in the same order; a damaged one gives another root.
    ///
    /// # Errors
    /// When one is missing or does not have the length of its width.
    pub fn finish<T: AsRef<[u8]>>(&self, tiles: &[T]) -> Result<Frontier, TreeError> {
        let rows = rows_of(&self.tiles, tiles)?;
        let peaks = self.peaks.iter().map(|node| node.hash(self.size, &rows)).collect::<Option<Vec<_>>>();
        let peaks = peaks.ok_or(TreeError::Beyond { asked: self.of, size: self.size })?;
        Ok(Frontier::of_peaks(self.of, peaks))
    }
}

/// Each tile with its hashes.
fn rows_of<T: AsRef<[u8]>>(tiles: &[Tile], bytes: &[T]) -> Result<Vec<(Tile, Vec<TreeHash>)>, TreeError> {
    let mut rows = Vec::with_capacity(tiles.len());
    for (at, tile) in tiles.iter().enumerate() {
        let bytes = bytes.get(at).map(AsRef::as_ref).unwrap_or_default();
        rows.push((*tile, tile.hashes(bytes)?.collect::<Vec<_>>()));
    }
    Ok(rows)
}

impl Node {
    /// Level of the tile that it is in or under, and the nodes of that level that it spans.
    fn span(self) -> (u8, u64, u64) {
        let level = u8::try_from(self.height / TILE_HEIGHT).unwrap_or(u8::MAX);
        let below = self.height % TILE_HEIGHT;
        (level, self.index << below, 1 << below)
    }

    fn tile(self, size: u64) -> Option<Tile> {
        let (level, first, _) = self.span();
        Tile::holding(level, first, size)
    }

    fn hash(self, size: u64, rows: &[(Tile, Vec<TreeHash>)]) -> Option<TreeHash> {
        let (_, first, count) = self.span();
        let wanted = self.tile(size)?;
        let at = rows.binary_search_by_key(&wanted, |(tile, _)| *tile).ok()?;
        let (_, row) = rows.get(at)?;
        let from = usize::try_from(first - (wanted.index() << TILE_HEIGHT)).ok()?;
        row.get(from..from + usize::try_from(count).ok()?).map(subtree_root)
    }
}

/// Where a tree of `size` leaves divides: the largest power of two below it.
const fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The complete subtrees that the leaves from `first` to before `end` consist of. `first` is where such a range of the
/// tree can begin, so each is at its place.
fn subtrees(mut first: u64, end: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    while first < end {
        let height = (end - first).ilog2();
        nodes.push(Node { height, index: first >> height });
        first += 1 << height;
    }
    nodes
}
