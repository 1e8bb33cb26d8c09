//! Debian's mosquitto with TLS and client certificates.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Result;
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use super::{Contest, LANES, enter, material, mqtt, until_answering};
use crate::{
    fleet::heartbeat_body,
    process::{self, Program, free_port},
};

/// Debian puts it where only root's path leads.
const PROGRAM: &str = "/usr/sbin/mosquitto";

/// A broker that runs.
pub(crate) struct Mosquitto {
    pub(crate) program: Program,
    folder: TempDir,
    port: u16,
    connector: TlsConnector,
}

impl Mosquitto {
    /// Starts one.
    pub(crate) async fn start() -> Contest<Self> {
        let version = process::output(PROGRAM, &["-h"]).map(|text| {
            let version = text.lines().next().and_then(|line| line.strip_prefix("mosquitto version "));
            format!("mosquitto {}", version.unwrap_or("of unknown version"))
        });
        let contest = enter(version, || {
            let folder = process::data_folder()?;
            let ca = material::Ca::make(folder.path())?;
            ca.certify_server()?;
            let port = free_port(0)?;
            fs::write(folder.path().join("mosquitto.conf"), config(port, folder.path()))?;
            let program = Program::start(&mut command(&folder.path().join("mosquitto.conf")))?;
            Ok(Self { program, folder, port, connector: ca.connector()? })
        });
        match contest {
            Ok(contender) => match until_answering(contender.rival.port).await {
                Ok(()) => Ok(contender),
                Err(error) => Err(format!("mosquitto did not work: {error:#}")),
            },
            missing => missing,
        }
    }

    /// Starts it anew.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let port = free_port(0)?;
        let path = self.folder.path().join("mosquitto.conf");
        fs::write(&path, config(port, self.folder.path()))?;
        self.program = Program::start(&mut command(&path))?;
        self.port = port;
        until_answering(port).await
    }

    /// Opens `count` sessions that will publish what our devices say.
    pub(crate) async fn connect(&self, count: u32) -> Result<Vec<mqtt::Session>> {
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let (connector, port) = (self.connector.clone(), self.port);
            lanes.spawn(async move {
                let mut open = Vec::new();
                for number in (lane..count).step_by(usize::try_from(LANES)?) {
                    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                    stream.set_nodelay(true)?;
                    let stream = material::handshake(&connector, stream).await?;
                    open.push(
                        mqtt::Session::open(stream, &format!("device-{number:08}"), heartbeat_body()).await?,
                    );
                }
                anyhow::Ok(open)
            });
        }
        let mut open = Vec::new();
        while let Some(lane) = lanes.join_next().await {
            open.extend(lane??);
        }
        Ok(open)
    }
}

fn command(config: &PathBuf) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("-c").arg(config).stderr(Stdio::null());
    command
}

fn config(port: u16, folder: &std::path::Path) -> String {
    let folder = folder.display();
    format!(
        "user root\nper_listener_settings false\nlistener {port} 127.0.0.1\nallow_anonymous true\n\
         require_certificate true\ntls_version tlsv1.3\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n\
         keyfile {folder}/server.key\npersistence false\nlog_dest none\nset_tcp_nodelay true\n"
    )
}
