//! Programs that we did not write and that judge what ours made. A missing judge is a failure.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::program::{self, Finished};

/// Runs a foreign program to its end.
///
/// # Errors
/// When it is not installed: `cargo xtask test deps`.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Result<Finished> {
    let mut command = Command::new(name);
    command.args(arguments);
    finish(command, input)
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

fn finish(command: Command, input: &str) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    program::finish(command, input).with_context(|| format!("`{name}` is needed: cargo xtask test deps"))
}

/// A path below the root of the workspace.
pub fn workspace(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// What a Python program, by its path in the workspace, prints when it gets `input`.
///
/// # Errors
/// When there is no Python, or the program fails.
pub fn python(program: &str, input: &str) -> Result<String> {
    let done = finish(interpreter(program), input)?;
    ensure!(done.status.success(), "{program}: {}", done.stderr);
    Ok(done.stdout)
}

/// That the log explains every row of a store (AUD-110), as one says who reads the file alone. A store that is gone has no row.
///
/// # Errors
/// With a line for each row that it does not explain.
pub fn rows_are_explained(store: &Path) -> Result<()> {
    if !store.exists() {
        return Ok(());
    }
    let mut judge = interpreter("tests/e2e/judge/coverage.py");
    judge.arg(store);
    let done = finish(judge, "")?;
    ensure!(done.status.success(), "the log does not explain: {}{}", done.stdout, done.stderr);
    Ok(())
}

/// A Go program, by its path in the workspace, on Debian's `golang.org/x/mod`. It is built first, so that what runs is the
/// program itself.
///
/// # Errors
/// When there is no Go, or the program is not one.
pub fn go(program: &str) -> Result<PathBuf> {
    let source = workspace(program);
    let name = source.file_stem().context("a program without a name")?.to_owned();
    let built = workspace("target/judges/go-programs").join(name);
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&built).arg(&source);
    command.env_remove("GOFLAGS").env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    command.env("GOCACHE", workspace("target/judges/go"));
    let done = finish(command, "")?;
    ensure!(done.status.success(), "{program}: {}", done.stderr);
    Ok(built)
}

fn interpreter(program: &str) -> Command {
    let mut command = Command::new(workspace("target/judges/bin/python"));
    command.arg(workspace(program));
    command
}

/// A folder with the files that judges read and write. They run in it, so that their command lines can name them.
#[derive(Debug)]
pub struct Desk(TempDir);

impl Desk {
    /// An empty one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self(TempDir::with_prefix("kos-e2e-desk-")?))
    }

    /// Where the file of this name is.
    pub fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// Writes a file, and the folders above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.at(name)).with_context(|| format!("cannot read {name}"))
    }

    /// Runs a command line, split at spaces, and returns how it ended and everything it said.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn ask(&self, line: &str) -> Result<(bool, String)> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().context("an empty command line")?);
        command.args(words).current_dir(self.0.path()).env("LC_ALL", "C").env("TZ", "UTC");
        let done = finish(command, "")?;
        Ok((done.status.success(), done.stdout + &done.stderr))
    }

    /// Runs a command line that must say yes, and `wanted` with it.
    ///
    /// # Errors
    /// When it does not.
    pub fn agrees(&self, line: &str, wanted: &str) -> Result<String> {
        let (yes, said) = self.ask(line)?;
        ensure!(yes && said.contains(wanted), "{line}\nwanted: {wanted}\n{said}");
        Ok(said)
    }

    /// Runs a command line that must say no, and `wanted` as the reason.
    ///
    /// # Errors
    /// When it says anything else.
    pub fn disagrees(&self, line: &str, wanted: &str) -> Result<String> {
        let (yes, said) = self.ask(line)?;
        ensure!(!yes && said.contains(wanted), "{line}\nwanted as a reason: {wanted}\n{said}");
        Ok(said)
    }

    /// Runs a Python program, by its path in the workspace, with the libraries of `xtask/python-packages.txt`.
    ///
    /// # Errors
    /// When there is no Python.
    pub fn python(&self, program: &str, arguments: &[&str]) -> Result<(bool, String)> {
        let mut command = interpreter(program);
        command.args(arguments).current_dir(self.0.path());
        let done = finish(command, "")?;
        Ok((done.status.success(), done.stdout + &done.stderr))
    }
}
