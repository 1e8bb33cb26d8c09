//! What the entries of a newer log mean for the records of an older backup.
//!
//! Everything that takes rights away is applied. What gives rights, and needs more than a log can hold (keys, tickets,
//! operators), has to be given again.
//!
//! Shape: [`Effects::see`] takes the entries in order, each of which this log's key signed; what is left is applied record
//! by record. An entry whose details are not ours to read changes nothing but what its type alone says.

use std::collections::{BTreeMap, BTreeSet};

use kos_audit::{Entry, EventType, Target};
use kos_base::{Capability, DeviceId, DeviceState, EntryId, KeyId, SecurityProfile, Timestamp};
use kos_identity::{
    certificate::IssuerClass,
    registry::{Certified, Missed, RevocationReason},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What happened after the backup.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To each device.
    pub(super) devices: BTreeMap<DeviceId, Story>,
    /// Certificates that were revoked and not released again, by serial number.
    pub(super) revoked: BTreeMap<Vec<u8>, Revoked>,
    /// People who were erased, by subject.
    pub(super) erased: BTreeSet<String>,
    /// Operators that were removed, and the subject under which the log said so.
    pub(super) operators_removed: Vec<(EntryId, Option<String>)>,
    /// Endorsement keys that were taken from the list.
    pub(super) eks_removed: BTreeSet<KeyId>,
    /// Golden sets that were removed, by name.
    pub(super) golden_removed: BTreeSet<String>,
    /// Devices that are no second verifiers any more.
    pub(super) verifiers_removed: BTreeSet<DeviceId>,
    /// Guardians that were removed, by name; people by the subject under which the log said so.
    pub(super) guardians_removed: BTreeSet<String>,
    pub(super) people_dismissed: BTreeSet<String>,
    /// How enforcement modules were wanted last, by module and profile.
    pub(super) modules: BTreeMap<(String, SecurityProfile), String>,
    /// Number and digest of the alert rules that were put in force last. The log does not have them.
    pub(super) alert_rules: Option<(u64, String)>,
    /// Manifests that were put in force, and their newest version. The log does not have their text.
    pub(super) applied: BTreeMap<String, u64>,
    /// The highest number that one of them had.
    pub(super) manifest_counter: u64,
}

/// What happened to one device.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// What its record, if there is one, has to take over.
    pub(super) missed: Missed,
    /// The profile that it was let in with after the backup.
    profile: Option<SecurityProfile>,
}

/// A revocation that the log tells of.
#[derive(Clone, Debug)]
pub(super) struct Revoked {
    pub(super) device: DeviceId,
    pub(super) at: Timestamp,
    pub(super) reason: RevocationReason,
}

impl Effects {
    /// Whether a certificate of this device was revoked.
    pub(super) fn revokes(&self, device: &DeviceId) -> bool {
        self.revoked.values().any(|revoked| revoked.device == *device)
    }

    /// Takes the next entry. `profile_of` tells the profile of a device that the backup knows; `issuer` the key id of an
    /// issuing CA.
    pub(super) fn see(
        &mut self,
        entry: &Entry,
        profile_of: impl Fn(&DeviceId) -> Option<SecurityProfile>,
        issuer: impl Fn(IssuerClass) -> KeyId,
    ) {
        let details = Read(entry.details.members());
        if entry.event_type == EventType::OperatorRemoved {
            let sealed = entry.target.as_ref().and_then(Target::personal_id);
            let subject = sealed.map(|sealed| sealed.subject().to_string());
            self.operators_removed.extend(details.get::<EntryId>("operatorId").map(|id| (id, subject)));
        }
        if entry.event_type == EventType::SubjectErased {
            self.erased.extend(details.get::<String>("subject"));
        }
        self.see_taken_back(entry, &details);
        let Some(Target::Device(device)) = &entry.target else { return };
        let story = self.devices.entry(device.clone()).or_default();
        let became =
            |state| Some((state, details.get("reason").unwrap_or_else(|| entry.event_type.to_string())));
        match entry.event_type {
            EventType::DeviceEnrolled => {
                story.profile = details.get("profile");
                // It came back from quarantine with more than it had.
                story.missed.profile = story.missed.profile.max(story.profile);
            }
            EventType::CertificateIssued => {
                let profile = story.profile.or_else(|| profile_of(device)).unwrap_or(SecurityProfile::Sec2);
                let issuer = issuer(IssuerClass::of(profile));
                story.missed.certificates.extend(details.certified(issuer));
            }
            EventType::CertificateRevoked => {
                if let (Some(serial), Some(reason)) = (details.serial(), details.reason()) {
                    let revoked = Revoked { device: device.clone(), at: entry.timestamp, reason };
                    self.revoked.insert(serial, revoked);
                }
            }
            EventType::CertificateHoldReleased => {
                if let Some(serial) = details.serial() {
                    self.revoked.remove(&serial);
                }
            }
            EventType::DeviceActive | EventType::CertificateRenewed => {
                story.missed.became = became(DeviceState::Active);
            }
            EventType::DeviceReinstated => {
                story.missed.became = became(details.get("to").unwrap_or(DeviceState::Pending));
            }
            EventType::DeviceSuspended => story.missed.became = became(DeviceState::Suspended),
            EventType::DeviceQuarantined => story.missed.became = became(DeviceState::Quarantined),
            EventType::DecommissionOrdered => story.missed.became = became(DeviceState::Decommissioning),
            EventType::DeviceRejected | EventType::DeviceDecommissioned => {
                story.missed.became = became(DeviceState::Decommissioned);
            }
            EventType::DeviceBanned => story.missed.banned = true,
            EventType::ProfileChanged => {
                story.profile = details.get("to").or(story.profile);
                story.missed.profile = story.missed.profile.max(story.profile);
            }
            EventType::ChannelChanged => story.missed.channel = details.get("to"),
            EventType::RoleChanged => story.missed.role = details.get("to"),
            EventType::DeviceRenamed => story.missed.name = details.get("to"),
            EventType::DeviceTagged => story.missed.tags = details.get::<Vec<Capability>>("tags"),
            EventType::RecoveriesRaised => story.missed.recoveries_left = details.get("to"),
            EventType::OwnKeyMade => story.missed.own_key = details.get("number"),
            EventType::IdentityRecovered => story.missed.recoveries_left = details.get("recoveriesLeft"),
            _ => {}
        }
    }
}

impl Effects {
    /// What the authority itself goes by, and was taken back or replaced.
    fn see_taken_back(&mut self, entry: &Entry, details: &Read<'_>) {
        match (entry.event_type, &entry.target) {
            (EventType::EkRemoved, _) => self.eks_removed.extend(details.get::<KeyId>("ek")),
            (EventType::GoldenRemoved, _) => self.golden_removed.extend(details.get::<String>("golden")),
            (EventType::VerifierRemoved, Some(Target::Device(device))) => {
                self.verifiers_removed.insert(device.clone());
            }
            (EventType::GuardianRemoved, Some(Target::Guardian(name))) => {
                self.guardians_removed.insert(name.to_string());
            }
            (EventType::GuardianRemoved, Some(target)) => {
                self.people_dismissed.extend(target.personal_id().map(|sealed| sealed.subject().to_string()));
            }
            (EventType::ModulesChanged, _) => {
                if let (Some(module), Some(profile), Some(stance)) =
                    (details.get("module"), details.get("profile"), details.get("stance"))
                {
                    self.modules.insert((module, profile), stance);
                }
            }
            // An entry that says what is refused puts nothing in force.
            (EventType::AlertRulesChanged, _) if details.get::<String>("refused").is_none() => {
                let counter = details.get("counter").unwrap_or_default();
                self.alert_rules = details.get("digest").map(|digest| (counter, digest));
            }
            (EventType::PolicyApplied, Some(Target::Authority(_))) => {
                let counter = details.get("counter").unwrap_or_default();
                self.manifest_counter = self.manifest_counter.max(counter);
                if let (Some(name), Some(version)) = (details.get("manifest"), details.get("version")) {
                    self.applied.insert(name, version);
                }
            }
            _ => {}
        }
    }
}

/// The details of an entry.
struct Read<'a>(&'a Map<String, Value>);

impl Read<'_> {
    fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        T::deserialize(self.0.get(key)?).ok()
    }

    fn serial(&self) -> Option<Vec<u8>> {
        data_encoding::HEXLOWER.decode(self.0.get("serial")?.as_str()?.as_bytes()).ok()
    }

    fn reason(&self) -> Option<RevocationReason> {
        use RevocationReason::{CessationOfOperation, Hold, KeyCompromise, PrivilegeWithdrawn, Superseded};
        let word = self.0.get("reason")?.as_str()?;
        let known = [KeyCompromise, Superseded, CessationOfOperation, Hold, PrivilegeWithdrawn];
        known.into_iter().find(|reason| reason.as_str() == word)
    }

    fn certified(&self, issuer: KeyId) -> Option<Certified> {
        Some(Certified {
            issue: self.get("issue")?,
            serial: self.serial()?,
            issuer,
            key: self.get("operationalKeyId")?,
            not_after: self.get("notAfter")?,
        })
    }
}
