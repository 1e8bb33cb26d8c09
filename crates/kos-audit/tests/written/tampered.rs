//! Every tampering of `tests/vectors/audit/tampering`: what somebody did to a log, and what is to be said of it.

use std::collections::BTreeSet;

use crate::written::{Files, Writer, bundles, tiles};

/// Entries of the log that is tampered with. The last four are in a bundle of their own, so that most cases are small.
pub(crate) const SIZE: u64 = 260;

/// One tampering.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What differs from the genuine log, by path.
    pub(crate) files: Files,
    /// Paths that are gone.
    pub(crate) gone: BTreeSet<String>,
    /// `INDEX KIND` or `- KIND` a line, as the verifier says it.
    pub(crate) verdict: &'static str,
    /// Whether somebody who knows hashes and notes, and nothing of entries, has to refuse it.
    pub(crate) foreign: bool,
    /// Whether it shows to who looks at the last four entries only.
    pub(crate) range: bool,
}

/// What is done to the bytes of a file.
type Patch = fn(&mut Vec<u8>);

/// A log in somebody's hands.
#[derive(Clone)]
struct Log {
    leaves: Vec<Vec<u8>>,
    tiles: Files,
    checkpoint: String,
    size: u64,
    held: Option<String>,
    /// Files as they stand, after everything else.
    patched: Vec<(&'static str, Patch)>,
    gone: Vec<&'static str>,
}

impl Log {
    fn of(leaves: Vec<Vec<u8>>) -> Self {
        let size = u64::try_from(leaves.len()).unwrap();
        let checkpoint = Writer::new(1).checkpoint(&leaves);
        let tiles = tiles(&leaves);
        Self { leaves, tiles, checkpoint, size, held: None, patched: Vec::new(), gone: Vec::new() }
    }

    fn genuine() -> Self {
        Self::of(Writer::new(1).leaves(0..SIZE, "beta"))
    }

    /// The same log up to an index, and something else behind it.
    fn fork(from: u64) -> Self {
        let writer = Writer::new(1);
        Self::of([writer.leaves(0..from, "beta"), writer.leaves(from..SIZE, "dev")].concat())
    }

    fn recompute(&mut self) {
        self.tiles = tiles(&self.leaves);
    }

    fn files(&self) -> Files {
        let mut files = bundles(&self.leaves, self.size);
        files.extend(self.tiles.clone());
        files.insert("checkpoint".into(), self.checkpoint.clone().into_bytes());
        if let Some(held) = &self.held {
            files.insert("held".into(), held.clone().into_bytes());
        }
        files.insert("vkey".into(), format!("{}\n", Writer::new(1).key).into_bytes());
        for (path, patch) in &self.patched {
            patch(files.get_mut(*path).unwrap());
        }
        for path in &self.gone {
            files.remove(*path).unwrap();
        }
        files
    }
}

/// The log that nobody touched.
pub(crate) fn genuine() -> Files {
    let writer = Writer::new(1);
    let mut files = writer.files(&writer.leaves(0..SIZE, "beta"));
    files.insert("vkey".into(), format!("{}\n", writer.key).into_bytes());
    files
}

const BUNDLE: &str = "tile/entries/001.p/4";
const TILE: &str = "tile/0/001.p/4";
const FULL_TILE: &str = "tile/0/000";
const UPPER_TILE: &str = "tile/1/000.p/1";

/// What a case does, and what is to be said: the verdict, whether a foreign verifier refuses, whether a range shows it.
type Told = (&'static str, fn(&mut Log), &'static str, bool, bool);

const TOLD: &[Told] = &[
    ("edited", |log| log.leaves[257][200] ^= 1, "257 edited", true, true),
    (
        "edited-and-tree-recomputed",
        |log| {
            log.leaves[257][200] ^= 1;
            log.recompute();
        },
        "257 edited",
        true,
        true,
    ),
    ("edited-signature", |log| *log.leaves[257].last_mut().unwrap() ^= 1, "257 edited", true, true),
    ("edited-to-nothing", |log| log.leaves[257].clear(), "257 edited", true, true),
    ("signed-again", |log| log.leaves[257] = Writer::new(1).leaf(257, "dev"), "257 edited", true, true),
    (
        "entry-from-another-log",
        |log| log.leaves[257] = Writer::new(2).leaf(257, "beta"),
        "257 edited",
        true,
        true,
    ),
    ("inserted", |log| log.leaves.insert(257, b"forged".to_vec()), "257 edited", true, true),
    ("deleted", |log| drop(log.leaves.remove(257)), "257 deleted", true, true),
    (
        "deleted-and-tree-recomputed",
        |log| {
            log.leaves.remove(257);
            log.recompute();
        },
        "257 deleted\n- torn",
        true,
        true,
    ),
    ("reordered", |log| log.leaves.swap(257, 258), "257 reordered", true, true),
    (
        "reordered-and-tree-recomputed",
        |log| {
            log.leaves.swap(257, 258);
            log.recompute();
        },
        "257 reordered",
        true,
        true,
    ),
    ("duplicated", |log| log.leaves.insert(258, log.leaves[257].clone()), "257 reordered", true, true),
    (
        "duplicated-in-place-of-another",
        |log| log.leaves[258] = log.leaves[257].clone(),
        "257 reordered\n258 deleted",
        true,
        true,
    ),
    ("truncated", |log| log.leaves.truncate(259), "259 truncated", true, true),
    ("truncated-by-a-bundle", |log| log.gone.push(BUNDLE), "256 truncated", true, true),
    (
        "forked",
        |log| {
            let held = log.checkpoint.clone();
            *log = Log { held: Some(held), ..Log::fork(258) };
        },
        "- forked",
        true,
        true,
    ),
    (
        "entries-of-a-fork",
        |log| *log = Log { checkpoint: log.checkpoint.clone(), ..Log::fork(258) },
        "- forked",
        true,
        true,
    ),
    ("checkpoint-of-a-fork", |log| log.checkpoint = Log::fork(258).checkpoint, "- forked", true, true),
    (
        "rewound",
        |log| {
            let held = log.checkpoint.clone();
            *log = Log { held: Some(held), ..Log::of(log.leaves[..258].to_vec()) };
        },
        "258 rewound",
        true,
        true,
    ),
    (
        "torn-bundle",
        |log| log.patched.push((BUNDLE, |bytes| bytes.truncate(bytes.len() - 1))),
        "259 torn",
        true,
        true,
    ),
    (
        "torn-tile",
        |log| log.patched.push((TILE, |bytes| bytes.truncate(bytes.len() - 1))),
        "- torn",
        true,
        true,
    ),
    ("torn-checkpoint", |log| log.checkpoint.truncate(log.checkpoint.len() - 1), "- torn", true, true),
    ("tile-gone", |log| log.gone.push(UPPER_TILE), "- torn", true, true),
    ("tile-edited", |log| log.patched.push((TILE, |bytes| bytes[40] ^= 1)), "257 edited", true, true),
    (
        "full-tile-edited",
        |log| log.patched.push((FULL_TILE, |bytes| bytes[17 * 32] ^= 1)),
        "17 edited",
        true,
        false,
    ),
    (
        "upper-tile-edited",
        |log| log.patched.push((UPPER_TILE, |bytes| bytes[0] ^= 1)),
        "- edited",
        true,
        true,
    ),
    (
        "checkpoint-edited",
        |log| log.checkpoint = log.checkpoint.replace("\n260\n", "\n261\n"),
        "- bad-signature",
        true,
        true,
    ),
    (
        "checkpoint-of-another-key",
        |log| log.checkpoint = Writer::new(2).checkpoint(&log.leaves),
        "- bad-signature",
        true,
        true,
    ),
    (
        // Nothing is wrong with hashes and notes: only who reads entries can tell.
        "bad-signature-that-the-log-took-in",
        |log| {
            log.leaves[257] = Writer::new(2).leaf(257, "beta");
            *log = Log::of(core::mem::take(&mut log.leaves));
        },
        "257 bad-signature",
        false,
        true,
    ),
    (
        "edited-and-truncated",
        |log| {
            log.leaves[256][200] ^= 1;
            log.leaves.truncate(259);
        },
        "256 edited\n259 truncated",
        true,
        true,
    ),
    (
        "deleted-and-inserted",
        |log| {
            log.leaves.remove(259);
            log.leaves.insert(257, b"forged".to_vec());
        },
        "257 edited\n259 truncated",
        true,
        true,
    ),
    (
        "reordered-and-upper-tile-edited",
        |log| {
            log.leaves.swap(256, 259);
            log.patched.push((UPPER_TILE, |bytes| bytes[0] ^= 1));
        },
        "256 reordered\n259 reordered\n- edited",
        true,
        true,
    ),
    (
        "rewound-and-edited",
        |log| {
            let held = log.checkpoint.clone();
            *log = Log { held: Some(held), ..Log::of(log.leaves[..258].to_vec()) };
            log.leaves[257][200] ^= 1;
        },
        "257 edited\n258 rewound",
        true,
        true,
    ),
    (
        "forked-and-torn",
        |log| {
            let held = log.checkpoint.clone();
            *log = Log { held: Some(held), ..Log::fork(258) };
            log.patched.push((BUNDLE, |bytes| bytes.truncate(bytes.len() - 1)));
        },
        "259 torn\n- forked",
        true,
        true,
    ),
];

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let genuine = genuine();
    let case = |&(name, tamper, verdict, foreign, range): &Told| {
        let mut log = Log::genuine();
        tamper(&mut log);
        let files = log.files();
        let gone = genuine.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
        let files = files.into_iter().filter(|(path, bytes)| genuine.get(path) != Some(bytes)).collect();
        Case { name, files, gone, verdict, foreign, range }
    };
    TOLD.iter().map(case).collect()
}

/// Everything in the folder, by path.
pub(crate) fn folder() -> Files {
    let mut all = Files::new();
    for (path, bytes) in genuine() {
        all.insert(format!("genuine/{path}"), bytes);
    }
    for case in cases() {
        for (path, bytes) in case.files {
            all.insert(format!("{}/{path}", case.name), bytes);
        }
        let word = |refuses| if refuses { "refuses" } else { "passes" };
        let verdict =
            format!("{}\nforeign {}\nrange {}\n", case.verdict, word(case.foreign), word(case.range));
        all.insert(format!("{}/verdict", case.name), verdict.into_bytes());
        if !case.gone.is_empty() {
            let gone: String = case.gone.iter().map(|path| format!("{path}\n")).collect();
            all.insert(format!("{}/gone", case.name), gone.into_bytes());
        }
    }
    all
}
