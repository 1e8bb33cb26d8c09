//! Rule `decision`: the records in `docs/decisions` are named `0001-what-it-is-about.md` and numbered without a gap.

use super::{Finding, Repository};

const FOLDER: &str = "docs/decisions";

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut expected = 1;
    for path in repository.below(FOLDER) {
        let Some(number) = number(path) else {
            findings.push(Finding::new(path, 1, "a decision record is named like 0001-what-it-is-about.md"));
            continue;
        };
        if number + 1 == expected {
            findings.push(Finding::new(path, 1, format!("the number {number:04} is given twice")));
            continue;
        }
        if number != expected {
            findings.push(Finding::new(
                path,
                1,
                format!("the number {expected:04} is missing before this one"),
            ));
        }
        expected = number + 1;
    }
    findings
}

fn number(path: &str) -> Option<u32> {
    let name = path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".md")?;
    let (number, subject) = name.split_once('-')?;
    let is_plain = subject.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if number.len() == 4 && is_plain && !subject.is_empty() { number.parse().ok() } else { None }
}
