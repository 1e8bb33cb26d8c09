//! A vault as the API shows it.

use kos_api::vault::{Vault, VaultAnchor, VaultMemory, VaultSlot, VaultState};
use kos_base::Timestamp;
use kos_vault::{SlotInfo, SlotKind};

use super::{
    Keyring, VaultFault,
    deed::{Deed, Found},
};
use crate::store::Anchor;

/// What the anchor is worth, for people.
const ANCHOR: &str =
    "the authority's store and log: whoever can put all three back to an older state is not found here";

impl Deed {
    pub(super) async fn view(&self, ring: &mut Keyring) -> Result<Vault, VaultFault> {
        let (anchor, state, slots) = match self.examine(ring).await? {
            Found::None => return Err(VaultFault::Unknown),
            Found::Open(anchor) => {
                let slots = ring.open.iter().flat_map(|open| open.vault.slots().map(slot)).collect();
                (anchor, VaultState::Unlocked, slots)
            }
            Found::Locked(anchor, sealed, _) => {
                (anchor, VaultState::Locked, sealed.slots().map(slot).collect())
            }
            Found::Refused(anchor, _) => (anchor, VaultState::Refused, Vec::new()),
        };
        let entries = ring.open.as_ref().map(|open| u64::try_from(open.vault.entries()).unwrap_or(u64::MAX));
        let memory = ring.open.as_ref().map(|open| memory(open.vault.shelter()));
        Ok(Vault { memory, ..shown(&anchor, state, slots, entries, self.locks_at(ring)) })
    }

    fn locks_at(&self, ring: &Keyring) -> Option<Timestamp> {
        let vaults = &self.shared.vaults;
        let unused = |used| vaults.uptime.now().saturating_sub(used);
        ring.open.as_ref().map(|open| self.at.plus(vaults.lock_after.saturating_sub(unused(open.used))))
    }
}

fn shown(
    anchor: &Anchor,
    state: VaultState,
    slots: Vec<VaultSlot>,
    entries: Option<u64>,
    locks_at: Option<Timestamp>,
) -> Vault {
    let generation = anchor.head.generation;
    Vault {
        environment: anchor.environment.to_string(),
        vault_id: anchor.head.vault.to_string(),
        state,
        generation,
        last_modified: anchor.modified_at,
        entries,
        slots,
        anchor: VaultAnchor { place: "log".to_owned(), generation, detail: ANCHOR.to_owned() },
        locks_at,
        memory: None,
        sharing: anchor.sharing.as_ref().map(|sharing| sharing.public.clone()),
    }
}

/// What protects keys in memory, as it is shown.
pub(crate) fn memory((protection, detail): (&'static str, String)) -> VaultMemory {
    VaultMemory { protection: protection.to_owned(), detail }
}

fn slot(info: &SlotInfo) -> VaultSlot {
    let (kind, source) = match info.kind {
        SlotKind::Passphrase(_) => ("passphrase", None),
        SlotKind::Key(source) => ("key", Some(source.as_str().to_owned())),
        SlotKind::Offline(_) => ("offline", None),
    };
    VaultSlot { name: info.name.to_string(), kind: kind.to_owned(), source, created_at: info.created }
}
