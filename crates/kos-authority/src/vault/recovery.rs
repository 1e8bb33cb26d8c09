//! The shares of a vault: made, handed in one by one, joined, rehearsed.
//!
//! What was handed in is in memory only, and goes when it is used, when somebody says so, when the vault is locked, or a
//! quarter of an hour after the last of it.

use std::time::Duration;

use kos_api::{
    text::SecretText,
    vault::{SharePurpose, Vault, VaultRecovery, VaultShares, VaultSharing},
};
use kos_base::Timestamp;
use kos_identity::registry::Actor;
use kos_net::entropy;
use kos_shares::{Commitment, Fresh, Identifier, Joiner, Plan, Progress, Share, ShareError, split};
use kos_vault::{Opened, Passphrase};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{
    Keyring, VaultFault, authoriser,
    deed::{Deed, Found, Opener},
    renew::Kept,
    uptime::{SLEEP_MIN, Uptime},
};
use crate::{
    record::{SystemChange, VaultDeed},
    store::{Anchor, Sharing},
    writer::{SystemWrite, Transaction},
};

/// How long shares that were handed in are kept after the last of them.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// How long a rehearsal counts: half a year, in which sheets are lost and people leave.
pub(crate) const REHEARSAL_MAX: Duration = Duration::from_secs(180 * 24 * 3600);

/// Shares that were handed in.
#[derive(Debug)]
pub(super) struct Recovery {
    joiner: Joiner,
    /// Of which sharing they are.
    identifier: [u8; 2],
    purpose: SharePurpose,
    /// Who handed something in. Nobody else may use it.
    actors: Vec<Actor>,
    holders: Vec<String>,
    last: Duration,
    /// How long the machine had slept then.
    slept: Duration,
    forgotten_at: Timestamp,
}

impl Recovery {
    /// Whether it lay too long, or through a sleep of the machine.
    pub(super) fn is_over(&self, uptime: &Uptime) -> bool {
        uptime.now().saturating_sub(self.last) >= KEPT
            || uptime.slept().saturating_sub(self.slept) >= SLEEP_MIN
    }

    fn missing(&self) -> u8 {
        match self.joiner.progress() {
            Progress::Missing(count) => count,
            Progress::Complete => 0,
        }
    }
}

impl Deed {
    /// Gives the vault a new master key and splits a key that recovers it. Only this answer has the words.
    pub(crate) async fn share(
        self,
        (passphrase, code): (Passphrase, Option<SecretText>),
        plan: Plan,
        holders: Vec<String>,
        mut asker: oneshot::Receiver<()>,
    ) -> Result<VaultShares, VaultFault> {
        let mut ring = self.ring().await;
        let (vault, anchor, opener) = self.open_by(&mut ring, Opener::Passphrase(passphrase, code)).await?;
        let Opener::Passphrase(passphrase, _) = opener else {
            return Err(VaultFault::Internal("another opener".to_owned()));
        };
        let before = anchor.sharing.as_ref().map(|sharing| sharing.identifier);
        let identifier = loop {
            let drawn = Identifier::from_random(entropy::array()?);
            if before != Some(drawn.to_bytes()) {
                break drawn;
            }
        };
        let (vault, key) = self.renew(vault, passphrase, Some(entropy::secret()?), Kept::Offline).await?;
        let key = key.ok_or_else(|| VaultFault::Internal("the key is gone".to_owned()))?;
        let shares = split(&key, plan, Fresh { identifier, bytes: entropy::secret()? })?;
        let public = VaultSharing {
            threshold: plan.threshold(),
            total: plan.total(),
            holders,
            commitments: shares.iter().map(|share| Commitment::of(share).to_string()).collect(),
            shared_at: self.at,
            rehearsed_at: None,
        };
        let sharing = Sharing { identifier: identifier.to_bytes(), public: public.clone() };
        let (threshold, total) = (plan.threshold(), plan.total());
        let deed = |generation| VaultDeed::Shared { threshold, total, generation };
        // The shares before are good until then. Nobody else will ever see the words of the new ones.
        if asker.try_recv() == Err(TryRecvError::Closed) {
            return Err(VaultFault::Gone);
        }
        ring.recovery = None;
        self.settle(&mut ring, vault, Some(anchor), Some(sharing), deed).await?;
        let words = shares.iter().map(|share| SecretText::new(share.to_words().expose().to_owned()));
        Ok(VaultShares { sharing: public, words: words.collect() })
    }

    /// Hands a share in. Whether it is taken is recorded, and no word of it.
    pub(crate) async fn submit(
        self,
        words: &str,
        purpose: SharePurpose,
    ) -> Result<VaultRecovery, VaultFault> {
        let mut ring = self.ring().await;
        let (_, sharing) = self.shared_vault(&mut ring).await?;
        let (number, taken) = match Share::parse(words) {
            Ok(share) => (Some(share.number()), self.take(&mut ring, &sharing, share, purpose)?),
            Err(error) => (None, Err(error)),
        };
        let holder = number
            .filter(|_| !matches!(taken, Err(ShareError::NotCurrent | ShareError::OtherSet)))
            .and_then(|number| sharing.public.holders.get(usize::from(number).checked_sub(1)?).cloned());
        let refused = taken.as_ref().err().map(ShareError::code);
        let recorded =
            self.record(VaultDeed::ShareSubmitted { number, holder: holder.clone(), refused }).await;
        if recorded.is_err() {
            // It did not happen.
            ring.recovery = None;
        }
        recorded?;
        taken?;
        let recovery = ring.recovery.as_mut().ok_or(VaultFault::NotShared)?;
        recovery.holders.extend(holder);
        if !recovery.actors.contains(&self.actor) {
            recovery.actors.push(self.actor.clone());
        }
        Ok(self.progress(recovery))
    }

    /// Whose shares have been handed in, and what for.
    pub(crate) async fn recovery(self) -> Result<VaultRecovery, VaultFault> {
        let mut ring = self.ring().await;
        let (_, sharing) = self.shared_vault(&mut ring).await?;
        let begun = ring.recovery.as_ref().filter(|begun| begun.identifier == sharing.identifier);
        Ok(begun.map_or_else(
            || VaultRecovery {
                environment: self.environment.to_string(),
                purpose: None,
                holders: Vec::new(),
                missing: sharing.public.threshold,
                may_end: false,
                forgotten_at: None,
            },
            |begun| self.progress(begun),
        ))
    }

    fn progress(&self, begun: &Recovery) -> VaultRecovery {
        VaultRecovery {
            environment: self.environment.to_string(),
            purpose: Some(begun.purpose),
            holders: begun.holders.clone(),
            missing: begun.missing(),
            may_end: begun.actors.contains(&self.actor),
            forgotten_at: Some(begun.forgotten_at),
        }
    }

    fn take(
        &self,
        ring: &mut Keyring,
        sharing: &Sharing,
        share: Share,
        purpose: SharePurpose,
    ) -> Result<Result<Progress, ShareError>, VaultFault> {
        let uptime = &self.shared.vaults.uptime;
        let (now, slept) = (uptime.now(), uptime.slept());
        let goes_on = |begun: &Recovery| begun.identifier == sharing.identifier && begun.purpose == purpose;
        let begun = ring.recovery.take().filter(goes_on);
        let mut recovery = match begun {
            Some(recovery) => recovery,
            None => Recovery {
                joiner: Joiner::for_vault(&commitments(sharing)?),
                identifier: sharing.identifier,
                purpose,
                actors: Vec::new(),
                holders: Vec::new(),
                last: now,
                slept,
                forgotten_at: self.at.plus(KEPT),
            },
        };
        let taken = recovery.joiner.add(share);
        if taken.is_ok() {
            (recovery.last, recovery.slept, recovery.forgotten_at) = (now, slept, self.at.plus(KEPT));
            ring.recovery = Some(recovery);
        } else if !recovery.holders.is_empty() {
            ring.recovery = Some(recovery);
        }
        Ok(taken)
    }

    /// Opens the vault by what was handed in, and gives it new keys and one passphrase.
    pub(crate) async fn recover(self, passphrase: Passphrase) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (mut vault, anchor) = self.open_joined(&mut ring, SharePurpose::Recovery).await?;
        // Enough holders stand for whoever lost the device that shows the codes.
        let more = authoriser::forget(&mut vault)?.then(|| self.unmark());
        let (vault, _) = self.renew(vault, passphrase, None, Kept::Nothing).await?;
        let deed = |generation| VaultDeed::Recovered { generation, by: "shares" };
        self.settle_with(&mut ring, vault, Some(anchor), None, deed, more).await?;
        ring.recovery = None;
        // Whoever guessed before knows nothing of the new passphrase.
        ring.failures.clear();
        self.view(&mut ring).await
    }

    /// Opens a copy of the vault by what was handed in, decrypts every name in it, and forgets both.
    pub(crate) async fn rehearse(self) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        let (vault, anchor) = self.open_joined(&mut ring, SharePurpose::Rehearsal).await?;
        vault.list()?;
        drop(vault);
        let Some(mut sharing) = anchor.sharing.clone() else { return Err(VaultFault::NotShared) };
        sharing.public.rehearsed_at = Some(self.at);
        let instead_of = Some(anchor.head);
        let anchor = Box::new(Anchor { sharing: Some(sharing), ..anchor });
        let changes = vec![SystemChange::Vault(self.environment.clone(), VaultDeed::Rehearsed).into()];
        let system = vec![SystemWrite::Vault { anchor, instead_of }];
        let transaction =
            Transaction { actor: self.actor.clone(), ..Transaction::own(self.at, changes, system) };
        self.shared.writer.commit(transaction).await?;
        ring.recovery = None;
        self.view(&mut ring).await
    }

    /// Forgets what was handed in.
    pub(crate) async fn abandon(self) -> Result<Vault, VaultFault> {
        let mut ring = self.ring().await;
        if ring.recovery.is_some() {
            self.record(VaultDeed::RecoveryAbandoned).await?;
            ring.recovery = None;
        }
        self.view(&mut ring).await
    }

    /// Whether anything was handed in.
    pub(crate) async fn has_recovery(&self) -> bool {
        self.ring().await.recovery.is_some()
    }

    /// That enough was handed in.
    pub(crate) async fn admit_recovery(&self, purpose: SharePurpose) -> Result<(), VaultFault> {
        let mut ring = self.ring().await;
        self.begun(&mut ring, purpose).await.map(drop)
    }

    /// That there is a vault with shares.
    pub(crate) async fn admit_share(&self) -> Result<(), VaultFault> {
        let mut ring = self.ring().await;
        self.shared_vault(&mut ring).await.map(drop)
    }

    async fn shared_vault(&self, ring: &mut Keyring) -> Result<(Anchor, Sharing), VaultFault> {
        let anchor = match self.examine(ring).await? {
            Found::None => return Err(VaultFault::Unknown),
            Found::Refused(_, code) => return Err(VaultFault::Refused(code)),
            Found::Locked(anchor, ..) | Found::Open(anchor) => anchor,
        };
        let sharing = anchor.sharing.clone().ok_or(VaultFault::NotShared)?;
        Ok((anchor, sharing))
    }

    /// The vault, opened by what was handed in for this purpose.
    async fn open_joined(
        &self,
        ring: &mut Keyring,
        purpose: SharePurpose,
    ) -> Result<(Opened, Anchor), VaultFault> {
        let key = self.begun(ring, purpose).await?.joiner.join()?;
        let (vault, anchor, _) = self.open_by(ring, Opener::Key(key)).await?;
        Ok((vault, anchor))
    }

    /// What was handed in for this purpose, if it is enough and whoever asks has handed in a part of it.
    async fn begun<'a>(
        &self,
        ring: &'a mut Keyring,
        purpose: SharePurpose,
    ) -> Result<&'a Recovery, VaultFault> {
        let (_, sharing) = self.shared_vault(ring).await?;
        let is_ours = |begun: &&Recovery| {
            begun.identifier == sharing.identifier
                && begun.purpose == purpose
                && begun.actors.contains(&self.actor)
        };
        let recovery = ring.recovery.as_ref().filter(is_ours);
        let recovery = recovery.ok_or(VaultFault::NotRecovered(sharing.public.threshold))?;
        match recovery.missing() {
            0 => Ok(recovery),
            missing => Err(VaultFault::NotRecovered(missing)),
        }
    }
}

fn commitments(sharing: &Sharing) -> Result<Vec<Commitment>, VaultFault> {
    let bytes = |text: &String| {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Commitment::from_bytes)
    };
    let read: Option<Vec<Commitment>> = sharing.public.commitments.iter().map(bytes).collect();
    read.ok_or_else(|| VaultFault::Internal("a commitment that is none".to_owned()))
}
