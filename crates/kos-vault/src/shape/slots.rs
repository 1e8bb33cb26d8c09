//! Slots in JSON.

use kos_base::AgreementKey;
use serde::{Deserialize, Serialize};

use super::{
    parse_name,
    text::{Base64, Base64Bytes, present},
    time,
};
use crate::{
    KeySource, PASSPHRASE_SLOTS_MAX, Passkey, SLOTS_MAX, SlotInfo, SlotKind, VaultError, Work, slot::Slot,
};

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DerivationShape {
    algorithm: String,
    iterations: u32,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    memory_kib: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    parallelism: Option<u32>,
    salt: Base64<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SlotShape {
    name: String,
    kind: String,
    created: u64,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    derivation: Option<DerivationShape>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    recipient: Option<Base64<32>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    ephemeral: Option<Base64<32>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    credential_id: Option<Base64Bytes>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    relying_party: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    prf_salt: Option<Base64<32>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    salt: Option<Base64<32>>,
    commitment: Base64<32>,
    iv: Base64<12>,
    wrapped: Base64<32>,
    tag: Base64<16>,
}

/// Number, names and cost of slots.
pub(super) fn check_slots(slots: &[Slot]) -> Result<(), VaultError> {
    if slots.is_empty() || slots.len() > SLOTS_MAX {
        return Err(VaultError::malformed("no slot, or more than 16"));
    }
    let works: Vec<Work> = slots.iter().filter_map(work).collect();
    if works.len() > PASSPHRASE_SLOTS_MAX {
        return Err(VaultError::TooHeavy("more than 4 passphrases"));
    }
    works.into_iter().try_for_each(Work::admit)?;
    let mut names: Vec<&str> = slots.iter().map(|slot| slot.info.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(VaultError::malformed("two slots of one name"));
    }
    Ok(())
}

const fn work(slot: &Slot) -> Option<Work> {
    match slot.info.kind {
        SlotKind::Passphrase(work) => Some(work),
        SlotKind::Key(_) | SlotKind::Offline(_) | SlotKind::Passkey => None,
    }
}

pub(super) fn first_derivation(slots: &[Slot]) -> Option<DerivationShape> {
    slots.iter().find_map(|slot| work(slot).map(|work| DerivationShape::of(work, slot.salt)))
}

impl DerivationShape {
    fn of(work: Work, salt: [u8; 32]) -> Self {
        let (algorithm, iterations, memory_kib, parallelism) = match work {
            Work::Argon2id { iterations, memory_kib, parallelism } => {
                (Work::ARGON2ID, iterations, Some(memory_kib), Some(parallelism))
            }
            Work::Pbkdf2 { iterations } => (Work::PBKDF2, iterations, None, None),
        };
        Self { algorithm: algorithm.to_owned(), iterations, memory_kib, parallelism, salt: Base64(salt) }
    }

    fn read(&self) -> Result<Work, VaultError> {
        match (self.algorithm.as_str(), self.memory_kib, self.parallelism) {
            (Work::ARGON2ID, Some(memory_kib), Some(parallelism)) => {
                Ok(Work::Argon2id { iterations: self.iterations, memory_kib, parallelism })
            }
            (Work::PBKDF2, None, None) => Ok(Work::Pbkdf2 { iterations: self.iterations }),
            _ => Err(VaultError::malformed("a derivation that is neither Argon2id nor PBKDF2")),
        }
    }
}

impl SlotShape {
    pub(super) fn read(self) -> Result<Slot, VaultError> {
        let passkey = match (self.credential_id, self.relying_party, self.prf_salt) {
            (None, None, None) => None,
            (Some(credential), Some(relying_party), Some(prf_salt)) => {
                let relying_party = relying_party.parse().ok();
                let passkey = relying_party.and_then(|party| Passkey::new(credential.0, party, prf_salt.0));
                Some(passkey.ok_or_else(|| VaultError::malformed("a passkey that WebAuthn does not know"))?)
            }
            _ => return Err(VaultError::malformed("a passkey that is not told whole")),
        };
        if passkey.is_some() != (self.kind == "passkey") {
            return Err(VaultError::malformed("a passkey in a slot of another kind, or none in its slot"));
        }
        let own = (self.derivation, self.source, self.recipient, self.ephemeral, self.salt);
        let (kind, ephemeral, salt) = match (self.kind.as_str(), own) {
            ("passphrase", (Some(derivation), None, None, None, None)) => {
                (SlotKind::Passphrase(derivation.read()?), [0; 32], derivation.salt)
            }
            ("key", (None, Some(source), None, None, Some(salt))) => {
                let source = KeySource::ALL.into_iter().find(|known| known.as_str() == source);
                let source = source.ok_or_else(|| VaultError::malformed("a key of unknown source"))?;
                (SlotKind::Key(source), [0; 32], salt)
            }
            ("offline", (None, None, Some(recipient), Some(ephemeral), Some(salt))) => {
                (SlotKind::Offline(AgreementKey(recipient.0)), ephemeral.0, salt)
            }
            ("passkey", (None, None, None, None, Some(salt))) => (SlotKind::Passkey, [0; 32], salt),
            _ => {
                return Err(VaultError::malformed(
                    "a slot of unknown kind, or with other members than its kind has",
                ));
            }
        };
        Ok(Slot {
            info: SlotInfo { name: parse_name(&self.name)?, kind, created: time(self.created)? },
            salt: salt.0,
            ephemeral,
            passkey,
            commitment: self.commitment.0,
            iv: self.iv.0,
            wrapped: self.wrapped.0,
            tag: self.tag.0,
        })
    }

    pub(super) fn of(slot: &Slot) -> Self {
        let mut shape = Self {
            name: slot.info.name.to_string(),
            kind: String::new(),
            created: slot.info.created.unix_ms(),
            derivation: None,
            source: None,
            recipient: None,
            ephemeral: None,
            credential_id: None,
            relying_party: None,
            prf_salt: None,
            salt: None,
            commitment: Base64(slot.commitment),
            iv: Base64(slot.iv),
            wrapped: Base64(slot.wrapped),
            tag: Base64(slot.tag),
        };
        match slot.info.kind {
            SlotKind::Passphrase(work) => {
                "passphrase".clone_into(&mut shape.kind);
                shape.derivation = Some(DerivationShape::of(work, slot.salt));
            }
            SlotKind::Key(source) => {
                "key".clone_into(&mut shape.kind);
                shape.source = Some(source.as_str().to_owned());
                shape.salt = Some(Base64(slot.salt));
            }
            SlotKind::Offline(recipient) => {
                "offline".clone_into(&mut shape.kind);
                shape.recipient = Some(Base64(recipient.0));
                shape.ephemeral = Some(Base64(slot.ephemeral));
                shape.salt = Some(Base64(slot.salt));
            }
            SlotKind::Passkey => {
                "passkey".clone_into(&mut shape.kind);
                shape.salt = Some(Base64(slot.salt));
                if let Some(passkey) = &slot.passkey {
                    shape.credential_id = Some(Base64Bytes(passkey.credential().to_vec()));
                    shape.relying_party = Some(passkey.relying_party().to_string());
                    shape.prf_salt = Some(Base64(*passkey.prf_salt()));
                }
            }
        }
        shape
    }
}
