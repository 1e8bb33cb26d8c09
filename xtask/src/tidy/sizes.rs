//! Rules `file-size`, `core-size` and `ratchet`: nothing grows beyond what one reader can hold.
//!
//! What is too large already stands in the ratchet with its exact size, so that it can shrink and cannot grow.

use super::ratchet::{self, Entry};
use super::{CORE, Finding, Repository};

const FILE_SIZE: &str = "file-size";
const CORE_SIZE: &str = "core-size";

/// Something that was measured.
struct Size {
    rule: &'static str,
    /// The path of the file, or the name of the crate.
    subject: String,
    /// Where a finding points.
    path: String,
    lines: usize,
    max: usize,
}

pub(super) fn find_long_files(repository: &Repository) -> Vec<Finding> {
    find_grown(files(repository), repository)
}

pub(super) fn find_large_core_crates(repository: &Repository) -> Vec<Finding> {
    find_grown(core_crates(repository), repository)
}

/// Entries that allow more than is there, and lines of the ratchet that are no entries.
pub(super) fn find_stale_entries(repository: &Repository) -> Vec<Finding> {
    let (entries, mut findings) = ratchet::read(repository);
    let sizes: Vec<Size> = files(repository).chain(core_crates(repository)).collect();
    for entry in &entries {
        let size = sizes.iter().find(|size| entry.is_about(size.rule, &size.subject));
        let message = match size {
            None => {
                format!("there is no `{}` that `{}` measures: remove the entry", entry.subject, entry.rule)
            }
            Some(size) if size.lines <= size.max => {
                format!("`{}` has {} lines and needs no entry any more: remove it", entry.subject, size.lines)
            }
            // Within a twentieth, so that not every commit has to touch the entry.
            Some(size) if size.lines * 20 < entry.lines * 19 => {
                format!("`{}` is down to {} lines: lower the entry", entry.subject, size.lines)
            }
            Some(_) => continue,
        };
        findings.push(Finding::new(ratchet::PATH, entry.at_line, message));
    }
    findings
}

fn find_grown(sizes: impl Iterator<Item = Size>, repository: &Repository) -> Vec<Finding> {
    let (entries, _) = ratchet::read(repository);
    let allowance = |size: &Size| {
        let entry = entries.iter().find(|entry: &&Entry| entry.is_about(size.rule, &size.subject));
        entry.map_or(size.max, |entry| entry.lines.max(size.max))
    };
    let grown = sizes.filter(|size| size.lines > allowance(size));
    grown
        .map(|size| {
            let message =
                format!("`{}` has {} lines, {} are allowed", size.subject, size.lines, allowance(&size));
            Finding::new(size.path, 1, message)
        })
        .collect()
}

fn files(repository: &Repository) -> impl Iterator<Item = Size> {
    repository.sources.iter().map(|(path, source)| Size {
        rule: FILE_SIZE,
        subject: path.clone(),
        path: path.clone(),
        lines: source.lines(),
        max: repository.limits.file,
    })
}

fn core_crates(repository: &Repository) -> impl Iterator<Item = Size> {
    let present = CORE.iter().filter(|name| repository.paths.contains(&format!("crates/{name}/src")));
    present.map(|name| Size {
        rule: CORE_SIZE,
        subject: (*name).to_owned(),
        path: format!("crates/{name}/Cargo.toml"),
        lines: repository.sources_of(name).map(|(_, source)| source.product_lines()).sum(),
        max: repository.limits.core_crate,
    })
}
