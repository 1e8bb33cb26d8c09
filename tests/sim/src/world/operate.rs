//! What operators and owners do: to devices through the registry, to devices in their hands, and with the six digits.

use anyhow::Result;
use kos_base::{DeviceId, DeviceState, EntryId, SecurityProfile};
use kos_identity::{
    decommission::{self, receipt_hash},
    enrolment::device::{Command, Machine},
    quarantine,
    registry::{Actor, Case, Change, Commit, Operation, Order, Write},
};
use minicbor::bytes::ByteArray;

use super::{BodyId, Event, Server, World, hours};
use crate::device::Wanted;

impl World {
    /// An operator or owner does something to somebody.
    pub(super) fn operate_somewhere(&mut self) -> Result<()> {
        match self.chance.below(8) {
            0 => self.end_in_place(),
            1 => self.revoke_a_ticket(),
            _ => {
                let ids: Vec<DeviceId> = self.authority.store.devices.keys().cloned().collect();
                match self.chance.pick(&ids).cloned() {
                    Some(id) => self.operate_on(&id),
                    None => Ok(()),
                }
            }
        }
    }

    /// An operator does something to this device, whatever makes sense or not.
    pub(super) fn operate_on(&mut self, id: &DeviceId) -> Result<()> {
        let Some(device) = self.authority.store.devices.get(id) else { return Ok(()) };
        let reason = || "because".to_owned();
        let state = device.state();
        let operation = match self.chance.below(20) {
            0 | 1 => Operation::Suspend { reason: reason() },
            2..=4 if state == DeviceState::Suspended => {
                Operation::Reinstate { reason: reason(), approvers: Box::default() }
            }
            2 if state == DeviceState::Quarantined => {
                Operation::Reinstate { reason: reason(), approvers: Box::default() }
            }
            2 => Operation::Quarantine { reason: reason(), case: Box::new(self.case(id)?) },
            3 if self.chance.one_in(3) => Operation::Ban { reason: reason() },
            4 => Operation::RaiseRecoveries { count: 1 },
            5 => {
                let order = self.order(id)?;
                Operation::Decommission { reason: reason(), order }
            }
            6 if self.chance.one_in(2) => Operation::Reject { reason: reason() },
            7 => Operation::SetRole { role: *self.chance.pick(kos_base::Role::ALL).unwrap_or(&device.role) },
            8 => Operation::Rename { name: "somebody".parse()? },
            9..=11 => self.channel(),
            12 => Operation::Approve { profile: SecurityProfile::Sec1 },
            13 if self.forget(id) => return Ok(()),
            14 | 15 => {
                let profile = *self.chance.pick(SecurityProfile::ALL).unwrap_or(&SecurityProfile::Sec2);
                Operation::SetProfile { profile }
            }
            _ => Operation::Regenerate,
        };
        self.apply(id, operation);
        Ok(())
    }

    /// Applies an operation to the record as it is now; what makes no sense is refused and changes nothing.
    pub(super) fn apply(&mut self, id: &DeviceId, operation: Operation) {
        let Some(device) = self.authority.store.devices.get(id).cloned() else { return };
        let actor = Actor::LocalUser("owner".to_owned());
        let what = format!("{operation:?}");
        match operation.apply(self.now, actor, device) {
            Ok(commit) => {
                self.note(|_| format!("an operator: {:?}", commit.changes));
                if self.commit(Server::Real, &commit).is_err() {
                    self.laws.broken("operator", format!("{what} on {id} can never be committed"));
                }
            }
            Err(error) => self.note(|_| format!("an operator is refused: {error}")),
        }
    }

    /// An order to wipe, signed.
    fn order(&mut self, id: &DeviceId) -> Result<Order> {
        let kit = self.authority.kit;
        let receipt: [u8; 32] = self.chance.bytes();
        let order = decommission::Order {
            id: EntryId::from_parts(self.now, self.chance.bytes()),
            device: id.clone(),
            authority: kit.context.name.clone(),
            at: self.now,
            receipt: ByteArray::from(receipt),
        };
        let unsigned = order.unsigned(kit.orders.public());
        let signature = kit.orders.sign(&unsigned.to_be_signed())?;
        let signed = unsigned.finish(signature);
        Ok(Order { signed, receipt_hash: receipt_hash(&receipt).to_vec(), at: self.now })
    }

    /// An order of quarantine, signed, in its case.
    fn case(&mut self, id: &DeviceId) -> Result<Case> {
        let kit = self.authority.kit;
        let receipt: [u8; 32] = self.chance.bytes();
        let issue = self.authority.store.devices.get(id).map_or(0, |device| device.issues);
        let order = quarantine::Order {
            id: EntryId::from_parts(self.now, self.chance.bytes()),
            device: id.clone(),
            authority: kit.context.name.clone(),
            at: self.now,
            issue,
            receipt: ByteArray::from(receipt),
            recipients: if self.chance.one_in(3) { Vec::new() } else { vec!["age1guardian".to_owned()] },
        };
        let unsigned = order.unsigned(kit.orders.public());
        let signature = kit.orders.sign(&unsigned.to_be_signed())?;
        Ok(Case {
            signed: unsigned.finish(signature),
            order: order.id,
            receipt_hash: ByteArray::from(quarantine::receipt_hash(&receipt)),
            at: self.now,
            confirmed_at: None,
            bundle: None,
            approvals: Vec::new(),
            salt: None,
        })
    }

    /// Who has waited too long is forgotten.
    pub(super) fn forget(&mut self, id: &DeviceId) -> bool {
        let Some(device) = self.authority.store.devices.get(id) else { return false };
        if device.state() != DeviceState::Pending || device.lobby.is_none() || device.issues > 0 {
            return false;
        }
        let write = Write::ForgetDevice { id: id.clone(), version: device.version };
        let change = Change::DeviceRejected { device: id.clone(), reason: "waited too long".to_owned() };
        let commit = Commit { actor: Actor::Authority, changes: vec![change], writes: vec![write] };
        self.commit(Server::Real, &commit).is_ok()
    }

    fn revoke_a_ticket(&mut self) -> Result<()> {
        let ids: Vec<_> = self.authority.store.tickets.keys().copied().collect();
        let ticket = self.chance.pick(&ids).and_then(|id| self.authority.store.tickets.get(id)).cloned();
        if let Some(mut ticket) = ticket.filter(|ticket| !ticket.revoked) {
            ticket.revoked = true;
            ticket.version += 1;
            let change = Change::TicketRevoked { ticket: ticket.id };
            let writes = vec![Write::Ticket(Box::new(ticket))];
            let actor = Actor::LocalUser("owner".to_owned());
            if self.commit(Server::Real, &Commit { actor, changes: vec![change], writes }).is_err() {
                self.laws.broken("operator", "a ticket cannot be revoked".to_owned());
            }
        }
        Ok(())
    }

    /// The owner of a device ends it on the spot; whether it is online does not matter.
    fn end_in_place(&mut self) -> Result<()> {
        let at = usize::try_from(self.chance.below(u64::try_from(self.bodies.len())?))?;
        let Some(body) = self.bodies.get_mut(at).filter(|body| body.machine.is_some()) else {
            return Ok(());
        };
        body.wanted = Wanted::No;
        self.command(BodyId(at), Command::Decommission)
    }

    /// A person walks to the authority with the code that a device shows, compares, and lets it in if they are the same.
    pub(super) fn compare(&mut self, id: BodyId, code: &str) -> Result<()> {
        let Some(body) = self.bodies.get(id.0) else { return Ok(()) };
        let Some(machine) = &body.machine else { return Ok(()) };
        let identity = machine.journal().identity.as_ref().map(kos_base::PublicKey::id);
        let unknown = machine.journal().authority.as_ref().is_none_or(|anchor| anchor.pins.is_empty());
        let found = identity.and_then(|identity| self.authority.store.by_key(identity));
        let lobby = found.and_then(|device| Some((device.id.clone(), device.lobby.clone()?)));
        if let Some((device, lobby)) = lobby
            && lobby.comparison.as_deref() == Some(code)
        {
            if !lobby.approved {
                self.apply(&device, Operation::Approve { profile: SecurityProfile::Sec1 });
            }
            return self.command(id, Command::CodeConfirmed(code.to_owned()));
        }
        // Not the same: the person starts over, unless the device shows another code by then.
        if unknown && self.chance.one_in(3) {
            self.enrol_again(id)?;
        }
        Ok(())
    }

    /// The owner starts an enrolment, with a ticket if there is one.
    pub(super) fn enrol_again(&mut self, id: BodyId) -> Result<()> {
        let Some(body) = self.bodies.get(id.0) else { return Ok(()) };
        let waits = body.machine.as_ref().is_some_and(|machine: &Machine| machine.journal().active.is_none());
        let command = Command::Enrol {
            anchor: body.anchor.clone(),
            ticket: body.ticket.as_ref().map(|ticket| ticket.id),
        };
        if waits { self.command(id, command) } else { Ok(()) }
    }

    /// After the worst is over, somebody looks after the fleet twice a day.
    pub(super) fn plan_care(&mut self) {
        self.later(hours(12), Event::Care);
    }
}
