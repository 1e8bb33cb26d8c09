//! The device daemon as it ships: its file, its memory, its start; beside another update and management daemon.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::Ground;
use crate::{
    authority::Authority,
    figure::{KOSD_BINARY_BYTES, KOSD_READY_MS, KOSD_RSS_BYTES, Measured, Rival},
    peers::{self, mender},
    process::{Program, own_folder},
    statistics::{median, ms, number},
    talk, wait,
};

/// How long the first heartbeat may take.
const HEARTBEAT_TIME_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
const CONFIG: &str = "hardware:\n  macs: []\n  serials: [\"bench-daemon\"]\n";

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let runs: usize = ground.scale.pick(3, 7);
    let authority = &ground.fleet().await?.authority;
    let kosd = own_folder()?.with_file_name("dist").join("kosd");
    ensure!(kosd.is_file(), "`{}` is not built: cargo build --profile dist -p kosd", kosd.display());
    let root = authority.folder_for("device")?;
    let device = enrol(&kosd, &root, authority).await?;
    let mut mender = mender::find();
    let (mut ready, mut resident) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let mut command = Command::new(&kosd);
        command.args(["run", "--root"]).arg(&root).env("KOS_LOG", "warn");
        let before = authority.device(&device).await?.last_heartbeat_at;
        let (program, took) = Program::start_until_ready(&mut command, &root)?;
        wait::until("a heartbeat", PAUSE, HEARTBEAT_TIME_MAX, async || {
            Ok(authority.device(&device).await?.last_heartbeat_at.filter(|at| Some(*at) != before))
        })
        .await?;
        let bytes = number(program.settled_bytes().await?);
        program.stop().await?;
        talk::say(&format!("kosd, run {run}: ready in {:.0} ms, {bytes:.0} B", ms(took)));
        ready.push(ms(took));
        resident.push(bytes);
        peers::again(&mut mender, mender::Mender::resident).await;
    }
    let file = mender::binary_bytes().map(|(name, value)| Rival { name, value });
    let size = number(fs::metadata(&kosd)?.len());
    Ok(vec![
        Measured::new(&KOSD_RSS_BYTES, median(&resident), runs, "memory")
            .beside(peers::rival(mender, "daemon")),
        Measured::new(&KOSD_BINARY_BYTES, size, 1, "size").beside(file),
        Measured::new(&KOSD_READY_MS, median(&ready), runs, "start of the process and its files")
            .beside(Err("mender does not tell when it is ready".to_owned())),
    ])
}

/// Enrols the device at `root` by its program; its id.
async fn enrol(kosd: &Path, root: &Path, authority: &Authority) -> Result<String> {
    let etc: PathBuf = root.join("etc/kos");
    fs::create_dir_all(&etc)?;
    fs::write(etc.join("config.yaml"), CONFIG)?;
    let ticket = authority.ticket_text(1).await?;
    let mut command = Command::new(kosd);
    command.args(["enroll", "--root"]).arg(root).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut enrolling = command.spawn().context("cannot start kosd")?;
    enrolling.stdin.take().context("kosd has no standard input")?.write_all(ticket.as_bytes())?;
    let done = tokio::task::spawn_blocking(move || enrolling.wait()).await??;
    ensure!(done.success(), "kosd enroll ended with {done}");
    let told = Command::new(kosd).args(["id", "--root"]).arg(root).output()?;
    let id = String::from_utf8(told.stdout)?.trim().to_owned();
    ensure!(!id.is_empty(), "kosd does not tell its id");
    Ok(id)
}
