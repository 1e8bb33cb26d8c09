//! What the TPM that has the device's keys says of itself and of them.
//!
//! Invariants: nothing is offered unless the identity key is in the TPM and new keys are made there, by the settings.
//!
//! Source: `docs/spec/attestation.md` ATT-1 to ATT-5.

use kos_base::Timestamp;
use kos_hardware::{
    HardwareError,
    tpm::{KeyCertificate, Pcrs, Tpm},
};
use kos_identity::enrolment::{
    device::{Binding, KeySlot, Slot},
    message::{self, Offer, PcrQuote, Statement, TpmChallenge},
};
use kos_keyring::{Home, Signers};

use super::{Keystore, KeystoreError};

impl Keystore {
    /// The keys by which the TPM proves itself; nothing when the device's own are elsewhere, or the TPM does not give them.
    ///
    /// # Errors
    /// When the TPM is gone, or the vault cannot be read.
    pub(crate) fn offer(&self, now: Timestamp) -> Result<Option<Offer>, KeystoreError> {
        let slot = KeySlot::Identity;
        let in_tpm = |home| home == Home::Tpm;
        if !in_tpm(self.signers.home()) || !in_tpm(Signers::home_of(&self.get(slot, now)?)) {
            return Ok(None);
        }
        match self.tpm(slot)?.endorsement() {
            Ok(endorsement) => Ok(Some(Offer {
                ek: endorsement.ek.into(),
                ak: endorsement.ak.into(),
                certificates: endorsement.certificate.into_iter().map(Into::into).collect(),
            })),
            Err(error @ HardwareError::Refused(_)) => {
                tracing::warn!(%error, "the TPM is not offered as proof");
                Ok(None)
            }
            Err(error) => Err(refused(slot, error)),
        }
    }

    /// Lets the TPM open a challenge, certify the identity key and the operational key in `slot`, and quote.
    ///
    /// # Errors
    /// When the TPM is gone or refuses: the challenge may be for another one.
    pub(crate) fn attest(
        &self,
        challenge: &TpmChallenge,
        binding: Binding,
        slot: Slot,
        now: Timestamp,
    ) -> Result<Statement, KeystoreError> {
        let slot = KeySlot::Operational(slot);
        let tpm = self.tpm(slot)?;
        let secret = tpm.activate(&challenge.credential, &challenge.seed).map_err(|e| refused(slot, e))?;
        let certified = |slot: KeySlot| {
            let kept = self.get(slot, now)?;
            let said = tpm.certify(kept.expose(), binding.as_bytes()).map_err(|e| refused(slot, e))?;
            let KeyCertificate { public, attest, signature } = said;
            Ok::<_, KeystoreError>(message::KeyCertificate {
                public: public.into(),
                attest: attest.into(),
                signature: signature.into(),
            })
        };
        let (identity, operational) = (certified(KeySlot::Identity)?, certified(slot)?);
        let pcrs = Pcrs::from_bits(challenge.pcrs).unwrap_or_default();
        let quote = tpm.quote(pcrs, binding.as_bytes()).map_err(|e| refused(slot, e))?;
        let quote = PcrQuote {
            attest: quote.attest.into(),
            signature: quote.signature.into(),
            values: quote.values.into(),
        };
        Ok(Statement { answer: binding.answer(&secret).into(), identity, operational, quote })
    }

    fn tpm(&self, slot: KeySlot) -> Result<Tpm, KeystoreError> {
        self.signers.tpm().map_err(|source| KeystoreError::Signer { slot, source })
    }
}

fn refused(slot: KeySlot, error: HardwareError) -> KeystoreError {
    KeystoreError::Signer { slot, source: error.into() }
}
