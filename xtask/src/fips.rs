//! `cargo xtask fips`: the programs with the FIPS module, in a target folder of their own, and what shows that they are that.
//!
//! `target/fips` keeps features apart: cargo would otherwise build the workspace anew at each change between the two.

use std::{fs, io::ErrorKind};

use anyhow::Result;

use crate::children;
use crate::stages::requirements;
use crate::workspace::Workspace;
use crate::{FOUND, programs};

/// The feature of each program.
const FEATURE: [&str; 2] = ["--features", "fips"];
/// The programs that have it.
const PROGRAMS: [&str; 8] = ["-p", "kosd", "-p", "kos-authority", "-p", "kosctl", "-p", "quickstart"];
/// No debug information, nothing kept for the next build, and no module that lies about on this machine.
const ENVIRONMENT: [(&str, &str); 3] =
    [("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0"), ("AWS_LC_FIPS_SYS_USE_SYSTEM", "0")];
/// What the build needs from Debian, from the root.
const PACKAGES: &str = "xtask/fips-packages.txt";

/// Builds and judges; FOUND when a judge says no.
pub(crate) fn run(workspace: &Workspace) -> Result<u8> {
    requirements::demand(workspace, PACKAGES)?;
    let folder = workspace.target.join("fips");
    for program in PROGRAMS.iter().filter(|word| !word.starts_with('-')) {
        // Wherever this build goes: what an earlier one left is not judged in its place.
        match fs::remove_file(folder.join("debug").join(program)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let mut build = workspace.cargo(["build"]);
    build.args(FEATURE).args(PROGRAMS).env("CARGO_TARGET_DIR", &folder).envs(ENVIRONMENT);
    children::must_succeed(&mut build)?;
    // The tests themselves are of the usual build, so that nothing of theirs has the feature.
    let mut judged = workspace.cargo(["test", "-p", "kos-e2e", "--test", "fips"]);
    let judged = children::succeeds(judged.env(programs::ELSEWHERE, folder.join("debug")))?;
    Ok(if judged { 0 } else { FOUND })
}
