//! BATCH: one signature over the Merkle root of up to 256 messages to one recipient.
//!
//! ```text
//! [COSE_Sign1 of {1 root, 2 count, 3 recipient, 4 epoch}, index, [hash 32 B ..], message]
//! ```
//!
//! Each message travels by itself with its audit path, so that one that is lost costs no other. Recipient and epoch are
//! under the signature and must be those of each message: a batch cannot be split among recipients, nor outlive the
//! epoch of its sender.
//!
//! Cost: a receiver checks one signature a batch ([`RootMemory`]) and at most 9 hashes a message.
//!
//! Source: `docs/spec/klp.md` KLP-28; RFC 6962 2.1.

use std::collections::VecDeque;

use kos_base::{
    PublicKey, Timestamp, cbor,
    digest::{Sha256, sha256_parts},
};
use minicbor::{Decoder, Encoder, decode, encode};

use super::{ProofError, Proven, check_signature, merkle};
use crate::{
    cose::{self, Algorithm, Authenticated},
    fields::{Field, read_array_head, read_bytes, read_map, required},
    message::Message,
    party::{Party, PartyRef},
};

/// Most messages of a batch: bounds the audit path to 8 hashes.
pub const BATCH_MESSAGES_MAX: usize = 256;
/// Longest audit path, in hashes.
const PATH_MAX: u64 = 8;
/// How many verified roots are remembered: batches that arrive interleaved, and no more memory than that.
const ROOTS_MAX: usize = 8;
const ROOT_DOMAIN: &str = "kos klp batch root memory v1";

/// Why messages do not make a batch. The caller put together what does not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// None, or more than fit.
    #[error("a batch holds 1 to {BATCH_MESSAGES_MAX} messages, not {0}")]
    Count(usize),
    /// Different recipients or epochs.
    #[error("the messages of a batch have one recipient and one epoch")]
    Mixed,
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Statement<'a> {
    root: Sha256,
    count: u64,
    recipient: PartyRef<'a>,
    epoch: u64,
}

impl<C> minicbor::Encode<C> for Statement<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(4)?.u8(1)?.bytes(&self.root)?.u8(2)?.u64(self.count)?;
        e.u8(3)?.str(self.recipient.as_str())?.u8(4)?.u64(self.epoch)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Statement<'b> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let (mut root, mut count, mut recipient, mut epoch) = (None, None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => root = Some(read_bytes(d)?),
                2 => count = Some(d.u64()?),
                3 => recipient = Some(d.decode_with(ctx)?),
                4 => epoch = Some(d.u64()?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        let (root, recipient, epoch) = (required(root)?, required(recipient)?, required(epoch)?);
        Ok(Self { root, count: required(count)?, recipient, epoch })
    }
}

/// The proof of one message of a batch, as it was received.
#[derive(Clone, Debug)]
pub(super) struct BatchProof<'a> {
    pub(super) signed: Authenticated<'a>,
    statement: Statement<'a>,
    index: u64,
    path: Vec<Sha256>,
}

impl<'a> BatchProof<'a> {
    /// Reads the object; the second value is the bytes of the message.
    pub(super) fn read(d: &mut Decoder<'a>) -> Result<(Self, &'a [u8]), decode::Error> {
        read_array_head(d, 4)?;
        if cose::read_tag(d)? != cose::TAG_SIGN1 {
            return Err(decode::Error::message("a batch without COSE_Sign1"));
        }
        let signed = Authenticated::read(d)?;
        let index = d.u64()?;
        let path_len = d.array()?.filter(|len| *len <= PATH_MAX);
        let path_len = path_len.ok_or_else(|| decode::Error::message("an audit path that is too long"))?;
        let path = (0..path_len).map(|_| read_bytes(d)).collect::<Result<_, _>>()?;
        let payload = d.bytes()?;
        cbor::scan(signed.payload).map_err(decode::Error::custom)?;
        let statement = decode(signed.payload)?;
        Ok((Self { signed, statement, index, path }, payload))
    }

    /// Checks that `payload` is in the batch and that `key` signed the batch.
    pub(super) fn check(
        &self,
        payload: &[u8],
        message: &Message<'_>,
        key: &PublicKey,
        roots: &mut RootMemory,
    ) -> Result<(), ProofError> {
        let Statement { root, count, recipient, epoch } = self.statement;
        if message.to != recipient || message.order.epoch() != epoch {
            return Err(ProofError::BatchDiffers);
        }
        let climbed = merkle::climb(merkle::leaf(payload), self.index, count, &self.path);
        if usize::try_from(count).map_or(true, |count| count > BATCH_MESSAGES_MAX) || climbed != Some(root) {
            return Err(ProofError::NotInBatch);
        }
        let name = RootMemory::name(&self.signed, key);
        if !roots.holds(&name) {
            check_signature(&self.signed, &cose::proof_aad(None), key)?;
            roots.remember(name);
        }
        Ok(())
    }
}

/// The signatures over roots that were checked last, so that a batch costs one verification and not 256.
///
/// An entry is a hash over key, header, statement and signature: a hit means that these very bytes have verified under
/// this very key.
#[derive(Debug, Default)]
pub struct RootMemory(VecDeque<Sha256>);

impl RootMemory {
    fn name(signed: &Authenticated<'_>, key: &PublicKey) -> Sha256 {
        sha256_parts(ROOT_DOMAIN, [key.spki_der(), signed.protected.bytes, signed.payload, signed.seal])
    }

    fn holds(&self, name: &Sha256) -> bool {
        self.0.contains(name)
    }

    fn remember(&mut self, name: Sha256) {
        if self.0.len() == ROOTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(name);
    }
}

/// Messages before the one signature over all of them.
#[derive(Clone, Debug)]
pub struct BatchDraft {
    protected: Vec<u8>,
    statement: Vec<u8>,
    payloads: Vec<(Vec<u8>, Timestamp)>,
    paths: Vec<Vec<Sha256>>,
    to: Party,
}

impl BatchDraft {
    /// Prepares `messages` to be signed by `key`, the operational key of their sender.
    ///
    /// # Errors
    /// When they are none, too many, or differ in recipient or epoch.
    pub fn new(messages: &[Message<'_>], key: &PublicKey) -> Result<Self, BatchError> {
        let first = messages.first().filter(|_| messages.len() <= BATCH_MESSAGES_MAX);
        let first = first.ok_or(BatchError::Count(messages.len()))?;
        let epoch = first.order.epoch();
        if messages.iter().any(|message| message.to != first.to || message.order.epoch() != epoch) {
            return Err(BatchError::Mixed);
        }
        let payloads: Vec<_> =
            messages.iter().map(|message| (cbor::encode(message), message.expires)).collect();
        let leaves: Vec<_> = payloads.iter().map(|(payload, _)| merkle::leaf(payload)).collect();
        let (root, paths) = merkle::tree(&leaves);
        let count = u64::try_from(messages.len()).map_err(|_| BatchError::Count(messages.len()))?;
        Ok(Self {
            protected: cose::protected(Algorithm::Signature(key.algorithm()), &key.id()),
            statement: cbor::encode(&Statement { root, count, recipient: first.to, epoch }),
            payloads,
            paths,
            to: first.to.to_owned(),
        })
    }

    /// The bytes that the key signs, in `SignatureForm::Fixed`.
    pub fn to_be_signed(&self) -> Vec<u8> {
        cose::sig_structure(&self.protected, &cose::proof_aad(None), &self.statement)
    }

    /// One object a message, in order.
    pub fn finish(self, signature: &[u8]) -> Vec<Proven> {
        let signed = Authenticated::write(cose::TAG_SIGN1, &self.protected, &self.statement, signature);
        let to = &self.to;
        (0u64..)
            .zip(self.payloads.iter().zip(&self.paths))
            .map(|(index, ((payload, expires), path))| Proven {
                object: write_object(&signed, index, path, payload),
                to: to.clone(),
                expires: *expires,
            })
            .collect()
    }
}

/// The array of KLP-28; `signed` is a whole CBOR item.
fn write_object(signed: &[u8], index: u64, path: &[Sha256], payload: &[u8]) -> Vec<u8> {
    let mut object = cose::write(signed.len() + payload.len() + 300, |e| e.array(4)?.ok());
    object.extend_from_slice(signed);
    let rest = cose::write(payload.len() + 300, |e| {
        e.u64(index)?.array(u64::try_from(path.len()).unwrap_or(u64::MAX))?;
        path.iter().try_for_each(|hash| e.bytes(hash).map(drop))?;
        e.bytes(payload)?.ok()
    });
    object.extend_from_slice(&rest);
    object
}
