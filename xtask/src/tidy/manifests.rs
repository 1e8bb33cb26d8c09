//! Rule `dependency-reason`: each foreign crate stands once, in the root manifest, with the reason why we carry it.

use super::{Finding, Repository};

const ROOT: &str = "Cargo.toml";

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, entry) in dependencies(&repository.text(ROOT).unwrap_or_default()) {
        let is_ours = entry.contains("path = ");
        let has_reason = entry.split_once(" # ").is_some_and(|(_, reason)| !reason.trim().is_empty());
        if !is_ours && !has_reason {
            let message =
                format!("`{}` has no reason: say in a comment on its line why we carry it", name(&entry));
            findings.push(Finding::new(ROOT, line, message));
        }
    }
    for package in &repository.crates {
        let manifest = repository.relative(&package.manifest_path);
        for (line, entry) in dependencies(&repository.text(&manifest).unwrap_or_default()) {
            if manifest != ROOT && !entry.replace(' ', "").contains("workspace=true") {
                let message =
                    format!("`{}` belongs into [workspace.dependencies], with its reason", name(&entry));
                findings.push(Finding::new(&manifest, line, message));
            }
        }
    }
    findings
}

/// The entries of every dependency table of a manifest, with their lines.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut is_inside = false;
    let mut entries = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(table) = line.strip_prefix('[') {
            is_inside = table.trim_end_matches(']').ends_with("dependencies");
        } else if is_inside && !line.starts_with('#') && line.contains('=') {
            entries.push((index + 1, line.to_owned()));
        }
    }
    entries
}

fn name(entry: &str) -> &str {
    entry.split(['.', ' ', '=']).next().unwrap_or(entry)
}
