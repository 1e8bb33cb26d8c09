//! Rule `core`: no IO, no clock and no randomness in the crates that are pure, and a `clippy.toml` in each that says so
//! to the compiler as well. Clippy sees through renames and misses what it has no path for; this rule is the reverse.

use super::source::Place;
use super::{CORE, Finding, Repository};

/// A path, or the end of one, and what it would bring in. A trailing `::` asks for something behind it.
const FORBIDDEN: [(&str, &str); 23] = [
    ("std::env", "the environment"),
    ("std::fs", "files"),
    ("std::io::stderr", "a terminal"),
    ("std::io::stdin", "a terminal"),
    ("std::io::stdout", "a terminal"),
    ("std::net", "sockets"),
    ("std::os", "the operating system"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("Instant::now", "a clock"),
    ("SystemTime", "a clock"),
    ("UtcDateTime::now", "a clock"),
    ("OffsetDateTime::now_utc", "a clock"),
    ("SystemRandom", "randomness"),
    ("getrandom", "randomness"),
    ("rand::", "randomness"),
    ("tokio", "a runtime"),
    ("tracing", "logging"),
    ("dbg!", "a terminal"),
    ("eprint!", "a terminal"),
    ("eprintln!", "a terminal"),
    ("print!", "a terminal"),
    ("println!", "a terminal"),
];

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &repository.crates {
        let config = format!("crates/{}/clippy.toml", package.name);
        if CORE.contains(&package.name.as_str()) && !repository.paths.contains(&config) {
            findings.push(Finding::new(
                config,
                1,
                "a core crate forbids IO to clippy: link ../kos-base/clippy.toml",
            ));
        }
    }
    for (path, source) in CORE.iter().flat_map(|name| repository.sources_of(name)) {
        for place in source.paths.iter().filter(|place| !place.around.is_test) {
            if let Some((_, what)) = FORBIDDEN.iter().find(|(forbidden, _)| reaches(place, forbidden)) {
                let message = format!("`{}` brings {what} into the core", place.text);
                findings.push(Finding::new(path, place.line, message));
            }
        }
    }
    findings
}

/// True when `forbidden` stands in the path as a run of whole names.
pub(super) fn reaches(place: &Place, forbidden: &str) -> bool {
    let found: Vec<&str> = place.text.split("::").collect();
    let wanted: Vec<&str> = forbidden.trim_end_matches("::").split("::").collect();
    let needs_more = forbidden.ends_with("::");
    found.windows(wanted.len()).enumerate().any(|(start, names)| {
        names == wanted.as_slice() && (!needs_more || start + wanted.len() < found.len())
    })
}
