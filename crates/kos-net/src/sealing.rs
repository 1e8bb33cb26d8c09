//! Payloads that only one recipient reads: carries out what [`kos_klp::encryption`] asks for.
//!
//! [`seal`] makes the frame of a signed message for relays and stores, [`unseal`] gives the object inside back to
//! [`EncryptedEnvelope::opened`]. What was opened says nothing about its sender before its proof has been checked.
//!
//! No forward secrecy: whoever gets the agreement key later reads what was recorded. [`crate::channel`] has it.
//!
//! Source: `docs/spec/klp.md` KLP-32 to KLP-35.

use kos_base::{Code, KeyId};
use kos_klp::{
    encryption::{EncryptedEnvelope, NotForUs, SealRequest, agreement_key_id},
    frame::FrameError,
    party::PartyRef,
};
use zeroize::Zeroizing;

use crate::keys::{self, AgreementSecret, HpkeSealed, KeyError};

/// Why nothing was sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// It is for somebody else. Pass it on or drop it.
    #[error(transparent)]
    NotForUs(#[from] NotForUs),
    /// It was sealed to another key of ours. Try the one before, where it is kept; else the sender must look ours up.
    #[error("sealed to the agreement key {0}")]
    OtherKey(KeyId),
    /// It was changed on its way, or the key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The frame would be too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl SealingError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotForUs(error) => error.code(),
            Self::OtherKey(_) => kos_base::code::klp::KLP_DECRYPT,
            Self::Key(error) => error.code(),
            Self::Frame(error) => error.code(),
        }
    }
}

/// The frame of a message for relays, sealed to its recipient.
///
/// # Errors
/// When the recipient's key is not usable, there is no randomness, or the frame would be too long.
pub fn seal(request: SealRequest) -> Result<Vec<u8>, SealingError> {
    let (info, aad, plaintext) = (request.info(), request.aad(), request.plaintext());
    let HpkeSealed { enc, ciphertext } = keys::seal(*request.recipient(), info, aad, plaintext)?;
    Ok(request.finish(enc, &ciphertext)?)
}

/// The object inside, for [`EncryptedEnvelope::opened`].
///
/// # Errors
/// When it is not for `own`, not for this key, or was changed. Treat it as never received.
pub fn unseal(
    envelope: &EncryptedEnvelope<'_>,
    own: PartyRef<'_>,
    key: &AgreementSecret,
) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    let request = envelope.open_request(own)?;
    if request.recipient != agreement_key_id(&key.public()) {
        return Err(SealingError::OtherKey(request.recipient));
    }
    Ok(key.open(&request.encapsulated, request.info, &request.aad, request.ciphertext)?)
}
