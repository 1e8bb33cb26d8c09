//! The second part of a world: everything works again, somebody looks after the fleet, weeks pass, and then everybody
//! has to be where policy says.

use core::time::Duration;

use anyhow::Result;
use kos_base::{DeviceId, DeviceState, SecurityProfile, code};
use kos_identity::{
    enrolment::device::{Event as Told, Machine},
    registry::{Device, Lobby, Operation},
};

use super::{BodyId, Event, Weather, World};
use crate::device::{Body, Twins, Wanted};

/// How often the caretaker looks: twice a day for 26 days, longer than the longest certificate takes to come to its
/// renewal.
const ROUNDS: u32 = 52;

impl World {
    pub(super) fn heal(&mut self) -> Result<()> {
        self.healed = true;
        self.weather = Weather::CALM;
        self.authority.up = true;
        for at in 0..self.bodies.len() {
            self.power_on(BodyId(at))?;
        }
        self.rounds_left = ROUNDS;
        self.plan_care();
        Ok(())
    }

    /// What an owner and an operator do who want every device back that policy lets back.
    pub(super) fn care(&mut self) -> Result<()> {
        for at in 0..self.bodies.len() {
            self.care_for(BodyId(at))?;
        }
        let waiting: Vec<_> = self.authority.store.devices.keys().cloned().collect();
        for id in waiting {
            self.approve(&id);
            let lobby = self.authority.store.devices.get(&id).and_then(|device| device.lobby.as_ref());
            if lobby.is_some_and(|lobby| self.now.since(lobby.since) > Lobby::WAIT) {
                self.forget(&id);
            }
        }
        self.rounds_left = self.rounds_left.saturating_sub(1);
        if self.rounds_left > 0 {
            self.plan_care();
        } else {
            self.come_to_rest();
        }
        Ok(())
    }

    /// The world ends between two conversations, not within one.
    pub(super) fn come_to_rest(&mut self) {
        if self.bodies.iter().any(|body| body.link.is_some()) {
            self.later(Duration::from_secs(7), Event::Rest);
        } else {
            self.queue = super::Queue::default();
        }
    }

    /// Somebody lets in a device that waits, if it is one of ours and needs no comparison.
    pub(super) fn approve(&mut self, id: &DeviceId) {
        let Some(device) = self.authority.store.devices.get(id) else { return };
        let lobby = device.lobby.as_ref().filter(|lobby| !lobby.approved);
        let known = lobby.is_some_and(|lobby| lobby.comparison.is_none() || self.is_pinned(device));
        if known && is_ours(device, &self.bodies) {
            let profile = device.profile().max(SecurityProfile::Sec1);
            self.apply(id, Operation::Approve { profile });
        }
    }

    pub(super) fn care_for(&mut self, id: BodyId) -> Result<()> {
        let Some(body) = self.bodies.get(id.0).filter(|body| body.wanted == Wanted::Yes) else {
            return Ok(());
        };
        let Some(machine) = body.machine.as_ref().filter(|machine| !machine.is_ending()) else {
            return Ok(());
        };
        let journal = machine.journal();
        let identity = journal.identity.as_ref().map(kos_base::PublicKey::id);
        let record = identity.and_then(|identity| self.authority.store.by_key(identity)).cloned();
        let refused = match &body.told {
            Some(Told::Refused(code)) => Some(*code),
            _ => None,
        };
        if let Some(record) = &record {
            if refused == Some(code::enrolment::RECOVERY_EXHAUSTED) {
                self.apply(&record.id, Operation::RaiseRecoveries { count: 1 });
            }
            let one_only = body_is_alone(&self.bodies, id);
            if record.state() == DeviceState::Suspended && one_only && !record.banned && self.chance.one_in(2)
            {
                self.apply(
                    &record.id,
                    Operation::Reinstate { reason: "looked at".to_owned(), approvers: Box::default() },
                );
            }
        }
        let waits = self.bodies.get(id.0).and_then(|body| body.machine.as_ref());
        let waits = waits.is_some_and(|machine: &Machine| machine.journal().active.is_none());
        if waits && record.is_none() {
            let (role, by_ticket) = match self.bodies.get(id.0) {
                Some(body) => (body.profile.role, body.anchor.name.is_some()),
                None => return Ok(()),
            };
            if by_ticket {
                let ticket = self.make_ticket(role, 1)?;
                if let Some(body) = self.bodies.get_mut(id.0) {
                    body.ticket = Some(ticket);
                }
            }
            self.enrol_again(id)?;
        }
        Ok(())
    }

    /// A device that knows its authority needs no comparison any more.
    fn is_pinned(&self, device: &Device) -> bool {
        self.bodies.iter().filter_map(|body| body.disk.durable.read_journal()).any(|journal| {
            journal.identity.as_ref() == Some(&device.identity_key)
                && journal.authority.is_some_and(|anchor| !anchor.pins.is_empty())
        })
    }

    pub(super) fn judge_the_end(&mut self) {
        let now = self.now;
        for at in 0..self.bodies.len() {
            if let Some(body) = self.bodies.get(at) {
                self.laws.device_at_the_end(now, body, &self.authority.store, self.rogue.kit);
            }
        }
        for device in &self.copied {
            self.laws.copy_at_the_end(device, &self.bodies, &self.authority.store);
        }
        self.laws.authority_at_the_end(&self.authority.store);
    }
}

fn is_ours(device: &Device, bodies: &[Body]) -> bool {
    let mut journals = bodies.iter().filter_map(|body| body.disk.durable.read_journal());
    journals.any(|journal| journal.identity.as_ref() == Some(&device.identity_key))
}

fn body_is_alone(bodies: &[Body], id: BodyId) -> bool {
    bodies.get(id.0).is_some_and(|body| body.twins == Twins::None)
}
