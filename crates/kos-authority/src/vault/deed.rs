//! One thing that is done to one vault.

use std::sync::Arc;

use kos_api::{text::SecretText, vault::Vault};
use kos_base::{Code, Secret, Timestamp, code, digest::Sha256};
use kos_identity::registry::Actor;
use kos_net::entropy;
use kos_secret_memory::{SecretMemory, wipe_stack};
use kos_vault::{
    Agreed, Environment, Fresh, KeySource, Opened, Passphrase, PrfOutput, Sealed, SlotKind, Standing, Unlock,
    VaultError,
};
use tokio::{sync::OwnedMutexGuard, task::spawn_blocking};

use super::{
    FAILURES_MAX, FAILURES_WINDOW, Keyring, Open, Refused, VaultFault,
    file::{self, OnDisk},
    uptime::SLEEP_MIN,
};
use crate::{
    authority::Shared,
    record::{LockReason, SystemChange, VaultDeed},
    store::{Anchor, Sharing},
    writer::{SystemWrite, Transaction},
};

/// Who does something to which vault, and when.
pub(crate) struct Deed {
    pub(super) shared: Arc<Shared>,
    pub(super) environment: Environment,
    pub(super) actor: Actor,
    pub(super) at: Timestamp,
}

/// How a vault is found.
pub(super) enum Found {
    None,
    Locked(Anchor, Sealed, Sha256),
    Open(Anchor),
    Refused(Anchor, Code),
}

/// What opens a vault here, and the one-time code that came with it.
pub(crate) enum Opener {
    Passphrase(Passphrase, Option<SecretText>),
    /// What an offline key agreed on with its slot.
    Agreed(Agreed, Option<SecretText>),
    /// What a passkey gave.
    Passkey(PrfOutput, Option<SecretText>),
    /// What shares join to. Several people stand for it, so it needs no code.
    Key(Secret<32>),
}

impl Opener {
    const fn unlock(&self) -> Unlock<'_> {
        match self {
            Self::Passphrase(passphrase, _) => Unlock::Passphrase(passphrase),
            Self::Agreed(agreed, _) => Unlock::Agreed(agreed),
            Self::Passkey(output, _) => Unlock::Passkey(output),
            Self::Key(key) => Unlock::Key(key),
        }
    }

    /// As the log calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Passphrase(..) => "passphrase",
            Self::Agreed(..) => "offline-key",
            Self::Passkey(..) => "passkey",
            Self::Key(_) => "shares",
        }
    }

    /// Whether a wrong one counts (KVS-8, KVS-22).
    const fn is_guess(&self) -> bool {
        matches!(self, Self::Passphrase(..) | Self::Passkey(..))
    }

    /// Whether `error` says that it does not open the vault. A passkey whose slot was the last of its kind is a wrong one.
    fn is_wrong(&self, error: &VaultError) -> bool {
        match error {
            VaultError::WrongSecret => true,
            VaultError::NoSlot => matches!(self, Self::Passkey(..)),
            _ => false,
        }
    }
}

impl Deed {
    /// Something that somebody asked for.
    pub(crate) fn new(shared: &Arc<Shared>, environment: Environment, actor: Actor, at: Timestamp) -> Self {
        Self { shared: Arc::clone(shared), environment, actor, at }
    }

    /// Something that the authority does by itself.
    pub(crate) fn own(shared: &Arc<Shared>, environment: Environment, at: Timestamp) -> Self {
        Self::new(shared, environment, Actor::Authority, at)
    }

    /// How the vault is.
    pub(crate) async fn show(self) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        self.view(&mut ring).await
    }

    /// The same, unless it is refused.
    pub(crate) async fn show_usable(self) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        if let Found::Refused(_, code) = self.examine(&mut ring).await? {
            return Err(VaultFault::Refused(code));
        }
        self.view(&mut ring).await
    }

    /// Opens the vault. One that is open stays so, if the passphrase or passkey is right.
    pub(crate) async fn unlock(self, opener: Opener) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (vault, _, _) = self.open_by(&mut ring, opener).await?;
        self.record(VaultDeed::Unlocked).await?;
        self.put_back(&mut ring, vault);
        self.view(&mut ring).await
    }

    /// Wipes the keys, and the shares that were handed in.
    pub(crate) async fn lock(self, reason: LockReason) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        ring.recovery = None;
        self.mend(&mut ring).await?;
        if ring.open.take().is_some() {
            self.record(VaultDeed::Locked { reason }).await?;
        }
        self.view(&mut ring).await
    }

    /// What is wrong with the file, also while the vault is open.
    pub(crate) async fn trouble(self) -> Result<Option<Code>, VaultFault> {
        let mut ring = self.ring().await;
        Ok(match self.examine(&mut ring).await? {
            Found::Open(anchor) => match self.look(&mut ring, &anchor).await? {
                OnDisk::Sealed(sealed, _) => {
                    (sealed.head() != anchor.head).then_some(code::vault::VAULT_FORKED)
                }
                OnDisk::Refused(code) => Some(code),
            },
            Found::Locked(..) => None,
            Found::None => Some(code::vault::VAULT_UNKNOWN),
            Found::Refused(_, code) => Some(code),
        })
    }

    /// An open vault whose file is gone, damaged or another is written again from memory, before that is wiped: else what
    /// was acknowledged would be lost.
    pub(super) async fn mend(&self, ring: &mut Keyring) -> Result<(), VaultFault> {
        let Some(anchor) = self.shared.store.anchor(&self.environment).await? else { return Ok(()) };
        let Some(open) = ring.open.take_if(|open| open.vault.head() == anchor.head) else { return Ok(()) };
        let (used, slept) = (open.used, open.slept);
        let found = self.look(ring, &anchor).await;
        let is_it =
            |found: &OnDisk| matches!(found, OnDisk::Sealed(sealed, _) if sealed.head() == anchor.head);
        if found.as_ref().map_or(true, is_it) {
            ring.open = Some(open);
            return found.map(drop);
        }
        let sharing = anchor.sharing.clone();
        let deed = |generation| VaultDeed::Repaired { generation };
        let own = Self::own(&self.shared, self.environment.clone(), self.at);
        own.settle(ring, open.vault, Some(anchor), sharing, deed).await?;
        ring.refused = None;
        if let Some(open) = &mut ring.open {
            (open.used, open.slept) = (used, slept);
        }
        Ok(())
    }

    /// Locks the vault if nobody used it for its time, and forgets shares that lay too long.
    pub(super) async fn tire(self) -> Result<(), VaultFault> {
        let mut ring = self.ring().await;
        self.expire(&mut ring).await
    }

    pub(super) async fn ring(&self) -> OwnedMutexGuard<Keyring> {
        self.shared.vaults.keyring(&self.environment).await
    }

    /// 32 bytes for one operation.
    pub(super) fn fresh() -> Result<Fresh, VaultFault> {
        Ok(Fresh::new(entropy::secret()?))
    }

    async fn expire(&self, ring: &mut Keyring) -> Result<(), VaultFault> {
        let vaults = &self.shared.vaults;
        let now = vaults.uptime.now();
        ring.failures.retain(|at| now.saturating_sub(*at) < FAILURES_WINDOW);
        if ring.recovery.as_ref().is_some_and(|recovery| recovery.is_over(&vaults.uptime)) {
            ring.recovery = None;
        }
        if let Some(reason) = ring.open.as_ref().and_then(|open| self.tired(open)) {
            let mended = self.mend(ring).await;
            (ring.open, ring.recovery) = (None, None);
            let own = Self::own(&self.shared, self.environment.clone(), self.at);
            own.record(VaultDeed::Locked { reason }).await?;
            mended?;
        }
        Ok(())
    }

    /// Why an open vault is to lock itself, if it is.
    fn tired(&self, open: &Open) -> Option<LockReason> {
        let vaults = &self.shared.vaults;
        if vaults.uptime.slept().saturating_sub(open.slept) >= SLEEP_MIN {
            return Some(LockReason::Suspend);
        }
        let unused = vaults.uptime.now().saturating_sub(open.used);
        (unused >= vaults.lock_after).then_some(LockReason::Inactivity)
    }

    /// Looks at file and anchor. What is refused is recorded, once.
    pub(super) async fn examine(&self, ring: &mut Keyring) -> Result<Found, VaultFault> {
        self.expire(ring).await?;
        let Some(anchor) = self.shared.store.anchor(&self.environment).await? else {
            return Ok(Found::None);
        };
        match ring.open.as_ref().map(|open| open.vault.head() == anchor.head) {
            Some(true) => return Ok(Found::Open(anchor)),
            // Somebody else wrote the store. What is in memory is not what counts any more.
            Some(false) => {
                ring.open = None;
                let own = Self::own(&self.shared, self.environment.clone(), self.at);
                own.record(VaultDeed::Locked { reason: LockReason::Failure }).await?;
            }
            None => {}
        }
        Ok(match self.look(ring, &anchor).await? {
            OnDisk::Sealed(sealed, digest) => Found::Locked(anchor, sealed, digest),
            OnDisk::Refused(code) => Found::Refused(anchor, code),
        })
    }

    async fn look(&self, ring: &mut Keyring, anchor: &Anchor) -> Result<OnDisk, VaultFault> {
        let (path, head) = (self.shared.vaults.path(&self.environment), anchor.head);
        let found = blocking(move || file::look(&path, &head)).await??;
        match found {
            OnDisk::Sealed(sealed, digest) => {
                let tried = ring.refused.filter(|refused| refused.tried == Some((digest, anchor.head)));
                if let Some(Refused { code, .. }) = tried {
                    return Ok(OnDisk::Refused(code));
                }
                ring.refused = None;
                Ok(OnDisk::Sealed(sealed, digest))
            }
            OnDisk::Refused(code) => {
                self.refuse(ring, Refused { code, tried: None }).await?;
                Ok(OnDisk::Refused(code))
            }
        }
    }

    async fn refuse(&self, ring: &mut Keyring, refused: Refused) -> Result<(), VaultFault> {
        if ring.refused == Some(refused) {
            return Ok(());
        }
        let own = Self::own(&self.shared, self.environment.clone(), self.at);
        own.record(VaultDeed::Refused { code: refused.code }).await?;
        ring.refused = Some(refused);
        Ok(())
    }

    /// Opens the file with a secret and brings the anchor up to it. The file is read anew even if the vault is open.
    pub(super) async fn open_by(
        &self,
        ring: &mut Keyring,
        opener: Opener,
    ) -> Result<(Opened, Anchor, Opener), VaultFault> {
        let found = match self.examine(ring).await? {
            Found::Open(anchor) => match self.look(ring, &anchor).await? {
                OnDisk::Sealed(sealed, digest) => Found::Locked(anchor, sealed, digest),
                OnDisk::Refused(code) => Found::Refused(anchor, code),
            },
            other => other,
        };
        let (anchor, sealed, digest) = match found {
            Found::Locked(anchor, sealed, digest) => (anchor, sealed, digest),
            Found::Refused(_, code) => return Err(VaultFault::Refused(code)),
            Found::None | Found::Open(_) => return Err(VaultFault::Unknown),
        };
        let (is_guess, by) = (opener.is_guess(), opener.name());
        if is_guess && ring.failures.len() >= FAILURES_MAX {
            return Err(VaultFault::Attempts);
        }
        let tried = Some((digest, anchor.head));
        let turn = self.shared.vaults.derivations.acquire().await;
        let (opened, opener) =
            blocking(move || (sealed.open(opener.unlock()).map(sheltered), opener)).await?;
        drop(turn);
        let mut vault = match opened {
            Ok(vault) => vault,
            Err(error) => {
                if file::condemns(&error) {
                    self.refuse(ring, Refused { code: error.code(), tried }).await?;
                } else if opener.is_wrong(&error) {
                    if is_guess {
                        ring.failures.push_back(self.shared.vaults.uptime.now());
                    }
                    self.record(VaultDeed::UnlockFailed { by }).await?;
                }
                return Err(error.into());
            }
        };
        if *vault.environment() != self.environment {
            let code = code::vault::VAULT_FORKED;
            self.refuse(ring, Refused { code, tried }).await?;
            return Err(VaultFault::Refused(code));
        }
        let anchor = match (vault.standing(&anchor.head), &opener) {
            (Standing::Same, _) => anchor,
            // Anybody with the public key can write a file that goes on from the anchor (KV-18).
            (Standing::OneAhead, Opener::Agreed(..)) => return Err(VaultFault::Unjudged),
            (Standing::OneAhead, _) => self.repair(&vault, anchor).await?,
            (standing, _) => {
                let code = file::refusal(standing);
                self.refuse(ring, Refused { code, tried }).await?;
                return Err(VaultFault::Refused(code));
            }
        };
        match &opener {
            Opener::Passphrase(_, code) | Opener::Agreed(_, code) | Opener::Passkey(_, code) => {
                self.authorise(ring, &mut vault, code.as_ref()).await?;
            }
            Opener::Key(_) => {}
        }
        Ok((vault, anchor, opener))
    }

    /// The anchor follows a file whose MAC held. A sharing that the file knows nothing of any more goes.
    async fn repair(&self, vault: &Opened, anchor: Anchor) -> Result<Anchor, VaultFault> {
        let before = anchor.head;
        let holds = |sharing: &Sharing| {
            let is_of_it = |slot: &kos_vault::SlotInfo| {
                slot.kind == SlotKind::Key(KeySource::Shares) && slot.created == sharing.public.shared_at
            };
            vault.slots().any(is_of_it)
        };
        let sharing = anchor.sharing.filter(holds);
        let modified_at = vault.last_modified();
        let anchor = Anchor { head: vault.head(), modified_at, sharing, ..anchor };
        let deed = VaultDeed::Repaired { generation: anchor.head.generation };
        let write = SystemWrite::Vault { anchor: Box::new(anchor.clone()), instead_of: Some(before) };
        let writes = core::iter::once(write).chain(self.follow_mark(vault).await?).collect();
        let changes = vec![SystemChange::Vault(self.environment.clone(), deed).into()];
        let _unstill = self.shared.vaults.still.read().await;
        self.shared.writer.commit(Transaction::own(self.at, changes, writes)).await?;
        Ok(anchor)
    }

    /// The open vault, out of its place: it is put back when all went well, or when nothing was changed.
    pub(super) async fn take_open(&self, ring: &mut Keyring) -> Result<(Opened, Anchor), VaultFault> {
        match self.examine(ring).await? {
            Found::None => Err(VaultFault::Unknown),
            Found::Locked(..) => Err(VaultFault::Locked),
            Found::Refused(_, code) => Err(VaultFault::Refused(code)),
            Found::Open(anchor) => {
                let open = ring.open.take().ok_or(VaultFault::Locked)?;
                Ok((open.vault, anchor))
            }
        }
    }

    /// Puts a vault into its place, as used just now.
    pub(super) fn put_back(&self, ring: &mut Keyring, vault: Opened) {
        let uptime = &self.shared.vaults.uptime;
        ring.open = Some(Open { vault, used: uptime.now(), slept: uptime.slept() });
    }

    /// Makes what is in memory durable: the file, then anchor and entry, then it is in its place. If it fails, the vault
    /// is locked.
    pub(super) async fn settle(
        &self,
        ring: &mut Keyring,
        vault: Opened,
        before: Option<Anchor>,
        sharing: Option<Sharing>,
        deed: impl FnOnce(u64) -> VaultDeed,
    ) -> Result<(), VaultFault> {
        self.settle_with(ring, vault, before, sharing, deed, None).await
    }

    /// The same with one more record in the transaction.
    pub(super) async fn settle_with(
        &self,
        ring: &mut Keyring,
        vault: Opened,
        before: Option<Anchor>,
        sharing: Option<Sharing>,
        deed: impl FnOnce(u64) -> VaultDeed,
        more: Option<SystemWrite>,
    ) -> Result<(), VaultFault> {
        ring.open = None;
        let done = self.make_durable(vault, before, sharing, deed, more).await;
        match done {
            Ok(vault) => {
                self.put_back(ring, vault);
                Ok(())
            }
            Err(error) => {
                ring.recovery = None;
                // Where the disk is full, this cannot be recorded either.
                drop(self.record(VaultDeed::Locked { reason: LockReason::Failure }).await);
                Err(error)
            }
        }
    }

    async fn make_durable(
        &self,
        mut vault: Opened,
        before: Option<Anchor>,
        sharing: Option<Sharing>,
        deed: impl FnOnce(u64) -> VaultDeed,
        more: Option<SystemWrite>,
    ) -> Result<Opened, VaultFault> {
        let shared = Arc::clone(&self.shared);
        let _unstill = shared.vaults.still.read().await;
        let (at, path, is_new) = (self.at, self.shared.vaults.path(&self.environment), before.is_none());
        let (vault_back, sealing) = blocking(move || {
            let sealing = vault.seal(at)?;
            if is_new {
                file::set_aside(&path)?;
            }
            file::write(&path, sealing.bytes())?;
            vault.written(&sealing);
            Ok::<_, VaultFault>((vault, sealing))
        })
        .await??;
        vault = vault_back;
        let head = sealing.head();
        let anchor = Anchor { environment: self.environment.clone(), head, modified_at: at, sharing };
        let instead_of = before.map(|anchor| anchor.head);
        let mut system = vec![SystemWrite::Vault { anchor: Box::new(anchor), instead_of }];
        system.extend(more);
        let transaction = Transaction {
            at,
            actor: self.actor.clone(),
            changes: vec![SystemChange::Vault(self.environment.clone(), deed(head.generation)).into()],
            writes: Vec::new(),
            system,
            answer: None,
        };
        self.shared.writer.commit(transaction).await?;
        Ok(vault)
    }

    /// Records something that changes neither file nor anchor.
    pub(super) async fn record(&self, deed: VaultDeed) -> Result<(), VaultFault> {
        let changes = vec![SystemChange::Vault(self.environment.clone(), deed).into()];
        let transaction =
            Transaction { actor: self.actor.clone(), ..Transaction::own(self.at, changes, Vec::new()) };
        match self.actor {
            // It locks by itself whether or not that can be recorded.
            Actor::Authority => self.shared.writer.commit_or_count(transaction).await?,
            _ => drop(self.shared.writer.commit(transaction).await?),
        }
        Ok(())
    }
}

/// Its keys go where they are not swapped.
pub(super) fn sheltered(mut vault: Opened) -> Opened {
    vault.keep_keys_in(Box::new(SecretMemory::new()));
    vault
}

/// Work that takes a processor or the disk for long. What it leaves of keys on its stack is wiped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, VaultFault> {
    let cleanly = || {
        let done = work();
        wipe_stack();
        done
    };
    spawn_blocking(cleanly).await.map_err(|e| VaultFault::Internal(e.to_string()))
}
