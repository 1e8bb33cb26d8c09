//! Attackers who replay and guess, disks that are copied, and clocks that jump.

use core::time::Duration;

use anyhow::Result;
use kos_base::EntryId;
use kos_identity::enrolment::message::{FromDevice, Means};

use super::{BodyId, Event, Server, World, network::Opener};
use crate::{
    device::{Body, DeviceClock, Hardware, Twins},
    keys::ModelKey,
};

impl World {
    /// Somebody connects with a key of their own and sends what they have recorded, or changes it into a guess.
    pub(super) fn attack(&mut self) -> Result<()> {
        let key = ModelKey::new(&self.chance.bytes())?;
        let peer = (!self.chance.one_in(5)).then(|| key.public().clone());
        let source = "198.51.100.66".to_owned();
        let link = self.open(Opener::Attacker, Server::Real, peer, source);
        self.later(Duration::ZERO, Event::Opened(link));
        let mut at = Duration::from_millis(500);
        for _ in 0..self.chance.between(1, 4) {
            let recorded = self.chance.pick(&self.recorded).cloned().unwrap_or_default();
            let frame = match FromDevice::from_bytes(&recorded) {
                Ok(FromDevice::Prove(mut prove)) if self.chance.one_in(2) => {
                    let tickets: Vec<EntryId> = self.authority.store.tickets.keys().copied().collect();
                    let known = self.chance.pick(&tickets).copied();
                    let ticket = known.unwrap_or_else(|| EntryId::from_parts(self.now, [7; 10]));
                    let guess: [u8; 64] = self.chance.bytes();
                    prove.means = Means::Ticket { ticket, signature: guess.to_vec().into() };
                    FromDevice::Prove(prove).to_bytes()
                }
                _ if self.chance.one_in(6) => self.chance.bytes::<48>().to_vec(),
                _ => recorded,
            };
            self.later(at, Event::ToServer(link, frame));
            at += Duration::from_millis(self.chance.between(0, 400));
        }
        Ok(())
    }

    /// Somebody copies the disk of a device, and starts another device from it later.
    pub(super) fn copy_a_disk(&mut self) -> Result<()> {
        let count = u64::try_from(self.bodies.len())?;
        let at = usize::try_from(self.chance.below(count))?;
        let Some(body) = self.bodies.get_mut(at) else { return Ok(()) };
        let journal = body.disk.durable.read_journal();
        let Some(membership) = journal.filter(|journal| journal.active.is_some()).and_then(|j| j.membership)
        else {
            return Ok(());
        };
        if body.disk.durable.record.is_some() || body.twins == Twins::Alive {
            return Ok(());
        }
        body.twins = Twins::Alive;
        let mut disk = body.disk.clone();
        disk.lose_power();
        let twin = Body {
            number: body.number + 100,
            profile: body.profile.clone(),
            anchor: body.anchor.clone(),
            tpm: body.tpm.clone(),
            ticket: None,
            disk,
            clock: DeviceClock::start(Hardware::Late(Duration::ZERO), self.now, None),
            life: 0,
            machine: None,
            link: None,
            source: format!("203.0.113.{}", body.number),
            wakes: 0,
            told: None,
            refusals: 0,
            obeyed: body.obeyed.clone(),
            floor: body.floor,
            served: body.served,
            wanted: body.wanted,
            twins: Twins::Alive,
        };
        self.note(|_| format!("the disk of device {at} is copied"));
        self.copied.push(membership.device);
        let id = BodyId(self.bodies.len());
        self.bodies.push(twin);
        let wait = Duration::from_secs(self.chance.below(1_500_000));
        self.later(wait, Event::PowerOn(id));
        Ok(())
    }

    /// A clock is set to something else.
    pub(super) fn disturb_a_clock(&mut self) -> Result<()> {
        let at = usize::try_from(self.chance.below(u64::try_from(self.bodies.len())?))?;
        let by = Duration::from_secs(self.chance.below(3_000_000));
        let hardware = match self.chance.below(4) {
            0 => Hardware::Never,
            1 => Hardware::Future,
            2 => Hardware::Late(by),
            _ => Hardware::Early(by),
        };
        if let Some(body) = self.bodies.get_mut(at) {
            body.clock.hardware = hardware;
        }
        Ok(())
    }
}
