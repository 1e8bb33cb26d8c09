//! Offline keys: slots for X25519 keys that lie in files of people, and recovery by one.
//!
//! Only public keys come here. For a recovery comes what the key and the ephemeral key of its slot agree on, which opens that
//! slot and no other. What it opens is believed only if it is the very file that the anchor tells of (KV-18).
//!
//! Source: KVS-17.

use kos_api::{text::SecretText, vault::Vault};
use kos_base::AgreementKey;
use kos_vault::{Agreed, NewSlot, Passphrase, SlotKind, SlotName, VaultError};

use super::{
    VaultFault,
    deed::{Deed, Opener},
    renew::is_own_slot,
};
use crate::record::VaultDeed;

impl Deed {
    /// Lets an offline key open the vault.
    pub(crate) async fn add_offline(
        self,
        slot: SlotName,
        recipient: AgreementKey,
        passphrase: Passphrase,
        code: Option<SecretText>,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        if is_own_slot(&slot) {
            return Err(VaultError::SlotExists.into());
        }
        let (mut vault, anchor, _) = self.open_by(&mut ring, Opener::Passphrase(passphrase, code)).await?;
        vault.add_slot(self.at, &slot, NewSlot::Offline(recipient), Self::fresh()?)?;
        let sharing = anchor.sharing.clone();
        let deed = |generation| VaultDeed::OfflineKeyAdded { slot, recipient, generation };
        self.settle(&mut ring, vault, Some(anchor), sharing, deed).await?;
        self.view(&mut ring).await
    }

    /// Removes the slot of an offline key.
    pub(crate) async fn remove_offline(
        self,
        slot: SlotName,
        passphrase: Passphrase,
        code: Option<SecretText>,
    ) -> Result<Vault, VaultFault> {
        let is_one = |kind| matches!(kind, SlotKind::Offline(_));
        let removed = |slot, generation| VaultDeed::OfflineKeyRemoved { slot, generation };
        self.remove_slot((slot, is_one), (passphrase, code), removed).await
    }

    /// Opens the vault by what an offline key agreed on, and gives it new keys and one passphrase.
    pub(crate) async fn recover_offline(
        self,
        agreed: Agreed,
        code: Option<SecretText>,
        passphrase: Passphrase,
    ) -> Result<Vault, VaultFault> {
        self.recover_by(Opener::Agreed(agreed, code), passphrase).await
    }
}
