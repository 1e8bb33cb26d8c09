//! SOLO: a COSE_Sign1 of its own.
//!
//! Source: `docs/spec/klp.md` KLP-25 to KLP-27.

use kos_base::{PublicKey, Timestamp, cbor::encode};

use super::Proven;
use crate::{
    cose::{self, Algorithm, Authenticated},
    message::{Message, MessageType},
    party::Party,
};

/// A message before its signature.
#[derive(Clone, Debug)]
pub struct SoloDraft {
    protected: Vec<u8>,
    payload: Vec<u8>,
    kind: MessageType,
    to: Party,
    expires: Timestamp,
}

impl SoloDraft {
    /// Prepares `message` to be signed by `key`, the operational key of its sender.
    pub fn new(message: &Message<'_>, key: &PublicKey) -> Self {
        Self {
            protected: cose::protected(Algorithm::Signature(key.algorithm()), &key.id()),
            payload: encode(message),
            kind: message.kind,
            to: message.to.to_owned(),
            expires: message.expires,
        }
    }

    /// The bytes that the key signs, in `SignatureForm::Fixed`.
    pub fn to_be_signed(&self) -> Vec<u8> {
        cose::sig_structure(&self.protected, &cose::proof_aad(Some(self.kind)), &self.payload)
    }

    /// The signed object. Whether the signature is right shows when somebody verifies it.
    pub fn finish(self, signature: &[u8]) -> Proven {
        let object = Authenticated::write(cose::TAG_SIGN1, &self.protected, &self.payload, signature);
        Proven { object, to: self.to, expires: self.expires }
    }
}
