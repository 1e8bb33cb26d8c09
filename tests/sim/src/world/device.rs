//! Driving a device: what its machine asks for is done to the model's disk, clock and network, and power may fail before
//! each step.

use core::time::Duration;
use std::rc::Rc;

use anyhow::Result;
use kos_base::{AgreementKey, Secret, key::SignatureForm};
use kos_identity::enrolment::{
    device::{Command, Event as Told, Input, KeySlot, Machine, MadeKey, Output, SignWith},
    message::{FromAuthority, FromDevice},
};

use super::{BodyId, Event, LinkId, World, day, hours};
use crate::{
    device::{Body, DeviceClock, StoredKey, Wanted, tpm},
    keys::ModelKey,
    plant::Plant,
};

/// Refusals after which an owner switches a device off for some days.
const REFUSALS_MAX: u64 = 40;

impl World {
    pub(super) fn power_on(&mut self, id: BodyId) -> Result<()> {
        let now = self.now;
        let reenters = self.healed || self.chance.below(3) > 0;
        let Some(body) = self.bodies.get_mut(id.0).filter(|body| body.machine.is_none()) else {
            return Ok(());
        };
        let journal = body.disk.now.read_journal();
        if body.disk.now.journal.is_some() && journal.is_none() {
            self.laws.broken("journal", format!("{body} cannot read its journal"));
            return Ok(());
        }
        let floor = journal.as_ref().and_then(|journal| journal.time_floor);
        body.clock = DeviceClock::start(body.clock.hardware, now, floor);
        body.life += 1;
        if let Some(tpm) = &body.tpm {
            tpm.borrow_mut().clock.1 += 1;
        }
        let record = body.disk.now.record.as_ref().map(|record| record.to_vec());
        let bytes = body.disk.now.journal.clone();
        let machine = Machine::load(body.profile.clone(), bytes.as_deref(), record, body.clock.trust())?;
        let known = machine.journal().authority.is_some();
        let goes_on = machine.is_ending() || machine.journal().is_member();
        body.machine = Some(machine);
        if body.wanted == Wanted::No && !goes_on {
            body.machine = None;
            return Ok(());
        }
        let command = match &body.ticket {
            _ if goes_on => Command::Resume,
            Some(ticket) if reenters || !known => {
                Command::Enrol { anchor: body.anchor.clone(), ticket: Some(ticket.id) }
            }
            None if !known => Command::Enrol { anchor: body.anchor.clone(), ticket: None },
            _ => Command::Resume,
        };
        let life = body.life;
        let first = Duration::from_secs(self.chance.between(5, 600));
        self.later(first, Event::Heartbeat(id, life));
        self.command(id, command)?;
        if self.healed { self.care_for(id) } else { Ok(()) }
    }

    /// Gives a command to a device that has power.
    pub(super) fn command(&mut self, id: BodyId, command: Command) -> Result<()> {
        let now = self.now;
        if let Some(body) = self.bodies.get_mut(id.0)
            && let Some(machine) = &mut body.machine
        {
            machine.handle_command(body.clock.now(now), command);
            self.drive(id)?;
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, id: BodyId, life: u64, input: Input) -> Result<()> {
        let now = self.now;
        if let Some(body) = self.bodies.get_mut(id.0).filter(|body| body.life == life)
            && let Some(machine) = &mut body.machine
        {
            machine.handle_input(body.clock.now(now), input);
            self.drive(id)?;
        }
        Ok(())
    }

    pub(super) fn hear_from_network(
        &mut self,
        id: BodyId,
        life: u64,
        link: LinkId,
        input: Input,
    ) -> Result<()> {
        let Some(body) = self.bodies.get_mut(id.0).filter(|body| body.link == Some(link)) else {
            return Ok(());
        };
        if matches!(input, Input::Disconnected(_)) {
            body.link = None;
        }
        self.answer(id, life, input)
    }

    pub(super) fn wake(&mut self, id: BodyId, life: u64, number: u64) -> Result<()> {
        let now = self.now;
        if let Some(body) = self.bodies.get_mut(id.0).filter(|body| body.life == life && body.wakes == number)
            && let Some(machine) = &mut body.machine
        {
            machine.handle_timeout(body.clock.now(now));
            self.drive(id)?;
        }
        Ok(())
    }

    /// The daemon reports over its operational certificate. Who is not taken asks why.
    pub(super) fn heartbeat(&mut self, id: BodyId, life: u64) -> Result<()> {
        let Some(body) = self.bodies.get(id.0).filter(|body| body.life == life) else { return Ok(()) };
        let Some(machine) = &body.machine else { return Ok(()) };
        let active = machine.journal().active.as_ref().filter(|_| !machine.is_ending());
        let key = active.map(|held| held.operational.id());
        let pause = hours(5).saturating_add(Duration::from_secs(self.chance.below(7_200)));
        self.later(pause, Event::Heartbeat(id, life));
        let lost = self.chance.one_in(self.weather.loses);
        if let Some(key) = key.filter(|_| self.authority.up && !lost) {
            let command = match self.authority.store.serves(key, self.now) {
                None => Some(Command::CheckIn),
                Some(device) => device.regenerate.then_some(Command::Regenerate),
            };
            if let Some(command) = command {
                self.note(|_| format!("device {} reports, and gets {command:?}", id.0));
                self.command(id, command)?;
            }
        }
        self.plan_wake(id);
        Ok(())
    }

    /// Does what the machine asks for, until it asks for nothing more or power fails.
    fn drive(&mut self, id: BodyId) -> Result<()> {
        while let Some(machine) = self.bodies.get_mut(id.0).and_then(|body| body.machine.as_mut()) {
            let Some(output) = machine.poll_output() else { break };
            if self.chance.one_in(self.weather.device_cuts) {
                self.note(|_| format!("device {} loses power before {}", id.0, describe(&output)));
                self.cut_power(id);
                return Ok(());
            }
            self.note(|_| format!("device {}: {}", id.0, describe(&output)));
            self.act(id, output)?;
        }
        self.plan_wake(id);
        Ok(())
    }

    pub(super) fn cut_power(&mut self, id: BodyId) {
        let pause = match self.chance.below(12) {
            0 => day(self.chance.between(1, 45)),
            1..=3 => hours(self.chance.between(1, 40)),
            _ => Duration::from_secs(self.chance.between(1, 120)),
        };
        self.switch_off(id, pause);
    }

    fn switch_off(&mut self, id: BodyId, pause: Duration) {
        let Some(body) = self.bodies.get_mut(id.0) else { return };
        body.machine = None;
        body.life += 1;
        body.disk.lose_power();
        if let Some(link) = body.link.take() {
            self.close_by_client(link);
        }
        self.later(pause, Event::PowerOn(id));
    }

    fn plan_wake(&mut self, id: BodyId) {
        let now = self.now;
        let Some(body) = self.bodies.get_mut(id.0) else { return };
        body.wakes += 1;
        let due = body.machine.as_ref().and_then(Machine::poll_timeout);
        if let Some(due) = due {
            let at = body.clock.when(due, now).max(now.plus(Duration::from_millis(1)));
            let wake = Event::Wake(id, body.life, body.wakes);
            self.queue.plan(at, wake);
        }
    }

    fn act(&mut self, id: BodyId, output: Output) -> Result<()> {
        match output {
            Output::MakeKey(slot) => self.make_key(id, slot)?,
            Output::Draw => {
                let drawn = Input::Drawn(Secret::new(self.chance.bytes()));
                self.answer_soon(id, drawn);
            }
            Output::Persist(journal) => self.persist(id, &journal),
            Output::Connect { key, anchor, .. } => {
                let Some(body) = self.bodies.get_mut(id.0) else { return Ok(()) };
                let life = body.life;
                if let Some(old) = body.link.take() {
                    self.close_by_client(old);
                }
                self.connect(id, life, key, &anchor);
            }
            Output::Send(frame) => self.send(id, frame),
            Output::Close => {
                if let Some(link) = self.bodies.get_mut(id.0).and_then(|body| body.link.take()) {
                    self.close_by_client(link);
                }
                self.catch_up(id);
            }
            Output::Sign { key, form, message } => self.sign(id, key, form, &message)?,
            Output::ShowCode(code) => {
                let walk = Duration::from_secs(self.chance.between(20, 3_600));
                self.later(walk, Event::Compare(id, code));
            }
            Output::Install(installation) => {
                let early = self.plant == Some(Plant::EraseBeforeRecorded);
                let Some(body) = self.bodies.get_mut(id.0) else { return Ok(()) };
                body.disk.now.files = 1 + installation.crls.len();
                body.disk.durable.files = body.disk.now.files;
                let held = body.machine.as_ref().map(Machine::journal);
                let old = held.and_then(|journal| {
                    journal.candidate.as_ref().and_then(|candidate| candidate.held.as_ref())?;
                    journal.active.as_ref().map(|active| active.slot)
                });
                if let Some(slot) = old.filter(|_| early) {
                    self.erase(id, &[KeySlot::Operational(slot), KeySlot::Agreement(slot)]);
                }
            }
            Output::Offer => {
                let offer = self.bodies.get(id.0).and_then(tpm::offer);
                self.answer_soon(id, Input::Offered(offer));
            }
            Output::Attest { challenge, binding, slot } => {
                let wrong = self.plant == Some(Plant::OtherKeyAttested);
                let Some(body) = self.bodies.get(id.0) else { return Ok(()) };
                let certified = if wrong { KeySlot::Identity } else { KeySlot::Operational(slot) };
                match tpm::state(body, &challenge, &binding, certified) {
                    Some(statement) => self.answer_soon(id, Input::Attested(Box::new(statement))),
                    None => self.laws.broken("keys", format!("{body} attests a key that is gone: {slot:?}")),
                }
            }
            Output::LockBootloader => {
                let locked = if self.chance.one_in(4) { Err(()) } else { Ok(()) };
                self.answer_soon(id, Input::BootloaderLocked(locked));
            }
            Output::Erase(slots) => {
                let isolated = self.bodies.get(id.0).and_then(|body| body.machine.as_ref());
                let isolated = isolated.is_some_and(|machine| machine.journal().isolation.is_some());
                if self.plant != Some(Plant::KeysKeptInQuarantine) || !isolated {
                    self.erase(id, &slots);
                }
            }
            Output::Forget => {
                if let Some(body) = self.bodies.get_mut(id.0) {
                    body.disk.now.files = 0;
                    body.disk.durable.files = 0;
                }
            }
            Output::Gather { recipients, .. } => {
                let bundle = (!recipients.is_empty()).then(|| self.chance.bytes::<40>().to_vec());
                self.answer_soon(id, Input::Gathered(bundle));
            }
            Output::WriteRecord(record) => {
                if let Some(body) = self.bodies.get_mut(id.0) {
                    body.disk.now.record = Some(record.into());
                    if self.plant != Some(Plant::WipeBeforeRecord) {
                        body.disk.durable.record = body.disk.now.record.clone();
                    }
                }
            }
            Output::Wipe => self.wipe(id),
            Output::Event(event) => self.told(id, event),
        }
        Ok(())
    }

    fn make_key(&mut self, id: BodyId, slot: KeySlot) -> Result<()> {
        let seed = self.chance.bytes();
        let (key, made) = match slot {
            KeySlot::Identity | KeySlot::Operational(_) => {
                let in_tpm = self.bodies.get(id.0).is_some_and(|body| body.tpm.is_some());
                let key = Rc::new(if in_tpm { ModelKey::p256(&seed)? } else { ModelKey::new(&seed)? });
                let public = key.public().clone();
                if slot == KeySlot::Identity {
                    self.laws.identity_made(public.id());
                }
                (StoredKey::Signing(key), MadeKey::Signing(public))
            }
            KeySlot::Agreement(_) => {
                let key = AgreementKey(seed);
                (StoredKey::Agreement(key), MadeKey::Agreement(key))
            }
        };
        let durable = self.plant != Some(Plant::KeyNotSynced);
        let Some(body) = self.bodies.get_mut(id.0) else { return Ok(()) };
        body.disk.now.keys.insert(slot, key.clone());
        if durable {
            body.disk.durable.keys.insert(slot, key);
        }
        self.laws.disk(body);
        self.answer_soon(id, Input::KeyMade(made));
        Ok(())
    }

    fn persist(&mut self, id: BodyId, journal: &[u8]) {
        let Some(body) = self.bodies.get_mut(id.0) else { return };
        body.disk.now.journal = Some(journal.into());
        let isolated = body.disk.now.read_journal().is_some_and(|journal| journal.isolation.is_some());
        if isolated && self.plant == Some(Plant::IsolationNotSynced) {
            return;
        }
        self.laws.persisted(body);
        if self.plant != Some(Plant::PersistAfterSend) {
            body.disk.durable.journal = body.disk.now.journal.clone();
            self.laws.disk(body);
        }
    }

    /// With a planted bug, what was to be durable before becomes so now.
    fn catch_up(&mut self, id: BodyId) {
        if let Some(body) = self.bodies.get_mut(id.0) {
            body.disk.sync();
        }
    }

    fn sign(&mut self, id: BodyId, key: SignWith, form: SignatureForm, message: &[u8]) -> Result<()> {
        let Some(body) = self.bodies.get(id.0) else { return Ok(()) };
        let held = match key {
            SignWith::Slot(slot) => body.disk.now.signing(slot),
            SignWith::Ticket => body.ticket.as_ref().map(|ticket| &ticket.key),
        };
        match held.map(|key| key.sign_as(form, message)).transpose()? {
            Some(signature) => self.answer_soon(id, Input::Signed(signature)),
            None => self.laws.broken("keys", format!("{body} signs with a key that is gone: {key:?}")),
        }
        Ok(())
    }

    fn send(&mut self, id: BodyId, frame: Vec<u8>) {
        let Some(body) = self.bodies.get(id.0) else { return };
        let message = FromDevice::from_bytes(&frame);
        if let Ok(message) = &message {
            self.laws.device_sends(body, message);
        }
        let (life, link) = (body.life, body.link);
        if self.plant == Some(Plant::ProbeSkipped) && matches!(message, Ok(FromDevice::Stored(_))) {
            let recorded = Input::Received(FromAuthority::Recorded.to_bytes());
            self.soon(Event::Answer(id, life, recorded));
        } else if let Some(link) = link {
            self.send_to_server(link, frame);
        }
    }

    fn erase(&mut self, id: BodyId, slots: &[KeySlot]) {
        let Some(body) = self.bodies.get_mut(id.0) else { return };
        self.laws.device_erases(body, slots, &self.authority.store);
        for slot in slots {
            body.disk.now.keys.remove(slot);
            body.disk.durable.keys.remove(slot);
        }
        self.laws.disk(body);
    }

    /// Keys first, then everything else; power may fail in between.
    fn wipe(&mut self, id: BodyId) {
        let fails = self.chance.one_in(self.weather.device_cuts);
        let Some(body) = self.bodies.get_mut(id.0) else { return };
        self.laws.device_wipes(body);
        for content in [&mut body.disk.now, &mut body.disk.durable] {
            content.keys.clear();
        }
        self.laws.disk(body);
        if fails {
            return self.cut_power(id);
        }
        for content in [&mut body.disk.now, &mut body.disk.durable] {
            content.journal = None;
            content.files = 0;
        }
        body.floor = None;
        self.catch_up(id);
        self.answer_soon(id, Input::Wiped);
    }

    fn told(&mut self, id: BodyId, event: Told) {
        let now = self.now;
        let Some(body) = self.bodies.get_mut(id.0) else { return };
        if let Told::Time(time) = event {
            body.clock.learn(time, now);
            return;
        }
        if matches!(event, Told::Refused(_)) {
            body.refusals += 1;
            // Its owner switches it off for a while.
            if body.refusals % REFUSALS_MAX == 0 {
                body.told = Some(event);
                return self.switch_off(id, day(5));
            }
        }
        if matches!(event, Told::Enrolled(_)) {
            body.ticket = None;
        }
        body.told = Some(event);
        self.catch_up(id);
    }

    fn answer_soon(&mut self, id: BodyId, input: Input) {
        if let Some(life) = self.bodies.get(id.0).map(|body: &Body| body.life) {
            let delay = Duration::from_millis(self.chance.below(30));
            self.later(delay, Event::Answer(id, life, input));
        }
    }
}

/// An output in few words.
fn describe(output: &Output) -> String {
    match output {
        Output::Persist(_) => "Persist".to_owned(),
        Output::Send(frame) => format!("Send {}", super::network::describe_request(frame)),
        Output::Connect { key, .. } => format!("Connect with {key:?}"),
        Output::Sign { key, .. } => format!("Sign with {key:?}"),
        Output::Install(_) => "Install".to_owned(),
        // What it is about has signatures in it, which are others each time.
        Output::Attest { slot, .. } => format!("Attest with {slot:?}"),
        Output::WriteRecord(_) => "WriteRecord".to_owned(),
        other => format!("{other:?}"),
    }
}
