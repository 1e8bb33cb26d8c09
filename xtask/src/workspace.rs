//! The workspace as cargo sees it: its folders, its crates and what each of them asks for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::children;

/// One cargo workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// Where `Cargo.toml` and `Cargo.lock` are.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Where cargo builds, and where everything goes that may be deleted.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    /// The members, in no particular order.
    #[serde(rename = "packages")]
    pub(crate) crates: Vec<Crate>,
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Set when the dependency is a folder, which in this repository means that it is ours.
    pub(crate) path: Option<PathBuf>,
}

impl Workspace {
    /// Asks cargo about the workspace at `root`. Needs no network and resolves nothing.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut cargo = Command::new(children::cargo_path());
        cargo.current_dir(root).args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
        let json = children::stdout(&mut cargo)?;
        serde_json::from_str(&json).context("cargo metadata answered something unexpected")
    }

    /// A cargo call in the root of this workspace.
    pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Command {
        let mut cargo = Command::new(children::cargo_path());
        cargo.current_dir(&self.root).args(args);
        if std::env::var_os("CI").is_some() {
            // There is no next time, and what is kept for it takes as much of the disk as the programs.
            cargo.env("CARGO_INCREMENTAL", "0");
        }
        cargo
    }
}

/// The root of the checkout that this program was built from.
pub(crate) fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.parent().unwrap_or(folder).to_path_buf()
}
