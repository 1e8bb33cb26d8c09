//! Starts both ends, says what happened, and ends both.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use kos_authority::{Age, Authority, Options, PortChoice};
use kosctl::{
    Client, Server,
    api::{authority::Status, routes},
};
use kosd::life::Outcome;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    device,
    fault::Fault,
    ready::{Facts, Ready},
};

/// Runs both ends until the program is told to stop.
pub(crate) async fn run(data: &Path, port_base: u16) -> Result<(), Fault> {
    let began = Instant::now();
    std::fs::create_dir_all(data).map_err(|error| Fault::file(data, error))?;
    if !Authority::exists(data) {
        Authority::init(data, None)?;
    }
    let options =
        Options { data: data.to_owned(), port_base: Some(port_base), port_choice: PortChoice::NextFree };
    let authority = Authority::open(options).await?;
    // From here on the lock is ours, so what an interrupted run left may go.
    Ready::clear(data)?;
    let (name, age, ports, socket) =
        (authority.name().to_string(), authority.age(), authority.ports(), authority.socket());
    greet(data, &name, age);
    if port_base != 0 && ports.web != port_base {
        say(&format!("  note  port {port_base} is in use: {} to {} instead", ports.web, ports.pki));
    }
    let (stop, stopping) = watch::channel(false);
    let mut serving = tokio::spawn(authority.serve(told(stopping.clone())));

    let api = Client::new(Server::Unix(socket.clone()), None);
    let status = tokio::select! {
        status = first_answer(&api) => status?,
        ended = &mut serving => return Err(early(ended, "the authority")),
    };
    let opened = match age {
        Age::New => "keys made, store opened, audit log started (entry 1)".to_owned(),
        Age::Existing => format!("store opened, audit log continued (entry {})", status.log.size),
    };
    say(&format!("  ok  {opened}   {}", seconds(began.elapsed())));

    let root = data.join("device");
    let (device, mut news) = device::boot(&root, &api, ports.tls).await?;
    let mut running = tokio::spawn(device.run(told(stopping)));
    let id = tokio::select! {
        id = device::first_heartbeat(&root, &mut news) => id?,
        ended = &mut running => return Err(early(ended, "the device")),
        ended = &mut serving => return Err(early(ended, "the authority")),
    };
    let heartbeat = began.elapsed();
    let short: String = id.chars().take(11).collect();
    let became = match age {
        Age::New => "enrolled as compute, SEC-2, first heartbeat",
        Age::Existing => "is back, first heartbeat",
    };
    say(&format!("  ok  {short}.. {became}   {}", seconds(heartbeat)));
    say("  next  cargo kosctl list        another device:  cargo kosctl ticket create --role sensor --qr");
    let facts = Facts {
        authority: &name,
        device: &id,
        first_run: age == Age::New,
        heartbeat_ms: u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX),
        ports: [ports.web, ports.tls, ports.pki],
        socket: &socket,
    };
    let ready = Ready::write(data, &facts)?;
    say("ready");

    let failed = until_told(&mut running, &mut serving).await;
    drop(ready);
    stop.send_replace(true);
    finish(running, serving).await?;
    failed
}

/// Waits for SIGINT or SIGTERM, or for one end to stop by itself.
async fn until_told(
    running: &mut JoinHandle<Result<Outcome, kosd::life::LifeError>>,
    serving: &mut JoinHandle<Result<(), kos_authority::StartError>>,
) -> Result<(), Fault> {
    let term = signal(SignalKind::terminate()).map_err(Fault::Runtime);
    let int = signal(SignalKind::interrupt()).map_err(Fault::Runtime);
    let (mut term, mut int) = (term?, int?);
    tokio::select! {
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
        ended = serving => Err(early(ended, "the authority")),
        ended = running => match ended {
            // Somebody decommissioned it; the authority goes on without it until told to stop.
            Ok(Ok(Outcome::Ended(_))) => {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                Ok(())
            }
            other => Err(early(other, "the device")),
        },
    }
}

async fn finish(
    running: JoinHandle<Result<Outcome, kosd::life::LifeError>>,
    serving: JoinHandle<Result<(), kos_authority::StartError>>,
) -> Result<(), Fault> {
    if !running.is_finished() {
        running.await.map_err(|_| Fault::Stopped("the device"))??;
    }
    if !serving.is_finished() {
        serving.await.map_err(|_| Fault::Stopped("the authority"))??;
    }
    Ok(())
}

/// Why an end stopped before it was told to.
fn early<T, E: Into<Fault>>(ended: Result<Result<T, E>, tokio::task::JoinError>, who: &'static str) -> Fault {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(_)) | Err(_) => Fault::Stopped(who),
    }
}

async fn told(mut stopping: watch::Receiver<bool>) {
    // Whoever tells is gone only when the program ends.
    drop(stopping.wait_for(|stop| *stop).await);
}

/// Asks until the authority answers: it has bound its socket before this is called, and answers in milliseconds.
async fn first_answer(api: &Client) -> Result<Status, Fault> {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        if let Ok(status) = api.show(&routes::STATUS, &[]).await {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(api.show(&routes::STATUS, &[]).await?)
}

fn greet(data: &Path, name: &str, age: Age) {
    let age = match age {
        Age::New => "new",
        Age::Existing => "existing",
    };
    let version = env!("CARGO_PKG_VERSION");
    say(&format!(
        "kOS {version}  authority \"{name}\"   data {} ({age})   this machine only",
        data.display()
    ));
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "standard output is this program's face")]
fn say(line: &str) {
    println!("{line}");
}
