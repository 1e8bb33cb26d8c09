//! age: the program of Debian, which encrypts a file to a key and opens it again.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Contest, enter};
use crate::{process, statistics::ms};

/// A key, some bytes, and the file of them.
pub(crate) struct Age {
    folder: TempDir,
    recipient: String,
    value: Vec<u8>,
}

impl Age {
    /// A key, and a file that it opens.
    pub(crate) fn prepare(value: &[u8]) -> Contest<Self> {
        enter(version().map(|version| format!("age {version}")), || {
            let folder = process::data_folder()?;
            let made = Command::new("age-keygen").output().context("age-keygen does not start")?;
            let key = String::from_utf8(made.stdout)?;
            let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: "));
            let recipient = recipient.context("age-keygen said something unexpected")?.to_owned();
            fs::write(folder.path().join("key"), &key)?;
            fs::write(folder.path().join("value"), value)?;
            let age = Self { folder, recipient, value: value.to_vec() };
            age.make()?;
            Ok(age)
        })
    }

    /// Opens the file; milliseconds.
    pub(crate) async fn decrypt(&self) -> Result<f64> {
        let mut command = Command::new("age");
        command.args(["--decrypt", "--identity"]).arg(self.at("key")).arg(self.at("file"));
        let begun = Instant::now();
        let done = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await??;
        let took = ms(begun.elapsed());
        ensure!(done.status.success() && done.stdout == self.value, "age did not open the file");
        Ok(took)
    }

    /// Makes the file anew and brings it to the disk; milliseconds.
    pub(crate) async fn encrypt(&self) -> Result<f64> {
        let begun = Instant::now();
        tokio::task::block_in_place(|| self.make())?;
        Ok(ms(begun.elapsed()))
    }

    fn make(&self) -> Result<()> {
        let mut command = Command::new("age");
        command.args(["--encrypt", "--recipient", &self.recipient, "--output"]).arg(self.at("file"));
        let done = command.arg(self.at("value")).stdin(Stdio::null()).output()?;
        ensure!(done.status.success(), "age failed: {}", String::from_utf8_lossy(&done.stderr));
        // Ours are durable, so its are.
        Ok(File::open(self.at("file"))?.sync_all()?)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn version() -> Result<String, String> {
    let text = process::output("age", &["--version"])?;
    Ok(text.trim().trim_start_matches("(devel)").trim_start_matches('v').to_owned())
}
