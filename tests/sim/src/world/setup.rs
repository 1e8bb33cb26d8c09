//! What a seed decides before anything happens: who there is, how bad it gets, and when what goes wrong.

use core::time::Duration;
use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use anyhow::{Context as _, Result};
use kos_base::{EntryId, Mac, Role, SecurityProfile};
use kos_emulator::paper::PaperTpm;
use kos_identity::{
    enrolment::{
        device::{Anchor, BootloaderLock, Introduction, KeyHome, Profile},
        message::{Facts, Image},
    },
    registry::{Actor, Change, Commit, Ticket, Write},
};

use super::{BodyId, Event, Server, Tracing, Weather, World, day, hours};
use crate::{
    authority::Authority,
    chance::Chance,
    device::{Body, DeviceClock, Disk, GivenTicket, Hardware, Twins, Wanted},
    keys::{AuthorityKit, BEGIN, ModelKey},
    laws::Laws,
    plant::Plant,
};

impl World {
    pub(super) fn create(seed: u64, plant: Option<Plant>, tracing: Tracing) -> Result<Self> {
        let mut chance = Chance::new(seed);
        let weather = Weather::draw(&mut chance);
        let mut world = Self {
            now: BEGIN.plus(Duration::from_millis(chance.below(1_000))),
            weather,
            chance,
            plant,
            healed: false,
            queue: super::Queue::default(),
            bodies: Vec::new(),
            links: std::collections::BTreeMap::new(),
            links_made: 0,
            authority: Authority::new(AuthorityKit::real()?),
            rogue: Authority::new(AuthorityKit::rogue()?),
            recorded: Vec::new(),
            copied: Vec::new(),
            publication_planned: false,
            rounds_left: 0,
            laws: Laws::default(),
            trace: (tracing == Tracing::On).then(Vec::new),
        };
        world.populate()?;
        world.plan_trouble();
        Ok(world)
    }

    fn populate(&mut self) -> Result<()> {
        let count = self.chance.between(1, 3);
        let shared = self.chance.one_in(3);
        let mut ticket = None;
        for number in 0..count {
            let role = *self.chance.pick(Role::ALL).unwrap_or(&Role::Sensor);
            let profile = if self.chance.one_in(3) { SecurityProfile::Sec1 } else { SecurityProfile::Sec2 };
            let by_ticket = shared || self.chance.below(4) > 0;
            let role = if shared { Role::Sensor } else { role };
            if by_ticket && (!shared || ticket.is_none()) {
                let uses = if shared && self.chance.one_in(3) { 2 } else { 1 };
                ticket = Some(self.make_ticket(role, uses)?);
            }
            let anchor = self.anchor(by_ticket);
            let mut body = self.body(number, role, profile, anchor)?;
            body.ticket = ticket.clone().filter(|_| by_ticket);
            // Devices with one ticket come at once, others within two days; a ticket may be dead by then.
            let wait = match self.chance.below(3) {
                _ if shared => Duration::from_millis(self.chance.below(300)),
                0 => hours(self.chance.below(48)),
                _ => Duration::from_secs(self.chance.below(300)),
            };
            let id = BodyId(self.bodies.len());
            self.bodies.push(body);
            self.later(wait, Event::PowerOn(id));
        }
        Ok(())
    }

    fn body(&mut self, number: u64, role: Role, profile: SecurityProfile, anchor: Anchor) -> Result<Body> {
        // Once in a while two devices show the same hardware.
        let hardware = if self.chance.one_in(12) { 0 } else { number };
        let mac = format!("00:11:22:33:44:{hardware:02x}").parse::<Mac>()?;
        let tpm = self.chance.one_in(4).then(|| {
            let (ek, ak) = (self.chance.bytes(), self.chance.bytes());
            Rc::new(RefCell::new(PaperTpm::from_scalars(&ek, &ak)))
        });
        let bootloader = if self.chance.one_in(3) { BootloaderLock::Command } else { BootloaderLock::None };
        let profile = Profile {
            facts: Facts { macs: vec![mac], serials: vec![format!("S{hardware}")] },
            image: Image::Unverified,
            role,
            profile,
            name: None,
            capabilities: Vec::new(),
            bootloader,
            keys: if tpm.is_some() { KeyHome::Tpm } else { KeyHome::Elsewhere },
            introduction: Introduction::default(),
        };
        let hardware = match self.chance.below(8) {
            0 => Hardware::Never,
            1 => Hardware::Future,
            2 => Hardware::Late(Duration::from_secs(self.chance.below(2_000_000))),
            3 => Hardware::Early(Duration::from_secs(self.chance.below(2_000_000))),
            _ => Hardware::Late(Duration::ZERO),
        };
        Ok(Body {
            number: usize::try_from(number)?,
            profile,
            anchor,
            ticket: None,
            tpm,
            disk: Disk::default(),
            clock: DeviceClock::start(hardware, self.now, None),
            life: 0,
            machine: None,
            link: None,
            source: format!("192.0.2.{number}"),
            wakes: 0,
            told: None,
            refusals: 0,
            obeyed: BTreeSet::new(),
            floor: None,
            served: None,
            wanted: Wanted::Yes,
            twins: Twins::None,
        })
    }

    /// With a ticket or a configured pin the authority is known; else a person has to compare codes.
    fn anchor(&mut self, by_ticket: bool) -> Anchor {
        let context = &self.authority.kit.context;
        let pinned = by_ticket || self.chance.one_in(2);
        Anchor {
            name: by_ticket.then(|| context.name.clone()),
            pins: if pinned { vec![context.root.key_id()] } else { Vec::new() },
            addresses: vec!["192.0.2.250:8641".to_owned()],
        }
    }

    /// An operator makes a ticket.
    pub(super) fn make_ticket(&mut self, role: Role, uses_max: u32) -> Result<GivenTicket> {
        let key = Rc::new(ModelKey::new(&self.chance.bytes())?);
        let id = EntryId::from_parts(self.now, self.chance.bytes());
        let life = if self.healed || self.chance.one_in(2) { hours(24) } else { Ticket::LIFE_MAX };
        let record = Ticket {
            id,
            version: 1,
            proof_key: key.public().clone(),
            role,
            profile_cap: SecurityProfile::Sec2,
            group: None,
            device_name: None,
            uses_max,
            uses: 0,
            created_at: self.now,
            expires_at: self.now.plus(life),
            revoked: false,
            serial: None,
            identity_key: None,
            last_device: None,
        };
        let change = Change::TicketCreated {
            ticket: id,
            role,
            profile_cap: record.profile_cap,
            uses_max,
            expires_at: record.expires_at,
        };
        let commit = Commit {
            actor: Actor::LocalUser("owner".to_owned()),
            changes: vec![change],
            writes: vec![Write::Ticket(Box::new(record))],
        };
        self.commit(Server::Real, &commit).ok().context("a new ticket meets no conflict")?;
        Ok(GivenTicket { id, key })
    }

    fn plan_trouble(&mut self) {
        let days = match self.chance.below(3) {
            0 => 1,
            1 => self.chance.between(2, 12),
            _ => self.chance.between(13, 60),
        };
        let within = |chance: &mut Chance| Duration::from_secs(chance.below(days * 86_400));
        for _ in 0..self.chance.below(7) {
            let at = within(&mut self.chance);
            self.later(at, Event::Operate);
        }
        for _ in 0..self.chance.below(4) {
            let at = within(&mut self.chance);
            self.later(at, Event::Attack);
        }
        for (one_in, event) in [(3, Event::Copy), (4, Event::Disturb)] {
            if self.chance.one_in(one_in) {
                let at = within(&mut self.chance);
                self.later(at, event);
            }
        }
        self.later(day(days), Event::Heal);
        self.later(Duration::ZERO, Event::Publish);
    }
}
