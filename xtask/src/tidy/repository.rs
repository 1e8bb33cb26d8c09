//! What the rules look at: every path, every Rust file as tokens, the crates, and freshly made reference pages.
//!
//! Read once and then only looked at. Built things, fuzz corpora and the fixtures that break rules on purpose are not
//! part of it. Paths are relative to the root and use `/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::Source;
use crate::reference::{self, Rendered};
use crate::workspace::{Crate, Workspace};

/// Folders that are not looked into.
const APART: [&str; 8] = [
    ".git",
    "target",
    "kos-data",
    "fuzz/target",
    "fuzz/corpus",
    "fuzz/artifacts",
    "fuzz/coverage",
    "xtask/fixtures",
];

/// How many lines are allowed. The fixtures have smaller limits, so that they can be small themselves.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Of a Rust file, tests and comments included.
    pub(super) file: usize,
    /// Of a core crate, tests left out.
    pub(super) core_crate: usize,
    /// Of the map, which one person reads in one sitting.
    pub(super) map: usize,
}

const LIMITS: Limits = Limits { file: 600, core_crate: 5_000, map: 300 };

/// A repository as the rules see it.
pub(crate) struct Repository {
    root: PathBuf,
    /// Files and folders.
    pub(super) paths: BTreeSet<String>,
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) crates: Vec<Crate>,
    /// The reference pages as they should be.
    pub(super) rendered: Vec<Rendered>,
    pub(super) limits: Limits,
}

impl Repository {
    /// Reads the checkout and lets the programs print their reference pages.
    pub(crate) fn load(workspace: &Workspace) -> Result<Self> {
        let crates = Workspace::load(&workspace.root)?.crates;
        Self::read(&workspace.root, crates, reference::render_all(workspace)?, LIMITS)
    }

    /// Reads the files under `root`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and a Rust file that is not made of tokens; the compiler would refuse that as well.
    pub(super) fn read(
        root: &Path,
        crates: Vec<Crate>,
        rendered: Vec<Rendered>,
        limits: Limits,
    ) -> Result<Self> {
        let mut paths = BTreeSet::new();
        walk(root, "", &mut paths)?;
        let mut sources = BTreeMap::new();
        for path in paths.iter().filter(|path| path.ends_with(".rs")) {
            let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
            let source = Source::read(path, text).with_context(|| format!("{path} is not Rust"))?;
            sources.insert(path.clone(), source);
        }
        mark_test_modules(&mut sources);
        Ok(Self { root: root.to_path_buf(), paths, sources, crates, rendered, limits })
    }

    /// The text of a file; nothing when there is no such file, or when it is not text.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// The paths directly in or anywhere below a folder.
    pub(super) fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        let paths = self.paths.iter().map(String::as_str);
        paths.filter(move |path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The sources of one crate that go into its library or program.
    pub(super) fn sources_of<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a Source)> {
        let folder = format!("crates/{name}/src/");
        let sources = self.sources.iter().filter(move |(path, _)| path.starts_with(&folder));
        sources.map(|(path, source)| (path.as_str(), source))
    }

    /// A path of the file system, as the rules write it.
    pub(super) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// A module that is declared under `#[cfg(test)]` is test code with everything below it.
fn mark_test_modules(sources: &mut BTreeMap<String, Source>) {
    let declared = sources.iter().flat_map(|(path, source)| source.test_modules(path));
    let modules: Vec<String> = declared.collect();
    for (path, source) in sources {
        let is_in = |module: &String| {
            path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if modules.iter().any(is_in) {
            source.become_test();
        }
    }
}

/// Links are paths, but what they point to is read at its own place only.
fn walk(root: &Path, folder: &str, paths: &mut BTreeSet<String>) -> Result<()> {
    let here = root.join(folder);
    for entry in fs::read_dir(&here).with_context(|| format!("cannot read {}", here.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if APART.contains(&path.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &path, paths)?;
        }
        paths.insert(path);
    }
    Ok(())
}
