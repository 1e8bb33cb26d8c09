//! What is recorded when something changes: the registry's changes, and those of the authority itself.
//!
//! `event_of` turns each change into exactly one entry of the audit log. It has no wildcard arm, so a new change
//! does not compile until somebody has decided what the log says about it.

mod event;

use std::collections::BTreeSet;

use kos_api::operator::OperatorRole;
use kos_base::{DeviceId, EntryId, GroupPath, KeyId, Mac, Name, Role, SecurityProfile, Timestamp};
use kos_identity::{enrolment::authority::RuleName, registry};

pub(crate) use self::event::{About, Draft, Person, event_of};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// To a device, ticket or certificate.
    Registry(registry::Change),
    /// To the authority itself.
    System(SystemChange),
}

impl From<registry::Change> for Change {
    fn from(change: registry::Change) -> Self {
        Self::Registry(change)
    }
}

impl From<SystemChange> for Change {
    fn from(change: SystemChange) -> Self {
        Self::System(change)
    }
}

/// One thing that happened to the authority itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named after what they are, and each variant says what happened"
)]
pub enum SystemChange {
    /// It made its keys and began its log.
    Created { root: KeyId, kid: KeyId, orders: KeyId },
    /// An issuing CA got its certificate.
    IssuerCertified { issuer: KeyId, serial: Vec<u8>, not_after: Timestamp },
    /// It got a certificate for its TLS port.
    OwnCertified { serial: Vec<u8>, key: KeyId, not_after: Timestamp },
    /// It began to serve.
    Started { version: &'static str },
    /// It ended in order.
    Stopped,
    /// It lets in by a rule that it did not have when it ran before.
    RuleAdded {
        rule: RuleName,
        serials: BTreeSet<String>,
        macs: BTreeSet<Mac>,
        keys: BTreeSet<KeyId>,
        roles: BTreeSet<Role>,
        profile: SecurityProfile,
    },
    /// It lets in by this rule no more.
    RuleRemoved { rule: RuleName },
    /// It listens elsewhere.
    ListenChanged { address: String, advertise: Option<String> },
    /// A backup left.
    BackupCreated { sealed_to: &'static str },
    /// A backup was put in its place; the log went on from there.
    Restored { backup_at: Timestamp, backup_size: u64 },
    /// The record of a device took over what a newer log says.
    DeviceRestored { device: DeviceId },
    /// It serves again.
    RestoreOpened { merged: u64, loss: bool },
    /// A revocation list was signed.
    CrlPublished { issuer: KeyId, number: u64, entries: u64 },
    /// An operator got a certificate.
    OperatorAdded { operator: EntryId, name: Name, role: OperatorRole, key: KeyId },
    /// An operator's certificate was revoked.
    OperatorRemoved { operator: EntryId, name: Name, key: KeyId },
    /// A waiting device was forgotten.
    DeviceForgotten { device: DeviceId },
    /// A device was put into a group.
    DeviceGrouped { device: DeviceId, group: GroupPath },
    /// A device reports again.
    DeviceOnline { device: DeviceId },
    /// A device has missed its heartbeats.
    DeviceOffline { device: DeviceId, last_heartbeat_at: Timestamp },
    /// A device's certificate passed its renewal point.
    DeviceRenewalDue { device: DeviceId, issue: u32, not_after: Timestamp },
    /// A device's certificate ran out.
    DeviceExpired { device: DeviceId, issue: u32, not_after: Timestamp },
}
