//! Where an authority keeps what, below `DATA`.

use std::path::{Path, PathBuf};

/// The folder of an authority: `DATA/authority`.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    folder: PathBuf,
}

impl Home {
    pub(crate) fn below(data: &Path) -> Self {
        Self { folder: data.join("authority") }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.folder.join("authority.yaml")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.join("keys")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store.db")
    }

    /// One sealed file for each vault.
    pub(crate) fn vaults(&self) -> PathBuf {
        self.folder.join("vaults")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Where a backup is put together. What is there when nobody makes one is left over.
    pub(crate) fn backup(&self) -> PathBuf {
        self.folder.join("backup.partial")
    }

    /// Where a backup is taken apart. What is there when nobody does is left over.
    pub(crate) fn restore(&self) -> PathBuf {
        self.folder.join("restore.partial")
    }

    /// There as long as the authority is closed after a restore.
    pub(crate) fn restored(&self) -> PathBuf {
        self.folder.join("restored.json")
    }

    /// There as long as the kill switch is armed, and for ever once it was fired.
    pub(crate) fn kill_journal(&self) -> PathBuf {
        self.folder.join("kill.journal")
    }

    /// What is left to prove that it was fired.
    pub(crate) fn death_notice(&self) -> PathBuf {
        self.folder.join("death-notice.cose")
    }

    /// What was destroyed, and what may be said of it.
    pub(crate) fn kill_report(&self) -> PathBuf {
        self.folder.join("kill-report.json")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run().join("authority.sock")
    }
}
