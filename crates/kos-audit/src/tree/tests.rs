//! The tree against published vectors, and against itself computed the slow way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const INCLUSION: &str = include_str!("../../../../tests/vectors/audit/rfc6962/inclusion.json");
const CONSISTENCY: &str = include_str!("../../../../tests/vectors/audit/rfc6962/consistency.json");

/// The leaves of the Certificate Transparency reference, and the roots of the trees of 1 to 8 of them.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InclusionCase {
    name: String,
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Vec<String>,
    valid: bool,
}

#[derive(Deserialize)]
struct ConsistencyCase {
    name: String,
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Vec<String>,
    valid: bool,
}

fn hash(text: &str) -> TreeHash {
    TreeHash::from_base64(text).unwrap()
}

fn hashes(texts: &[String]) -> Vec<TreeHash> {
    texts.iter().map(|text| hash(text)).collect()
}

/// Hashes of leaves that all differ.
fn leaves(count: u64) -> Vec<TreeHash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

/// MTH of RFC 6962 section 2.1, word for word.
fn slow_root(leaves: &[TreeHash]) -> TreeHash {
    match leaves.len() {
        0 => TreeHash::EMPTY,
        1 => leaves[0],
        n => {
            let (left, right) = leaves.split_at(n.next_power_of_two() / 2);
            node_hash(&slow_root(left), &slow_root(right))
        }
    }
}

fn grown(leaves: &[TreeHash]) -> Frontier {
    let mut frontier = Frontier::empty();
    leaves.iter().for_each(|leaf| frontier.append(*leaf).unwrap());
    frontier
}

/// Every tile of a tree that grew in steps to the sizes `sizes`, by path, as a disk would hold them.
fn tiles(leaves: &[TreeHash], sizes: &[u64]) -> BTreeMap<String, Vec<u8>> {
    let mut disk = BTreeMap::<String, Vec<u8>>::new();
    let mut from = 0;
    for to in sizes {
        let growth = TileGrowth::new(from, *to).unwrap();
        let read: Vec<_> = growth.reads().iter().map(|tile| disk[&tile.path()].clone()).collect();
        let new = &first(leaves, *to)[usize::try_from(from).unwrap()..];
        for (tile, bytes) in growth.finish(&read, new).unwrap() {
            disk.insert(tile.path(), bytes);
        }
        from = *to;
    }
    disk
}

fn planned(plan: &ProofPlan, disk: &BTreeMap<String, Vec<u8>>) -> Vec<TreeHash> {
    let read: Vec<_> = plan.tiles().iter().map(|tile| disk[&tile.path()].clone()).collect();
    plan.finish(&read).unwrap()
}

#[test]
fn the_published_roots_are_reproduced() {
    assert_eq!(Frontier::empty().root(), TreeHash::EMPTY);
    let mut frontier = Frontier::empty();
    for (leaf, root) in LEAVES.iter().zip(ROOTS) {
        frontier.append(leaf_hash(&HEXLOWER.decode(leaf.as_bytes()).unwrap())).unwrap();
        assert_eq!(frontier.root().to_string(), root);
    }
}

#[test]
fn the_published_inclusion_proofs_are_judged_alike() {
    for case in serde_json::from_str::<Vec<InclusionCase>>(INCLUSION).unwrap() {
        let head = TreeHead { size: case.tree_size, root: hash(&case.root) };
        let judged = verify_inclusion(&hashes(&case.proof), case.leaf_idx, hash(&case.leaf_hash), &head);
        assert_eq!(judged.is_ok(), case.valid, "{}", case.name);
    }
}

#[test]
fn the_published_consistency_proofs_are_judged_alike() {
    for case in serde_json::from_str::<Vec<ConsistencyCase>>(CONSISTENCY).unwrap() {
        let old = TreeHead { size: case.size1, root: hash(&case.root1) };
        let new = TreeHead { size: case.size2, root: hash(&case.root2) };
        let judged = verify_consistency(&hashes(&case.proof), &old, &new);
        assert_eq!(judged.is_ok(), case.valid, "{}", case.name);
    }
}

/// The first `count` of `leaves`.
fn first(leaves: &[TreeHash], count: u64) -> &[TreeHash] {
    &leaves[..usize::try_from(count).unwrap()]
}

#[test]
fn every_proof_of_a_tree_holds_for_its_own_leaf_and_sizes_only() {
    let leaves = leaves(70);
    let disk = tiles(&leaves, &(1..=70).collect::<Vec<_>>());
    for size in 0..=70 {
        let head = grown(first(&leaves, size)).head();
        assert_eq!(head.root, slow_root(first(&leaves, size)));
        for index in 0..size {
            let proof = planned(&ProofPlan::inclusion(index, size).unwrap(), &disk);
            for (other, leaf) in (0..size).zip(&leaves) {
                let judged = verify_inclusion(&proof, index, *leaf, &head);
                assert_eq!(judged.is_ok(), other == index, "{other} for {index} of {size}");
            }
        }
        for old in 0..=size {
            let proof = planned(&ProofPlan::consistency(old, size).unwrap(), &disk);
            let mut before = grown(first(&leaves, old)).head();
            assert_eq!(verify_consistency(&proof, &before, &head), Ok(()), "{old} to {size}");
            before.root = leaf_hash(b"another");
            assert_eq!(verify_consistency(&proof, &before, &head), Err(ProofMismatch), "{old} to {size}");
        }
    }
}

#[test]
fn a_tree_of_three_levels_of_tiles_is_the_same_however_it_grew() {
    let size = 66_000;
    let leaves = leaves(size);
    let disk = tiles(&leaves, &[size]);
    let stepwise = tiles(&leaves, &[1, 255, 256, 257, 511, 65_535, 65_536, 65_537, 65_900, size]);
    for tile in Tile::all(size) {
        assert_eq!(disk[&tile.path()], stepwise[&tile.path()], "{}", tile.path());
    }
    let count = |level| Tile::all(size).filter(|tile| tile.level() == level).count();
    assert_eq!([0, 1, 2, 3].map(count), [258, 2, 1, 0]);
    let head = grown(&leaves).head();
    for index in [0, 1, 255, 256, 65_535, 65_536, 65_999_u64] {
        let proof = planned(&ProofPlan::inclusion(index, size).unwrap(), &disk);
        let leaf = leaves[usize::try_from(index).unwrap()];
        assert_eq!(verify_inclusion(&proof, index, leaf, &head), Ok(()), "{index}");
    }
    for old in [1, 255, 256, 257, 65_535, 65_536, 65_537, size] {
        let proof = planned(&ProofPlan::consistency(old, size).unwrap(), &disk);
        let before = grown(first(&leaves, old)).head();
        assert_eq!(verify_consistency(&proof, &before, &head), Ok(()), "{old}");
    }
}

#[test]
fn tiles_and_bundles_are_found_under_the_paths_of_c2sp() {
    let last = |size: u64, level: u8| Tile::all(size).filter(|tile| tile.level() == level).last().unwrap();
    for (size, level, path) in [
        (1, 0, "tile/0/000.p/1"),
        (256, 0, "tile/0/000"),
        (256, 1, "tile/1/000.p/1"),
        (70_000, 0, "tile/0/273.p/112"),
        (70_000, 1, "tile/1/001.p/17"),
        (70_000, 2, "tile/2/000.p/1"),
        (1000 * 256 + 5, 0, "tile/0/x001/000.p/5"),
    ] {
        assert_eq!(last(size, level).path(), path);
    }
    let far = Tile::holding(0, 1_234_067 * 256, TREE_SIZE_MAX).unwrap();
    assert_eq!(far.path(), "tile/0/x001/x234/067");
    let paths = |from, to| Bundle::grown(from, to).map(|bundle| bundle.path()).collect::<Vec<_>>();
    assert_eq!(paths(250, 520), ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/8"]);
    assert_eq!(paths(256, 257), ["tile/entries/001.p/1"]);
    assert!(paths(256, 256).is_empty());
    let bundle = Bundle::grown(300, 301).next().unwrap();
    assert_eq!((bundle.first_leaf(), bundle.full().path().as_str()), (256, "tile/entries/001"));
}

#[test]
fn a_bundle_that_ends_inside_a_leaf_gives_its_whole_leaves_first() {
    let mut bytes = Vec::new();
    for leaf in [&b"one"[..], b"", b"three"] {
        Bundle::push(&mut bytes, leaf).unwrap();
    }
    for (cut, whole, torn) in [(0, 3, false), (1, 2, true), (6, 2, true), (7, 2, false), (8, 1, true)] {
        let read: Vec<_> = Bundle::leaves(&bytes[..bytes.len() - cut]).collect();
        assert_eq!(read.iter().filter(|leaf| leaf.is_ok()).count(), whole, "{cut}");
        assert_eq!(read.last() == Some(&Err(Torn)), torn, "{cut}");
    }
    assert_eq!(Bundle::push(&mut bytes, &[0; 65_536]), Err(LeafTooLong { bytes: 65_536 }));
}

#[test]
fn a_path_has_one_spelling() {
    for path in ["tile/0/000", "tile/6/x001/x234/067.p/1", "tile/entries/999.p/255", "tile/entries/x001/000"]
    {
        assert_eq!(Piece::parse(path).map(|piece| piece.path()).as_deref(), Some(path));
    }
    for bad in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/001/000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000/",
        "tile/00/000",
        "tile/+1/000",
        "tile/7/000",
        "tile/entry/000",
        "tile/0/../000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "checkpoint",
    ] {
        assert_eq!(Piece::parse(bad), None, "{bad}");
    }
}

/// What a disk holds of a log whose leaves are their own numbers.
fn log(size: u64) -> (TreeHead, BTreeMap<String, Vec<u8>>) {
    let leaves = leaves(size);
    let mut disk = tiles(&leaves, &[size]);
    for bundle in Bundle::all(size) {
        let mut bytes = Vec::new();
        for n in (bundle.first_leaf()..).take(usize::from(bundle.tile().width())) {
            Bundle::push(&mut bytes, &n.to_be_bytes()).unwrap();
        }
        disk.insert(bundle.path(), bytes);
    }
    (grown(&leaves).head(), disk)
}

/// The pieces that a walk gives back, or why it ends.
fn walked(
    head: TreeHead,
    held: Option<TreeHead>,
    range: core::ops::Range<u64>,
    disk: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Piece>, PieceError> {
    let mut walk = Walk::new(head, held, range)?;
    let mut known = Vec::new();
    while let Some(piece) = walk.next() {
        known.extend(walk.take(disk[&piece.path()].clone())?.into_iter().map(|(piece, _)| piece));
    }
    Ok(known)
}

#[test]
fn a_walk_gives_every_file_that_a_growth_writes() {
    let size = 66_000;
    let (head, disk) = log(size);
    for from in [0, 1, 255, 256, 65_535, 65_536, 65_999] {
        let held = grown(&leaves(from)).head();
        let known = walked(head, Some(held), from..size, &disk).unwrap();
        for piece in Piece::grown(from, size) {
            assert!(known.contains(&piece), "{} from {from}", piece.path());
        }
    }
    let other = TreeHead { size: 65_536, root: leaf_hash(b"another") };
    assert_eq!(walked(head, Some(other), 0..size, &disk), Err(PieceError::Held { size: 65_536 }));
    let same = TreeHead { size, root: leaf_hash(b"another") };
    assert_eq!(walked(head, Some(same), 0..size, &disk), Err(PieceError::Held { size }));
    let more = TreeHead { size: size + 1, ..head };
    assert_eq!(walked(head, Some(more), 0..size, &disk), Err(PieceError::Held { size: size + 1 }));
    assert_eq!(walked(TreeHead { size: 0, root: head.root }, None, 0..0, &disk), Err(PieceError::Root));
    assert_eq!(walked(TreeHead { size: 0, root: TreeHash::EMPTY }, None, 0..0, &disk), Ok(Vec::new()));
}

#[test]
fn what_cannot_be_grown_or_proven_is_refused() {
    let beyond = |asked, size| Some(TreeError::Beyond { asked, size });
    assert_eq!(ProofPlan::inclusion(5, 5).err(), beyond(5, 5));
    assert_eq!(ProofPlan::consistency(6, 5).err(), beyond(6, 5));
    assert_eq!(ProofPlan::inclusion(0, TREE_SIZE_MAX + 1).err(), Some(TreeError::Full));
    assert_eq!(TileGrowth::new(6, 5).err(), beyond(6, 5));
    assert_eq!(TileGrowth::new(0, TREE_SIZE_MAX + 1).err(), Some(TreeError::Full));
    let growth = TileGrowth::new(3, 5).unwrap();
    let short = TreeError::Tile { path: "tile/0/000.p/3".into(), bytes: 95, bytes_wanted: 96 };
    assert_eq!(growth.finish(&[[0; 95]], &leaves(2)), Err(short));
    assert_eq!(growth.finish(&[[0; 96]], &leaves(1)), Err(TreeError::Leaves { given: 1, wanted: 2 }));
    let missing = TreeError::Tile { path: "tile/0/000.p/3".into(), bytes: 0, bytes_wanted: 96 };
    assert_eq!(growth.finish::<Vec<u8>>(&[], &leaves(2)), Err(missing.clone()));
    assert_eq!(ProofPlan::inclusion(1, 3).unwrap().finish::<Vec<u8>>(&[]), Err(missing));
    let full = [TREE_SIZE_MAX.to_be_bytes().to_vec(), vec![7; 53 * 32]].concat();
    let mut frontier = Frontier::from_bytes(&full).unwrap();
    assert_eq!(frontier.append(TreeHash::EMPTY), Err(TreeError::Full));
}

#[test]
fn a_frontier_of_any_other_length_is_refused() {
    let bytes = grown(&leaves(5)).to_bytes();
    assert_eq!(bytes.len(), 8 + 2 * 32);
    for bad in [&bytes[..7], &bytes[..71], &[&bytes[..], &[0]].concat(), &[0xff; 8 + 64 * 32]] {
        assert_eq!(Frontier::from_bytes(bad), Err(TreeError::Frontier));
    }
}

proptest! {
    #[test]
    fn a_frontier_that_was_stored_grows_on_as_if_it_had_not_been(before in 0u64..300, after in 0u64..300) {
        let leaves = leaves(before + after);
        let stored = grown(first(&leaves, before)).to_bytes();
        let mut frontier = Frontier::from_bytes(&stored).unwrap();
        leaves.iter().skip(first(&leaves, before).len()).for_each(|leaf| frontier.append(*leaf).unwrap());
        prop_assert_eq!(frontier.root(), slow_root(&leaves));
    }

    #[test]
    fn a_changed_proof_never_holds(index in 0u64..300, extra in 2u64..300, at in any::<prop::sample::Index>(), bit in 0usize..256) {
        let size = index + extra;
        let leaves = leaves(size);
        let disk = tiles(&leaves, &[size]);
        let mut proof = planned(&ProofPlan::inclusion(index, size).unwrap(), &disk);
        let leaf = leaves[usize::try_from(index).unwrap()];
        let head = grown(&leaves).head();
        prop_assert_eq!(verify_inclusion(&proof, index, leaf, &head), Ok(()));
        let at = at.index(proof.len());
        let changed = &mut proof[at];
        let mut bytes = *changed.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        *changed = TreeHash::from_bytes(bytes);
        prop_assert_eq!(verify_inclusion(&proof, index, leaf, &head), Err(ProofMismatch));
    }

    #[test]
    fn a_walk_takes_no_changed_byte_of_what_it_reads(
        size in 1u64..700,
        ends in any::<(prop::sample::Index, prop::sample::Index)>(),
        held in prop::option::of(any::<prop::sample::Index>()),
        at in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let (head, mut disk) = log(size);
        let pick = |index: prop::sample::Index| u64::try_from(index.index(usize::try_from(size).unwrap())).unwrap();
        let (a, b) = (pick(ends.0), pick(ends.1));
        let range = a.min(b)..a.max(b) + 1;
        let held = held.map(|held| grown(&leaves(pick(held) + 1)).head());
        let known = walked(head, held, range.clone(), &disk).unwrap();
        for bundle in Bundle::all(size) {
            let reaches = bundle.tile().span();
            let is_wanted = reaches.start < range.end && reaches.end > range.start;
            prop_assert_eq!(known.contains(&Piece::Bundle(bundle)), is_wanted);
        }
        let bytes = disk.get_mut(&known[at.0.index(known.len())].path()).unwrap();
        let byte = at.1.index(bytes.len());
        bytes[byte] ^= 1;
        prop_assert!(walked(head, held, range.clone(), &disk).is_err());
        let bytes = disk.get_mut(&known[at.0.index(known.len())].path()).unwrap();
        bytes[byte] ^= 1;
        bytes.truncate(byte);
        prop_assert!(walked(head, held, range, &disk).is_err());
    }
}
