//! The real authority as a child process, in a folder of its own, and its administrator's socket.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kos_api::{
    device::Device,
    lifecycle::Because,
    routes,
    ticket::{CreateTicket, Ticket},
};
use kos_base::{DeviceId, Role, Secret};
use kos_identity::enrolment::{device::Anchor, ticket::TicketText};
use kos_net::keys::SigningKey;
use kosctl::{Change, Client, Outcome, Server};
use tempfile::TempDir;

use crate::{
    process::{self, Program},
    wait,
};

/// Ports behind the first one that the authority takes.
const MORE_PORTS: u16 = 3;
/// How many devices one ticket may let in.
pub(crate) const TICKET_USES: u32 = 10_000;
/// How long the tickets of a run live: longer than any run.
const TICKET_SECONDS: u64 = 24 * 3_600;

/// How long it may take until it answers.
const START_TIME_MAX: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1);

/// An authority that serves.
pub(crate) struct Authority {
    program: Option<Program>,
    folder: TempDir,
    port: u16,
    admin: Client,
}

/// A ticket for many devices, as devices hold it.
pub(crate) struct GivenTicket {
    pub(crate) id: kos_base::EntryId,
    pub(crate) anchor: Anchor,
    pub(crate) key: SigningKey,
}

impl Authority {
    /// Sets one up and starts it.
    pub(crate) async fn start() -> Result<Self> {
        let folder = process::data_folder()?;
        let data = folder.path().join("data");
        let done = process::ours("kos-authority")?
            .args(["init", "--name", "bench", "--data"])
            .arg(&data)
            .output()?;
        ensure!(done.status.success(), "init failed: {}", String::from_utf8_lossy(&done.stderr));
        let socket = data.join("authority/run/authority.sock");
        let admin = Client::new(Server::Unix(socket), None).with_timeout(Duration::from_secs(60));
        let port = process::free_port(MORE_PORTS)?;
        let mut authority = Self { program: None, folder, port, admin };
        authority.restart().await?;
        Ok(authority)
    }

    /// Stops it, starts it again on the same data, and tells how long it took from the start until it said that it was
    /// ready and answered a first question.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        if let Some(program) = self.program.take() {
            program.stop().await?;
        }
        let mut command = process::ours("kos-authority")?;
        command.args(["serve", "--port-base", &self.port.to_string(), "--data"]).arg(self.data());
        command.env("KOS_LOG", "warn");
        let begun = Instant::now();
        let (mut program, _) = Program::start_until_ready(&mut command, self.folder.path())?;
        wait::until("an answer of the authority", PAUSE, START_TIME_MAX, async || {
            program.must_run()?;
            Ok(self.admin.show_any(&routes::STATUS).await.ok())
        })
        .await?;
        self.program = Some(program);
        Ok(begun.elapsed())
    }

    /// Where devices connect.
    pub(crate) const fn tls_port(&self) -> u16 {
        self.port + 1
    }

    /// Its administrator's connection.
    pub(crate) const fn admin(&self) -> &Client {
        &self.admin
    }

    /// The process.
    pub(crate) fn program(&self) -> Result<&Program> {
        self.program.as_ref().context("the authority does not run")
    }

    /// Its folder.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// A folder beside its data that goes with it.
    pub(crate) fn folder_for(&self, name: &str) -> Result<std::path::PathBuf> {
        let path: &Path = self.folder.path();
        let path = path.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Makes a ticket for `uses` sensors and returns its text.
    pub(crate) async fn ticket_text(&self, uses: u32) -> Result<String> {
        let request = CreateTicket {
            uses: Some(uses),
            lifetime_seconds: Some(TICKET_SECONDS),
            reason: Some("benchmark".parse()?),
            ..CreateTicket::for_role(Role::Sensor)
        };
        let made = self.admin.change(&routes::TICKET_CREATE, &[], &request, &Change::default()).await?;
        let Outcome::Done::<Ticket>(ticket) = made else { bail!("a ticket was planned and not made") };
        let text = ticket.text.context("a ticket without text")?;
        Ok(text.expose().to_owned())
    }

    /// Makes a ticket for many sensors.
    pub(crate) async fn ticket(&self) -> Result<GivenTicket> {
        let ticket = TicketText::parse(&self.ticket_text(TICKET_USES).await?)?;
        let seed: Secret<32> = ticket.proof_seed();
        let anchor = Anchor { name: None, pins: ticket.pins, addresses: ticket.addresses };
        Ok(GivenTicket { id: ticket.id, anchor, key: SigningKey::from_ed25519_seed(&seed)? })
    }

    /// Suspends a device.
    pub(crate) async fn suspend(&self, device: &DeviceId) -> Result<()> {
        let because = Because { reason: Some("benchmark".parse()?) };
        let change = Change::default();
        let done = self.admin.change(&routes::DEVICE_SUSPEND, &[device.as_ref()], &because, &change).await?;
        ensure!(matches!(done, Outcome::Done::<Device>(_)), "suspending was planned and not done");
        Ok(())
    }

    /// Orders a device into quarantine.
    pub(crate) async fn quarantine(&self, device: &DeviceId) -> Result<()> {
        let because = Because { reason: Some("benchmark".parse()?) };
        let (route, change) = (&routes::DEVICE_QUARANTINE, Change::default());
        let done = self.admin.change(route, &[device.as_ref()], &because, &change).await?;
        ensure!(matches!(done, Outcome::Done::<Device>(_)), "a quarantine was planned and not done");
        Ok(())
    }

    /// Shows a device.
    pub(crate) async fn device(&self, device: &str) -> Result<Device> {
        Ok(self.admin.show(&routes::DEVICE_SHOW, &[device]).await?)
    }
}
