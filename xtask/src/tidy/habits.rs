//! The rules about single words in Rust files, each one habit of CONTRIBUTING.md.

use super::core::reaches;
use super::source::{Place, Source};
use super::{Finding, PROGRAMS, Repository};

/// Names that say nothing about what is inside.
const VAGUE: [&str; 9] =
    ["client", "common", "crypto", "error", "helpers", "macros", "proto", "types", "utils"];

/// Ways to ask what time it is.
const CLOCKS: [&str; 3] = ["SystemTime::now", "OffsetDateTime::now_utc", "UtcDateTime::now"];

/// The one kind of test file that may sleep: between two looks at a real program, until a deadline.
const WAITING_FILE: &str = "wait.rs";

/// Words that promise work for later. Taken apart here, so that this file does not hold them.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Rule `clock`: one file of a program reads the clock, so that everything else can be given any time.
pub(super) fn find_second_clocks(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for program in PROGRAMS {
        let reading = repository.sources_of(program).filter_map(|(path, source)| {
            let first = source
                .paths
                .iter()
                .find(|place| !place.around.is_test && CLOCKS.iter().any(|clock| reaches(place, clock)))?;
            Some((path, first.line))
        });
        let reading: Vec<(&str, usize)> = reading.collect();
        if let [(home, _), others @ ..] = reading.as_slice() {
            findings.extend(others.iter().map(|(path, line)| {
                Finding::new(
                    *path,
                    *line,
                    format!("reads the clock, and so does {home}: one file of `{program}` may"),
                )
            }));
        }
    }
    findings
}

/// Rule `name`: a module or crate is named after what it is about.
pub(super) fn find_vague_names(repository: &Repository) -> Vec<Finding> {
    let is_vague = |path: &&String| {
        let roots = ["/mod.rs", "/src/lib.rs", "/src/main.rs"];
        let named = roots.iter().find_map(|root| path.strip_suffix(root)).unwrap_or(path);
        let stem = named.rsplit('/').next().unwrap_or(named).trim_end_matches(".rs");
        VAGUE.contains(&stem.trim_start_matches("kos-"))
    };
    let vague = repository.sources.keys().filter(is_vague);
    vague.map(|path| Finding::new(path, 1, "the name says nothing about what is inside")).collect()
}

/// Rule `allow`: an exception is an `#[expect(.., reason = "..")]`, which complains when it is no longer needed.
pub(super) fn find_allows(repository: &Repository) -> Vec<Finding> {
    find_attributes(repository, "allow", "write #[expect(.., reason = \"..\")] instead of #[allow(..)]")
}

/// Rule `ignore`: a test runs or does not exist.
pub(super) fn find_ignored_tests(repository: &Repository) -> Vec<Finding> {
    find_attributes(repository, "ignore", "a test runs or does not exist")
}

/// Rule `should-panic`: a refusal is a value that the test can look at.
pub(super) fn find_expected_panics(repository: &Repository) -> Vec<Finding> {
    find_attributes(repository, "should_panic", "return an error and compare it")
}

/// Rule `sleep`: a test waits for a state with a deadline, or lives in virtual time.
pub(super) fn find_sleeps(repository: &Repository) -> Vec<Finding> {
    let sleeps = |place: &Place| {
        reaches(place, "thread::sleep") || (reaches(place, "time::sleep") && !place.around.is_in_virtual_time)
    };
    let mut findings = Vec::new();
    for (path, source) in &repository.sources {
        // A benchmark lets a program settle before it measures; no verdict hangs on it.
        let may_sleep = path.rsplit('/').next() == Some(WAITING_FILE) || path.starts_with("benches/");
        let sleeping =
            source.paths.iter().filter(|place| place.around.is_test && !may_sleep && sleeps(place));
        findings.extend(sleeping.map(|place| {
            Finding::new(path, place.line, "a test waits for a state with a deadline, it does not sleep")
        }));
    }
    findings
}

/// Rule `unfinished`: what is not done yet is an issue, not a word in the code.
pub(super) fn find_unfinished(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in &repository.sources {
        for (index, line) in source.text.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
            if let Some(word) = words.find(|word| UNFINISHED.contains(word)) {
                findings.push(Finding::new(path, index + 1, format!("`{word}`: do it, or open an issue")));
            }
        }
    }
    findings
}

fn find_attributes(repository: &Repository, name: &str, message: &str) -> Vec<Finding> {
    let find = |(path, source): (&String, &Source)| {
        let places = source.attributes.iter().filter(|place| place.text == name);
        places.map(|place| Finding::new(path, place.line, message)).collect::<Vec<_>>()
    };
    repository.sources.iter().flat_map(find).collect()
}
