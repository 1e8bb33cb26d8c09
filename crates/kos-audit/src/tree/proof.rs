//! Judging proofs (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

use super::{TreeHash, TreeHead, node_hash};

/// Most hashes of a proof; stops a stranger from making us hash for long.
pub const HASHES_MAX: usize = 63;

/// The proof does not show what it was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to the root of the tree")]
pub struct ProofMismatch;

/// Checks that `leaf` is the hash of the leaf at `index` of the tree with this head.
///
/// # Errors
/// When the proof does not show it.
pub fn verify_inclusion(
    proof: &[TreeHash],
    index: u64,
    leaf: TreeHash,
    head: &TreeHead,
) -> Result<(), ProofMismatch> {
    if index >= head.size || proof.len() > HASHES_MAX {
        return Err(ProofMismatch);
    }
    let (mut node, mut last, mut root) = (index, head.size - 1, leaf);
    for hash in proof {
        if last == 0 {
            return Err(ProofMismatch);
        }
        if node & 1 == 1 || node == last {
            root = node_hash(hash, &root);
            // At the right edge a node without a sibling is its own parent.
            let alone = node.trailing_zeros();
            (node, last) = (node >> alone, last >> alone);
        } else {
            root = node_hash(&root, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && root == head.root { Ok(()) } else { Err(ProofMismatch) }
}

/// Checks that the tree with head `old` is the beginning of the tree with head `new`.
///
/// # Errors
/// When the proof does not show it.
pub fn verify_consistency(proof: &[TreeHash], old: &TreeHead, new: &TreeHead) -> Result<(), ProofMismatch> {
    if old.size == new.size || old.size == 0 {
        let holds = if old.size == 0 { old.root == TreeHash::EMPTY } else { old.root == new.root };
        return if holds && proof.is_empty() { Ok(()) } else { Err(ProofMismatch) };
    }
    if old.size > new.size || proof.len() > HASHES_MAX {
        return Err(ProofMismatch);
    }
    let complete = (old.size - 1).trailing_ones();
    let (mut node, mut last) = ((old.size - 1) >> complete, (new.size - 1) >> complete);
    // When the old tree is itself a complete subtree of the new one, its root is where both start.
    let (seed, proof) = match proof.split_first() {
        _ if node == 0 => (old.root, proof),
        Some((seed, rest)) => (*seed, rest),
        None => return Err(ProofMismatch),
    };
    let (mut old_root, mut new_root) = (seed, seed);
    for hash in proof {
        if last == 0 {
            return Err(ProofMismatch);
        }
        if node & 1 == 1 || node == last {
            old_root = node_hash(hash, &old_root);
            new_root = node_hash(hash, &new_root);
            let alone = node.trailing_zeros();
            (node, last) = (node >> alone, last >> alone);
        } else {
            new_root = node_hash(&new_root, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    let holds = last == 0 && old_root == old.root && new_root == new.root;
    if holds { Ok(()) } else { Err(ProofMismatch) }
}
