//! Laws about commits, answers and revocation lists.

use kos_base::{
    DeviceId, DeviceState, EvidenceTier, KeyAlgorithm, KeyId, PublicKey, SecurityProfile, Timestamp,
};
use kos_identity::{
    certificate::{Certificate, Serial},
    crl::VerifiedCrl,
    enrolment::message::{FromAuthority, FromDevice},
    registry::{Change, Commit, Device, RevocationReason, Write},
};

use super::Laws;
use crate::authority::Store;

/// The records that a commit writes, as they were before it.
#[derive(Debug)]
pub struct Before(Vec<(DeviceId, Option<Device>)>);

/// What a certificate of a device says of its profile and its evidence.
fn said_by(device: &DeviceId, issue: u32, store: &Store) -> Option<(SecurityProfile, EvidenceTier)> {
    let mut all = store.certificates.values();
    let certified = all.find(|certified| certified.device == *device && certified.issue == issue)?;
    let certificate = Certificate::parse(&certified.der).ok()?;
    certificate.facts().map(|facts| (facts.profile, facts.evidence))
}

impl Laws {
    /// Remembers what a commit is about to change.
    pub fn before_commit(&self, commit: &Commit, store: &Store) -> Before {
        let written = commit.writes.iter().filter_map(|write| match write {
            Write::Device(device) => Some((device.id.clone(), store.devices.get(&device.id).cloned())),
            _ => None,
        });
        Before(written.collect())
    }

    /// Looks at what was committed.
    pub fn after_commit(&mut self, now: Timestamp, commit: &Commit, before: &Before, store: &Store) {
        self.entries += u64::try_from(commit.changes.len()).unwrap_or(u64::MAX);
        let (entries, leaves) = (self.entries, store.log.size());
        self.demand("entry", entries == leaves && !commit.changes.is_empty(), || {
            format!("{entries} changes, {leaves} entries, after {:?}", commit.changes)
        });
        for change in &commit.changes {
            self.change(now, change, commit, before, store);
        }
        for (id, old) in &before.0 {
            if let Some(new) = store.devices.get(id) {
                self.transition(old.as_ref(), new, &commit.changes);
                self.certificates_of(new, store);
            }
        }
    }

    fn change(&mut self, now: Timestamp, change: &Change, commit: &Commit, before: &Before, store: &Store) {
        match change {
            Change::DeviceEnrolled { device, ticket: Some(id), .. } => {
                let admitted = self.admitted.entry(*id).or_default();
                admitted.insert(device.clone());
                let count = u32::try_from(admitted.len()).unwrap_or(u32::MAX);
                let live = store.tickets.get(id).is_some_and(|ticket| !ticket.revoked);
                let (uses_max, end) = self.tickets.get(id).copied().unwrap_or_default();
                self.demand("ticket", live && count <= uses_max && now < end, || {
                    format!(
                        "{device} is number {count} of {uses_max} with {id}, which ends at {end}, at {now}"
                    )
                });
            }
            Change::TicketCreated { ticket, uses_max, expires_at, .. } => {
                self.tickets.insert(*ticket, (*uses_max, *expires_at));
            }
            Change::CertificateIssued { device, issue, key, .. } => {
                self.certificates += 1;
                let old = before.0.iter().find(|(id, _)| id == device).and_then(|(_, old)| old.as_ref());
                let stopped = old.is_some_and(|old| {
                    old.banned || !matches!(old.state(), DeviceState::Pending | DeviceState::Active)
                });
                self.demand("stopped", !stopped, || format!("{device} got number {issue}: {old:?}"));
                let new = store.devices.get(device);
                // Only the keys of devices with a TPM are of P-256 here.
                let proves = new.is_some_and(|new| new.identity_key.algorithm() == KeyAlgorithm::P256);
                let evidence = said_by(device, *issue, store).map(|(_, evidence)| evidence);
                self.demand("attestation", !proves || evidence == Some(EvidenceTier::KeyInTpm), || {
                    format!("{device} got number {issue} with evidence {evidence:?}")
                });
                let ours = new.is_some_and(|new| self.identities.contains(&new.identity_key.id()));
                self.demand("stranger", ours, || format!("{device} is none of ours"));
                self.granted_bytes(device, *key, commit, store);
                self.profile_of(device, *issue, store);
                self.seconded(device, *issue, commit, store);
                self.certified.insert(*key, (device.clone(), *issue));
            }
            Change::DeviceActive { device, issue } | Change::CertificateRenewed { device, issue } => {
                self.confirmed.insert((device.clone(), *issue));
                if let Some((profile, _)) = said_by(device, *issue, store) {
                    let served = self.served.entry(device.clone()).or_insert(profile);
                    *served = profile.max(*served);
                }
            }
            Change::CloneSuspected { device, .. } => {
                self.alerts.insert(device.clone());
            }
            _ => {}
        }
    }

    /// A certificate says at least what the device has had in service, and at most what was proven.
    fn profile_of(&mut self, device: &DeviceId, issue: u32, store: &Store) {
        let Some((profile, evidence)) = said_by(device, issue, store) else { return };
        let served = self.served.get(device).copied();
        self.demand("profile", served <= Some(profile), || {
            format!("number {issue} of {device} says {profile}, and it had {served:?}")
        });
        let needed = match profile {
            SecurityProfile::Sec0 | SecurityProfile::Sec1 => EvidenceTier::None,
            SecurityProfile::Sec2 => EvidenceTier::KeyOnDevice,
            SecurityProfile::Sec3 => EvidenceTier::EkActivated,
            SecurityProfile::Sec4 => EvidenceTier::QuoteVerified,
        };
        self.demand("profile", evidence >= needed, || {
            format!("number {issue} of {device} says {profile} with {evidence}")
        });
    }

    /// What says SEC-4 is issued with a second verdict in the same commit.
    fn seconded(&mut self, device: &DeviceId, issue: u32, commit: &Commit, store: &Store) {
        let Some((profile, _)) = said_by(device, issue, store) else { return };
        let is_seconded = commit.changes.iter().any(
            |change| matches!(change, Change::SecondVerdict { device: of, verifier, .. } if of == device && verifier != device),
        );
        self.demand("seconded", profile < SecurityProfile::Sec4 || is_seconded, || {
            format!("number {issue} of {device} says {profile} without a second verdict")
        });
    }

    fn granted_bytes(&mut self, device: &DeviceId, key: KeyId, commit: &Commit, store: &Store) {
        let written = commit.writes.iter().find_map(|write| match write {
            Write::Certificate { der, .. } => Some(der),
            _ => None,
        });
        let Some(der) = written else {
            return self.broken("acknowledged", format!("a certificate of {device} is not kept"));
        };
        let old = self.granted.insert((device.clone(), key), der.clone());
        // Another request came in between, or the end of its validity; either way the earlier one is revoked.
        let other = old.filter(|old| old != der).and_then(|old| Certificate::parse(&old).ok());
        let replaced = other.is_none_or(|old| {
            let issuer = old.issuer_key_id().unwrap_or(key);
            store.revocations.contains_key(&(issuer, old.serial().to_bytes().to_vec()))
        });
        self.demand("same-bytes", replaced, || format!("{device} got other bytes for {key}"));
    }

    fn transition(&mut self, old: Option<&Device>, new: &Device, changes: &[Change]) {
        let Some(old) = old else { return };
        let (from, to) = (old.state(), new.state());
        let says = |change: &Change| match change {
            Change::DeviceActive { .. } => (from, to) == (DeviceState::Pending, DeviceState::Active),
            Change::StateChanged { from: a, to: b, .. } => (from, to) == (*a, *b),
            Change::DecommissionOrdered { .. } => to == DeviceState::Decommissioning,
            Change::DeviceDecommissioned { .. } | Change::DeviceRejected { .. } => {
                to == DeviceState::Decommissioned
            }
            _ => false,
        };
        let way = from == to || (changes.iter().any(says) && from != DeviceState::Decommissioned);
        self.demand("state", way, || format!("{} went from {from} to {to}: {changes:?}", new.id));
        let same = old.identity_key == new.identity_key && old.uuid == new.uuid && old.macs == new.macs;
        let rises = old.issues <= new.issues && old.version < new.version && (!old.banned || new.banned);
        let profile = old.enrolled_at.is_none() || old.profile() <= new.profile();
        let number = |device: &Device| device.credential.as_ref().map_or(0, |credential| credential.issue);
        let serves = new.credential.is_none() || number(old) <= number(new);
        self.demand("frozen", same && rises && profile && serves, || format!("{old:?} became {new:?}"));
    }

    /// Whatever a device does not hold is revoked for good; whoever is stopped holds nothing that counts.
    fn certificates_of(&mut self, device: &Device, store: &Store) {
        let held = |serial: &[u8]| device.credentials().any(|credential| credential.serial == serial);
        for ((issuer, serial), certified) in &store.certificates {
            if certified.device != device.id {
                continue;
            }
            let reason =
                store.revocations.get(&(*issuer, serial.clone())).map(|revocation| revocation.reason);
            let gone = reason.is_some_and(|reason| reason != RevocationReason::Hold);
            let number = certified.issue;
            if !held(serial) {
                self.demand("superseded", gone, || {
                    format!("number {number} of {} is not revoked", device.id)
                });
            }
            let kept = match device.state() {
                _ if device.banned => gone,
                DeviceState::Suspended => reason.is_some(),
                DeviceState::Quarantined | DeviceState::Decommissioning | DeviceState::Decommissioned => gone,
                _ => !held(serial) || reason.is_none(),
            };
            self.demand("stopped", kept, || {
                format!("{} is {} and number {number} is revoked: {reason:?}", device.id, device.state())
            });
        }
    }

    /// Looks at an answer that is about to leave.
    pub fn authority_sends(
        &mut self,
        frame: &[u8],
        asked: Option<&FromDevice>,
        peer: Option<&PublicKey>,
        store: &Store,
    ) {
        match (FromAuthority::from_bytes(frame), asked) {
            (Ok(FromAuthority::Issued(grant)), _) => {
                let leaf = grant.chain.first().map(|der| der.as_slice()).unwrap_or_default();
                let kept = store.certificates.values().any(|certified| certified.der == leaf);
                self.demand("acknowledged", kept, || {
                    format!("number {} left before its commit", grant.issue)
                });
            }
            (Ok(FromAuthority::Recorded), Some(FromDevice::Stored(stored))) => {
                let key = peer.map(PublicKey::id);
                let certified = key.and_then(|key| self.certified.get(&key));
                let recorded = certified.is_some_and(|certified| {
                    certified.1 == stored.issue && self.confirmed.contains(certified)
                });
                self.demand("acknowledged", recorded, || format!("number {} is not recorded", stored.issue));
            }
            (Ok(FromAuthority::Recorded), Some(FromDevice::Receipt(receipt))) => {
                let ended = store.devices.get(&receipt.device).map(Device::state);
                self.demand("acknowledged", ended == Some(DeviceState::Decommissioned), || {
                    format!("the receipt of {} is not recorded", receipt.device)
                });
            }
            _ => {}
        }
    }

    /// Looks at a revocation list that is about to be published.
    pub fn published(&mut self, issuer: &Certificate, der: &[u8], store: &Store) {
        let list = match VerifiedCrl::parse(der, issuer) {
            Ok(list) => list,
            Err(error) => return self.broken("list", error.to_string()),
        };
        let last = self.lists.insert(list.issuer(), list.number());
        self.demand("list", last.is_none_or(|last| last < list.number()), || {
            format!("number {} follows {last:?}", list.number())
        });
        for (_, serial) in store.revocations.keys().filter(|(id, _)| *id == list.issuer()) {
            let bytes = <[u8; 16]>::try_from(serial.as_slice()).unwrap_or_default();
            let listed = list.find(Serial::from_random(bytes)).is_some();
            self.demand("list", listed, || format!("number {} leaves somebody out", list.number()));
        }
        self.listed = store.revocations.keys().map(|(_, serial)| serial.clone()).collect();
    }
}
