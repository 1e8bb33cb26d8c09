//! Rule `reference`: each page of `docs/reference` is exactly what its program prints, and each has a program.

use super::{Finding, Repository};
use crate::reference::FOLDER;

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in &repository.rendered {
        let Some(text) = repository.text(&page.path) else {
            findings.push(Finding::new(&page.path, 1, "is missing: cargo xtask reference"));
            continue;
        };
        if text != page.text {
            let same = text.lines().zip(page.text.lines()).take_while(|(old, new)| old == new).count();
            findings.push(Finding::new(&page.path, same + 1, "is stale: cargo xtask reference"));
        }
    }
    for path in repository.below(FOLDER) {
        if !repository.rendered.iter().any(|page| page.path == path) {
            let message = "nothing makes this page: name its command in xtask/src/reference.rs";
            findings.push(Finding::new(path, 1, message));
        }
    }
    findings
}
