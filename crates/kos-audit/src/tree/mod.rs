//! The Merkle tree of RFC 6962 with SHA-256, kept in the tiles of C2SP tlog-tiles.
//!
//! [`Frontier`] grows the tree leaf by leaf and knows its root; [`TileGrowth`] says which tiles and bundles to write for
//! that; [`ProofPlan`] says which tiles to read for a proof and computes it, [`EdgePlan`] does so for an earlier
//! [`Frontier`]; [`verify_inclusion`] and [`verify_consistency`] judge one; [`Walk`] goes down from the root to the leaves of a range.
//! Nothing here reads or writes: hashes and tiles come in and go out as bytes.
//!
//! A tree has at most [`TREE_SIZE_MAX`] leaves. Hashes are in the order of the tree; sizes and indices count leaves.
//!
//! Source: RFC 6962 section 2.1, RFC 9162 section 2.1; `docs/spec/audit.md` AUD-29 to AUD-42.

mod frontier;
mod growth;
mod plan;
mod proof;
mod tile;
mod walk;

use core::fmt;

use aws_lc_rs::digest;
use data_encoding::{BASE64, HEXLOWER};
use kos_base::{Code, code, text::base64};

pub use frontier::Frontier;
pub use growth::TileGrowth;
pub use plan::{EdgePlan, ProofPlan};
pub use proof::{HASHES_MAX, ProofMismatch, verify_consistency, verify_inclusion};
pub use tile::{Bundle, LeafTooLong, Piece, TILE_WIDTH, Tile, Torn};
pub use walk::{PieceError, Walk};

/// Most leaves of a tree: what every JSON reader keeps exactly, and far from any overflow.
pub const TREE_SIZE_MAX: u64 = (1 << 53) - 1;

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// A hash of the tree: of a leaf, or of two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHash([u8; HASH_BYTES]);

impl TreeHash {
    /// The root of the tree without leaves: SHA-256 of nothing.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// Takes 32 bytes over, as read from a tile or a store.
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// As checkpoints and proofs write it.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Reads what [`TreeHash::to_base64`] writes, and nothing else.
    pub fn from_base64(text: &str) -> Option<Self> {
        base64(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeHash({self})")
    }
}

/// How large a tree is, and its root: everything that a signature over it has to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// How many leaves.
    pub size: u64,
    /// The root.
    pub root: TreeHash,
}

/// The hash of a leaf: SHA-256 of a zero byte and the leaf.
pub fn leaf_hash(leaf: &[u8]) -> TreeHash {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&[0]);
    hash.update(leaf);
    finished(hash.finish())
}

/// The hash of a node: SHA-256 of a one byte and its two children.
pub fn node_hash(left: &TreeHash, right: &TreeHash) -> TreeHash {
    let mut node = [1; 1 + 2 * HASH_BYTES];
    if let Some((first, second)) = node.split_at_mut_checked(1 + HASH_BYTES) {
        if let Some(first) = first.get_mut(1..) {
            first.copy_from_slice(&left.0);
        }
        second.copy_from_slice(&right.0);
    }
    finished(digest::digest(&digest::SHA256, &node))
}

fn finished(hash: digest::Digest) -> TreeHash {
    let mut bytes = [0; HASH_BYTES];
    bytes.copy_from_slice(hash.as_ref());
    TreeHash(bytes)
}

/// The root of a complete subtree whose leaves' hashes, a power of two of them, are `hashes`.
fn subtree_root(hashes: &[TreeHash]) -> TreeHash {
    match hashes {
        [] => TreeHash::EMPTY,
        [hash] => *hash,
        [left, right] => node_hash(left, right),
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&subtree_root(left), &subtree_root(right))
        }
    }
}

/// Why a tree cannot be grown or read as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The tree would have more than [`TREE_SIZE_MAX`] leaves.
    #[error("a tree of more than {TREE_SIZE_MAX} leaves")]
    Full,
    /// No leaf at this index in a tree of this size, or a tree that would shrink.
    #[error("{asked} is beyond a tree of {size} leaves")]
    Beyond {
        /// What was asked for.
        asked: u64,
        /// How many leaves there are.
        size: u64,
    },
    /// A tile is missing or does not have the length of its width.
    #[error("`{path}` has {bytes} bytes instead of {bytes_wanted}")]
    Tile {
        /// Which.
        path: String,
        /// What was given.
        bytes: usize,
        /// What it must have.
        bytes_wanted: usize,
    },
    /// Not as many leaves as the tree grows by.
    #[error("{given} leaves for a tree that grows by {wanted}")]
    Leaves {
        /// How many were given.
        given: usize,
        /// How many the tree grows by.
        wanted: u64,
    },
    /// The bytes are not a frontier.
    #[error("not the frontier of a tree")]
    Frontier,
}

impl TreeError {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Beyond { .. } => code::audit::LOG_NO_SUCH_ENTRY,
            _ => code::audit::LOG_TREE,
        }
    }
}

#[cfg(test)]
mod tests;
