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
    renew::is_own_slot,
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
        let is_one = |kind| kind == SlotKind::Passkey;
        let removed = |slot, generation| VaultDeed::PasskeyRemoved { slot, generation };
        self.remove_slot((slot, is_one), (passphrase, code), removed).await
    }

    /// Opens the vault by what a passkey gave, and gives it new keys and one passphrase.
    pub(crate) async fn recover_by_passkey(
        self,
        output: PrfOutput,
        code: Option<SecretText>,
        passphrase: Passphrase,
    ) -> Result<Vault, VaultFault> {
        self.recover_by(Opener::Passkey(output, code), passphrase).await
    }
}
