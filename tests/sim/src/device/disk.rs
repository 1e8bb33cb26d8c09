//! A device's disk: what is written, and what of it would survive a power cut.

use std::{collections::BTreeMap, rc::Rc};

use kos_base::{AgreementKey, PublicKey};
use kos_identity::enrolment::device::{Journal, KeySlot, Slot};

use crate::keys::ModelKey;

/// A key in a slot.
#[derive(Clone, Debug)]
pub enum StoredKey {
    /// For signatures.
    Signing(Rc<ModelKey>),
    /// For agreement; the model needs its public half only.
    Agreement(AgreementKey),
}

/// What a disk holds.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// The journal.
    pub journal: Option<Rc<[u8]>>,
    /// The keys.
    pub keys: BTreeMap<KeySlot, StoredKey>,
    /// The signed record of the end.
    pub record: Option<Rc<[u8]>>,
    /// `identity.cert` and the revocation lists: how many files there are.
    pub files: usize,
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// What programs read.
    pub now: Content,
    /// What a power cut leaves.
    pub durable: Content,
}

impl Disk {
    /// Makes everything durable that was written.
    pub fn sync(&mut self) {
        self.durable = self.now.clone();
    }

    /// Loses what was not durable.
    pub fn lose_power(&mut self) {
        self.now = self.durable.clone();
    }
}

impl Content {
    /// The signing key in a slot.
    pub fn signing(&self, slot: KeySlot) -> Option<&Rc<ModelKey>> {
        match self.keys.get(&slot)? {
            StoredKey::Signing(key) => Some(key),
            StoredKey::Agreement(_) => None,
        }
    }

    /// The journal, read.
    pub fn read_journal(&self) -> Option<Journal> {
        Journal::from_bytes(self.journal.as_deref()?).ok()
    }

    /// A key that the journal names and that is not there, or is another one.
    pub fn missing_key(&self, journal: &Journal) -> Option<&'static str> {
        let signing = |slot, wanted: &PublicKey| self.signing(slot).is_some_and(|key| key.public() == wanted);
        let agreement = |slot: Slot, wanted: &AgreementKey| matches!(self.keys.get(&KeySlot::Agreement(slot)), Some(StoredKey::Agreement(key)) if key == wanted);
        let identity = journal.identity.as_ref().is_none_or(|key| signing(KeySlot::Identity, key));
        let active = journal.active.as_ref().is_none_or(|held| {
            signing(KeySlot::Operational(held.slot), &held.operational)
                && agreement(held.slot, &held.agreement)
        });
        let candidate = journal.candidate.as_ref().is_none_or(|candidate| {
            signing(KeySlot::Operational(candidate.slot), &candidate.operational)
                && agreement(candidate.slot, &candidate.agreement)
        });
        [(identity, "identity"), (active, "certificate in service"), (candidate, "next certificate")]
            .into_iter()
            .find_map(|(there, what)| (!there).then_some(what))
    }
}
