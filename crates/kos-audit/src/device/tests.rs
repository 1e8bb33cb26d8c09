use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{EntryId, KeyAlgorithm, PublicKey, Timestamp};

use super::*;
use crate::{
    Actor, BootId, Details, Entry, EventType, LogKey, Sequence, TreeHash, TreeHead, UnsignedEntry,
    tree::Bundle,
    verify::{LeafReading, LogCheck},
};

type Files = BTreeMap<String, Vec<u8>>;

/// A device with a disk.
struct Model {
    pair: Ed25519KeyPair,
    ledger: Ledger,
    files: Files,
    tail: Vec<u8>,
}

fn read(files: &Files) -> impl Fn(&str) -> Option<Vec<u8>> + '_ {
    |path| files.get(path).cloned()
}

impl Model {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
        let device = "kdev-7f4ac30123456789".parse().unwrap();
        let key = LogKey::of_device(&"attic".parse().unwrap(), &device, public).unwrap();
        Self { pair, ledger: Ledger::empty(key), files: Files::new(), tail: tail_head(0).to_vec() }
    }

    fn leaf(&self, index: u64, event: EventType) -> Vec<u8> {
        let now = Timestamp::from_unix_ms(1_795_170_000_000 + index);
        let entry = Entry {
            actor: Actor::Device("kdev-7f4ac30123456789".parse().unwrap()),
            boot_id: BootId::new(EntryId::from_parts(now, [7; 10])),
            details: Details::none(),
            event_type: event,
            id: EntryId::from_parts(now, [1; 10]),
            key_id: self.ledger.key().id(),
            sequence: Sequence::at_index(index).unwrap(),
            target: None,
            timestamp: now,
        };
        let unsigned = UnsignedEntry::new(&entry, self.ledger.key()).unwrap();
        let signature = self.pair.sign(&unsigned.to_be_signed()).as_ref().try_into().unwrap();
        unsigned.finish(signature).as_bytes().to_vec()
    }

    fn append(&mut self) {
        let leaf = self.leaf(self.ledger.size(), EventType::DeviceBooted);
        self.ledger.append(&leaf).unwrap();
        Bundle::push(&mut self.tail, &leaf).unwrap();
        if self.ledger.is_at_the_end_of_a_bundle() {
            self.cover();
        }
    }

    fn sign(&self, head: TreeHead) -> String {
        let checkpoint = crate::Checkpoint {
            origin: self.ledger.key().origin().clone(),
            head,
            time: Timestamp::from_unix_ms(1_795_180_000_000),
        };
        let signature = self.pair.sign(checkpoint.to_be_signed().as_bytes()).as_ref().try_into().unwrap();
        checkpoint.finish(self.ledger.key(), signature).to_string()
    }

    fn cover(&mut self) {
        if self.ledger.size() == self.ledger.covered().size {
            return;
        }
        let open = self.ledger.open_bundle().map(|bundle| self.files[&bundle.path()].clone());
        let mut bundle = open.unwrap_or_default();
        bundle.extend_from_slice(&self.tail[TAIL_HEAD_BYTES..]);
        let growth = self.ledger.growth(bundle).unwrap();
        let checkpoint = self.sign(self.ledger.checkpoint(Timestamp::default()).head);
        write(&mut self.files, &growth, &checkpoint);
        self.ledger.settle(growth);
        self.tail = tail_head(self.ledger.size()).to_vec();
    }

    fn leaves(&self) -> Vec<Vec<u8>> {
        let size = self.ledger.covered().size;
        let bytes = Bundle::all(size).flat_map(|bundle| {
            Bundle::leaves(&self.files[&bundle.path()]).map(|leaf| leaf.unwrap().to_vec()).collect::<Vec<_>>()
        });
        bytes.collect()
    }

    fn load(&self) -> Result<(Ledger, TailRead), LedgerError> {
        let key = self.ledger.key().clone();
        let mut ledger = match self.files.get("checkpoint") {
            Some(text) => Ledger::load(key, core::str::from_utf8(text).unwrap(), read(&self.files))?,
            None => Ledger::empty(key),
        };
        let tail = ledger.take_tail(&self.tail)?;
        Ok((ledger, tail))
    }
}

fn write(files: &mut Files, growth: &Growth, checkpoint: &str) {
    files.extend(growth.files.iter().cloned());
    files.insert("checkpoint".to_owned(), checkpoint.as_bytes().to_vec());
    for path in &growth.stale {
        files.remove(path);
    }
}

/// Brings everything from `device` to `copy`.
fn deliver(device: &Model, copy: &mut Ledger, files: &mut Files) -> Result<(), DeliveryFault> {
    let (all, mut courier) = (device.leaves(), Courier::default());
    courier.linked();
    while let Some(errand) = courier.next(device.ledger.covered().size) {
        courier.sent();
        let (first, leaves, head) = match errand {
            Errand::Offer => (device.ledger.covered().size, &[][..], device.ledger.covered()),
            Errand::Bring { from, until } => {
                let until = until.min(from + 10);
                let mut edge = device.ledger.edge(from, read(&device.files)).unwrap();
                let range = usize::try_from(from).unwrap()..usize::try_from(until).unwrap();
                for leaf in &all[range.clone()] {
                    edge.append(crate::tree::leaf_hash(leaf)).unwrap();
                }
                (from, &all[range], edge.head())
            }
        };
        let leaves: Vec<_> = leaves.iter().map(Vec::as_slice).collect();
        let checkpoint = device.sign(head);
        let open = |bundle: &Bundle| files[&bundle.path()].clone();
        if let Taken::Grown { growth, .. } = receive(copy, first, &leaves, &checkpoint, open)? {
            write(files, &growth, &checkpoint);
            copy.settle(growth);
        }
        let held = copy.covered();
        let own = device.ledger.edge(held.size, read(&device.files)).ok().map(|edge| edge.root());
        courier.answered(held, own).unwrap();
    }
    Ok(())
}

#[test]
fn a_log_grows_is_loaded_again_and_verifies() {
    let mut device = Model::new(1);
    for n in 0..600_u64 {
        device.append();
        if n % 7 == 0 {
            device.cover();
        }
        if n % 50 == 0 {
            let (loaded, tail) = device.load().unwrap();
            assert_eq!((loaded.size(), loaded.covered()), (device.ledger.size(), device.ledger.covered()));
            assert_eq!(tail.cut, 0);
        }
    }
    device.cover();
    let text = String::from_utf8(device.files["checkpoint"].clone()).unwrap();
    let mut check = LogCheck::new(device.ledger.key(), &[], &text, None);
    for bundle in Bundle::all(check.size()) {
        let stored = check.tile(bundle.tile(), device.files.get(&bundle.tile().path()).map(Vec::as_slice));
        for (leaf, hash) in Bundle::leaves(&device.files[&bundle.path()]).zip(stored) {
            check.leaf(LeafReading::of(leaf.unwrap(), device.ledger.key()), Some(hash));
        }
    }
    let tiles = crate::tree::Tile::all(check.size()).filter(|tile| tile.level() > 0);
    for tile in tiles {
        check.tile(tile, device.files.get(&tile.path()).map(Vec::as_slice));
    }
    let verdict = check.finish();
    assert!(verdict.is_ok(), "{:?}", verdict.failures);
    assert_eq!(verdict.entries_checked, 600);
    // What replaced partial files is all that is left.
    assert_eq!(device.files.keys().filter(|path| path.contains(".p/")).count(), 3);
}

#[test]
fn the_copy_becomes_the_same_folder_and_goes_on_after_any_cut() {
    let (mut device, mut files) = (Model::new(1), Files::new());
    let mut copy = Ledger::empty(device.ledger.key().clone());
    for _ in 0..7 {
        for _ in 0..75 {
            device.append();
        }
        device.cover();
        deliver(&device, &mut copy, &mut files).unwrap();
        assert_eq!(copy.covered(), device.ledger.covered());
        let text = String::from_utf8(files["checkpoint"].clone()).unwrap();
        copy = Ledger::load(copy.key().clone(), &text, read(&files)).unwrap();
    }
    let without = |files: &Files| {
        files.iter().filter(|(path, _)| *path != "checkpoint").map(|(p, b)| (p.clone(), b.clone())).collect()
    };
    let (own, brought): (Files, Files) = (without(&device.files), without(&files));
    assert_eq!(own, brought);
}

#[test]
fn a_torn_write_is_cut_and_whatever_else_is_wrong_at_the_end_is_refused() {
    let mut device = Model::new(1);
    (0..5).for_each(|_| device.append());
    device.cover();
    (0..3).for_each(|_| device.append());
    let whole = device.tail.clone();
    let ends: Vec<_> = {
        let mut at = TAIL_HEAD_BYTES;
        let lengths = Bundle::leaves(&whole[TAIL_HEAD_BYTES..]).map(|leaf| leaf.unwrap().len() + 2);
        lengths
            .map(|n| {
                at += n;
                at
            })
            .collect()
    };
    for length in 0..=whole.len() {
        device.tail = whole[..length].to_vec();
        let (loaded, tail) = device.load().unwrap();
        let stand = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(loaded.size(), 5 + u64::try_from(stand).unwrap(), "{length}");
        assert_eq!(tail.kept + tail.cut, length);
    }
    // A page that never reached the disk reads as zeros.
    device.tail = whole.clone();
    let last = ends[1];
    device.tail[last..].fill(0);
    let (loaded, tail) = device.load().unwrap();
    assert_eq!((loaded.size(), tail.kept), (7, last));
    device.tail = [&whole[..], &[1; 20_000][..]].concat();
    assert_eq!(device.load().unwrap_err(), LedgerError::Tail);
    device.tail = whole;
    device.tail[..8].copy_from_slice(&tail_head(6));
    assert_eq!(device.load().unwrap_err(), LedgerError::Tail);
}

#[test]
fn a_tail_that_a_checkpoint_has_overtaken_goes_on_behind_it() {
    let mut device = Model::new(1);
    (0..5).for_each(|_| device.append());
    let overtaken = device.tail.clone();
    device.cover();
    device.tail = overtaken;
    let (mut loaded, read) = device.load().unwrap();
    assert_eq!((loaded.size(), loaded.covered().size), (5, 5));
    assert_eq!(read.anew(&device.tail, 5), Some(tail_head(5).to_vec()));
    // An entry came behind the ones that are in a bundle.
    let leaf = device.leaf(5, EventType::KillArmed);
    Bundle::push(&mut device.tail, &leaf).unwrap();
    (loaded, _) = device.load().unwrap();
    assert_eq!((loaded.size(), loaded.covered().size), (6, 5));
    let read = device.load().unwrap().1;
    let mut wanted = tail_head(5).to_vec();
    Bundle::push(&mut wanted, &leaf).unwrap();
    assert_eq!(read.anew(&device.tail, 5), Some(wanted.clone()));
    device.tail = wanted;
    assert_eq!(device.load().unwrap().1.anew(&device.tail, 5), None);
}

#[test]
fn whatever_is_changed_below_the_checkpoint_is_found_at_the_start() {
    let mut device = Model::new(1);
    (0..300).for_each(|_| device.append());
    device.cover();
    let genuine = device.files.clone();
    for path in ["checkpoint", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
        let bytes = genuine[path].len();
        for at in (0..bytes).step_by(bytes / 7) {
            device.files.get_mut(path).unwrap()[at] ^= 1;
            assert!(device.load().is_err(), "{path} {at}");
            device.files.clone_from(&genuine);
        }
        device.files.remove(path);
        assert!(path == "checkpoint" || device.load().is_err(), "{path}");
        device.files.clone_from(&genuine);
    }
}

#[test]
fn a_device_that_lies_is_found() {
    let (mut device, mut files) = (Model::new(1), Files::new());
    let mut copy = Ledger::empty(device.ledger.key().clone());
    (0..20).for_each(|_| device.append());
    device.cover();
    deliver(&device, &mut copy, &mut files).unwrap();
    let open = |bundle: &Bundle| files[&bundle.path()].clone();
    let size = copy.covered().size;
    let head = |size, byte| TreeHead { size, root: TreeHash::from_bytes([byte; 32]) };
    let offer = |copy: &mut Ledger, head: TreeHead| receive(copy, head.size, &[], &device.sign(head), open);
    assert_eq!(offer(&mut copy, head(size - 1, 1)).unwrap_err(), DeliveryFault::Rewound);
    assert_eq!(offer(&mut copy, head(size, 1)).unwrap_err(), DeliveryFault::Forked);
    assert!(matches!(offer(&mut copy, head(size + 1, 1)), Ok(Taken::Nothing)));
    let next = device.leaf(size, EventType::KillArmed);
    let mut bring = |leaf: &[u8], head| receive(&mut copy, size, &[leaf], &device.sign(head), open);
    assert_eq!(bring(&next, head(size + 1, 1)).unwrap_err(), DeliveryFault::Forked);
    let gap = device.leaf(size + 1, EventType::KillArmed);
    assert_eq!(bring(&gap, head(size + 1, 1)).unwrap_err(), DeliveryFault::Edited);
    let mut edited = next.clone();
    *edited.last_mut().unwrap() ^= 1;
    assert_eq!(bring(&edited, head(size + 1, 1)).unwrap_err(), DeliveryFault::Edited);
    let foreign = Model::new(2).leaf(size, EventType::KillArmed);
    assert_eq!(bring(&foreign, head(size + 1, 1)).unwrap_err(), DeliveryFault::Edited);
    let mut right = device.ledger.edge(size, read(&device.files)).unwrap();
    right.append(crate::tree::leaf_hash(&next)).unwrap();
    assert!(matches!(bring(&next, right.head()), Ok(Taken::Grown { critical: true, .. })));
    let stranger = Model::new(2).sign(head(size, 1));
    assert!(matches!(receive(&mut copy, size, &[], &stranger, open), Err(DeliveryFault::Checkpoint(_))));
}

#[test]
fn a_courier_notices_that_its_own_log_is_not_the_one_that_is_held() {
    let mut courier = Courier::default();
    assert_eq!(courier.next(5), None);
    courier.linked();
    assert_eq!(courier.next(0), None);
    assert_eq!(courier.next(300), Some(Errand::Offer));
    courier.sent();
    assert_eq!(courier.next(300), None);
    let held = TreeHead { size: 3, root: TreeHash::from_bytes([3; 32]) };
    courier.answered(held, Some(held.root)).unwrap();
    assert_eq!(courier.next(300), Some(Errand::Bring { from: 3, until: 256 }));
    courier.sent();
    assert_eq!(courier.answered(held, None), Err(Contradiction::Rewound));
    courier.sent();
    assert_eq!(courier.answered(held, Some(TreeHash::EMPTY)), Err(Contradiction::Forked));
    courier.lost();
    assert_eq!((courier.next(300), courier.held()), (None, None));
}
