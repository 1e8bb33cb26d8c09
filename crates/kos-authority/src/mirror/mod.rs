//! Copies of the log that the authority itself writes elsewhere: a worker a target, which never keeps a commit waiting.
//!
//! Shape: `run` keeps the workers; `push` decides by what the target says it has; `folder` and `web` write. What a target has
//! is known from the target alone, so a worker goes on where it was after any end.
//!
//! Invariants: a target's checkpoint moves last, and only forwards. A target that contradicts the log is written to no more.
//!
//! Source: `docs/spec/audit.md` AUD-77 to AUD-79.

mod folder;
mod push;
mod seal;
mod web;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use kos_base::{Code, Timestamp, code};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use self::{folder::check as check_folder, push::run, seal::seal as seal_password, web::address};

/// A target, as the operator named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// What it is called: a label.
    pub name: String,
    /// Since when.
    pub added_at: Timestamp,
    /// Where it is.
    pub target: Target,
}

/// Where a copy is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are named after what they are, and each variant says what it is")]
pub enum Target {
    /// A folder of this machine, on a disk of its own or a network file system.
    Folder { path: String },
    /// An address below which files can be put; the password is sealed.
    Web { url: String, ca: Option<String>, login: Option<Login> },
}

/// How the authority signs in at a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password, sealed under a key that only the vault of the machine has.
    pub sealed: String,
}

impl Target {
    /// Where it is, as the log says it: the path of a web address may be what lets one in.
    pub fn place(&self) -> &str {
        match self {
            Self::Folder { path } => path,
            Self::Web { url, .. } => crate::alert::origin(url),
        }
    }

    /// Where it is, without any password.
    pub fn address(&self) -> &str {
        match self {
            Self::Folder { path } => path,
            Self::Web { url, .. } => url,
        }
    }
}

/// A target does not have what the log has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorError {
    /// It holds another log, another past, or more: nothing is written there.
    #[error("{why}")]
    Refused { why: String, code: Code, checkpoint: String },
    /// It could not be written now.
    #[error("{0}")]
    Away(String),
    /// The store does not give what it should.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl MirrorError {
    /// A target that holds something that is not this log.
    fn foreign(checkpoint: &str, why: &str) -> Self {
        Self::Refused {
            why: why.to_owned(),
            code: code::audit::LOG_MIRROR,
            checkpoint: kos_base::text::printable(checkpoint, 1_000),
        }
    }
}

/// How a target stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many entries it has; nothing while nobody knows.
    pub(crate) size: Option<u64>,
    /// When it got the newest.
    pub(crate) pushed_at: Option<Timestamp>,
    /// Since when it could not be written.
    pub(crate) failing_since: Option<Timestamp>,
    /// Why.
    pub(crate) trouble: Option<String>,
    /// Whether it contradicts the log.
    pub(crate) refused: bool,
}

/// What the parts that deal with targets share.
#[derive(Debug)]
pub(crate) struct Mirrors {
    changed: watch::Sender<u64>,
    standings: Mutex<BTreeMap<String, Standing>>,
}

impl Default for Mirrors {
    fn default() -> Self {
        Self { changed: watch::Sender::new(0), standings: Mutex::default() }
    }
}

impl Mirrors {
    /// Tells everybody that there are other targets, or that all are to be looked at now.
    pub(crate) fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How the target of this name stands.
    pub(crate) fn standing(&self, name: &str) -> Standing {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    fn note(&self, name: &str, note: impl FnOnce(&mut Standing)) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        note(standings.entry(name.to_owned()).or_default());
    }

    fn forget(&self, name: &str) {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}
