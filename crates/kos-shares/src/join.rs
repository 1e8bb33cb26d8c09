//! Taking shares back, one by one or at once.
//!
//! Shape: a [`Joiner`] holds shares of one set. The first one decides which set that is, unless the commitments of the
//! vault do ([`Joiner::for_vault`]). It is complete when as many groups as the set needs have as many shares as each needs;
//! then, and not before, it gives the secret.
//!
//! Invariants: every share that is held is of one set and has a place of its own, and no group holds more than it needs. So
//! the work is bounded by [`SHARES_MAX`](crate::SHARES_MAX) squared.
//!
//! Errors: a refused share changes nothing; the next one may be right. After [`ShareError::Digest`] nobody can say which
//! share is wrong, unless there are commitments: begin again with other ones.
//!
//! Source: SLIP-39, "Combining the shares"; `docs/spec/recovery.md` RCV-10 to RCV-15; fuzz target `share`.

use core::fmt;

use kos_base::Secret;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Commitment, KEY_BYTES, Passphrase, Share, ShareError, cipher, field, field::Point};

/// How far a [`Joiner`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many more shares are needed. Where a set has groups of which none was seen yet, it may turn out to be more.
    Missing(u8),
    /// No more are needed.
    Complete,
}

/// What the shares of somebody else's set join to: 16 to 64 bytes. Wiped, and never printed.
#[derive(PartialEq, Eq)]
pub struct MasterSecret(Zeroizing<Vec<u8>>);

impl MasterSecret {
    /// The bytes, for the one call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(..)")
    }
}

/// Collects shares until they are enough.
#[derive(Debug, Default)]
pub struct Joiner {
    expected: Option<Vec<Commitment>>,
    shares: Vec<Share>,
}

impl Joiner {
    /// For any set: the first share says which.
    pub fn new() -> Self {
        Self::default()
    }

    /// For the shares that `commitments` of a vault tell of, and no others.
    pub fn for_vault(commitments: &[Commitment]) -> Self {
        Self { expected: Some(commitments.to_vec()), shares: Vec::new() }
    }

    /// Takes one more share.
    ///
    /// # Errors
    /// [`ShareError::NotCurrent`], [`ShareError::OtherSet`], [`ShareError::Doubled`], [`ShareError::Contradicting`] or
    /// [`ShareError::NotNeeded`]; the share is dropped, and everything else stays as it was.
    pub fn add(&mut self, share: Share) -> Result<Progress, ShareError> {
        if self.expected.as_ref().is_some_and(|expected| !expected.contains(&Commitment::of(&share))) {
            return Err(ShareError::NotCurrent);
        }
        let is_of_another_set = |held: &Share| {
            held.set != share.set
                || held.value.len() != share.value.len()
                || (held.group == share.group && held.member_threshold != share.member_threshold)
        };
        if self.shares.iter().any(is_of_another_set) {
            return Err(ShareError::OtherSet);
        }
        let in_place = |held: &&Share| (held.group, held.member) == (share.group, share.member);
        if let Some(held) = self.shares.iter().find(in_place) {
            return Err(if *held == share { ShareError::Doubled } else { ShareError::Contradicting });
        }
        let has_group = self.groups().any(|(group, _)| group == share.group);
        let is_full = self.groups().any(|(group, missing)| group == share.group && missing == 0);
        let has_all_groups = self.groups().count() >= usize::from(share.set.group_threshold);
        if is_full || (has_all_groups && !has_group) {
            return Err(ShareError::NotNeeded);
        }
        self.shares.push(share);
        Ok(self.progress())
    }

    /// How far it is. With no share at all, one is missing: nobody knows how many more.
    pub fn progress(&self) -> Progress {
        let groups = self.shares.first().map_or(1, |share| usize::from(share.set.group_threshold));
        let unseen = groups.saturating_sub(self.groups().count());
        let missing = self.groups().map(|(_, missing)| missing).sum::<usize>() + unseen;
        match u8::try_from(missing).unwrap_or(u8::MAX) {
            0 => Progress::Complete,
            missing => Progress::Missing(missing),
        }
    }

    /// The key of a set of ours.
    ///
    /// # Errors
    /// [`ShareError::Missing`], [`ShareError::Digest`], or [`ShareError::NotAKey`] for a set that others made.
    pub fn join(&self) -> Result<Secret<KEY_BYTES>, ShareError> {
        let joined = self.join_guarded(&Passphrase::none())?;
        let mut key = <[u8; KEY_BYTES]>::try_from(joined.expose())
            .map_err(|_| ShareError::NotAKey(joined.expose().len()))?;
        let secret = Secret::new(key);
        key.zeroize();
        Ok(secret)
    }

    /// The secret of any set. Another passphrase gives another secret; nothing here can tell.
    ///
    /// # Errors
    /// [`ShareError::Missing`], [`ShareError::Digest`], or [`ShareError::NotApproved`].
    ///
    /// *Cost*: what the set asks for, at most some seconds.
    pub fn join_guarded(&self, passphrase: &Passphrase) -> Result<MasterSecret, ShareError> {
        if let Progress::Missing(count) = self.progress() {
            return Err(ShareError::Missing(count));
        }
        let set = self.shares.first().ok_or(ShareError::Missing(1))?.set;
        let mut groups = Vec::new();
        for (group, _) in self.groups() {
            let members: Vec<Point<'_>> = self.members(group).map(Share::point).collect();
            groups.push((group, field::recover(&members)?));
        }
        let points: Vec<Point<'_>> = groups.iter().map(|(group, value)| (*group, value.as_slice())).collect();
        let shared = field::recover(&points)?;
        Ok(MasterSecret(cipher::decrypt(&shared, &set, passphrase)?))
    }

    /// The groups that were seen, and how many shares each misses.
    fn groups(&self) -> impl Iterator<Item = (u8, usize)> {
        let first_of_its_group =
            |share: &&Share| self.members(share.group).next().is_some_and(|first| first == *share);
        self.shares.iter().filter(first_of_its_group).map(|share| {
            let needed = usize::from(share.member_threshold);
            (share.group, needed.saturating_sub(self.members(share.group).count()))
        })
    }

    fn members(&self, group: u8) -> impl Iterator<Item = &Share> {
        self.shares.iter().filter(move |share| share.group == group)
    }
}

/// The key behind exactly as many shares as their set asks for.
///
/// # Errors
/// Those of [`Joiner::add`] and [`Joiner::join`].
pub fn join(shares: impl IntoIterator<Item = Share>) -> Result<Secret<KEY_BYTES>, ShareError> {
    let mut joiner = Joiner::new();
    for share in shares {
        joiner.add(share)?;
    }
    joiner.join()
}
