//! The Merkle tree of RFC 6962, 2.1, over the messages of one batch.

use kos_base::digest::{Sha256, sha256};

/// Prefixes that keep a leaf from passing for a node (RFC 6962, 2.1).
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// Hash of a leaf.
pub(super) fn leaf(bytes: &[u8]) -> Sha256 {
    hash(LEAF, bytes, &[])
}

fn node(left: &Sha256, right: &Sha256) -> Sha256 {
    hash(NODE, left, right)
}

fn hash(prefix: u8, a: &[u8], b: &[u8]) -> Sha256 {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(&[prefix]);
    context.update(a);
    context.update(b);
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Root over `leaves`, and the audit path of each, leaf to root.
pub(super) fn tree(leaves: &[Sha256]) -> (Sha256, Vec<Vec<Sha256>>) {
    match leaves {
        [] => (sha256(&[]), Vec::new()),
        [only] => (*only, vec![Vec::new()]),
        _ => {
            // The left half is the largest power of two that is smaller than the whole.
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let ((left_root, mut left_paths), (right_root, mut right_paths)) = (tree(left), tree(right));
            left_paths.iter_mut().for_each(|path| path.push(right_root));
            right_paths.iter_mut().for_each(|path| path.push(left_root));
            left_paths.append(&mut right_paths);
            (node(&left_root, &right_root), left_paths)
        }
    }
}

/// The root that `path` leads to from the leaf at `index` of `count`; none when the path has another length than the
/// tree demands there (RFC 9162, 2.1.3.2).
pub(super) fn climb(leaf: Sha256, index: u64, count: u64, path: &[Sha256]) -> Option<Sha256> {
    let mut last = count.checked_sub(1).filter(|last| index <= *last)?;
    let (mut at, mut hash) = (index, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn every_leaf_of_every_small_tree_climbs_to_its_root_and_to_no_other_place() {
        for count in 1..=33u64 {
            let leaves: Vec<_> = (0..count).map(|n| leaf(&n.to_be_bytes())).collect();
            let (root, paths) = tree(&leaves);
            for (index, path) in (0..).zip(&paths) {
                let own = leaves[usize::try_from(index).unwrap()];
                assert_eq!(climb(own, index, count, path), Some(root), "{index} of {count}");
                for other in (0..count).filter(|other| *other != index) {
                    assert_ne!(climb(own, other, count, path), Some(root), "{index} as {other} of {count}");
                }
                let mut longer = path.clone();
                longer.push(root);
                assert_eq!(climb(own, index, count, &longer), None);
                assert_eq!(climb(own, count, count, path), None);
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_certificate_transparency_test_data() {
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let leaves: Vec<_> =
            inputs.iter().map(|hex| leaf(&HEXLOWER.decode(hex.as_bytes()).unwrap())).collect();
        for (count, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(HEXLOWER.encode(&tree(&leaves[..count]).0), root, "{count}");
        }
    }
}
