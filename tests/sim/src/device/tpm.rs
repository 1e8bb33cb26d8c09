//! The TPM of a device that has one: what it offers, and what it states for a conversation.

use kos_attest::Binding;
use kos_base::Secret;
use kos_emulator::paper::{self, Said};
use kos_identity::enrolment::{
    device::KeySlot,
    message::{KeyCertificate, Offer, PcrQuote, Statement, TpmChallenge},
};

use super::Body;

/// The keys by which it proves itself; nothing without a TPM.
pub fn offer(body: &Body) -> Option<Offer> {
    let tpm = body.tpm.as_ref()?.borrow();
    Some(Offer { ek: tpm.ek_public().into(), ak: tpm.ak_public().into(), certificates: Vec::new() })
}

/// What it says of its identity key, of the operational key and of its start; nothing when a key is gone.
pub fn state(
    body: &Body,
    challenge: &TpmChallenge,
    binding: &Binding,
    operational: KeySlot,
) -> Option<Statement> {
    let tpm = body.tpm.as_ref()?.borrow();
    let certified = |slot: KeySlot| {
        let key = body.disk.now.signing(slot)?;
        let public = paper::signing(paper::KEY, key.public().raw());
        let Said { attest, signature } = tpm.certify(&public, binding.as_bytes());
        Some(KeyCertificate { public: public.into(), attest: attest.into(), signature: signature.into() })
    };
    let secret = tpm.activate(&challenge.credential, &challenge.seed)?;
    let Said { attest, signature } = tpm.quote(challenge.pcrs, binding.as_bytes());
    let values = tpm.values(challenge.pcrs).into();
    Some(Statement {
        answer: binding.answer(&Secret::new(secret)).into(),
        identity: certified(KeySlot::Identity)?,
        operational: certified(operational)?,
        quote: PcrQuote { attest: attest.into(), signature: signature.into(), values },
    })
}
