//! A token: SoftHSM, and `pkcs11-tool` as its judge.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::said;

/// A token of SoftHSM in a folder of its own. Programs find it by [`SoftToken::environment`]: SoftHSM reads where its
/// tokens are from there, so each needs a process of its own.
#[derive(Debug)]
pub struct SoftToken(TempDir);

impl Default for SoftToken {
    fn default() -> Self {
        Self::new()
    }
}

impl SoftToken {
    /// The library, where Debian has it.
    pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
    /// The label of the token.
    pub const LABEL: &str = "kos test";
    /// Its PIN.
    pub const PIN: &str = "648219";

    /// One empty token.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = Self(folder);
        fs::create_dir(token.path("tokens")).unwrap();
        let config =
            format!("directories.tokendir = {}\nlog.level = ERROR\n", token.path("tokens").display());
        fs::write(token.path("softhsm2.conf"), config).unwrap();
        set_up(&token.path("softhsm2.conf"));
        token
    }

    /// The folder with all of it.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// A file beside its state.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What a program needs to find the token.
    pub fn environment(&self) -> (&'static str, OsString) {
        ("SOFTHSM2_CONF", self.path("softhsm2.conf").into())
    }

    /// Runs `pkcs11-tool` on the token. All that it says.
    pub fn judge(&self, words: &[&str]) -> String {
        let (name, value) = self.environment();
        let mut tool = Command::new("pkcs11-tool");
        tool.args(["--module", Self::MODULE, "--token-label", Self::LABEL, "--login", "--pin", Self::PIN]);
        let output = tool.args(words).env(name, value).output();
        let output = output.expect("opensc is installed: cargo xtask test deps");
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        said(&output)
    }
}

fn set_up(config: &Path) {
    let (label, pin) = (SoftToken::LABEL, SoftToken::PIN);
    let words = ["--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "8462840"];
    let output = Command::new("softhsm2-util").args(words).env("SOFTHSM2_CONF", config).output();
    let output = output.expect("softhsm2 is installed: cargo xtask test deps");
    assert!(output.status.success(), "{}", said(&output));
}
