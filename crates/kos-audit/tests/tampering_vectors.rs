//! `tests/vectors/audit/tampering`: each tampering, as it stands on a disk, is found and called what its `verdict` says, by us
//! and, where hashes and notes show it, by Go's `sumdb`.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the vectors are files, and the judge another process")]

#[path = "written/tampered.rs"]
mod tampered;
mod written;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kos_audit::{
    Failure, LeafReading, LogCheck, LogKey, RangeCheck, Verdict,
    tree::{Bundle, Tile},
};
use tampered::SIZE;
use written::Files;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/audit/tampering")
}

fn files_below(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                ahead.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// The log of a case: the genuine one with what differs, and without what is gone.
fn assembled(all: &Files, case: &str) -> Files {
    let of = |name: &str| {
        let prefix = format!("{name}/");
        all.iter()
            .filter_map(move |(path, bytes)| Some((path.strip_prefix(&prefix)?.to_owned(), bytes.clone())))
    };
    let mut files: Files = of("genuine").chain(of(case)).collect();
    for path in files.remove("gone").map(text).unwrap_or_default().lines() {
        files.remove(path).unwrap();
    }
    files
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn cases(all: &Files) -> BTreeSet<String> {
    let names = all.keys().filter_map(|path| Some(path.split_once('/')?.0.to_owned()));
    names.filter(|name| name != "genuine").collect()
}

struct Given {
    key: LogKey,
    checkpoint: String,
    held: Option<String>,
}

fn given(files: &Files) -> Given {
    let read = |name: &str| files.get(name).cloned().map(text);
    Given {
        key: read("vkey").unwrap().trim().parse().unwrap(),
        checkpoint: read("checkpoint").unwrap_or_default(),
        held: read("held"),
    }
}

fn verify(files: &Files) -> Verdict {
    let Given { key, checkpoint, held } = given(files);
    let mut check = LogCheck::new(&key, &[], &checkpoint, held.as_deref());
    let read = |path: &str| files.get(path).map(Vec::as_slice);
    for bundle in Bundle::all(check.size()) {
        let stored = check.tile(bundle.tile(), read(&bundle.tile().path()));
        for (at, leaf) in Bundle::leaves(read(&bundle.path()).unwrap_or_default()).enumerate() {
            let reading = leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, &key));
            check.leaf(reading, stored.get(at).copied());
        }
    }
    for tile in Tile::all(check.size()).filter(|tile| tile.level() > 0) {
        check.tile(tile, read(&tile.path()));
    }
    check.finish()
}

fn verify_range(files: &Files, range: std::ops::Range<u64>) -> Verdict {
    let Given { key, checkpoint, held } = given(files);
    let mut check = RangeCheck::new(&key, &checkpoint, held.as_deref(), range);
    while let Some(piece) = check.next() {
        let read = |bytes: &[u8]| -> Vec<_> {
            let leaves = Bundle::leaves(bytes);
            leaves.map(|leaf| leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, &key))).collect()
        };
        check.take(files.get(&piece.path()).cloned(), read);
    }
    check.finish()
}

fn found(verdict: &Verdict) -> String {
    let line = |Failure { index, kind, .. }: &Failure| match index {
        Some(index) => format!("{index} {kind}\n"),
        None => format!("- {kind}\n"),
    };
    verdict.failures.iter().map(line).collect()
}

#[test]
fn the_vectors_are_what_the_generator_writes() {
    let (there, wanted) = (files_below(&folder()), tampered::folder());
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&there), names(&wanted));
    for (path, bytes) in &wanted {
        assert!(there[path] == *bytes, "{path}: cargo run -p kos-audit --example tampering");
    }
}

#[test]
fn every_tampering_is_called_what_it_is() {
    let all = files_below(&folder());
    let genuine = assembled(&all, "genuine");
    assert!(verify(&genuine).is_ok());
    let range = verify_range(&genuine, 256..SIZE);
    assert!(range.is_ok(), "{:?}", range.failures);
    assert_eq!((range.entries_checked, range.signatures_checked), (4, 4));
    let left: Vec<_> = range.not_checked.iter().map(ToString::to_string).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left[0], "the entries of index 0 to 255 and their signatures");
    let cases = cases(&all);
    assert!(cases.len() >= 30);
    for case in cases {
        let files = assembled(&all, &case);
        let said = text(files["verdict"].clone());
        let (want, rest) = said.split_once("foreign").unwrap();
        assert_eq!(found(&verify(&files)), want, "{case}");
        let range = verify_range(&files, 256..SIZE);
        assert_eq!(!range.is_ok(), rest.contains("range refuses"), "{case}: {:?}", range.failures);
    }
}

#[test]
fn any_range_of_a_log_holds_and_says_what_it_left_out() {
    let genuine = assembled(&files_below(&folder()), "genuine");
    for (range, left) in [(0..SIZE, 0), (0..1, 2), (255..257, 3), (259..SIZE, 2), (0..256, 2)] {
        let wanted = range.end - range.start;
        let verdict = verify_range(&genuine, range.clone());
        assert_eq!(found(&verdict), "", "{range:?}");
        assert_eq!((verdict.entries_checked, verdict.not_checked.len()), (wanted, left), "{range:?}");
    }
    assert_eq!(found(&verify_range(&genuine, 259..SIZE + 1)), "260 truncated\n");
}

#[test]
fn go_sumdb_refuses_what_hashes_and_notes_show() {
    let all = files_below(&folder());
    let desk = tempfile::tempdir().unwrap();
    let (mut names, mut wanted) = (vec!["genuine".to_owned()], vec![false]);
    for case in cases(&all) {
        let said = text(all[&format!("{case}/verdict")].clone());
        wanted.push(said.contains("foreign refuses"));
        names.push(case);
    }
    for name in &names {
        for (path, bytes) in assembled(&all, name) {
            let path = desk.path().join(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let mut judge = Command::new("go")
        .args(["run", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judge/tiles.go"), "-", "-"])
        .env_remove("GOFLAGS")
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/judges/go"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the judge needs `go`: cargo xtask test deps");
    let paths: String = names.iter().map(|name| format!("{}\n", desk.path().join(name).display())).collect();
    judge.stdin.take().unwrap().write_all(paths.as_bytes()).unwrap();
    let judged = judge.wait_with_output().unwrap();
    let said = text(judged.stdout);
    assert_eq!(said.lines().count(), names.len(), "{said}{}", String::from_utf8_lossy(&judged.stderr));
    for ((name, refuses), line) in names.iter().zip(wanted).zip(said.lines()) {
        let expected = if refuses { format!("{name} refused: ") } else { format!("{name} ok ") };
        assert!(line.starts_with(&expected), "{line}");
    }
}
