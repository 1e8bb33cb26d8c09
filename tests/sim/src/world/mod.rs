//! One world: who is in it, what is going to happen, and the loop that lets it happen.
//!
//! A world has two parts. In the first, which lasts days or weeks, everything goes wrong that the seed chose. Then it is
//! healed: power and network stay, operators do what operators should, and weeks pass, so that every device has to renew
//! at least once. At the end everybody has to be where policy says.

mod attack;
mod device;
mod end;
mod network;
mod operate;
mod queue;
mod serve;
mod setup;
mod weather;

use core::time::Duration;
use std::collections::BTreeMap;

use anyhow::Result;
use kos_base::{DeviceId, Timestamp};
use kos_identity::{
    enrolment::{authority::Input as ToSession, device::Input as ToDevice},
    registry::Commit,
};

use self::{network::Link, queue::Queue, weather::Weather};
use crate::{
    authority::Authority,
    chance::Chance,
    device::Body,
    keys::BEGIN,
    laws::{Breach, Laws},
    plant::Plant,
};

pub use self::network::{LinkId, Server};

/// Most steps of a world; a world that needs more turns in circles.
const STEPS_MAX: u64 = 1_000_000;

/// A device's place in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyId(pub usize);

/// Something that is going to happen. What belongs to a life of a device or authority is void after a power cut.
#[derive(Debug)]
enum Event {
    PowerOn(BodyId),
    Answer(BodyId, u64, ToDevice),
    Wake(BodyId, u64, u64),
    Heartbeat(BodyId, u64),
    Opened(LinkId),
    Connected(LinkId),
    ToServer(LinkId, Vec<u8>),
    ToClient(LinkId, Vec<u8>),
    Patience(LinkId, u64),
    ClientLost(LinkId),
    Expire(LinkId),
    Found(LinkId, u64, ToSession),
    Commit(LinkId, u64, Commit, Answer),
    AuthorityOn,
    Publish,
    Operate,
    Compare(BodyId, String),
    Approve(DeviceId),
    Attack,
    Copy,
    Disturb,
    Heal,
    Care,
    Rest,
}

/// Whether a session waits for the outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Awaited,
    GivenAlready,
}

/// A world.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    chance: Chance,
    plant: Option<Plant>,
    weather: Weather,
    healed: bool,
    queue: Queue<Event>,
    bodies: Vec<Body>,
    links: BTreeMap<LinkId, Link>,
    links_made: u64,
    authority: Authority,
    rogue: Authority,
    /// Frames that an attacker has recorded.
    recorded: Vec<Vec<u8>>,
    /// Devices of which a copy was made.
    copied: Vec<DeviceId>,
    publication_planned: bool,
    rounds_left: u32,
    laws: Laws,
    trace: Option<Vec<String>>,
}

/// How a world came to its end.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The law that was broken, if one was.
    pub breach: Option<Breach>,
    /// Steps that it took.
    pub steps: u64,
    /// Certificates that were issued.
    pub certificates: u64,
    /// What happened, when it was asked for.
    pub trace: Vec<String>,
}

/// Whether to write down what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// No.
    Off,
    /// Every step.
    On,
}

impl World {
    /// Lives the world of a seed to its end, or until a law is broken.
    ///
    /// # Errors
    /// When the model itself fails, which says nothing about the machines.
    pub fn live(seed: u64, plant: Option<Plant>, tracing: Tracing) -> Result<Outcome> {
        let mut world = Self::create(seed, plant, tracing)?;
        let mut steps = 0;
        while let Some((at, event)) = world.queue.next() {
            steps += 1;
            world.now = world.now.max(at);
            world.happen(event)?;
            if world.laws.breach().is_some() {
                break;
            }
            if steps == STEPS_MAX {
                world.laws.broken("quiescence", format!("not at rest after {STEPS_MAX} steps"));
                break;
            }
        }
        if world.laws.breach().is_none() {
            world.judge_the_end();
        }
        Ok(Outcome {
            breach: world.laws.take_breach(),
            steps,
            certificates: world.laws.certificates(),
            trace: world.trace.unwrap_or_default(),
        })
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        self.note(|_| match &event {
            Event::ToServer(link, frame) => format!("{link} to server: {}", network::describe_request(frame)),
            Event::ToClient(link, frame) => format!("{link} to client: {}", network::describe_answer(frame)),
            Event::Commit(link, _, commit, _) => format!("{link} commit {:?}", commit.changes),
            Event::Wake(..)
            | Event::Heartbeat(..)
            | Event::Expire(_)
            | Event::Patience(..)
            | Event::Found(..)
            | Event::Answer(..)
            | Event::Care
            | Event::Rest => String::new(),
            other => format!("{other:?}"),
        });
        match event {
            Event::PowerOn(body) => self.power_on(body)?,
            Event::Answer(body, life, input) => self.answer(body, life, input)?,
            Event::Wake(body, life, number) => self.wake(body, life, number)?,
            Event::Heartbeat(body, life) => self.heartbeat(body, life)?,
            Event::Opened(link) => self.opened(link)?,
            Event::Connected(link) => self.connected(link)?,
            Event::ToServer(link, frame) => self.reach_server(link, frame)?,
            Event::ToClient(link, frame) => self.reach_client(link, frame)?,
            Event::Patience(link, heard) => self.lose_patience(link, heard)?,
            Event::ClientLost(link) => self.client_lost(link)?,
            Event::Expire(link) => self.expire(link)?,
            Event::Found(link, life, input) => self.answer_session(link, life, input)?,
            Event::Commit(link, life, commit, answer) => self.commit_of_session(link, life, &commit, answer),
            Event::AuthorityOn => self.authority.up = true,
            Event::Publish => self.publish()?,
            Event::Operate => self.operate_somewhere()?,
            Event::Compare(body, code) => self.compare(body, &code)?,
            Event::Approve(device) => self.approve(&device),
            Event::Attack => self.attack()?,
            Event::Copy => self.copy_a_disk()?,
            Event::Disturb => self.disturb_a_clock()?,
            Event::Heal => self.heal()?,
            Event::Care => self.care()?,
            Event::Rest => self.come_to_rest(),
        }
        Ok(())
    }

    /// Writes down what happens, if somebody wants to read it.
    fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let what = what(self);
            let at = self.now.since(BEGIN);
            if let Some(trace) = self.trace.as_mut().filter(|_| !what.is_empty()) {
                let days = at.as_secs() / 86_400;
                trace.push(format!("day {days} {:>8.3} s  {what}", (at - day(days)).as_secs_f64()));
            }
        }
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.queue.plan(self.now.plus(delay), event);
    }

    fn soon(&mut self, event: Event) {
        let delay = self.weather.delay(&mut self.chance).min(Duration::from_secs(5));
        self.later(delay, event);
    }
}

pub(crate) const fn day(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

pub(crate) const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3_600)
}
