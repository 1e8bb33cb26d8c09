//! Passkeys: slots for what the PRF extension of WebAuthn gives, and recovery by one.
//!
//! What a passkey gave comes here as a passphrase does, and is wiped as one. Whoever adds a slot has checked what a browser
//! can show (KVS-21); here nothing is believed but that these bytes open the slot, which the commitment says.
//!
//! Source: KVS-21 to KVS-23.

use kos_api::{text::SecretText, vault::Vault};
use kos_vault::{NewSlot, Passkey, Passphrase, PrfOutput, SlotKind, SlotName, VaultError};

use super::{
    VaultFault,
    deed::{Deed, Opener},
    renew::{Kept, is_own_slot},
};
use crate::record::VaultDeed;

impl Deed {
    /// Lets a passkey open the vault.
    pub(crate) async fn add_passkey(
        self,
        slot: SlotName,
        (passkey, output): (Passkey, PrfOutput),
        passphrase: Passphrase,
        code: Option<SecretText>,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        if is_own_slot(&slot) {
            return Err(VaultError::SlotExists.into());
        }
        let (mut vault, anchor, _) = self.open_by(&mut ring, Opener::Passphrase(passphrase, code)).await?;
        let is_it = |held: &Passkey| {
            held.credential() == passkey.credential() && held.relying_party() == passkey.relying_party()
        };
        if vault.passkey_slots().any(|held| is_it(&held.passkey)) {
            return Err(VaultFault::PasskeyThere);
        }
        vault.add_slot(self.at, &slot, NewSlot::Passkey(&passkey, &output), Self::fresh()?)?;
        let sharing = anchor.sharing.clone();
        let credential = passkey.credential().to_vec();
        let relying_party = passkey.relying_party().clone();
        let deed = |generation| VaultDeed::PasskeyAdded { slot, credential, relying_party, generation };
        self.settle(&mut ring, vault, Some(anchor), sharing, deed).await?;
        self.view(&mut ring).await
    }

    /// Removes the slot of a passkey.
    pub(crate) async fn remove_passkey(
        self,
        slot: SlotName,
        passphrase: Passphrase,
        code: Option<SecretText>,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (mut vault, anchor, _) = self.open_by(&mut ring, Opener::Passphrase(passphrase, code)).await?;
        if !vault.slots().any(|held| held.name == slot && held.kind == SlotKind::Passkey) {
            return Err(VaultError::SlotUnknown.into());
        }
        vault.remove_slot(&slot)?;
        let sharing = anchor.sharing.clone();
        let deed = |generation| VaultDeed::PasskeyRemoved { slot, generation };
        self.settle(&mut ring, vault, Some(anchor), sharing, deed).await?;
        self.view(&mut ring).await
    }

    /// Opens the vault by what a passkey gave, and gives it new keys and one passphrase.
    pub(crate) async fn recover_by_passkey(
        self,
        output: PrfOutput,
        code: Option<SecretText>,
        passphrase: Passphrase,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (vault, anchor, _) = self.open_by(&mut ring, Opener::Passkey(output, code)).await?;
        let (vault, _) = self.renew(vault, passphrase, None, Kept::Nothing).await?;
        let deed = |generation| VaultDeed::Recovered { generation, by: "passkey" };
        self.settle(&mut ring, vault, Some(anchor), None, deed).await?;
        ring.recovery = None;
        ring.failures.clear();
        self.view(&mut ring).await
    }
}
