//! `xtask/tidy-ratchet.txt`: what was too large when its rule came, or had to become so for a stated reason.
//!
//! One entry a line, `RULE SUBJECT LINES # REASON`. Entries only shrink: raising or adding one is a decision that shows
//! in review, and lowering one is demanded as soon as it is possible.

use super::{Finding, Repository};

/// Where the ratchet is.
pub(super) const PATH: &str = "xtask/tidy-ratchet.txt";

/// One allowance.
pub(super) struct Entry {
    pub(super) rule: String,
    pub(super) subject: String,
    pub(super) lines: usize,
    pub(super) at_line: usize,
}

impl Entry {
    pub(super) fn is_about(&self, rule: &str, subject: &str) -> bool {
        self.rule == rule && self.subject == subject
    }
}

/// The entries, and a finding for each line that is none. A repository without the file has no entries.
pub(super) fn read(repository: &Repository) -> (Vec<Entry>, Vec<Finding>) {
    let mut entries = Vec::new();
    let mut findings = Vec::new();
    for (index, line) in repository.text(PATH).unwrap_or_default().lines().enumerate() {
        let (entry, reason) = line.split_once('#').unwrap_or((line, ""));
        if entry.trim().is_empty() {
            continue;
        }
        match parse(entry, index + 1) {
            Some(entry) if !reason.trim().is_empty() => entries.push(entry),
            _ => findings.push(Finding::new(PATH, index + 1, "expected `RULE SUBJECT LINES # REASON`")),
        }
    }
    (entries, findings)
}

fn parse(entry: &str, at_line: usize) -> Option<Entry> {
    match entry.split_whitespace().collect::<Vec<_>>().as_slice() {
        [rule, subject, lines] => Some(Entry {
            rule: (*rule).to_owned(),
            subject: (*subject).to_owned(),
            lines: lines.parse().ok()?,
            at_line,
        }),
        _ => None,
    }
}
