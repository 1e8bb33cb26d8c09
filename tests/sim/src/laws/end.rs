//! Laws about the end of a world, when everything has worked for weeks.

use std::collections::BTreeSet;

use kos_base::{DeviceId, DeviceState, PublicKey, Timestamp};
use kos_identity::{
    decommission::Record,
    enrolment::device::{Journal, KeySlot},
    registry::Device,
};

use super::{Laws, device::is_wiped};
use crate::{
    authority::Store,
    device::{Body, Twins, Wanted},
    keys::AuthorityKit,
};

impl Laws {
    /// Looks at a device.
    pub fn device_at_the_end(&mut self, now: Timestamp, body: &Body, store: &Store, rogue: &AuthorityKit) {
        if let Some(record) = &body.disk.durable.record {
            return self.ended(body, record, store);
        }
        let Some(journal) = body.disk.durable.read_journal() else {
            let left = body.disk.durable.keys.is_empty();
            self.demand("stranded", body.wanted == Wanted::No, || format!("{body} knows nothing"));
            return self.demand("ended", left, || format!("{body} was ended and has keys"));
        };
        let root = rogue.context.root.key_id();
        let seduced = journal.authority.as_ref().is_some_and(|anchor| anchor.pins.contains(&root));
        self.demand("rogue", !seduced, || format!("{body} belongs to the rogue"));
        if body.twins == Twins::Alive || body.wanted == Wanted::No {
            return;
        }
        let key = journal.identity.as_ref().map(PublicKey::id);
        match key.and_then(|key| store.by_key(key)) {
            Some(device) => self.placed(now, body, &journal, device, store),
            None => self.broken("stranded", format!("{body} is not known, and was told {:?}", body.told)),
        }
    }

    fn ended(&mut self, body: &Body, record: &[u8], store: &Store) {
        let wiped = is_wiped(&body.disk.durable);
        self.demand("ended", wiped, || format!("{body} has something left: {:?}", body.disk.durable));
        let device = Record::peek(record).ok().and_then(|record| store.devices.get(&record.device));
        // After a quarantine nothing that the device signs counts; an operator has to give it up.
        let known = device.is_none_or(|device| {
            device.state() == DeviceState::Decommissioned || device.credentials().next().is_none()
        });
        // With a copy that goes on under the same identity, the records speak of the copy.
        self.demand("ended", known || body.twins == Twins::Alive, || {
            format!("{body} is wiped, and its authority says {:?}", device.map(Device::state))
        });
    }

    /// A device that the authority knows is where its record says.
    fn placed(&mut self, now: Timestamp, body: &Body, journal: &Journal, device: &Device, store: &Store) {
        let active = journal.active.as_ref();
        let serves = active.is_some_and(|held| store.serves(held.operational.id(), now).is_some());
        let where_is = || {
            let candidate = journal.candidate.as_ref().map(|c| c.held.as_ref().map(|held| held.issue));
            format!(
                "{body} was told {:?} and holds {:?} and {candidate:?}; its record: {device:?}",
                body.told,
                active.map(|held| held.issue),
            )
        };
        let good = match device.state() {
            _ if device.banned => !serves,
            DeviceState::Active => {
                let spare = active.map(|held| KeySlot::Operational(held.slot.other()));
                let clean = spare.is_some_and(|spare| body.disk.durable.signing(spare).is_none());
                serves && device.pending.is_none() && journal.candidate.is_none() && clean
            }
            DeviceState::Suspended | DeviceState::Quarantined => !serves,
            // Turned away before it was ever in service, or when it came back from quarantine.
            DeviceState::Decommissioned => !serves && device.credential.is_none(),
            _ => false,
        };
        self.demand("stranded", good, where_is);
    }

    /// Looks at a device of which a copy was made.
    pub fn copy_at_the_end(&mut self, id: &DeviceId, bodies: &[Body], store: &Store) {
        let Some(device) = store.devices.get(id) else { return };
        let key = |body: &Body| {
            let durable = &body.disk.durable;
            let Journal { active, membership, .. } =
                durable.read_journal().filter(|_| durable.record.is_none() && body.life > 0)?;
            membership.filter(|membership| membership.device == *id)?;
            active.map(|held| held.operational.id())
        };
        // Two that hold the same keys are one to everybody until one of them renews.
        let two = bodies.iter().filter_map(key).collect::<BTreeSet<_>>().len() > 1;
        let free = device.state() == DeviceState::Active && !device.banned;
        self.demand("copy", !two || !free || self.alerts.contains(id), || {
            format!("nobody noticed that there are two of {id}")
        });
    }

    /// Looks at the authority.
    pub fn authority_at_the_end(&mut self, store: &Store) {
        let left_out = store.revocations.keys().find(|(_, serial)| !self.listed.contains(serial));
        let left_out = left_out.cloned();
        self.demand("list", left_out.is_none(), || format!("no list says that {left_out:?} is revoked"));
    }
}
