//! Rule `lints`: every crate has the lints of the workspace, which forbid unsafe code. One crate may hold some (decision
//! 0017): it repeats them, since what is forbidden cannot be allowed again, and denies what they forbid.

use super::{Finding, Repository};
use crate::workspace::Crate;

/// The crate with unsafe code.
const UNSAFE: &str = "kos-secret-memory";
const FORBIDDEN: &str = "unsafe_code = \"forbid\"";
const DENIED: &str = "unsafe_code = \"deny\"";

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    let root = repository.text("Cargo.toml").unwrap_or_default();
    repository.crates.iter().flat_map(|package| find_in(package, repository, &lints(&root))).collect()
}

fn find_in(package: &Crate, repository: &Repository, wanted: &[String]) -> Vec<Finding> {
    let manifest = repository.relative(&package.manifest_path);
    let text = repository.text(&manifest).unwrap_or_default();
    if package.name != UNSAFE {
        let takes_them = text.lines().skip_while(|line| line.trim() != "[lints]").nth(1).map(str::trim);
        return match takes_them {
            Some("workspace = true") => Vec::new(),
            _ => vec![Finding::new(manifest, 1, "take the lints of the workspace: [lints] workspace = true")],
        };
    }
    let held = lints(&text);
    let wanted = wanted.iter().map(|line| if line == FORBIDDEN { DENIED } else { line.as_str() });
    let missing = wanted.filter(|line| !held.iter().any(|own| own == line));
    missing
        .map(|line| {
            Finding::new(&manifest, 1, format!("the workspace has the lint `{line}`, this crate not"))
        })
        .collect()
}

/// The lines of every table of lints.
fn lints(manifest: &str) -> Vec<String> {
    let mut is_inside = false;
    let mut lines = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            is_inside = table.contains("lints.");
        } else if is_inside && line.contains('=') {
            lines.push(line.to_owned());
        }
    }
    lines
}
