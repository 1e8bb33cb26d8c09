//! Where an authority keeps what, below `DATA`.

use std::path::{Path, PathBuf};

use crate::{keys::Keep, settings::Settings};

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

    /// Where the keys are, and how the settings say that they open.
    pub(crate) fn keep(&self, settings: &Settings, credentials: Option<&Path>) -> Keep {
        Keep::in_folder(&self.folder).by(settings, credentials)
    }

    /// The same for the end, when settings that cannot be read must stop nothing.
    pub(crate) fn keep_at_the_end(&self, credentials: Option<&Path>) -> Keep {
        self.keep(&Settings::read(&self.settings()).unwrap_or_default(), credentials)
    }

    /// Whether there are keys, or were.
    pub(crate) fn has_keys(&self) -> bool {
        Keep::in_folder(&self.folder).is_there()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store.db")
    }

    /// The index of the log, which can be made again.
    pub(crate) fn search(&self) -> PathBuf {
        self.folder.join("search.db")
    }

    /// One sealed file for each vault.
    pub(crate) fn vaults(&self) -> PathBuf {
        self.folder.join("vaults")
    }

    /// What the witness of other logs remembers, and evidence. In no backup.
    pub(crate) fn witness(&self) -> PathBuf {
        self.folder.join("witness")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What devices have delivered of their own logs.
    pub(crate) fn device_logs(&self) -> PathBuf {
        self.folder.join("device-logs")
    }

    /// What devices in quarantine sealed for guardians. In no backup.
    pub(crate) fn forensics(&self) -> PathBuf {
        self.folder.join("forensics")
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
