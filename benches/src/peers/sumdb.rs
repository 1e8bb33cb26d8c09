//! Go's sumdb: `golang.org/x/mod/sumdb/tlog` of Debian, which verifies the tree of a copied log, in one process.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Contest, enter};
use crate::process;

/// The judge of the tests, built.
pub(crate) struct Sumdb {
    folder: tempfile::TempDir,
}

impl Sumdb {
    pub(crate) fn prepare() -> Contest<Self> {
        let version = process::output("go", &["version"]).map(|text| {
            let version = text.split_whitespace().nth(2).unwrap_or("go of unknown version").to_owned();
            format!("x/mod/sumdb, {version}")
        });
        enter(version, || {
            let folder = process::data_folder()?;
            let source =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/kos-audit/tests/judge/tiles.go");
            let mut build = Command::new("go");
            build.arg("build").arg("-o").arg(folder.path().join("tiles")).arg(source).env_remove("GOFLAGS");
            build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
            build.env("GOCACHE", folder.path().join("cache"));
            let done = build.output().context("go does not start")?;
            ensure!(done.status.success(), "go build failed: {}", String::from_utf8_lossy(&done.stderr));
            Ok(Self { folder })
        })
    }

    /// Verifies the log in a folder; entries per second.
    pub(crate) async fn verify(&self, log: &Path, entries: f64) -> Result<f64> {
        let mut command = Command::new(self.folder.path().join("tiles"));
        command.arg(log.join("vkey")).arg(log);
        let begun = Instant::now();
        let done = tokio::task::spawn_blocking(move || command.output()).await??;
        let took = begun.elapsed().as_secs_f64();
        ensure!(done.status.success(), "it refused the log: {}", String::from_utf8_lossy(&done.stdout));
        Ok(entries / took)
    }
}
