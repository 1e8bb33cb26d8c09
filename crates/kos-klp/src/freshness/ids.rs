//! The ids of messages that were relayed or stored, until they cannot be played again.
//!
//! Source: `docs/spec/klp.md` KLP-38, KLP-39.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kos_base::Timestamp;

use super::{FreshnessError, guard::GuardLimits};
use crate::{message::MessageId, party::PartyRef};

/// Which messages of which senders have been seen.
#[derive(Debug, Default)]
pub(super) struct IdMemory {
    until: BTreeMap<(Arc<str>, MessageId), Timestamp>,
    by_time: BTreeSet<(Timestamp, Arc<str>, MessageId)>,
    senders: BTreeMap<Arc<str>, usize>,
}

impl IdMemory {
    /// Remembers `id` of `sender` until `until`.
    ///
    /// # Errors
    /// When it is remembered already, or there is no room.
    pub(super) fn remember(
        &mut self,
        now: Timestamp,
        sender: PartyRef<'_>,
        id: MessageId,
        until: Timestamp,
        limits: &GuardLimits,
    ) -> Result<(), FreshnessError> {
        self.forget(now);
        let (sender, count) = match self.senders.get_key_value(sender.as_str()) {
            Some((sender, count)) => (Arc::clone(sender), *count),
            None => (Arc::from(sender.as_str()), 0),
        };
        if self.until.contains_key(&(Arc::clone(&sender), id)) {
            return Err(FreshnessError::Replayed);
        }
        let room = if count == 0 { limits.for_strangers(limits.ids_max) } else { limits.ids_max };
        if self.until.len() >= room || count >= limits.ids_per_sender_max {
            return Err(FreshnessError::Full);
        }
        self.insert(sender, id, until);
        Ok(())
    }

    fn insert(&mut self, sender: Arc<str>, id: MessageId, until: Timestamp) {
        if self.until.insert((Arc::clone(&sender), id), until).is_none() {
            self.by_time.insert((until, Arc::clone(&sender), id));
            *self.senders.entry(sender).or_default() += 1;
        }
    }

    /// Forgets what cannot be played again.
    fn forget(&mut self, now: Timestamp) {
        while let Some((until, _, _)) = self.by_time.first()
            && *until <= now
            && let Some((_, sender, id)) = self.by_time.pop_first()
        {
            if let Some(count) = self.senders.get_mut(&sender) {
                *count -= 1;
                if *count == 0 {
                    self.senders.remove(&sender);
                }
            }
            self.until.remove(&(sender, id));
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    /// Everything remembered: sender, id, until when.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (&str, MessageId, Timestamp)> {
        self.until.iter().map(|((sender, id), until)| (&**sender, *id, *until))
    }

    /// Puts back what [`IdMemory::entries`] gave.
    pub(super) fn put_back(&mut self, sender: PartyRef<'_>, id: MessageId, until: Timestamp) {
        let known = self.senders.get_key_value(sender.as_str()).map(|(known, _)| Arc::clone(known));
        self.insert(known.unwrap_or_else(|| Arc::from(sender.as_str())), id, until);
    }
}
