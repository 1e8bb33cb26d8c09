//! The corpora and the vectors, given to the targets without a fuzzer.
#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kos_fuzz::{TARGETS, Verdict};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names in a folder of the repository.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every file below a folder of the repository.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn every_target_has_a_fuzzer_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let fuzzers = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names("fuzz/fuzz_targets"), fuzzers);
    assert_eq!(names("fuzz/corpus"), targets);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in &targets {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}

#[test]
fn every_seed_is_read_by_its_target() {
    for target in TARGETS {
        for seed in files(&format!("fuzz/corpus/{}", target.name)) {
            let verdict = (target.run)(&fs::read(&seed).unwrap());
            assert_eq!(verdict, Verdict::Read, "{}", seed.display());
        }
    }
}

#[test]
fn no_front_of_a_seed_breaks_its_target() {
    for target in TARGETS {
        for seed in files(&format!("fuzz/corpus/{}", target.name)) {
            let bytes = fs::read(seed).unwrap();
            for end in (0..bytes.len()).step_by(7) {
                (target.run)(&bytes[..end]);
            }
        }
    }
}

#[test]
fn no_vector_breaks_any_target() {
    let vectors = files("tests/vectors");
    assert!(vectors.len() > 100, "golden bytes and malice");
    for vector in vectors {
        let bytes = fs::read(&vector).unwrap();
        // Other logs that the golden key signed on purpose: the target takes such for forgeries.
        let is_another_log = ["tampering", "witness"]
            .iter()
            .any(|part| vector.components().any(|found| found.as_os_str() == *part));
        for target in TARGETS.iter().filter(|target| !(is_another_log && target.name == "audit")) {
            (target.run)(&bytes);
        }
    }
}
