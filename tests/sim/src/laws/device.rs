//! Laws about a device's disk and what leaves it.

use kos_identity::{
    certificate::Certificate,
    enrolment::{device::KeySlot, message::FromDevice},
};

use super::Laws;
use crate::{
    authority::Store,
    device::{Body, Content, Twins},
};

impl Laws {
    /// Looks at what a power cut would leave now.
    pub fn disk(&mut self, body: &mut Body) {
        let Some(journal) = body.disk.durable.read_journal() else { return };
        if body.disk.durable.record.is_none() {
            let missing = body.disk.durable.missing_key(&journal);
            self.demand("keys", missing.is_none(), || format!("{body} has lost a key: {missing:?}"));
        }
        let (before, after) = (body.floor, journal.time_floor);
        self.demand("floor", before <= after || journal.identity.is_none(), || {
            format!("{body} went back from {before:?} to {after:?}")
        });
        body.floor = after;
        let own = journal.active.as_ref().and_then(|held| Certificate::parse(held.chain.first()?).ok());
        if let Some(profile) = own.and_then(|own| own.facts().map(|facts| facts.profile)) {
            let had = body.served.filter(|_| journal.identity.is_some());
            self.demand("profile", had <= Some(profile), || {
                format!("{body} went back from {had:?} to {profile}")
            });
            body.served = Some(profile);
        }
    }

    /// Looks at a frame that is about to leave a device.
    pub fn device_sends(&mut self, body: &Body, message: &FromDevice) {
        let durable = &body.disk.durable;
        let journal = durable.read_journal();
        let candidate = journal.as_ref().and_then(|journal| journal.candidate.as_ref());
        let keys = journal.as_ref().is_some_and(|journal| durable.missing_key(journal).is_none());
        let holds = match message {
            FromDevice::Hello(_) => true,
            FromDevice::Prove(prove) => keys && candidate.is_some_and(|candidate| candidate.csr == prove.csr),
            FromDevice::Stored(stored) => {
                let held = candidate.and_then(|candidate| candidate.held.as_ref());
                keys && held.is_some_and(|held| held.issue == stored.issue)
            }
            FromDevice::Notice(notice) => durable.record.as_deref() == Some(notice.record.as_slice()),
            FromDevice::Receipt(receipt) => {
                durable.record.as_deref() == Some(receipt.record.as_slice()) && is_wiped(durable)
            }
        };
        self.demand("durable", holds, || format!("{body} sends what its disk does not hold: {message:?}"));
    }

    /// Looks at keys that are about to be erased: none of them is one that the authority still counts on.
    pub fn device_erases(&mut self, body: &Body, slots: &[KeySlot], store: &Store) {
        if body.twins == Twins::Alive {
            return;
        }
        for slot in slots {
            if let Some(key) = body.disk.now.signing(*slot) {
                let id = key.public().id();
                let wanted = store
                    .by_key(id)
                    .is_some_and(|device| device.credentials().any(|credential| credential.key.id() == id));
                self.demand("erase", !wanted, || format!("{body} erases {slot:?}, which is in service"));
            }
        }
    }

    /// Looks at a device that is about to wipe itself.
    pub fn device_wipes(&mut self, body: &Body) {
        let journal = body.disk.durable.read_journal();
        let member = journal.is_some_and(|journal| journal.membership.is_some());
        let told = body.disk.durable.record.is_some();
        self.demand("record", told || !member, || format!("{body} wipes without a record"));
    }
}

/// Whether nothing of the device is left.
pub(super) fn is_wiped(content: &Content) -> bool {
    content.keys.is_empty() && content.journal.is_none() && content.files == 0
}
