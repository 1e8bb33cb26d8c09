//! Encryption of a proven object to its recipient: HPKE inside a COSE_Encrypt0.
//!
//! HPKE draws randomness to seal and needs a private key to open, so both are done by the shell: this module makes the
//! request, with everything that must be bound, and puts the answer into its form. The proof is inside the encryption,
//! and the recipient inside the proof and in the additional data: nobody can pass a message on as meant for a third.
//!
//! ```text
//! COSE_Encrypt0 [{1: 42 HPKE-4, 4: key id of the agreement key}, {-4: enc 32 B}, ciphertext]
//! info "kos klp seal v1"    aad Enc_structure with external ["kos klp", 1, recipient]
//! ```
//!
//! Errors: an object that does not open is treated as never received; the usual cause is an agreement key that has been
//! replaced since.
//!
//! Source: `docs/spec/klp.md` KLP-32 to KLP-35; RFC 9180; `tests/vectors/klp/golden`; judged by pyhpke.

use kos_base::{AgreementKey, Code, KeyId, Timestamp, cbor::scan, digest::sha256};
use minicbor::Decoder;

use crate::{
    cose::{self, Algorithm, Encrypted, PRODUCT, VERSION},
    frame::{self, FRAME_BYTES_MAX, FrameError, Hop},
    party::{Party, PartyRef},
    proof::{Envelope, Proven, Sealing},
};

/// `info` of every sealing (KLP-34).
pub const HPKE_INFO: &[u8] = b"kos klp seal v1";

/// DER of an X25519 SubjectPublicKeyInfo up to the key (RFC 8410).
const X25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00];

/// Key id of an agreement key: SHA-256 of its SubjectPublicKeyInfo.
pub fn agreement_key_id(key: &AgreementKey) -> KeyId {
    let mut spki = [0; 44];
    let (head, raw) = spki.split_at_mut(X25519_SPKI.len());
    head.copy_from_slice(&X25519_SPKI);
    raw.copy_from_slice(&key.0);
    KeyId::from_bytes(sha256(&spki))
}

/// What the shell seals: HPKE base mode, single shot.
#[derive(Clone, Debug)]
pub struct SealRequest {
    recipient: AgreementKey,
    protected: Vec<u8>,
    aad: Vec<u8>,
    proven: Proven,
}

impl SealRequest {
    /// Asks for `proven` to be encrypted to the agreement key in its recipient's kID.
    pub fn new(proven: Proven, recipient: AgreementKey) -> Self {
        let protected = cose::protected(Algorithm::Hpke, &agreement_key_id(&recipient));
        let aad = aad(&protected, proven.to.as_party());
        Self { recipient, protected, aad, proven }
    }

    /// The public key to seal to.
    pub const fn recipient(&self) -> &AgreementKey {
        &self.recipient
    }

    /// HPKE's `info`.
    pub const fn info(&self) -> &'static [u8] {
        HPKE_INFO
    }

    /// HPKE's `aad`.
    pub fn aad(&self) -> &[u8] {
        &self.aad
    }

    /// What to seal.
    pub fn plaintext(&self) -> &[u8] {
        &self.proven.object
    }

    /// Takes HPKE's `enc` and ciphertext, and gives the frame.
    ///
    /// # Errors
    /// When the frame would be too long.
    pub fn finish(self, encapsulated: [u8; 32], ciphertext: &[u8]) -> Result<Vec<u8>, FrameError> {
        let object = Encrypted::write(&self.protected, &encapsulated, ciphertext);
        frame::write(&Hop::to(self.proven.to.as_party(), self.proven.expires), &object)
    }
}

/// An object that only its recipient can open.
#[derive(Clone, Debug)]
pub struct EncryptedEnvelope<'a> {
    encrypted: Encrypted<'a>,
    to: PartyRef<'a>,
    expires: Option<Timestamp>,
}

/// What the shell opens: HPKE base mode, single shot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest<'a> {
    /// Which of the recipient's agreement keys.
    pub recipient: KeyId,
    /// HPKE's `enc`.
    pub encapsulated: [u8; 32],
    /// HPKE's `info`.
    pub info: &'static [u8],
    /// HPKE's `aad`.
    pub aad: Vec<u8>,
    /// What to open.
    pub ciphertext: &'a [u8],
}

/// The frame is for somebody else, or its private key is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("encrypted to `{0}`, not to this node")]
pub struct NotForUs(Party);

impl NotForUs {
    /// The stable code.
    pub const fn code(&self) -> Code {
        kos_base::code::klp::KLP_RECIPIENT
    }
}

impl<'a> EncryptedEnvelope<'a> {
    pub(crate) fn read(object: &'a [u8], hop: &Hop<'a>) -> Result<Self, FrameError> {
        let d = &mut Decoder::new(object);
        cose::read_tag(d)?;
        let encrypted = Encrypted::read(d)?;
        let to =
            hop.to.ok_or_else(|| FrameError::Shape("an encrypted object without recipient".to_owned()))?;
        Ok(Self { encrypted, to, expires: hop.expires })
    }

    /// Whom it claims to be for.
    pub const fn to(&self) -> PartyRef<'a> {
        self.to
    }

    /// What the shell of `own` must open.
    ///
    /// # Errors
    /// When it is for somebody else; relay it or drop it.
    pub fn open_request(&self, own: PartyRef<'_>) -> Result<OpenRequest<'a>, NotForUs> {
        if self.to != own {
            return Err(NotForUs(self.to.to_owned()));
        }
        Ok(OpenRequest {
            recipient: self.encrypted.protected.key_id,
            encapsulated: self.encrypted.encapsulated,
            info: HPKE_INFO,
            aad: aad(self.encrypted.protected.bytes, self.to),
            ciphertext: self.encrypted.ciphertext,
        })
    }

    /// Reads what came out. Anybody can seal to a public key: nothing is known about the sender before the proof inside
    /// has been checked.
    ///
    /// # Errors
    /// When it is not a proven object, or the hop differs from it.
    pub fn opened<'p>(&self, plaintext: &'p [u8]) -> Result<Envelope<'p>, FrameError> {
        if plaintext.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(plaintext.len()));
        }
        scan(plaintext)?;
        let envelope = Envelope::read(plaintext, Sealing::Encrypted)?;
        let message = envelope.unverified();
        if message.to != self.to || self.expires.is_some_and(|at| at != message.expires) {
            return Err(FrameError::HopDiffers);
        }
        Ok(envelope)
    }
}

fn aad(protected: &[u8], to: PartyRef<'_>) -> Vec<u8> {
    let external = cose::write(64, |e| e.array(3)?.str(PRODUCT)?.u8(VERSION)?.str(to.as_str())?.ok());
    cose::enc_structure(protected, &external)
}
