//! From the shared secret to the keys of a channel, and AES-256-GCM under them.
//!
//! Source: `docs/spec/klp.md` KLP-55, KLP-56, KLP-60.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use kos_base::{Secret, digest::Sha256};

use super::{
    ChannelError,
    exchange::{ChannelRole, DOMAIN},
};
use crate::derivation::{DerivationError, Root};

/// Nonce of a key that encrypts one plaintext.
const ONLY: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// What all keys of a channel come from.
pub(super) struct Schedule(Root);

impl Schedule {
    pub(super) fn new(transcript: &Sha256, shared: &Secret<32>) -> Result<Self, ChannelError> {
        if shared == &Secret::new([0; 32]) {
            return Err(ChannelError::NoSecret);
        }
        Ok(Self(Root::extract(transcript, shared)))
    }

    fn key(&self, label: &str) -> Result<Secret<32>, DerivationError> {
        expand(&self.0, label)
    }

    /// Seals the statement of reply (`"reply"`) or finish (`"finish"`).
    pub(super) fn seal(&self, label: &str, head: &[u8], statement: &[u8]) -> Result<Vec<u8>, ChannelError> {
        seal(&AeadKey::new(&self.key(label)?)?, ONLY, head, statement)
    }

    /// Opens it.
    pub(super) fn open(&self, label: &str, head: &[u8], sealed: &[u8]) -> Result<Vec<u8>, ChannelError> {
        open(&AeadKey::new(&self.key(label)?)?, ONLY, head, sealed)
    }

    /// The secret of generation 0 for records of `role`.
    pub(super) fn records(&self, role: ChannelRole) -> Result<Secret<32>, DerivationError> {
        self.key(role.as_str())
    }

    /// The channel's link secret.
    pub(super) fn exporter(&self) -> Result<Secret<32>, DerivationError> {
        self.key("exporter")
    }
}

fn expand<const N: usize>(root: &Root, label: &str) -> Result<Secret<N>, DerivationError> {
    root.expand(&[DOMAIN.as_bytes(), b" ", label.as_bytes()])
}

/// A secret of one generation and what comes from it.
pub(super) struct Generation {
    secret: Secret<32>,
    pub(super) keys: RecordKeys,
}

/// Key and iv of one generation.
pub(super) struct RecordKeys {
    key: AeadKey,
    iv: Secret<NONCE_LEN>,
}

impl Generation {
    pub(super) fn new(secret: Secret<32>) -> Result<Self, ChannelError> {
        let root = Root::from_secret(&secret);
        let keys = RecordKeys { key: AeadKey::new(&expand(&root, "key")?)?, iv: expand(&root, "iv")? };
        Ok(Self { secret, keys })
    }

    /// The generation after this one; this one's secret cannot be found from it.
    pub(super) fn next(&self) -> Result<Self, ChannelError> {
        Self::new(expand(&Root::from_secret(&self.secret), "next")?)
    }
}

impl RecordKeys {
    fn nonce(&self, sequence: u64) -> [u8; NONCE_LEN] {
        let mut nonce = *self.iv.expose();
        for (byte, part) in nonce.iter_mut().rev().zip(sequence.to_le_bytes()) {
            *byte ^= part;
        }
        nonce
    }

    pub(super) fn seal(&self, sequence: u64, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, ChannelError> {
        seal(&self.key, self.nonce(sequence), aad, plaintext)
    }

    pub(super) fn open(&self, sequence: u64, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, ChannelError> {
        open(&self.key, self.nonce(sequence), aad, sealed)
    }
}

struct AeadKey(LessSafeKey);

impl AeadKey {
    fn new(key: &Secret<32>) -> Result<Self, DerivationError> {
        UnboundKey::new(&AES_256_GCM, key.expose())
            .map(LessSafeKey::new)
            .map(Self)
            .map_err(|_| DerivationError)
    }
}

fn seal(
    key: &AeadKey,
    nonce: [u8; NONCE_LEN],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, ChannelError> {
    let mut out = Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len());
    out.extend_from_slice(plaintext);
    let sealed =
        key.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out);
    sealed.map(|()| out).map_err(|_| ChannelError::Size(plaintext.len()))
}

fn open(key: &AeadKey, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, ChannelError> {
    let mut out = sealed.to_vec();
    let opened = key.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out);
    let length = opened.map_err(|_| ChannelError::Sealed)?.len();
    out.truncate(length);
    Ok(out)
}
