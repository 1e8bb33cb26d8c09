//! What the authority keeps of a quarantine, from the order until the device is in service again.
//!
//! Shape: [`Operation::Quarantine`](super::Operation) opens a case, the device's record closes its first half, and
//! approvals of people its second. While a device has a case, nothing but a proof by its identity key after the last
//! approval brings it back: no ticket, no rule, no ordinary approval.
//!
//! Invariants: a person counts once, and only while they stand: whoever was removed or revoked since has approved nothing.
//! SEC-4 needs two, and only operators with certificates count for it, since root on the authority's machine can be any
//! user of the machine. Who approved is kept as a hash under a salt of the case: no list of names tells it.
//!
//! Source: `docs/spec/quarantine.md` QRN-1, QRN-22 to QRN-24.

use kos_base::{EntryId, Name, SecurityProfile, Timestamp, digest::sha256_parts};
use minicbor::{Decode, Encode, bytes::ByteArray};
use subtle::ConstantTimeEq as _;

use super::{Actor, OperateError};
use crate::enrolment::message::Bytes32;

/// A quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Case {
    /// The signed order, as it goes to the device; empty when the authority was restored since and does not have it.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub signed: Vec<u8>,
    /// Names the order.
    #[n(1)]
    pub order: EntryId,
    /// Hash of the receipt that the device sends back; the receipt itself is only in the order.
    #[n(2)]
    pub receipt_hash: Bytes32,
    /// When it was ordered.
    #[n(3)]
    pub at: Timestamp,
    /// When the device said that it had obeyed.
    #[n(4)]
    pub confirmed_at: Option<Timestamp>,
    /// The sealed bundle that came with it.
    #[n(5)]
    pub bundle: Option<Bundle>,
    /// Who has approved that the device comes back.
    #[n(6)]
    pub approvals: Vec<Approval>,
    /// Their salt; none while nobody has approved.
    #[n(7)]
    pub salt: Option<Bytes32>,
}

/// An operator who stands: not removed, and with a certificate that is not revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// Who it is.
    pub name: Name,
    /// Since when. What somebody else of that name approved before does not count.
    pub since: Timestamp,
}

/// What the shell knows when somebody approves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvers {
    /// Every operator who stands.
    pub standing: Vec<Approver>,
    /// Random; the salt of the case, if this is its first approval.
    pub salt: [u8; 32],
}

/// What is known of a sealed bundle. Its bytes are a file beside the store.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bundle {
    /// SHA-256 of the sealed bytes.
    #[n(0)]
    pub sha256: Bytes32,
    /// How many there are.
    #[n(1)]
    pub bytes: u32,
}

/// That somebody approved.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approval {
    /// Tells people apart, and names nobody: the log does, under seal.
    #[n(0)]
    pub by: Bytes32,
    /// When.
    #[n(1)]
    pub at: Timestamp,
}

impl Case {
    /// A case whose order is not known: the authority was restored from a backup that is older.
    pub(super) fn without_order(at: Timestamp) -> Self {
        Self {
            signed: Vec::new(),
            order: EntryId::from_parts(at, [0; 10]),
            receipt_hash: ByteArray::from([0; 32]),
            at,
            confirmed_at: None,
            bundle: None,
            approvals: Vec::new(),
            salt: None,
        }
    }

    /// How many different people must approve that a device of this profile comes back.
    pub const fn approvals_needed(profile: SecurityProfile) -> usize {
        match profile {
            SecurityProfile::Sec0 | SecurityProfile::Sec1 | SecurityProfile::Sec2 | SecurityProfile::Sec3 => {
                1
            }
            SecurityProfile::Sec4 => 2,
        }
    }

    /// Whether enough people have approved for a device of this profile.
    pub fn is_approved(&self, profile: SecurityProfile) -> bool {
        self.approvals.len() >= Self::approvals_needed(profile)
    }

    /// Whether this is the receipt of the order.
    pub fn is_receipt(&self, receipt: &[u8; 32]) -> bool {
        let hash = crate::quarantine::receipt_hash(receipt);
        !self.signed.is_empty() && bool::from(hash.as_slice().ct_eq(self.receipt_hash.as_slice()))
    }

    /// Whether this person has approved.
    pub fn is_approved_by(&self, actor: &Actor) -> bool {
        self.mark(actor).is_some_and(|by| self.approvals.iter().any(|approval| approval.by == by))
    }

    /// Puts `instead`, which is random, in the place of what tells this person: the approval stays, and is nobody's.
    pub fn forget(&mut self, actor: &Actor, instead: [u8; 32]) {
        let Some(by) = self.mark(actor) else { return };
        for approval in self.approvals.iter_mut().filter(|approval| approval.by == by) {
            approval.by = instead.into();
        }
    }

    /// What tells this person from others in this case; nothing for whoever is none, and while there is no salt.
    fn mark(&self, actor: &Actor) -> Option<Bytes32> {
        let (kind, name) = match actor {
            Actor::Operator(name) => ("operator", name.as_ref()),
            Actor::LocalUser(user) => ("local-user", user.as_str()),
            Actor::Authority | Actor::Device(_) | Actor::Agent(_) | Actor::Unknown(_) => return None,
        };
        let parts = [self.salt.as_ref()?.as_slice(), kind.as_bytes(), name.as_bytes()];
        Some(sha256_parts("kos quarantine approver v1", parts).into())
    }

    /// Takes an approval, and drops those of people who do not stand any more.
    pub(super) fn approve(
        &mut self,
        now: Timestamp,
        actor: &Actor,
        profile: SecurityProfile,
        approvers: &Approvers,
    ) -> Result<(), OperateError> {
        if matches!(actor, Actor::LocalUser(_)) && profile >= SecurityProfile::Sec4 {
            return Err(OperateError::Approver);
        }
        self.salt.get_or_insert_with(|| approvers.salt.into());
        let by = self.mark(actor).ok_or(OperateError::Approver)?;
        let stands = approvers.standing.iter().filter_map(|approver| {
            Some((self.mark(&Actor::Operator(approver.name.clone()))?, approver.since))
        });
        let stands: Vec<_> = stands.collect();
        self.approvals.retain(|given| stands.iter().any(|(by, since)| given.by == *by && *since <= given.at));
        if self.approvals.iter().any(|approval| approval.by == by) {
            return Err(OperateError::ApprovedAlready);
        }
        self.approvals.push(Approval { by, at: now });
        Ok(())
    }
}
