//! A vault whose MAC held, or that was just made: secrets go in, come out and are used here.
//!
//! Every operation works in memory. [`Opened::seal`] makes the next file; [`Opened::written`] is told once that is durable.
//! Until then the vault stands where it stood, so that a failed write can be done again. Names and values are decrypted
//! when they are asked for, and no earlier.
//!
//! Invariants: an operation that fails has changed nothing. There is at least one slot. An entry has 1 to
//! [`VERSIONS_MAX`](crate::VERSIONS_MAX) versions, whose numbers rise.
//!
//! Source: KV-5, KV-18 to KV-29.

mod entries;
mod slots;

use core::fmt;
use std::collections::BTreeMap;

use kos_base::{Secret, Timestamp, digest::Sha256};

pub use entries::{Listed, NewSecret, Past};

use crate::{
    Chest, Environment, Fresh, Head, NewSlot, SlotName, Standing, VaultError, VaultId,
    fresh::Draws,
    keys::Keys,
    shape,
    slot::{Slot, SlotInfo},
    state::State,
};

/// An open vault. Its keys are wiped when it is dropped, which is how it is locked.
pub struct Opened {
    state: State,
    /// Of the file that `state` was last read from or written to; zeros before there was one.
    root: Sha256,
    keys: Keys,
    /// Changes since it was opened or made.
    changes: u64,
    /// How many of them are in the file.
    written: u64,
}

/// The next file of a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealing {
    bytes: Vec<u8>,
    head: Head,
    at: Timestamp,
    changes: u64,
}

impl Sealing {
    /// What to write, whole or not at all.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What to keep elsewhere once the file is durable.
    pub const fn head(&self) -> Head {
        self.head
    }
}

impl Opened {
    /// Makes a vault with one slot. It has no file before [`Opened::seal`].
    ///
    /// # Errors
    /// When the passphrase or its work protects too little.
    ///
    /// *Cost*: that of the passphrase, for a passphrase slot.
    pub fn create(
        now: Timestamp,
        environment: Environment,
        slot: &SlotName,
        secret: NewSlot<'_>,
        fresh: Fresh,
    ) -> Result<Self, VaultError> {
        Self::make(now, environment, slot, secret, &fresh.draws())
    }

    pub(crate) fn make(
        now: Timestamp,
        environment: Environment,
        slot: &SlotName,
        secret: NewSlot<'_>,
        draws: &Draws,
    ) -> Result<Self, VaultError> {
        let (kind, secret) = secret.admit()?;
        let master: Secret<32> = draws.draw("master key", &[])?;
        let mut state = State {
            vault: VaultId::from_bytes(*draws.draw("vault id", &[])?.expose()),
            environment,
            generation: 0,
            previous_root: [0; 32],
            last_modified: now,
            slots: Vec::new(),
            entries: BTreeMap::new(),
        };
        let info = SlotInfo { name: slot.clone(), kind, created: now };
        let slot = Slot::write(state.owner(), info, secret, master.expose(), draws)?;
        state.slots.push(slot);
        let keys = Keys::of(master.expose(), &state.vault, &state.environment)?;
        Ok(Self { state, root: [0; 32], keys, changes: 1, written: 0 })
    }

    /// The one door from [`Sealed`](crate::Sealed): its MAC was verified under `keys`.
    pub(crate) const fn verified(state: State, root: Sha256, keys: Keys) -> Self {
        Self { state, root, keys, changes: 0, written: 0 }
    }

    /// From now on its keys lie there, also those that it gets later.
    pub fn keep_keys_in(&mut self, chest: Box<dyn Chest>) {
        self.keys.move_to(chest);
    }

    /// What protects its keys in memory: its name, and what that means.
    pub fn shelter(&self) -> (&'static str, String) {
        self.keys.shelter()
    }

    /// Which vault it is.
    pub const fn vault(&self) -> &VaultId {
        &self.state.vault
    }

    /// Which environment it holds.
    pub const fn environment(&self) -> &Environment {
        &self.state.environment
    }

    /// The file that it was last read from or written to; generation 0 before there was one.
    pub const fn head(&self) -> Head {
        Head { vault: self.state.vault, generation: self.state.generation, root: self.root }
    }

    /// When that file was written.
    pub const fn last_modified(&self) -> Timestamp {
        self.state.last_modified
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.state.entries.len()
    }

    /// Whether something is not in the file yet. Reading changes nothing.
    pub const fn is_changed(&self) -> bool {
        self.changes != self.written
    }

    /// How the file stands to a head that was kept elsewhere.
    pub fn standing(&self, kept: &Head) -> Standing {
        let own = self.head();
        let fork = |holds| if holds { None } else { Some(Standing::Forked) };
        if own.vault != kept.vault {
            Standing::OtherVault
        } else if own.generation < kept.generation {
            Standing::Behind
        } else if own.generation == kept.generation {
            fork(own.root == kept.root).unwrap_or(Standing::Same)
        } else if own.generation - 1 == kept.generation {
            fork(self.state.previous_root == kept.root).unwrap_or(Standing::OneAhead)
        } else {
            Standing::FarAhead
        }
    }

    /// The next file: one generation on, with everything as it is now. Changes nothing here; see [`Opened::written`].
    ///
    /// # Errors
    /// [`VaultError::Fault`].
    pub fn seal(&self, now: Timestamp) -> Result<Sealing, VaultError> {
        let next = self.next(now);
        let root = next.root();
        let bytes = shape::write(&next, root, self.keys.mac(&root))?;
        let head = Head { vault: next.vault, generation: next.generation, root };
        Ok(Sealing { bytes, head, at: now, changes: self.changes })
    }

    /// The file is durable: the vault goes on from it.
    pub fn written(&mut self, file: &Sealing) {
        self.state.generation = file.head.generation;
        self.state.previous_root = self.root;
        self.state.last_modified = file.at;
        self.root = file.head.root;
        self.written = file.changes;
    }

    #[cfg(test)]
    pub(crate) const fn parts(&self) -> (&State, &Keys) {
        (&self.state, &self.keys)
    }

    #[cfg(test)]
    pub(crate) const fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn next(&self, now: Timestamp) -> State {
        let mut next = self.state.clone();
        next.generation = self.state.generation.saturating_add(1);
        next.previous_root = self.root;
        next.last_modified = now;
        next
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} generation {})", self.state.vault, self.state.generation)
    }
}
