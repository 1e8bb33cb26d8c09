//! The key of its own that a device of SEC-1 has: how it is taken from the authority, and which one a renewal shows.
//!
//! Source: `docs/spec/own-key.md` OWN-4, OWN-7, OWN-9.

use kos_audit::EventType;
use kos_base::{
    Code, Secret, SecurityProfile, code,
    own_key::{SEAL_INFO, seal_aad},
};
use kos_identity::enrolment::device::KeySlot;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Device, deed::Setback, service::standing_of};

impl Device {
    /// Keeps a key of its own that the authority sealed for this device, durably (OWN-4).
    pub(super) fn take_own_key(&self, number: u32, sealed: &[u8]) -> Result<(), Code> {
        let (member, held) = self.serving().ok_or(code::enrolment::STATE_FORBIDS)?;
        let now = self.clock.now();
        let told = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, number, "a key of this device's own is not taken");
            code::token::OWN_KEY
        };
        let (enc, ciphertext) = sealed.split_first_chunk::<32>().ok_or_else(|| told(&"it is too short"))?;
        let agreement = self.keys.agreement(held.slot, now).map_err(|e| told(&e))?;
        let aad = seal_aad(&member.device, number);
        let opened = agreement.open(enc, SEAL_INFO, &aad, ciphertext).map_err(|e| told(&e))?;
        let key = <[u8; 32]>::try_from(opened.as_slice()).map(Zeroizing::new).map_err(|e| told(&e))?;
        let mut keys = self.keys.own_keys(now).map_err(|e| told(&e))?;
        if !keys.take(number, Secret::new(*key)) {
            return Ok(());
        }
        self.keys.keep_own_keys(&keys, now).map_err(|e| told(&e))?;
        self.note(EventType::KeyMade, json!({"key": "own", "number": number}));
        tracing::info!(number, "this device has a new key of its own");
        Ok(())
    }

    /// The key of its own that a renewal is bound to (OWN-7): the newest, after refusals the one before, then none (OWN-9).
    pub(super) fn own_key_of_renewal(&self, slot: KeySlot) -> Result<Option<Secret<32>>, Setback> {
        let Some(held) = self.machine.journal().active.as_ref() else { return Ok(None) };
        if slot != KeySlot::Operational(held.slot) || standing_of(held)?.profile != SecurityProfile::Sec1 {
            return Ok(None);
        }
        Ok(self
            .keys
            .own_keys(self.clock.now())?
            .chosen(self.service.renewals_refused)
            .map(|key| Secret::new(*key.expose())))
    }
}
