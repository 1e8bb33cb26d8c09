//! Tools from crates.io that a plain Rust installation lacks. They are built once into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::children;
use crate::workspace::Workspace;

/// A program on crates.io. The version is pinned so that a verdict changes only with a commit.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    version: &'static str,
}

/// Licences, bans, sources and advisories of the dependency graph.
pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Coverage-guided fuzzing.
pub(crate) const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// What a program is made of, in a form that others read.
pub(crate) const CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9" };

impl Tool {
    /// Where the program is, after building it if it was not there in this version.
    pub(crate) fn install(&self, workspace: &Workspace) -> Result<PathBuf> {
        let root = workspace.target.join("tools");
        let program = root.join("bin").join(self.name);
        if !self.is_current(&program) {
            let versioned = format!("{}@{}", self.name, self.version);
            let mut install = workspace.cargo(["install", "--locked", "--force", &versioned, "--root"]);
            children::must_succeed(install.arg(&root))?;
        }
        Ok(program)
    }

    fn is_current(&self, program: &PathBuf) -> bool {
        // Some answer as a program, some only as the subcommand of cargo that they are.
        let subcommand = self.name.strip_prefix("cargo-").unwrap_or(self.name);
        [&["--version"][..], &[subcommand, "--version"]].iter().any(|words| {
            let answer = Command::new(program).args(*words).output();
            answer.is_ok_and(|answer| {
                String::from_utf8_lossy(&answer.stdout).split_whitespace().any(|word| word == self.version)
            })
        })
    }
}
