//! Debian's nats-server with TLS and client certificates.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Contest, LANES, enter, material, until_answering};
use crate::process::{self, Program, free_port};

/// Debian puts it where only root's path leads.
const PROGRAM: &str = "/usr/sbin/nats-server";
/// What a client says first, with a question that is answered when it is let in.
const HELLO: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":true}\r\nPING\r\n";

/// A server that runs.
pub(crate) struct Nats {
    pub(crate) program: Program,
    folder: TempDir,
    port: u16,
    connector: TlsConnector,
}

impl Nats {
    /// Starts one.
    pub(crate) async fn start() -> Contest<Self> {
        let version = process::output(PROGRAM, &["--version"]);
        let name = version.map(|text| text.trim().replace(": v", " "));
        let contest = enter(name, || {
            let folder = process::data_folder()?;
            let ca = material::Ca::make(folder.path())?;
            ca.certify_server()?;
            let port = free_port(0)?;
            let program = launch(&folder, port)?;
            Ok(Self { program, folder, port, connector: ca.connector()? })
        });
        match contest {
            Ok(contender) => match until_answering(contender.rival.port).await {
                Ok(()) => Ok(contender),
                Err(error) => Err(format!("nats-server did not work: {error:#}")),
            },
            missing => missing,
        }
    }

    /// Starts it anew.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let port = free_port(0)?;
        self.program = launch(&self.folder, port)?;
        self.port = port;
        until_answering(port).await
    }

    /// Opens `count` connections and waits until each is let in.
    pub(crate) async fn connect(&self, count: u32) -> Result<Vec<TlsStream<TcpStream>>> {
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let (connector, port) = (self.connector.clone(), self.port);
            lanes.spawn(async move {
                let mut open = Vec::new();
                for _ in (lane..count).step_by(usize::try_from(LANES)?) {
                    open.push(connect(&connector, port).await?);
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

async fn connect(connector: &TlsConnector, port: u16) -> Result<TlsStream<TcpStream>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // The server introduces itself in the clear, in one line.
    while stream.read_u8().await? != b'\n' {}
    let mut stream = material::handshake(connector, stream).await?;
    stream.write_all(HELLO).await?;
    stream.flush().await?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await?;
    ensure!(&answer == b"PONG\r\n", "nats-server answered {:?}", String::from_utf8_lossy(&answer));
    Ok(stream)
}

fn launch(folder: &TempDir, port: u16) -> Result<Program> {
    let place = folder.path().display();
    let config = format!(
        "listen: \"127.0.0.1:{port}\"\nping_interval: \"30m\"\nmax_connections: 100000\ntls {{\n\
         cert_file: \"{place}/server.pem\"\nkey_file: \"{place}/server.key\"\nca_file: \"{place}/ca.pem\"\n\
         verify: true\ntimeout: 30\n}}\nauthorization {{ timeout: 30 }}\n"
    );
    let path = folder.path().join("nats.conf");
    fs::write(&path, config)?;
    let mut command = Command::new(PROGRAM);
    command.arg("-c").arg(path).stderr(Stdio::null());
    Program::start(&mut command)
}
