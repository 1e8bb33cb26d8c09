//! Everything that is in a file, and the root over it.
//!
//! Source: KV-5, KV-24, KV-25, KV-28.

use std::collections::BTreeMap;

use kos_base::{
    Timestamp,
    digest::{Sha256, sha256_parts},
};

use crate::{
    Environment, VERSION, VaultId,
    slot::Slot,
    tree,
    version::{Id, Owner, Record},
};

const ROOT: &str = "kos vault v1 root";

/// What a vault is at one moment; short enough to be kept where the file cannot be put back: in the counter of a TPM, a
/// log, a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which vault.
    pub vault: VaultId,
    /// How often it has been written.
    pub generation: u64,
    /// What it held then: the `checksum` of the file.
    pub root: Sha256,
}

/// How an opened vault stands to a head that was kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the file of that head.
    Same,
    /// It was written directly after: the head was not kept any more. Keep the new one, and say so.
    OneAhead,
    /// It is older: somebody put an old file back. Refuse it.
    Behind,
    /// It has the right generation, or the one after, and comes from another file. Refuse it.
    Forked,
    /// It is two or more generations newer; nothing of it leads back to the head.
    FarAhead,
    /// It is another vault.
    OtherVault,
}

/// The parts of a file, but for its MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) vault: VaultId,
    pub(crate) environment: Environment,
    pub(crate) generation: u64,
    pub(crate) previous_root: Sha256,
    pub(crate) last_modified: Timestamp,
    pub(crate) slots: Vec<Slot>,
    pub(crate) entries: BTreeMap<Id, Record>,
}

impl State {
    pub(crate) const fn owner(&self) -> Owner<'_> {
        Owner { vault: &self.vault, environment: &self.environment }
    }

    /// The value that checksum and MAC are about.
    pub(crate) fn root(&self) -> Sha256 {
        let records: Vec<Sha256> = self.entries.iter().map(|(id, record)| record.digest(id)).collect();
        let tree = tree::root(&records);
        let slots: Vec<Sha256> = self.slots.iter().map(|slot| slot.digest(self.owner())).collect();
        let count = u64::try_from(slots.len()).unwrap_or(u64::MAX);
        let numbers = [self.generation, self.last_modified.unix_ms(), count].map(u64::to_be_bytes);
        let [generation, last_modified, count] = &numbers;
        let front: [&[u8]; 7] = [
            VERSION.as_bytes(),
            self.vault.as_bytes(),
            self.environment.as_str().as_bytes(),
            generation,
            &self.previous_root,
            last_modified,
            count,
        ];
        let slots = slots.iter().map(<[u8; 32]>::as_slice);
        sha256_parts(ROOT, front.into_iter().chain(slots).chain([tree.as_slice()]))
    }

    /// Bytes of ciphertext in all.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.values().map(Record::bytes).sum()
    }
}
