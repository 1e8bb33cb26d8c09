//! The right edge of a growing tree: enough to append leaves and to know the root, and no more.

use super::{HASH_BYTES, TREE_SIZE_MAX, TreeError, TreeHash, TreeHead, node_hash, tile::TILE_HEIGHT};

/// The roots of the complete subtrees that a tree consists of, largest first: one per one-bit of its size.
///
/// Appending costs one hash on average; the root costs at most 53.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<TreeHash>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves whose complete subtrees have the roots `peaks`: as many as `size` has one-bits.
    pub(super) const fn of_peaks(size: u64, peaks: Vec<TreeHash>) -> Self {
        Self { size, peaks }
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends the hash of a leaf.
    ///
    /// # Errors
    /// When the tree is full.
    pub fn append(&mut self, leaf: TreeHash) -> Result<(), TreeError> {
        self.push(leaf).map(drop)
    }

    /// Appends the hash of a leaf and tells which nodes that tiles above level 0 hold it completed, lowest first.
    pub(crate) fn push(&mut self, leaf: TreeHash) -> Result<Vec<TreeHash>, TreeError> {
        if self.size == TREE_SIZE_MAX {
            return Err(TreeError::Full);
        }
        let mut completed = Vec::new();
        let mut hash = leaf;
        for height in 1..=self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            if height % TILE_HEIGHT == 0 {
                completed.push(hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        Ok(completed)
    }

    /// The root.
    pub fn root(&self) -> TreeHash {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        joined.unwrap_or(TreeHash::EMPTY)
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    /// The size as a big-endian u64, and the roots: 8 to 1 704 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.peaks.iter().flat_map(TreeHash::as_bytes));
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote. Its root says whether it is that of the log.
    ///
    /// # Errors
    /// When the bytes are of any other length, or the size is too large.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TreeError> {
        let (size, hashes) = bytes.split_first_chunk::<8>().ok_or(TreeError::Frontier)?;
        let size = u64::from_be_bytes(*size);
        let (hashes, rest) = hashes.as_chunks::<HASH_BYTES>();
        let peaks = usize::try_from(size.count_ones()).map_err(|_| TreeError::Frontier)?;
        if size > TREE_SIZE_MAX || hashes.len() != peaks || !rest.is_empty() {
            return Err(TreeError::Frontier);
        }
        Ok(Self { size, peaks: hashes.iter().map(|hash| TreeHash::from_bytes(*hash)).collect() })
    }
}
