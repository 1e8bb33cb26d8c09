//! A model of the authority's store: records with versions, commits that happen whole or not at all, and a log that grows
//! by one leaf for each change.

use std::collections::BTreeMap;

use kos_audit::{Frontier, tree::leaf_hash};
use kos_base::{DeviceId, DeviceState, EntryId, KeyId, Timestamp};
use kos_identity::{
    enrolment::authority::{CommitFailed, Found, Lookalike, Query},
    registry::{Commit, Device, Revocation, RevocationReason, Ticket, Write},
};

use crate::plant::Plant;

/// A certificate as the store keeps it.
#[derive(Clone, Debug)]
pub struct Certified {
    /// Whose.
    pub device: DeviceId,
    /// Its number.
    pub issue: u32,
    /// Its bytes.
    pub der: Vec<u8>,
}

/// The newest revocation list of an issuer.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its number.
    pub number: u64,
    /// The list.
    pub der: Vec<u8>,
    /// When it was made.
    pub at: Timestamp,
}

/// What is committed.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Devices.
    pub devices: BTreeMap<DeviceId, Device>,
    /// Tickets.
    pub tickets: BTreeMap<EntryId, Ticket>,
    /// Certificates by issuer and serial number.
    pub certificates: BTreeMap<(KeyId, Vec<u8>), Certified>,
    /// Entries of the revocation lists.
    pub revocations: BTreeMap<(KeyId, Vec<u8>), Revocation>,
    /// Newest list of each issuer.
    pub lists: BTreeMap<KeyId, Published>,
    /// The log.
    pub log: Frontier,
}

impl Store {
    /// Commits everything or nothing.
    ///
    /// # Errors
    /// When a precondition of a write does not hold.
    pub fn commit(&mut self, commit: &Commit, plant: Option<Plant>) -> Result<(), CommitFailed> {
        if !commit.writes.iter().all(|write| self.allows(write, plant)) {
            return Err(CommitFailed::Conflict);
        }
        let forgets = |write: &&Write| {
            plant == Some(Plant::RevocationForgotten)
                && matches!(write, Write::Revoke(r) if r.reason == RevocationReason::Superseded)
        };
        for write in commit.writes.iter().filter(|write| !forgets(write)) {
            self.write(write);
        }
        let missing = usize::from(plant == Some(Plant::EntryMissing) && commit.changes.len() > 2);
        for change in commit.changes.iter().skip(missing) {
            let leaf = format!("{:?} {change:?}", commit.actor);
            // A tree is full after 2^40 leaves.
            drop(self.log.append(leaf_hash(leaf.as_bytes())));
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) {
        match write.clone() {
            Write::Device(device) => drop(self.devices.insert(device.id.clone(), *device)),
            Write::ForgetDevice { id, .. } => drop(self.devices.remove(&id)),
            Write::Ticket(ticket) => drop(self.tickets.insert(ticket.id, *ticket)),
            Write::Certificate { serial, issuer, device, issue, der } => {
                self.certificates.insert((issuer, serial), Certified { device, issue, der });
            }
            Write::Revoke(revocation) => {
                self.revocations.insert((revocation.issuer, revocation.serial.clone()), revocation);
            }
            Write::Release { issuer, serial } => drop(self.revocations.remove(&(issuer, serial))),
            // No simulated device has any.
            Write::Voucher(_) | Write::Sponsor(_) => {}
        }
    }

    /// Looks everything up at once.
    pub fn find(&self, query: &Query) -> Found {
        let by_key = query.key.and_then(|key| self.by_key(key));
        let device = by_key.or_else(|| self.devices.get(query.device.as_ref()?)).cloned();
        let own = device.as_ref().map(|device| device.id.clone());
        let shares = |device: &&Device| {
            Some(&device.id) != own.as_ref()
                && (device.macs.iter().any(|mac| mac.is_universal() && query.macs.contains(mac))
                    || device.serials.iter().any(|serial| query.serials.contains(serial))
                    || query.ek.is_some_and(|ek| device.attested.as_ref().is_some_and(|held| held.ek == ek)))
        };
        let waiting = || self.devices.values().filter_map(|device| device.lobby.as_ref());
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Found {
            lookalikes: self
                .devices
                .values()
                .filter(shares)
                .map(|other| lookalike(other, query.ek))
                .collect(),
            waiting: count(waiting().count()),
            waiting_from_source: count(waiting().filter(|lobby| lobby.source == query.source).count()),
            crls: self.lists.values().map(|list| list.der.clone()).collect(),
            ticket: query.ticket.and_then(|id| self.tickets.get(&id)).cloned(),
            device,
            ..Found::default()
        }
    }

    /// The device whose identity key, operational key or unconfirmed operational key this is.
    pub fn by_key(&self, key: KeyId) -> Option<&Device> {
        self.devices.values().find(|device| {
            device.identity_key.id() == key
                || device.credentials().any(|credential| credential.key.id() == key)
        })
    }

    /// Whether a live link with this operational key would be accepted now.
    pub fn serves(&self, key: KeyId, now: Timestamp) -> Option<&Device> {
        let device = self.by_key(key)?;
        let credential = device.credential.as_ref().filter(|credential| credential.key.id() == key)?;
        let revoked = self.revocations.contains_key(&(credential.issuer, credential.serial.clone()));
        let alive = device.is_admitted() && now < credential.not_after && !revoked;
        alive.then_some(device)
    }

    /// Whether what the write presupposes is so.
    fn allows(&self, write: &Write, plant: Option<Plant>) -> bool {
        match write {
            Write::Device(device) => {
                let held = self.devices.get(&device.id);
                let fresh = || self.devices.values().all(|other| other.identity_key != device.identity_key);
                match held {
                    None => device.version == 1 && fresh(),
                    Some(_) if plant == Some(Plant::LostUpdate) => true,
                    Some(held) => device.version == held.version + 1,
                }
            }
            Write::ForgetDevice { id, version } => {
                let held = self.devices.get(id);
                held.is_some_and(|held| held.version == *version && held.state() == DeviceState::Pending)
            }
            Write::Ticket(ticket) => match self.tickets.get(&ticket.id) {
                None => ticket.version == 1,
                Some(_) if plant == Some(Plant::TicketSpentTwice) => true,
                Some(held) => ticket.version == held.version + 1,
            },
            Write::Voucher(_) | Write::Sponsor(_) => true,
            Write::Certificate { serial, issuer, .. } => {
                !self.certificates.contains_key(&(*issuer, serial.clone()))
            }
            Write::Revoke(revocation) => {
                let held = self.revocations.get(&(revocation.issuer, revocation.serial.clone()));
                revocation.reason != RevocationReason::Hold
                    || held.is_none_or(|held| held.reason == RevocationReason::Hold)
            }
            Write::Release { issuer, serial } => {
                let held = self.revocations.get(&(*issuer, serial.clone()));
                held.is_some_and(|held| held.reason == RevocationReason::Hold)
            }
        }
    }
}

fn lookalike(device: &Device, ek: Option<KeyId>) -> Lookalike {
    let held = device.attested.as_ref().map(|held| held.ek);
    let has_tpm = ek.is_some() && held == ek && device.issues > 0;
    Lookalike { id: device.id.clone(), state: device.state(), banned: device.banned, has_tpm }
}
