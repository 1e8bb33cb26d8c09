//! What a node remembers of all its senders, so that nothing signed is taken twice.
//!
//! Two memories: a window for each sender and proof, for messages on direct links, and the ids of messages that were
//! relayed or stored. An entry stays until the last message that it stands for has expired, and no longer; when there is
//! no room, strangers are refused and nobody is forgotten.
//!
//! A node with a disk stores [`ReplayGuard::to_bytes`] together with the effect of the message. One that does not begins
//! with [`ReplayGuard::forgetful`], which refuses what may have been seen before its start.
//!
//! Cost: a look-up in a map of all senders; memory about 0.7 KiB a window and 0.2 KiB an id.
//!
//! Source: `docs/spec/klp.md` KLP-37 to KLP-40, KLP-42.

use std::collections::{BTreeMap, BTreeSet};

use kos_base::{
    Timestamp,
    cbor::{self, CborError},
};
use minicbor::{Decoder, Encoder, decode, encode};

use super::{FreshnessError, SKEW, Window, check_time, ids::IdMemory, remembered_until};
use crate::{
    fields::{read_array_head, read_bytes},
    message::{Message, MessageId, Order},
    party::{Party, PartyRef},
    proof::ProofClass,
};

/// How much a guard remembers. A flood of messages, of one sender or of many, costs no more memory than this.
#[derive(Clone, Copy, Debug)]
pub struct GuardLimits {
    /// Most windows.
    pub windows_max: usize,
    /// Most ids.
    pub ids_max: usize,
    /// Most ids of one sender.
    pub ids_per_sender_max: usize,
}

impl GuardLimits {
    /// For a device: a few peers, at most about 4 MiB.
    pub const DEVICE: Self = Self { windows_max: 512, ids_max: 16_384, ids_per_sender_max: 4096 };
    /// For an authority of 100 000 devices, at most about 350 MiB.
    pub const AUTHORITY: Self = Self { windows_max: 262_144, ids_max: 1_048_576, ids_per_sender_max: 4096 };

    /// The part of `max` that strangers may fill; the last quarter is for senders known already.
    pub(super) const fn for_strangers(&self, max: usize) -> usize {
        max - max / 4
    }
}

/// What a node remembers of signed messages.
#[derive(Debug)]
pub struct ReplayGuard {
    limits: GuardLimits,
    not_before: Option<Timestamp>,
    windows: BTreeMap<(Party, ProofClass), Remembered>,
    by_time: BTreeSet<(Timestamp, Party, ProofClass)>,
    ids: IdMemory,
}

#[derive(Debug)]
struct Remembered {
    window: Window,
    until: Timestamp,
}

impl ReplayGuard {
    /// A memory that nothing has been lost from: of a node that has never received anything, or with
    /// [`ReplayGuard::from_bytes`] of one that stored it.
    pub fn new(limits: GuardLimits) -> Self {
        Self {
            limits,
            not_before: None,
            windows: BTreeMap::new(),
            by_time: BTreeSet::new(),
            ids: IdMemory::default(),
        }
    }

    /// The memory of a node that started at `start` and does not know what it saw before (KLP-40).
    pub fn forgetful(limits: GuardLimits, start: Timestamp) -> Self {
        Self { not_before: Some(start.plus(SKEW)), ..Self::new(limits) }
    }

    /// Checks time and novelty of a message whose proof has held, and remembers it.
    ///
    /// # Errors
    /// When it is not new, or there is no room to remember it. Nothing has been remembered then.
    pub fn accept(
        &mut self,
        now: Timestamp,
        message: &Message<'_>,
        class: ProofClass,
    ) -> Result<(), FreshnessError> {
        check_time(now, message)?;
        if self.not_before.is_some_and(|least| message.issued < least) {
            return Err(FreshnessError::BeforeStart);
        }
        let until = remembered_until(message);
        let place = match message.order {
            Order::Stored { .. } => {
                return self.ids.remember(now, message.from, message.id, until, &self.limits);
            }
            Order::Direct(place) => place,
        };
        self.forget(now);
        let key = (message.from.to_owned(), class);
        if let Some(known) = self.windows.get_mut(&key) {
            known.window.accept(place)?;
            if until > known.until {
                self.by_time.remove(&(known.until, key.0.clone(), class));
                known.until = until;
                self.by_time.insert((until, key.0, class));
            }
            return Ok(());
        }
        if self.windows.len() >= self.limits.windows_max {
            return Err(FreshnessError::Full);
        }
        let mut window = Window::default();
        window.accept(place)?;
        self.put_back(key, Remembered { window, until });
        Ok(())
    }

    fn put_back(&mut self, key: (Party, ProofClass), remembered: Remembered) {
        self.by_time.insert((remembered.until, key.0.clone(), key.1));
        self.windows.insert(key, remembered);
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((until, _, _)) = self.by_time.first()
            && *until <= now
            && let Some((_, sender, class)) = self.by_time.pop_first()
        {
            self.windows.remove(&(sender, class));
        }
    }

    /// How many windows and ids are remembered, for metrics.
    pub fn len(&self) -> (usize, usize) {
        (self.windows.len(), self.ids.len())
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// The memory, to be stored before the effect of the last message is seen.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&Stored {
            windows: self
                .windows
                .iter()
                .map(|((p, c), r)| (p.as_party(), *c, r.until, r.window.clone()))
                .collect(),
            ids: self
                .ids
                .entries()
                .filter_map(|(sender, id, until)| Some((PartyRef::parse(sender).ok()?, id, until)))
                .collect(),
        })
    }

    /// A memory that was stored.
    ///
    /// # Errors
    /// When it is damaged: begin with [`ReplayGuard::forgetful`] and report it.
    pub fn from_bytes(limits: GuardLimits, bytes: &[u8]) -> Result<Self, CborError> {
        let stored: Stored<'_> = cbor::decode(bytes, usize::MAX)?;
        let mut guard = Self::new(limits);
        for (sender, class, until, window) in stored.windows {
            guard.put_back((sender.to_owned(), class), Remembered { window, until });
        }
        for (sender, id, until) in stored.ids {
            guard.ids.put_back(sender, id, until);
        }
        Ok(guard)
    }
}

/// CBOR: the array of windows [sender, proof, until, window] and ids [sender, id, until].
#[derive(Debug)]
struct Stored<'a> {
    windows: Vec<(PartyRef<'a>, ProofClass, Timestamp, Window)>,
    ids: Vec<(PartyRef<'a>, MessageId, Timestamp)>,
}

impl<C> minicbor::Encode<C> for Stored<'_> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let len = |len| u64::try_from(len).unwrap_or(u64::MAX);
        e.array(2)?.array(len(self.windows.len()))?;
        for (sender, class, until, window) in &self.windows {
            e.array(4)?.encode_with(sender, ctx)?;
            e.bool(*class == ProofClass::Solo)?.encode_with(until, ctx)?.encode_with(window, ctx)?;
        }
        e.array(len(self.ids.len()))?;
        for (sender, id, until) in &self.ids {
            e.array(3)?.encode_with(sender, ctx)?.bytes(id.as_bytes())?.encode_with(until, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Stored<'b> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let no_length = || decode::Error::message("an array without length");
        read_array_head(d, 2)?;
        let count = d.array()?.ok_or_else(no_length)?;
        let mut windows = Vec::new();
        for _ in 0..count {
            read_array_head(d, 4)?;
            let sender = d.decode_with(ctx)?;
            let class = if d.bool()? { ProofClass::Solo } else { ProofClass::Batch };
            windows.push((sender, class, d.decode_with(ctx)?, d.decode_with(ctx)?));
        }
        let count = d.array()?.ok_or_else(no_length)?;
        let mut ids = Vec::new();
        for _ in 0..count {
            read_array_head(d, 3)?;
            let sender = d.decode_with(ctx)?;
            ids.push((sender, MessageId::from_bytes(read_bytes(d)?), d.decode_with(ctx)?));
        }
        Ok(Self { windows, ids })
    }
}
