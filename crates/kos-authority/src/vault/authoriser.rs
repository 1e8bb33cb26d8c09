//! One-time codes that a vault asks for beside a passphrase or an offline key.
//!
//! Shape: the seed is an entry of the vault under a name that nobody else can use, so it is sealed as all of it is, goes
//! where the file goes, and no older file is without it. Which step of time was used last is a row of the store, with a MAC.
//!
//! Invariants: a step counts once, and is on the disk before anything is opened or given. Wrong codes, and codes that were
//! used, share the budget of the passphrases.
//!
//! What it does not do: protect the file. No key is derived from a code, so whoever has the file and the passphrase opens it
//! elsewhere.
//!
//! Source: KVS-18; RFC 6238.

use kos_api::{
    text::SecretText,
    vault::{Vault, VaultAuthoriser},
};
use kos_vault::{EntryName, NewSecret, Opened, Passphrase, SecretType, Value, VaultError};

use super::{
    FAILURES_MAX, Keyring, VaultFault,
    deed::{Deed, Opener},
};
use crate::{
    record::{SystemChange, VaultDeed},
    store::CodeMark,
    writer::{SystemWrite, Transaction},
};

/// The entry that holds the seed. No request can name it.
pub(super) const SEED: &str = "kos/authoriser";
/// What it is worth, for people.
const DETAIL: &str = "a stolen passphrase alone does not open the vault through this authority; whoever has the file as well \
                      needs no code";

/// Whether an entry of this name is the authority's own.
pub(crate) fn is_reserved(name: &EntryName) -> bool {
    name.as_str() == SEED
}

/// Whether the vault asks for a code.
pub(super) fn is_asking(vault: &Opened) -> Result<bool, VaultFault> {
    Ok(vault.history(&seed()?).is_ok())
}

/// A vault that several people stand for asks for nothing any more. Says whether it did.
pub(super) fn forget(vault: &mut Opened) -> Result<bool, VaultFault> {
    match vault.remove(&seed()?) {
        Ok(()) => Ok(true),
        Err(VaultError::EntryUnknown) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn seed() -> Result<EntryName, VaultFault> {
    SEED.parse().map_err(|_| VaultFault::Internal("the name of the seed is none".to_owned()))
}

impl Deed {
    /// Takes the code that a vault asks for, if it asks for one.
    pub(super) async fn authorise(
        &self,
        ring: &mut Keyring,
        vault: &mut Opened,
        code: Option<&SecretText>,
    ) -> Result<(), VaultFault> {
        if !is_asking(vault)? {
            return Ok(());
        }
        let Some(code) = code else {
            self.record(VaultDeed::UnlockFailed { by: "no code" }).await?;
            return Err(VaultFault::CodeNeeded);
        };
        if ring.failures.len() >= FAILURES_MAX {
            return Err(VaultFault::Attempts);
        }
        let mark = self.shared.store.code_mark(&self.environment).await?;
        let found = vault.totp_step(self.at, &seed()?, code.expose())?;
        let Some(step) = found.filter(|step| mark.as_ref().is_none_or(|mark| mark.step < *step)) else {
            return Err(self.wrong_code(ring).await);
        };
        let added_at = mark.map_or(self.at, |mark| mark.added_at);
        let mark = CodeMark { environment: self.environment.clone(), added_at, step };
        let changes = vec![SystemChange::Vault(self.environment.clone(), VaultDeed::CodeAccepted).into()];
        let system = vec![SystemWrite::CodeMark(mark)];
        let transaction =
            Transaction { actor: self.actor.clone(), ..Transaction::own(self.at, changes, system) };
        self.shared.writer.commit(transaction).await?;
        Ok(())
    }

    /// Has the vault ask for codes of this seed from now on. A code shows that somebody has it.
    pub(crate) async fn add_authoriser(
        self,
        passphrase: Passphrase,
        value: Value,
        code: SecretText,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        self.admit_authoriser().await?;
        let (mut vault, anchor, _) = self.open_by(&mut ring, Opener::Passphrase(passphrase, None)).await?;
        let new = NewSecret { kind: SecretType::TotpSeed, value: &value, expires: None };
        vault.put(self.at, &seed()?, new, Self::fresh()?)?;
        let Some(step) = vault.totp_step(self.at, &seed()?, code.expose())? else {
            return Err(self.wrong_code(&mut ring).await);
        };
        let mark = CodeMark { environment: self.environment.clone(), added_at: self.at, step };
        let (sharing, more) = (anchor.sharing.clone(), Some(SystemWrite::CodeMark(mark)));
        let deed = |generation| VaultDeed::AuthoriserAdded { generation };
        self.settle_with(&mut ring, vault, Some(anchor), sharing, deed, more).await?;
        self.view(&mut ring).await
    }

    /// Has the vault ask for no codes any more.
    pub(crate) async fn remove_authoriser(
        self,
        passphrase: Passphrase,
        code: Option<SecretText>,
    ) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (mut vault, anchor, _) = self.open_by(&mut ring, Opener::Passphrase(passphrase, code)).await?;
        if !forget(&mut vault)? {
            return Err(VaultFault::AsksNothing);
        }
        let (sharing, more) = (anchor.sharing.clone(), Some(self.unmark()));
        let deed = |generation| VaultDeed::AuthoriserRemoved { generation };
        self.settle_with(&mut ring, vault, Some(anchor), sharing, deed, more).await?;
        self.view(&mut ring).await
    }

    /// That the vault does not ask for codes yet.
    pub(crate) async fn admit_authoriser(&self) -> Result<(), VaultFault> {
        match self.shared.store.code_mark(&self.environment).await? {
            Some(_) => Err(VaultFault::AsksAlready),
            None => Ok(()),
        }
    }

    /// What is kept of codes goes.
    pub(super) fn unmark(&self) -> SystemWrite {
        SystemWrite::NoCodeMark(self.environment.clone())
    }

    /// A vault that came with a seed: none of its codes was used here.
    pub(super) fn first_mark(&self, vault: &Opened) -> Result<Option<SystemWrite>, VaultFault> {
        let mark = CodeMark { environment: self.environment.clone(), added_at: self.at, step: 0 };
        Ok(is_asking(vault)?.then_some(SystemWrite::CodeMark(mark)))
    }

    /// What is kept of codes follows a file whose record was cut off.
    pub(super) async fn follow_mark(&self, vault: &Opened) -> Result<Option<SystemWrite>, VaultFault> {
        let is_marked = self.shared.store.code_mark(&self.environment).await?.is_some();
        match (is_asking(vault)?, is_marked) {
            (true, false) => self.first_mark(vault),
            (false, true) => Ok(Some(self.unmark())),
            (true, true) | (false, false) => Ok(None),
        }
    }

    /// What is shown of it.
    pub(super) async fn authoriser(&self) -> Result<Option<VaultAuthoriser>, VaultFault> {
        let mark = self.shared.store.code_mark(&self.environment).await?;
        Ok(mark.map(|mark| VaultAuthoriser {
            kind: "totp".to_owned(),
            added_at: mark.added_at,
            detail: DETAIL.to_owned(),
        }))
    }

    async fn wrong_code(&self, ring: &mut Keyring) -> VaultFault {
        ring.failures.push_back(self.shared.vaults.uptime.now());
        match self.record(VaultDeed::UnlockFailed { by: "code" }).await {
            Ok(()) => VaultFault::Code,
            Err(fault) => fault,
        }
    }
}
