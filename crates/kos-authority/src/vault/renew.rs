//! Vaults are made, imported, exported, and get new keys.

use std::sync::Arc;

use kos_api::{text::SecretText, vault::Vault};
use kos_base::Secret;
use kos_net::entropy;
use kos_vault::{
    KeySource, NewSlot, Opened, Passphrase, Sealed, SlotKind, SlotName, SourceFile, Unlock, VaultError,
};

use super::{
    FAILURES_MAX, Keyring, VAULTS_MAX, VaultFault, WORK, authoriser,
    deed::{Deed, Found, Opener, blocking, sheltered},
    file::{self, OnDisk},
};
use crate::{record::VaultDeed, writer::SystemWrite};

/// The slot of the one passphrase.
const PASSPHRASE: &str = "passphrase";
/// The slot of the recovery key.
const SHARES: &str = "shares";
/// Highest generation of a file that is imported.
const GENERATION_MAX: u64 = 1 << 48;
/// Where an imported vault came from, if it was a file of ours.
const OURS: &str = "vault";
/// A slot that is there only while the others are replaced.
const RENEWAL: &str = "renewal";

/// Slots that are given to a vault by what is done to it, so that no other has their names.
pub(super) fn is_own_slot(slot: &SlotName) -> bool {
    [PASSPHRASE, SHARES, RENEWAL].contains(&slot.as_str())
}

/// What goes on opening a vault that gets new keys, beside the passphrase and the shares that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Offline keys.
    Offline,
    /// Nothing: what was there may be in the hands of somebody else.
    Nothing,
}

/// What a vault is made of.
pub(crate) enum ImportedFrom {
    /// A file of ours.
    Vault(Sealed),
    /// A file of the source document's shape.
    Source(SourceFile),
}

impl ImportedFrom {
    /// Reads either.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        match Sealed::parse(bytes) {
            Ok(sealed) => Ok(Self::Vault(sealed)),
            // What is no vault may be the other; if it is neither, the first answer says more.
            Err(error @ VaultError::Malformed(_)) => {
                SourceFile::parse(bytes).map(Self::Source).map_err(|other| match other {
                    VaultError::Malformed(_) => error,
                    other => other,
                })
            }
            Err(error) => Err(error),
        }
    }
}

impl Deed {
    /// That a vault of this environment may be made.
    pub(crate) async fn admit_new(&self) -> Result<(), VaultFault> {
        if self.shared.store.anchor(&self.environment).await?.is_some() {
            return Err(VaultFault::Exists);
        }
        let held = self.shared.store.anchors(VAULTS_MAX).await?.len();
        if held >= usize::try_from(VAULTS_MAX).unwrap_or(usize::MAX) {
            return Err(VaultFault::Full(VAULTS_MAX));
        }
        Ok(())
    }

    /// Makes a vault with one passphrase. It is open then.
    pub(crate) async fn create(self, passphrase: Passphrase) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        self.admit_new().await?;
        let (at, environment, fresh) = (self.at, self.environment.clone(), Self::fresh()?);
        let turn = self.shared.vaults.derivations.acquire().await;
        let vault = blocking(move || {
            let slot = NewSlot::Passphrase(&passphrase, WORK);
            Opened::create(at, environment, &name(PASSPHRASE)?, slot, fresh).map(sheltered)
        })
        .await??;
        drop(turn);
        let id = *vault.vault();
        self.settle_new(&mut ring, vault, |_| VaultDeed::Created { vault: id }, None).await?;
        self.view(&mut ring).await
    }

    /// Makes a new vault durable, if there is room for it by now: several may be made at a time.
    async fn settle_new(
        &self,
        ring: &mut Keyring,
        vault: Opened,
        deed: impl FnOnce(u64) -> VaultDeed,
        more: Option<SystemWrite>,
    ) -> Result<(), VaultFault> {
        let _turn = self.shared.vaults.makings.lock().await;
        self.admit_new().await?;
        self.settle_with(ring, vault, None, None, deed, more).await
    }

    /// Makes a vault of a file.
    pub(crate) async fn import(
        self,
        from: ImportedFrom,
        passphrase: Passphrase,
    ) -> Result<Vault, VaultFault> {
        // One at a time, and not in the line of those who open their own: the file says what it costs.
        let vaults = Arc::clone(&self.shared);
        let _turn = vaults.vaults.imports.try_acquire().map_err(|_| VaultFault::Busy)?;
        let mut ring = self.ring().await;
        self.admit_new().await?;
        self.admit_import(&from)?;
        if ring.failures.len() >= FAILURES_MAX {
            return Err(VaultFault::Attempts);
        }
        let (at, environment, fresh) = (self.at, self.environment.clone(), Self::fresh()?);
        let imported = blocking(move || match from {
            ImportedFrom::Vault(sealed) => {
                let mut vault = sealed.open(Unlock::Passphrase(&passphrase))?;
                drop_shares(&mut vault)?;
                Ok::<_, VaultError>((sheltered(vault), OURS))
            }
            ImportedFrom::Source(file) => {
                let slot = NewSlot::Passphrase(&passphrase, WORK);
                let vault = file.import(at, &passphrase, environment, (&name(PASSPHRASE)?, slot), fresh)?;
                Ok((sheltered(vault), "source document"))
            }
        })
        .await?;
        if let Err(VaultError::WrongSecret) = imported {
            ring.failures.push_back(self.shared.vaults.uptime.now());
            self.record(VaultDeed::UnlockFailed { by: "passphrase" }).await?;
        }
        let (vault, source) = imported?;
        let more = self.first_mark(&vault)?;
        if more.is_some() && source != OURS {
            return Err(VaultError::Name(authoriser::SEED.to_owned()).into());
        }
        let id = *vault.vault();
        let deed = |generation| VaultDeed::Imported { vault: id, generation, source };
        self.settle_new(&mut ring, vault, deed, more).await?;
        self.view(&mut ring).await
    }

    /// That the file is of this environment, as far as it says.
    pub(crate) fn admit_import(&self, from: &ImportedFrom) -> Result<(), VaultFault> {
        match from {
            ImportedFrom::Vault(sealed) if *sealed.environment() != self.environment => {
                Err(VaultFault::Environment(sealed.environment().clone()))
            }
            // The store counts to 2^63, and this vault is to go on.
            ImportedFrom::Vault(sealed) if sealed.head().generation > GENERATION_MAX => {
                Err(VaultError::Malformed("its generation is beyond any count".to_owned()).into())
            }
            ImportedFrom::Vault(_) | ImportedFrom::Source(_) => Ok(()),
        }
    }

    /// The sealed file. It is recorded first.
    pub(crate) async fn export(self) -> Result<Vec<u8>, VaultFault> {
        let mut ring = self.ring().await;
        self.mend(&mut ring).await?;
        let anchor = match self.examine(&mut ring).await? {
            Found::None => return Err(VaultFault::Unknown),
            Found::Refused(_, code) => return Err(VaultFault::Refused(code)),
            Found::Locked(anchor, ..) | Found::Open(anchor) => anchor,
        };
        let (path, head) = (self.shared.vaults.path(&self.environment), anchor.head);
        let bytes = blocking(move || file::read(&path)).await??.unwrap_or_default();
        // These very bytes, and not those that were there a moment ago.
        match file::judge(&bytes, &head) {
            OnDisk::Sealed(sealed, _) => {
                self.record(VaultDeed::Exported { generation: sealed.head().generation }).await?;
                Ok(bytes)
            }
            OnDisk::Refused(code) => Err(VaultFault::Refused(code)),
        }
    }

    /// Gives the vault a new master key and this passphrase or another. Offline keys go on opening it, and nothing else.
    pub(crate) async fn rotate(
        self,
        passphrase: Passphrase,
        new: Option<Passphrase>,
        code: Option<SecretText>,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (vault, anchor, opener) = self.open_by(&mut ring, Opener::Passphrase(passphrase, code)).await?;
        let passphrase = match (new, opener) {
            (Some(new), _) | (None, Opener::Passphrase(new, _)) => new,
            (None, _) => return Err(VaultFault::Internal("another opener".to_owned())),
        };
        let (vault, _) = self.renew(vault, passphrase, None, Kept::Offline).await?;
        let deed = |generation| VaultDeed::Rotated { generation };
        self.settle(&mut ring, vault, Some(anchor), None, deed).await?;
        self.view(&mut ring).await
    }

    /// Removes the slot of something that opens the vault, of the kind that is meant.
    pub(super) async fn remove_slot(
        self,
        (slot, is_one): (SlotName, fn(SlotKind) -> bool),
        (passphrase, code): (Passphrase, Option<SecretText>),
        removed: fn(SlotName, u64) -> VaultDeed,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (mut vault, anchor, _) = self.open_by(&mut ring, Opener::Passphrase(passphrase, code)).await?;
        if !vault.slots().any(|held| held.name == slot && is_one(held.kind)) {
            return Err(VaultError::SlotUnknown.into());
        }
        vault.remove_slot(&slot)?;
        let sharing = anchor.sharing.clone();
        self.settle(&mut ring, vault, Some(anchor), sharing, |generation| removed(slot, generation)).await?;
        self.view(&mut ring).await
    }

    /// Opens the vault by what one person has, and gives it new keys and one passphrase.
    pub(super) async fn recover_by(
        self,
        opener: Opener,
        passphrase: Passphrase,
    ) -> Result<Vault, VaultFault> {
        let (mut ring, by) = (self.ring().await, opener.name());
        let (vault, anchor, _) = self.open_by(&mut ring, opener).await?;
        let (vault, _) = self.renew(vault, passphrase, None, Kept::Nothing).await?;
        let deed = |generation| VaultDeed::Recovered { generation, by };
        self.settle(&mut ring, vault, Some(anchor), None, deed).await?;
        ring.recovery = None;
        ring.failures.clear();
        self.view(&mut ring).await
    }

    /// A new master key, and slots for a passphrase and, where it is shared, for the key that shares join to. Of the others
    /// stays what is to be kept.
    pub(super) async fn renew(
        &self,
        mut vault: Opened,
        passphrase: Passphrase,
        shares: Option<Secret<32>>,
        kept: Kept,
    ) -> Result<(Opened, Option<Secret<32>>), VaultFault> {
        let (at, bridge) = (self.at, entropy::secret()?);
        let fresh = [Self::fresh()?, Self::fresh()?, Self::fresh()?, Self::fresh()?];
        let turn = self.shared.vaults.derivations.acquire().await;
        let renewed = blocking(move || {
            let [first, second, third, fourth] = fresh;
            let renewal = name(RENEWAL)?;
            // The vault keeps one slot at least; this one holds its place until the new ones are there.
            let goes = |kind| kept == Kept::Nothing || !matches!(kind, SlotKind::Offline(_));
            let held: Vec<SlotName> =
                vault.slots().filter(|slot| goes(slot.kind)).map(|slot| slot.name.clone()).collect();
            vault.add_slot(at, &renewal, NewSlot::Key(&bridge, KeySource::File), first)?;
            for slot in held {
                vault.remove_slot(&slot)?;
            }
            vault.rotate(&[Unlock::Key(&bridge)], second)?;
            vault.add_slot(at, &name(PASSPHRASE)?, NewSlot::Passphrase(&passphrase, WORK), third)?;
            if let Some(key) = &shares {
                vault.add_slot(at, &name(SHARES)?, NewSlot::Key(key, KeySource::Shares), fourth)?;
            }
            vault.remove_slot(&renewal)?;
            Ok::<_, VaultError>((vault, shares))
        })
        .await??;
        drop(turn);
        Ok(renewed)
    }
}

/// Slots of shares whose commitments nobody here has.
fn drop_shares(vault: &mut Opened) -> Result<(), VaultError> {
    let is_shares = |kind| kind == SlotKind::Key(KeySource::Shares);
    let unknown: Vec<SlotName> =
        vault.slots().filter(|slot| is_shares(slot.kind)).map(|slot| slot.name.clone()).collect();
    unknown.iter().try_for_each(|slot| vault.remove_slot(slot))
}

fn name(text: &str) -> Result<SlotName, VaultError> {
    text.parse().map_err(|_| VaultError::Fault)
}
