//! The audit log of this authority: how it grows, how it is published, and how its entries are proven.
//!
//! The rows of the store are the log. `tail` is the right edge of its tree, which the writer advances in the same
//! transaction as the entries themselves; so every entry has its place, and a checkpoint covers it, by the time anybody
//! hears of it. `publish` copies what is committed into files that others can fetch.

pub(crate) mod archive;
mod piece;
mod proof;
mod publish;
mod tail;

use std::sync::Arc;

use kos_audit::{BootId, Checkpoint, Entry, LogKey, SealedEntry, SignedCheckpoint, TreeHead, UnsignedEntry};
use kos_base::{Timestamp, key::SignatureForm};
use kos_net::keys::SigningKey;

pub(crate) use self::{
    archive::ArchiveError, piece::piece, proof::consistency, publish::CHECKPOINT_BYTES_MAX, tail::Tail,
};
pub use self::{proof::prove, publish::LogFiles};
use crate::store::StoreError;

/// Signs entries and checkpoints.
#[derive(Clone, Debug)]
pub struct LogSigner {
    signer: Arc<SigningKey>,
    key: LogKey,
    boot: BootId,
}

impl LogSigner {
    /// Signs with `signer`, which is the log's own key, for one run of the authority.
    pub const fn new(signer: Arc<SigningKey>, key: LogKey, boot: BootId) -> Self {
        Self { signer, key, boot }
    }

    /// The public half, with the log's name.
    pub const fn key(&self) -> &LogKey {
        &self.key
    }

    /// This run.
    pub const fn boot(&self) -> BootId {
        self.boot
    }

    pub(crate) fn seal(&self, entry: &Entry) -> Result<SealedEntry, StoreError> {
        let unsigned = UnsignedEntry::new(entry, &self.key).map_err(|e| StoreError::Entry(e.to_string()))?;
        let signature = self.sign(&unsigned.to_be_signed())?;
        Ok(unsigned.finish(signature))
    }

    pub(crate) fn checkpoint(&self, head: TreeHead, time: Timestamp) -> Result<SignedCheckpoint, StoreError> {
        let checkpoint = Checkpoint { origin: self.key.origin().clone(), head, time };
        let signature = self.sign(checkpoint.to_be_signed().as_bytes())?;
        Ok(checkpoint.finish(&self.key, signature))
    }

    /// The signature of the log's key. What it is for stands in the message.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<[u8; 64], StoreError> {
        let signature = self.signer.sign(SignatureForm::Fixed, message);
        let signature = signature.map_err(|e| StoreError::Failed(e.to_string()))?;
        signature.try_into().map_err(|_| StoreError::Failed("the log's key is not Ed25519".to_owned()))
    }
}
