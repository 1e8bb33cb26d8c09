//! Rule `map`: `ARCHITECTURE.md` is short, names every crate, and every path that it names in backticks exists.
//!
//! Taken for a path: words with a slash between them, and names that end like our files. Not taken: what starts with a
//! slash (a route of the API), ends in a number (a protocol such as `klp/1`), or starts in capitals (`ROOT/etc`, a place
//! on a device). `<name>` and `*` stand for any one part.

use super::{Finding, Repository};

const PATH: &str = "ARCHITECTURE.md";

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    let Some(text) = repository.text(PATH) else {
        return vec![Finding::new(PATH, 1, "the map of the repository is missing")];
    };
    let mut findings = Vec::new();
    let lines = text.lines().count();
    let max = repository.limits.map;
    if lines > max {
        findings.push(Finding::new(PATH, max + 1, format!("has {lines} lines, {max} are allowed")));
    }
    for (index, line) in text.lines().enumerate() {
        for path in quoted(line).filter(|word| is_path(word) && !exists(word, repository)) {
            findings.push(Finding::new(PATH, index + 1, format!("`{path}` does not exist")));
        }
    }
    for package in &repository.crates {
        if !text.lines().any(|line| quoted(line).any(|word| word == package.name)) {
            findings.push(Finding::new(PATH, 1, format!("the crate `{}` is not on the map", package.name)));
        }
    }
    findings
}

/// The words between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn is_path(word: &str) -> bool {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/<>*".contains(c));
    let looks_like_file = [".md", ".rs", ".sh", ".toml", ".txt"].iter().any(|end| word.ends_with(end));
    let mut parts = word.split('/');
    let is_on_device = parts.next().is_some_and(|first| first.chars().all(|c| c.is_ascii_uppercase()));
    let is_protocol = parts.next_back().is_some_and(|last| !last.is_empty() && last.parse::<u32>().is_ok());
    is_plain
        && (word.contains('/') || looks_like_file)
        && !word.starts_with('/')
        && !is_on_device
        && !is_protocol
}

fn exists(word: &str, repository: &Repository) -> bool {
    let wanted: Vec<&str> = word.trim_end_matches('/').split('/').collect();
    repository.paths.iter().any(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        parts.len() == wanted.len() && parts.iter().zip(&wanted).all(|(part, wanted)| fits(part, wanted))
    })
}

fn fits(part: &str, wanted: &str) -> bool {
    wanted == "*" || (wanted.starts_with('<') && wanted.ends_with('>')) || part == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_routes_protocols_and_places_on_a_device() {
        for path in ["crates/kosd/src/main.rs", "crates/<name>/", "docs/spec/*", "deny.toml"] {
            assert!(is_path(path), "{path}");
        }
        for word in
            ["kosd", "/api/v1", "klp/1", "kos-enrol/1", "ROOT/etc/kos", "a / b", "handle_input(now, ..)"]
        {
            assert!(!is_path(word), "{word}");
        }
    }
}
