//! The Merkle tree over the records of entries, as RFC 6962 builds it.
//!
//! Source: KV-24; RFC 6962 section 2.1.

use kos_base::digest::{Sha256, sha256};

/// The root over `leaves` in their order.
pub(crate) fn root(leaves: &[Sha256]) -> Sha256 {
    match leaves {
        [] => sha256(&[]),
        [leaf] => sha256(&[[0].as_slice(), leaf].concat()),
        _ => {
            // The largest power of two below the number of leaves.
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at_checked(half).unwrap_or((leaves, &[]));
            sha256(&[[1].as_slice(), &root(left), &root(right)].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(left: Sha256, right: Sha256) -> Sha256 {
        sha256(&[[1].as_slice(), &left, &right].concat())
    }

    #[test]
    fn the_tree_has_the_shape_of_rfc_6962() {
        let leaf = |n: u8| sha256(&[[0].as_slice(), &[n; 32]].concat());
        let leaves: Vec<Sha256> = (0..7).map(|n| [n; 32]).collect();
        let four = node(node(leaf(0), leaf(1)), node(leaf(2), leaf(3)));
        assert_eq!(root(&[]), sha256(b""));
        assert_eq!(root(&leaves[..1]), leaf(0));
        assert_eq!(root(&leaves[..3]), node(node(leaf(0), leaf(1)), leaf(2)));
        assert_eq!(root(&leaves[..4]), four);
        assert_eq!(root(&leaves), node(four, node(node(leaf(4), leaf(5)), leaf(6))));
    }
}
