//! How far the witnesses of this log are: what `status`, `doctor` and a verification say about it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use kos_audit::{Policy, SignedCheckpoint, WitnessKey, witness::PolicyError};
use kos_base::Timestamp;
use tokio::sync::Notify;

use crate::{
    log::LogSigner,
    store::{Setting, Store, StoreError, StoredWitness, WitnessState},
};

/// Tells the parts that have to do with witnesses of each other.
#[derive(Debug, Default)]
pub(crate) struct Witnessing {
    /// The witnesses or their policy are others.
    pub(crate) changed: Notify,
    /// There are new cosignatures.
    pub(crate) cosigned: Notify,
    /// Why a witness did not cosign when it was last asked, by name.
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Witnessing {
    /// Keeps why a witness did not cosign, or that it did.
    pub(crate) fn trouble(&self, name: &str, trouble: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => drop(troubles.insert(name.to_owned(), trouble)),
            None => drop(troubles.remove(name)),
        }
    }

    /// Why it did not.
    pub(crate) fn trouble_of(&self, name: &str) -> Option<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// How the log stands with its witnesses.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) witnesses: Vec<StoredWitness>,
    /// How many a checkpoint needs.
    pub(crate) threshold: u64,
    /// The newest checkpoint that has as many: its size, and when the last of them cosigned it.
    pub(crate) witnessed: Option<(u64, Timestamp)>,
}

impl Standing {
    /// Reads it, and verifies it with the keys of the witnesses that there are now.
    pub(crate) async fn of(store: &Store, log: &LogSigner) -> Result<Self, StoreError> {
        let witnesses = store.witnesses().await?;
        let threshold = threshold(store).await?;
        let policy = policy_of(&witnesses, threshold).ok();
        let state = store.witnessed_state().await?;
        let witnessed = state.zip(policy).and_then(|(state, policy)| {
            let signed = SignedCheckpoint::parse(&state.checkpoint).ok()?;
            let times = policy.witnesses().iter().filter_map(|key| signed.cosignature_of(key));
            let newest = times.map(|(_, at)| at).max()?;
            let verified = signed.verify(log.key(), policy.witnesses()).ok()?;
            policy.is_met_by(&verified).then_some((verified.head().size, newest))
        });
        Ok(Self { witnesses, threshold, witnessed })
    }

    /// Those that stand like this, by name.
    pub(crate) fn standing(&self, state: WitnessState) -> Vec<String> {
        let those = self.witnesses.iter().filter(|witness| witness.state == state);
        those.map(|witness| witness.key.name().to_owned()).collect()
    }
}

/// How many witnesses a checkpoint needs. One, unless somebody said otherwise.
pub(crate) async fn threshold(store: &Store) -> Result<u64, StoreError> {
    let said = store.setting(Setting::WitnessThreshold).await?;
    Ok(said.and_then(|said| said.parse().ok()).unwrap_or(1))
}

/// The policy of this log; nothing while it can never hold.
pub(crate) async fn policy(store: &Store) -> Result<Option<Policy>, StoreError> {
    Ok(policy_of(&store.witnesses().await?, threshold(store).await?).ok())
}

fn policy_of(witnesses: &[StoredWitness], threshold: u64) -> Result<Policy, PolicyError> {
    let keys: Vec<WitnessKey> = witnesses.iter().map(|witness| witness.key.clone()).collect();
    Policy::new(keys, usize::try_from(threshold).unwrap_or(usize::MAX))
}
