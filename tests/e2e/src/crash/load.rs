//! Clients that ask for changes, one of each kind, until they are told to stop.
//!
//! What a client asks for while the authority is down is refused, and that is nobody's fault. An enrolment is different:
//! a device that was let in must come to its end, however often it is killed.

use std::{path::PathBuf, process::ExitStatus, sync::Mutex, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{Known, lock};
use crate::{
    fleet::{self, Device},
    program::Program,
    wait,
};

/// How long a client waits that has nothing to do.
const PAUSE: Duration = Duration::from_millis(20);

/// What one client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    Renames,
    Tickets,
    Enrolments,
    Suspensions,
    Regenerations,
    Endings,
}

/// What the clients share.
#[derive(Debug)]
pub(super) struct Yard {
    socket: PathBuf,
    /// In service; is renamed and makes new keys.
    device: String,
    /// In service; is suspended and reinstated.
    held: String,
    pub(super) known: Mutex<Known>,
    /// Devices that were let in and may be ended.
    newcomers: Mutex<Vec<String>>,
    /// `kosd enroll`, while it runs.
    enrolling: Mutex<Option<Program>>,
}

impl Yard {
    pub(super) fn new(socket: PathBuf, device: String, held: String) -> Self {
        let (known, newcomers, enrolling) =
            <(Mutex<Known>, Mutex<Vec<String>>, Mutex<Option<Program>>)>::default();
        Self { socket, device, held, known, newcomers, enrolling }
    }

    /// Waits until an enrolment runs, and kills it `after` that.
    pub(super) fn cut_enrolment(&self, after: Duration) -> Result<()> {
        wait::until("an enrolment to kill", || Ok(lock(&self.enrolling).is_some().then_some(())))?;
        wait::pass(after);
        // It may have ended meanwhile.
        lock(&self.enrolling).take().map_or(Ok(()), Program::kill)
    }

    fn json(&self, arguments: &[&str]) -> Option<Value> {
        fleet::json(&self.socket, arguments).ok()
    }

    /// Sets a field of a device.
    fn set(&self, load: Load, device: &str, (field, value): (&'static str, &str), arguments: &[&str]) {
        lock(&self.known).asks(device, field, value);
        if let Some(done) = self.json(arguments) {
            let mut known = lock(&self.known);
            known.set(load, device, field, value);
            let index = ["/item/lastAuditIndex", "/item/auditIndex"].map(|at| done.pointer(at)?.as_u64());
            known.recorded(device, index.into_iter().flatten().next());
        }
    }

    /// Runs `kosd enroll` where it can be killed; nothing if it was.
    fn enrol(&self, newcomer: &Device, ticket: &str) -> Result<Option<ExitStatus>> {
        let root = newcomer.root().to_string_lossy().into_owned();
        *lock(&self.enrolling) = Some(Program::start("kosd", &["enroll", "--root", &root], ticket)?);
        wait::until("the end of an enrolment", || {
            let mut running = lock(&self.enrolling);
            let Some(program) = running.as_mut() else { return Ok(Some(None)) };
            let status = program.status()?;
            if status.is_some() {
                *running = None;
            }
            Ok(status.map(Some))
        })
    }
}

impl Load {
    pub(super) const ALL: [Self; 6] = [
        Self::Renames,
        Self::Tickets,
        Self::Enrolments,
        Self::Suspensions,
        Self::Regenerations,
        Self::Endings,
    ];

    /// Asks for one change and remembers it if it was acknowledged.
    pub(super) fn step(self, yard: &Yard, name: &str) -> Result<()> {
        match self {
            Self::Renames => {
                let device = &yard.device;
                yard.set(self, device, ("name", name), &["device", "rename", device, name]);
            }
            Self::Tickets => {
                let made = yard.json(&["ticket", "create", "--role", "sensor"]);
                if let Some(id) = made.and_then(|made| text(&made, "/item/ticketId")) {
                    lock(&yard.known).ticket(id);
                }
            }
            Self::Enrolments => enrolment(yard, name)?,
            Self::Suspensions => {
                let held = &yard.held;
                yard.set(self, held, ("state", "suspended"), &["device", "suspend", held, "--yes"]);
                yard.set(self, held, ("state", "active"), &["device", "reinstate", held, "--yes"]);
            }
            Self::Regenerations => {
                let device = &yard.device;
                if let Some(done) = yard.json(&["regen-cert", "--device", device]) {
                    let index = done.pointer("/item/lastAuditIndex").and_then(Value::as_u64);
                    let mut known = lock(&yard.known);
                    known.recorded(device, index);
                    known.count(self);
                }
            }
            Self::Endings => ending(self, yard),
        }
        Ok(())
    }
}

/// Lets a new device in, again and again if it is killed.
fn enrolment(yard: &Yard, name: &str) -> Result<()> {
    let made = yard.json(&["ticket", "create", "--role", "sensor"]).and_then(|t| text(&t, "/item/text"));
    let Some(ticket) = made else { return Ok(()) };
    let newcomer = Device::new(name, "")?;
    let mut killed = false;
    let ended = loop {
        match yard.enrol(&newcomer, &ticket)? {
            Some(ended) => break ended,
            None => killed = true,
        }
    };
    // While the authority is down it may say that nobody is there; who was killed comes to the end.
    if ended.success() {
        let id = newcomer.id()?;
        let mut known = lock(&yard.known);
        known.device(id.clone());
        known.repeated += usize::from(killed);
        drop(known);
        lock(&yard.newcomers).push(id);
    } else {
        anyhow::ensure!(!killed, "an enrolment that was killed did not come to its end: {ended}");
    }
    Ok(())
}

/// Ends a device that was let in, if there is one.
fn ending(load: Load, yard: &Yard) {
    let Some(id) = lock(&yard.newcomers).pop() else { return wait::pass(PAUSE) };
    let shown = yard.json(&["device", "show", &id]);
    let Some(name) = shown.and_then(|shown| text(&shown, "/item/name")) else { return };
    let ordered = ["decommission", "--device", &id, "--confirm", &name];
    yard.set(load, &id, ("state", "decommissioning"), &ordered);
}

fn text(document: &Value, pointer: &str) -> Option<String> {
    document.pointer(pointer)?.as_str().map(str::to_owned)
}
