//! What a log is judged by when nobody is asked: its key and a checkpoint from before.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::{fleet::Authority, program, wait};

/// A checkpoint that is held, and the key of its log.
#[derive(Debug)]
pub struct Held(TempDir);

impl Held {
    /// Of an authority that serves.
    ///
    /// # Errors
    /// When it does not answer, or does not publish its log.
    pub fn of(authority: &Authority) -> Result<Self> {
        let held = Self(TempDir::with_prefix("kos-held-")?);
        authority.json(&["audit", "checkpoint", "--key-out", &held.at("key")])?;
        held.renew(authority)?;
        Ok(held)
    }

    /// Holds a newer one, as strangers find it: what is published covers everything up to now.
    ///
    /// # Errors
    /// As with [`Held::of`].
    pub fn renew(&self, authority: &Authority) -> Result<()> {
        let shown = authority.json(&["audit", "checkpoint"])?;
        let size =
            shown.pointer("/item/size").and_then(Value::as_u64).context("a checkpoint without size")?;
        let path = authority.data().join("authority/log/checkpoint");
        let text = wait::until("the log to be published", || {
            let text = fs::read_to_string(&path)?;
            let covers = text
                .lines()
                .nth(1)
                .and_then(|line| line.parse().ok())
                .is_some_and(|found: u64| found >= size);
            Ok(covers.then_some(text))
        })?;
        Ok(fs::write(self.at("head"), text)?)
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// The verdict on the published log of an authority that does not run, as its files are.
    ///
    /// # Errors
    /// When `kosctl` gives none.
    pub fn judge(&self, data: &Path) -> Result<Value> {
        let log = data.join("authority/log").to_string_lossy().into_owned();
        let (head, key) = (self.at("head"), self.at("key"));
        let words = ["audit", "verify", "--log", &log, "--key", &key, "--against", &head, "-o", "json"];
        let judged = program::run("kosctl", &words, "")?;
        serde_json::from_str(&judged.stdout).with_context(|| format!("{}{}", judged.stdout, judged.stderr))
    }
}
