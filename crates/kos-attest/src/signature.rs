//! Signatures of an attestation key.
//!
//! Shape: TPMT_SIGNATURE: algorithm, SHA-256, then two numbers of at most 32 bytes (ECDSA) or one of 256 (RSASSA).
//!
//! Source: TPM 2.0 Library, part 2, 11.3; `docs/spec/attestation.md` ATT-11.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use kos_base::key::SignatureForm;

use crate::{
    AttestError,
    public::{ALG_ECDSA, ALG_RSASSA, ALG_SHA256, COORDINATE_BYTES, SigningPublic},
    reader::Reader,
};

const RSA_BYTES: usize = 256;

/// Whether `key` signed `message`.
pub(crate) fn verify(
    key: &SigningPublic,
    message: &[u8],
    signature: &[u8],
    what: &'static str,
) -> Result<(), AttestError> {
    let mut reader = Reader::new(signature, "a signature");
    let bad = AttestError::Signature(what);
    match key {
        SigningPublic::Ecdsa(key) => {
            reader.exactly(ALG_ECDSA)?;
            reader.exactly(ALG_SHA256)?;
            let mut fixed = [0; 2 * COORDINATE_BYTES];
            let (r, s) = fixed.split_at_mut(COORDINATE_BYTES);
            for place in [r, s] {
                let number = reader.buffer(COORDINATE_BYTES)?;
                let at = COORDINATE_BYTES.saturating_sub(number.len());
                place.get_mut(at..).unwrap_or_default().copy_from_slice(number);
            }
            reader.end()?;
            key.verify(SignatureForm::Fixed, message, &fixed).map_err(|_| bad)
        }
        SigningPublic::Rsassa { modulus, exponent } => {
            reader.exactly(ALG_RSASSA)?;
            reader.exactly(ALG_SHA256)?;
            let number = reader.buffer(RSA_BYTES)?;
            reader.end()?;
            let exponent = exponent.to_be_bytes();
            let at = exponent.iter().position(|byte| *byte != 0).ok_or(bad)?;
            let exponent = exponent.get(at..).unwrap_or_default();
            let key = RsaPublicKeyComponents { n: modulus.as_slice(), e: exponent };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, message, number).map_err(|_| bad)
        }
    }
}
