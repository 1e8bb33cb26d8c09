//! Debian's mender-client: the daemon of another device management.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use tempfile::TempDir;

use super::{Contest, enter};
use crate::{
    process::{self, Program},
    statistics::number,
    wait,
};

const PROGRAM: &str = "/usr/bin/mender";
/// How long it gets to make its key and to reach its first pause.
const START: Duration = Duration::from_secs(6);
/// A server that is not there: the daemon asks again later.
const CONFIG: &str = r#"{"ServerURL": "https://127.0.0.1:9", "UpdatePollIntervalSeconds": 1800,
"InventoryPollIntervalSeconds": 1800, "RetryPollIntervalSeconds": 1800}"#;

/// A folder with a configuration.
pub(crate) struct Mender {
    folder: TempDir,
}

/// Looks whether it is installed.
pub(crate) fn find() -> Contest<Mender> {
    enter(name(), || {
        let folder = process::data_folder()?;
        fs::write(folder.path().join("mender.conf"), CONFIG)?;
        Ok(Mender { folder })
    })
}

/// Name, version and the size of the program file.
pub(crate) fn binary_bytes() -> Result<(String, f64), String> {
    let bytes = fs::metadata(PROGRAM).map_err(|error| format!("`{PROGRAM}`: {error}"))?.len();
    Ok((format!("{} (without the libraries that it loads)", name()?), number(bytes)))
}

fn name() -> Result<String, String> {
    let text = process::output(PROGRAM, &["--version"])?;
    Ok(format!("mender {}", text.split_whitespace().next().unwrap_or("of unknown version")))
}

impl Mender {
    /// Resident memory of the daemon once it rests, in bytes.
    pub(crate) async fn resident(&mut self) -> Result<f64> {
        let place = self.folder.path();
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(place.join("mender.conf")).args(["--fallback-config", "/nonexistent"]);
        command.arg("--data").arg(place).arg("daemon").stderr(Stdio::null());
        let mut program = Program::start(&mut command)?;
        wait::pass(START).await;
        program.must_run()?;
        let bytes = program.settled_bytes().await?;
        program.stop().await?;
        Ok(number(bytes))
    }
}
