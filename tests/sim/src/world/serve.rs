//! Driving an authority: sessions ask, the model's store and keys answer, and power may fail before each step.

use core::time::Duration;

use anyhow::Result;
use kos_base::{Code, Secret, cbor};
use kos_identity::{
    certificate::{IssuerClass, Serial},
    crl,
    enrolment::authority::{AuthorityKey, CommitFailed, Input, Output},
    registry::{Actor, AllowDev, Change, Commit, Device, Operation, Write},
};

use super::{Answer, Event, LinkId, Server, World, hours};
use crate::{
    authority::{Authority, Published},
    plant::Plant,
};

/// Refusals that are recorded in one world; the program counts further ones together.
const REFUSALS_MAX: u64 = 20;

impl World {
    pub(super) const fn server(&self, server: Server) -> &Authority {
        match server {
            Server::Real => &self.authority,
            Server::Rogue => &self.rogue,
        }
    }

    pub(super) const fn server_mut(&mut self, server: Server) -> &mut Authority {
        match server {
            Server::Real => &mut self.authority,
            Server::Rogue => &mut self.rogue,
        }
    }

    pub(super) const fn is_up(&self, server: Server) -> bool {
        self.server(server).up
    }

    /// Hands something to a session and does what it asks for.
    pub(super) fn tell_session(&mut self, id: LinkId, input: Input) -> Result<()> {
        let Some(server) = self.links.get(&id).map(|link| link.server) else { return Ok(()) };
        let now = self.now;
        let Some(session) = self.server_mut(server).sessions.get_mut(&id) else { return Ok(()) };
        session.handle_input(now, input);
        while let Some(session) = self.server_mut(server).sessions.get_mut(&id) {
            let Some(output) = session.poll_output() else { break };
            if matches!(output, Output::Draw | Output::Lookup(_) | Output::Sign { .. } | Output::Commit(_)) {
                self.hold_frames(id);
            }
            if server == Server::Real && self.chance.one_in(self.weather.authority_cuts) {
                self.note(|_| format!("the authority loses power before {}", describe(&output)));
                self.cut_authority();
                return Ok(());
            }
            self.serve(server, id, output)?;
        }
        Ok(())
    }

    fn serve(&mut self, server: Server, id: LinkId, output: Output) -> Result<()> {
        match output {
            Output::Draw => {
                let drawn = Input::Drawn(Secret::new(self.chance.bytes()));
                self.answer_later(server, id, drawn);
            }
            Output::Lookup(query) => {
                let mut found = self.server(server).store.find(&query);
                if self.plant == Some(Plant::TicketExpiryIgnored)
                    && let Some(ticket) = &mut found.ticket
                {
                    ticket.expires_at = self.now.plus(hours(1));
                }
                if self.plant == Some(Plant::ProfileForgotten) && server == Server::Real {
                    found.device = found.device.map(with_less);
                }
                let device = found.device.as_ref().map(|device| device.id.clone());
                self.answer_later(server, id, Input::Found(Box::new(found)));
                if let Some(device) = device.filter(|_| server == Server::Real)
                    && self.chance.one_in(self.weather.meddles)
                {
                    self.operate_on(&device)?;
                }
            }
            // Nobody here is strict enough for one; whoever needs it is refused.
            Output::Second(_) => self.answer_later(server, id, Input::Seconded(None)),
            Output::Sign { key, message, .. } => {
                let kit = self.server(server).kit;
                let signature = match key {
                    AuthorityKey::Issuing(class) => kit.sign(class, &message)?,
                    AuthorityKey::Kid => kit.kid.sign(&message)?,
                };
                self.answer_later(server, id, Input::Signed(signature));
            }
            // A file beside the store; what it means is in the commit.
            Output::Keep(_) => {}
            Output::Commit(commit) => self.take_commit(server, id, commit),
            Output::Send(frame) => {
                if let Some(link) = self.links.get(&id).filter(|link| link.server == Server::Real) {
                    self.laws.authority_sends(
                        &frame,
                        link.asked.as_ref(),
                        link.peer.as_ref(),
                        &self.authority.store,
                    );
                }
                self.send_to_client(id, frame);
            }
            Output::Misuse(code) => self.misuse(server, id, code),
            Output::Close => {
                self.server_mut(server).sessions.remove(&id);
                self.close_by_server(id);
            }
        }
        Ok(())
    }

    fn answer_later(&mut self, server: Server, id: LinkId, input: Input) {
        let life = self.server(server).life;
        let delay = if self.chance.one_in(6) { self.chance.below(400) } else { self.chance.below(20) };
        self.later(Duration::from_millis(delay), Event::Found(id, life, input));
    }

    pub(super) fn answer_session(&mut self, id: LinkId, life: u64, input: Input) -> Result<()> {
        let server = self.links.get(&id).map(|link| link.server);
        match server.filter(|server| self.server(*server).life == life) {
            Some(_) => {
                let waiting = self.links.get_mut(&id).and_then(|link| link.inbox.take());
                self.tell_session(id, input)?;
                self.read(id, waiting.unwrap_or_default())
            }
            None => Ok(()),
        }
    }

    fn take_commit(&mut self, server: Server, id: LinkId, commit: Commit) {
        let life = self.server(server).life;
        let any = |is: fn(&Change) -> bool| commit.changes.iter().any(is);
        let alert = any(|change| matches!(change, Change::CloneSuspected { .. }))
            && !any(|change| matches!(change, Change::DeviceWaiting { .. }));
        if self.plant == Some(Plant::AlertSwallowed) && alert {
            self.answer_later(server, id, Input::Committed(Ok(())));
        } else if self.plant == Some(Plant::CommitAfterAnswer) && server == Server::Real {
            self.answer_later(server, id, Input::Committed(Ok(())));
            let delay = Duration::from_secs(self.chance.between(1, 30));
            self.later(delay, Event::Commit(id, life, commit, Answer::GivenAlready));
        } else {
            let delay = Duration::from_millis(self.chance.below(30));
            self.later(delay, Event::Commit(id, life, commit, Answer::Awaited));
        }
    }

    /// The store takes a session's commit. Power may fail between the commit and the answer.
    pub(super) fn commit_of_session(&mut self, id: LinkId, life: u64, commit: &Commit, answer: Answer) {
        let server = self.links.get(&id).map_or(Server::Real, |link| link.server);
        if self.server(server).life != life {
            return;
        }
        let result = self.commit(server, commit);
        if server == Server::Real && self.chance.one_in(self.weather.authority_cuts) {
            self.note(|_| "the authority loses power after a commit".to_owned());
            self.cut_authority();
        } else if answer == Answer::Awaited {
            self.answer_later(server, id, Input::Committed(result));
        }
    }

    /// Commits, and looks at the laws before and after.
    pub(super) fn commit(&mut self, server: Server, commit: &Commit) -> Result<(), CommitFailed> {
        if server == Server::Rogue {
            self.rogue.store.commit(commit, None)?;
            return self.let_everybody_in(commit);
        }
        let before = self.laws.before_commit(commit, &self.authority.store);
        self.authority.store.commit(commit, self.plant)?;
        self.laws.after_commit(self.now, commit, &before, &self.authority.store);
        for change in &commit.changes {
            if let Change::DeviceWaiting { device, .. } = change {
                let walk = Duration::from_secs(self.chance.between(60, 30_000));
                self.later(walk, Event::Approve(device.clone()));
            }
        }
        let lists = |write: &Write| matches!(write, Write::Revoke(_) | Write::Release { .. });
        if commit.writes.iter().any(lists) && !self.publication_planned {
            self.publication_planned = true;
            self.later(Duration::from_secs(1), Event::Publish);
        }
        Ok(())
    }

    /// A rogue authority approves whoever comes.
    fn let_everybody_in(&mut self, commit: &Commit) -> Result<(), CommitFailed> {
        for change in &commit.changes {
            if let Change::DeviceWaiting { device, .. } = change
                && let Some(device) = self.rogue.store.devices.get(device).cloned()
            {
                let approve = Operation::Approve { profile: kos_base::SecurityProfile::Sec1 };
                if let Ok(approval) = approve.apply(self.now, Actor::Authority, device) {
                    self.rogue.store.commit(&approval, None)?;
                }
            }
        }
        Ok(())
    }

    fn misuse(&mut self, server: Server, id: LinkId, code: Code) {
        self.laws.misuses += 1;
        if server == Server::Real && self.laws.misuses <= REFUSALS_MAX {
            let source = self.links.get(&id).map(|link| link.source.clone()).unwrap_or_default();
            let changes = vec![Change::Refused { code, source: source.clone(), count: 1 }];
            let refusal = Commit { actor: Actor::Unknown(source), changes, writes: Vec::new() };
            // A commit without writes meets no conflict.
            let _ = self.commit(Server::Real, &refusal);
        }
    }

    pub(super) fn cut_authority(&mut self) {
        self.authority.up = false;
        self.authority.life += 1;
        self.authority.sessions.clear();
        self.authority.numbers_in_memory.clear();
        self.publication_planned = false;
        let links: Vec<_> =
            self.links.iter().filter(|(_, link)| link.server == Server::Real).map(|(id, _)| *id).collect();
        for id in links {
            self.close_by_server(id);
        }
        let pause = Duration::from_secs(if self.chance.one_in(10) {
            self.chance.between(3_600, 200_000)
        } else {
            self.chance.between(1, 60)
        });
        self.later(pause, Event::AuthorityOn);
        self.later(pause + Duration::from_secs(2), Event::Publish);
    }

    /// Signs a new list of everything that is revoked.
    pub(super) fn publish(&mut self) -> Result<()> {
        if !self.authority.up {
            return Ok(());
        }
        self.publication_planned = false;
        let kit = self.authority.kit;
        let issuer = kit.context.issuer(IssuerClass::One);
        let id = issuer.key_id();
        let entries = self.authority.store.revocations.values().filter(|revocation| revocation.issuer == id);
        let entries: Vec<_> = entries
            .filter_map(|revocation| {
                let serial = Serial::from_random(revocation.serial.as_slice().try_into().ok()?);
                Some(crl::Entry { serial, at: revocation.at, reason: revocation.reason })
            })
            .collect();
        let last = self.authority.store.lists.get(&id).map(|list| list.number);
        let number = if self.plant == Some(Plant::CrlNumberReused) {
            let counted = self.authority.numbers_in_memory.entry(id).or_insert(0);
            *counted += 1;
            *counted
        } else {
            crl::next_number(last, self.now)
        };
        let unsigned = crl::build(issuer, number, entries, self.now)?;
        let signature = kit.sign(IssuerClass::One, unsigned.to_be_signed())?;
        let der = unsigned.finish(&signature)?;
        self.laws.published(issuer, &der, &self.authority.store);
        self.authority.store.lists.insert(id, Published { number, der, at: self.now });
        Ok(())
    }

    /// An operator moves somebody to the channel for developers, or whatever else chance says.
    pub(super) fn channel(&mut self) -> Operation {
        let channel = *self.chance.pick(kos_base::Channel::ALL).unwrap_or(&kos_base::Channel::Beta);
        let allow_dev = if self.chance.one_in(2) { AllowDev::Mark } else { AllowDev::Keep };
        Operation::SetChannel { channel, allow_dev }
    }
}

/// The record of a device in service as if it had never had more than SEC-1. Only its bytes can be changed like this.
fn with_less(device: Device) -> Device {
    const MORE: &[u8] = b"SEC-2";
    let mut bytes = cbor::encode(&device);
    if device.enrolled_at.is_none() {
        return device;
    }
    for at in 0..bytes.len() {
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(MORE))
            && let Some(digit) = bytes.get_mut(at + MORE.len() - 1)
        {
            *digit = b'1';
        }
    }
    cbor::decode(&bytes, bytes.len()).unwrap_or(device)
}

/// An output in few words.
fn describe(output: &Output) -> String {
    match output {
        Output::Send(frame) => format!("Send {}", super::network::describe_answer(frame)),
        Output::Sign { key, .. } => format!("Sign {key:?}"),
        Output::Lookup(_) => "Lookup".to_owned(),
        Output::Commit(commit) => format!("Commit {:?}", commit.changes),
        other => format!("{other:?}"),
    }
}
