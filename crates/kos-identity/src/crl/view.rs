//! The answer for all issuers together: the newest list of each, and what was revoked since.

use std::{collections::BTreeMap, sync::Arc};

use kos_base::KeyId;

use super::{CrlError, VerifiedCrl};
use crate::{certificate::Serial, registry::RevocationReason};

/// What is known about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The newest list of its issuer that is held does not name it.
    Good,
    /// Taken back for good. No reason is one that kOS does not use.
    Revoked {
        /// Why.
        reason: Option<RevocationReason>,
    },
    /// On hold; may come back.
    Suspended,
    /// No list of its issuer is held.
    Unknown,
}

/// Everything that is known to be revoked, by issuer and serial number and by key. Cheap to clone: lists are shared.
#[derive(Clone, Debug, Default)]
pub struct RevocationView {
    lists: BTreeMap<KeyId, Arc<VerifiedCrl>>,
    certificates: BTreeMap<(KeyId, Serial), RevocationReason>,
    keys: BTreeMap<KeyId, RevocationReason>,
}

impl Status {
    /// The word that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked { .. } => "revoked",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
        }
    }
}

impl RevocationView {
    /// Takes a list over if it is newer than the one that is held. What [`RevocationView::revoke`] added stays.
    ///
    /// # Errors
    /// When a newer one is held; an attacker may be replaying.
    pub fn install(&mut self, list: VerifiedCrl) -> Result<(), CrlError> {
        if let Some(held) = self.lists.get(&list.issuer())
            && held.number() > list.number()
        {
            return Err(CrlError::Older { number: list.number(), held: held.number() });
        }
        self.lists.insert(list.issuer(), Arc::new(list));
        Ok(())
    }

    /// Revokes at once, before the next list says so, and the key under whatever certificate.
    pub fn revoke(&mut self, issuer: KeyId, serial: Serial, key: KeyId, reason: RevocationReason) {
        self.certificates.insert((issuer, serial), reason);
        self.keys.insert(key, reason);
    }

    /// Takes back what [`RevocationView::revoke`] did with reason [`RevocationReason::Hold`], and nothing else. A list
    /// that names the certificate still counts until a newer one is installed.
    pub fn release(&mut self, issuer: KeyId, serial: Serial, key: KeyId) {
        let held = Some(&RevocationReason::Hold);
        if self.certificates.get(&(issuer, serial)) == held {
            self.certificates.remove(&(issuer, serial));
        }
        if self.keys.get(&key) == held {
            self.keys.remove(&key);
        }
    }

    /// The newest list of an issuer that is held.
    pub fn list(&self, issuer: KeyId) -> Option<&VerifiedCrl> {
        self.lists.get(&issuer).map(AsRef::as_ref)
    }

    /// All lists, by issuer.
    pub fn lists(&self) -> impl Iterator<Item = &VerifiedCrl> {
        self.lists.values().map(AsRef::as_ref)
    }

    /// What is known about the certificate with this number, issuer and certified key. What is final wins over a hold.
    pub fn status(&self, serial: Serial, issuer: KeyId, key: KeyId) -> Status {
        let list = self.lists.get(&issuer);
        let reasons = [
            list.and_then(|list| list.find(serial)),
            self.certificates.get(&(issuer, serial)).copied().map(Some),
            self.keys.get(&key).copied().map(Some),
        ];
        let mut known = reasons.into_iter().flatten();
        match known.clone().find(|reason| *reason != Some(RevocationReason::Hold)) {
            Some(reason) => Status::Revoked { reason },
            None if known.next().is_some() => Status::Suspended,
            None if list.is_some() => Status::Good,
            None => Status::Unknown,
        }
    }
}
