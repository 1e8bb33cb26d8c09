//! Slots come and go, and the master key is replaced.

use std::collections::BTreeMap;

use kos_base::{Secret, Timestamp};

use super::{Opened, entries::parse};
use crate::{
    Fresh, NewSlot, OfflineSlot, PASSPHRASE_SLOTS_MAX, PasskeySlot, SLOTS_MAX, SlotInfo, SlotKind, SlotName,
    Unlock, VaultError,
    fresh::Draws,
    keys::Keys,
    slot::{Slot, Writing},
    version::{Owner, Record, Version},
};

impl Opened {
    /// The slots, in the order in which they are tried.
    pub fn slots(&self) -> impl Iterator<Item = &SlotInfo> {
        self.state.slots.iter().map(|slot| &slot.info)
    }

    /// The offline slots, with what the holder of such a key needs.
    pub fn offline_slots(&self) -> impl Iterator<Item = OfflineSlot> {
        self.state.slots.iter().filter_map(Slot::offline)
    }

    /// The slots of passkeys, with what whoever asks one needs.
    pub fn passkey_slots(&self) -> impl Iterator<Item = PasskeySlot> {
        self.state.slots.iter().filter_map(Slot::passkey)
    }

    /// Adds a slot behind the others.
    ///
    /// # Errors
    /// [`VaultError::SlotExists`], [`VaultError::Full`], or when the passphrase or its work protects too little.
    ///
    /// *Cost*: that of the passphrase, for a passphrase slot.
    pub fn add_slot(
        &mut self,
        now: Timestamp,
        name: &SlotName,
        secret: NewSlot<'_>,
        fresh: Fresh,
    ) -> Result<(), VaultError> {
        let (kind, secret) = secret.admit()?;
        if self.slots().any(|slot| slot.name == *name) {
            return Err(VaultError::SlotExists);
        }
        let is_passphrase = |slot: &SlotInfo| matches!(slot.kind, SlotKind::Passphrase(_));
        let passphrases = self.slots().filter(|slot| is_passphrase(slot)).count();
        let info = SlotInfo { name: name.clone(), kind, created: now };
        if self.state.slots.len() >= SLOTS_MAX
            || (is_passphrase(&info) && passphrases >= PASSPHRASE_SLOTS_MAX)
        {
            return Err(VaultError::Full("16 slots, 4 of them passphrases"));
        }
        let slot = Slot::write(self.state.owner(), info, secret, self.keys.master(), &fresh.draws())?;
        self.state.slots.push(slot);
        self.changes += 1;
        Ok(())
    }

    /// Removes a slot. Whoever had its secret may have kept the master key: rotate as well to keep them out.
    ///
    /// # Errors
    /// [`VaultError::SlotUnknown`], [`VaultError::LastSlot`].
    pub fn remove_slot(&mut self, name: &SlotName) -> Result<(), VaultError> {
        let at = self.state.slots.iter().position(|slot| slot.info.name == *name);
        let at = at.ok_or(VaultError::SlotUnknown)?;
        if self.state.slots.len() == 1 {
            return Err(VaultError::LastSlot);
        }
        self.state.slots.remove(at);
        self.changes += 1;
        Ok(())
    }

    /// Replaces the master key and encrypts everything anew. Offline slots stay; others stay if their secret is among
    /// `held`. The names of those that went come back.
    ///
    /// # Errors
    /// [`VaultError::LastSlot`] when none would stay.
    ///
    /// *Cost*: every version once, and for each passphrase slot that of every passphrase in `held`, and once more.
    pub fn rotate(&mut self, held: &[Unlock<'_>], fresh: Fresh) -> Result<Vec<SlotName>, VaultError> {
        let draws = fresh.draws();
        let owner = self.state.owner();
        let master: Secret<32> = draws.draw("master key", &[])?;
        let (mut slots, mut dropped) = (Vec::new(), Vec::new());
        for slot in &self.state.slots {
            match slot.again(owner, held, &master, &draws)? {
                Some(again) => slots.push(again),
                None => dropped.push(slot.info.name.clone()),
            }
        }
        if slots.is_empty() {
            return Err(VaultError::LastSlot);
        }
        let keys = Keys::of(master.expose(), owner.vault, owner.environment)?;
        let mut entries = BTreeMap::new();
        for (id, record) in &self.state.entries {
            let mut versions = Vec::with_capacity(record.versions.len());
            let mut new_id = *id;
            for version in &record.versions {
                let (name, value) = version.open(owner, &self.keys, id)?;
                new_id = keys.id(parse(&name)?.as_str());
                versions.push(Version::seal(owner, &keys, version.facts, &name, value.expose(), &draws)?);
            }
            entries.insert(new_id, Record { last_accessed: record.last_accessed, versions });
        }
        (self.state.slots, self.state.entries) = (slots, entries);
        self.keys.replace(&keys);
        self.changes += 1;
        Ok(dropped)
    }
}

impl Slot {
    /// The same slot around another master key; `None` when its secret is not at hand.
    fn again(
        &self,
        owner: Owner<'_>,
        held: &[Unlock<'_>],
        master: &Secret<32>,
        draws: &Draws,
    ) -> Result<Option<Self>, VaultError> {
        let mut info = self.info.clone();
        let writing = match self.info.kind {
            SlotKind::Offline(recipient) => Some(Writing::Offline(recipient)),
            SlotKind::Passphrase(_) | SlotKind::Key(_) | SlotKind::Passkey => {
                let mut found = None;
                for unlock in held.iter().filter(|unlock| self.is_for(**unlock)) {
                    if self.open(owner, *unlock)?.is_some() {
                        found = Some(*unlock);
                        break;
                    }
                }
                match (self.info.kind, found) {
                    (SlotKind::Passphrase(work), Some(Unlock::Passphrase(passphrase))) => {
                        let work = work.raised();
                        info.kind = SlotKind::Passphrase(work);
                        Some(Writing::Passphrase(passphrase, work))
                    }
                    (_, Some(Unlock::Key(secret))) => Some(Writing::Key(secret)),
                    (_, Some(Unlock::Passkey(output))) => {
                        self.passkey.as_ref().map(|passkey| Writing::Passkey(passkey, output))
                    }
                    _ => None,
                }
            }
        };
        writing.map(|writing| Self::write(owner, info, writing, master.expose(), draws)).transpose()
    }
}
