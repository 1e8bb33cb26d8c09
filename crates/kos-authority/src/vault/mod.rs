//! The vaults of an authority: sealed files below `DATA/authority/vaults`, an anchor for each in the store, and keys in
//! memory as long as a vault is open.
//!
//! Shape: a [`Keyring`] for each environment, behind a mutex: one writer at a time. [`Deed`] is one thing that is done to
//! one vault by somebody. It runs to its end even if nobody waits for the answer any more, since a file that is half-way
//! to its place must not be overtaken.
//!
//! Every change takes the same way (KVS-3): the next file is made durable, then anchor and entry of the log in one
//! transaction, then memory follows. If anything fails on the way, the keys are dropped; whoever opens the vault next
//! finds a file that is the anchor's, or one ahead, and the latter is repaired and recorded.
//!
//! What it does not do: keep a secret of a locked vault anywhere; keep root out of the memory of an open one.
//!
//! Source: `docs/spec/vault.md` KVS-1 to KVS-23.

mod authoriser;
mod copies;
mod deed;
mod entries;
mod fault;
mod file;
mod offline;
mod passkey;
mod recovery;
mod renew;
mod uptime;
mod view;

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kos_base::{Code, digest::Sha256};
use kos_vault::{Environment, Head, Opened, Work};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, RwLock, RwLockWriteGuard, Semaphore};

use self::recovery::Recovery;
pub(crate) use self::{
    authoriser::is_reserved,
    copies::{CopyFault, admit_copies},
    deed::{Deed, Opener},
    fault::VaultFault,
    recovery::REHEARSAL_MAX,
    renew::ImportedFrom,
    uptime::Uptime,
};
use crate::{authority::Shared, clock, record::LockReason};

/// Most vaults of an authority; bounds what a list reads.
pub(crate) const VAULTS_MAX: u32 = 64;
/// What a guess of a passphrase costs.
const WORK: Work = if cfg!(test) {
    // The least that is allowed, since tests open many.
    Work::Argon2id { iterations: Work::PASSES_MIN, memory_kib: Work::MEMORY_KIB_MIN, parallelism: 1 }
} else {
    Work::DEFAULT
};
/// Wrong passphrases of one vault in [`FAILURES_WINDOW`]; more are not tried.
const FAILURES_MAX: usize = 5;
/// How long a wrong passphrase counts.
const FAILURES_WINDOW: Duration = Duration::from_secs(300);
/// How often it is looked whether a vault is to lock itself.
const ROUND: Duration = Duration::from_secs(5);

/// Every vault of the authority.
#[derive(Debug)]
pub(crate) struct Vaults {
    folder: PathBuf,
    keyrings: Mutex<HashMap<Environment, Arc<AsyncMutex<Keyring>>>>,
    lock_after: Duration,
    uptime: Uptime,
    /// Held for reading by whoever writes a file and its anchor.
    still: RwLock<()>,
    /// One derivation of a passphrase at a time: a file may ask for 1 GiB of memory.
    derivations: Semaphore,
    /// One import at a time.
    imports: Semaphore,
    /// Held from counting the vaults until one more is there.
    makings: AsyncMutex<()>,
}

/// What is in memory of one vault.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    open: Option<Open>,
    refused: Option<Refused>,
    failures: VecDeque<Duration>,
    recovery: Option<Recovery>,
}

/// A vault in use.
#[derive(Debug)]
struct Open {
    vault: Opened,
    used: Duration,
    /// How long the machine had slept then.
    slept: Duration,
}

/// Why a file is not taken, so that it is recorded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    code: Code,
    /// The hash of a file that was tried with its secret, and the anchor then; nothing when it was refused for what it
    /// claims.
    tried: Option<(Sha256, Head)>,
}

impl Vaults {
    /// Those in `folder`, all of them locked.
    pub(crate) fn new(folder: PathBuf, lock_after: Duration) -> Self {
        Self {
            folder,
            keyrings: Mutex::default(),
            lock_after,
            uptime: Uptime::default(),
            still: RwLock::default(),
            derivations: Semaphore::new(1),
            imports: Semaphore::new(1),
            makings: AsyncMutex::default(),
        }
    }

    /// The file of a vault.
    pub(crate) fn path(&self, environment: &Environment) -> PathBuf {
        self.folder.join(copies::name(environment))
    }

    /// As long as this is held, no vault is written: files and anchors are of one moment.
    pub(crate) async fn keep_still(&self) -> RwLockWriteGuard<'_, ()> {
        self.still.write().await
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn advance(&self, time: Duration) {
        self.uptime.advance(time);
    }

    /// Lets the machine sleep.
    #[cfg(test)]
    pub(crate) fn sleep(&self, time: Duration) {
        self.uptime.sleep(time);
    }

    async fn keyring(&self, environment: &Environment) -> OwnedMutexGuard<Keyring> {
        let keyring = {
            let mut keyrings = self.keyrings.lock().unwrap_or_else(PoisonError::into_inner);
            // An environment without a vault leaves nothing behind.
            keyrings.retain(|_, ring| {
                Arc::strong_count(ring) > 1 || ring.try_lock().is_ok_and(|ring| !ring.is_forgettable())
            });
            Arc::clone(keyrings.entry(environment.clone()).or_default())
        };
        keyring.lock_owned().await
    }

    fn environments(&self) -> Vec<Environment> {
        self.keyrings.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl Keyring {
    fn is_forgettable(&self) -> bool {
        self.open.is_none() && self.refused.is_none() && self.failures.is_empty() && self.recovery.is_none()
    }
}

/// Locks vaults that nobody uses, for ever.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut pause = tokio::time::interval(ROUND);
    loop {
        pause.tick().await;
        look_round(&shared).await;
    }
}

/// Locks what was not used for its time, and forgets shares that lay too long.
pub(crate) async fn look_round(shared: &Arc<Shared>) {
    for environment in shared.vaults.environments() {
        let done = Deed::own(shared, environment.clone(), clock::now()).tire().await;
        if let Err(error) = done {
            tracing::error!(%environment, %error, "a vault was locked and it could not be recorded");
        }
    }
}

/// Locks every vault, since the program ends.
pub(crate) async fn close(shared: &Arc<Shared>) {
    for environment in shared.vaults.environments() {
        let done = Deed::own(shared, environment.clone(), clock::now()).lock(LockReason::Stop).await;
        match done {
            Ok(_) | Err(VaultFault::Unknown | VaultFault::Refused(_)) => {}
            Err(error) => {
                tracing::error!(%environment, %error, "a vault was locked and it could not be recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests;
