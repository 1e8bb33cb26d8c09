//! Cases of others, judged by our code: their folder is given, never fetched and never kept here.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::children;
use crate::workspace::Workspace;

/// Whose cases.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Suite {
    /// Cedar's: the folder `corpus-tests` of cedar-integration-tests, named by `KOS_CEDAR_CORPUS`
    Cedar,
}

const CEDAR: &str = "KOS_CEDAR_CORPUS";

/// Judges the cases and returns an exit code.
pub(crate) fn run(suite: Suite, workspace: &Workspace) -> Result<u8> {
    match suite {
        Suite::Cedar => cedar(workspace),
    }
}

fn cedar(workspace: &Workspace) -> Result<u8> {
    let folder = env::var_os(CEDAR).map(PathBuf::from);
    let folder = folder
        .with_context(|| format!("say where the cases are: {CEDAR}=DIR cargo xtask conformance cedar"))?;
    ensure!(folder.is_dir(), "{CEDAR} is {}, which is no folder", folder.display());
    let words = [
        "test",
        "--quiet",
        "-p",
        "kos-manifest",
        "--features",
        "corpus",
        "--test",
        "corpus",
        "--",
        "--nocapture",
    ];
    // The test runs in the folder of its crate.
    children::exit_code(workspace.cargo(words).env(CEDAR, folder.canonicalize()?))
}
