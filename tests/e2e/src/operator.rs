//! Operators on machines of their own: a home with a context of `kosctl`, which has their key and certificate.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::{
    fleet::Authority,
    program::{self, Finished},
};

/// The one context that each of them has.
const CONTEXT: &str = "home";

/// Somebody with a certificate.
#[derive(Debug)]
pub struct Operator {
    home: TempDir,
}

impl Operator {
    /// One whose context is made in one step, on the machine of the authority.
    ///
    /// # Errors
    /// When it is refused.
    pub fn here(authority: &Authority, name: &str, role: &str) -> Result<Self> {
        let operator = Self { home: TempDir::with_prefix("kos-e2e-operator-")? };
        let server = server_of(authority);
        let arguments = ["--server", &server, "context", "add", CONTEXT, "--operator", name, "--role", role];
        let mut command = program::command("kosctl", &arguments)?;
        command.env("XDG_CONFIG_HOME", operator.home.path()).env("KOS_DATA_DIR", authority.data());
        operator.made(&program::finish(command, "")?)
    }

    /// One who makes the key elsewhere, sends a request, and gets certificates back.
    ///
    /// # Errors
    /// When it is refused.
    pub fn elsewhere(authority: &Authority, name: &str, role: &str) -> Result<Self> {
        let operator = Self { home: TempDir::with_prefix("kos-e2e-operator-")? };
        let at = |file: &str| operator.home.path().join(file).to_string_lossy().into_owned();
        let (server, csr, bundle) = (server_of(authority), at("csr"), at("bundle"));
        let asked = operator.kosctl(&["--server", &server, "context", "add", CONTEXT, "--csr", &csr])?;
        ensure!(asked.status.success(), "no request: {}", asked.stderr);
        authority.json(&["operator", "add", name, "--role", role, "--csr", &csr, "--out", &bundle])?;
        let done = operator.kosctl(&["context", "add", CONTEXT, "--bundle", &bundle])?;
        operator.made(&done)
    }

    fn made(self, done: &Finished) -> Result<Self> {
        ensure!(done.status.success(), "no context: {}", done.stderr);
        Ok(self)
    }

    /// The folder that they have as `~/.config`.
    pub fn config(&self) -> &Path {
        self.home.path()
    }

    /// A file of the context: `root.pem`, `operator.pem`, `operator.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("kos/contexts").join(CONTEXT).join(name)
    }

    /// The arguments with which curl is this operator.
    pub fn curl(&self) -> Vec<String> {
        let mut arguments = vec!["-sS".to_owned()];
        for (option, file) in
            [("--cacert", "root.pem"), ("--cert", "operator.pem"), ("--key", "operator.key")]
        {
            arguments.extend([option.to_owned(), self.file(file).to_string_lossy().into_owned()]);
        }
        arguments
    }

    /// Runs `kosctl` as this operator.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is for the caller to judge.
    pub fn kosctl(&self, arguments: &[&str]) -> Result<Finished> {
        let mut command = program::command("kosctl", &[&["--no-input"], arguments].concat())?;
        command.env("XDG_CONFIG_HOME", self.home.path());
        program::finish(command, "")
    }
}

fn server_of(authority: &Authority) -> String {
    format!("https://localhost:{}", authority.ports().tls)
}
