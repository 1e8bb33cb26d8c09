//! Programs of others that judge what this crate makes, and a folder of files to hand to them.
#![expect(clippy::disallowed_methods, reason = "a judge is another process that reads and writes files")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The moment at which the golden certificates were issued. The judges run at it, so that they judge the same for ever.
pub(crate) const NOW: &str = "2026-11-20 10:20:00";

/// Files that judge and test hand to each other; removed afterwards.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn take(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs a command line on this desk at [`NOW`] and returns whether it said yes, and everything it said. A missing
    /// program fails the test.
    pub(crate) fn ask(&self, line: &str) -> (bool, String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run(Command::new("faketime").args(["-f", NOW]).args(words))
    }

    /// Runs a Python program, by its path from this folder, with the libraries of `xtask/python-packages.txt`.
    pub(crate) fn ask_python(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = here.join("../../target/judges/bin/python");
        self.run(Command::new(python).arg(here.join("tests/judges").join(program)).args(arguments))
    }

    fn run(&self, command: &mut Command) -> (bool, String) {
        let done = command.current_dir(self.0.path()).env("TZ", "UTC").env("LC_ALL", "C").output();
        let done =
            done.unwrap_or_else(|e| panic!("{command:?} must be installed, see xtask/*-packages.txt: {e}"));
        let said =
            [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (done.status.success(), said)
    }

    /// Runs a command line that must say yes, and everything of `wanted` with it.
    pub(crate) fn agree(&self, line: &str, wanted: &[&str]) -> String {
        let (yes, said) = self.ask(line);
        assert!(yes, "{line}\n{said}");
        for wanted in wanted {
            assert!(said.contains(wanted), "{line}\nwanted: {wanted}\n{said}");
        }
        said
    }

    /// Runs a command line that must say no, with `wanted` as the reason.
    pub(crate) fn disagree(&self, line: &str, wanted: &str) {
        let (yes, said) = self.ask(line);
        assert!(!yes && said.contains(wanted), "{line}\nwanted: {wanted}\n{said}");
    }
}
