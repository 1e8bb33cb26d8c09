//! The crash loop: kill -9 of the real programs under load, and the question whether anything acknowledged is gone.
//!
//! A run starts the authority, lets several clients make tickets, rename a device and enrol new ones, remembers what was
//! acknowledged, kills one side at a random moment, starts it again and asks for everything that was ever acknowledged.
//! The moment comes from a seed, so a run can be repeated; what the machine does meanwhile cannot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    fleet::{self, Authority, Device},
    wait,
};

const CLIENTS: usize = 3;
/// Longest time between start of the load and the kill.
const LOAD_MS_MAX: u64 = 900;

/// What a crash loop has found.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Always `crash`.
    pub kind: &'static str,
    /// Kills.
    pub runs: u32,
    /// Changes that were acknowledged.
    pub acknowledged: usize,
    /// Of these, how many were gone.
    pub lost: usize,
}

/// Everything that was acknowledged so far.
#[derive(Debug, Default)]
struct Acknowledged {
    tickets: BTreeSet<String>,
    devices: BTreeSet<String>,
    /// The last name that a rename was acknowledged for, and the one that was on its way.
    names: BTreeMap<String, (Option<String>, Option<String>)>,
}

/// Kills `runs` times: three of four the authority, the others a device.
///
/// # Errors
/// When a program does not come up again or the log does not verify. What is lost is in the report.
pub fn run(runs: u32) -> Result<Report> {
    // Often enough that a device notices within seconds that its authority was killed.
    let mut authority = Authority::start_with("heartbeat_seconds: 5\n")?;
    let (mut device, id) = fleet::device_in_service(&authority, "crash-0")?;
    let known = Arc::new(Mutex::new(Acknowledged::default()));
    let mut report = Report { kind: "crash", ..Report::default() };
    for run in 0..runs {
        load_and_kill(&mut authority, &mut device, &id, &known, run)?;
        report.runs += 1;
        report.lost = missing(&authority, &known)?;
        let verdict = authority.json(&["audit", "verify"])?;
        ensure!(verdict.pointer("/item/ok") == Some(&Value::Bool(true)), "run {run}: the log: {verdict}");
        progress(run, report.lost);
        if report.lost > 0 {
            break;
        }
    }
    let known = known.lock().ok().context("a client failed")?;
    report.acknowledged = known.tickets.len() + known.devices.len() + known.names.len();
    authority.device_becomes(&id, "online", |online| online == &Value::Bool(true))?;
    device.stop()?;
    authority.stop()?;
    Ok(report)
}

fn load_and_kill(
    authority: &mut Authority,
    device: &mut Device,
    id: &str,
    known: &Arc<Mutex<Acknowledged>>,
    run: u32,
) -> Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (socket, over, known, id) =
                (authority.socket(), Arc::clone(&over), Arc::clone(known), id.to_owned());
            thread::spawn(move || {
                for step in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("run-{run}-{client}-{step}");
                    one_change(&socket, &known, &id, client, &name);
                }
            })
        })
        .collect();
    wait::pass(Duration::from_millis(moment(run)));
    if run % 4 == 3 {
        device.kill()?;
        over.store(true, Ordering::Relaxed);
        device.run()?;
    } else {
        authority.kill()?;
        over.store(true, Ordering::Relaxed);
        authority.serve()?;
    }
    // A device that was enrolling when the authority died goes on once it is back.
    join(clients)
}

/// Asks for one change and remembers it if it was acknowledged.
fn one_change(socket: &std::path::Path, known: &Mutex<Acknowledged>, id: &str, client: usize, name: &str) {
    let lock = || known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match client {
        0 => {
            lock().names.entry(id.to_owned()).or_default().1 = Some(name.to_owned());
            if fleet::json(socket, &["device", "rename", id, name]).is_ok() {
                lock().names.insert(id.to_owned(), (Some(name.to_owned()), None));
            }
        }
        1 => {
            if let Some(ticket) = ticket(socket).and_then(|t| text(&t, "/item/ticketId")) {
                lock().tickets.insert(ticket);
            }
        }
        _ => {
            let made = ticket(socket).and_then(|t| text(&t, "/item/text"));
            let Some(made) = made else { return };
            let Ok(newcomer) = Device::new(name, "") else { return };
            let enrolled = newcomer.enrol(&made).is_ok_and(|done| done.status.success());
            if enrolled && let Ok(id) = newcomer.id() {
                lock().devices.insert(id);
            }
        }
    }
}

fn ticket(socket: &std::path::Path) -> Option<Value> {
    fleet::json(socket, &["ticket", "create", "--role", "sensor"]).ok()
}

fn text(document: &Value, pointer: &str) -> Option<String> {
    document.pointer(pointer)?.as_str().map(str::to_owned)
}

/// How much of what was acknowledged is gone.
fn missing(authority: &Authority, known: &Mutex<Acknowledged>) -> Result<usize> {
    let ids = |list: &Value, field: &str| -> BTreeSet<String> {
        let items = list.get("items").and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|i| i.get(field)?.as_str().map(str::to_owned)).collect()
    };
    let tickets = ids(&authority.json(&["ticket", "list"])?, "ticketId");
    let devices = ids(&authority.json(&["list"])?, "deviceId");
    let known = known.lock().ok().context("a client failed")?;
    let mut lost = known.tickets.difference(&tickets).count() + known.devices.difference(&devices).count();
    for (id, (acknowledged, under_way)) in &known.names {
        let name = authority.device(id)?.get("name").and_then(Value::as_str).map(str::to_owned);
        // A rename that was cut off may or may not have happened.
        if acknowledged.is_some() && &name != acknowledged && &name != under_way {
            lost += 1;
        }
    }
    Ok(lost)
}

fn join(clients: Vec<thread::JoinHandle<()>>) -> Result<()> {
    for client in clients {
        ensure!(client.join().is_ok(), "a client of the load failed");
    }
    Ok(())
}

/// When the kill comes, spread over the load by a fixed sequence.
fn moment(run: u32) -> u64 {
    u64::from(run).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) % LOAD_MS_MAX
}

#[expect(clippy::print_stderr, reason = "a long loop tells how far it is")]
fn progress(run: u32, lost: usize) {
    eprintln!("run {run}: {lost} lost");
}
