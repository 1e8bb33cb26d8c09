//! `cargo xtask fuzz`: each target in turn, with libFuzzer on the nightly toolchain.
//!
//! New inputs go to `target/fuzz/corpus/TARGET`; the corpora under `fuzz/corpus` are read and never written, so that a
//! run leaves the checkout as it was. What a target stumbles over is left in `fuzz/artifacts/TARGET`. Once it is
//! mended, the input becomes a vector under `tests/vectors`, which the tests of `kos-fuzz` give to every target.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{FOUND, children, tools};

/// Longest time for one input, in seconds. Every reader is done in milliseconds; this leaves room for a busy machine.
const INPUT_SECONDS_MAX: u32 = 10;

/// Largest piece of memory that an input may make a reader ask for at once, in MiB.
const ALLOCATION_MIB_MAX: u32 = 16;

/// Fuzzes `named` targets, or all, for `seconds` each. Prints the path of every input that broke one.
pub(crate) fn run(named: &[String], seconds: u32, workspace: &Workspace) -> Result<u8> {
    let targets = choose(named, list(&workspace.root.join("fuzz/fuzz_targets"))?)?;
    if !children::quietly_succeeds(Command::new("cargo").args(["+nightly", "--version"])) {
        bail!(
            "fuzzing needs the nightly toolchain, which is missing: rustup toolchain install nightly --profile minimal"
        );
    }
    let cargo_fuzz = tools::FUZZ.install(workspace)?;

    let mut broken = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        eprintln!("fuzz {target} ({} of {}), {seconds} s", number + 1, targets.len());
        children::must_succeed(&mut fuzz_call(&cargo_fuzz, "build", target, workspace))?;
        broken.extend(fuzz_one(&cargo_fuzz, target, seconds, workspace)?);
    }
    for input in &broken {
        println!("{}", input.display());
    }
    Ok(if broken.is_empty() { 0 } else { FOUND })
}

/// The names of the targets: one file each.
fn list(folder: &Path) -> Result<BTreeSet<String>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("there are no targets in {}", folder.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

fn choose(named: &[String], known: BTreeSet<String>) -> Result<BTreeSet<String>> {
    if let Some(stranger) = named.iter().find(|name| !known.contains(*name)) {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        bail!("there is no target `{stranger}`; there are {known}");
    }
    Ok(if named.is_empty() { known } else { named.iter().cloned().collect() })
}

/// Returns the inputs that broke the target in this run.
fn fuzz_one(
    cargo_fuzz: &Path,
    target: &str,
    seconds: u32,
    workspace: &Workspace,
) -> Result<BTreeSet<PathBuf>> {
    let artifacts = workspace.root.join("fuzz/artifacts").join(target);
    let found = workspace.target.join("fuzz/corpus").join(target);
    let committed = workspace.root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&found)?;

    let before = files_in(&artifacts);
    let limits = [
        format!("-max_total_time={seconds}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"),
    ];
    let mut fuzz = fuzz_call(cargo_fuzz, "run", target, workspace);
    fuzz.arg(&found).args(committed.is_dir().then_some(&committed));
    if children::succeeds(fuzz.arg("--").args(limits))? {
        return Ok(BTreeSet::new());
    }
    let after = files_in(&artifacts).into_iter();
    let broken: BTreeSet<_> =
        after.filter(|(path, written)| before.get(path) != Some(written)).map(|(path, _)| path).collect();
    if broken.is_empty() {
        bail!("target `{target}` failed and left no new input in {}", artifacts.display());
    }
    Ok(broken)
}

fn fuzz_call(cargo_fuzz: &Path, verb: &str, target: &str, workspace: &Workspace) -> Command {
    let mut fuzz = Command::new(cargo_fuzz);
    // The variables are those of the toolchain that runs us, and rustup's proxies obey them before anything else.
    fuzz.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO").env_remove("RUSTC");
    fuzz.current_dir(workspace.root.join("fuzz")).args([verb, "--fuzz-dir", ".", target]);
    fuzz
}

/// The files of a folder and when they were written, since an input that is found again keeps its name. A folder that
/// is not there holds no files.
fn files_in(folder: &Path) -> BTreeMap<PathBuf, Option<SystemTime>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let written = |entry: &fs::DirEntry| entry.metadata().and_then(|metadata| metadata.modified()).ok();
    entries.map(|entry| (entry.path(), written(&entry))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<String> {
        ["kid", "ticket"].map(str::to_owned).into()
    }

    #[test]
    fn all_targets_are_chosen_when_none_is_named() {
        assert_eq!(choose(&[], known()).unwrap(), known());
    }

    #[test]
    fn an_unknown_target_is_refused_with_the_known_ones() {
        let refusal = choose(&["ticked".to_owned()], known()).unwrap_err();
        assert_eq!(refusal.to_string(), "there is no target `ticked`; there are kid, ticket");
    }
}
