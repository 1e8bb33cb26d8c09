//! A disk so small that it can be filled: a file system in memory that only the programs started here see as a folder.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::program::{self, Program};

/// The disk. It is gone with this value.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    /// Has a mount namespace of its own, with the disk in it.
    holder: Program,
}

impl SmallDisk {
    /// An empty disk.
    ///
    /// # Errors
    /// When this user may not have namespaces.
    pub fn new(kib: u32) -> Result<Self> {
        let folder = TempDir::with_prefix("kos-disk-")?;
        let mut command = Command::new("unshare");
        let mount = format!("mount -t tmpfs -o size={kib}k tmpfs \"$1\" && echo mounted && exec cat");
        command.args(["--map-root-user", "--mount", "sh", "-c", &mount, "sh"]).arg(folder.path());
        let mut holder = Program::holding("a small disk", command)?;
        holder.line(|line| line == "mounted")?;
        Ok(Self { folder, holder })
    }

    /// Where programs of [`SmallDisk::command`] see it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where everybody else does.
    pub fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        root.join(self.folder.path().strip_prefix("/").unwrap_or(self.folder.path()))
    }

    /// A command for one of the programs that sees the disk.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn command(&self, name: &str, arguments: &[&str]) -> Result<Command> {
        let inner = program::command(name, arguments)?;
        let pid = self.holder.pid().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--user", "--mount", "--preserve-credentials"]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (variable, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        Ok(command)
    }

    /// Leaves no byte free.
    ///
    /// # Errors
    /// When the disk cannot be filled.
    pub fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.filling()).context("no room for an empty file")?;
        loop {
            match file.write(&[0; 4_096]) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => bail!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When it was not filled.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.filling())?)
    }

    fn filling(&self) -> PathBuf {
        self.outside().join("filling")
    }
}
