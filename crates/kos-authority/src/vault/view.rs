//! A vault as the API shows it.

use kos_api::vault::{Vault, VaultAnchor, VaultMemory, VaultPasskey, VaultRefusal, VaultSlot, VaultState};
use kos_base::{AgreementKey, Code, Timestamp};
use kos_vault::{OfflineSlot, Opened, PasskeySlot, SlotInfo, SlotKind};

use super::{
    Keyring, VaultFault, authoriser,
    deed::{Deed, Found},
};

/// What the anchor is worth, for people.
const ANCHOR: &str =
    "the authority's store and log: whoever can put all three back to an older state is not found here";

impl Deed {
    pub(super) async fn view(&self, ring: &mut Keyring) -> Result<Vault, VaultFault> {
        let (anchor, state, refusal, slots) = match self.examine(ring).await? {
            Found::None => return Err(VaultFault::Unknown),
            Found::Open(anchor) => {
                let open = ring.open.as_ref().map(|open| &open.vault);
                let shown =
                    |vault: &Opened| slots(vault.slots(), vault.offline_slots(), vault.passkey_slots());
                let slots = open.map(shown).unwrap_or_default();
                (anchor, VaultState::Unlocked, None, slots)
            }
            Found::Locked(anchor, sealed, _) => {
                let slots = slots(sealed.slots(), sealed.offline_slots(), sealed.passkey_slots());
                (anchor, VaultState::Locked, None, slots)
            }
            Found::Refused(anchor, code) => (anchor, VaultState::Refused, Some(refusal(code)), Vec::new()),
        };
        let memory = ring.open.as_ref().map(|open| memory(open.vault.shelter()));
        let generation = anchor.head.generation;
        Ok(Vault {
            environment: anchor.environment.to_string(),
            vault_id: anchor.head.vault.to_string(),
            state,
            refusal,
            generation,
            last_modified: anchor.modified_at,
            entries: ring.open.as_ref().map(|open| entries(&open.vault)).transpose()?,
            slots,
            anchor: VaultAnchor { place: "log".to_owned(), generation, detail: ANCHOR.to_owned() },
            locks_at: self.locks_at(ring),
            memory,
            sharing: anchor.sharing.map(|sharing| sharing.public),
            authoriser: self.authoriser().await?,
        })
    }

    fn locks_at(&self, ring: &Keyring) -> Option<Timestamp> {
        let vaults = &self.shared.vaults;
        let unused = |used| vaults.uptime.now().saturating_sub(used);
        ring.open.as_ref().map(|open| self.at.plus(vaults.lock_after.saturating_sub(unused(open.used))))
    }
}

/// What protects keys in memory, as it is shown.
fn memory((protection, detail): (&'static str, String)) -> VaultMemory {
    VaultMemory { protection: protection.to_owned(), detail }
}

fn refusal(code: Code) -> VaultRefusal {
    VaultRefusal { code: code.to_string(), title: code.title().to_owned(), fix: code.fix().to_owned() }
}

/// The secrets of people; what the vault keeps for itself is none.
fn entries(vault: &Opened) -> Result<u64, VaultFault> {
    let own = usize::from(authoriser::is_asking(vault)?);
    Ok(u64::try_from(vault.entries().saturating_sub(own)).unwrap_or(u64::MAX))
}

fn passkey(slot: &PasskeySlot) -> VaultPasskey {
    let base64url = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    VaultPasskey {
        credential_id: base64url(slot.passkey.credential()),
        relying_party: slot.passkey.relying_party().to_string(),
        prf_salt: base64url(slot.passkey.prf_salt()),
    }
}

fn slots<'a>(
    all: impl Iterator<Item = &'a SlotInfo>,
    offline: impl Iterator<Item = OfflineSlot>,
    passkeys: impl Iterator<Item = PasskeySlot>,
) -> Vec<VaultSlot> {
    let (offline, passkeys): (Vec<OfflineSlot>, Vec<PasskeySlot>) = (offline.collect(), passkeys.collect());
    let shown = |info: &SlotInfo| {
        let (kind, source) = match info.kind {
            SlotKind::Passphrase(_) => ("passphrase", None),
            SlotKind::Key(source) => ("key", Some(source.as_str().to_owned())),
            SlotKind::Offline(_) => ("offline", None),
            SlotKind::Passkey => ("passkey", None),
        };
        let own = offline.iter().find(|slot| slot.name == info.name);
        let hex = |key: AgreementKey| data_encoding::HEXLOWER.encode(&key.0);
        VaultSlot {
            name: info.name.to_string(),
            kind: kind.to_owned(),
            source,
            created_at: info.created,
            recipient: own.map(|slot| hex(slot.recipient)),
            ephemeral: own.map(|slot| hex(slot.ephemeral)),
            passkey: passkeys.iter().find(|slot| slot.name == info.name).map(passkey),
        }
    };
    all.map(shown).collect()
}
