//! Programs that we did not write and that judge what ours made. A missing judge is a failure.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::program::{self, Finished};

/// Runs a foreign program to its end.
///
/// # Errors
/// When it is not installed: `cargo xtask test deps`.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Result<Finished> {
    let mut command = Command::new(name);
    command.args(arguments);
    program::finish(command, input).with_context(|| format!("`{name}` is needed: cargo xtask test deps"))
}

/// Runs a foreign program that must agree.
///
/// # Errors
/// When it is missing or does not end with 0.
pub fn agrees(name: &str, arguments: &[&str], input: &str) -> Result<String> {
    let done = run(name, arguments, input)?;
    ensure!(done.status.success(), "{name} says no: {}{}", done.stdout, done.stderr);
    Ok(done.stdout)
}
