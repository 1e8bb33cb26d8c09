//! Every rule against the small repository that breaks it.
//!
//! `xtask/fixtures/tidy/RULE` is a repository, `expected.txt` in it the lines that the rule prints. A fixture with a
//! `Cargo.toml` is asked for its crates through cargo; the folder `rendered` holds what its programs would print as
//! reference pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::repository::Limits;
use super::{RULES, Repository};
use crate::reference::{FOLDER, Rendered};
use crate::workspace::{self, Workspace};

const LIMITS: Limits = Limits { file: 8, core_crate: 12, map: 12 };

fn fixtures() -> PathBuf {
    workspace::root().join("xtask/fixtures/tidy")
}

fn rendered(folder: &Path) -> Vec<Rendered> {
    let pages = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    pages
        .map(|page| Rendered {
            path: format!("{FOLDER}/{}", page.file_name().unwrap().to_str().unwrap()),
            text: fs::read_to_string(page).unwrap(),
        })
        .collect()
}

fn check(name: &str) {
    let root = fixtures().join(name);
    let crates =
        if root.join("Cargo.toml").exists() { Workspace::load(&root).unwrap().crates } else { vec![] };
    let repository = Repository::read(&root, crates, rendered(&root.join("rendered")), LIMITS).unwrap();
    let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
    let found: Vec<String> = rule.check(&repository).iter().map(ToString::to_string).collect();
    let expected = fs::read_to_string(root.join("expected.txt")).unwrap();
    assert_eq!(found, expected.lines().collect::<Vec<_>>(), "rule `{name}`");
    assert!(!found.is_empty(), "the fixture of `{name}` does not break it");
}

#[test]
fn arrow_finds_a_sibling_a_shell_crate_and_a_stranger() {
    check("arrow");
}

#[test]
fn file_size_finds_a_long_file_and_one_that_outgrew_its_entry() {
    check("file-size");
}

#[test]
fn core_size_finds_a_large_crate_and_leaves_its_tests_out() {
    check("core-size");
}

#[test]
fn ratchet_finds_entries_that_can_shrink_or_go() {
    check("ratchet");
}

#[test]
fn dependency_reason_finds_a_bare_line_and_a_dependency_beside_the_root() {
    check("dependency-reason");
}

#[test]
fn lints_finds_crates_without_them_and_a_looser_one() {
    check("lints");
}

#[test]
fn map_finds_length_dead_paths_and_missing_crates() {
    check("map");
}

#[test]
fn decision_finds_gaps_doubles_and_odd_names() {
    check("decision");
}

#[test]
fn reference_finds_stale_missing_and_hand_made_pages() {
    check("reference");
}

#[test]
fn evidence_finds_tests_that_are_none_and_requirements_without_an_answer() {
    check("evidence");
}

#[test]
fn core_finds_io_clock_and_randomness_outside_of_tests() {
    check("core");
}

#[test]
fn clock_finds_the_second_file_that_reads_it() {
    check("clock");
}

#[test]
fn name_finds_vague_files_folders_and_crates() {
    check("name");
}

#[test]
fn allow_finds_exceptions_that_nothing_expires() {
    check("allow");
}

#[test]
fn ignore_finds_tests_that_do_not_run() {
    check("ignore");
}

#[test]
fn should_panic_finds_tests_that_wait_for_a_panic() {
    check("should-panic");
}

#[test]
fn sleep_finds_sleeping_tests_and_spares_the_file_that_waits() {
    check("sleep");
}

#[test]
fn unfinished_finds_promises_in_comments() {
    check("unfinished");
}

#[test]
fn every_rule_has_a_fixture_and_every_fixture_a_rule() {
    let rules: BTreeSet<String> = RULES.iter().map(|rule| rule.name.to_owned()).collect();
    let folders = fs::read_dir(fixtures()).unwrap();
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(rules, folders);
}
