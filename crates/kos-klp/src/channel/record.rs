//! A channel in use: records with checked sequences and keys that are replaced as they go.
//!
//! Relays may reorder and lose records, never repeat or change them. A record that does not open changes nothing, so a
//! relay that makes records up only costs us the attempt. Where the way keeps order, [`Channel::open_next`] also refuses
//! what was lost or moved.
//!
//! Source: `docs/spec/klp.md` KLP-60 to KLP-64.

use core::{fmt, time::Duration};

use kos_base::{Secret, Timestamp};

use super::{
    ChannelError, ChannelId,
    exchange::{ChannelRole, RECORD, open, same_channel},
    schedule::{Generation, RecordKeys, Schedule},
};
use crate::{
    cose::write,
    freshness::{WINDOW_SEQUENCES, Window},
    message::Place,
    session::Signer,
};

/// Longest plaintext of a record, in bytes: a frame less room for its hop and the record's head.
pub const RECORD_PLAINTEXT_BYTES_MAX: usize = 64_384;
/// Most records in each direction.
pub const CHANNEL_RECORDS_MAX: u64 = 1 << 32;
/// Longest life of a channel; bounds what one compromise of a running node shows.
pub const CHANNEL_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Records under one key: 2^20 of 2^16 bytes stay far below the limits of AES-GCM.
const GENERATION_RECORDS: u64 = 1 << 20;

/// An established channel.
pub struct Channel {
    id: ChannelId,
    peer: Signer,
    exporter: Secret<32>,
    expires: Timestamp,
    sending: Option<Sending>,
    receiving: Receiving,
}

struct Sending {
    /// The last sequence used.
    sequence: u64,
    generation: Generation,
}

struct Receiving {
    number: u64,
    current: Generation,
    /// Keys of the generation before, while the window reaches into it.
    previous: Option<RecordKeys>,
    window: Window,
    /// How many records have arrived.
    count: u64,
    /// Sequence of the record that says that no more are sent.
    end: Option<u64>,
}

/// What a record said.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// This.
    Data(Vec<u8>),
    /// That its sender sends no more, and how many records before it have not arrived.
    Closed {
        /// Records that relays lost or still hold.
        missing: u64,
    },
}

impl Channel {
    pub(super) fn new(
        now: Timestamp,
        id: ChannelId,
        role: ChannelRole,
        peer: Signer,
        schedule: &Schedule,
    ) -> Result<Self, ChannelError> {
        let peer_role = match role {
            ChannelRole::Initiator => ChannelRole::Responder,
            ChannelRole::Responder => ChannelRole::Initiator,
        };
        Ok(Self {
            id,
            peer,
            exporter: schedule.exporter()?,
            expires: now.plus(CHANNEL_TIME_MAX),
            sending: Some(Sending { sequence: 0, generation: Generation::new(schedule.records(role)?)? }),
            receiving: Receiving {
                number: 0,
                current: Generation::new(schedule.records(peer_role)?)?,
                previous: None,
                window: Window::default(),
                count: 0,
                end: None,
            },
        })
    }

    /// Which channel.
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> &Signer {
        &self.peer
    }

    /// The link secret for a [`crate::session::Session`] inside the channel; the initiator is its dialler.
    pub const fn exporter(&self) -> &Secret<32> {
        &self.exporter
    }

    /// When it ends. Make another one before.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The record that carries `plaintext`, usually a frame.
    ///
    /// # Errors
    /// When it is empty or too long, or the channel is over.
    pub fn seal(&mut self, now: Timestamp, plaintext: &[u8]) -> Result<Vec<u8>, ChannelError> {
        if !(1..=RECORD_PLAINTEXT_BYTES_MAX).contains(&plaintext.len()) {
            return Err(ChannelError::Size(plaintext.len()));
        }
        self.write_record(now, plaintext)
    }

    /// The record that says that we send no more.
    ///
    /// # Errors
    /// When the channel is over.
    pub fn close(&mut self, now: Timestamp) -> Result<Vec<u8>, ChannelError> {
        let record = self.write_record(now, &[])?;
        self.sending = None;
        Ok(record)
    }

    fn write_record(&mut self, now: Timestamp, plaintext: &[u8]) -> Result<Vec<u8>, ChannelError> {
        let sending = self.sending.as_mut().filter(|_| now < self.expires).ok_or(ChannelError::Over)?;
        let sequence = sending.sequence + 1;
        if sequence >= CHANNEL_RECORDS_MAX {
            return Err(ChannelError::Over);
        }
        if sequence.is_multiple_of(GENERATION_RECORDS) {
            sending.generation = sending.generation.next()?;
        }
        sending.sequence = sequence;
        let ciphertext =
            sending.generation.keys.seal(sequence, &record_head(self.id, sequence), plaintext)?;
        Ok(write(ciphertext.len() + 40, |e| {
            e.array(4)?.u8(RECORD)?.bytes(&self.id.0)?.u64(sequence)?.bytes(&ciphertext)?.ok()
        }))
    }

    /// Opens a record.
    ///
    /// # Errors
    /// When it does not open, is repeated, or the channel is over. Drop the record; the channel goes on.
    pub fn open(&mut self, now: Timestamp, record: &[u8]) -> Result<Opened, ChannelError> {
        if now >= self.expires {
            return Err(ChannelError::Over);
        }
        let d = &mut open(record, 4, RECORD)?;
        same_channel(d, self.id)?;
        let (sequence, ciphertext) = (d.u64()?, d.bytes()?);
        let receiving = &mut self.receiving;
        if sequence >= CHANNEL_RECORDS_MAX || receiving.end.is_some_and(|end| sequence >= end) {
            return Err(ChannelError::Replayed);
        }
        let plaintext = receiving.open(sequence, &record_head(self.id, sequence), ciphertext)?;
        if !plaintext.is_empty() {
            return Ok(Opened::Data(plaintext));
        }
        receiving.end = Some(sequence);
        Ok(Opened::Closed { missing: sequence.saturating_sub(receiving.count) })
    }

    /// Opens a record that came by a way that keeps order, where each is the one after the last.
    ///
    /// # Errors
    /// As [`Channel::open`], and when records before it are missing. End the channel: somebody interferes.
    pub fn open_next(&mut self, now: Timestamp, record: &[u8]) -> Result<Opened, ChannelError> {
        let due = self.receiving.window.greatest().sequence + 1;
        let opened = self.open(now, record)?;
        match self.receiving.window.greatest().sequence.saturating_sub(due) {
            0 => Ok(opened),
            missing => Err(ChannelError::Missing(missing)),
        }
    }
}

impl Receiving {
    /// Opens with the keys of the record's generation, then uses its place up and moves on to a newer generation.
    fn open(&mut self, sequence: u64, aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, ChannelError> {
        let place = Place { epoch: 0, sequence };
        let generation = sequence / GENERATION_RECORDS;
        if generation == self.number + 1 {
            let next = self.current.next()?;
            let plaintext = next.keys.open(sequence, aad, ciphertext)?;
            self.take(place)?;
            self.previous = Some(core::mem::replace(&mut self.current, next).keys);
            self.number = generation;
            self.drop_previous();
            return Ok(plaintext);
        }
        let keys = match &self.previous {
            _ if generation == self.number => &self.current.keys,
            Some(previous) if generation + 1 == self.number => previous,
            _ => return Err(ChannelError::Replayed),
        };
        let plaintext = keys.open(sequence, aad, ciphertext)?;
        self.take(place)?;
        self.drop_previous();
        Ok(plaintext)
    }

    fn take(&mut self, place: Place) -> Result<(), ChannelError> {
        self.window.accept(place).map_err(|_| ChannelError::Replayed)?;
        self.count += 1;
        Ok(())
    }

    fn drop_previous(&mut self) {
        let first = self.number * GENERATION_RECORDS;
        if self.window.greatest().sequence >= first + WINDOW_SEQUENCES {
            self.previous = None;
        }
    }
}

fn record_head(channel: ChannelId, sequence: u64) -> Vec<u8> {
    write(32, |e| e.array(3)?.u8(RECORD)?.bytes(&channel.0)?.u64(sequence)?.ok())
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}
