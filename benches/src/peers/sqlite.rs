//! SQLite as Python's standard library has it: durable inserts, one transaction each.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Contest, enter};
use crate::process;

const PROGRAM: &str = "
import sqlite3, sys, time
path, seconds = sys.argv[1], float(sys.argv[2])
store = sqlite3.connect(path, isolation_level=None)
store.execute('PRAGMA journal_mode=WAL')
store.execute('PRAGMA synchronous=FULL')
store.execute('CREATE TABLE IF NOT EXISTS entries (position INTEGER PRIMARY KEY, leaf BLOB NOT NULL)')
leaf, rows, begun = bytes(500), 0, time.monotonic()
while time.monotonic() - begun < seconds:
    store.execute('INSERT INTO entries (leaf) VALUES (?)', (leaf,))
    rows += 1
print(rows / (time.monotonic() - begun))
";

/// A file that rows are put into.
pub(crate) struct Inserts {
    folder: TempDir,
}

impl Inserts {
    pub(crate) fn prepare() -> Contest<Self> {
        let version = process::output("python3", &["-c", "import sqlite3; print(sqlite3.sqlite_version)"]);
        enter(version.map(|version| format!("SQLite {}", version.trim())), || {
            Ok(Self { folder: process::data_folder()? })
        })
    }

    /// Inserts for as long as said; rows per second.
    pub(crate) async fn run(&self, pass: Duration) -> Result<f64> {
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM]).arg(self.folder.path().join("store"));
        command.arg(pass.as_secs_f64().to_string());
        let done = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(done.status.success(), "it failed: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().parse().context("it said something unexpected")
    }
}
