//! Starts both ends, says what happened, and ends both.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant},
};

use kos_authority::{Age, Authority, Options, PortChoice, StartError};
use kosctl::{
    Client, Server,
    api::{
        authority::{Ports, Status},
        routes,
    },
};
use kosd::life::{LifeError, Outcome};
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
pub(crate) async fn run(data: &Path, port_base: Option<u16>) -> Result<(), Fault> {
    let began = Instant::now();
    // Heard from here on, so that a signal during the start ends in order as well.
    let mut stop = pin!(stop_signal()?);
    std::fs::create_dir_all(data).map_err(|error| Fault::file(data, error))?;
    if !Authority::exists(data) {
        Authority::init(data, None, None)?;
    }
    let options =
        Options { data: data.to_owned(), port_base, port_choice: PortChoice::NextFree, credentials: None };
    let authority = Authority::open(options).await?;
    // From here on the lock is ours, so what an interrupted run left may go.
    Ready::clear(data)?;
    let face = Face {
        data,
        began,
        name: authority.name().to_string(),
        age: authority.age(),
        ports: authority.ports(),
        socket: authority.socket(),
    };
    face.greet(authority.passed_over());
    let (stopped, stopping) = watch::channel(false);
    let serving = tokio::spawn(authority.serve(told(stopping.clone())));
    let mut ends = Ends { serving, running: None, stopping };
    let outcome = tokio::select! {
        () = &mut stop => Ok(()),
        outcome = face.show(&mut ends) => outcome,
    };
    stopped.send_replace(true);
    let finished = ends.finish().await;
    outcome.and(finished)
}

type Serving = JoinHandle<Result<(), StartError>>;
type Running = JoinHandle<Result<Outcome, LifeError>>;

/// Both ends, each in a task.
struct Ends {
    serving: Serving,
    running: Option<Running>,
    stopping: watch::Receiver<bool>,
}

impl Ends {
    /// Waits until both have stopped, after they were told to.
    async fn finish(self) -> Result<(), Fault> {
        if let Some(running) = self.running.filter(|running| !running.is_finished()) {
            running.await.map_err(|_| Fault::Stopped("the device"))??;
        }
        if !self.serving.is_finished() {
            self.serving.await.map_err(|_| Fault::Stopped("the authority"))??;
        }
        Ok(())
    }
}

/// What kosctl needs to be told in another terminal: it looks into the usual folder by itself.
fn elsewhere(data: &Path) -> String {
    if data == Path::new("./kos-data") {
        return String::new();
    }
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned()).display().to_string();
    let is_plain = data.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b));
    let data = if is_plain { data } else { format!("'{}'", data.replace('\'', r"'\''")) };
    format!("        each after:  export KOS_DATA_DIR={data}")
}

/// What a person is shown.
struct Face<'a> {
    data: &'a Path,
    began: Instant,
    name: String,
    age: Age,
    ports: Ports,
    socket: PathBuf,
}

impl Face<'_> {
    /// Tells how the start goes, and `ready`; then waits for one end to stop by itself.
    async fn show(&self, ends: &mut Ends) -> Result<(), Fault> {
        let Ends { serving, running, stopping } = ends;
        let api = Client::new(Server::Unix(self.socket.clone()), None);
        let status = tokio::select! {
            status = first_answer(&api) => status?,
            ended = &mut *serving => return Err(early(ended, "the authority")),
        };
        let opened = match self.age {
            Age::New => "keys made, store opened, audit log started (entry 1)".to_owned(),
            Age::Existing => format!("store opened, audit log continued (entry {})", status.log.size),
        };
        say(&format!("  ok  {opened}   {}", self.elapsed()));

        let root = self.data.join("device");
        let former = kosd::life::ended(&root)?;
        let (device, mut news) = device::boot(&root, &api, self.ports.tls).await?;
        let running = running.insert(tokio::spawn(device.run(told(stopping.clone()))));
        let (id, heartbeat) = match former {
            // It still tells the authority of its end, should that not be recorded.
            Some(id) => {
                let short = shortened(id.as_ref());
                say(&format!("  ok  {short} has ended for good: nothing is enrolled   {}", self.elapsed()));
                say(&format!(
                    "  next  cargo kosctl list        a new device:  cargo kosctl ticket create --role compute --qr{}",
                    elsewhere(self.data)
                ));
                (id.to_string(), None)
            }
            None => {
                let id = tokio::select! {
                    id = device::first_heartbeat(&root, &mut news) => id?,
                    ended = &mut *running => return Err(early(ended, "the device")),
                    ended = &mut *serving => return Err(early(ended, "the authority")),
                };
                let heartbeat = self.began.elapsed();
                let became = match self.age {
                    Age::New => "enrolled as compute, SEC-2, first heartbeat",
                    Age::Existing => "is back, first heartbeat",
                };
                say(&format!("  ok  {} {became}   {}", shortened(&id), seconds(heartbeat)));
                say(&format!(
                    "  next  cargo kosctl list        another device:  cargo kosctl ticket create --role sensor --qr{}",
                    elsewhere(self.data)
                ));
                (id, Some(heartbeat))
            }
        };
        let _ready = self.ready(&id, heartbeat)?;
        say("ready");
        tokio::select! {
            ended = &mut *serving => Err(early(ended, "the authority")),
            ended = &mut *running => match ended {
                // Somebody ended it; the authority goes on without it until told to stop.
                Ok(Ok(Outcome::Ended(_) | Outcome::Killed)) => Err(early(serving.await, "the authority")),
                other => Err(early(other, "the device")),
            },
        }
    }

    fn ready(&self, id: &str, heartbeat: Option<Duration>) -> Result<Ready, Fault> {
        let facts = Facts {
            authority: &self.name,
            device: id,
            first_run: self.age == Age::New,
            heartbeat_ms: heartbeat.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            ports: [self.ports.web, self.ports.tls, self.ports.pki],
            socket: &self.socket,
        };
        Ready::write(self.data, &facts)
    }

    /// The first line, and which port others had already.
    fn greet(&self, passed_over: Option<u16>) {
        let age = match self.age {
            Age::New => "new",
            Age::Existing => "existing",
        };
        let (version, name, data) = (env!("CARGO_PKG_VERSION"), &self.name, self.data.display());
        say(&format!("kOS {version}  authority \"{name}\"   data {data} ({age})   this machine only"));
        if let Some(base) = passed_over {
            let last = base.saturating_add(3);
            say(&format!(
                "  note  a port of {base} to {last} is in use: {} to {} instead",
                self.ports.web, self.ports.pki
            ));
        }
    }

    fn elapsed(&self) -> String {
        seconds(self.began.elapsed())
    }
}

/// Why an end stopped before it was told to.
fn early<T, E: Into<Fault>>(ended: Result<Result<T, E>, tokio::task::JoinError>, who: &'static str) -> Fault {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(_)) | Err(_) => Fault::Stopped(who),
    }
}

/// Ready at the first SIGINT or SIGTERM.
fn stop_signal() -> Result<impl Future<Output = ()>, Fault> {
    let listen = |kind| signal(kind).map_err(Fault::Runtime);
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
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

fn shortened(id: &str) -> String {
    let start: String = id.chars().take(11).collect();
    format!("{start}..")
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "standard output is this program's face")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_to_type_finds_this_authority() {
        assert_eq!(elsewhere(Path::new("./kos-data")), "");
        assert!(elsewhere(Path::new("/srv/kos")).ends_with("export KOS_DATA_DIR=/srv/kos"));
        assert!(elsewhere(Path::new("/srv/it's mine")).ends_with(r"='/srv/it'\''s mine'"));
    }
}
