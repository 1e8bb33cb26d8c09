//! Every way to tamper with a log that we can think of is found, and called what it is (AUD-62 to AUD-69).
#![cfg(test)]

mod written;

use data_encoding::{BASE64, HEXLOWER};
use kos_audit::{
    Assurance, EventType, Failure, FailureKind, LeafReading, LogCheck, LogKey, NotChecked, Verdict,
    WitnessKey,
    tree::{Bundle, Tile},
};
use written::{Files, Writer, bundles, tiles};

use FailureKind::{BadSignature, Deleted, Edited, Forked, Reordered, Rewound, Torn, Truncated};

/// Entries of the log that is tampered with: more than one bundle, so that there is a tile above the first level.
const SIZE: u64 = 300;

/// A copy of a log in the hands of somebody who cannot sign for it.
struct Log {
    leaves: Vec<Vec<u8>>,
    tiles: Files,
    checkpoint: String,
    held: Option<String>,
}

impl Log {
    fn of(writer: &Writer, leaves: Vec<Vec<u8>>) -> Self {
        Self { tiles: tiles(&leaves), checkpoint: writer.checkpoint(&leaves), leaves, held: None }
    }

    fn genuine() -> Self {
        let writer = Writer::new(1);
        Self::of(&writer, writer.leaves(0..SIZE, "beta"))
    }

    fn files(&self) -> Files {
        let mut files = bundles(&self.leaves, SIZE);
        files.extend(self.tiles.clone());
        files.insert("checkpoint".into(), self.checkpoint.clone().into_bytes());
        files
    }
}

fn verify(key: &LogKey, witnesses: &[WitnessKey], files: &Files, held: Option<&str>) -> Verdict {
    let text = files.get("checkpoint").map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    let mut check = LogCheck::new(key, witnesses, &text, held);
    let read = |path: &str| files.get(path).map(Vec::as_slice);
    for bundle in Bundle::all(check.size()) {
        let stored = check.tile(bundle.tile(), read(&bundle.tile().path()));
        let bytes = read(&bundle.path()).unwrap_or_default();
        for (at, leaf) in Bundle::leaves(bytes).enumerate() {
            let reading = leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, key));
            check.leaf(reading, stored.get(at).copied());
        }
    }
    for tile in Tile::all(check.size()).filter(|tile| tile.level() > 0) {
        check.tile(tile, read(&tile.path()));
    }
    check.finish()
}

fn found(verdict: &Verdict) -> Vec<(Option<u64>, FailureKind)> {
    verdict.failures.iter().map(|Failure { index, kind, .. }| (*index, *kind)).collect()
}

fn check(name: &str, tamper: impl FnOnce(&mut Log), want: &[(Option<u64>, FailureKind)]) {
    let mut log = Log::genuine();
    tamper(&mut log);
    let verdict = verify(&Writer::new(1).key, &[], &log.files(), log.held.as_deref());
    assert_eq!(found(&verdict), want, "{name}: {:#?}", verdict.failures);
    assert_eq!(verdict.is_ok(), want.is_empty(), "{name}");
}

fn at(index: u64, kind: FailureKind) -> (Option<u64>, FailureKind) {
    (Some(index), kind)
}

#[test]
fn a_log_that_nobody_touched_is_found_whole() {
    let (writer, log) = (Writer::new(1), Log::genuine());
    let verdict = verify(&writer.key, &[], &log.files(), None);
    assert_eq!(found(&verdict), []);
    assert_eq!((verdict.entries_checked, verdict.signatures_checked), (SIZE, SIZE));
    assert_eq!((verdict.head.size, verdict.origin.as_str()), (SIZE, "attic/klog"));
    assert_eq!(verdict.checkpoint_time.unwrap().unix_ms(), 1_795_180_000_300);
    assert_eq!(verdict.assurance, Assurance::LocalIntegrity);
    let empty = verify(&writer.key, &[], &writer.files(&[]), None);
    assert_eq!((found(&empty), empty.head.size), (vec![], 0));
}

#[test]
fn edited_entries_are_named() {
    check("a byte of the text", |log| log.leaves[17][200] ^= 1, &[at(17, Edited)]);
    check("a byte of the signature", |log| *log.leaves[17].last_mut().unwrap() ^= 1, &[at(17, Edited)]);
    check("another key", |log| log.leaves[17] = Writer::new(2).leaf(17, "dev"), &[at(17, Edited)]);
    check("nothing left", |log| log.leaves[299].clear(), &[at(299, Edited)]);
    check(
        "two of them, and the tree recomputed",
        |log| {
            log.leaves[17][200] ^= 1;
            log.leaves[256][200] ^= 1;
            log.tiles = tiles(&log.leaves);
        },
        &[at(17, Edited), at(256, Edited)],
    );
    check("an entry slipped in", |log| log.leaves.insert(6, b"forged".to_vec()), &[at(6, Edited)]);
    check(
        "signed again by the log's own key",
        |log| log.leaves[17] = Writer::new(1).leaf(17, "dev"),
        &[at(17, Edited)],
    );
}

#[test]
fn edited_tiles_are_named() {
    check(
        "a hash of an entry",
        |log| log.tiles.get_mut("tile/0/000").unwrap()[32 * 17] ^= 1,
        &[at(17, Edited)],
    );
    check(
        "a hash of the level above",
        |log| log.tiles.get_mut("tile/1/000.p/1").unwrap()[0] ^= 1,
        &[(None, Edited)],
    );
}

#[test]
fn deleted_entries_are_named() {
    check("the first", |log| drop(log.leaves.remove(0)), &[at(0, Deleted)]);
    check("one in the middle", |log| drop(log.leaves.remove(17)), &[at(17, Deleted)]);
    check("a row", |log| drop(log.leaves.drain(10..20)), &[at(10, Deleted)]);
    check(
        "one of two, the other altered",
        |log| {
            log.leaves.remove(40);
            log.leaves[17][200] ^= 1;
        },
        &[at(17, Edited), at(40, Deleted)],
    );
    check(
        "with its tile recomputed",
        |log| {
            log.leaves.remove(17);
            let mut recomputed = tiles(&log.leaves);
            let last = recomputed.remove("tile/0/001.p/43").unwrap();
            recomputed.insert("tile/0/001.p/44".into(), last);
            log.tiles = recomputed;
        },
        &[at(17, Deleted), (None, Torn)],
    );
}

#[test]
fn moved_entries_are_named() {
    check("two neighbours", |log| log.leaves.swap(17, 18), &[at(17, Reordered)]);
    check("two far apart", |log| log.leaves.swap(5, 280), &[at(5, Reordered), at(280, Reordered)]);
    check("a row", |log| log.leaves[100..200].rotate_left(10), &[at(100, Reordered)]);
    check("one that stands twice", |log| log.leaves.insert(30, log.leaves[17].clone()), &[at(17, Reordered)]);
    check(
        "one in place of another",
        |log| log.leaves[30] = log.leaves[17].clone(),
        &[at(17, Reordered), at(30, Deleted)],
    );
    check(
        "two neighbours, and the tree recomputed",
        |log| {
            log.leaves.swap(17, 18);
            log.tiles = tiles(&log.leaves);
        },
        &[at(17, Reordered)],
    );
}

#[test]
fn a_truncated_log_is_named() {
    check("the last", |log| log.leaves.truncate(299), &[at(299, Truncated)]);
    check("a bundle", |log| log.leaves.truncate(256), &[at(256, Truncated)]);
    check("all", |log| log.leaves.clear(), &[at(0, Truncated)]);
}

#[test]
fn torn_files_are_named() {
    let tear = |path: &str, bytes: usize, want: &[(Option<u64>, FailureKind)]| {
        let writer = Writer::new(1);
        let mut files = Log::genuine().files();
        let file = files.get_mut(path).unwrap();
        file.truncate(file.len() - bytes);
        assert_eq!(found(&verify(&writer.key, &[], &files, None)), want, "{path} without {bytes} bytes");
    };
    let leaf = Log::genuine().leaves[299].len();
    tear("tile/entries/001.p/44", 1, &[at(299, Torn)]);
    tear("tile/entries/001.p/44", leaf, &[at(299, Torn)]);
    tear("tile/entries/001.p/44", leaf + 1, &[at(299, Torn)]);
    tear("tile/entries/001.p/44", leaf + 2, &[at(299, Truncated)]);
    tear("tile/entries/001.p/44", leaf + 3, &[at(298, Torn), at(299, Truncated)]);
    tear("tile/entries/000", 1, &[at(255, Torn)]);
    tear("tile/0/001.p/44", 1, &[(None, Torn)]);
    tear("tile/1/000.p/1", 32, &[(None, Torn)]);
    tear("checkpoint", 1, &[(None, Torn)]);
    tear("checkpoint", 110, &[(None, Torn)]);
    check("a tile that is gone", |log| drop(log.tiles.remove("tile/0/000")), &[(None, Torn)]);
}

#[test]
fn what_the_log_did_not_sign_is_named() {
    check(
        "a byte of the checkpoint",
        |log| log.checkpoint = log.checkpoint.replace("300", "301"),
        &[(None, BadSignature)],
    );
    check(
        "the checkpoint of another key",
        |log| log.checkpoint = Writer::new(2).checkpoint(&log.leaves),
        &[(None, BadSignature)],
    );
    check(
        "the held checkpoint of another key",
        |log| log.held = Some(Writer::new(2).checkpoint(&log.leaves)),
        &[(None, BadSignature)],
    );
    check(
        "an entry of another key that the log took in",
        |log| {
            let writer = Writer::new(1);
            log.leaves[40] = Writer::new(2).leaf(40, "dev");
            *log = Log::of(&writer, std::mem::take(&mut log.leaves));
        },
        &[at(40, BadSignature)],
    );
}

#[test]
fn a_log_that_contradicts_a_checkpoint_is_named() {
    let other = |from: u64| {
        let writer = Writer::new(1);
        Log::of(&writer, [writer.leaves(0..from, "beta"), writer.leaves(from..SIZE, "dev")].concat())
    };
    let held = |size: usize| Some(Writer::new(1).checkpoint(&Log::genuine().leaves[..size]));
    check("the same log, held", |log| log.held = held(200), &[]);
    check("the same size, held", |log| log.held = held(300), &[]);
    check("nothing, held", |log| log.held = held(0), &[]);
    check(
        "another history before what is held",
        |log| *log = Log { held: held(200), ..other(150) },
        &[(None, Forked)],
    );
    check(
        "another history of the same size",
        |log| *log = Log { held: held(300), ..other(299) },
        &[(None, Forked)],
    );
    check("another history after what is held", |log| *log = Log { held: held(200), ..other(200) }, &[]);
    check(
        "the entries of another history",
        |log| *log = Log { checkpoint: log.checkpoint.clone(), ..other(150) },
        &[(None, Forked)],
    );
    check(
        "the entries of another history, and a tile that is gone",
        |log| {
            *log = Log { checkpoint: log.checkpoint.clone(), ..other(150) };
            log.tiles.remove("tile/1/000.p/1");
        },
        &[(None, Torn), (None, Forked)],
    );
    check(
        "a tampered log, compared by the tree that is still right",
        |log| {
            log.leaves[17][200] ^= 1;
            log.held = held(200);
        },
        &[at(17, Edited)],
    );
}

#[test]
fn a_log_that_was_put_back_is_named_only_against_what_somebody_held() {
    let writer = Writer::new(1);
    let older = writer.files(&Log::genuine().leaves[..250]);
    let held = writer.checkpoint(&Log::genuine().leaves[..280]);
    assert_eq!(found(&verify(&writer.key, &[], &older, None)), []);
    let verdict = verify(&writer.key, &[], &older, Some(&held));
    assert_eq!(found(&verdict), [at(250, Rewound)]);
    assert_eq!(verdict.assurance, Assurance::LocalIntegrity);
    let kept = writer.checkpoint(&Log::genuine().leaves[..200]);
    assert_eq!(verify(&writer.key, &[], &older, Some(&kept)).assurance, Assurance::HeldCheckpoint);
}

#[test]
fn a_log_that_a_witness_cosigned_is_worth_more() {
    let (writer, witness) = (Writer::new(1), Writer::new(9));
    let mut files = Log::genuine().files();
    let known = WitnessKey::new("witness.example/w1", witness.key.public().clone()).unwrap();
    let signed = String::from_utf8(files.remove("checkpoint").unwrap()).unwrap();
    let time = 1_795_190_000_u64;
    let text = signed.split_inclusive('\n').take(4).collect::<String>();
    let cosignature = witness.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
    let id = HEXLOWER.decode(known.to_string().split('+').nth(1).unwrap().as_bytes()).unwrap();
    let line = BASE64.encode(&[&id, &time.to_be_bytes()[..], &cosignature].concat());
    let cosigned = format!("{signed}\u{2014} {} {line}\n", known.name());
    files.insert("checkpoint".into(), cosigned.into_bytes());
    for (witnesses, worth) in [(vec![known], Assurance::Witnessed), (vec![], Assurance::LocalIntegrity)] {
        let verdict = verify(&writer.key, &witnesses, &files, None);
        assert_eq!((found(&verdict), verdict.assurance), (vec![], worth));
    }
}

#[test]
fn several_tamperings_at_once_are_all_named() {
    check(
        "five of them",
        |log| {
            log.leaves.truncate(297);
            log.leaves.swap(5, 250);
            log.leaves.insert(120, b"forged".to_vec());
            log.leaves.remove(90);
            log.leaves[17][200] ^= 1;
        },
        &[
            at(5, Reordered),
            at(17, Edited),
            at(90, Deleted),
            at(119, Edited),
            at(250, Reordered),
            at(297, Truncated),
        ],
    );
}

#[test]
fn a_foreign_log_is_described_up_to_a_limit() {
    let writer = Writer::new(1);
    let leaves: Vec<_> = (0..1500).map(|_| Vec::new()).collect();
    let verdict = verify(&writer.key, &[], &writer.files(&leaves), None);
    assert_eq!((verdict.failures.len(), verdict.failures_found), (1000, 1500));
    assert!(!verdict.is_ok());
}

#[test]
fn a_changed_bit_of_any_entry_is_found_at_that_entry() {
    let (writer, log) = (Writer::new(1), Log::genuine());
    for index in 0..SIZE {
        let mut leaves = log.leaves.clone();
        let leaf = &mut leaves[usize::try_from(index).unwrap()];
        let byte = usize::try_from(index * 7).unwrap() % leaf.len();
        leaf[byte] ^= 1 << (index % 8);
        let changed =
            Log { leaves, tiles: log.tiles.clone(), checkpoint: log.checkpoint.clone(), held: None };
        assert_eq!(found(&verify(&writer.key, &[], &changed.files(), None)), [at(index, Edited)], "{index}");
    }
}

#[test]
fn a_changed_byte_of_any_file_is_found() {
    let writer = Writer::new(1);
    let files = writer.files(&writer.leaves(0..2, "beta"));
    for (path, bytes) in &files {
        for at in 0..bytes.len() {
            let mut changed = files.clone();
            changed.get_mut(path).unwrap()[at] ^= 1;
            assert!(!verify(&writer.key, &[], &changed, None).is_ok(), "byte {at} of {path}");
        }
    }
}

/// A log of 700 entries whose last says that the first `told` are archived, without the bundles `gone`.
fn archived(told: u64, gone: &[usize]) -> Verdict {
    let writer = Writer::new(1);
    let mut leaves = writer.leaves(0..699, "beta");
    leaves.push(writer.leaf_of(699, EventType::LogArchived, &serde_json::json!({"first": 0, "size": told})));
    let files = writer.files(&leaves);
    let read = |path: &str| files.get(path).map(Vec::as_slice);
    let text = String::from_utf8(files["checkpoint"].clone()).unwrap();
    let mut check = LogCheck::new(&writer.key, &[], &text, None);
    for (at, bundle) in Bundle::all(700).enumerate() {
        let stored = check.tile(bundle.tile(), read(&bundle.tile().path()));
        if gone.contains(&at) {
            check.archived(&stored);
            continue;
        }
        for (leaf, stored) in Bundle::leaves(read(&bundle.path()).unwrap()).zip(stored) {
            check.leaf(LeafReading::of(leaf.unwrap(), &writer.key), Some(stored));
        }
    }
    for tile in Tile::all(700).filter(|tile| tile.level() > 0) {
        check.tile(tile, read(&tile.path()));
    }
    check.finish()
}

#[test]
fn only_what_the_log_itself_says_is_archived_may_be_missing_and_only_from_the_first_entry_on() {
    let whole = archived(512, &[]);
    assert!(whole.is_ok() && whole.not_checked.is_empty());
    let without = archived(512, &[0, 1]);
    assert!(without.is_ok(), "{:?}", without.failures);
    assert_eq!(without.not_checked, [NotChecked::Archived(0..512)]);
    assert_eq!((without.entries_checked, without.signatures_checked, without.head.size), (188, 188, 700));
    // One of two is back already.
    assert!(archived(512, &[0]).is_ok());
    // Nobody says so, or not of all of it.
    assert_eq!(found(&archived(0, &[0, 1])), [at(0, Deleted)]);
    assert_eq!(found(&archived(256, &[0, 1])), [at(256, Deleted)]);
    // Entries are here before those that are not.
    assert!(found(&archived(512, &[1])).contains(&at(256, Deleted)));
    // An entry cannot say it of itself or of what comes after it.
    assert_eq!(found(&archived(700, &[0])), [at(0, Deleted)]);
}
