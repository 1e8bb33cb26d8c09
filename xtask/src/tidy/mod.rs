//! `cargo xtask tidy`: the habits of this repository that neither compiler nor clippy checks.
//!
//! A rule is a function from the repository to findings. Each has a folder of its own name in `xtask/fixtures/tidy`: a
//! small repository that breaks it, with the findings that are expected.

mod arrows;
mod core;
mod decisions;
mod evidence;
mod habits;
mod lints;
mod manifests;
mod map;
mod pages;
mod ratchet;
mod repository;
mod sizes;
mod source;

use std::fmt;

use anyhow::Result;

pub(crate) use self::repository::Repository;
use crate::FOUND;
use crate::workspace::Workspace;

/// The crates that may do no IO and know neither clock nor chance.
const CORE: [&str; 10] = [
    "kos-attest",
    "kos-audit",
    "kos-base",
    "kos-identity",
    "kos-klp",
    "kos-manifest",
    "kos-policy",
    "kos-shares",
    "kos-vault",
    "kos-voucher",
];

/// The crates that become programs; each reads the clock in one place.
const PROGRAMS: [&str; 4] = ["kos-authority", "kosctl", "kosd", "quickstart"];

/// One habit.
pub(crate) struct Rule {
    name: &'static str,
    find: fn(&Repository) -> Vec<Finding>,
}

/// The generated pages alone, for `cargo xtask reference --check`.
pub(crate) const REFERENCE: Rule = Rule { name: "reference", find: pages::find };

/// Every rule.
pub(crate) const RULES: [Rule; 18] = [
    Rule { name: "arrow", find: arrows::find },
    Rule { name: "file-size", find: sizes::find_long_files },
    Rule { name: "core-size", find: sizes::find_large_core_crates },
    Rule { name: "ratchet", find: sizes::find_stale_entries },
    Rule { name: "dependency-reason", find: manifests::find },
    Rule { name: "lints", find: lints::find },
    Rule { name: "map", find: map::find },
    Rule { name: "decision", find: decisions::find },
    REFERENCE,
    Rule { name: "evidence", find: evidence::find },
    Rule { name: "core", find: core::find },
    Rule { name: "clock", find: habits::find_second_clocks },
    Rule { name: "name", find: habits::find_vague_names },
    Rule { name: "allow", find: habits::find_allows },
    Rule { name: "ignore", find: habits::find_ignored_tests },
    Rule { name: "should-panic", find: habits::find_expected_panics },
    Rule { name: "sleep", find: habits::find_sleeps },
    Rule { name: "unfinished", find: habits::find_unfinished },
];

/// Where a rule is broken, and how.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    message: String,
}

impl Finding {
    /// A finding whose rule is filled in by [`Rule::check`].
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, rule: "", message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.message)
    }
}

impl Rule {
    /// The findings of this rule, by path and line.
    pub(crate) fn check(&self, repository: &Repository) -> Vec<Finding> {
        let mut findings = (self.find)(repository);
        findings.iter_mut().for_each(|finding| finding.rule = self.name);
        findings.sort();
        findings
    }
}

/// Checks every rule, prints the findings and returns the exit code.
pub(crate) fn run(workspace: &Workspace) -> Result<u8> {
    let repository = Repository::load(workspace)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule.check(&repository)).collect();
    findings.sort();
    Ok(report(&findings))
}

/// Prints findings and returns the exit code that they mean.
pub(crate) fn report(findings: &[Finding]) -> u8 {
    for finding in findings {
        println!("{finding}");
    }
    if findings.is_empty() { 0 } else { FOUND }
}

#[cfg(test)]
mod tests;
